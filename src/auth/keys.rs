//! The keys that sign and verify the tokens of this registry.
//!
//! A key is one file, `token-<kid>.pk8`: an Ed25519 key in PKCS#8, as RFC 8410 has it. Its id is the thumbprint of
//! its public half (RFC 7638), so the name of a file is a function of its content. `token-current` holds the id of
//! the key that signs; every key that lies there verifies, which lets keys overlap when one replaces another.
//!
//! A file appears under its name whole, durable and only once. A new key is added before it signs, so that whoever
//! verifies can know it first; a crash in between leaves a key that never signed anything. Keys are not retired here:
//! an old one is good for as long as the tokens that it signed.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use thiserror::Error;

use crate::disk;

/// The file that holds the id of the signing key.
const CURRENT: &str = "token-current";
/// The longest file that is read as a key, in bytes; a key in PKCS#8 has 48 or 83.
const KEY_FILE_BYTES_MAX: u64 = 1024;

/// The id of a key: its thumbprint, SHA-256 in base64url, 43 characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

/// The text is not the id of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected a SHA-256 in base64url, 43 characters")]
pub struct KeyIdFault;

/// The keys of one folder, of which one signs and all verify.
pub struct TokenKeys {
    signing_id: KeyId,
    signing_key: EncodingKey,
    verifying_keys: BTreeMap<KeyId, DecodingKey>,
    exposed: Vec<PathBuf>,
}

/// Why the keys cannot be used.
#[derive(Debug, Error)]
pub enum KeyFault {
    /// A file or folder cannot be read or written.
    #[error("cannot {doing} `{path}`")]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// There is no signing key yet.
    #[error(
        "there is no token key in `{dir}`; the first start of the server or the first token makes one"
    )]
    NoKey { dir: PathBuf },
    /// The content is not a key.
    #[error(
        "`{path}` ({bytes} bytes) is not an Ed25519 key in PKCS#8; restore it from a backup, or remove it and every token that it signed"
    )]
    Form { path: PathBuf, bytes: usize },
    /// The key in the file is another than its name says.
    #[error("`{path}` holds another key than its name says; rename it to `{expected}`")]
    Name { path: PathBuf, expected: String },
    /// `token-current` does not hold an id.
    #[error(
        "`{path}` does not hold the id of a key: write into it the part of a file name between `token-` and `.pk8`"
    )]
    Current { path: PathBuf },
    /// `token-current` names a key that is not there.
    #[error(
        "`{current}` names the key `{missing}`, which is not there; restore it from a backup, or name another key"
    )]
    Missing { current: PathBuf, missing: PathBuf },
    /// No new key could be made.
    #[error("the system could not make a new key")]
    Generate,
}

impl KeyId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(public: &DecodingKey) -> Result<Self, jsonwebtoken::errors::Error> {
        let jwk = Jwk::from_decoding_key(public, Some(Algorithm::EdDSA))?;
        Ok(Self(jwk.thumbprint(ThumbprintHash::SHA256)?))
    }

    fn file_name(&self) -> String {
        format!("token-{}.pk8", self.0)
    }
}

impl TokenKeys {
    /// Whether there is a key in `dir`: tokens that it signed are good, also if another one signs now.
    pub fn are_in(dir: &Path) -> bool {
        key_files(dir).is_ok_and(|keys| !keys.is_empty())
    }

    /// Whether there is the key with this id in `dir`; also if the id is none.
    pub fn has(dir: &Path, id: &str) -> bool {
        let id: Result<KeyId, _> = id.parse();
        id.is_ok_and(|id| dir.join(id.file_name()).exists())
    }

    /// Reads the keys in `dir`; makes the folder and the first key if there is none.
    ///
    /// Several processes may do this at the same time: all end with the same signing key.
    pub fn open_or_create(dir: &Path) -> Result<Self, KeyFault> {
        if !exists(&dir.join(CURRENT))? {
            disk::create_private_folder(dir)
                .map_err(|source| io_fault("create the folder", dir, source))?;
            create_first_key(dir)?;
        }
        Self::open(dir)
    }

    /// Reads the keys in `dir`.
    pub fn open(dir: &Path) -> Result<Self, KeyFault> {
        let signing_id = read_current(dir)?;
        let mut signing_key = None;
        let mut verifying_keys = BTreeMap::new();
        let mut exposed = Vec::new();
        for path in key_files(dir)? {
            // Gone since it was listed: another process removed a key of its own that was never used.
            let Some(file) = read_key(&path)? else {
                continue;
            };
            if file.is_exposed {
                tracing::warn!(path = %path.display(), "everybody on this machine can read this token key; run `chmod 600` on it");
                exposed.push(path);
            }
            if file.id == signing_id {
                signing_key = Some(file.private);
            }
            verifying_keys.insert(file.id, file.public);
        }
        let signing_key = signing_key.ok_or_else(|| KeyFault::Missing {
            current: dir.join(CURRENT),
            missing: dir.join(signing_id.file_name()),
        })?;
        Ok(Self {
            signing_id,
            signing_key,
            verifying_keys,
            exposed,
        })
    }

