//! More clients than there is room for.

use std::io::{Read, Write};

use super::{Besieged, clone_works};
use crate::common::cargos::{Sandbox, View};
use crate::common::http::{connect, get};
use crate::common::metrics::Metrics;
use crate::common::project::{Project, locked_version};
use crate::common::upload::Release;
use crate::common::watch::eventually;

/// More than the server takes at once.
const IDLE: usize = 1_000;
/// As many from one address have been seen to hold all places for as long as a head may take.
const HALVES: usize = 700;

#[test]
fn a_thousand_idle_connections_do_not_stop_work() {
    // They may idle for long: nothing but the need for their places ends them.
    let besieged = Besieged::with("[http]\nheader_secs = 600\nconnections_max = 200\n");
    let port = besieged.port();
    let mut idle = Vec::with_capacity(IDLE);
    for n in 0..IDLE {
        idle.push(connect(port).unwrap());
        if n % 100 == 0 {
            get("/crates/index/kr/at/krate").send(port).succeeds();
        }
    }
    let token = besieged.registry.token("alice");
    let release = Release::new("busy", "1.0.0");
    release.publish(port, &token).succeeds();
    get(release.download_path()).send(port).succeeds();
    let yank = crate::common::http::request("DELETE", "/crates/api/v1/crates/busy/1.0.0/yank");
    yank.token(&token).send(port).succeeds();

    // Most of the thousand have had to leave.
    let mut told_to_leave = 0;
    for mut stream in idle {
        stream.set_nonblocking(true).unwrap();
        told_to_leave += usize::from(stream.read(&mut [0; 1]).is_ok_and(|count| count == 0));
    }
    assert!(told_to_leave >= IDLE - 2 * 200, "{told_to_leave} left");
    besieged.with_a_new_tip().has_held();
}

#[test]
fn few_descriptors_do_not_stop_work() {
    let config = "[http]\nheader_secs = 600\nbody_idle_secs = 600\n\n[fetch]\nchildren_max = 4\n";
    let besieged = Besieged::with(config);
    let limited = "ulimit -n 300 && exec \"$0\" \"$@\"";
    let besieged = besieged.under(&["sh", "-c", limited]);
    let port = besieged.port();
    let token = besieged.registry.token("alice");
    let work = |minor: usize| {
        for patch in 0..10 {
            let release = Release::new("busy", &format!("1.{minor}.{patch}"));
            release.publish(port, &token).succeeds();
            get(release.download_path()).send(port).succeeds();
            clone_works(&besieged.registry);
        }
    };
    // An upload that is no small one has its file open twice.
    let metric = |name: &str| Metrics::of(&besieged.registry).get(name) as usize;
    let large = Release::large("large", "1.0.0", 200_000);
    let places = metric("sidecargo_http_connections_max");
    let upload = |_| large.begin(port, &token).comes_by_half();
    let held: Vec<_> = (8..places).map(upload).collect();
    eventually("they have come so far", || {
        (metric("process_open_fds") > 3 * held.len()).then_some(())
    });
    work(0);
    drop(held);
    // More than there are descriptors, and none of them leaves by itself.
    let idle: Vec<_> = (0..600).map(|_| connect(port).unwrap()).collect();
    work(1);
    drop(idle);
    let log = besieged.registry.log();
    assert!(!log.contains("Too many open files"), "{log}");
    assert!(log.contains("fewer connections"), "{log}");
    besieged.with_a_new_tip().has_held();
}

#[test]
fn the_limit_of_descriptors_is_raised_as_far_as_it_may_be() {
    let besieged = Besieged::with("[http]\nconnections_max = 700\n");
    let limited = "ulimit -Sn 256 && exec \"$0\" \"$@\"";
    let besieged = besieged.under(&["sh", "-c", limited]);
    let limits = format!("/proc/{}/limits", besieged.registry.pid());
    let limits = std::fs::read_to_string(limits).unwrap();
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft: usize = files
        .unwrap()
        .split_whitespace()
        .nth(3)
        .unwrap()
        .parse()
        .unwrap();
    assert!(soft > 2 * 700, "{limits}");
    assert!(!besieged.registry.log().contains("fewer connections"));
    besieged.has_held();
}

