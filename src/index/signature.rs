//! The registry's signing key: Ed25519 in OpenSSH's format, so that stock git verifies its commits.
//!
//! The signature format is OpenSSH's `PROTOCOL.sshsig`, with git's namespace.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::Ed25519KeyPair;
use gix::objs::CommitRefIter;
use ssh_key::private::Ed25519Keypair;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, Signature, SshSig};
use thiserror::Error;

use crate::disk;

/// The namespace in which git signs.
const NAMESPACE: &str = "git";
const KEY_FILE: &str = "signing-ed25519";
/// A key that the index does not trust yet, or that was not promoted yet.
const NEXT_KEY_FILE: &str = "signing-ed25519.next";

/// The key that signs every commit of the registry.
pub(super) struct SigningKey {
    public: KeyData,
    /// Made once: `ssh_key` would compute the public half again for each signature, which takes as long as to sign.
    pair: Ed25519KeyPair,
}

/// The signing key cannot be used.
#[derive(Debug, Error)]
pub enum KeyFault {
    /// There is an index, and no key to go on with it.
    #[error("there is no signing key {}, and no other can go on with this index; bring it back from a backup (its folder `keys`) or from the server that shares the index", .0.display())]
    Gone(PathBuf),
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

    /// Whether it is one of those that the bytes of an `allowed_signers` name.
    pub(super) fn is_among(&self, allowed_signers: &[u8]) -> bool {
        let mut lines = allowed_signers.split(|byte| *byte == b'\n');
        lines.any(|line| line == self.line.as_bytes())
    }

    /// The key's fingerprint as OpenSSH shows it: `SHA256:` and 43 characters.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl SigningKey {
    /// Where the key lies in `folder`.
    pub(super) fn path(folder: &Path) -> PathBuf {
        folder.join(KEY_FILE)
    }

    /// Reads the key in `folder`.
    pub(super) fn open(folder: &Path) -> Result<Self, KeyFault> {
        let path = Self::path(folder);
        read(&path)?.ok_or(KeyFault::Gone(path))
    }

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
        const HASH: HashAlg = HashAlg::Sha512;
        let signed = SshSig::signed_data(NAMESPACE, HASH, bytes)?;
        let signature = Signature::new(Algorithm::Ed25519, self.pair.sign(&signed).as_ref())?;
        SshSig::new(self.public.clone(), NAMESPACE, HASH, signature)?.to_pem(LineEnding::LF)
    }

    /// The public half.
    pub(super) fn signer(&self) -> Result<Signer, ssh_key::Error> {
        Signer::new(&self.public)
    }
}

/// The signature that a commit bears, of any SSH key.
pub(super) struct Borne {
    /// Whose it says it is.
    pub(super) signer: Signer,
    /// Whether that key signed the bytes of this commit.
    pub(super) is_good: bool,
}

impl Borne {
    /// The signature of a commit; `None` if it bears none of an SSH key.
    pub(super) fn by(commit: &[u8]) -> Option<Self> {
        let (armour, signed) = CommitRefIter::signature(commit, gix::hash::Kind::Sha1).ok()??;
        let signature = SshSig::from_pem(armour.as_ref()).ok()?;
        let key = PublicKey::from(signature.public_key().clone());
        let verified = key.verify(NAMESPACE, &signed.to_bstring(), &signature);
        Some(Self {
            signer: Signer::new(key.key_data()).ok()?,
            is_good: verified.is_ok(),
        })
    }
}

/// Whose signature a commit bears; `None` if it bears none, or one that is not of its bytes.
pub(super) fn signer_of(commit: &[u8]) -> Option<Signer> {
    let borne = Borne::by(commit)?;
    borne.is_good.then_some(borne.signer)
}

fn open_or_create(path: &Path) -> Result<SigningKey, KeyFault> {
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    match create(path) {
        // Another process was faster.
        Err(KeyFault::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    read(path)?.ok_or_else(|| KeyFault::Io {
        path: path.to_owned(),
        source: io::Error::new(
            io::ErrorKind::NotFound,
            "its name is taken, but there is nothing to read: a link that leads nowhere?",
        ),
    })
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
    // One with a passphrase is not even of this kind.
    let pair = key.key_data().ed25519();
    let pair = pair.ok_or_else(|| key_fault(ssh_key::Error::AlgorithmUnknown))?;
    let (seed, public) = (pair.private.as_ref(), pair.public.as_ref());
    let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public);
    Ok(Some(SigningKey {
        public: key.public_key().key_data().clone(),
        pair: pair.map_err(|_| key_fault(ssh_key::Error::Crypto))?,
    }))
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::os::unix::fs::symlink;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    fn line_of(key: SigningKey) -> String {
        key.signer().unwrap().line().to_owned()
    }

    #[test]
    fn processes_that_start_together_agree_on_one_signing_key() {
        const THREADS: usize = 8;
        for _ in 0..10 {
            let folder = tempfile::tempdir().unwrap();
            let start = Barrier::new(THREADS);
            let open = || {
                start.wait();
                line_of(SigningKey::open_or_create(folder.path()).unwrap())
            };
            let lines: HashSet<String> = thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(open)).collect();
                let ends = threads.into_iter().map(|thread| thread.join().unwrap());
                ends.collect()
            });
            assert_eq!(lines.len(), 1);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_key_that_cannot_be_made_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let fault = |folder: &Path| {
            let fault = SigningKey::open_or_create(folder).err().unwrap();
            let KeyFault::Io { path, source } = fault else {
                panic!("{fault}");
            };
            assert_eq!(path, folder.join(KEY_FILE));
            source.to_string()
        };
        let nowhere = folder.path().join("nowhere");
        symlink(&nowhere, folder.path().join(KEY_FILE)).unwrap();
        assert!(fault(folder.path()).contains("a link that leads nowhere"));
        // Here already the folder cannot be made.
        let keys = folder.path().join("keys");
        symlink(&nowhere, &keys).unwrap();
        assert!(!fault(&keys).contains("a link"));
        let held = folder.path().join("held");
        fs::create_dir_all(held.join(KEY_FILE)).unwrap();
        assert!(!fault(&held).contains("a link"));
    }

    #[test]
    fn a_key_with_a_passphrase_is_refused_before_anything_is_to_be_signed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_FILE);
        let mut program = std::process::Command::new("ssh-keygen");
        program.args(["-q", "-t", "ed25519", "-N", "secret", "-f"]);
        // Without the program there is no such key here.
        let Ok(made) = program.arg(&path).status() else {
            return;
        };
        assert!(made.success());
        let fault = SigningKey::open_or_create(folder.path()).err().unwrap();
        assert!(matches!(fault, KeyFault::Key { .. }), "{fault}");
    }

    #[test]
    fn a_signer_reads_back_from_the_line_that_the_registry_writes_and_from_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::open_or_create(folder.path()).unwrap();
        let signer = key.signer().unwrap();
        assert_eq!(Signer::of_line(signer.line()).as_ref(), Some(&signer));
        for line in [
            signer.line().replace("registry", "somebody"),
            signer.line().replace("git", "file"),
            format!("{} a comment", signer.line()),
            signer.line().replace("\" ", "\"  "),
            String::new(),
        ] {
            assert_eq!(Signer::of_line(&line), None, "{line}");
        }
    }
}
