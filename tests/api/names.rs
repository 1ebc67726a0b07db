//! Names and versions that are too close to others, or are none.

use crate::api::Target;
use crate::common::upload::Release;

#[test]
fn twins_of_a_name_are_refused() {
    let target = Target::with(&[Release::new("Some-Crate", "1.0.0")]);
    for name in ["some-crate", "Some_Crate", "SOME-CRATE", "some_crate"] {
        for version in ["1.0.0", "2.0.0"] {
            let request = Release::new(name, version).request(&target.token);
            let reply = target.refuses(&format!("{name} {version}"), &request);
            let why = reply.refusal();
            assert!(why.contains("Some-Crate"), "names the twin: {why}");
        }
    }
    Release::new("Some-Crate", "2.0.0")
        .publish(target.registry.port, &target.token)
        .succeeds();
}

#[test]
fn twins_of_a_version_are_refused() {
    let target = Target::with(&[
        Release::new("krate", "1.0.0"),
        Release::new("krate", "1.1.0+first"),
    ]);
    for version in [
        "1.0.0",
        "1.0.0+build",
        "1.1.0",
        "1.1.0+second",
        "1.1.0+first",
    ] {
        let request = Release::new("krate", version).request(&target.token);
        let reply = target.refuses(version, &request);
        assert!(reply.refusal().contains("already"), "{}", reply.refusal());
    }
    Release::new("krate", "1.2.0+first")
        .publish(target.registry.port, &target.token)
        .succeeds();
}

#[test]
fn what_is_no_name_is_refused() {
    let target = Target::with(&[]);
    let long = "a".repeat(65);
    let names = [
        "", "1st", "-dash", "_under", "dot.ted", "sp ace", "größe", "a/b", "..", "nul", "COM1",
        "std", "a\\nb", &long,
    ];
    for name in names {
        let request = Release::new(name, "1.0.0").request(&target.token);
        target.refuses(&format!("the name {name:?}"), &request);
    }
    target.still_publishes();
}

#[test]
fn what_is_no_version_is_refused() {
    let target = Target::with(&[]);
    let long = format!("1.0.0-{}", "a".repeat(200));
    for version in [
        "", "1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.0-", "^1.0.0", &long,
    ] {
        let request = Release::new("krate", version).request(&target.token);
        target.refuses(&format!("the version {version:?}"), &request);
    }
    target.still_publishes();
}
