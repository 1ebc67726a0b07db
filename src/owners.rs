//! Who owns a crate: reading and changing it.

use std::slice;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use thiserror::Error;
use tokio::time::timeout_at;

use crate::app::{App, Asked, Caller, Visitor};
use crate::auth::{GateFault, Guest, NotPermitted, Wish};
use crate::domain::{
    Can, CrateName, Leaver, Meant, Owner, OwnerFault, OwnerName, Owners, Standing,
};
use crate::index::{Action, Blob, Refusal, Snapshot, WriteFault};
use crate::rates::{Counted, TooOften};

/// The most owners that one request may add or remove.
const NAMED_MAX: usize = 100;

/// Why owners were not changed.
#[derive(Debug, Error)]
pub enum OwnersFault {
    /// The token does not allow it.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// The forge does not allow it, or cannot be asked.
    #[error(transparent)]
    Gate(#[from] GateFault),
    /// Nobody was named.
    #[error("no owner was named; send `{{\"users\":[\"login\"]}}`")]
    Nobody,
    /// Too many were named.
    #[error("{0} owners were named; at most {NAMED_MAX} can be changed at once")]
    TooMany(usize),
    /// The caller has changed owners too often.
    #[error(transparent)]
    TooOften(#[from] TooOften),
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
    caller.require_on(Can::Own, &name)?;
    match named.len() {
        0 => return Err(OwnersFault::Nobody),
        1..=NAMED_MAX => {}
        count => return Err(OwnersFault::TooMany(count)),
    }
    let deadline = app.deadline();
    let on = app.index.snapshot();
    let prepared = async {
        let standing = standing(app, caller, &name, &on).await?;
        let name = name.clone();
        let action = match edit {
            Edit::Add => {
                let owners = resolve(app, caller, named).await?;
                Action::AddOwners { name, owners }
            }
            Edit::Remove => {
                let current = on.find(&name).map(|krate| &*krate.owners);
                let owners = leavers(app, caller, current, named).await?;
                Action::RemoveOwners { name, owners }
            }
        };
        Ok::<_, OwnersFault>(caller.asks(standing, Timestamp::now(), action))
    };
    let change = timeout_at(deadline, prepared).await;
    let change = change.map_err(|_| WriteFault::Late)??;
    let (limits, who) = (&on.registry().policy.rates, change.by.actor.name());
    app.rates
        .take(limits, Counted::Owners, &who, Instant::now())?;
    let find = async |on: Arc<Snapshot>| standing(app, caller, &name, &on).await;
    app.submit(Asked { change, on }, Blob::Kept, deadline, find)
        .await?;
    Ok(())
}

/// All that decides whether the caller may do this.
async fn standing(
    app: &App,
    caller: &Caller,
    name: &CrateName,
    on: &Snapshot,
) -> Result<Standing, OwnersFault> {
    let wish = Wish {
        can: Can::Own,
        owners: on.find(name).map(|krate| &*krate.owners),
        creators: None,
        sources: None,
    };
    Ok(app.standing(caller, &wish).await?)
}

/// The named ones with their numbers, if there is a forge that has any.
async fn resolve(app: &App, caller: &Caller, named: &[String]) -> Result<Vec<Owner>, OwnersFault> {
    let Some(gate) = &app.gate else {
        let owners: Result<Vec<Owner>, _> = named.iter().map(|text| text.parse()).collect();
        return owners.map_err(refused);
    };
    let names: Result<Vec<OwnerName>, _> = named.iter().map(|text| text.parse()).collect();
    Ok(gate.owners(guest(caller), &names.map_err(refused)?).await?)
}

/// The named ones, and whom the forge has under each name, if there is one.
async fn leavers(
    app: &App,
    caller: &Caller,
    current: Option<&Owners>,
    named: &[String],
) -> Result<Vec<Leaver>, OwnersFault> {
    let Some(gate) = &app.gate else {
        let leavers: Result<Vec<Leaver>, _> = named.iter().map(|text| text.parse()).collect();
        return leavers.map_err(refused);
    };
    let names: Result<Vec<OwnerName>, _> = named.iter().map(|text| text.parse()).collect();
    let mut leavers = Vec::with_capacity(named.len());
    for name in names.map_err(refused)? {
        let is_recorded = current.is_some_and(|owners| owners.records(&name));
        let found = gate.owners(guest(caller), slice::from_ref(&name)).await;
        let meant = match found.as_deref() {
            Ok([Owner::User { id: Some(id), .. } | Owner::Team { id, .. }]) => Meant::Number(*id),
            Ok(_) | Err(GateFault::NoUser(_)) => Meant::Unknown,
            Err(GateFault::NoTeam(_) | GateFault::Organisation(_)) if is_recorded => Meant::Unknown,
            Err(fault) => return Err(fault.clone().into()),
        };
        leavers.push(Leaver { name, meant });
    }
    Ok(leavers)
}

fn guest(caller: &Caller) -> Option<&Guest> {
    match &caller.visitor {
        Visitor::Guest(_, guest) | Visitor::Minted(_, _, guest) => Some(guest),
        Visitor::Local(_) => None,
    }
}

fn refused(fault: OwnerFault) -> OwnersFault {
    WriteFault::Refused(Refusal::Owners(fault)).into()
}
