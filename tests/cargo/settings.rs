//! Cargo set up in other ways, and an index that holds what its readers must live with.

use std::fs;
use std::path::PathBuf;

use crate::common::cargos::{Sandbox, View};
use crate::common::git;
use crate::common::http::get;
use crate::common::package::Package;
use crate::common::person;
use crate::common::project::{Project, locked_version};
use crate::common::registry::Registry;
use crate::common::tools;
use crate::common::upload::{self, Release};

#[test]
fn cargo_can_leave_the_git_index_to_git() {
    let registry = registry_with("krate", &["1.0.0"]);
    let cargo = Sandbox::stable(&registry, View::Git);
    cargo.configure("[net]\ngit-fetch-with-cli = true\n");
    let hello = user(&cargo, "krate");
    cargo.cargo(&hello, &["build"]).succeeds();
    publish(&registry, "krate", "1.0.1");
    cargo.cargo(&hello, &["update"]).succeeds();
    assert_eq!(locked_version(&hello, "krate"), "1.0.1");
    let log = registry.log();
    assert!(log.contains("user_agent=\"git/"), "{log}");
    assert!(!log.contains("libgit2"), "{log}");
}

#[test]
fn variables_of_the_environment_are_enough() {
    let registry = Registry::start();
    let cargo = Sandbox::stable(&registry, View::Sparse);
    let (index, token) = (registry.git_index(), registry.token("robot"));
    let env = [
        ("CARGO_REGISTRIES_BY_ENV_INDEX", index.as_str()),
        ("CARGO_REGISTRIES_BY_ENV_TOKEN", token.as_str()),
    ];
    let package = Project::library("krate", "1.0.0", "").write(&cargo.work());
    let words = ["publish", "--registry", "by-env"];
    cargo.cargo_with_env(&package, &words, &env).succeeds();
    get("/crates/index/kr/at/krate")
        .send(registry.port)
        .succeeds();
}

#[test]
fn a_sparse_url_without_its_slash_is_told_apart() {
    let registry = registry_with("krate", &["1.0.0"]);
    let cargo = Sandbox::stable(&registry, View::Git);
    let index = registry.sparse_index();
    let (no_slash, no_sparse) = (index.trim_end_matches('/'), &index["sparse+".len()..]);
    let words = ["info", "krate", "--registry", "wrong"];
    let ask = |index: &str| {
        let env = [("CARGO_REGISTRIES_WRONG_INDEX", index)];
        cargo.cargo_with_env(&cargo.work(), &words, &env)
    };
    ask(no_slash).fails_with("must end in a slash");
    // Without `sparse+` Cargo takes it for a git repository and gives up; the server's words say why.
    ask(no_sparse).fails_with("wrong");
    let asked = get("/crates/index/info/refs?service=git-upload-pack").send(registry.port);
    assert_eq!(asked.status, 404);
    assert!(asked.refusal().contains(&index), "{}", asked.refusal());
}