    /// Makes one more key in `dir`, which verifies but does not sign.
    pub fn add(dir: &Path) -> Result<KeyId, KeyFault> {
        let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())
            .map_err(|_| KeyFault::Generate)?;
        let (id, ..) = parse(document.as_ref()).ok_or(KeyFault::Generate)?;
        create_private(dir, &id.file_name(), document.as_ref())?;
        Ok(id)
    }

    /// Lets the key `id` in `dir` sign from now on; the others still verify.
    pub fn sign_with(dir: &Path, id: &KeyId) -> Result<(), KeyFault> {
        let path = dir.join(CURRENT);
        disk::replace_private(&path, format!("{id}\n").as_bytes())
            .map_err(|source| io_fault("write", &path, source))
    }

    /// The one key that this seed gives, always the same.
    #[cfg(any(test, fuzzing))]
    pub(super) fn from_seed(seed: [u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("any seed gives a key");
        let document = pair.to_pkcs8v1().expect("a key can be written");
        let (id, signing_key, public) = parse(document.as_ref()).expect("and read");
        Self {
            signing_id: id.clone(),
            signing_key,
            verifying_keys: BTreeMap::from([(id, public)]),
            exposed: Vec::new(),
        }
    }

    /// The id of the key that signs.
    pub fn signing_id(&self) -> &KeyId {
        &self.signing_id
    }

    /// The ids of all keys, in order.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.verifying_keys.keys()
    }

    /// The files that everybody on this machine can read, though they are secret.
    pub fn exposed(&self) -> &[PathBuf] {
        &self.exposed
    }

    pub(super) fn signing_key(&self) -> &EncodingKey {
        &self.signing_key
    }

    pub(super) fn verifying_key(&self, id: &KeyId) -> Option<&DecodingKey> {
        self.verifying_keys.get(id)
    }
}

/// Makes a key and lets `token-current` name it, unless another process was first.
///
/// A crash in between leaves a key that never signed anything; it does no harm.
fn create_first_key(dir: &Path) -> Result<(), KeyFault> {
    let id = TokenKeys::add(dir)?;
    match create_private(dir, CURRENT, format!("{id}\n").as_bytes()) {
        Ok(()) => Ok(()),
        Err(KeyFault::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            let path = dir.join(id.file_name());
            fs::remove_file(&path).map_err(|source| io_fault("remove", &path, source))?;
            // Also makes durable the name that the other process may not have synced yet.
            sync_folder(dir)
        }
        Err(fault) => Err(fault),
    }
}

/// Creates the file `name` that only its owner may read; fails with `AlreadyExists` if the name is taken.
fn create_private(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), KeyFault> {
    let path = dir.join(name);
    disk::create_private(&path, bytes).map_err(|source| io_fault("create", &path, source))
}

fn sync_folder(dir: &Path) -> Result<(), KeyFault> {
    disk::sync_folder(dir).map_err(|source| io_fault("sync the folder", dir, source))
}

fn exists(path: &Path) -> Result<bool, KeyFault> {
    path.try_exists()
        .map_err(|source| io_fault("read", path, source))
}

fn read_current(dir: &Path) -> Result<KeyId, KeyFault> {
    let path = dir.join(CURRENT);
    let bytes = match read_bounded(&path) {
        Ok((_, bytes)) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(KeyFault::NoKey {
                dir: dir.to_owned(),
            });
        }
        Err(source) => return Err(io_fault("read", &path, source)),
    };
    std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.trim_end().parse().ok())
        .ok_or(KeyFault::Current { path })
}

/// The paths of all key files, in the order of their names.
fn key_files(dir: &Path) -> Result<Vec<PathBuf>, KeyFault> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_key = |name: &str| name.starts_with("token-") && name.ends_with(".pk8");
            if name.to_str().is_some_and(is_key) {
                paths.push(entry.path());
            }
        }
        paths.sort();
        Ok(paths)
    };
    list().map_err(|source| io_fault("list", dir, source))
}

struct KeyFile {
    id: KeyId,
    private: EncodingKey,
    public: DecodingKey,
    is_exposed: bool,
}

fn read_key(path: &Path) -> Result<Option<KeyFile>, KeyFault> {
    let (mode, bytes) = match read_bounded(path) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_fault("read", path, source)),
    };
    let (id, private, public) = parse(&bytes).ok_or_else(|| KeyFault::Form {
        path: path.to_owned(),
        bytes: bytes.len(),
    })?;
    let expected = id.file_name();
    if path.file_name() != Some(expected.as_ref()) {
        return Err(KeyFault::Name {
            path: path.to_owned(),
            expected,
        });
    }
    Ok(Some(KeyFile {
        id,
        private,
        public,
        is_exposed: mode & 0o007 != 0,
    }))
}

fn parse(pkcs8: &[u8]) -> Option<(KeyId, EncodingKey, DecodingKey)> {
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8).ok()?;
    let public = DecodingKey::from_ed_der(pair.public_key().as_ref());
    let id = KeyId::of(&public).ok()?;
    Some((id, EncodingKey::from_ed_der(pkcs8), public))
}

/// The permissions and content of a file, of which at most one byte more than allowed is read.
fn read_bounded(path: &Path) -> io::Result<(u32, Vec<u8>)> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    let mut bytes = Vec::new();
    file.take(KEY_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {KEY_FILE_BYTES_MAX} bytes"),
        ));
    }
    Ok((mode, bytes))
}

fn io_fault(doing: &'static str, path: &Path, source: io::Error) -> KeyFault {
    KeyFault::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

impl FromStr for KeyId {
    type Err = KeyIdFault;

    fn from_str(text: &str) -> Result<Self, KeyIdFault> {
        match BASE64_URL_SAFE_NO_PAD.decode(text) {
            Ok(thumbprint) if thumbprint.len() == 32 => Ok(Self(text.to_owned())),
            _ => Err(KeyIdFault),
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", self.0)
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys")
            .field("signing_id", &self.signing_id)
            .field("ids", &self.ids().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
