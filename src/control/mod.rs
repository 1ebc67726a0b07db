//! How a command reaches the server that runs on the same data folder: the socket `control.sock` in it.
//!
//! One connection is one request: a line of JSON each way, a [`Request`] there, `{"Ok": Done}` or `{"Err": "reason"}`
//! back. Only the user that runs the server, and root, are listened to. No secret passes here.

mod client;
mod server;

pub use client::{ControlFault, ask, tell};
pub use server::Control;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

#[cfg(doc)]
use crate::operator::Request;

/// The socket's name in the data folder.
const SOCKET: &str = "control.sock";
/// The longest request, in bytes.
const REQUEST_BYTES_MAX: u64 = 4 * 1024;
/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// The longest path that every system takes for a socket, in bytes: 104 with its end on some, 108 on Linux.
const PATH_BYTES_MAX: usize = 103;

/// A name for a file of a folder that is short enough for a socket.
struct SocketPath {
    path: PathBuf,
    /// The path may lead through this open folder.
    _folder: File,
}

impl SocketPath {
    fn new(folder: &Path, name: &str) -> io::Result<Self> {
        let open = File::open(folder)?;
        let mut path = folder.join(name);
        if path.as_os_str().len() > PATH_BYTES_MAX {
            path = PathBuf::from(format!("/proc/self/fd/{}/{name}", open.as_raw_fd()));
        }
        Ok(Self {
            path,
            _folder: open,
        })
    }
}
