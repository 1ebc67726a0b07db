//! A git program for which the writer waits, and all who want to write with it.
//!
//! What it has to do may take long, and it tells how far it is. One that tells nothing for long hangs and is ended: a
//! bound for the whole would end one that has much to do on a slow disk, again and again.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// How much of what it told last is kept, in bytes: of one that fails the reason stands there.
const TOLD_BYTES_MAX: usize = 4096;

/// Some bytes that it wrote.
enum Written {
    Output(Vec<u8>),
    Told(Vec<u8>),
}

/// Runs a program that tells how far it is to its end, and gives its output; ends it if it writes nothing for `silence`.
///
/// It gets the `input` at once, so that must fit into a pipe.
pub(super) fn run(mut command: Command, input: &str, silence: Duration) -> io::Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let (tell, written) = sync_channel(1);
    let listening = listen(child.stdout.take(), tell.clone(), Written::Output)
        .and_then(|()| listen(child.stderr.take(), tell, Written::Told));
    if let Err(cause) = listening {
        // Nobody waits for it: on a disk that hangs it ends only with that.
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        return Err(cause);
    }
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let (mut output, mut told) = (Vec::new(), Vec::new());
    loop {
        match written.recv_timeout(silence) {
            Ok(Written::Output(bytes)) => output.extend(bytes),
            Ok(Written::Told(bytes)) => {
                told.extend(bytes);
                told.drain(..told.len().saturating_sub(TOLD_BYTES_MAX));
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
                // One that waits for a disk that hangs ends only with that; if there is no thread, nobody waits for it.
                let _ = thread::Builder::new().spawn(move || child.wait());
                return Err(io::Error::other(format!(
                    "it told nothing for {} seconds and was ended",
                    silence.as_secs()
                )));
            }
        }
    }
    let status = child.wait()?;
    match status.success() {
        true => String::from_utf8(output).map_err(io::Error::other),
        false => Err(io::Error::other(format!("{status}{}", complaint(&told)))),
    }
}

/// What it says of its end, without how far it was.
fn complaint(told: &[u8]) -> String {
    let told = String::from_utf8_lossy(told);
    let lines = told.split(['\r', '\n']);
    let reasons = lines.filter(|line| line.starts_with("fatal: ") || line.starts_with("error: "));
    reasons.map(|line| format!("; {line}")).collect()
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

    use super::*;

    /// Longer than a test may take, but for one whose program hangs.
    const NEVER: Duration = Duration::from_secs(600);

    fn shell(script: &str, silence: Duration) -> io::Result<String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, "input\n", silence)
    }

    #[test]
    fn a_program_that_ends_gives_its_output_or_its_reason() {
        let printed = shell("read word; echo far 1>&2; echo $word; echo 2", NEVER);
        assert_eq!(printed.unwrap(), "input\n2\n");
        let script = "printf 'far: 1%%\\rfar: 2%%\\rfatal: why\\n' 1>&2; exit 3";
        let fault = shell(script, NEVER).unwrap_err().to_string();
        assert_eq!(fault, "exit status: 3; fatal: why");
        let long = "yes far | head -c 100000 1>&2; echo 'error: why' 1>&2; kill -KILL $$";
        let fault = shell(long, NEVER).unwrap_err().to_string();
        assert!(fault.ends_with("; error: why"), "{fault}");
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_all_that_it_has_started() {
        use rustix::fs::{Mode, OFlags, fcntl_setfl, open};

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("held");
        assert!({ Command::new("mkfifo").arg(&path).status().unwrap() }.success());
        // Without waiting for somebody who writes.
        let held = open(&path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
        fcntl_setfl(&held, OFlags::empty()).unwrap();
        let hang = "tail -f /dev/null & tail -f /dev/null";
        let script = format!("exec 9> '{}'; echo far 1>&2; {hang}", path.display());
        let fault = shell(&script, Duration::from_millis(100)).unwrap_err();
        let said = fault.to_string();
        assert_eq!(said, "it told nothing for 0 seconds and was ended");
        // This ends once nobody has it open.
        let mut nothing = Vec::new();
        File::from(held).read_to_end(&mut nothing).unwrap();
        assert!(nothing.is_empty());
    }
}
