//! Who reads a private registry, who does not, and what happens while the forge cannot be asked.

use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

use super::beside::{Beside, DEVELOPER, Wanted, publish};
use super::gitea::Gitea;
use crate::common::http::{Reply, get, request};
use crate::common::metrics::Metrics;
use crate::common::registry::Registry;
use crate::common::upload::Release;

/// Every kind of address at which the registry tells what is in it.
const READS: [&str; 6] = [
    "/crates/index/config.json",
    "/crates/index/gr/ee/greeter",
    "/crates/git/info/refs?service=git-upload-pack",
    "/crates/api/v1/crates?q=greeter",
    "/crates/api/v1/crates/greeter/owners",
    "/crates/dl/greeter/0.1.0/download",
];

fn read(registry: &Registry, path: &str, token: Option<&str>) -> Reply {
    let request = get(path);
    let request = match token {
        Some(token) => request.token(token),
        None => request,
    };
    request.send(registry.port)
}

/// A number of `/metrics`, read with this token; 0 if it was never counted on.
fn measured(registry: &Registry, token: &str, series: &str) -> f64 {
    let reply = read(registry, "/metrics", Some(token)).succeeds();
    Metrics::parse(reply.text()).unwrap().get(series)
}

fn statuses(registry: &Registry, token: Option<&str>) -> [u16; 6] {
    READS.map(|path| read(registry, path, token).status)
}

#[test]
fn who_reads_the_index_repository_reads_the_registry_and_nobody_else() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start_as(forge, &Wanted::private());
    let registry = &beside.registry;
    let [reader, stranger] = ["rita", "sam"].map(|word| forge.user(word));
    forge.collaborate(&beside.repository, &reader, "read");
    let of_reader = beside.token(&reader, &["read:repository"]);
    let writer = beside.token(&reader, &DEVELOPER);
    publish(&beside.developer(&writer), "0.1.0").succeeds();
    let owner = beside.token(&beside.owner, &["all"]);
    let bearer = format!("Bearer {of_reader}");
    for token in [&of_reader, &writer, &owner, &bearer] {
        assert_eq!(statuses(registry, Some(token)), [200; 6]);
    }
    let of_stranger = beside.token(&stranger, &["all"]);
    assert_eq!(statuses(registry, Some(&of_stranger)), [403; 6]);
    let said = beside.read(&of_stranger).refusal();
    assert!(said.contains("may not read the index repository"), "{said}");
    // A token of somebody who may, and that itself may not.
    for scopes in [&["read:user"][..], &["public-only", "read:repository"]] {
        let narrow = beside.token(&reader, scopes);
        assert_eq!(statuses(registry, Some(&narrow)), [403; 6], "{scopes:?}");
        let said = beside.read(&narrow).refusal();
        assert!(said.contains("the forge refuses: token"), "{said}");
    }
    assert_eq!(statuses(registry, Some(&"0".repeat(40))), [401; 6]);
    assert_eq!(statuses(registry, None), [401; 6]);
    // Nor does the stranger write, with a token that may do everything for its owner.
    let refused = Release::new("another", "0.1.0").publish(registry.port, &of_stranger);
    assert_eq!(refused.status, 403, "{refused:?}");
    // Whoever is let in later is so once the no is forgotten; with another token at once.
    forge.collaborate(&beside.repository, &stranger, "read");
    let another = beside.token(&stranger, &["read:repository"]);
    assert_eq!(statuses(registry, Some(&another)), [200; 6]);
}

#[test]
fn who_was_taken_off_the_index_repository_writes_nothing_whatever_they_own() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start_as(forge, &Wanted::private());
    let alice = forge.user("alice");
    forge.collaborate(&beside.repository, &alice, "read");
    let token = beside.token(&alice, &DEVELOPER);
    let port = beside.registry.port;
    Release::new("greeter", "0.1.0")
        .publish(port, &token)
        .succeeds();
    forge.take_off(&beside.repository, &alice);
    let yank = request("DELETE", "/crates/api/v1/crates/greeter/0.1.0/yank").token(&token);
    let publish = Release::new("greeter", "0.1.1").publish(port, &token);
    for refused in [publish, yank.send(port)] {
        assert_eq!(refused.status, 403, "{refused:?}");
        let said = refused.refusal();
        assert!(said.contains("may not read the index repository"), "{said}");
    }
    assert!(beside.newest().contains("\n\npublish greeter 0.1.0\n"));
}

