//! `/metrics`: each number moves when its thing happens.

use std::time::{Duration, Instant};

use crate::common::git::Clone;
use crate::common::http::{connect, get, request};
use crate::common::metrics::Metrics;
use crate::common::person;
use crate::common::registry::Registry;
use crate::common::upload::{Release, frame};

/// Reads until `is_so`; gives the reading.
#[track_caller]
fn wait_until(registry: &Registry, what: &str, is_so: impl Fn(&Metrics) -> bool) -> Metrics {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let metrics = Metrics::of(registry);
        if is_so(&metrics) {
            return metrics;
        }
        assert!(Instant::now() < deadline, "{what}:\n{}", metrics.text);
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn requests(route: &str, status: u16) -> String {
    format!("sidecargo_http_requests_total{{route=\"{route}\",status=\"{status}\"}}")
}

fn publishes(outcome: &str) -> String {
    format!("sidecargo_publishes_total{{outcome=\"{outcome}\"}}")
}

#[test]
fn answers_are_counted_by_route_and_status() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    release.publish(registry.port, &token).succeeds();
    let etag = get("/crates/index/kr/at/krate").send(registry.port);
    let etag = etag.header("etag").unwrap().to_owned();
    let index = || get("/crates/index/kr/at/krate");
    let long = format!("/{}", "a".repeat(10_000));
    let api = "/crates/api/v1/crates";
    for (sent, route, status) in [
        (index(), "index_file", 200),
        (index().header("If-None-Match", &etag), "index_file", 304),
        (get("/crates/index/no/ne/none"), "index_file", 404),
        (get(release.download_path()), "download", 200),
        (
            get(release.download_path()).header("Range", "bytes=0-1"),
            "download",
            206,
        ),
        (
            get("/crates/git/info/refs?service=git-upload-pack"),
            "info_refs",
            200,
        ),
        (
            request("POST", "/crates/git/git-upload-pack").body("x"),
            "upload_pack",
            400,
        ),
        (
            request("POST", "/crates/git/git-receive-pack"),
            "receive_pack",
            403,
        ),
        (request("PUT", format!("{api}/new")), "publish", 401),
        (
            request("DELETE", format!("{api}/krate/1.0.0/yank")).token(&token),
            "yank",
            200,
        ),
        (
            request("PUT", format!("{api}/krate/1.0.0/unyank")).token(&token),
            "unyank",
            200,
        ),
        (get(format!("{api}/krate/owners")), "list_owners", 200),
        (
            request("PUT", format!("{api}/krate/owners")),
            "add_owners",
            401,
        ),
        (
            request("DELETE", format!("{api}/krate/owners")),
            "remove_owners",
            401,
        ),
        (get(format!("{api}?q=krate")), "search", 200),
        (get("/crates/me"), "me", 200),
        (get("/healthz"), "healthz", 200),
        (get("/readyz"), "readyz", 200),
        (get("/nothing"), "none", 404),
        (request("PUT", "/healthz"), "none", 405),
        (get(long), "none", 414),
    ] {
        let before = Metrics::of(&registry).get(&requests(route, status));
        let reply = sent.send(registry.port);
        assert_eq!(reply.status, status, "{route}: {reply:?}");
        let after = Metrics::of(&registry).get(&requests(route, status));
        assert_eq!(after, before + 1.0, "{route} {status}");
    }
    let own = requests("metrics", 200);
    let before = Metrics::of(&registry).get(&own);
    assert_eq!(Metrics::of(&registry).get(&own), before + 1.0);
}

#[test]
fn what_alerts_look_for_is_there_before_it_happens() {
    let registry = Registry::start();
    let metrics = Metrics::of(&registry);
    for series in [
        publishes("failed"),
        publishes("unknown"),
        requests("publish", 500),
        requests("publish", 503),
        requests("none", 500),
        requests("webhook", 401),
    ] {
        let line = format!("{series} 0");
        let is_there = metrics.text.lines().any(|it| it == line);
        assert!(is_there, "no `{line}` in\n{}", metrics.text);
    }
    let routes = metrics.values_of("route");
    assert!(routes.len() > 20, "{routes:?}");
    for route in routes {
        for status in [500, 503] {
            assert!(metrics.text.contains(&requests(route, status)), "{route}");
        }
    }
    let outcomes = metrics.values_of("outcome");
    assert_eq!(outcomes.len(), 8, "{outcomes:?}");
    let mut lines = include_str!("../../OPERATIONS.md").lines();
    let explained = lines.find(|line| line.starts_with("`outcome` of a publish is "));
    for outcome in outcomes {
        let word = format!("`{outcome}`");
        assert!(explained.unwrap().contains(&word), "{word}");
    }
}

