//! The order in which a publish reaches the disk, seen from outside by `strace`.
//!
//! A test that kills the server passes with every fsync removed, because the kernel survives; this one does not.

pub mod trace;

use std::path::Path;
use std::time::{Duration, Instant};

use trace::Trace;

use crate::common::cargos::{Sandbox, View};
use crate::common::http::get;
use crate::common::project::Project;
use crate::common::registry::Registry;
use crate::common::tools;

/// The calls that matter: files that come and go, what makes them durable, and what is said on sockets.
const CALLS: &str = "trace=openat,mkdir,mkdirat,fsync,fdatasync,rename,renameat,renameat2,\
                     write,writev,sendto,sendmsg";

#[test]
fn success_is_answered_only_after_everything_is_durable() {
    let Some(strace) = tools::strace() else {
        return;
    };
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("trace");
    // `-D` leaves the server as our own child, so that it gets our signals.
    let runner = [strace.to_str().unwrap(), "-D", "-f", "-y", "-s", "300"];
    let output = ["-e", CALLS, "-o", path.to_str().unwrap()];
    let mut registry = Registry::start_under(&[&runner[..], &output[..]].concat());
    let alice = Sandbox::stable(&registry, View::Sparse);
    alice.login(&registry.token("alice"));
    let krate = Project::library("lasting", "1.0.0", "lasting").write(&alice.work());
    let arguments = ["publish", "--registry", "crates", "--no-verify"];
    alice.cargo(&krate, &arguments).succeeds();

    let line = get("/crates/index/la/st/lasting")
        .send(registry.port)
        .succeeds();
    let cksum = line.json()["cksum"].as_str().unwrap().to_owned();
    let pid = registry.pid();
    registry.stop();

    let data = registry.data();
    let trace = Trace::parse(&whole_trace(&path, pid));
    if let Err(fault) = trace.proves_order(&data, &cksum) {
        panic!("{fault}\n{}", trace.about(&data));
    }
}

/// The trace, when its writer has noted the end of the server's process.
pub fn whole_trace(path: &Path, pid: u32) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let bytes = std::fs::read(path).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let is_end = |line: &str| {
            line.split_whitespace().next() == Some(&pid.to_string())
                && line.contains("+++ exited with 0 +++")
        };
        if text.lines().any(is_end) {
            return text;
        }
        assert!(Instant::now() < deadline, "the trace has no end");
        std::thread::sleep(Duration::from_millis(10));
    }
}