#[test]
fn heads_that_came_in_part_do_not_stop_work() {
    // Their time for a head is long: nothing but the need for their places ends them.
    let besieged = Besieged::with("[http]\nheader_secs = 600\nconnections_max = 200\n");
    let port = besieged.port();
    let mut halves = Vec::with_capacity(HALVES);
    for _ in 0..HALVES {
        let mut stream = connect(port).unwrap();
        stream
            .write_all(b"GET /crates/index/kr/at/krate HTTP/1.1\r\nHost:")
            .unwrap();
        halves.push(stream);
    }
    for _ in 0..3 {
        get("/crates/index/kr/at/krate").send(port).succeeds();
    }
    let stay = halves.iter_mut().filter_map(|stream| {
        stream.set_nonblocking(true).unwrap();
        let read = stream.read(&mut [0; 1]);
        read.err()
            .filter(|fault| fault.kind() == std::io::ErrorKind::WouldBlock)
    });
    assert!(stay.count() <= 200);
    drop(halves);
    besieged.has_held();
}

#[test]
fn fetches_that_wait_for_a_place_give_way_to_other_clients() {
    const PLACES: usize = 100;
    // Nothing but the need for their places ends them.
    let config = format!(
        "[http]\nconnections_max = {PLACES}\n\n[fetch]\nper_address_max = 1\nqueue_secs = 600\nstall_secs = 600\n"
    );
    let besieged = Besieged::with_large_index(&config);
    let port = besieged.port();
    let holder = besieged.deaf_clone();
    let ask = "GET /crates/git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: a\r\n\r\n";
    let wait = |_| {
        let mut stream = connect(port).unwrap();
        stream.write_all(ask.as_bytes()).unwrap();
        stream
    };
    let mut waiting: Vec<_> = (0..2 * PLACES).map(wait).collect();
    get("/crates/index/kr/at/krate").send(port).succeeds();
    for stream in &mut waiting[..PLACES / 2] {
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(status.as_slice(), b"HTTP/1.1 503");
    }
    drop((holder, waiting));
    besieged.has_held();
}

#[test]
fn cargo_comes_again_when_there_was_no_place() {
    let limits =
        "[fetch]\nchildren_max = 1\nper_address_max = 1\nqueue_secs = 1\nstall_secs = 600\n";
    let besieged = Besieged::with_large_index(limits);
    let port = besieged.port();
    let holder = besieged.deaf_clone();

    let refused = get("/crates/git/info/refs?service=git-upload-pack").send(port);
    assert_eq!(refused.status, 503, "{}", refused.refusal());
    let metrics = Metrics::of(&besieged.registry);
    assert_eq!(metrics.get("sidecargo_fetch_processes"), 1.0);
    assert_eq!(metrics.get("sidecargo_fetches_refused_total"), 1.0);
    assert_eq!(metrics.get("sidecargo_fetches_waiting"), 0.0);
    let seconds = refused
        .header("retry-after")
        .expect("it says when to come again");
    assert!(seconds.parse::<u32>().unwrap() > 0);
    // Readers of the sparse index have not noticed.
    get("/crates/index/kr/at/krate").send(port).succeeds();

    let log_len = besieged.registry.log().len();
    let cargo = Sandbox::stable(&besieged.registry, View::Git);
    let hello = Project::program("hello", "")
        .depends_on("krate", "1")
        .write(&cargo.work());
    std::thread::scope(|scope| {
        let locking = scope.spawn(|| cargo.cargo(&hello, &["generate-lockfile"]));
        let is_refused = || besieged.registry.log()[log_len..].contains("status=503");
        while !is_refused() && !locking.is_finished() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        drop(holder);
        locking.join().unwrap().succeeds();
    });
    assert!(besieged.registry.log()[log_len..].contains("status=503"));
    assert_eq!(locked_version(&hello, "krate"), "1.0.0");
    besieged.has_held();
}
