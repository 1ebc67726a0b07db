//! What a finished program said.

use std::io::Write;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How long a program may take that would otherwise hold up all tests: no program of theirs takes a tenth of it.
const ENDS_WITHIN: Duration = Duration::from_secs(600);
/// How long its output may stay open once it was killed.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// A finished program: everything that a failing test should print about it.
pub struct Ran {
    command: String,
    status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

/// Runs `command` to its end with `stdin` as its input.
#[must_use]
pub fn run(command: &mut Command, stdin: &[u8]) -> Ran {
    let text = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{text} does not start: {error}"));
    let (pid, stdin) = (Pid::from_child(&child), stdin.to_vec());
    let (tell, ended) = channel();
    thread::spawn(move || {
        let mut input = child.stdin.take().unwrap();
        // A program that ends without reading its input has said why in its output.
        let _ = input.write_all(&stdin);
        drop(input);
        tell.send(child.wait_with_output().unwrap())
    });
    let (output, is_late) = match ended.recv_timeout(ENDS_WITHIN) {
        Ok(output) => (output, false),
        Err(_) => {
            let _ = kill_process(pid, Signal::KILL);
            let output = ended.recv_timeout(KILLED_WITHIN);
            let output = output.unwrap_or_else(|_| panic!("what {text} started does not end"));
            (output, true)
        }
    };
    let ran = Ran {
        command: text,
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    assert!(!is_late, "this was killed as it did not end: {ran}");
    ran
}

impl Ran {
    /// Whether the program says that it succeeded.
    pub fn is_success(&self) -> bool {
        self.status.success()
    }

    /// Panics unless the program succeeded.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert!(self.status.success(), "this should succeed: {self}");
        self
    }

    /// Panics unless the program ended with this exit code.
    #[track_caller]
    pub fn ends_with_code(self, code: i32) -> Self {
        let found = self.status.code();
        assert_eq!(found, Some(code), "{self}");
        self
    }

    /// Panics unless the program failed and said `why` on its standard error.
    #[track_caller]
    pub fn fails_with(self, why: &str) -> Self {
        assert!(!self.status.success(), "this should fail: {self}");
        assert!(self.stderr.contains(why), "this should say `{why}`: {self}");
        self
    }

    /// Panics unless the standard output contains `text`.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text),
            "this should print `{text}`: {self}"
        );
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}\n{}\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.status, self.stdout, self.stderr
        )
    }
}
