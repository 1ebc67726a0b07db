//! What Cargo has commands for, beside the daily ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::cargos::{Sandbox, View};
use crate::common::git;
use crate::common::http::get;
use crate::common::package::Package;
use crate::common::project::{Project, locked_version};
use crate::common::ran::run;
use crate::common::registry::Registry;
use crate::common::tools;

#[test]
fn commands_of_stable_cargo_work_over_the_sparse_index() {
    let registry = Registry::start();
    let alice = Sandbox::stable(&registry, View::Sparse);
    let reader = Sandbox::stable(&registry, View::Sparse);
    reads(registry, &alice, &reader, Age::Stable);
}

#[test]
fn commands_of_stable_cargo_work_over_the_git_index() {
    let registry = Registry::start();
    let alice = Sandbox::stable(&registry, View::Git);
    let reader = Sandbox::stable(&registry, View::Git);
    reads(registry, &alice, &reader, Age::Stable);
}

#[test]
fn commands_of_debian_cargo_work() {
    let Some(program) = tools::old_cargo() else {
        return;
    };
    let registry = Registry::start();
    let alice = Sandbox::old(program.clone(), &registry);
    let reader = Sandbox::old(program, &registry);
    reads(registry, &alice, &reader, Age::Debian);
}

#[test]
fn a_program_is_installed_through_either_index_whichever_it_was_published_through() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let sparse = Sandbox::stable(&registry, View::Sparse);
    let git = Sandbox::stable(&registry, View::Git);
    for alice in [&sparse, &git] {
        alice.login(&token);
    }
    publish(&sparse, greeter().write(&sparse.work()));
    publish(&sparse, tool("sparse-tool").write(&sparse.work()));
    publish(&git, tool("git-tool").write(&git.work()));
    for reader in [&sparse, &git] {
        installs(reader, "sparse-tool");
        installs(reader, "git-tool");
    }
}

#[test]
fn what_is_downloaded_is_what_cargo_packed() {
    let registry = Registry::start();
    let alice = Sandbox::stable(&registry, View::Sparse);
    alice.login(&registry.token("alice"));
    let folder = greeter().write(&alice.work());
    alice.cargo(&folder, &["package"]).succeeds();
    let packed = fs::read(alice.target().join("package/greeter-0.1.0.crate")).unwrap();
    publish(&alice, folder);
    let download = get("/crates/dl/greeter/0.1.0/download").send(registry.port);
    assert!(download.succeeds().body == packed);
}

#[derive(Clone, Copy, PartialEq)]
enum Age {
    Stable,
    Debian,
}

fn reads(mut registry: Registry, alice: &Sandbox, reader: &Sandbox, age: Age) {
    let token = registry.token("alice");
    login_and_logout_are_local(&registry, alice, &token, age);
    let published = alice
        .publish(&greeter().write(&alice.work()))
        .succeeds()
        .stderr;
    if age == Age::Stable {
        // Cargo has seen the version in the index, and has not given up waiting for it.
        let end = "Published greeter v0.1.0 at registry `crates`";
        assert!(published.contains(end), "{published}");
        assert!(!published.contains("warning"), "{published}");
    }
    packing_changes_nothing(&registry, alice);
    publish(alice, tool("tool").write(&alice.work()));

    installs(reader, "tool");
    if age == Age::Stable {
        let info = ["info", "greeter", "--registry", "crates"];
        let info = reader.cargo(&reader.work(), &info).succeeds();
        for text in ["greeter", "A crate of a test", "version: 0.1.0", "MIT"] {
            assert!(info.stdout.contains(text), "no `{text}`: {info}");
        }
    }
    let program = Project::program("hello", "println!(\"{}\", greeter::greeting());")
        .depends_on("greeter", "0.1")
        .write(&reader.work());
    reader.cargo(&program, &["generate-lockfile"]).succeeds();
    assert_eq!(locked_version(&program, "greeter"), "0.1.0");
    reader.cargo(&program, &["fetch", "--locked"]).succeeds();
    reader
        .cargo(&program, &["tree", "--locked"])
        .succeeds()
        .prints("greeter v0.1.0 (registry `crates`)");
    vendored_crates_build_without_the_registry(&mut registry, reader, &program);
}

/// Storing and forgetting a token asks the server nothing but its settings.
fn login_and_logout_are_local(registry: &Registry, alice: &Sandbox, token: &str, age: Age) {
    let package = Project::library("early", "0.1.0", "").write(&alice.work());
    let publish = |why: &str| {
        let arguments = ["publish", "--registry", "crates", "--no-verify"];
        alice.cargo(&package, &arguments).fails_with(why);
    };
    // Debian's says "upload token".
    let nothing = "token found";
    // Words of a token that is none, sent with the first request that needs one.
    let rejected = "the remote server responded with an error";
    publish(nothing);
    if age == Age::Stable {
        alice.login("no-token-at-all");
        publish(rejected);
        let logout = ["logout", "--registry", "crates"];
        alice.cargo(&alice.work(), &logout).succeeds();
        publish(nothing);
    }
    alice.login(token);
    assert!(!registry.log().contains("no-token-at-all"));
}

fn packing_changes_nothing(registry: &Registry, alice: &Sandbox) {
    let before = (git::tip(&registry.repository()), registry.files());
    let folder = tool("tool").write(&alice.work());
    alice.cargo(&folder, &["package"]).succeeds();
    let dry = ["publish", "--registry", "crates", "--dry-run"];
    alice.cargo(&folder, &dry).succeeds();
    let after = (git::tip(&registry.repository()), registry.files());
    assert_eq!(before, after);
}

fn vendored_crates_build_without_the_registry(
    registry: &mut Registry,
    reader: &Sandbox,
    program: &Path,
) {
    let vendored = reader
        .cargo(program, &["vendor", "--locked", "vendored"])
        .succeeds();
    assert!(program.join("vendored/greeter/Cargo.toml").is_file());
    fs::create_dir(program.join(".cargo")).unwrap();
    fs::write(program.join(".cargo/config.toml"), vendored.stdout).unwrap();

    registry.stop();
    reader.forget_downloads();
    reader
        .cargo(program, &["run", "--quiet", "--frozen"])
        .succeeds()
        .prints("greeter 0.1.0");
}

fn greeter() -> Project {
    Project::library("greeter", "0.1.0", "greeter 0.1.0")
}

/// A program with a dependency in the registry; Debian's cargo can read its lock file.
fn tool(name: &str) -> Package {
    let rest = "rust-version = \"1.60\"\n\n[dependencies]\n\
                greeter = { version = \"0.1\", registry = \"crates\" }\n";
    Package::new(name, "0.2.0", rest)
        .main("fn main() { println!(\"{} installed\", greeter::greeting()); }\n")
}

#[track_caller]
fn publish(alice: &Sandbox, folder: PathBuf) {
    alice.publish(&folder).succeeds();
}

/// Installs the newest and the locked one, and runs both.
#[track_caller]
fn installs(reader: &Sandbox, name: &str) {
    for locked in [false, true] {
        let root = reader.work().join(format!("root-{name}-{locked}"));
        let mut words = vec!["install", name, "--registry", "crates", "--debug", "--root"];
        words.push(root.to_str().unwrap());
        if locked {
            words.push("--locked");
        }
        reader.cargo(&reader.work(), &words).succeeds();
        run(&mut Command::new(root.join("bin").join(name)), b"")
            .succeeds()
            .prints("greeter 0.1.0 installed");
    }
}
