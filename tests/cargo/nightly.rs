//! What only nightly Cargo does today.

use std::path::PathBuf;

use crate::common::cargos::{Sandbox, View};
use crate::common::git;
use crate::common::http::get;
use crate::common::project::{Project, locked_version};
use crate::common::registry::Registry;
use crate::common::tools;
use crate::common::upload::Release;

#[test]
fn nightly_cargo_resolves_as_of_the_time_of_publication() {
    let Some(program) = tools::nightly_cargo() else {
        return;
    };
    let registry = Registry::start();
    let token = registry.token("alice");
    let (first, last_of_first, last) = published_in_two_seconds(&registry, &token);
    for view in [View::Sparse, View::Git] {
        let nightly = Sandbox::nightly(program.clone(), &registry, view);
        let hello = user(&nightly, "dated");
        let words = ["-Zunstable-options", "generate-lockfile"];
        let as_of = [&words[..], &["--publish-time", &first]].concat();
        nightly.cargo(&hello, &as_of).succeeds();
        assert_eq!(locked_version(&hello, "dated"), last_of_first);
        nightly.lock_anew(&hello);
        assert_eq!(locked_version(&hello, "dated"), last);
    }
}

#[test]
fn nightly_cargo_fetches_the_index_in_new_ways() {
    let Some(program) = tools::nightly_cargo() else {
        return;
    };
    let registry = Registry::start();
    let token = registry.token("alice");
    let publish = |version: &str| {
        Release::new("krate", version)
            .publish(registry.port, &token)
            .succeeds();
    };
    publish("1.0.0");
    let nightly = Sandbox::nightly(program, &registry, View::Git);
    let hello = user(&nightly, "krate");
    // In one home after another: a full clone meets shallow ones, and gitoxide what libgit2 left.
    let ways: [&[&str]; 5] = [
        &[],
        &["-Zgit=shallow-index"],
        &["-Zgitoxide=fetch"],
        &["-Zgitoxide=fetch", "-Zgit=shallow-index"],
        &[],
    ];
    for (patch, way) in ways.iter().enumerate() {
        let words = [way, &["update"][..]].concat();
        if patch > 0 {
            publish(&format!("1.0.{patch}"));
        }
        nightly.cargo(&hello, &words).succeeds();
        assert_eq!(
            locked_version(&hello, "krate"),
            format!("1.0.{patch}"),
            "{way:?}"
        );
        nightly
            .cargo(&hello, &[way, &["fetch"][..]].concat())
            .succeeds();
    }
}

#[test]
fn nightly_cargo_publishes_over_both_views() {
    let Some(program) = tools::nightly_cargo() else {
        return;
    };
    let registry = Registry::start();
    let token = registry.token("alice");
    for (view, name) in [(View::Sparse, "by-sparse"), (View::Git, "by-git")] {
        let nightly = Sandbox::nightly(program.clone(), &registry, view);
        nightly.login(&token);
        let folder = Project::library(name, "1.0.0", name).write(&nightly.work());
        nightly.cargo(&folder, &["package"]).succeeds();
        let published = nightly.publish(&folder).succeeds();
        let end = format!("Published {name} v1.0.0 at registry `crates`");
        assert!(published.stderr.contains(&end), "{published}");
        let packed = nightly.target().join(format!("package/{name}-1.0.0.crate"));
        let download = get(format!("/crates/dl/{name}/1.0.0/download")).send(registry.port);
        assert!(download.succeeds().body == std::fs::read(packed).unwrap());
        let hello = user(&nightly, name);
        nightly.cargo(&hello, &["fetch"]).succeeds();
        assert_eq!(locked_version(&hello, name), "1.0.0");
    }
}

