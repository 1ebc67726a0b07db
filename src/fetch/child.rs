//! One process: fed, read, and ended.

use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{Instrument, Span, debug, warn};

use crate::domain::harmless;
use crate::places::Place;

use super::remembered::{BUFFER_BYTES, Recording};
use super::stream::{self, Chunk, FetchStream, Sent};
use super::{FetchFault, FetchLimits};

/// What the pipe of an answer holds, in bytes: git writes pieces of 64 KiB, and an ordinary pipe has room for one.
const PIPE_BYTES: usize = 512 * 1024;
/// A buffer with less room than this is not read into any more, in bytes.
const ROOM_BYTES_MIN: usize = 64 * 1024;
/// How many pieces wait for the client.
const CHUNKS_WAITING_MAX: usize = 2;
/// The most bytes of a process's complaints that are logged.
const COMPLAINT_BYTES_MAX: u64 = 2048;
/// How complaints of a request begin.
const OF_CLIENT: [&str; 8] = [
    "Invalid deepen",
    "git upload-pack: expected SHA1 object",
    "git upload-pack: protocol error",
    "invalid command",
    "invalid shallow line",
    "mismatched object format",
    "unexpected line",
    "unknown capability",
];
/// How much of such a complaint is repeated, in characters.
const WORDS_CHARS_MAX: usize = 200;
/// For a process to exit after it closed its output.
const EXIT_TIME: Duration = Duration::from_secs(5);

/// A process at work, with what it answers and to whom.
pub(super) struct Job {
    process: Process,
    pipes: Pipes,
    request: Bytes,
    chunks: mpsc::Sender<Chunk>,
    outcome: oneshot::Sender<Result<(), FetchFault>>,
    limits: FetchLimits,
    /// Given back when the process is gone.
    place: Place,
    /// Of an answer that others may have too.
    recording: Option<Recording>,
}

/// A started process that does not outlive this value, nor do its own children.
struct Process(Child);

struct Pipes {
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

/// Why the reading of an output ended.
enum End {
    /// The process closed its output.
    Closed(Output),
    /// Nobody wants the rest.
    ClientGone,
    /// The client was too slow, or the process.
    OutOfTime,
}

/// What a process has written.
struct Output {
    is_there: bool,
    /// All of it, if others may have it too.
    recording: Option<Recording>,
}

impl Job {
    /// Starts `command`, which then waits for [`Job::run`].
    pub(super) fn start(
        mut command: Command,
        request: Bytes,
        limits: FetchLimits,
        place: Place,
        recording: Option<Recording>,
    ) -> Result<(Self, FetchStream), FetchFault> {
        let mut child = command.spawn().map_err(FetchFault::Spawn)?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let process = Process(child);
        process.limit_cpu(limits.cpu_secs);
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(FetchFault::Failed);
        };
        if let Err(fault) = fcntl_setpipe_size(&stdout, PIPE_BYTES) {
            debug!(%fault, "the pipe of a fetch stays small");
        }
        let (chunks, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
        let (outcome, told) = oneshot::channel();
        let job = Self {
            process,
            pipes: Pipes {
                stdin,
                stdout,
                stderr,
            },
            request,
            chunks,
            outcome,
            limits,
            place,
            recording,
        };
        Ok((job, FetchStream::new(receiver, told)))
    }

    /// Carries the request in and the answer out until one side ends, in the caller's span.
    pub(super) fn run(self) -> impl Future<Output = ()> {
        self.finish().instrument(Span::current())
    }

    async fn finish(self) {
        let Self {
            mut process,
            pipes,
            request,
            chunks,
            outcome,
            limits,
            place,
            recording,
        } = self;
        let talk = async {
            let ((), complaint) = tokio::join!(feed(pipes.stdin, request), complaint(pipes.stderr));
            complaint
        };
        let mut talk = pin!(talk);
        let mut pump = pin!(pump(pipes.stdout, &chunks, limits, recording));
        let mut said = None;
        let end = loop {
            tokio::select! {
                end = &mut pump => break end,
                text = &mut talk, if said.is_none() => said = Some(text),
            }
        };
        let ended = match end {
            End::Closed(output) => {
                let exit = async {
                    let said = match said {
                        Some(said) => said,
                        None => talk.await,
                    };
                    (process.0.wait().await, said)
                };
                match timeout(EXIT_TIME, exit).await {
                    Ok((Ok(status), said)) => judge(status, output, &said),
                    Ok((Err(_), _)) | Err(_) => Err(FetchFault::Failed),
                }
            }
            End::ClientGone => {
                debug!("the client of a fetch left");
                Ok(())
            }
            End::OutOfTime => {
                warn!("a fetch ended: its client took too long");
                Err(FetchFault::Stalled)
            }
        };
        process.end().await;
        // The place first: whoever sees the end of the answer finds the place free.
        drop(place);
        // The client may be gone: then nobody is left to tell.
        let _ = outcome.send(ended);
    }
}

impl Process {
    fn limit_cpu(&self, cpu_secs: u64) {
        let limit = Rlimit {
            current: Some(cpu_secs),
            // One second more, after which the kernel kills whoever ignores the first signal.
            maximum: Some(cpu_secs.saturating_add(1)),
        };
        if let Err(fault) = prlimit(self.id(), Resource::Cpu, limit) {
            warn!(%fault, "a fetch runs without its CPU limit");
        }
    }

