//! The rules that need the registry's state: `src/index/change.rs` and `src/index/dependencies.rs`, and `src/rates.rs`
//! and `src/auth/permission.rs` for the one who asks.

use insta::assert_snapshot;

use super::{Desk, publish, sandbox};
use crate::common::http::request;
use crate::common::upload::Release;

/// Publishes a release of alice without Cargo.
fn add(desk: &Desk, name: &str, version: &str) {
    let token = desk.registry.token("alice");
    Release::new(name, version)
        .publish(desk.registry.port, &token)
        .succeeds();
}

#[test]
fn crates_and_versions_that_are_there() {
    let desk = Desk::with_policy("");
    add(&desk, "Some-Crate", "1.0.0");
    let twin = desk.package("some_crate", "2.0.0", "");
    assert_snapshot!(
        desk.refuses("Refusal::SpelledOtherwise", &twin),
        @"400 Bad Request: the crate `some_crate` exists under the spelling `Some-Crate`; use that name"
    );
    let bob = desk.machine_of("bob");
    let second = desk.package("Some-Crate", "1.0.1", "");
    assert_snapshot!(
        desk.refuses_to(&bob, "Refusal::NotAnOwner", &second),
        @"403 Forbidden: `bob` is not an owner of the crate `Some-Crate`; its owners are alice"
    );

    // Cargo looks into the index before it uploads, and has words of its own.
    let again = desk.package("Some-Crate", "1.0.0+again", "");
    publish(&desk.alice, &again)
        .fails_with("crate Some-Crate@1.0.0+again already exists on `crates` index");
    let release = Release::new("Some-Crate", "1.0.0");
    assert_snapshot!(
        desk.refuses_body("Refusal::SameVersion", release.body()),
        @"409 Conflict: crate version `Some-Crate 1.0.0` is already uploaded with this same checksum"
    );
    let release = Release::new("Some-Crate", "1.0.0+again");
    assert_snapshot!(
        desk.refuses_body("Refusal::VersionTaken", release.body()),
        @"409 Conflict: crate version `Some-Crate 1.0.0` is already uploaded; a version cannot be changed, and build metadata does not make another, so publish under a new number"
    );

    let yank = |rule: &str, name: &str| {
        let words = [
            "yank",
            "--registry",
            "crates",
            "--quiet",
            "--version",
            "2.0.0",
            name,
        ];
        let ran = desk.alice.cargo(&desk.alice.work(), &words);
        desk.sentence(rule, "failed to yank from the", &ran)
    };
    assert_snapshot!(
        yank("Refusal::NoSuchCrate", "absent"),
        @"404 Not Found: there is no crate `absent` in this registry"
    );
    assert_snapshot!(
        yank("Refusal::NoSuchVersion", "Some-Crate"),
        @"404 Not Found: the crate `Some-Crate` has no version `2.0.0`"
    );
}

#[test]
fn dependencies_that_are_not_there() {
    let desk = Desk::with_policy("");
    add(&desk, "Some-Crate", "1.0.0");
    let refuses = |rule: &str, section: &str, name: &str| {
        let index = desk.registry.git_index();
        let dependency =
            format!("[{section}]\n{name} = {{ version = '1', registry-index = '{index}' }}");
        desk.refuses_keys(rule, &dependency)
    };
    assert_snapshot!(
        refuses("MissingDependency::Unknown", "dependencies", "absent"),
        @"400 Bad Request: the dependency `absent` is not in this registry; publish it first, or leave `registry` out if it is a crate of the public one"
    );
    assert_snapshot!(
        refuses("MissingDependency::SpelledOtherwise", "dev-dependencies", "some_crate"),
        @"400 Bad Request: the dependency `some_crate` is spelled `Some-Crate` in this registry"
    );
    assert_snapshot!(
        refuses("MissingDependency::Itself", "dependencies", "krate"),
        @"400 Bad Request: the crate `krate` depends on itself but has no other version; only its tests may need the version itself"
    );
}

#[test]
fn what_tokens_and_policy_do_not_allow() {
    let desk = Desk::with_policy(
        "create = ['alice']\n\
         reserved = ['acme-core']\n\
         rates.new_crates = { burst = 1, per_hour = 1 }\n\
         rates.yanks = { burst = 1, per_hour = 1 }\n\
         rates.owners = { burst = 1, per_hour = 1 }\n",
    );
    let package = |name: &str| desk.package(name, "1.0.0", "");
    assert_snapshot!(
        desk.refuses("Refusal::ReservedByPolicy", &package("Acme_Core")),
        @"400 Bad Request: the name `Acme_Core` is reserved by the policy of this registry; choose another"
    );
    let bob = desk.machine_of("bob");
    assert_snapshot!(
        desk.refuses_to(&bob, "Refusal::MayNotCreate", &package("third")),
        @"403 Forbidden: the policy of this registry does not let `bob` create crates; who may: alice"
    );

    let limited = |scope: &[&str]| {
        let sandbox = sandbox(&desk.courier);
        sandbox.login(&desk.registry.token_with("alice", scope));
        sandbox
    };
    let yanker = limited(&["--can", "yank"]);
    assert_snapshot!(
        desk.refuses_to(&yanker, "NotPermitted::Action", &package("third")),
        @"403 Forbidden: this token may not `publish`; it allows `yank`"
    );
    let narrow = limited(&["--crates", "acme-*"]);
    assert_snapshot!(
        desk.refuses_to(&narrow, "NotPermitted::Crate", &package("third")),
        @"403 Forbidden: this token may not `publish` the crate `third`; it is limited to `acme_*`"
    );

    assert!(publish(&desk.alice, &package("first")).is_success());
    assert_snapshot!(
        desk.refuses("TooOften, crates", &package("second")),
        @"429 Too Many Requests: `alice` has created crates too often for this registry; the next is allowed in N seconds"
    );
    let yank = |extra: &[&str]| {
        let words = [
            "yank",
            "--version",
            "1.0.0",
            "first",
            "--registry",
            "crates",
            "--quiet",
        ];
        desk.alice
            .cargo(&desk.alice.work(), &[&words[..], extra].concat())
    };
    assert!(yank(&[]).is_success());
    let ran = yank(&["--undo"]);
    assert_snapshot!(
        desk.sentence("TooOften, yanks", "failed to undo a yank from the", &ran),
        @"429 Too Many Requests: `alice` has yanked too often for this registry; the next is allowed in N seconds"
    );
    let own = |whose: &str| {
        let words = [
            "owner",
            "--add",
            whose,
            "first",
            "--registry",
            "crates",
            "--quiet",
        ];
        desk.alice.cargo(&desk.alice.work(), &words)
    };
    assert!(own("bob").is_success());
    assert_snapshot!(
        desk.sentence("TooOften, owners", "failed to invite owners to crate `first` on", &own("carol")),
        @"429 Too Many Requests: `alice` has changed owners too often for this registry; the next is allowed in N seconds"
    );
    let again = request("PUT", "/crates/api/v1/crates/first/1.0.0/unyank")
        .token(&desk.registry.token("alice"))
        .send(desk.registry.port);
    let wait: u64 = again.header("retry-after").unwrap().parse().unwrap();
    assert!(
        (1..=3600).contains(&wait) && again.status == 429,
        "{again:?}"
    );
}
