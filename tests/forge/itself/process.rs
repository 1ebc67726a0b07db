//! The forge as a process of the tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::http::{connect, parse};
use crate::common::watch::eventually;
use crate::forge::gitea::Gitea;

/// The variable by which this test is told to hold a forge until it is killed.
const HOLD: &str = "SIDECARGO_TEST_HOLD_A_FORGE";

#[test]
fn it_starts_again_as_it_was() {
    let Some(mut forge) = Gitea::start() else {
        return;
    };
    let alice = forge.user("alice");
    let token = forge.token(&alice, &["read:user"]).text;
    let port = forge.port;
    forge.stop();
    assert!(connect(port).is_err());
    forge.start_again();
    assert_eq!(forge.port, port);
    assert_eq!(forge.with_token(&token).read("/user")["id"], alice.id);
}

#[test]
fn it_lets_everybody_wait_while_it_is_paused() {
    let Some(forge) = Gitea::start() else {
        return;
    };
    forge.pause();
    let mut stream = connect(forge.port).unwrap();
    let asked = "GET /api/v1/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(asked.as_bytes()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(stream.read(&mut [0]).is_err(), "it answers");
    forge.resume();
    stream.set_read_timeout(None).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(parse(&answer, "GET").unwrap().status, 200);
}

#[test]
fn a_shared_one_ends_with_tests_that_are_killed() {
    if std::env::var_os(HOLD).is_some() {
        let forge = Gitea::pinned().unwrap();
        println!("held {} {}", forge.pid(), forge.folder().display());
        loop {
            std::thread::park();
        }
    }
    if Gitea::pinned().is_none() {
        return;
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let mut tests = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", &name])
        .env(HOLD, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(tests.stdout.take().unwrap()).lines();
    let held = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("held ").map(|(_, held)| held.to_owned()));
    tests.kill().unwrap();
    tests.wait().unwrap();
    let held = held.expect("it starts a forge");
    let (pid, folder) = held.split_once(' ').unwrap();
    eventually("the end of the forge", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        // Who inherits it may not look after it at once.
        let is_gone = stat.map_or(true, |stat| stat.contains(") Z "));
        (is_gone && !Path::new(folder).exists()).then_some(())
    });
}