#[test]
fn a_publish_moves_what_measures_the_index_and_the_disk() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let before = Metrics::of(&registry);
    let older = Metrics::of(&registry);
    let age = "sidecargo_index_snapshot_age_seconds";
    assert!(older.get(age) > before.get(age));
    let began = Instant::now();
    Release::new("krate", "1.0.0")
        .publish(registry.port, &token)
        .succeeds();
    let after = Metrics::of(&registry);
    assert!(after.get(age) <= began.elapsed().as_secs_f64());
    for (name, more) in [
        ("sidecargo_index_crates", 1.0),
        ("sidecargo_index_group_changes_count", 1.0),
        ("sidecargo_index_group_changes_sum", 1.0),
        ("sidecargo_index_pack_seconds_count", 1.0),
        ("sidecargo_index_tip_seconds_count", 1.0),
        ("sidecargo_index_group_seconds_count", 1.0),
        (&publishes("published"), 1.0),
        ("sidecargo_tokens_verified_total", 1.0),
        ("sidecargo_tokens_remembered", 1.0),
        ("sidecargo_tokens_remembered_total", 0.0),
    ] {
        assert_eq!(after.get(name), before.get(name) + more, "{name}");
    }
    // The crate file and its folder, the pack, the tip and its folder; and perhaps the place of the next pack by now.
    let flushes = "sidecargo_disk_flush_seconds_count";
    assert!((5.0..=6.0).contains(&(after.get(flushes) - before.get(flushes))));
    for name in ["pack", "tip"] {
        let name = format!("sidecargo_index_{name}_seconds_sum");
        assert!(after.get(&name) > before.get(&name), "{name}");
    }
    Release::new("krate", "1.0.1")
        .publish(registry.port, &token)
        .succeeds();
    let third = Metrics::of(&registry);
    assert_eq!(third.get("sidecargo_index_crates"), 1.0);
    assert_eq!(third.get("sidecargo_tokens_remembered_total"), 1.0);
    assert_eq!(third.get("sidecargo_index_changes_waiting"), 0.0);

    get("/crates/api/v1/crates?q=krate")
        .send(registry.port)
        .succeeds();
    wait_until(&registry, "the catalog has the crate", |metrics| {
        metrics.get("sidecargo_catalog_crates") == 1.0
            && metrics.get("sidecargo_catalog_unread") == 0.0
    });
}

#[test]
fn uploads_are_counted_by_what_became_of_them() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let reader = registry.token_with("bob", &["--can", "read"]);
    let release = Release::new("krate", "1.0.0");
    let other = Release::with_source("krate", "1.0.0", "other");
    let upload = |token: &str, body: Vec<u8>| {
        request("PUT", "/crates/api/v1/crates/new")
            .token(token)
            .body(body)
    };
    for (sent, status, outcome) in [
        (upload(&token, release.body()), 200, "published"),
        (upload(&token, release.body()), 409, "there_already"),
        (upload(&token, other.body()), 409, "refused"),
        (upload(&reader, release.body()), 403, "refused"),
        (upload(&token, frame(b"{}", b"no tarball")), 400, "refused"),
        (upload(&token, frame(b"none", b"no tarball")), 400, "broken"),
        (upload(&token, Vec::new()), 400, "broken"),
    ] {
        let before = Metrics::of(&registry).get(&publishes(outcome));
        let reply = sent.send(registry.port);
        assert_eq!(reply.status, status, "{outcome}: {reply:?}");
        let after = Metrics::of(&registry).get(&publishes(outcome));
        assert_eq!(after, before + 1.0, "{outcome}");
    }
}

#[test]
fn a_branch_that_is_not_good_and_one_that_is_again_are_seen() {
    let registry = Registry::start();
    let (stalled, found) = (
        "sidecargo_index_stalled",
        "sidecargo_index_violations_total",
    );
    let before = Metrics::of(&registry);
    assert_eq!((before.get(stalled), before.get(found)), (0.0, 0.0));
    let clone = Clone::of(&registry);
    let good = String::from_utf8(clone.bytes("config.json")).unwrap();
    person::commit_file(&registry, "config.json", "{}");
    wait_until(&registry, "it stalls", |metrics| {
        metrics.get(stalled) == 1.0
    });
    assert_eq!(get("/readyz").send(registry.port).status, 503);
    get("/healthz").send(registry.port).succeeds();
    person::commit_file(&registry, "config.json", &good);
    wait_until(&registry, "it is good again", |metrics| {
        metrics.get(stalled) == 0.0 && metrics.get(found) == 1.0
    });
    get("/readyz").send(registry.port).succeeds();
}