#[test]
fn a_changed_crate_file_is_never_built() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    // One that is sent from memory, and one that is sent from the disk.
    let sources = [
        ("small", String::new()),
        ("large", upload::noise(1, 400_000)),
    ];
    for (name, source) in &sources {
        let source = format!("//{source}\npub fn good() {{}}\n");
        let release = Release::with_source(name, "1.0.0", &source);
        release.publish(registry.port, &token).succeeds();
        let cksum = release.cksum();
        let blob = format!("blobs/{}/{cksum}", &cksum[..2]);
        let other = Release::with_source(name, "1.0.0", &source.replace("good", "evil")).crate_file;
        fs::write(registry.data().join(blob), other).unwrap();
    }
    registry.stop();
    registry.start_again();
    for view in [View::Sparse, View::Git] {
        let cargo = Sandbox::stable(&registry, view);
        for (name, _) in &sources {
            let program = Project::program(&format!("uses-{name}"), "").depends_on(name, "1");
            let folder = program.write(&cargo.work());
            let hasty = [("CARGO_NET_RETRY", "0")];
            let said = cargo.cargo_with_env(&folder, &["build"], &hasty);
            let said = said.fails_with("its bytes are damaged: they have another checksum");
            assert!(said.stderr.contains("from a backup"), "{said}");
        }
    }
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let registry = registry_with("krate", &["1.0.0"]);
    let cargo = Sandbox::stable(&registry, View::Sparse);
    let hello = user(&cargo, "krate");
    cargo.cargo(&hello, &["update"]).succeeds();
    let log_len = registry.log().len();
    cargo.cargo(&hello, &["update"]).succeeds();
    let log = registry.log()[log_len..].to_owned();
    let is_file = |line: &&str| line.contains("/crates/index/kr/at/krate");
    let answers: Vec<&str> = log.lines().filter(is_file).collect();
    assert_eq!(answers.len(), 1, "{log}");
    assert!(answers[0].contains("status=304"), "{log}");
}

#[test]
fn an_unchanged_git_index_costs_one_request() {
    let registry = registry_with("krate", &["1.0.0"]);
    let mut cargos = vec![Sandbox::stable(&registry, View::Git)];
    if let Some(program) = tools::old_cargo() {
        cargos.push(Sandbox::old(program, &registry));
    }
    for cargo in cargos {
        let hello = user(&cargo, "krate");
        cargo.cargo(&hello, &["update"]).succeeds();
        let log_len = registry.log().len();
        cargo.cargo(&hello, &["update"]).succeeds();
        let log = registry.log()[log_len..].to_owned();
        let is_git = |line: &&str| line.contains("path=\"/crates/git/");
        let requests: Vec<&str> = log.lines().filter(is_git).collect();
        assert_eq!(requests.len(), 1, "{log}");
        assert!(requests[0].contains("/info/refs"), "{log}");
    }
}

#[test]
fn lines_of_a_later_format_are_passed_over() {
    let mut registry = registry_with("krate", &["1.0.0"]);
    let line = get("/crates/index/kr/at/krate")
        .send(registry.port)
        .succeeds();
    let known = line.text().to_owned();
    registry.stop();
    let later = |version: &str, format: &str| {
        let line = known.replace("\"vers\":\"1.0.0\"", &format!("\"vers\":\"{version}\""));
        line.replace("}\n", &format!(",\"v\":{format}}}\n"))
    };
    let text = format!(
        "{known}{}{}",
        later("1.1.0", "3"),
        later("1.2.0", "4294967295")
    );
    // As a later version of this program would write them.
    person::commit_file_as_the_registry(&registry, "kr/at/krate", &text);
    registry.start_again();

    let mut cargos = vec![
        Sandbox::stable(&registry, View::Sparse),
        Sandbox::stable(&registry, View::Git),
    ];
    if let Some(program) = tools::old_cargo() {
        cargos.push(Sandbox::old(program, &registry));
    }
    for cargo in cargos {
        let hello = user(&cargo, "krate");
        cargo.cargo(&hello, &["build"]).succeeds();
        assert_eq!(locked_version(&hello, "krate"), "1.0.0");
    }
    // Cargo since 1.85 says why there is no other.
    for view in [View::Sparse, View::Git] {
        let cargo = Sandbox::stable(&registry, view);
        let hello = Project::program("hello", "")
            .depends_on("krate", "=1.1.0")
            .write(&cargo.work());
        cargo
            .cargo(&hello, &["generate-lockfile"])
            .fails_with("index version 3");
    }
}

#[test]
fn a_line_that_is_none_reaches_no_reader() {
    let registry = registry_with("krate", &["1.0.0"]);
    let line = || {
        get("/crates/index/kr/at/krate")
            .send(registry.port)
            .succeeds()
            .text()
            .to_owned()
    };
    let known = line();
    person::commit_file(&registry, "kr/at/krate", &format!("{known}garbage\n"));
    let refused = Release::new("krate", "1.0.1").publish(registry.port, &registry.token("alice"));
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.refusal().contains("`kr/at/krate`, line 2"));
    assert_eq!(line(), known);
    let clone = git::Clone::of(&registry);
    assert_eq!(clone.bytes("kr/at/krate"), known.as_bytes());
}

