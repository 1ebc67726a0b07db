//! `key rotate`.

use std::fs;
use std::thread;

use super::{assert_revoked, id_of, publish, signers, subjects};
use crate::common::git;
use crate::common::registry::Registry;
use crate::common::tools;

/// The id of the key that signed a token: the key `kid` of its header.
fn key_of(token: &str) -> String {
    use base64::Engine;
    let header = token.split('.').next().unwrap();
    let header = base64::prelude::BASE64_URL_SAFE_NO_PAD
        .decode(header)
        .unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

#[test]
fn keys_change_under_a_running_server_and_what_the_old_ones_signed_stays_good() {
    if tools::ssh_keygen().is_none() {
        return;
    }
    let mut registry = Registry::start();
    let old = registry.token("alice");
    publish(&registry, "alice", 0, &old).succeeds();
    let said = registry.run(&["key", "rotate"]).succeeds();
    let new = registry.token("alice");
    assert_ne!(key_of(&old), key_of(&new));
    publish(&registry, "alice", 1, &old).succeeds();
    publish(&registry, "alice", 2, &new).succeeds();
    let keys = signers(&registry);
    assert_eq!(keys.len(), 5);
    // The newest first: two publishes by the new key, the rotation and what was before it by the old one.
    assert_eq!((&keys[0], &keys[2]), (&keys[1], &keys[3]));
    assert_ne!(keys[1], keys[2]);
    said.prints(&keys[0]).prints(&key_of(&new));

    registry.kill();
    registry.start_again();
    publish(&registry, "alice", 3, &old).succeeds();
    publish(&registry, "alice", 4, &new).succeeds();
    registry.run(&["token", "revoke", &id_of(&old)]).succeeds();
    assert_revoked(&registry, "alice", &old);
    let again = signers(&registry);
    assert!(again[..3].iter().all(|key| *key == keys[0]), "{again:?}");
}

#[test]
fn keys_change_while_no_server_runs() {
    if tools::ssh_keygen().is_none() {
        return;
    }
    let mut registry = Registry::start();
    let old = registry.token("alice");
    registry.stop();
    registry.run(&["key", "rotate"]).succeeds();
    let new = registry.token("alice");
    registry.start_again();
    publish(&registry, "alice", 0, &old).succeeds();
    publish(&registry, "alice", 1, &new).succeeds();
    let keys = signers(&registry);
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2]);
}

#[test]
fn a_token_whose_key_was_taken_away_is_listed_as_that() {
    let mut registry = Registry::start();
    let (old, revoked) = (registry.token("alice"), registry.token("alice"));
    registry
        .run(&["token", "revoke", &id_of(&revoked)])
        .succeeds();
    registry.run(&["key", "rotate"]).succeeds();
    let new = registry.token("alice");
    let states = |registry: &Registry| {
        let listed = registry.run(&["token", "list"]).succeeds().stdout;
        [&old, &revoked, &new].map(|token| {
            let row = listed.lines().find(|row| row.starts_with(&id_of(token)));
            row.unwrap().rsplit_once("  ").unwrap().1.to_owned()
        })
    };
    assert_eq!(states(&registry), ["valid", "revoked", "valid"]);
    registry.stop();
    let keys = registry.data().join("keys");
    let current = fs::read_to_string(keys.join("token-current")).unwrap();
    let current = format!("token-{}.pk8", current.trim_end());
    for key in fs::read_dir(&keys).unwrap() {
        let name = key.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".pk8") && name != current {
            fs::remove_file(keys.join(name)).unwrap();
        }
    }
    assert_eq!(states(&registry), ["key gone", "revoked", "valid"]);
    registry.start_again();
    let refused = publish(&registry, "bob", 0, &old);
    assert_eq!(refused.status, 401, "{refused:?}");
    publish(&registry, "alice", 0, &new).succeeds();
}

#[test]
fn rotations_at_once_and_publishes_beside_them_all_succeed() {
    if tools::ssh_keygen().is_none() {
        return;
    }
    let mut registry = Registry::start();
    let old = registry.token("alice");
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| registry.run(&["key", "rotate"]).succeeds());
        }
        for patch in 0..6 {
            let (registry, old) = (&registry, &old);
            scope.spawn(move || {
                publish(registry, &format!("client-{patch}"), 0, old).succeeds();
            });
        }
        for _ in 0..3 {
            scope.spawn(|| {
                let fresh = registry.token("bob");
                let owner = format!("bob-{}", &id_of(&fresh)[..8]);
                publish(&registry, &owner, 0, &fresh).succeeds();
            });
        }
    });
    registry.stop();
    registry.start_again();
    publish(&registry, "alice", 1, &old).succeeds();
    assert_eq!(signers(&registry).len(), 1 + 3 + 6 + 3 + 1);
    let rotations = subjects(&registry);
    let rotations = rotations
        .iter()
        .filter(|subject| *subject == "add signing key");
    assert_eq!(rotations.count(), 3);
}

#[test]
fn a_rotation_that_was_killed_between_its_steps_is_finished() {
    if tools::ssh_keygen().is_none() {
        return;
    }
    let mut registry = Registry::start();
    let keys = registry.data().join("keys");
    let (sign, next) = (
        keys.join("signing-ed25519"),
        keys.join("signing-ed25519.next"),
    );
    let old_key = fs::read(&sign).unwrap();
    let marker = fs::read(keys.join("token-current")).unwrap();
    let old = registry.token("alice");
    registry.run(&["key", "rotate"]).succeeds();
    registry.kill();
    // As if it had been killed after the commit, before the new keys took their places.
    fs::rename(&sign, &next).unwrap();
    fs::write(&sign, old_key).unwrap();
    fs::write(keys.join("token-current"), &marker).unwrap();

    registry.start_again();
    assert!(!next.exists());
    publish(&registry, "alice", 0, &old).succeeds();
    publish(&registry, "alice", 1, &registry.token("alice")).succeeds();
    registry.run(&["key", "rotate"]).succeeds();
    publish(&registry, "alice", 2, &registry.token("alice")).succeeds();
    publish(&registry, "alice", 3, &old).succeeds();
    let signed = signers(&registry);
    assert_ne!(signed[4], signed[5], "the second key signed: {signed:?}");
    git::assert_sound(&registry.repository());
}
