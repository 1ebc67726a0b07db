//! Yanking a version, and taking that back.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use thiserror::Error;
use tokio::time::timeout_at;

use crate::app::{App, Asked, Caller};
use crate::auth::{GateFault, NotPermitted, Wish};
use crate::domain::{Can, CrateName, CrateVersion};
use crate::index::{Action, Blob, Snapshot, WriteFault};
use crate::rates::{Counted, TooOften};

/// Why a version was not yanked or unyanked.
#[derive(Debug, Error)]
pub enum YankFault {
    /// The token does not allow it.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// The forge does not allow it, or cannot be asked.
    #[error(transparent)]
    Gate(#[from] GateFault),
    /// The caller has yanked too often.
    #[error(transparent)]
    TooOften(#[from] TooOften),
    /// The index did not take it.
    #[error(transparent)]
    Write(#[from] WriteFault),
}

/// Sets whether new lock files may choose a version; doing so again changes nothing.
pub async fn set_yanked(
    app: &App,
    caller: &Caller,
    name: CrateName,
    version: CrateVersion,
    yanked: bool,
) -> Result<(), YankFault> {
    caller.require_on(Can::Yank, &name)?;
    caller.require_release(&version, None)?;
    let deadline = app.deadline();
    let find = async |on: Arc<Snapshot>| {
        let wish = Wish {
            can: Can::Yank,
            owners: on.find(&name).map(|krate| &*krate.owners),
            creators: None,
            sources: None,
        };
        Ok::<_, YankFault>(app.standing(caller, &wish).await?)
    };
    let on = app.index.snapshot();
    let standing = timeout_at(deadline, find(Arc::clone(&on))).await;
    let standing = standing.map_err(|_| WriteFault::Late)??;
    let (limits, who) = (&on.registry().policy.rates, standing.actor.name());
    app.rates
        .take(limits, Counted::Yank, &who, Instant::now())?;
    let action = Action::Yank {
        name: name.clone(),
        version,
        yanked,
    };
    let change = caller.asks(standing, Timestamp::now(), action);
    let asked = Asked { change, on };
    app.submit(asked, Blob::Kept, deadline, find).await?;
    Ok(())
}
