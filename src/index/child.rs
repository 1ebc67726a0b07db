//! A git program for which a thread of ours waits, and perhaps all who want to write.
//!
//! What it has to do may take long, and it tells how far it is. One that tells nothing for long hangs and is ended: a
//! bound for the whole would end one that has much to do on a slow disk, again and again.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;

/// How long it may tell nothing of how far it is: to flush the largest pack that comes takes less on a slow disk.
const SILENCE: Duration = Duration::from_secs(600);
/// How much of what it told last is kept, in bytes: of one that fails the reason stands there.
const TOLD_BYTES_MAX: usize = 4096;
/// How often it is looked whether the server ends.
const LOOK: Duration = Duration::from_millis(10);
/// The same, for the end of a program that has told all.
const END_LOOK: Duration = Duration::from_millis(1);
/// How long one that is ended may take to take its locks away.
const MANNERS: Duration = Duration::from_secs(1);

/// What is not waited for.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    /// A program that writes nothing for so long.
    pub(super) silence: Duration,
    /// Any, once this says that the server ends.
    pub(super) is_over: Arc<AtomicBool>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            silence: SILENCE,
            is_over: Arc::default(),
        }
    }
}

/// A program did not do what it was to do.
#[derive(Debug, Error)]
pub(super) enum ChildFault {
    /// It was not started, or cannot be listened to.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It ended so.
    #[error("{status}{said}")]
    Failed {
        /// How.
        status: ExitStatus,
        /// Its reasons.
        said: String,
    },
    /// It hung.
    #[error("it told nothing for {} seconds and was ended", .0.as_secs())]
    Silent(Duration),
    /// It was ended because the server ends.
    #[error("the server ends")]
    Interrupted,
}

/// Some bytes that it wrote.
enum Written {
    Output(Vec<u8>),
    Told(Vec<u8>),
}

/// Runs a program that tells how far it is to its end, and gives its output.
pub(super) fn run(
    mut command: Command,
    input: String,
    patience: &Patience,
) -> Result<String, ChildFault> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let (tell, written) = sync_channel(1);
    let attended = listen(child.stdout.take(), tell.clone(), Written::Output)
        .and_then(|()| listen(child.stderr.take(), tell, Written::Told))
        .and_then(|()| hand_over(child.stdin.take(), input));
    if let Err(cause) = attended {
        end(child);
        return Err(cause.into());
    }
    let (mut output, mut told) = (Vec::new(), Vec::new());
    // Of waits and not by a clock: where all stood still, nothing was to be heard.
    let mut silent = Duration::ZERO;
    let status = loop {
        if patience.is_over.load(Ordering::Acquire) {
            end(child);
            return Err(ChildFault::Interrupted);
        }
        if silent >= patience.silence {
            end(child);
            return Err(ChildFault::Silent(patience.silence));
        }
        match written.recv_timeout(LOOK) {
            Ok(Written::Output(bytes)) => output.extend(bytes),
            Ok(Written::Told(bytes)) => {
                told.extend(bytes);
                told.drain(..told.len().saturating_sub(TOLD_BYTES_MAX));
            }
            Err(RecvTimeoutError::Timeout) => {
                silent += LOOK;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => match child.try_wait()? {
                Some(status) => break status,
                None => {
                    thread::sleep(END_LOOK);
                    silent += END_LOOK;
                    continue;
                }
            },
        }
        silent = Duration::ZERO;
    };
    let said = complaint(&told);
    match status.success() {
        true => Ok(String::from_utf8(output).map_err(io::Error::other)?),
        false => Err(ChildFault::Failed { status, said }),
    }
}

/// Ends it with all that it has started; one that was stopped goes on for that.
fn end(mut child: Child) {
    let group = Pid::from_child(&child);
    for signal in [Signal::TERM, Signal::CONT] {
        let _ = kill_process_group(group, signal);
    }
    let until = Instant::now() + MANNERS;
    while Instant::now() < until {
        if child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        thread::sleep(END_LOOK);
    }
    let _ = kill_process_group(group, Signal::KILL);
    // One that waits for a disk that hangs ends only with that; if there is no thread, nobody waits for it.
    let _ = thread::Builder::new().spawn(move || child.wait());
}

