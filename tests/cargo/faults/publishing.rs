//! What a publish meets when the server dies, or waits for its disk, between a crate file and its commit.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use super::trouble::{Plan, Trouble, blank_packs};
use super::wait_until;
use crate::common::cargos::{Sandbox, View};
use crate::common::git;
use crate::common::http::get;
use crate::common::project::{Project, locked_version};
use crate::common::registry::{Registry, files_below};
use crate::common::tools;
use crate::common::upload::Release;

const PUBLISH: [&str; 4] = ["publish", "--registry", "crates", "--no-verify"];

#[test]
fn cargo_publishes_again_what_a_dying_server_had_stored_and_not_committed() {
    let Some(strace) = tools::strace_of_running() else {
        return;
    };
    let mut registry = Registry::start();
    let cargo = Sandbox::stable(&registry, View::Sparse);
    cargo.login(&registry.token("alice"));
    let folder = Project::library("krate", "1.0.0", "").write(&cargo.work());
    cargo.cargo(&folder, &["package", "--no-verify"]).succeeds();
    let packed = cargo.target().join("package/krate-1.0.0.crate");
    let packed = fs::read(packed).unwrap();
    let before = git::tip(&registry.repository());
    // The crate file is kept beside the pack: so that it is in its place first, the pack waits for ten minutes.
    let plan = Plan {
        inject: Some("fsync:delay_enter=600000000:when=1"),
        paths: &[],
    };
    let trouble = Trouble::of_writer(&strace, &registry, &plan);
    let data = registry.data();
    let is_stored = || {
        let files = files_below(&data.join("blobs"));
        let mut files = files.iter().map(|file| data.join("blobs").join(file));
        files.any(|file| fs::read(file).is_ok_and(|bytes| bytes == packed))
    };
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| cargo.cargo(&folder, &PUBLISH));
        wait_until("the crate file is stored", is_stored);
        // Whoever looks at its calls must go before it can be waited for, and not before it is dead.
        let server = Pid::from_raw(registry.pid().try_into().unwrap()).unwrap();
        kill_process(server, Signal::KILL).unwrap();
        drop(trouble);
        let failed = publishing.join().unwrap();
        assert!(!failed.is_success(), "{failed}");
    });
    registry.kill();
    assert_eq!(git::tip(&registry.repository()), before, "it was committed");

    registry.start_again();
    let seen = get("/crates/index/kr/at/krate").send(registry.port);
    assert_eq!(seen.status, 404);
    cargo.cargo(&folder, &PUBLISH).succeeds();
    assert!(is_stored());
    let hello = Project::program("hello", "")
        .depends_on("krate", "1")
        .write(&cargo.work());
    cargo.cargo(&hello, &["fetch"]).succeeds();
    assert_eq!(locked_version(&hello, "krate"), "1.0.0");
}

/// However long the disk takes, Cargo hears of it before its patience ends.
#[test]
fn cargo_gets_an_answer_while_the_disk_hangs() {
    let Some(strace) = tools::strace_of_running() else {
        return;
    };
    let registry = Registry::start_with("[http]\npublish_deadline_secs = 1\n");
    let cargos = ["being-written", "waiting"].map(|name| {
        let cargo = Sandbox::stable(&registry, View::Sparse);
        cargo.login(&registry.token("alice"));
        let folder = Project::library(name, "1.0.0", "").write(&cargo.work());
        (cargo, folder)
    });
    let [(first, first_folder), (second, second_folder)] = &cargos;
    // For ten minutes, or until the trouble ends.
    let plan = Plan {
        inject: Some("fsync:delay_enter=600000000:when=1"),
        paths: &[],
    };
    let trouble = Trouble::of_writer(&strace, &registry, &plan);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| first.cargo(first_folder, &PUBLISH));
        let packs = registry.repository().join("objects/pack");
        wait_until("the first is being written", || {
            blank_packs(&packs).is_empty()
        });
        // This one is not begun: it is withdrawn at its deadline.
        let hasty = [("CARGO_HTTP_TIMEOUT", "3")];
        let said = second.cargo_with_env(second_folder, &PUBLISH, &hasty);
        let said = said.fails_with("status 503");
        assert!(said.stderr.contains("nothing was done"), "{said}");
        let said = first.join().unwrap().fails_with("status 503");
        assert!(said.stderr.contains("the disk does not answer"), "{said}");
    });
    // Reads have not waited for it.
    let path = |name: &str| format!("/crates/index/{}/{}/{name}", &name[..2], &name[2..4]);
    let status = |name: &str| get(path(name)).send(registry.port).status;
    assert_eq!(status("being-written"), 404);
    drop(trouble);
    wait_until("the disk answers", || status("being-written") == 200);
    assert_eq!(status("waiting"), 404);
    second.cargo(second_folder, &PUBLISH).succeeds();
    assert_eq!(status("waiting"), 200);
}

#[test]
fn a_disk_that_hangs_takes_no_thread_that_readers_need() {
    // More than there are threads for work that waits.
    const UPLOADS: usize = 600;
    let Some(strace) = tools::strace_of_running() else {
        return;
    };
    let mut registry = Registry::start_with("[http]\npublish_deadline_secs = 1\n");
    let token = registry.token("alice");
    let large = Release::large("large", "1.0.0", 2 << 20);
    large.publish(registry.port, &token).succeeds();
    let plan = Plan {
        inject: Some("fsync:delay_enter=600000000"),
        paths: &[],
    };
    let trouble = Trouble::of_all(&strace, &registry, &plan);
    let publish = |number: usize| {
        let release = Release::new("small", &format!("1.0.{number}"));
        release.publish(registry.port, &token).status
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..UPLOADS)
            .map(|number| scope.spawn(move || publish(number)))
            .collect();
        for client in clients {
            assert_eq!(client.join().unwrap(), 503);
        }
    });
    let download = get(large.download_path()).send(registry.port).succeeds();
    assert!(download.body == large.crate_file);
    let server = Pid::from_raw(registry.pid().try_into().unwrap()).unwrap();
    kill_process(server, Signal::KILL).unwrap();
    drop(trouble);
    registry.kill();
    registry.start_again();
    let release = Release::new("small", "1.0.0");
    release.publish(registry.port, &token).succeeds();
}

#[test]
fn a_writer_that_does_not_come_on_is_named_until_it_does() {
    let Some(strace) = tools::strace_of_running() else {
        return;
    };
    let registry = Registry::start_with("[http]\npublish_deadline_secs = 1\n");
    let token = registry.token("alice");
    let packs = registry.repository().join("objects/pack");
    // Nothing but its own calls are held up: what else looks at the disk finds it well. First in the pack, and then in the
    // place of the next one, when everybody has been answered.
    for (paths, version, status) in [(&[][..], "1.0.0", 503), (&[&*packs], "1.0.1", 200)] {
        let plan = Plan {
            inject: Some("fsync:delay_enter=600000000:when=1"),
            paths,
        };
        let trouble = Trouble::of_writer(&strace, &registry, &plan);
        let release = Release::new("small", version);
        assert_eq!(release.publish(registry.port, &token).status, status);
        let readiness = || get("/readyz").send(registry.port);
        wait_until("it is named", || readiness().status == 503);
        let why = readiness().refusal();
        assert!(why.contains("the writer has been at one piece"), "{why}");
        get("/healthz").send(registry.port).succeeds();
        drop(trouble);
        wait_until("it comes on", || readiness().status == 200);
    }
}
