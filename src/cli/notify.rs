//! Words to the service manager that started this process, as `sd_notify(3)` has them.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tracing::warn;

/// Tells the manager `word`, if there is one that listens.
pub(super) fn say(word: &str) {
    let Some(address) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(cause) = send(address.as_bytes(), word) {
        warn!(%cause, word, "the service manager was not told");
    }
}

fn send(address: &[u8], word: &str) -> io::Result<()> {
    let address = match address.strip_prefix(b"@") {
        // One in the abstract name space, which has no file.
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(address))?,
    };
    UnixDatagram::unbound()?.send_to_addr(word.as_bytes(), &address)?;
    Ok(())
}
