//! Who owns a crate: reading and changing it.

use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;

use crate::app::{App, Caller};
use crate::auth::NotPermitted;
use crate::domain::{Can, CrateName, Owner, Owners};
use crate::index::{Action, Refusal, WriteFault};

/// The most owners that one request may add or remove.
const NAMED_MAX: usize = 100;

/// Why owners were not changed.
#[derive(Debug, Error)]
pub enum OwnersFault {
    /// The token does not allow it.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// Nobody was named.
    #[error("no owner was named; send `{{\"users\":[\"login\"]}}`")]
    Nobody,
    /// Too many were named.
    #[error("{0} owners were named; at most {NAMED_MAX} can be changed at once")]
    TooMany(usize),
    /// The index did not take it.
    #[error(transparent)]
    Write(#[from] WriteFault),
}

/// What shall happen to the named owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// They become owners.
    Add,
    /// They are owners no longer.
    Remove,
}

/// The owners of a crate.
pub fn list(app: &App, name: &CrateName) -> Result<Arc<Owners>, Refusal> {
    match app.index.snapshot().find(name) {
        Some(krate) => Ok(Arc::clone(&krate.owners)),
        None => Err(Refusal::NoSuchCrate(name.clone())),
    }
}

/// Changes the owners of a crate.
pub async fn change(
    app: &App,
    caller: &Caller,
    name: CrateName,
    edit: Edit,
    named: &[String],
) -> Result<(), OwnersFault> {
    caller.grant.require_on(Can::Own, &name)?;
    match named.len() {
        0 => return Err(OwnersFault::Nobody),
        1..=NAMED_MAX => {}
        count => return Err(OwnersFault::TooMany(count)),
    }
    let owners: Result<Vec<Owner>, _> = named.iter().map(|text| text.parse()).collect();
    let owners = owners.map_err(|fault| WriteFault::Refused(Refusal::Owners(fault)))?;
    let action = match edit {
        Edit::Add => Action::AddOwners { name, owners },
        Edit::Remove => Action::RemoveOwners { name, owners },
    };
    let deadline = app.deadline();
    app.index
        .submit(caller.asks(Timestamp::now(), action), deadline)
        .await?;
    Ok(())
}
