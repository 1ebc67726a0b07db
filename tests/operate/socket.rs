//! The socket through which commands reach a running server.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};

use super::{assert_revoked, id_of};
use crate::common::git;
use crate::common::registry::Registry;
use crate::common::watch::eventually;

/// What the server answers to these bytes and no more.
fn answer(registry: &Registry, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(registry.data().join("control.sock")).unwrap();
    // It may have heard enough before the end.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn only_its_user_can_use_the_socket_and_it_goes_with_the_server() {
    let mut registry = Registry::start();
    let path = registry.data().join("control.sock");
    let found = fs::symlink_metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    registry.stop();
    assert!(!path.exists());
}

#[test]
fn nonsense_on_the_socket_is_answered_and_harms_nothing() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let tip = git::tip(&registry.repository());
    let not_understood = "does not understand the request";
    for (bytes, why) in [
        (&b"hello\n"[..], not_understood),
        (b"{\"ask\":\"format-disk\"}\n", not_understood),
        (
            b"{\"ask\":\"revoke-token\",\"id\":\"5f3a\"}\n",
            not_understood,
        ),
        (b"{\"ask\":\"rotate-keys\",\"more\":1}\n", not_understood),
        (b"\xff\xfe\n", not_understood),
        (b"", "one line of at most"),
        (b"{\"ask\":\"rotate-keys\"}", "one line of at most"),
    ] {
        let answer = answer(&registry, bytes);
        assert!(answer.starts_with("{\"Err\":"), "{answer}");
        assert!(answer.contains(why), "{answer}");
    }
    // Too long: the answer may be lost with what was not read, but the server is not.
    answer(&registry, &vec![b'a'; 1 << 20]);
    // Clients that come and go without a word.
    for _ in 0..3 {
        drop(UnixStream::connect(registry.data().join("control.sock")).unwrap());
    }
    assert_eq!(git::tip(&registry.repository()), tip);
    registry
        .run(&["token", "revoke", &id_of(&token)])
        .succeeds();
    assert_revoked(&registry, "alice", &token);
}

#[test]
fn a_data_folder_with_a_long_path_is_reached_too() {
    let below = format!("{}/data", "long-".repeat(40));
    let registry = Registry::start_at(&below);
    assert!(registry.data().as_os_str().len() > 200);
    let token = registry.token("alice");
    registry
        .run(&["token", "revoke", &id_of(&token)])
        .succeeds();
    assert_revoked(&registry, "alice", &token);
}

#[test]
fn what_is_no_socket_is_kept_and_named() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    registry.stop();
    let path = registry.data().join("control.sock");
    fs::write(&path, "mine").unwrap();
    registry.start_again();
    let log = registry.log();
    assert!(log.contains("is not a socket; move it away"), "{log}");
    registry.kill();
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    fs::remove_file(&path).unwrap();
    registry.start_again();
    registry
        .run(&["token", "revoke", &id_of(&token)])
        .succeeds();
    assert_revoked(&registry, "alice", &token);
}

#[test]
fn a_socket_that_is_taken_away_is_made_again() {
    let registry = Registry::start();
    let path = registry.data().join("control.sock");
    let is_back = || {
        let found = fs::symlink_metadata(&path).ok()?;
        let is_private = found.permissions().mode() & 0o777 == 0o600;
        (found.file_type().is_socket() && is_private).then_some(())
    };
    fs::remove_file(&path).unwrap();
    eventually("the socket is back", is_back);

    // That of somebody else, who does not answer.
    let other = registry.data().join("other");
    let _listener = UnixListener::bind(&other).unwrap();
    fs::rename(&other, &path).unwrap();
    eventually("the socket is ours again", is_back);

    fs::write(&other, "mine").unwrap();
    fs::rename(&other, &path).unwrap();
    eventually("the log names what is in the way", || {
        let log = registry.log();
        log.contains("is not a socket; move it away").then_some(())
    });
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    fs::remove_file(&path).unwrap();
    // It is waited for.
    let token = registry.token("alice");
    registry
        .run(&["token", "revoke", &id_of(&token)])
        .succeeds();
    assert_revoked(&registry, "alice", &token);
    let told = registry.log().matches("commands do not reach").count();
    assert_eq!(told, 1);
}
