//! Who owns a crate: reading and changing it.

use std::slice;
use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;
use tokio::time::timeout_at;

use crate::app::{App, Caller, Visitor};
use crate::auth::{GateFault, Guest, NotPermitted, Wish};
use crate::domain::{Can, CrateName, Owner, OwnerFault, OwnerName, Owners, Standing};
use crate::index::{Action, Refusal, WriteFault};

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
    let change = timeout_at(deadline, prepare(app, caller, name, edit, named)).await;
    let (standing, action) = change.map_err(|_| WriteFault::Late)??;
    app.index
        .submit(caller.asks(standing, Timestamp::now(), action), deadline)
        .await?;
    Ok(())
}

/// What has to be known before the index is asked.
async fn prepare(
    app: &App,
    caller: &Caller,
    name: CrateName,
    edit: Edit,
    named: &[String],
) -> Result<(Standing, Action), OwnersFault> {
    let snapshot = app.index.snapshot();
    let wish = Wish {
        can: Can::Own,
        owners: snapshot.find(&name).map(|krate| &*krate.owners),
        sources: None,
    };
    let standing = app.standing(caller, &wish).await?;
    let action = match edit {
        Edit::Add => {
            let owners = resolve(app, caller, named).await?;
            Action::AddOwners { name, owners }
        }
        Edit::Remove => {
            let parse = match app.gate {
                Some(_) => |text: &String| text.parse(),
                // Without a forge there are no teams.
                None => |text: &String| text.parse::<Owner>().and_then(|_| text.parse()),
            };
            let owners: Result<Vec<OwnerName>, OwnerFault> = named.iter().map(parse).collect();
            let mut owners = owners.map_err(refused)?;
            if let Some(current) = wish.owners {
                for owner in &mut owners {
                    find_renamed(app, caller, current, owner).await?;
                }
            }
            Action::RemoveOwners { name, owners }
        }
    };
    Ok((standing, action))
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

/// Whom no owner is called like may be one whom the forge has renamed since: the name becomes the one in the file.
async fn find_renamed(
    app: &App,
    caller: &Caller,
    current: &Owners,
    name: &mut OwnerName,
) -> Result<(), GateFault> {
    let (Some(gate), OwnerName::User(login)) = (&app.gate, &*name) else {
        return Ok(());
    };
    if current.includes(login) {
        return Ok(());
    }
    let found = match gate.owners(guest(caller), slice::from_ref(name)).await {
        Err(GateFault::NoUser(_)) => return Ok(()),
        found => found?,
    };
    if let [Owner::User { id: Some(id), .. }] = &*found
        && let Some(login) = current.login_of(*id)
    {
        *name = OwnerName::User(login.clone());
    }
    Ok(())
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