/// What it says of its end, without how far it was.
fn complaint(told: &[u8]) -> String {
    let told = String::from_utf8_lossy(told);
    let lines = told.split(['\r', '\n']);
    let reasons = lines.filter(|line| line.starts_with("fatal: ") || line.starts_with("error: "));
    reasons.map(|line| format!("; {line}")).collect()
}

/// Writes all of the input: one that hangs does not read it.
fn hand_over(pipe: Option<impl Write + Send + 'static>, input: String) -> io::Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let writing = thread::Builder::new().spawn(move || {
        // One that ends without reading says why.
        let _ = pipe.write_all(input.as_bytes());
    });
    writing.map(drop)
}

/// Passes on what comes until there is no more, or nobody waits for it.
fn listen(
    pipe: Option<impl Read + Send + 'static>,
    tell: SyncSender<Written>,
    written: fn(Vec<u8>) -> Written,
) -> io::Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let listening = thread::Builder::new().spawn(move || {
        let mut buffer = [0; TOLD_BYTES_MAX];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            if tell.send(written(buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    });
    listening.map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::{Path, PathBuf};

    use tempfile::TempDir;

    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// A pipe with a name, in a folder: who reads it to its end knows that nobody has it open any more.
    fn pipe() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("held");
        assert!({ Command::new("mkfifo").arg(&path).status().unwrap() }.success());
        (folder, path)
    }

    /// A program that has the pipe open, says so in it and then hangs.
    fn holding(pipe: &Path, hang: &str) -> Command {
        let path = pipe.display();
        sh(&format!("exec 9> '{path}'; echo held >&9; {hang}"))
    }

    #[test]
    fn a_program_that_ends_gives_its_output_or_its_reason() {
        let shell = |script: &str| run(sh(script), "input\n".to_owned(), &Patience::default());
        let printed = shell("read word; echo far 1>&2; echo $word; echo 2");
        assert_eq!(printed.unwrap(), "input\n2\n");
        let script = "printf 'far: 1%%\\rfar: 2%%\\rfatal: why\\n' 1>&2; exit 3";
        let fault = shell(script).unwrap_err().to_string();
        assert_eq!(fault, "exit status: 3; fatal: why");
        let long = "yes far | head -c 100000 1>&2; echo 'error: why' 1>&2; kill -KILL $$";
        let fault = shell(long).unwrap_err().to_string();
        assert!(fault.ends_with("; error: why"), "{fault}");
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_all_that_it_has_started() {
        use rustix::fs::{Mode, OFlags, fcntl_setfl, open};

        for hang in [
            "tail -f /dev/null & tail -f /dev/null",
            "kill -STOP $$",
            "trap '' TERM; while :; do kill -STOP $$; done",
        ] {
            let (_folder, path) = pipe();
            // Without waiting for somebody who writes.
            let held = open(&path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
            fcntl_setfl(&held, OFlags::empty()).unwrap();
            let patience = Patience {
                silence: Duration::from_millis(100),
                is_over: Arc::default(),
            };
            let fault = run(holding(&path, hang), String::new(), &patience).unwrap_err();
            let said = fault.to_string();
            assert_eq!(said, "it told nothing for 0 seconds and was ended");
            io::read_to_string(File::from(held)).unwrap();
        }
    }

    #[test]
    fn the_end_of_the_server_ends_one_that_is_stopped_and_reads_nothing() {
        let (_folder, path) = pipe();
        let program = holding(&path, "kill -STOP $$");
        let patience = Patience::default();
        let is_over = Arc::clone(&patience.is_over);
        let watching = thread::spawn(move || {
            let mut held = File::open(path).unwrap();
            held.read_exact(&mut [0; 5]).unwrap();
            is_over.store(true, Ordering::Release);
            io::read_to_string(held).unwrap()
        });
        // More than fits into a pipe.
        let fault = run(program, "input\n".repeat(100_000), &patience).unwrap_err();
        assert!(matches!(fault, ChildFault::Interrupted), "{fault}");
        assert_eq!(watching.join().unwrap(), "");
    }
}
