//! The program's start and end.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::http::get;
use crate::common::registry::Registry;
use crate::common::upload::Release;

#[test]
fn an_upload_that_is_under_way_finishes_at_a_graceful_end() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    let upload = release.request(&token).begin(registry.port);
    // Connections are taken in order: with this answer the server has that of the upload too.
    get("/healthz").send(registry.port).succeeds();

    registry.ask_to_stop();
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", registry.port)).is_ok() {
        assert!(Instant::now() < deadline, "it still takes connections");
        std::thread::sleep(Duration::from_millis(10));
    }
    upload.finish().succeeds();
    registry.wait_for_end();

    registry.start_again();
    let download = get(release.download_path()).send(registry.port).succeeds();
    assert!(download.body == release.crate_file);
}

#[test]
fn a_second_server_does_not_touch_the_data_of_the_first() {
    let registry = Registry::start();
    let before = registry.files();
    let why = format!(
        "{} is in use by another sidecargo",
        registry.data().display()
    );
    // Also if somebody removed the file that is locked.
    for _ in 0..2 {
        let rival = registry.run_rival();
        assert!(rival.contains(&why), "it names what is in use: {rival}");
        assert_eq!(registry.files(), before);
        fs::remove_file(registry.data().join("lock")).unwrap();
    }
    get("/healthz").send(registry.port).succeeds();
}

#[test]
fn a_second_server_does_not_touch_a_repository_that_is_linked_into_its_own_data() {
    let registry = Registry::start();
    let before = registry.files();
    let other = tempfile::tempdir().unwrap();
    let mut copy = Command::new("cp");
    copy.arg("-a")
        .arg(registry.data().join("."))
        .arg(other.path());
    assert!(copy.status().unwrap().success());
    let repository = other.path().join("index.git");
    fs::remove_dir_all(&repository).unwrap();
    symlink(registry.repository(), &repository).unwrap();
    let rival = registry.run_rival_on(other.path());
    let why = format!("{} is in use by another sidecargo", repository.display());
    assert!(rival.contains(&why), "it names what is in use: {rival}");
    assert_eq!(registry.files(), before);
}
