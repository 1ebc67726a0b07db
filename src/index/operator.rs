//! What the operator changes: the registry's own files, judged like any other change.

use jiff::Timestamp;
use thiserror::Error;

use crate::domain::{Capability, PlainText, TokenId, Visibility};

use super::edit::{Edit, Verdict};
use super::message::Message;
use super::registry_files::{ALLOWED_SIGNERS, Identity, REVOKED_TOML, RegistryFiles};
use super::revoked::REVOKED_MAX;
use super::signature::Signer;
use super::snapshot::Snapshot;

/// A change of the registry's own files that its operator asks for; author and committer are the registry.
#[derive(Debug, Clone)]
pub enum Operation {
    /// A token is no longer good; asked again, it is a success and no commit.
    RevokeToken {
        /// The token.
        id: TokenId,
        /// When it expires anyway: its entry goes some time after that.
        until: Timestamp,
    },
    /// Commits are signed with another key once this one has landed, signed with the old key.
    RotateSigningKey {
        /// The public half of the key that [`Index::prepare_signing_key`](super::Index::prepare_signing_key) made.
        to: Signer,
    },
    /// Others may read from now on: everybody, or whoever has a token.
    Show {
        /// Who.
        to: Visibility,
        /// The secret of downloads without a token, if a private registry has one.
        capability: Option<Capability>,
    },
    /// Downloads without a token get another secret: the URLs so far lead nowhere.
    RotateDownloads {
        /// The new secret.
        fresh: Capability,
    },
}

/// Why the operator's change is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OperationFault {
    /// There is no room in `revoked.toml`.
    #[error(
        "{REVOKED_MAX} tokens are revoked already, and none of them has expired; rotate the keys, then remove the older `token-….pk8` files from the folder of keys and start the server again, which ends all older tokens"
    )]
    TooManyRevoked,
    /// There is no secret that could be changed.
    #[error(
        "this registry has no capability downloads; set `visibility = \"private\"` and `capability_downloads = true` and start the server"
    )]
    NoCapability,
}

impl Operation {
    /// Judges the operation on a snapshot at the moment `now`.
    pub(super) fn judge(&self, on: &Snapshot, now: Timestamp) -> Result<Verdict, OperationFault> {
        match self {
            Self::RevokeToken { id, until } => revoke(on.registry(), *id, *until, now),
            Self::RotateSigningKey { to } => Ok(trust(on.registry(), to)),
            Self::Show { to, capability } => Ok(show(on, *to, capability.as_ref())),
            Self::RotateDownloads { fresh } => rotate_downloads(on, fresh),
        }
    }
}

fn revoke(
    on: &RegistryFiles,
    id: TokenId,
    until: Timestamp,
    now: Timestamp,
) -> Result<Verdict, OperationFault> {
    if on.revoked.contains(&id) {
        return Ok(Verdict::Unchanged);
    }
    let revoked = on.revoked.with(id, until, now);
    if revoked.len() > REVOKED_MAX {
        return Err(OperationFault::TooManyRevoked);
    }
    let message = Message::new(format!("revoke token {id}")).with("Token", plain(&id));
    let edit = Edit::of_registry(message).with_own(REVOKED_TOML, revoked.to_toml().into_bytes());
    Ok(Verdict::Edit(Box::new(edit)))
}

fn trust(on: &RegistryFiles, signer: &Signer) -> Verdict {
    if on.trusts(signer) {
        return Verdict::Unchanged;
    }
    let mut signers = on.allowed_signers.to_vec();
    if signers.last().is_some_and(|byte| *byte != b'\n') {
        signers.push(b'\n');
    }
    signers.extend(format!("{}\n", signer.line()).bytes());
    let message = Message::new("add signing key".to_owned())
        .with("Signing-key", plain(&signer.fingerprint()));
    let edit = Edit::of_registry(message).with_own(ALLOWED_SIGNERS, signers);
    Verdict::Edit(Box::new(edit))
}

fn show(on: &Snapshot, to: Visibility, capability: Option<&Capability>) -> Verdict {
    let identity = &on.registry().identity;
    if identity.visibility == to {
        return Verdict::Unchanged;
    }
    let shown = Identity {
        visibility: to,
        // What a public index has shown must never open a private one.
        capability: capability.filter(|_| to == Visibility::Private).cloned(),
        ..identity.clone()
    };
    let edit = Edit::configure(on, &shown).map(Box::new);
    edit.map_or(Verdict::Unchanged, Verdict::Edit)
}

fn rotate_downloads(on: &Snapshot, fresh: &Capability) -> Result<Verdict, OperationFault> {
    let identity = &on.registry().identity;
    identity
        .download_capability()
        .ok_or(OperationFault::NoCapability)?;
    let rotated = Identity {
        capability: Some(fresh.clone()),
        ..identity.clone()
    };
    let edit = Edit::configure(on, &rotated).map(Box::new);
    Ok(edit.map_or(Verdict::Unchanged, Verdict::Edit))
}

/// A value whose type admits only what a trailer may hold.
fn plain(value: &impl ToString) -> PlainText {
    value
        .to_string()
        .parse()
        .expect("ids and fingerprints are short, plain ASCII")
}