#[test]
fn while_the_forge_is_away_its_readers_read_on_and_nobody_else_does_anything() {
    let Some(mut forge) = Gitea::start() else {
        return;
    };
    let (mut registry, _secret, known, unseen) = {
        let beside = Beside::start_as(&forge, &Wanted::private());
        let reader = forge.user("rita");
        forge.collaborate(&beside.repository, &reader, "read");
        let [known, unseen] = [(); 2].map(|()| beside.token(&reader, &DEVELOPER));
        publish(&beside.developer(&known), "0.1.0").succeeds();
        let Beside {
            registry, secret, ..
        } = beside;
        (registry, secret, known, unseen)
    };
    let looks = |look: &str| {
        let series = format!("sidecargo_forge_tokens_total{{look=\"{look}\"}}");
        measured(&registry, &known, &series)
    };
    let questions = |outcome: &str| {
        let series = format!("sidecargo_forge_questions_total{{outcome=\"{outcome}\"}}");
        measured(&registry, &known, &series)
    };
    assert_eq!(statuses(&registry, Some(&known)), [200; 6]);
    assert!(questions("answered") > 0.0 && looks("asked") > 0.0);
    assert!(measured(&registry, &known, "sidecargo_forge_tokens_remembered") > 0.0);
    assert!(measured(&registry, &known, "sidecargo_forge_question_seconds_count") > 0.0);
    assert_eq!(looks("held_off"), 0.0);
    let own = registry.token("alice");
    forge.stop();
    assert_eq!(statuses(&registry, Some(&known)), [200; 6]);
    assert_eq!(statuses(&registry, Some(&own)), [200; 6]);
    // One that is as good, but was never seen, and one that is none.
    for token in [&unseen, &"0".repeat(40)] {
        assert_eq!(statuses(&registry, Some(token)), [503; 6]);
    }
    assert_eq!(statuses(&registry, None), [401; 6]);
    for token in [&known, &unseen] {
        let refused = Release::new("greeter", "0.1.1").publish(registry.port, token);
        assert_eq!(refused.status, 503, "{refused:?}");
        let said = refused.refusal();
        assert!(said.contains("the forge cannot be reached"), "{said}");
        assert!(said.contains("it decides who may do this"), "{said}");
    }
    assert!(questions("unreachable") > 0.0 && looks("remembered") + looks("outlasted") > 0.0);
    // After a restart it is not known any more who read before; what is the registry's own it knows.
    registry.stop();
    registry.start_again();
    assert_eq!(statuses(&registry, Some(&known)), [503; 6]);
    assert_eq!(statuses(&registry, Some(&own)), [200; 6]);
    // A stolen one is refused with all others while their key is gone.
    let (keys, away) = (registry.data().join("keys"), TempDir::new().unwrap());
    let of_tokens = || {
        let files = fs::read_dir(&keys)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let is_it = |name: &OsString| name.to_string_lossy().starts_with("token-");
        files.filter(is_it).collect::<Vec<OsString>>()
    };
    registry.stop();
    for name in of_tokens() {
        fs::rename(keys.join(&name), away.path().join(&name)).unwrap();
    }
    registry.start_again();
    assert_eq!(statuses(&registry, Some(&own)), [401; 6]);
    registry.stop();
    for entry in fs::read_dir(away.path()).unwrap() {
        let name = entry.unwrap().file_name();
        if name.to_string_lossy().ends_with(".pk8") {
            fs::copy(away.path().join(&name), keys.join(&name)).unwrap();
        }
    }
    registry.start_again();
    assert_eq!(statuses(&registry, Some(&own)), [200; 6]);
    forge.start_again();
    assert_eq!(statuses(&registry, Some(&unseen)), [200; 6]);
    Release::new("greeter", "0.1.1")
        .publish(registry.port, &known)
        .succeeds();
}

#[test]
fn a_storm_of_unknown_tokens_is_held_off_and_work_goes_on() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start_as(forge, &Wanted::private());
    let registry = &beside.registry;
    let reader = forge.user("rita");
    forge.collaborate(&beside.repository, &reader, "read");
    let token = beside.token(&reader, &DEVELOPER);
    let (is_over, held_off) = (AtomicBool::new(false), AtomicUsize::new(0));
    let first = beside.read(&token);
    assert_eq!(first.status, 200, "{first:?}");
    thread::scope(|scope| {
        // From two addresses, of which one is that of the work.
        for host in [1, 2] {
            let (is_over, held_off) = (&is_over, &held_off);
            scope.spawn(move || {
                let from = Ipv4Addr::new(127, 0, 0, host);
                for number in 0_u64.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let unknown = format!("{host}{number:039x}");
                    let request = get(READS[0]).token(&unknown);
                    let reply = request.send_from(from, registry.port);
                    match reply.status {
                        429 => {
                            let wait = reply.header("retry-after").unwrap();
                            assert!(wait.parse::<u64>().unwrap() > 0, "{wait}");
                            held_off.fetch_add(1, Ordering::Relaxed);
                        }
                        status => assert_eq!(status, 401, "{reply:?}"),
                    }
                }
            });
        }
        let ended = End(&is_over);
        publish(&beside.developer(&token), "0.1.0").succeeds();
        for _ in 0..20 {
            assert_eq!(statuses(registry, Some(&token)), [200; 6]);
        }
        // From an address without a storm, somebody new is let in.
        let new = beside.token(&reader, &["read:repository"]);
        let request = get(READS[0]).token(&new);
        let reply = request.send_from(Ipv4Addr::new(127, 0, 0, 3), registry.port);
        assert_eq!(reply.status, 200, "{reply:?}");
        while held_off.load(Ordering::Relaxed) < 100 {
            thread::yield_now();
        }
        drop(ended);
    });
}

#[test]
fn a_storm_does_not_stop_who_published_a_moment_ago_on_a_public_registry() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let port = beside.registry.port;
    let token = beside.token(&beside.owner, &DEVELOPER);
    let publish = |version: &str| Release::new("greeter", version).publish(port, &token);
    publish("0.1.0").succeeds();
    let add = |token: &str| {
        let request = request("PUT", "/crates/api/v1/crates/greeter/owners");
        request
            .body(r#"{"users":["olga"]}"#)
            .token(token)
            .send(port)
    };
    let statuses = (0..25).map(|number| add(&format!("{number:040x}")).status);
    let statuses: Vec<u16> = statuses.collect();
    assert_eq!(statuses[..20], [401; 20]);
    assert_eq!(statuses[24], 429);
    publish("0.1.1").succeeds();
    let yank = request("DELETE", "/crates/api/v1/crates/greeter/0.1.0/yank");
    yank.token(&token).send(port).succeeds();
}

/// Ends the storm, also when the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
