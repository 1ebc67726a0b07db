//! Clients that take or give their bytes as slowly as they can.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Besieged, LARGE_BYTES, SHORT_LIMITS, clone_works};
use crate::common::http::{connect, connect_from, exchange_bytes, get};
use crate::common::metrics::Metrics;
use crate::common::process::{children, settled};
use crate::common::upload::Release;

#[test]
fn bodies_that_stall_are_given_up() {
    let besieged = Besieged::with(SHORT_LIMITS);
    let port = besieged.port();
    let head = |length: usize| {
        format!(
            "PUT /crates/api/v1/crates/new HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Authorization: {}\r\nContent-Length: {length}\r\n\r\n",
            besieged.token
        )
    };
    // Different clients stop at different places; none of them ever says more.
    let stalled: Vec<String> = [
        head(1000),
        head(1000) + "\u{3}\0",
        head(100_000) + "\u{9}\0\0\0{}",
    ]
    .into();
    std::thread::scope(|scope| {
        let clients: Vec<_> = stalled
            .iter()
            .map(|bytes| scope.spawn(move || exchange_bytes(port, bytes.as_bytes()).unwrap()))
            .collect();
        for client in clients {
            let reply = client.join().unwrap();
            assert_eq!(reply.status, 408, "{}", reply.refusal());
        }
    });
    besieged.has_held();
}

#[test]
fn heads_that_stall_are_closed() {
    let besieged = Besieged::with(SHORT_LIMITS);
    for head in ["", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nX: "] {
        let mut stream = connect(besieged.port()).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut rest = Vec::new();
        // It ends: with an answer, without a word, or with a reset.
        let ended = stream.read_to_end(&mut rest);
        let is_open = ended.is_err_and(|fault| fault.kind() == ErrorKind::WouldBlock);
        assert!(!is_open, "`{head}` keeps its connection");
    }
    besieged.has_held();
}

#[test]
fn answers_that_nobody_takes_give_way_to_other_clients() {
    const PLACES: usize = 40;
    // But for the need for their places they might wait for long.
    let limits = format!("[http]\nresponse_idle_secs = 3600\nconnections_max = {PLACES}\n");
    let besieged = Besieged::with(&limits);
    let port = besieged.port();
    let large = Release::large("large", "1.0.0", 8 << 20);
    large.publish(port, &besieged.token).succeeds();
    let ask = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", large.download_path());
    let mut deaf = Vec::new();
    for _ in 0..2 * PLACES {
        let mut stream = connect(port).unwrap();
        stream.write_all(ask.as_bytes()).unwrap();
        deaf.push(stream);
    }
    get("/healthz").send(port).succeeds();
    drop(deaf);
    besieged.with_a_new_tip().has_held();
}

#[test]
fn bodies_that_trickle_give_way_to_other_clients() {
    const PLACES: usize = 8;
    // But for the need for their places they might take long.
    let limits = format!(
        "[http]\nbody_idle_secs = 600\nbody_total_secs = 600\nconnections_max = {PLACES}\n"
    );
    let besieged = Besieged::with(&limits);
    let port = besieged.port();
    let token = &besieged.token;
    let uploads = format!("PUT /crates/api/v1/crates/new HTTP/1.1\r\nAuthorization: {token}\r\n");
    let owners =
        format!("PUT /crates/api/v1/crates/krate/owners HTTP/1.1\r\nAuthorization: {token}\r\n");
    let fetches = "POST /crates/git/git-upload-pack HTTP/1.1\r\n".to_owned();
    // An upload begins with the length of its metadata.
    let length = 50_000_u32.to_le_bytes();
    for (head, begin) in [
        (uploads, &length[..]),
        (owners, &b"{"[..]),
        (fetches, &b"0"[..]),
    ] {
        let head = format!("{head}Host: a\r\nContent-Length: 60000\r\n\r\n");
        let slow: Vec<_> = (0..PLACES)
            .map(|n| {
                // Of one address four may fetch.
                let from = Ipv4Addr::new(127, 0, 1, 1 + (n / 4) as u8);
                let mut stream = connect_from(from, port).unwrap();
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(begin).unwrap();
                stream
            })
            .collect();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| trickle(slow, &is_over));
            let _end = SetOnDrop(&is_over);
            get("/healthz").send(port).succeeds();
        });
    }
    besieged.has_held();
}

