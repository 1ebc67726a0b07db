//! What people see when they clone the index.

use std::collections::BTreeMap;

use serde_json::json;

use crate::common::git::{self, Clone};
use crate::common::http::{Request, request};
use crate::common::registry::Registry;
use crate::common::tools;
use crate::common::upload::Release;

/// A registry after a publish, a yank and its end, and a second owner, all by alice.
fn registry_with_history() -> (Registry, Release) {
    let registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::new("serde", "1.0.200");
    release.publish(registry.port, &token).succeeds();
    let change = |request: Request| request.token(&token).send(registry.port).succeeds();
    change(request(
        "DELETE",
        "/crates/api/v1/crates/serde/1.0.200/yank",
    ));
    change(request("PUT", "/crates/api/v1/crates/serde/1.0.200/unyank"));
    let bob = json!({ "users": ["bob"] }).to_string();
    change(request("PUT", "/crates/api/v1/crates/serde/owners").body(bob));
    (registry, release)
}

#[test]
fn history_has_one_readable_commit_a_change() {
    let (registry, release) = registry_with_history();
    let clone = Clone::of(&registry);
    let log = clone.git(&["log", "--format=%s", "-4"]);
    let subjects: Vec<&str> = log.lines().collect();
    assert_eq!(
        subjects,
        [
            "own serde +bob",
            "unyank serde 1.0.200",
            "yank serde 1.0.200",
            "publish serde 1.0.200",
        ]
    );
    // The commit before them is the one that made the registry.
    assert_eq!(clone.git(&["rev-list", "--count", "HEAD"]), "5");

    let published = trailers(&clone, "HEAD~3");
    assert_eq!(published["Crate"], "serde");
    assert_eq!(published["Version"], "1.0.200");
    assert_eq!(published["Cksum"], release.cksum());
    assert_eq!(published["Published-by"], "alice");
    for key in ["Authenticated-via", "Request-id"] {
        assert!(!published[key].is_empty(), "`{key}` in {published:?}");
    }
    for commit in ["HEAD~2", "HEAD~1"] {
        let changed = trailers(&clone, commit);
        assert_eq!(changed["Crate"], "serde");
        assert_eq!(changed["Version"], "1.0.200");
        assert!(changed.contains_key("Authenticated-via"), "{changed:?}");
        assert!(changed.contains_key("Request-id"), "{changed:?}");
    }
    assert_eq!(trailers(&clone, "HEAD")["Crate"], "serde");

    let authors = clone.git(&["log", "--format=%an", "-4"]);
    assert_eq!(authors, ["alice"; 4].join("\n"));
    let changed = clone.git(&["show", "--format=", "--name-only", "HEAD~3"]);
    assert_eq!(changed, "owners/se/rd/serde.toml\nse/rd/serde");
}

#[test]
fn a_change_that_changes_nothing_makes_no_commit() {
    let (registry, _) = registry_with_history();
    let token = registry.token("alice");
    let yank = request("DELETE", "/crates/api/v1/crates/serde/1.0.200/yank").token(&token);
    yank.send(registry.port).succeeds();
    let tip = git::tip(&registry.repository());
    yank.send(registry.port).succeeds();
    assert_eq!(git::tip(&registry.repository()), tip);
}

#[test]
fn readers_see_one_branch_in_both_versions_of_the_protocol() {
    let (registry, _) = registry_with_history();
    let tip = git::tip(&registry.repository());
    let wanted = [format!("{tip}\tHEAD"), format!("{tip}\trefs/heads/main")];
    for version in ["protocol.version=0", "protocol.version=2"] {
        let arguments = ["-c", version, "ls-remote", &registry.git_index()];
        let seen = git::git(&registry.repository(), &arguments).succeeds();
        // Git names the `HEAD` of a namespace twice: as its head, and as a ref that lies in it.
        let mut refs: Vec<&str> = seen.stdout.lines().collect();
        refs.dedup();
        assert_eq!(refs, wanted, "{version}");
    }
}

#[test]
fn every_commit_is_signed_by_a_key_that_the_index_names() {
    if tools::ssh_keygen().is_none() {
        return;
    }
    let (registry, _) = registry_with_history();
    let clone = Clone::of(&registry);
    let log = [
        "-c",
        "gpg.ssh.allowedSignersFile=allowed_signers",
        "log",
        "--show-signature",
        "--format=%G?",
    ];
    let verdicts = clone.git(&log);
    let is_verdict = |line: &&str| line.len() == 1;
    let good: Vec<&str> = verdicts.lines().filter(is_verdict).collect();
    assert_eq!(good, ["G"; 5], "{verdicts}");

    // The same check says no when the file names another key.
    let stranger = "sidecargo@localhost ssh-ed25519 \
                    AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n";
    std::fs::write(clone.path().join("allowed_signers"), stranger).unwrap();
    let verdicts = clone.git(&log);
    assert!(verdicts.lines().filter(is_verdict).all(|line| line != "G"));
}

#[test]
fn git_finds_no_fault_in_the_repository_and_its_clone() {
    let (registry, _) = registry_with_history();
    git::assert_sound(&registry.repository());
    git::assert_sound(&Clone::of(&registry).path());
}

/// The trailers of a commit as git itself reads them.
fn trailers(clone: &Clone, commit: &str) -> BTreeMap<String, String> {
    let lines = clone.git(&["log", "-1", "--format=%(trailers:only,unfold)", commit]);
    lines
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