#[test]
fn the_process_is_measured() {
    let registry = Registry::start();
    let before = Metrics::of(&registry);
    // They are taken in before the connection that asks.
    let idle: Vec<_> = (0..20).map(|_| connect(registry.port).unwrap()).collect();
    let after = Metrics::of(&registry);
    let open = "process_open_fds";
    // Not compared with before: a server that has just started reads files for a moment.
    assert!(after.get(open) > 20.0, "{}", after.text);
    let served = "sidecargo_http_connections";
    assert!(after.get(served) > 20.0, "{}", after.text);
    drop(idle);
    wait_until(&registry, "they are closed", |metrics| {
        // One is the connection that asks.
        metrics.get(open) < after.get(open) - 10.0 && metrics.get(served) == 1.0
    });
    let resident = after.get("process_resident_memory_bytes");
    assert!(resident > 1e6);
    let allocated = "sidecargo_memory_allocated_bytes";
    assert!((1e5..resident).contains(&after.get(allocated)));
    wait_until(&registry, "what is allocated is counted anew", |metrics| {
        metrics.get(allocated) != after.get(allocated)
    });
    let uptime = "sidecargo_uptime_seconds";
    assert!(after.get(uptime) > before.get(uptime));
    let build = format!(
        "sidecargo_build_info{{version=\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(after.get(&build), 1.0);
    assert_eq!(after.get("sidecargo_index_writer_up"), 1.0);
    assert_eq!(after.get("sidecargo_index_maintenance_up"), 1.0);
    assert_eq!(after.get("sidecargo_fetch_processes_max"), 16.0);
    assert_eq!(after.get("sidecargo_http_connections_max"), 512.0);
}

#[test]
fn a_commit_that_is_cloned_again_is_sent_from_memory_until_there_is_another() {
    let registry = Registry::start();
    let token = registry.token("alice");
    Release::new("krate", "1.0.0")
        .publish(registry.port, &token)
        .succeeds();
    let remembered = "sidecargo_fetches_remembered_total";
    let head = || {
        let clone = Clone::of(&registry);
        clone.git(&["fsck", "--strict"]);
        (clone.git(&["rev-parse", "HEAD"]), Metrics::of(&registry))
    };
    let (first, metrics) = head();
    assert_eq!(metrics.get(remembered), 0.0);
    assert!(metrics.get("sidecargo_fetch_memory_bytes") > 0.0);
    let (again, metrics) = head();
    assert_eq!((again, metrics.get(remembered)), (first.clone(), 1.0));
    Release::new("krate", "1.1.0")
        .publish(registry.port, &token)
        .succeeds();
    let (other, metrics) = head();
    assert_ne!(other, first);
    assert_eq!(metrics.get(remembered), 1.0);
}

#[test]
fn metrics_name_no_crate_no_person_and_no_path() {
    let registry = Registry::start();
    let token = registry.token("petronella");
    let release = Release::new("unmentionable", "1.2.3");
    release.publish(registry.port, &token).succeeds();
    release.publish(registry.port, &token).refusal();
    get(release.download_path()).send(registry.port).succeeds();
    get("/crates/index/un/me/unmentionable").send(registry.port);
    get("/unmentionable").send(registry.port);
    let metrics = Metrics::of(&registry);
    for word in ["unmentionable", "petronella", "1.2.3", "token-", "/"] {
        let found = metrics.text.lines().find(|line| line.contains(word));
        assert_eq!(found, None, "{word}");
    }
    let labels: Vec<&str> = metrics.labels().into_iter().collect();
    assert_eq!(labels, ["le", "outcome", "route", "status", "version"]);
    for route in metrics.values_of("route") {
        assert!(
            route.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{route}"
        );
    }
    assert!(metrics.has("sidecargo_fetches_refused_total"));
}

#[test]
fn of_a_private_registry_only_its_readers_see_them() {
    let registry = Registry::start_with("visibility = \"private\"\n");
    let refused = get("/metrics").send(registry.port);
    assert_eq!(refused.status, 401);
    refused.refusal();
    let writer = registry.token_with("ci", &["--can", "publish"]);
    assert_eq!(
        get("/metrics").token(&writer).send(registry.port).status,
        403
    );
    let reader = registry.token_with("monitor", &["--can", "read"]);
    // As a monitoring system sends it.
    let bearer = format!("Bearer {reader}");
    let reply = get("/metrics").header("Authorization", &bearer);
    Metrics::parse(reply.send(registry.port).succeeds().text()).unwrap();
}
