//! Owners as each Cargo lists and changes them, and a version that is there already as each Cargo hears of it.

use crate::common::cargos::{Sandbox, View};
use crate::common::http::{get, request};
use crate::common::person::{Person, Receive};
use crate::common::project::Project;
use crate::common::registry::Registry;
use crate::common::tools;
use crate::common::upload::Release;

#[test]
fn owners_are_listed_added_and_removed_by_every_cargo() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    release.publish(registry.port, &token).succeeds();
    for cargo in &every_cargo(&registry) {
        cargo.login(&token);
        let owner = |words: &[&str]| {
            let words = [&["owner", "krate", "--registry", "crates"], words].concat();
            cargo.cargo(&cargo.work(), &words)
        };
        owner(&["--add", "bob"]).succeeds();
        let listed = owner(&["--list"]).succeeds();
        assert_eq!(listed.stdout.lines().count(), 2, "{listed}");
        listed.prints("alice").prints("bob");
        owner(&["--remove", "bob"]).succeeds();
        let listed = owner(&["--list"]).succeeds();
        assert_eq!(listed.stdout.lines().count(), 1, "{listed}");
        owner(&["--remove", "carol"]).fails_with("carol");
    }
}

#[test]
fn an_owner_whom_a_push_names_twice_is_listed_once_and_gone_once_removed() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    release.publish(registry.port, &token).succeeds();
    let person = Person::of(&registry);
    let twice = "users = [{ login = \"alice\" }, { login = \"bob\" }, { login = \"Bob\" }]\n";
    person
        .write("owners/kr/at/krate.toml", twice)
        .commit("bob twice");
    person.push("HEAD:main", Receive::AsSetUp).succeeds();
    let cargo = Sandbox::stable(&registry, View::Sparse);
    cargo.login(&token);
    let owner = |words: &[&str]| {
        let words = [&["owner", "krate", "--registry", "crates"], words].concat();
        cargo.cargo(&cargo.work(), &words).succeeds()
    };
    let listed = owner(&["--list"]);
    assert_eq!(listed.stdout.lines().count(), 2, "{listed}");
    owner(&["--remove", "bob"]);
    let listed = owner(&["--list"]);
    assert_eq!(listed.stdout.lines().count(), 1, "{listed}");
    registry.run(&["verify"]).succeeds();
}

/// Cargo before 1.78 reads an id into 32 bits.
#[test]
fn ids_of_owners_are_small_and_tell_them_apart() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    release.publish(registry.port, &token).succeeds();
    let path = "/crates/api/v1/crates/krate/owners";
    let more: Vec<String> = (0..50).map(|n| format!("user-{n}")).collect();
    let body = serde_json::json!({ "users": more }).to_string();
    let add = request("PUT", path).token(&token).body(body);
    add.send(registry.port).succeeds();
    let listed = get(path).token(&token).send(registry.port).succeeds();
    let listed = listed.json();
    let users = listed["users"].as_array().unwrap();
    assert_eq!(users.len(), 51, "{listed}");
    for user in users {
        let id = user["id"].as_u64();
        assert!(id.is_some_and(|id| u32::try_from(id).is_ok()), "{user}");
        assert!(user["login"].is_string(), "{user}");
    }
}

#[test]
fn every_cargo_hears_that_a_version_is_there_already() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    release.publish(registry.port, &token).succeeds();
    for (n, cargo) in every_cargo(&registry).iter().enumerate() {
        cargo.login(&token);
        let folder = Project::library("krate", "1.0.0", "").write(&cargo.work());
        let before = registry.log().len();
        let words = ["publish", "--registry", "crates", "--no-verify"];
        let said = cargo.cargo(&folder, &words).fails_with("already");
        let log = registry.log().split_off(before);
        // Cargo since 1.83 looks before it uploads; Debian's leaves it to the registry.
        let is_uploaded = log.contains("method=PUT");
        assert_eq!(is_uploaded, n == 2, "{said}\n{log}");
    }
}

/// The stable one over both views, then Debian's.
fn every_cargo(registry: &Registry) -> Vec<Sandbox> {
    let mut cargos = vec![
        Sandbox::stable(registry, View::Sparse),
        Sandbox::stable(registry, View::Git),
    ];
    cargos.extend(tools::old_cargo().map(|program| Sandbox::old(program, registry)));
    cargos
}