/// They are unstable, and only who keeps the public keys of all users could verify them.
#[test]
fn asymmetric_tokens_of_nightly_cargo_are_refused_in_words() {
    let Some(program) = tools::nightly_cargo() else {
        return;
    };
    let registry = Registry::start();
    let token = registry.token("alice");
    Release::new("krate", "1.0.0")
        .publish(registry.port, &token)
        .succeeds();
    let tip = git::tip(&registry.repository());
    let nightly = Sandbox::nightly(program, &registry, View::Sparse);
    nightly.configure("[registry]\nglobal-credential-providers = [\"cargo:paseto\"]\n");
    let folder = Project::library("krate", "1.0.1", "").write(&nightly.work());
    let asymmetric = |words: &[&str]| {
        let words = [&["-Zasymmetric-token"], words].concat();
        nightly.cargo(&folder, &words)
    };
    asymmetric(&["login", "--registry", "crates"]).succeeds();
    for words in [
        &["publish", "--registry", "crates", "--no-verify"][..],
        &["yank", "krate@1.0.0", "--registry", "crates"],
        &["owner", "--add", "bob", "krate", "--registry", "crates"],
    ] {
        let refused = asymmetric(words).fails_with("status 401");
        assert!(refused.stderr.contains("token"), "{refused}");
    }
    assert_eq!(git::tip(&registry.repository()), tip);
    let log = registry.log();
    assert!(!log.contains("v3.public."), "{log}");
}

#[test]
fn nightly_cargo_passes_over_versions_that_are_too_young() {
    let Some(program) = tools::nightly_cargo_with("min-publish-age") else {
        return;
    };
    let registry = Registry::start();
    let token = registry.token("alice");
    let (first, last_of_first, last) = published_in_two_seconds(&registry, &token);
    // An hour after the first second: what came later is younger than an hour.
    let first: jiff::Timestamp = first.parse().unwrap();
    let now = (first + jiff::SignedDuration::from_hours(1)).to_string();
    for view in [View::Sparse, View::Git] {
        let nightly = Sandbox::nightly(program.clone(), &registry, view);
        let hello = user(&nightly, "dated");
        let lock = |age: &str| {
            let _ = std::fs::remove_file(hello.join("Cargo.lock"));
            let age = format!("registries.crates.min-publish-age={age:?}");
            let words = ["-Zmin-publish-age", "--config", &age, "generate-lockfile"];
            let env = [("__CARGO_TEST_INVOCATION_TIME", now.as_str())];
            nightly.cargo_with_env(&hello, &words, &env)
        };
        lock("1 hour").succeeds();
        assert_eq!(locked_version(&hello, "dated"), last_of_first);
        lock("0").succeeds();
        assert_eq!(locked_version(&hello, "dated"), last);
        lock("1 day").fails_with("dated");
    }
}

/// Publishes versions of `dated` until a second has passed between the first and the last of them; gives the first
/// time of publication, the last version that has it, and the last version of all.
fn published_in_two_seconds(registry: &Registry, token: &str) -> (String, String, String) {
    let publish = |version: &str| {
        Release::new("dated", version)
            .publish(registry.port, token)
            .succeeds();
    };
    let pubtimes = || -> Vec<String> {
        let lines = get("/crates/index/da/te/dated")
            .send(registry.port)
            .succeeds();
        let times = lines.text().lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["pubtime"].as_str().unwrap().to_owned()
        });
        times.collect()
    };
    publish("1.0.0");
    // A time of publication has whole seconds: publish until the second has changed.
    let mut patch = 0;
    while pubtimes().first() == pubtimes().last() {
        patch += 1;
        publish(&format!("1.0.{patch}"));
    }
    let first = pubtimes()[0].clone();
    let last_of_first = pubtimes().iter().filter(|time| **time == first).count() - 1;
    (
        first,
        format!("1.0.{last_of_first}"),
        format!("1.0.{patch}"),
    )
}

fn user(sandbox: &Sandbox, name: &str) -> PathBuf {
    Project::program("hello", "")
        .depends_on(name, "1")
        .write(&sandbox.work())
}
