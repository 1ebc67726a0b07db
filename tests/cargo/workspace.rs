//! A workspace whose publication fails in the middle.

use serde_json::json;
use sidecargo::domain::IndexPath;

use crate::common::cargos::{Sandbox, View};
use crate::common::git;
use crate::common::http::{get, request};
use crate::common::project::{Project, locked_version, write_workspace};
use crate::common::registry::Registry;
use crate::common::upload::Release;

#[test]
fn a_failed_workspace_can_be_finished_over_the_sparse_index() {
    a_failed_workspace_can_be_finished(View::Sparse);
}

#[test]
fn a_failed_workspace_can_be_finished_over_the_git_index() {
    a_failed_workspace_can_be_finished(View::Git);
}

fn a_failed_workspace_can_be_finished(view: View) {
    let registry = Registry::start();
    let bobs = registry.token("bob");
    let port = registry.port;
    // The name of the crate in the middle belongs to somebody else.
    Release::new("middle", "0.0.1")
        .publish(port, &bobs)
        .succeeds();
    let alice = Sandbox::stable(&registry, view);
    alice.login(&registry.token("alice"));
    let folder = alice.work().join("workspace");
    let calls = |name: &str| format!("pub fn greeting() -> String {{ {name}::greeting() }}\n");
    let members = [
        Project::library("top", "0.3.0", "")
            .depends_on_member("middle", "0.2")
            .source(&calls("middle")),
        Project::library("middle", "0.2.0", "")
            .depends_on_member("leaf", "0.1")
            .source(&calls("leaf")),
        Project::library("leaf", "0.1.0", "from the leaf"),
    ];
    write_workspace(&folder, &members);

    let publish = ["publish", "--workspace", "--registry", "crates"];
    let failed = alice.cargo(&folder, &publish).fails_with("bob");
    assert!(failed.stderr.contains("middle"), "{failed}");
    assert_eq!(versions(port, "leaf"), ["0.1.0"]);
    assert_eq!(versions(port, "middle"), ["0.0.1"]);
    assert_eq!(get("/crates/index/3/t/top").send(port).status, 404);
    git::assert_sound(&registry.repository());

    let owner = json!({ "users": ["alice"] }).to_string();
    request("PUT", "/crates/api/v1/crates/middle/owners")
        .token(&bobs)
        .body(owner)
        .send(port)
        .succeeds();
    // What is there already would end the command before it begins.
    let rest = [&publish[..], &["--exclude", "leaf"]].concat();
    alice.cargo(&folder, &rest).succeeds();
    assert_eq!(versions(port, "middle"), ["0.0.1", "0.2.0"]);
    assert_eq!(versions(port, "top"), ["0.3.0"]);

    let reader = Sandbox::stable(&registry, view);
    let hello = Project::program("hello", "println!(\"{}\", top::greeting());")
        .depends_on("top", "0.3")
        .write(&reader.work());
    reader
        .cargo(&hello, &["run", "--quiet"])
        .succeeds()
        .prints("from the leaf");
    assert_eq!(locked_version(&hello, "middle"), "0.2.0");
}

/// The versions of a crate in the sparse index.
fn versions(port: u16, name: &str) -> Vec<String> {
    let path = IndexPath::of(&name.parse().unwrap());
    let reply = get(format!("/crates/index/{path}")).send(port).succeeds();
    let version = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["vers"].as_str().unwrap().to_owned()
    };
    reply.text().lines().map(version).collect()
}
