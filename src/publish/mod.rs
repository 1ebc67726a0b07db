//! The write flow of a new version, from the first byte of an upload to the commit that all can see.

mod faults;
mod frame;
mod manifest;
mod tarball;

#[cfg(test)]
#[path = "../../tests/common/tarball.rs"]
mod tarball_builder;

use std::error::Error;
use std::io::{self, Seek};
use std::sync::Arc;

use bytes::Buf;
use futures_util::Stream;
use jiff::Timestamp;
use thiserror::Error;
use tokio::task::spawn_blocking;

use crate::app::{App, Caller};
use crate::auth::NotPermitted;
use crate::disk::TempFile;
use crate::domain::{Can, Cksum, OwnUrls, PlainText, Policy, PubTime};
use crate::index::{Action, Change, Landed, WriteFault};

pub use frame::FrameFault;

use faults::Faults;
use frame::{Metadata, Upload};
use manifest::{ManifestRules, Release};

/// Why a version was not published.
#[derive(Debug, Error)]
pub enum PublishFault {
    /// The token does not allow it.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// The upload did not come whole, or not in its form.
    #[error(transparent)]
    Frame(#[from] FrameFault),
    /// The crate file cannot be published: all that is wrong with it, a sentence each.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
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

/// Publishes what `body` uploads: when this returns `Ok`, it is durable and both protocols serve it.
pub async fn publish<S, B, E>(app: &App, caller: &Caller, body: S) -> Result<Landed, PublishFault>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    caller.grant.require(Can::Publish)?;
    let snapshot = app.index.snapshot();
    let policy = &snapshot.registry().policy;

    // The file goes to the disk while it comes in, under a temporary name beside the place where it will stay.
    let mut received = app.blobs.incoming()?;
    let mut spool = tokio::fs::File::from_std(received.file().try_clone()?);
    let upload = frame::receive(body, &mut spool, &policy.limits).await?;
    let deadline = app.deadline();

    let cksum = upload.cksum;
    let own_urls = app.own_urls(&snapshot);
    let looked_into = look_into(received, upload, own_urls, policy.clone()).await?;
    let LookedInto {
        received,
        release,
        source_commit,
    } = looked_into;

    caller.grant.require_on(Can::Publish, &release.name)?;
    let change = ask(caller, &release, source_commit, cksum);
    // What is refused now need not be stored; the writer judges again on the tip of its moment.
    change
        .check(&app.index.snapshot())
        .map_err(WriteFault::Refused)?;

    keep(app, received, cksum).await?;
    Ok(app.index.submit(change, deadline).await?)
}

/// A received file that can be published.
struct LookedInto {
    received: TempFile,
    release: Release,
    source_commit: Option<PlainText>,
}

/// Reads tarball and manifest, off the threads that serve.
async fn look_into(
    mut received: TempFile,
    upload: Upload,
    own: OwnUrls,
    policy: Policy,
) -> Result<LookedInto, PublishFault> {
    let look = move || {
        received.file().rewind()?;
        let Metadata { name, version } = &upload.metadata;
        let contents = tarball::inspect(received.file(), name, version, &policy.limits)??;
        let rules = ManifestRules {
            own: &own,
            allowed_registries: &policy.dependencies_from,
            limits: &policy.limits,
        };
        let source_commit = contents
            .source_commit
            .and_then(|commit| commit.parse().ok());
        let release = manifest::release(&contents.manifest, &upload.metadata, &rules)?;
        Ok(LookedInto {
            received,
            release,
            source_commit,
        })
    };
    spawn_blocking(look)
        .await
        .unwrap_or(Err(PublishFault::Panicked))
}

fn ask(
    caller: &Caller,
    release: &Release,
    source_commit: Option<PlainText>,
    cksum: Cksum,
) -> Change {
    let now = Timestamp::now();
    let action = Action::Publish {
        line: Box::new(release.line(cksum, PubTime::from_moment(now))),
        source_commit,
    };
    caller.asks(now, action)
}

/// Makes the file durable under its checksum.
async fn keep(app: &App, received: TempFile, cksum: Cksum) -> io::Result<()> {
    let blobs = Arc::clone(&app.blobs);
    spawn_blocking(move || blobs.keep(received, &cksum))
        .await
        .map_err(io::Error::other)?
}

impl<F: std::fmt::Display> From<Faults<F>> for PublishFault {
    fn from(faults: Faults<F>) -> Self {
        let mut sentences: Vec<String> = faults.iter().map(ToString::to_string).collect();
        if faults.unlisted() > 0 {
            sentences.push(format!("{} more faults are not listed", faults.unlisted()));
        }
        Self::Invalid(sentences)
    }
}
