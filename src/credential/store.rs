//! Sessions: one file for each registry, in a folder and a file that only their owner may read.
//!
//! It lies beside Cargo's own credentials and is guarded as they are. A keyring would be another program's: on Linux one
//! that is there only while somebody sits before the machine.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::fault::Fault;
use super::registry::Registry;
use crate::disk;
use crate::domain::Cksum;

/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// How somebody has logged in.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Session {
    /// With a token that they had.
    Pasted { token: String },
    /// At the forge. All of it is as it was then: whatever the registry says later, the secret goes where it came from.
    SignedIn {
        forge: String,
        client_id: String,
        token_endpoint: String,
        refresh_token: String,
    },
}

/// The place of one registry's session.
pub struct Store {
    folder: PathBuf,
    path: PathBuf,
}

/// The right to use the refresh token: it may be good once.
pub struct Turn {
    _lock: File,
}

impl Store {
    /// The place in `folder`.
    pub fn new(folder: Option<&Path>, registry: &Registry) -> Result<Self, Fault> {
        let folder = folder.ok_or(Fault::NoFolder)?.to_owned();
        let hash = Cksum::from(<[u8; 32]>::from(Sha256::digest(registry.root())));
        let path = folder.join(format!("{hash}.json"));
        Ok(Self { folder, path })
    }

    /// The session, if somebody has logged in.
    pub fn session(&self) -> Result<Option<Session>, Fault> {
        let metadata = match fs::metadata(&self.path) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata.map_err(|fault| self.fault("read", fault))?,
        };
        if metadata.mode() & 0o077 != 0 {
            return Err(Fault::Exposed(self.path.clone()));
        }
        if metadata.len() > FILE_BYTES_MAX {
            return Err(Fault::Damaged(self.path.clone()));
        }
        let bytes = fs::read(&self.path).map_err(|fault| self.fault("read", fault))?;
        // The text of a fault may repeat what stands there.
        let session = serde_json::from_slice(&bytes);
        session
            .map(Some)
            .map_err(|_| Fault::Damaged(self.path.clone()))
    }

    /// Keeps a session in the place of any before it; whole and durable when this returns.
    pub fn keep(&self, session: &Session) -> Result<(), Fault> {
        let bytes = serde_json::to_vec(session).expect("a session has only texts");
        disk::create_private_folder(&self.folder)
            .and_then(|()| disk::replace_private(&self.path, &bytes))
            .map_err(|fault| self.fault("write", fault))
    }

    /// Forgets the session; whether there was one.
    pub fn remove(&self) -> Result<bool, Fault> {
        match fs::remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(fault) => Err(self.fault("remove", fault)),
        }
    }

    /// Waits until no other process uses the refresh token, or puts something else in its place.
    pub fn turn(&self) -> Result<Turn, Fault> {
        let path = self.path.with_extension("lock");
        let lock = || {
            disk::create_private_folder(&self.folder)?;
            let mut options = File::options();
            options.create(true).truncate(false).write(true).mode(0o600);
            let file = options.open(&path)?;
            file.lock()?;
            Ok(file)
        };
        match lock() {
            Ok(file) => Ok(Turn { _lock: file }),
            Err(source) => Err(Fault::Io {
                doing: "lock",
                path: path.clone(),
                source,
            }),
        }
    }

    fn fault(&self, doing: &'static str, source: io::Error) -> Fault {
        let path = self.path.clone();
        Fault::Io {
            doing,
            path,
            source,
        }
    }
}
