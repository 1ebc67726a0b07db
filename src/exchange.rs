//! What the forge signed, exchanged for a short token of this registry that speaks for the same guest.
//!
//! A token of a job may publish the crates that belong to the job's repository, and says of which run it is. One of a
//! person may what they ask for. Neither gives a right: who it is for is asked of the forge and compared with the owners
//! when it is used, as with what it was made from.

use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;
use tokio::task::spawn_blocking;
use tracing::info;

use crate::app::{App, Caller, Visitor};
use crate::auth::{GUEST_MAX, GateFault, GuestOrder, MintFault, Minted, SpentFault};
use crate::domain::{
    Actor, Can, CrateName, CrateScope, Job, Only, RepositoryPath, Scopes, Secret, Visibility,
};
use crate::index::Snapshot;

/// What the token shall be limited to.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What it may do; a job's may publish.
    pub can: Option<Vec<Can>>,
    /// To which crates; a job's to those that belong to its repository.
    pub crates: Option<Vec<CrateScope>>,
    /// The one release that it is for.
    pub only: Only,
}

/// Why no token was made, or none taken back.
#[derive(Debug, Error)]
pub enum ExchangeFault {
    /// There is nobody who could vouch.
    #[error(
        "this registry has no forge whose id-tokens it could exchange; its operator makes tokens"
    )]
    NoForge,
    /// The forge does not vouch for them, or cannot be asked.
    #[error(transparent)]
    Gate(#[from] GateFault),
    /// The repository of the job has no crate.
    #[error(
        "no crate belongs to the repository {id}, which the claim `repository_id` names (`{repository}`); let an owner publish the crate first and name the repository in its file of owners, or name a new crate that the job shall create as `crates`"
    )]
    NotLinked { repository: RepositoryPath, id: u64 },
    /// A crate is another's.
    #[error(
        "the crate `{krate}` does not belong to the repository {id}, which the claim `repository_id` names (`{repository}`)"
    )]
    OtherRepository {
        krate: CrateName,
        repository: RepositoryPath,
        id: u64,
    },
    /// Crates that are not named.
    #[error("a token of a job names each crate; `{0}` stands for several")]
    Prefix(CrateScope),
    /// The same id-token was exchanged before.
    #[error(
        "this id-token (its claim `jti`) was exchanged before, and each is once; let the job get another"
    )]
    Used,
    /// It is not said what a person's token shall allow.
    #[error("say what the token shall allow: `can` is a list of `read`, `publish`, `yank`, `own`")]
    NoAction,
    /// A token that was not made here.
    #[error(
        "only a token that was got by an exchange is given back so; others are revoked by the operator"
    )]
    NotOfGuest,
    /// The token cannot be made.
    #[error(transparent)]
    Mint(#[from] MintFault),
    /// The disk does not remember it.
    #[error("the exchange could not be written down, so there was none; try again later")]
    NotWritten(#[source] io::Error),
    /// Nor that a token is good no more.
    #[error("the token could not be taken back; it ends by itself in fifteen minutes at most")]
    NotTakenBack(#[source] io::Error),
}

/// Makes a token for whom the forge vouches.
pub async fn exchange(app: &App, jwt: &Secret, wanted: Wanted) -> Result<Minted, ExchangeFault> {
    let gate = app.gate.as_ref().ok_or(ExchangeFault::NoForge)?;
    let now = Timestamp::now();
    let vouched = gate.vouched(jwt, now).await?;
    let only = wanted.only.clone();
    let scopes = match &vouched.bearer {
        Actor::Job(job) => of_job(app, job, wanted)?,
        Actor::Person(_) | Actor::Local(_) => of_person(wanted)?,
    };
    let order = GuestOrder {
        bearer: vouched.bearer,
        scopes,
        only,
        until: vouched.until,
    };
    let minted = app.verifier.issuer().mint_for_guest(&order, now)?;
    if let Actor::Job(_) = order.bearer {
        spend(app, vouched.once, vouched.until, now).await?;
    }
    let bearer = order.bearer.name();
    info!(token.id = %minted.id, bearer = bearer.as_str(), "a token was made for a guest");
    Ok(minted)
}

/// Takes a token back that was made here.
pub async fn give_back(app: &App, caller: &Caller) -> Result<(), ExchangeFault> {
    let Visitor::Minted(grant, ..) = &caller.visitor else {
        return Err(ExchangeFault::NotOfGuest);
    };
    let (spent, grant, now) = (Arc::clone(&app.spent), Arc::clone(grant), Timestamp::now());
    // No token that is made here is good for longer.
    let until = now.checked_add(GUEST_MAX).unwrap_or(Timestamp::MAX);
    let work = move || spent.give_back(grant.token_id, until, now);
    let given_back = spawn_blocking(work).await.map_err(io::Error::other);
    let given_back = given_back.and_then(|done| done.map_err(io::Error::other));
    given_back.map_err(ExchangeFault::NotTakenBack)
}

async fn spend(
    app: &App,
    once: [u8; 32],
    until: Timestamp,
    now: Timestamp,
) -> Result<(), ExchangeFault> {
    let spent = Arc::clone(&app.spent);
    let work = move || spent.spend(once, until, now);
    written(spawn_blocking(work).await.map_err(io::Error::other))
}

fn written(spent: io::Result<Result<(), SpentFault>>) -> Result<(), ExchangeFault> {
    match spent.map_err(SpentFault::Io).flatten() {
        Ok(()) => Ok(()),
        Err(SpentFault::Already) => Err(ExchangeFault::Used),
        Err(SpentFault::Io(fault)) => Err(ExchangeFault::NotWritten(fault)),
        Err(full @ SpentFault::Full) => Err(ExchangeFault::NotWritten(io::Error::other(full))),
    }
}

/// A job publishes, and only what belongs to its repository or what is said to be new.
fn of_job(app: &App, job: &Job, wanted: Wanted) -> Result<Scopes, ExchangeFault> {
    let on = app.index.snapshot();
    let can = wanted.can.unwrap_or_else(|| vec![Can::Publish]);
    if can.iter().any(|can| *can != Can::Publish) {
        return Err(GateFault::JobsPublish.into());
    }
    let crates = match wanted.crates {
        Some(crates) => {
            for scope in &crates {
                must_be_open_to(app, &on, job, scope)?;
            }
            crates
        }
        None => linked(&on, job),
    };
    if crates.is_empty() {
        return Err(ExchangeFault::NotLinked {
            repository: job.repository.clone(),
            id: job.repository_id,
        });
    }
    Ok(Scopes { can, crates })
}

fn linked(on: &Snapshot, job: &Job) -> Vec<CrateScope> {
    let is_linked = |id: Option<u64>| id == Some(job.repository_id);
    let linked = on
        .crates()
        .filter(|krate| is_linked(krate.owners.repository_id()));
    let mut names: Vec<&CrateName> = linked.map(|krate| &krate.name).collect();
    names.sort_unstable_by_key(|name| name.as_str());
    names.into_iter().cloned().map(CrateScope::Exact).collect()
}

/// What is not there may be new, but in a private registry nobody is told what is not there.
fn must_be_open_to(
    app: &App,
    on: &Snapshot,
    job: &Job,
    scope: &CrateScope,
) -> Result<(), ExchangeFault> {
    let CrateScope::Exact(name) = scope else {
        return Err(ExchangeFault::Prefix(scope.clone()));
    };
    let is_open = match on.find(name) {
        Some(krate) => krate.owners.repository_id() == Some(job.repository_id),
        None => app.visibility(on) == Visibility::Public,
    };
    match is_open {
        true => Ok(()),
        false => Err(ExchangeFault::OtherRepository {
            krate: name.clone(),
            repository: job.repository.clone(),
            id: job.repository_id,
        }),
    }
}

fn of_person(wanted: Wanted) -> Result<Scopes, ExchangeFault> {
    Ok(Scopes {
        can: wanted.can.ok_or(ExchangeFault::NoAction)?,
        crates: wanted.crates.unwrap_or_else(|| vec![CrateScope::all()]),
    })
}
