//! `/readyz`: what it checks.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::common::http::get;
use crate::common::person;
use crate::common::ran::run;
use crate::common::registry::{Registry, end_of, program};
use crate::common::tools;
use crate::common::upload::Release;

/// Asks until the answer has this status; gives its text.
#[track_caller]
pub fn wait_for(registry: &Registry, status: u16) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let reply = get("/readyz").send(registry.port);
        if reply.status == status {
            return reply.text().to_owned();
        }
        assert!(Instant::now() < deadline, "{reply:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_a_publish_writes_to_is_named_until_it_takes_a_file() {
    let registry = Registry::start();
    let token = registry.token("alice");
    assert_eq!(wait_for(&registry, 200), "ok\n");
    let first = format!("blobs/{}", &Release::new("krate", "1.0.0").cksum()[..2]);
    for place in [
        "blobs/incoming",
        "blobs/store-id",
        &first,
        "index.git/objects/pack",
    ] {
        let place = registry.data().join(place);
        let aside = place.with_extension("aside");
        fs::rename(&place, &aside).unwrap();
        let why = wait_for(&registry, 503);
        assert!(why.contains(place.to_str().unwrap()), "{why}");
        get("/healthz").send(registry.port).succeeds();
        let cannot = Release::new("krate", "1.0.0").publish(registry.port, &token);
        assert_eq!(cannot.status, 503, "{cannot:?}");
        fs::rename(&aside, &place).unwrap();
        wait_for(&registry, 200);
    }
    Release::new("krate", "1.0.0")
        .publish(registry.port, &token)
        .succeeds();
}

#[test]
fn a_folder_that_is_read_only_is_named_until_it_is_not() {
    if !rustix::process::geteuid().is_root() {
        tools::skip("only root can make a folder read-only for everybody");
        return;
    }
    let registry = Registry::start();
    let token = registry.token("alice");
    assert_eq!(wait_for(&registry, 200), "ok\n");
    for folder in ["index.git/refs/heads", "blobs/ff"] {
        let folder = registry.data().join(folder);
        let mount = |words: &[&str]| {
            let mut mount = Command::new("mount");
            run(mount.args(words).arg(&folder), b"").succeeds();
        };
        mount(&["--bind", folder.to_str().unwrap()]);
        let mounted = Mounted(&folder);
        mount(&["-o", "remount,bind,ro"]);
        let why = wait_for(&registry, 503);
        assert!(why.contains(folder.to_str().unwrap()), "{why}");
        drop(mounted);
        wait_for(&registry, 200);
    }
    Release::new("krate", "1.0.0")
        .publish(registry.port, &token)
        .succeeds();
}

/// Ends with the mount, also under a server that still runs.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn only_readers_are_told_what_is_wrong_with_a_private_registry() {
    let registry = Registry::start_with("visibility = \"private\"\n");
    let token = registry.token("alice");
    assert_eq!(wait_for(&registry, 200), "ok\n");
    Release::new("secret", "1.0.0")
        .publish(registry.port, &token)
        .succeeds();
    person::commit_file(&registry, "se/cr/secret", "no line\n");
    let why = wait_for(&registry, 503);
    assert!(
        why.contains("its log says why") && !why.contains("secret"),
        "{why}"
    );
    let told = get("/readyz").token(&token).send(registry.port);
    assert_eq!(told.status, 503);
    assert!(told.text().contains("`se/cr/secret`"), "{told:?}");
}

#[test]
fn a_lock_that_somebody_left_is_named_until_it_goes() {
    let registry = Registry::start();
    let lock = registry.repository().join("refs/heads/main.lock");
    let file = fs::File::create(&lock).unwrap();
    // A push may hold it.
    assert_eq!(wait_for(&registry, 200), "ok\n");
    let long_ago = SystemTime::now() - Duration::from_secs(60);
    file.set_modified(long_ago).unwrap();
    let why = wait_for(&registry, 503);
    assert!(why.contains(lock.to_str().unwrap()), "{why}");
    fs::remove_file(&lock).unwrap();
    wait_for(&registry, 200);
}

#[test]
fn a_service_manager_is_told_when_requests_are_taken_and_when_no_more() {
    let folder = TempDir::new().unwrap();
    let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let heard = || {
        let mut word = [0; 64];
        let length = manager.recv(&mut word).unwrap();
        String::from_utf8(word[..length].to_vec()).unwrap()
    };
    let mut server = Command::new(program())
        .args(["serve", "--listen", "127.0.0.1:0", "--data", "data"])
        .current_dir(folder.path())
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(heard(), "READY=1");
    kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
    assert_eq!(heard(), "STOPPING=1");
    assert!(end_of(&mut server).is_some_and(|status| status.success()));
}
