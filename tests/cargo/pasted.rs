//! The snippets of `/R/me` and of the README, used as they stand.

use std::fs;
use std::path::Path;

use crate::common::http::get;
use crate::common::machine::Machine;
use crate::common::project::Project;
use crate::common::registry::Registry;
use crate::common::tools;

const WITH_CAPABILITY: &str = "visibility = \"private\"\ncapability_downloads = true\n";

/// The snippet of the served page that has this id.
#[track_caller]
pub fn snippet(registry: &Registry, id: &str) -> String {
    let page = get("/crates/me").send(registry.port).succeeds();
    let start = format!("<pre id=\"{id}\">");
    let (_, rest) = page.text().split_once(&start).expect("the page has it");
    let (snippet, _) = rest.split_once("</pre>").unwrap();
    snippet
        .replace("&quot;", "\"")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

/// The fenced blocks of a section of the README, as they would be for a registry at `port`.
fn readme(heading: &str, port: u16) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once(heading).expect("the README has it");
    let section = section.split("\n## ").next().unwrap();
    let section = section.split("\n### ").next().unwrap();
    let blocks = section.split("```").skip(1).step_by(2);
    blocks
        .map(|block| {
            let (_, lines) = block.split_once('\n').unwrap();
            lines.replace("localhost:8642", &format!("localhost:{port}"))
        })
        .collect()
}

#[test]
fn the_readme_says_what_the_page_says() {
    let private = Registry::start_with(WITH_CAPABILITY);
    let said = readme("\n## Private\n", private.port);
    for id in ["sparse", "git", "git-credentials", "replaced", "logins"] {
        let snippet = snippet(&private, id);
        assert!(said.contains(&snippet), "not in the README:\n{snippet}");
    }
    let public = Registry::start();
    for (heading, id) in [
        ("\n### With Cargo since 1.68\n", "sparse"),
        ("\n### With older Cargo, or old and new together\n", "git"),
        (
            "\n### With older Cargo, or old and new together\n",
            "replaced",
        ),
    ] {
        let snippet = snippet(&public, id);
        let said = readme(heading, public.port);
        assert!(
            // A first line may say into which file it goes.
            said.iter().any(|block| block.ends_with(&snippet)),
            "not under {heading}:\n{snippet}"
        );
    }
}

#[test]
fn modern_cargo_alone_works_as_pasted() {
    let registry = Registry::start_with("visibility = \"private\"\n");
    let machine = Machine::stable();
    machine.paste_settings(&snippet(&registry, "sparse"));
    log_in(&machine, &registry, "login", &registry.token("alice"));
    publish(&machine, "first");
    prints(&machine, &program(&machine, "first"), "first");
}

#[test]
fn old_and_new_cargo_together_work_as_pasted() {
    let Some(old) = tools::old_cargo() else {
        return;
    };
    let registry = Registry::start_with(WITH_CAPABILITY);
    let token = registry.token("alice");
    let stable = Machine::stable();
    let old = Machine::with(&old);
    for machine in [&stable, &old] {
        machine.paste_settings(&snippet(&registry, "git"));
        machine
            .shell(&snippet(&registry, "git-credentials"), &token)
            .succeeds();
        log_in(machine, &registry, "login", &token);
    }
    publish(&old, "elder");
    publish(&stable, "younger");
    for machine in [&stable, &old] {
        let program = program(machine, "elder");
        prints(machine, &program, "elder");
    }
    let program = program(&old, "younger");
    prints(&old, &program, "younger");
}

#[test]
fn modern_cargo_on_the_sparse_index_beside_old_cargo_works_as_pasted() {
    let registry = Registry::start_with("visibility = \"private\"\n");
    let token = registry.token("alice");
    let machine = Machine::stable();
    machine.paste_settings(&snippet(&registry, "replaced"));
    machine
        .shell(&snippet(&registry, "git-credentials"), &token)
        .succeeds();
    log_in(&machine, &registry, "logins", &token);
    publish(&machine, "krate");

    let before = registry.log().len();
    let program = program(&machine, "krate");
    prints(&machine, &program, "krate");
    let log = registry.log().split_off(before);
    assert!(log.contains("/crates/index/kr/at/krate"), "{log}");
    assert!(!log.contains("/crates/git"), "{log}");
    let lock = fs::read_to_string(program.join("Cargo.lock")).unwrap();
    let source = format!("\"registry+{}\"", registry.git_index());
    assert!(lock.contains(&source), "{lock}");
}

#[test]
fn modern_cargo_beside_old_cargo_works_as_pasted_on_a_public_registry() {
    let registry = Registry::start();
    let machine = Machine::stable();
    machine.paste_settings(&snippet(&registry, "replaced"));
    machine.login("crates", &registry.token("alice"));
    publish(&machine, "krate");
    let before = registry.log().len();
    prints(&machine, &program(&machine, "krate"), "krate");
    let log = registry.log().split_off(before);
    assert!(log.contains("/crates/index/kr/at/krate"), "{log}");
    assert!(!log.contains("/crates/git"), "{log}");
}

/// Runs each line of the snippet and answers it with the token.
#[track_caller]
fn log_in(machine: &Machine, registry: &Registry, id: &str, token: &str) {
    for line in snippet(registry, id).lines() {
        machine.shell(line, token).succeeds();
    }
}

#[track_caller]
fn publish(machine: &Machine, name: &str) {
    let folder = Project::library(name, "1.0.0", name).write(&machine.work());
    machine.publish(&folder).succeeds();
}

/// A program that says what the crate says.
fn program(machine: &Machine, krate: &str) -> std::path::PathBuf {
    let body = format!("println!(\"{{}} it is\", {krate}::greeting());");
    Project::program(&format!("prints-{krate}"), &body)
        .depends_on(krate, "1")
        .write(&machine.work())
}

#[track_caller]
fn prints(machine: &Machine, program: &Path, text: &str) {
    machine
        .cargo(program, &["run", "--quiet"])
        .succeeds()
        .prints(&format!("{text} it is"));
}
