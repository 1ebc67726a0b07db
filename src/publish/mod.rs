//! The write flow of a new version, from the first byte of an upload to the commit that all can see.

mod faults;
mod files;
mod frame;
mod keeping;
mod manifest;
mod outcome;
mod spool;
mod tarball;

#[cfg(any(test, fuzzing))]
#[path = "../../tests/common/tarball.rs"]
pub(crate) mod tarball_builder;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Buf;
use futures_util::Stream;
use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit as Turn, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant as Deadline, timeout_at};

use crate::app::{App, Asked, Caller};
use crate::auth::{GateFault, NotPermitted, Wish};
use crate::domain::{Can, OwnUrls, PlainText, Policy, PubTime, RepositoryPath, Standing};
use crate::index::{Action, Landed, Refusal, Snapshot, WriteFault};
use crate::rates::{Counted, TooOften};

pub use frame::FrameFault;
#[cfg(any(test, fuzzing))]
pub use {frame::fuzzing::frame, manifest::fuzzing::manifest, tarball::fuzzing::tarball};

use faults::Faults;
use frame::Upload;
use keeping::{heal, keep, leave, off_thread};
use manifest::{ManifestRules, Read, Release};
use outcome::Tally;
use spool::{Received, Spool};

/// Why a version was not published.
#[derive(Debug, Error)]
pub enum PublishFault {
    /// The token does not allow it.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// The forge does not allow it, or cannot be asked.
    #[error(transparent)]
    Gate(#[from] GateFault),
    /// The upload did not come whole, or not in its form.
    #[error(transparent)]
    Frame(#[from] FrameFault),
    /// The crate file cannot be published: all that is wrong with it, and what the index refuses, a sentence each.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// The crate file is sound, but the index does not take it: all that it refuses, a sentence each.
    #[error("{}", .sentences.join("; "))]
    Refused {
        first: Refusal,
        sentences: Vec<String>,
    },
    /// The caller has published too often.
    #[error(transparent)]
    TooOften(#[from] TooOften),
    /// The crate file could not be kept.
    #[error("the crate file could not be stored: {0}; nothing was published, try again later")]
    Store(#[from] io::Error),
    /// The index did not take it.
    #[error(transparent)]
    Write(#[from] WriteFault),
    /// A fault of ours.
    #[error("the crate file could not be looked into: an internal fault, which the log names")]
    Panicked,
}

/// A version that everybody can see.
#[derive(Debug)]
pub struct Published {
    /// Where in the index it is.
    pub landed: Landed,
    /// What is odd about it: sentences for the one who published it.
    pub warnings: Vec<String>,
}

/// Publishes what `body` uploads: when this returns `Ok`, it is durable and both protocols serve it.
pub async fn publish<S, B, E>(
    app: &App,
    caller: &Caller,
    body: S,
) -> Result<Published, PublishFault>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let mut tally = Tally::begin(&app.publishes);
    let published = take(app, caller, body).await;
    tally.note(&published);
    published
}

async fn take<S, B, E>(app: &App, caller: &Caller, body: S) -> Result<Published, PublishFault>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    caller.require(Can::Publish)?;

    // A large file goes to the disk while it comes in, under a temporary name beside the place where it will stay.
    let open = async |bytes| match Spool::is_small(bytes) {
        true => Ok(Spool::Memory(Vec::new())),
        false => Spool::on_disk(off_thread(&app.blobs, |blobs| blobs.incoming()).await?),
    };
    let (upload, spool) = {
        let snapshot = app.index.snapshot();
        frame::receive(body, open, &snapshot.registry().policy.limits).await?
    };
    let received = spool.received();
    // Whoever may not is told nothing else. Without a name there is only the upload to tell of.
    if let Ok(name) = &upload.metadata.name {
        caller.require_on(Can::Publish, name)?;
    }
    if let Ok(version) = &upload.metadata.version {
        caller.require_release(version, Some(&upload.cksum))?;
    }
    let deadline = app.deadline();

    let cksum = upload.cksum;
    // The upload may have taken long: the rules are those of now.
    let snapshot = app.index.snapshot();
    let own = app.own_urls(&snapshot);
    let policy = Arc::new(snapshot.registry().policy.clone());
    let rules = Arc::clone(&policy);
    let turn = turn_in(&app.inspections, deadline).await?;
    let look = move || {
        let _turn = turn;
        look_into(received, &upload, &own, &rules)
    };
    let LookedInto {
        received,
        release,
        wrong,
        source_commit,
        warnings,
    } = timeout_at(deadline, spawn_blocking(look))
        .await
        .map_err(|_| WriteFault::Late)?
        .map_err(|_| PublishFault::Panicked)??;

    let Some(release) = release else {
        return Err(PublishFault::Invalid(wrong.sentences()));
    };
    let find = async |on: Arc<Snapshot>| standing(app, caller, &release, &on).await;
    let on = app.index.snapshot();
    let standing = timeout_at(deadline, find(Arc::clone(&on))).await;
    let standing = standing.map_err(|_| WriteFault::Late)??;
    let who = standing.actor.name();
    let now = Timestamp::now();
    let action = Action::Publish {
        line: Box::new(release.line(cksum, PubTime::from_moment(now))),
        source_commit,
        policy,
    };
    let change = caller.asks(standing, now, action);
    let mut asked = Asked { change, on };
    // What is refused now need not be stored; the writer judges again on the tip of its moment.
    let mut refusals = app.index.refusals(&asked.change, deadline).await;
    if app
        .finds_more(&mut asked, &refusals, deadline, find)
        .await?
    {
        refusals = app.index.refusals(&asked.change, deadline).await;
    }
    if let [refusal @ Refusal::SameVersion { .. }] = refusals.as_slice() {
        // The very same file is there: who publishes it again is done, whatever the rules have become.
        let turn = turn_in(&app.keepers, deadline).await?;
        let heal = heal(app, received, cksum, turn);
        timeout_at(deadline, heal)
            .await
            .map_err(|_| WriteFault::Late)??;
        return Err(WriteFault::Refused(refusal.clone()).into());
    }
    judge(wrong, &refusals)?;
    let turn = turn_in(&app.keepers, deadline).await?;
    let counted = count(app, &who, &release, &app.index.snapshot())?;

    let (blob, kept) = keep(&app.blobs, received, cksum, turn);
    let is_kept = kept.clone();
    let find = async |on| match is_kept.await {
        Some(_) => find(on).await,
        None => Err(PublishFault::Store(io::Error::other("it was not kept"))),
    };
    let landed = app.submit(asked, blob, deadline, find).await;
    let landed = landed.inspect_err(|fault| {
        uncount(app, &who, counted, fault);
        drop(leave(&app.index, kept, fault));
    })?;
    Ok(Published { landed, warnings })
}

/// A received file and what was found in it.
struct LookedInto {
    received: Received,
    /// What could be read: all of it if nothing is wrong, and nothing if name or version are not known.
    release: Option<Release>,
    wrong: Faults<String>,
    source_commit: Option<PlainText>,
    warnings: Vec<String>,
}

/// Reads tarball and manifest, and finds all that is wrong with both.
fn look_into(
    mut received: Received,
    upload: &Upload,
    own: &OwnUrls,
    policy: &Policy,
) -> io::Result<LookedInto> {
    let inspected = tarball::inspect(received.reader()?, &upload.metadata, &policy.limits)?;
    let rules = ManifestRules {
        own,
        allowed_registries: &policy.dependencies_from,
        require: &policy.require,
        limits: &policy.limits,
    };
    let read = match inspected.manifest {
        Some(text) => {
            let files = inspected.files.as_ref();
            manifest::read(&text, &upload.metadata, files, &rules)
        }
        None => Read::nothing(&upload.metadata),
    };
    let mut wrong = Faults::none();
    for fault in upload.metadata.faults() {
        wrong.add(fault.to_string());
    }
    wrong.tell(inspected.faults);
    wrong.tell(read.faults);
    Ok(LookedInto {
        received,
        release: read.release,
        wrong,
        source_commit: inspected.source_commit.and_then(|id| id.parse().ok()),
        warnings: inspected.warnings,
    })
}

/// Refuses an upload for all that is wrong with it and all that the index has against it.
fn judge(mut wrong: Faults<String>, refusals: &[Refusal]) -> Result<(), PublishFault> {
    let is_sound = wrong.is_empty();
    for refusal in refusals {
        wrong.add(refusal.to_string());
    }
    let sentences = wrong.sentences();
    match refusals.first() {
        Some(first) if is_sound => Err(PublishFault::Refused {
            first: first.clone(),
            sentences,
        }),
        None if is_sound => Ok(()),
        _ => Err(PublishFault::Invalid(sentences)),
    }
}

/// Waits for one of the places that there are for such work; it is free again when what is given is dropped.
async fn turn_in(places: &Arc<Semaphore>, deadline: Deadline) -> Result<Turn, WriteFault> {
    let turn = timeout_at(deadline, Arc::clone(places).acquire_owned()).await;
    let turn = turn.map_err(|_| WriteFault::Late)?;
    Ok(turn.expect("places are never closed"))
}

/// Counts a version that could be published; one that is refused before costs its sender nothing.
fn count(
    app: &App,
    who: &PlainText,
    release: &Release,
    snapshot: &Snapshot,
) -> Result<Counted, TooOften> {
    let counted = match snapshot.find(&release.name) {
        Some(_) => Counted::NewVersion,
        None => Counted::NewCrate,
    };
    let limits = &snapshot.registry().policy.rates;
    app.rates.take(limits, counted, who, Instant::now())?;
    Ok(counted)
}

/// Takes that back if nothing was published, and nothing is wrong with the upload.
fn uncount(app: &App, who: &PlainText, counted: Counted, fault: &PublishFault) {
    let was_not_done = match fault {
        PublishFault::Store(_) => true,
        PublishFault::Write(fault) => fault.is_none_of_the_senders(),
        _ => false,
    };
    if was_not_done {
        let limits = app.index.snapshot().registry().policy.rates.clone();
        app.rates.give_back(&limits, counted, who);
    }
}

/// All that decides whether the caller may publish this.
async fn standing(
    app: &App,
    caller: &Caller,
    release: &Release,
    on: &Snapshot,
) -> Result<Standing, PublishFault> {
    let forge = app.config.forge.as_ref().map(|forge| &forge.issuer);
    let sources = release.repository.as_ref().zip(forge);
    let sources = sources.and_then(|(url, forge)| RepositoryPath::of_url(url, forge));
    let wish = Wish {
        can: Can::Publish,
        owners: on.find(&release.name).map(|krate| &*krate.owners),
        creators: on.registry().policy.create.named(),
        sources: sources.as_ref(),
    };
    Ok(app.standing(caller, &wish).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_an_upload_and_what_the_index_refuses_are_one_answer() {
        let sound = Faults::none;
        let wrong = || {
            let mut faults = Faults::none();
            faults.add("it is wrong".to_owned());
            faults
        };
        let refusal = Refusal::ReservedByPolicy("a".parse().unwrap());
        let refusals = std::slice::from_ref(&refusal);
        let told = refusal.to_string();
        assert!(judge(sound(), &[]).is_ok());
        assert!(matches!(
            judge(sound(), refusals),
            Err(PublishFault::Refused { first, sentences }) if first == refusal && sentences == [told.clone()]
        ));
        assert!(matches!(
            judge(wrong(), &[]),
            Err(PublishFault::Invalid(sentences)) if sentences == ["it is wrong"]
        ));
        // A fault of the upload is not one that another state of the index would mend.
        assert!(matches!(
            judge(wrong(), refusals),
            Err(PublishFault::Invalid(sentences)) if sentences == ["it is wrong".to_owned(), told]
        ));
    }
}
