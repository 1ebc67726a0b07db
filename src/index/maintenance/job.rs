//! One run of the git program, which ends when the server ends.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Fault;

/// The most bytes of an output that are kept.
const OUTPUT_BYTES_MAX: u64 = 4096;
/// How often it is looked whether the program or the server has ended.
const LOOK: Duration = Duration::from_millis(10);

/// What is to be run.
pub(super) struct Job {
    /// Git's subcommand.
    pub(super) what: &'static str,
    pub(super) command: Command,
    pub(super) input: String,
}

impl Job {
    /// Runs it to its end and gives what it printed; ends it when `is_over`.
    pub(super) fn run(mut self, is_over: &AtomicBool) -> Result<String, Fault> {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let listening = listen(child.stdout.take())
            .and_then(|output| Ok((output, listen(child.stderr.take())?)));
        let outputs = match listening {
            Ok(outputs) => outputs,
            Err(cause) => {
                let _ = kill_process(Pid::from_child(&child), Signal::TERM);
                child.wait()?;
                return Err(cause.into());
            }
        };
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read to the end says why elsewhere.
            let _ = stdin.write_all(self.input.as_bytes());
        }
        let status = loop {
            if is_over.load(Ordering::Acquire) {
                // Git takes its locks away with it.
                let _ = kill_process(Pid::from_child(&child), Signal::TERM);
                child.wait()?;
                return Err(Fault::Interrupted);
            }
            match child.try_wait()? {
                Some(status) => break status,
                None => thread::sleep(LOOK),
            }
        };
        let (printed, said) = (heard(outputs.0), heard(outputs.1));
        let (what, said) = (self.what, format!("{status}: {}", said.trim_end()));
        match status.code() {
            Some(0) => Ok(printed),
            Some(_) => Err(Fault::Git { what, said }),
            None => Err(Fault::Killed { what, said }),
        }
    }
}

/// Reads an output to its end, so that the program never waits, and keeps its beginning.
fn listen(output: Option<impl Read + Send + 'static>) -> io::Result<Option<JoinHandle<String>>> {
    let Some(mut output) = output else {
        return Ok(None);
    };
    let listening = thread::Builder::new().spawn(move || {
        let mut kept = Vec::new();
        // An output that cannot be read has nothing more to say.
        if (&mut output)
            .take(OUTPUT_BYTES_MAX)
            .read_to_end(&mut kept)
            .is_ok()
        {
            let _ = io::copy(&mut output, &mut io::sink());
        }
        String::from_utf8_lossy(&kept).into_owned()
    });
    listening.map(Some)
}

fn heard(listener: Option<JoinHandle<String>>) -> String {
    listener
        .and_then(|listener| listener.join().ok())
        .unwrap_or_default()
}
