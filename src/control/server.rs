//! The answering side: a thread of the running server.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener as BoundListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, warn};

use super::{REQUEST_BYTES_MAX, SOCKET, SocketPath};
use crate::app::App;
use crate::disk;
use crate::operator::{Done, Operator, Request};

/// The socket's name until only its owner can use it.
const UNREADY: &str = "tmp_control.sock";
/// How long a client may take to ask, and then to take its answer.
const CLIENT_WAIT: Duration = Duration::from_secs(5);
/// The pause after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// A server's open ear; when it is dropped, the request under way is finished and the socket removed.
pub struct Control {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    socket: PathBuf,
}

/// There is no way for commands to reach the server.
#[derive(Debug, Error)]
pub enum ListenFault {
    /// Something else has the socket's name.
    #[error("`{}` is not a socket; move it away", .0.display())]
    NotASocket(PathBuf),
    /// The socket cannot be made.
    #[error("the socket {} cannot be made", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Control {
    /// Listens on the socket in the data folder of `app`, which the caller has locked.
    ///
    /// Requests are carried out one after the other, on a thread of their own.
    pub fn start(app: Arc<App>) -> Result<Self, ListenFault> {
        let folder = app.config.data.clone();
        let path = folder.join(SOCKET);
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.file_type().is_socket()) {
            return Err(ListenFault::NotASocket(path));
        }
        let fault = |source| ListenFault::Io {
            path: path.clone(),
            source,
        };
        let listener = listen(&folder).map_err(fault)?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                if let Err(cause) = serve(listener, &app, stopped) {
                    error!(%cause, "tokens and keys cannot be changed while this server runs");
                }
            })
            .map_err(fault)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
            socket: path,
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // One that stays is replaced at the next start.
        let _ = fs::remove_file(&self.socket);
    }
}

/// Makes the socket under another name, so that it replaces what an ended process left only when it is ready.
fn listen(folder: &Path) -> io::Result<BoundListener> {
    let unready = folder.join(UNREADY);
    match fs::remove_file(&unready) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = BoundListener::bind(&SocketPath::new(folder, UNREADY)?.path)?;
    listener.set_nonblocking(true)?;
    fs::set_permissions(&unready, fs::Permissions::from_mode(0o600))?;
    disk::rename(&unready, &folder.join(SOCKET))?;
    Ok(listener)
}

fn serve(listener: BoundListener, app: &App, mut stopped: oneshot::Receiver<()>) -> io::Result<()> {
    // Made here and not by the caller: dropped on one of the server's own threads, it would panic.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut operator = Operator::of(app);
    runtime.block_on(async {
        let listener = UnixListener::from_std(listener)?;
        loop {
            tokio::select! {
                _ = &mut stopped => return Ok(()),
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        if let Err(cause) = answer(stream, &mut operator).await {
                            debug!(%cause, "a command left without its answer");
                        }
                    }
                    Err(cause) => {
                        warn!(%cause, "a command cannot be heard, trying again");
                        sleep(PAUSE).await;
                    }
                },
            }
        }
    })
}

async fn answer(mut stream: UnixStream, operator: &mut Operator<'_>) -> io::Result<()> {
    let caller = stream.peer_cred()?.uid();
    if caller != rustix::process::geteuid().as_raw() && caller != 0 {
        warn!(caller, "another user wanted to operate the registry");
        return Ok(());
    }
    let answer: Result<Done, String> = match read(&mut stream).await {
        Ok(request) => operator
            .carry_out(&request)
            .await
            .map_err(|fault| chain(&fault)),
        Err(reason) => Err(reason),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    timeout(CLIENT_WAIT, stream.write_all(&line)).await?
}

/// The request, or what is wrong with it.
async fn read(stream: &mut UnixStream) -> Result<Request, String> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(REQUEST_BYTES_MAX));
    match timeout(CLIENT_WAIT, reader.read_until(b'\n', &mut line)).await {
        Err(_) => return Err("the request did not come in time".to_owned()),
        Ok(Err(cause)) => return Err(format!("the request cannot be read: {cause}")),
        Ok(Ok(_)) if !line.ends_with(b"\n") => {
            return Err(format!(
                "a request is one line of at most {REQUEST_BYTES_MAX} bytes"
            ));
        }
        Ok(Ok(_)) => {}
    }
    // What was sent is not repeated: it may be anything.
    serde_json::from_slice(&line).map_err(|_| {
        "the server does not understand the request; use the program of its version".to_owned()
    })
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
