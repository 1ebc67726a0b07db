//! What only nightly Cargo does today.

use std::path::PathBuf;

use crate::common::cargos::{Sandbox, View};
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
    let publish = |version: &str| {
        Release::new("dated", version)
            .publish(registry.port, &token)
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

    for view in [View::Sparse, View::Git] {
        let nightly = Sandbox::nightly(program.clone(), &registry, view);
        let hello = user(&nightly, "dated");
        let words = ["-Zunstable-options", "generate-lockfile"];
        let as_of = [&words[..], &["--publish-time", &first]].concat();
        nightly.cargo(&hello, &as_of).succeeds();
        assert_eq!(
            locked_version(&hello, "dated"),
            format!("1.0.{last_of_first}")
        );
        nightly.lock_anew(&hello);
        assert_eq!(locked_version(&hello, "dated"), format!("1.0.{patch}"));
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

fn user(sandbox: &Sandbox, name: &str) -> PathBuf {
    Project::program("hello", "")
        .depends_on(name, "1")
        .write(&sandbox.work())
}