#[test]
fn who_may_not_own_is_refused_before_the_owners_have_come() {
    let besieged = Besieged::with("[http]\nbody_idle_secs = 600\n");
    let reader = besieged.registry.token_with("bob", &["--can", "read"]);
    let head = format!(
        "PUT /crates/api/v1/crates/krate/owners HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Authorization: {reader}\r\nContent-Length: 100\r\n\r\n"
    );
    let reply = exchange_bytes(besieged.port(), head.as_bytes()).unwrap();
    assert_eq!(reply.status, 403, "{}", reply.refusal());
    besieged.has_held();
}

#[test]
fn inflated_answers_that_nobody_takes_lie_in_memory_in_pieces() {
    const DEAF: usize = 60;
    let besieged = Besieged::with("[http]\nresponse_idle_secs = 3600\n");
    let port = besieged.port();
    for patch in 0..4 {
        let release = Release::with_many_features("wide", &format!("1.0.{patch}"));
        release.publish(port, &besieged.token).succeeds();
    }
    let path = "/crates/index/wi/de/wide";
    let whole = get(path).send(port).succeeds();
    let length = whole.header("content-length").unwrap().parse();
    assert_eq!(length, Ok(whole.body.len()));
    assert!(whole.body.len() > 1 << 20, "{}", whole.body.len());
    let zipped = get(path).header("Accept-Encoding", "gzip");
    let mut unzipped = Vec::new();
    flate2::read::GzDecoder::new(&zipped.send(port).body[..])
        .read_to_end(&mut unzipped)
        .unwrap();
    assert!(unzipped == whole.body, "the forms differ");

    let allocated = || Metrics::of(&besieged.registry).get("sidecargo_memory_allocated_bytes");
    let before = allocated();
    let deaf: Vec<_> = (0..DEAF)
        .map(|_| {
            let mut stream = connect(port).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            // Its answer has begun.
            stream.read_exact(&mut [0; 1]).unwrap();
            stream
        })
        .collect();
    let held = allocated() - before;
    let wholes = (DEAF * whole.body.len()) as f64;
    assert!(held < wholes / 2.0, "{held} bytes, {wholes} in all");
    drop(deaf);
    besieged.with_a_new_tip().has_held();
}

#[test]
fn clones_that_crawl_do_not_stop_others() {
    // Only the rule for fetches is impatient: a client that takes a little now and then is not silent.
    let limits = "[http]\nresponse_idle_secs = 600\n\n[fetch]\nstall_secs = 1\nqueue_secs = 60\n\
                  children_max = 2\nper_address_max = 2\n";
    let besieged = Besieged::with_large_index(limits);
    let body = format!("0032want {}\n00000009done\n", besieged.tip);
    let ask = format!(
        "POST /crates/git/git-upload-pack HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut crawlers = Vec::new();
        for _ in 0..2 {
            let mut stream = connect(besieged.port()).unwrap();
            stream.write_all(ask.as_bytes()).unwrap();
            // It has begun: the server holds a process for it.
            stream.read_exact(&mut [0; 1]).unwrap();
            crawlers.push(scope.spawn(|| crawl(stream, &is_over)));
        }
        // However this ends, the crawlers must.
        let end = SetOnDrop(&is_over);
        // Both places are taken until the crawlers lose theirs.
        clone_works(&besieged.registry);
        let pid = besieged.registry.pid();
        assert_eq!(settled(|| children(pid), Some(0)), 0);
        drop(end);
        for crawler in crawlers {
            let got = crawler.join().unwrap();
            assert!(got < LARGE_BYTES, "a crawler got all {got} bytes");
        }
    });
    besieged.has_held();
}

/// Sends a byte on each now and then until it is over.
fn trickle(mut streams: Vec<TcpStream>, is_over: &AtomicBool) {
    while !is_over.load(Ordering::SeqCst) {
        // Those that lost their place fail, and stay as they are.
        streams.iter_mut().for_each(|stream| {
            let _ = stream.write_all(b"x");
        });
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Sets a flag also when an assertion fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Reads a few bytes at a time until it is over, then all that is left; gives the number of bytes.
fn crawl(mut stream: TcpStream, is_over: &AtomicBool) -> usize {
    let mut count = 0;
    while !is_over.load(Ordering::SeqCst) {
        match stream.read(&mut [0; 16]) {
            Ok(0) | Err(_) => return count,
            Ok(more) => count += more,
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut rest = vec![0; 1 << 20];
    while let Ok(more) = stream.read(&mut rest) {
        count += more;
        if more == 0 {
            break;
        }
    }
    count
}
