//! Yanking a version, and taking that back.

use std::time::Instant;

use jiff::Timestamp;
use thiserror::Error;

use crate::app::{App, Caller};
use crate::auth::NotPermitted;
use crate::domain::{Can, CrateName, CrateVersion};
use crate::index::{Action, WriteFault};
use crate::rates::{Counted, TooOften};

/// Why a version was not yanked or unyanked.
#[derive(Debug, Error)]
pub enum YankFault {
    /// The token does not allow it.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
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
    caller.grant.require_on(Can::Yank, &name)?;
    let snapshot = app.index.snapshot();
    let limits = &snapshot.registry().policy.rates;
    app.rates
        .take(limits, Counted::Yank, &caller.grant.login, Instant::now())?;
    let deadline = app.deadline();
    let change = caller.asks(
        Timestamp::now(),
        Action::Yank {
            name,
            version,
            yanked,
        },
    );
    app.index.submit(change, deadline).await?;
    Ok(())
}
