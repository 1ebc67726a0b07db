//! Trouble for a server that runs: `strace` comes, lets calls fail or only writes them down, and goes again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::wait_until;
use crate::common::registry::{Registry, end_of};

/// The calls that are written down and may fail: what makes files durable, and what is said on sockets.
const CALLS: &str =
    "trace=fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,write,writev,sendto,sendmsg";

/// Lasts until it is ended or dropped.
pub struct Trouble {
    folder: TempDir,
    strace: Child,
    /// What `strace` leaves out of each line if it follows one thread.
    prefix: String,
}

/// Whom it meets, and how.
pub struct Plan<'a> {
    /// Which calls fail and when, as `strace -e inject=` has it; without it, calls are only written down.
    pub inject: Option<&'a str>,
    /// If there are any, only calls on these files and folders are looked at and counted.
    pub paths: &'a [&'a Path],
}

impl Trouble {
    /// Begins in the thread that writes the index, once that waits for a change: its calls come one after the other, so
    /// they can be counted.
    pub fn of_writer(strace: &Path, registry: &Registry, plan: &Plan<'_>) -> Self {
        let thread = thread(registry, "writer");
        let packs = registry.repository().join("objects/pack");
        wait_until("the next pack has its place and the writer rests", || {
            let waits_in = fs::read_to_string(thread.join("wchan")).unwrap();
            !blank_packs(&packs).is_empty() && waits_in.contains("futex")
        });
        Self::of_thread("writer", strace, registry, plan)
    }

    /// Begins in the thread of this name.
    pub fn of_thread(name: &str, strace: &Path, registry: &Registry, plan: &Plan<'_>) -> Self {
        let thread = thread(registry, name);
        let thread = thread.file_name().unwrap().to_str().unwrap().to_owned();
        let prefix = format!("{thread} ");
        Self::begin(strace, &["-p", &thread], plan, prefix)
    }

    /// Begins in all threads; each counts for itself.
    pub fn of_all(strace: &Path, registry: &Registry, plan: &Plan<'_>) -> Self {
        Self::begin(
            strace,
            &["-f", "-p", &registry.pid().to_string()],
            plan,
            String::new(),
        )
    }

    fn begin(strace: &Path, whom: &[&str], plan: &Plan<'_>, prefix: String) -> Self {
        let folder = TempDir::new().unwrap();
        let said = folder.path().join("said");
        let mut command = Command::new(strace);
        command
            .args(["-y", "-s", "300", "-e", CALLS, "-o"])
            .arg(folder.path().join("trace"))
            .args(whom)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said).unwrap());
        if let Some(inject) = plan.inject {
            command.arg("-e").arg(format!("inject={inject}"));
        }
        for path in plan.paths {
            command.arg("-P").arg(path);
        }
        let mut strace = command.spawn().unwrap();
        // It says so when no call can escape it any more.
        wait_until("strace attached", || {
            let said = fs::read_to_string(&said).unwrap();
            let ended = strace.try_wait().unwrap();
            assert!(ended.is_none(), "strace ended with {ended:?}: {said}");
            said.contains("attached")
        });
        Self {
            folder,
            strace,
            prefix,
        }
    }

    /// What has been written down so far: a line is a thread and its call.
    pub fn trace(&self) -> String {
        let bytes = fs::read(self.folder.path().join("trace")).unwrap();
        String::from_utf8_lossy(&bytes)
            .lines()
            .map(|line| format!("{}{line}\n", self.prefix))
            .collect()
    }

    /// Ends it and gives all that was written down.
    pub fn end(mut self) -> String {
        self.detach();
        self.trace()
    }

    fn detach(&mut self) {
        // It has ended by itself if the server has.
        if self.strace.try_wait().unwrap().is_none() {
            let _ = kill_process(Pid::from_child(&self.strace), Signal::INT);
            // A thread that waits for its child to run a program, which `strace` holds, is waited for without end:
            // whoever kills it then lets all of them go.
            let _ = end_of(&mut self.strace);
        }
    }
}

impl Drop for Trouble {
    fn drop(&mut self) {
        self.detach();
    }
}

/// What the system tells of the server's thread of this name.
fn thread(registry: &Registry, name: &str) -> PathBuf {
    let tasks = PathBuf::from(format!("/proc/{}/task", registry.pid()));
    let is_meant = |task: &PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|found| found.trim_end() == name)
    };
    let mut tasks = fs::read_dir(tasks)
        .unwrap()
        .map(|task| task.unwrap().path());
    tasks.find(is_meant).expect("the server has such a thread")
}

/// The packs that have their place and no bytes.
pub fn blank_packs(packs: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(packs)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_blank = |path: &PathBuf| {
        path.extension().is_some_and(|it| it == "pack")
            && fs::metadata(path).is_ok_and(|pack| pack.len() == 0)
    };
    paths.filter(is_blank).collect()
}
