//! The registry's signing key: Ed25519 in OpenSSH's format, so that stock git verifies its commits.
//!
//! The signature format is OpenSSH's `PROTOCOL.sshsig`, with git's namespace.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ssh_key::private::Ed25519Keypair;
use ssh_key::{HashAlg, LineEnding, PrivateKey};
use thiserror::Error;

use crate::disk;

/// The namespace in which git signs.
const NAMESPACE: &str = "git";
const KEY_FILE: &str = "signing-ed25519";

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
}

impl SigningKey {
    /// Reads the key in `folder`, or makes one, readable by this user alone.
    pub(super) fn open_or_create(folder: &Path) -> Result<Self, KeyFault> {
        let path = folder.join(KEY_FILE);
        let io_fault = |source| KeyFault::Io {
            path: path.clone(),
            source,
        };
        let key_fault = |source| KeyFault::Key {
            path: path.clone(),
            source,
        };
        if !path.exists() {
            disk::create_private_folder(folder).map_err(io_fault)?;
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(|error| io_fault(error.into()))?;
            let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
            let text = key.to_openssh(LineEnding::LF).map_err(key_fault)?;
            disk::create_private(&path, text.as_bytes()).map_err(io_fault)?;
        }
        let text = fs::read_to_string(&path).map_err(io_fault)?;
        let key = PrivateKey::from_openssh(&text).map_err(key_fault)?;
        match key.algorithm() {
            ssh_key::Algorithm::Ed25519 if !key.is_encrypted() => Ok(Self(key)),
            _ => Err(key_fault(ssh_key::Error::AlgorithmUnknown)),
        }
    }

    /// The armoured signature of `bytes`.
    pub(super) fn sign(&self, bytes: &[u8]) -> Result<String, ssh_key::Error> {
        self.0
            .sign(NAMESPACE, HashAlg::Sha512, bytes)?
            .to_pem(LineEnding::LF)
    }

    /// The line of `allowed_signers` that lets git accept this key's signatures.
    pub(super) fn allowed_signer(&self) -> Result<String, ssh_key::Error> {
        let public = ssh_key::PublicKey::new(self.0.public_key().key_data().clone(), "");
        Ok(format!(
            "registry namespaces=\"{NAMESPACE}\" {}\n",
            public.to_openssh()?
        ))
    }
}
