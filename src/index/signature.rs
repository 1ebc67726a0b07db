//! The registry's signing key: Ed25519 in OpenSSH's format, so that stock git verifies its commits.
//!
//! The signature format is OpenSSH's `PROTOCOL.sshsig`, with git's namespace.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gix::objs::CommitRefIter;
use ssh_key::private::Ed25519Keypair;
use ssh_key::public::KeyData;
use ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};
use thiserror::Error;

use crate::disk;

/// The namespace in which git signs.
const NAMESPACE: &str = "git";
const KEY_FILE: &str = "signing-ed25519";
/// A key that the index does not trust yet, or that was not promoted yet.
const NEXT_KEY_FILE: &str = "signing-ed25519.next";

/// The key that signs every commit of the registry.
pub(super) struct SigningKey(PrivateKey);

/// The signing key cannot be used.
#[derive(Debug, Error)]
pub enum KeyFault {
    /// Reading or writing the file failed.
    #[error("the signing key {} cannot be read or made", path.display())]
    Io {
        /// The key's file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not a key, or the key does not sign.
    #[error("the signing key {} is not an OpenSSH Ed25519 key", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// What is wrong with it.
        source: ssh_key::Error,
    },
    /// The public half of the key cannot be written down.
    #[error("the public half of the signing key cannot be written down")]
    Public(#[from] ssh_key::Error),
}

/// The public half of a signing key, as the index names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    line: String,
    fingerprint: String,
}

impl Signer {
    fn new(key: &KeyData) -> Result<Self, ssh_key::Error> {
        let public = PublicKey::new(key.clone(), "");
        Ok(Self {
            line: format!(
                "registry namespaces=\"{NAMESPACE}\" {}",
                public.to_openssh()?
            ),
            fingerprint: public.fingerprint(HashAlg::Sha256).to_string(),
        })
    }

    /// The key that a line of `allowed_signers` names, if it is one that the registry writes.
    pub(super) fn of_line(line: &str) -> Option<Self> {
        let (_, key) = line.split_once("\" ")?;
        let key = PublicKey::from_openssh(key).ok()?;
        let signer = Self::new(key.key_data()).ok()?;
        (signer.line == line).then_some(signer)
    }

    /// The line of `allowed_signers` that lets git accept the key's signatures, without its end.
    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// The key's fingerprint as OpenSSH shows it: `SHA256:` and 43 characters.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl SigningKey {
    /// Reads the key in `folder`, or makes one, readable by this user alone.
    pub(super) fn open_or_create(folder: &Path) -> Result<Self, KeyFault> {
        open_or_create(&folder.join(KEY_FILE))
    }

    /// Reads the key in `folder` that shall sign next, or makes one; until it is promoted it signs nothing.
    pub(super) fn prepare_next(folder: &Path) -> Result<Self, KeyFault> {
        open_or_create(&folder.join(NEXT_KEY_FILE))
    }

    /// The key in `folder` that shall sign next, if there is one.
    pub(super) fn next(folder: &Path) -> Result<Option<Self>, KeyFault> {
        read(&folder.join(NEXT_KEY_FILE))
    }

    /// Puts the key that shall sign next in the place of the one that signs, which is forgotten.
    ///
    /// Only once the index trusts it: whichever of both is found after a crash must be good.
    pub(super) fn promote_next(folder: &Path) -> Result<(), KeyFault> {
        let path = folder.join(NEXT_KEY_FILE);
        disk::rename(&path, &folder.join(KEY_FILE)).map_err(|source| KeyFault::Io { path, source })
    }

    /// The armoured signature of `bytes`.
    pub(super) fn sign(&self, bytes: &[u8]) -> Result<String, ssh_key::Error> {
        self.0
            .sign(NAMESPACE, HashAlg::Sha512, bytes)?
            .to_pem(LineEnding::LF)
    }

    /// The public half.
    pub(super) fn signer(&self) -> Result<Signer, ssh_key::Error> {
        Signer::new(self.0.public_key().key_data())
    }
}

/// Whose signature a commit bears; `None` if it bears none, or one that is not of its bytes.
pub(super) fn signer_of(commit: &[u8]) -> Option<Signer> {
    let (armour, signed) = CommitRefIter::signature(commit, gix::hash::Kind::Sha1).ok()??;
    let signature = SshSig::from_pem(armour.as_ref()).ok()?;
    let key = PublicKey::from(signature.public_key().clone());
    key.verify(NAMESPACE, &signed.to_bstring(), &signature)
        .ok()?;
    Signer::new(key.key_data()).ok()
}

fn open_or_create(path: &Path) -> Result<SigningKey, KeyFault> {
    // A further round means that another process was faster, each time.
    loop {
        if let Some(key) = read(path)? {
            return Ok(key);
        }
        match create(path) {
            Err(KeyFault::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
    }
}

/// The key in the file; `None` if there is no file.
fn read(path: &Path) -> Result<Option<SigningKey>, KeyFault> {
    let key_fault = |source| KeyFault::Key {
        path: path.to_owned(),
        source,
    };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            let path = path.to_owned();
            return Err(KeyFault::Io { path, source });
        }
    };
    let key = PrivateKey::from_openssh(&text).map_err(key_fault)?;
    match key.algorithm() {
        ssh_key::Algorithm::Ed25519 if !key.is_encrypted() => Ok(Some(SigningKey(key))),
        _ => Err(key_fault(ssh_key::Error::AlgorithmUnknown)),
    }
}

fn create(path: &Path) -> Result<(), KeyFault> {
    let io_fault = |source| KeyFault::Io {
        path: path.to_owned(),
        source,
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    disk::create_private_folder(folder).map_err(io_fault)?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| io_fault(error.into()))?;
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    let text = key
        .to_openssh(LineEnding::LF)
        .map_err(|source| KeyFault::Key {
            path: path.to_owned(),
            source,
        })?;
    disk::create_private(path, text.as_bytes()).map_err(io_fault)
}