    fn id(&self) -> Option<Pid> {
        self.0
            .id()
            .and_then(|id| Pid::from_raw(id.try_into().ok()?))
    }

    /// Kills the process with its children. Does nothing once it was waited for: its id may then be another's.
    fn kill(&self) {
        if let Some(id) = self.id() {
            // An error means that the group is gone already.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }

    /// Kills the process if it still runs, and takes its exit status.
    async fn end(&mut self) {
        self.kill();
        if let Err(fault) = self.0.wait().await {
            warn!(%fault, "cannot wait for a `git upload-pack`");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn feed(mut stdin: ChildStdin, request: Bytes) {
    // A process that does not read to the end says why on its other pipes.
    if let Err(fault) = stdin.write_all(&request).await {
        debug!(%fault, "a `git upload-pack` did not read its request");
    }
}

/// What the process says on its standard error: the first bytes are kept, all are read, so that it never blocks.
async fn complaint(mut stderr: ChildStderr) -> String {
    let mut kept = Vec::new();
    let mut first = (&mut stderr).take(COMPLAINT_BYTES_MAX);
    // A pipe that cannot be read has nothing more to say.
    if first.read_to_end(&mut kept).await.is_ok() {
        let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&kept).trim_end().to_owned()
}

async fn pump(
    mut stdout: ChildStdout,
    chunks: &mpsc::Sender<Chunk>,
    limits: FetchLimits,
    mut recording: Option<Recording>,
) -> End {
    let deadline = Instant::now() + limits.total;
    let mut is_there = false;
    // Git's pieces are smaller than a buffer: several lie in one, so that none holds much more than its bytes.
    let mut buffer = BytesMut::new();
    loop {
        if buffer.capacity() < ROOM_BYTES_MIN {
            buffer = BytesMut::with_capacity(BUFFER_BYTES);
            recording.take_if(|recording| !recording.takes_buffer());
        }
        let count = tokio::select! {
            () = chunks.closed() => return End::ClientGone,
            read = timeout_at(deadline, stdout.read_buf(&mut buffer)) => match read {
                Ok(Ok(count)) => count,
                Ok(Err(fault)) => {
                    warn!(%fault, "cannot read from a `git upload-pack`");
                    recording = None;
                    0
                }
                Err(_elapsed) => return End::OutOfTime,
            },
        };
        if count == 0 {
            return End::Closed(Output {
                is_there,
                recording,
            });
        }
        is_there = true;
        let piece = buffer.split().freeze();
        if let Some(recording) = &mut recording {
            recording.add(piece.clone());
        }
        match stream::pass_on(vec![piece], chunks, deadline, limits.stall).await {
            Sent::Taken => {}
            Sent::ClientGone => return End::ClientGone,
            Sent::OutOfTime => return End::OutOfTime,
        }
    }
}

/// Whether git complains of the request and of nothing else.
fn is_of_client(complaint: &str) -> bool {
    let words = complaint.strip_prefix("fatal: ").unwrap_or_default();
    OF_CLIENT.iter().any(|start| words.starts_with(start))
}

fn judge(status: ExitStatus, output: Output, complaint: &str) -> Result<(), FetchFault> {
    if status.success() {
        if let Some(recording) = output.recording.filter(|_| output.is_there) {
            recording.keep();
        }
        return Ok(());
    }
    if !output.is_there && is_of_client(complaint) {
        let words = harmless(complaint, WORDS_CHARS_MAX);
        debug!(words, "a request for a fetch was not understood");
        return Err(FetchFault::NotUnderstood(words));
    }
    warn!(%status, ?complaint, "a `git upload-pack` failed");
    // One that exits by itself after it wrote has told the client why, in the protocol's own words.
    if output.is_there && status.code().is_some() {
        Ok(())
    } else {
        Err(FetchFault::Failed)
    }
}
