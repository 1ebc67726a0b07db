//! Cargo on a network with moods, and what it spares it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::common::cargos::{Sandbox, View};
use crate::common::project::{Project, locked_version};
use crate::common::ran::Ran;
use crate::common::registry::Registry;
use crate::common::relay::Relay;
use crate::common::upload::{Release, publish_all};

const BROKEN: &str = "HTTP/1.1 500 Internal Server Error";
const GATEWAY: &str = "HTTP/1.1 502 Bad Gateway";
const TOO_MANY: &str = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1";
/// None at all.
const OTHER_BYTES: &str = "HTTP/1.1 200 OK";
const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1";

/// What Cargo waits before it comes again if no answer says how long, in milliseconds: its own tests set it too.
const SOON: (&str, &str) = ("__CARGO_TEST_FIXED_RETRY_SLEEP_MS", "10");

/// A registry that knows itself only by the address of the relay before it, with one crate.
fn registry_behind(relay: &Relay) -> Registry {
    let public_url = format!("http://localhost:{}", relay.port);
    let registry = Registry::start_with(&format!("public_url = {public_url:?}\n"));
    relay.relay_to(registry.port);
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    release.publish(registry.port, &token).succeeds();
    registry
}

/// A machine that fetches the crate over the relay.
fn fetches_through(relay: &Relay, registry: &Registry) -> String {
    let cargo = Sandbox::stable(registry, View::Sparse);
    let hello = user(&cargo, &["krate".to_owned()]);
    let ran = fetch_through(relay, &cargo, &hello).succeeds();
    assert_eq!(locked_version(&hello, "krate"), "1.0.0");
    assert_eq!(relay.answers_left(), 0, "Cargo has not come again: {ran}");
    ran.stderr
}

fn fetch_through(relay: &Relay, cargo: &Sandbox, folder: &Path) -> Ran {
    let index = format!("sparse+http://localhost:{}/crates/index/", relay.port);
    let env = [("CARGO_REGISTRIES_CRATES_INDEX", index.as_str()), SOON];
    cargo.cargo_with_env(folder, &["fetch"], &env)
}

#[test]
fn cargo_refuses_other_bytes_than_those_that_the_index_names() {
    let relay = Relay::start();
    let registry = registry_behind(&relay);
    relay.answer_first("/krate/1.0.0/download", &[OTHER_BYTES]);
    let cargo = Sandbox::stable(&registry, View::Sparse);
    let hello = user(&cargo, &["krate".to_owned()]);
    fetch_through(&relay, &cargo, &hello).fails_with("failed to verify the checksum");
    assert_eq!(relay.answers_left(), 0);
}

#[test]
fn cargo_survives_two_failures_of_each_kind_of_file() {
    let relay = Relay::start();
    let registry = registry_behind(&relay);
    for path in ["/config.json", "/kr/at/krate", "/krate/1.0.0/download"] {
        relay.answer_first(path, &[BROKEN, GATEWAY]);
    }
    let said = fetches_through(&relay, &registry);
    assert!(said.contains("spurious network error"), "{said}");
}

#[test]
fn cargo_waits_as_long_as_it_is_told() {
    let relay = Relay::start();
    let registry = registry_behind(&relay);
    relay.answer_first("/kr/at/krate", &[TOO_MANY]);
    relay.answer_first("/krate/1.0.0/download", &[UNAVAILABLE]);
    let said = fetches_through(&relay, &registry);
    assert!(said.contains("429"), "{said}");
    assert!(said.contains("503"), "{said}");
}

/// Cargo keeps its connections, and so does the server: with HTTP/1.1 two of them are enough for everything.
#[test]
fn two_connections_carry_two_hundred_crates() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let names: Vec<String> = (0..200).map(|n| format!("many-{n}")).collect();
    publish_all(&names, registry.port, &token);
    let cargo = Sandbox::stable(&registry, View::Sparse);
    let hello = user(&cargo, &names);
    let log_len = registry.log().len();
    let one_by_one = [("CARGO_HTTP_MULTIPLEXING", "false")];
    cargo
        .cargo_with_env(&hello, &["fetch"], &one_by_one)
        .succeeds();
    let log = registry.log().split_off(log_len);
    let peers: Vec<&str> = log.lines().filter_map(peer_of).collect();
    let connections: BTreeSet<&str> = peers.iter().copied().collect();
    // A file and a download of each crate, and the configuration.
    assert!(peers.len() > 400, "{} requests", peers.len());
    println!(
        "{} requests over {} connections",
        peers.len(),
        connections.len()
    );
    // Two for the index and two for the downloads: these are different clients inside Cargo.
    assert!(connections.len() <= 4, "{connections:?}");
}

/// The connection of an answered request, as the log has it.
fn peer_of(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(" peer=")?;
    rest.split(['}', ' ']).next()
}

fn user(cargo: &Sandbox, names: &[String]) -> PathBuf {
    Project::program("hello", "")
        .depends_on_all(names)
        .write(&cargo.work())
}