#[test]
fn refs_beside_the_branch_are_not_shown() {
    let mut registry = registry_with("krate", &["1.0.0"]);
    registry.stop();
    let repository = registry.repository();
    let tip = git::tip(&repository);
    for n in 0..1_000 {
        let folder = repository.join(format!("refs/pull/{n}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("head"), format!("{tip}\n")).unwrap();
    }
    registry.start_again();
    let seen = git::git(&repository, &["ls-remote", &registry.git_index()]).succeeds();
    assert!(seen.stdout.contains("refs/heads/main"), "{seen}");
    assert!(!seen.stdout.contains("refs/pull"), "{seen}");
    let cargo = Sandbox::stable(&registry, View::Git);
    cargo.cargo(&user(&cargo, "krate"), &["build"]).succeeds();
}

#[test]
fn a_history_that_was_begun_anew_is_followed() {
    let mut registry = registry_with("krate", &["1.0.0"]);
    let mut cargos = vec![
        Sandbox::stable(&registry, View::Git),
        Sandbox::stable(&registry, View::Sparse),
    ];
    if let Some(program) = tools::old_cargo() {
        cargos.push(Sandbox::old(program, &registry));
    }
    for cargo in &cargos {
        let words = ["generate-lockfile"];
        cargo.cargo(&user(cargo, "krate"), &words).succeeds();
    }
    registry.stop();
    person::squash(&registry);
    // Whoever runs the registry says that this is meant: the commit that was served is not to be gone on from.
    for shown in ["sidecargo-shown", "refs/namespaces/served/refs/heads/main"] {
        fs::remove_file(registry.repository().join(shown)).unwrap();
    }
    registry.start_again();
    publish(&registry, "krate", "1.0.1");
    for cargo in &cargos {
        let hello = user(cargo, "krate");
        cargo.cargo(&hello, &["update"]).succeeds();
        assert_eq!(locked_version(&hello, "krate"), "1.0.1");
        cargo.cargo(&hello, &["fetch", "--locked"]).succeeds();
    }
    let counted = git::git(&registry.repository(), &["rev-list", "--count", "main"]);
    assert_eq!(counted.succeeds().stdout.trim(), "2");
}

#[test]
fn large_crates_pass_and_too_large_ones_are_told_so() {
    let registry = Registry::start();
    let alice = Sandbox::stable(&registry, View::Sparse);
    alice.login(&registry.token("alice"));
    let publish = |name: &str, bytes: usize| {
        let folder = Package::new(name, "1.0.0", "").lib("").write(&alice.work());
        fs::write(folder.join("noise"), noise(bytes)).unwrap();
        let words = ["publish", "--registry", "crates", "--no-verify"];
        alice.cargo(&folder, &words)
    };
    publish("large", 9 << 20).succeeds();
    let said = publish("too-large", (10 << 20) + (100 << 10)).fails_with("413");
    assert!(said.stderr.contains("10485760"), "{said}");
}

/// Bytes that do not look alike, so that no layer makes them small.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    next.take(count).collect()
}

fn registry_with(name: &str, versions: &[&str]) -> Registry {
    let registry = Registry::start();
    for version in versions {
        publish(&registry, name, version);
    }
    registry
}

#[track_caller]
fn publish(registry: &Registry, name: &str, version: &str) {
    Release::new(name, version)
        .publish(registry.port, &registry.token("alice"))
        .succeeds();
}

fn user(cargo: &Sandbox, name: &str) -> PathBuf {
    Project::program("hello", "")
        .depends_on(name, "1")
        .write(&cargo.work())
}
