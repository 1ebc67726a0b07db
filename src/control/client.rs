//! The asking side: through the server if one runs, else in this process.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::{ANSWER_BYTES_MAX, SOCKET, SocketPath};
use crate::app::AppFault;
use crate::operator::{self, Done, OperatorFault, Request};

/// How long a server that starts or ends, or another command, is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two tries.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long an answer may take: longer than the server itself waits for the disk, and for those before us.
const ANSWER_WAIT: Duration = Duration::from_secs(120);

/// The request was not carried out, or nobody said so.
#[derive(Debug, Error)]
pub enum ControlFault {
    /// The server was reached and refuses.
    #[error("{0}")]
    Refused(String),
    /// The server was reached, but does not make sense.
    #[error(
        "the server on {} gave an answer that is not understood; use the program of the server's version",
        .0.display()
    )]
    Answer(PathBuf),
    /// The socket is there but cannot be used.
    #[error("the server cannot be asked through {}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody works on the folder, and there is no way to a server.
    #[error(
        "another sidecargo works on the data folder {}, and nobody listens on `control.sock` there; if it is the server, its log says why, and a second after that is mended it listens; if it is another command, try again once that has ended",
        .0.display()
    )]
    Deaf(PathBuf),
    /// No server runs, and this process could not do it.
    #[error(transparent)]
    Alone(#[from] OperatorFault),
}

/// Has the request carried out on the registry in the data folder `folder`.
///
/// A server that ends in the middle is no failure: the request is made again, which does no harm.
pub fn ask(folder: &Path, request: &Request) -> Result<Done, ControlFault> {
    ask_within(PATIENCE, folder, request)
}

fn ask_within(patience: Duration, folder: &Path, request: &Request) -> Result<Done, ControlFault> {
    let started = Instant::now();
    loop {
        if let Some(done) = tell(folder, request)? {
            return Ok(done);
        }
        match operator::carry_out_alone(folder, request) {
            Err(OperatorFault::App(AppFault::Locked(_))) if started.elapsed() < patience => {
                thread::sleep(LOOK_AGAIN);
            }
            Err(OperatorFault::App(AppFault::Locked(_))) => {
                return Err(ControlFault::Deaf(folder.to_owned()));
            }
            done => return Ok(done?),
        }
    }
}

/// Has the request carried out by the server that runs on the data folder `folder`; `None` if there is none.
pub fn tell(folder: &Path, request: &Request) -> Result<Option<Done>, ControlFault> {
    let path = || folder.join(SOCKET);
    let answer = ask_server(folder, request).map_err(|source| ControlFault::Socket {
        path: path(),
        source,
    })?;
    let Some(answer) = answer else {
        return Ok(None);
    };
    serde_json::from_slice::<Result<Done, String>>(&answer)
        .map_err(|_| ControlFault::Answer(path()))?
        .map(Some)
        .map_err(ControlFault::Refused)
}

/// The server's answer; `None` if there is no server, or no longer.
fn ask_server(folder: &Path, request: &Request) -> io::Result<Option<Vec<u8>>> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    let exchange = || -> io::Result<Vec<u8>> {
        let socket = SocketPath::new(folder, SOCKET)?;
        let mut stream = UnixStream::connect(&socket.path)?;
        stream.set_read_timeout(Some(ANSWER_WAIT))?;
        stream.set_write_timeout(Some(ANSWER_WAIT))?;
        stream.write_all(&line)?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(answer)
    };
    match exchange() {
        // Cut off: the server has ended.
        Ok(answer) if !answer.ends_with(b"\n") && (answer.len() as u64) < ANSWER_BYTES_MAX => {
            Ok(None)
        }
        Ok(answer) => Ok(Some(answer)),
        Err(error) if is_nobody(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the error means that no server is at the socket.
fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Data;

    #[test]
    fn whoever_holds_the_folder_and_does_not_listen_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::new(folder.path());
        std::fs::create_dir(data.place().git_dir).unwrap();
        let _lock = data.lock().unwrap();
        // What an ended server left, and what is no socket.
        let socket = folder.path().join(SOCKET);
        let nothing = || ();
        let left = || drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let other = || {
            std::fs::remove_file(&socket).unwrap();
            std::fs::write(&socket, "").unwrap();
        };
        let found: [&dyn Fn(); 3] = [&nothing, &left, &other];
        for leave in found {
            leave();
            let fault = ask_within(Duration::ZERO, folder.path(), &Request::RotateKeys {});
            let said = fault.unwrap_err().to_string();
            assert!(said.contains("nobody listens on `control.sock`"), "{said}");
        }
    }
}
