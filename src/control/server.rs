//! The answering side: a thread of the running server.

use std::fs::{self, Metadata};
use std::future::pending;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
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
/// How often it is looked whether the socket is there.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A server's open ear; when it is dropped, the request under way is finished and the socket removed.
pub struct Control {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// There is no way for commands to reach the server.
#[derive(Debug, Error)]
enum ListenFault {
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
    /// Listens on the socket in the data folder of `app`, which the caller has locked; whenever that is not there, it is
    /// made again. Must not be called where other work waits.
    ///
    /// Requests are carried out one after the other, on a thread of their own.
    ///
    /// # Errors
    /// The system has no thread or descriptor left: such a server would never hear anything.
    pub fn start(app: Arc<App>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut ear = Ear::of(&app.config.data)?;
        // Whoever sees that the server has started is heard.
        let entered = runtime.enter();
        ear.open();
        drop(entered);
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || runtime.block_on(serve(ear, &app, stopped)))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The socket in a data folder; one that stays is replaced at the next start.
struct Ear {
    folder: PathBuf,
    /// Which folder that was when it was locked.
    locked: FileId,
    open: Option<Open>,
    /// Whether the log says already that it cannot be made.
    has_told: bool,
}

struct Open {
    listener: UnixListener,
    file: FileId,
}

/// Which file it is, whatever name it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}

impl Ear {
    fn of(folder: &Path) -> io::Result<Self> {
        Ok(Self {
            folder: folder.to_owned(),
            locked: FileId::of(&fs::metadata(folder)?),
            open: None,
            has_told: false,
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.join(SOCKET)
    }

    /// Makes the socket, unless it is there.
    fn open(&mut self) {
        if self.is_open() {
            return;
        }
        match self.listen() {
            Ok(open) => {
                if self.has_told || self.open.is_some() {
                    warn!("the socket for commands was not there and was made again");
                }
                (self.open, self.has_told) = (Some(open), false);
            }
            Err(cause) => {
                if !self.has_told {
                    error!(cause = chain(&cause), "commands do not reach this server");
                }
                (self.open, self.has_told) = (None, true);
            }
        }
    }

    /// Whether what has the socket's name is ours.
    fn is_open(&self) -> bool {
        let found = fs::symlink_metadata(self.path()).map(|found| FileId::of(&found));
        let file = self.open.as_ref().map(|open| open.file);
        found.is_ok_and(|found| file == Some(found))
    }

    fn listen(&self) -> Result<Open, ListenFault> {
        let path = self.path();
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.file_type().is_socket()) {
            return Err(ListenFault::NotASocket(path));
        }
        self.bind()
            .map_err(|source| ListenFault::Io { path, source })
    }

    /// Makes the socket under another name, so that it replaces what an ended process left only when it is ready.
    fn bind(&self) -> io::Result<Open> {
        if FileId::of(&fs::metadata(&self.folder)?) != self.locked {
            return Err(io::Error::other("another folder has the name of ours"));
        }
        let unready = self.folder.join(UNREADY);
        disk::if_there(fs::remove_file(&unready))?;
        let listener = UnixListener::bind(&SocketPath::new(&self.folder, UNREADY)?.path)?;
        fs::set_permissions(&unready, fs::Permissions::from_mode(0o600))?;
        let file = FileId::of(&fs::symlink_metadata(&unready)?);
        disk::rename(&unready, &self.path())?;
        Ok(Open { listener, file })
    }

    /// The next who comes.
    async fn accept(&self) -> io::Result<UnixStream> {
        match &self.open {
            Some(open) => open.listener.accept().await.map(|(stream, _)| stream),
            None => pending().await,
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        if self.is_open() {
            let _ = fs::remove_file(self.path());
        }
    }
}

async fn serve(mut ear: Ear, app: &App, mut stopped: oneshot::Receiver<()>) {
    let mut operator = Operator::of(app);
    let mut looks = interval(LOOK_AGAIN);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            _ = looks.tick() => ear.open(),
            accepted = ear.accept() => match accepted {
                Ok(stream) => {
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
