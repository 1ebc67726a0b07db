//! The repository on the forge whose branch is the truth: where it is, what is new there, and how it is moved.
//!
//! A push is one request with the very pack that was written here: the branch's old commit in it makes it a
//! compare-and-swap. A library of git would do it too, but none here lets a push be given up when its time is over.
//! New objects, which are rare, are fetched by the git program.

#[cfg(test)]
mod forge_for_tests;
mod programs;
mod report;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use crate::domain::{CommitId, ForgePaths};
use crate::pause::Pause;

use super::refs;
pub(super) use programs::{Limits, Quarantine};
use report::{About, Report};
use wire::{Trouble, packet};

/// For a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// For the forge to say where its branch is.
const LOOK_TIME: Duration = Duration::from_secs(8);
/// For a push until it is answered: a change has 20 seconds.
const PUSH_TIME: Duration = Duration::from_secs(12);
/// How long a push that met trouble of the forge's own is begun again: what is left of its time is enough for an answer.
const TRIES_TIME: Duration = Duration::from_secs(8);
/// How long it is looked what became of a push whose answer did not come.
const SETTLE_TIME: Duration = Duration::from_secs(5);
/// The pause between two looks, or two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// Where fetched objects wait until they are judged; a repository without it has no forge.
pub(super) const ARRIVED: &str = "refs/sidecargo/upstream";

/// Gives the value of the `Authorization` header, anew for each request.
pub type Authorization = Arc<dyn Fn() -> io::Result<HeaderValue> + Send + Sync>;

/// Tells whether the name of the repository was taken by another one, or why that is not known.
pub type IsTaken = Arc<
    dyn Fn() -> Pin<Box<dyn Future<Output = Result<bool, UpstreamFault>> + Send>> + Send + Sync,
>;

/// Hears that the branch of the repository is that of the index.
pub type Proven = Arc<dyn Fn() + Send + Sync>;

/// A repository on the forge.
#[derive(Clone)]
pub struct Upstream {
    is_taken: Option<IsTaken>,
    proven: Option<Proven>,
    pause: Arc<Pause>,
    paths: Option<ForgePaths>,
    /// As git clones it; where the forge said that it is, if it was renamed.
    url: Arc<ArcSwap<Url>>,
    authorization: Authorization,
    client: Client,
    runtime: Handle,
    poll: Duration,
}

/// Why it is not known where the branch is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UpstreamFault {
    /// No connection, or it broke, or it took too long.
    #[error("the forge cannot be reached: {0}")]
    Unreachable(String),
    /// It has too much to do.
    #[error("the forge is busy ({0})")]
    Busy(StatusCode),
    /// It does not let the server in.
    #[error("the forge does not let this server at its index repository: {0}")]
    Closed(String),
    /// The repository was renamed, and its name given to another.
    #[error(
        "another repository has the name of the index repository on the forge; set `forge.repository` to the new name of the right one, or if this is to be it from now on, remove the file `forge-repository` from the data folder and start again"
    )]
    Taken,
    /// It may have been.
    #[error(
        "the forge does not say whether its index repository is still the same, so it is neither read nor written: {0}"
    )]
    Doubtful(Box<UpstreamFault>),
    /// Not what git answers.
    #[error("the forge answers what git does not: {0}")]
    Odd(String),
    /// The token cannot be read; why, is for the operator alone.
    #[error(
        "this server's token for the forge cannot be read; its operator finds the reason in the log"
    )]
    Token(#[source] TokenFault),
    /// What is new there is more than is taken.
    #[error("what is to be fetched from the forge has more than {0} bytes, so it is not taken")]
    TooLarge(u64),
    /// Git would have to hold too much of it at once.
    #[error("git needs more than {0} bytes of memory for it, so it is not taken")]
    TooMuchMemory(u64),
    /// The git program did not do it.
    #[error("git fails on the commits of the forge: {0}")]
    Git(String),
}

/// What is wrong with the token or its file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct TokenFault(pub String);

/// Why the branch was not moved.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotPushed {
    /// It is neither where it was nor at the new commit: somebody else moved it, perhaps from there on.
    #[error("somebody else moved the branch meanwhile")]
    Elsewhere,
    /// The forge does not take these commits, and says why.
    #[error("the forge refuses it: {0}")]
    Refused(String),
    /// The forge has trouble of its own, and says which: nothing was done, and nothing is known against the commits.
    #[error("the forge has trouble of its own: {0}")]
    Failing(String),
    /// Nothing was done, whatever the commits are.
    #[error(transparent)]
    NotDone(UpstreamFault),
    /// It may or may not have been moved.
    #[error("it is not known whether the forge took it: {0}")]
    Unknown(String),
}

impl Upstream {
    /// The repository that git clones from `url`; it is looked at every `poll`.
    ///
    /// Requests are made on the runtime of the caller.
    ///
    /// # Errors
    /// If the system's certificates cannot be read.
    pub fn new(url: &str, authorization: Authorization, poll: Duration) -> io::Result<Self> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIME)
            .redirect(Policy::none())
            .no_proxy()
            .user_agent(concat!("sidecargo/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(io::Error::other)?;
        Ok(Self {
            url: Arc::new(ArcSwap::from_pointee(
                Url::parse(url).map_err(io::Error::other)?,
            )),
            is_taken: None,
            proven: None,
            paths: None,
            pause: Arc::default(),
            authorization,
            client,
            runtime: Handle::current(),
            poll,
        })
    }

    /// The same, if each question shall be preceded by this one.
    #[must_use]
    pub fn unless_taken(mut self, is_taken: IsTaken) -> Self {
        self.is_taken = Some(is_taken);
        self
    }

    /// The same, if this shall hear each time that the branch is seen to be that of the index.
    #[must_use]
    pub fn proving(mut self, proven: Proven) -> Self {
        self.proven = Some(proven);
        self
    }

    /// The branch has been looked at, and is that of the index.
    pub(super) fn prove(&self) {
        if let Some(proven) = &self.proven {
            proven();
        }
    }

    /// The same, if the forge is below these paths.
    #[must_use]
    pub fn below(mut self, paths: ForgePaths) -> Self {
        self.paths = Some(paths);
        self
    }

    /// How often it is looked whether somebody else moved the branch.
    pub(super) fn poll(&self) -> Duration {
        self.poll
    }

    /// Where the branch is; `None` if there is none yet.
    pub(super) fn tip(&self) -> Result<Option<CommitId>, UpstreamFault> {
        self.runtime.block_on(self.look())
    }

    /// Moves the branch from `before` to `new`, whose objects beyond `before` are in `pack`.
    pub(super) fn push(
        &self,
        before: Option<CommitId>,
        new: CommitId,
        pack: Vec<u8>,
    ) -> Result<(), NotPushed> {
        let body = Bytes::from(request(before, new, pack));
        let begun = Instant::now();
        self.runtime.block_on(async {
            loop {
                let left = PUSH_TIME.saturating_sub(begun.elapsed());
                match self.send(before, new, body.clone(), left).await {
                    Err(NotPushed::Failing(_)) if begun.elapsed() < TRIES_TIME => {
                        sleep(PAUSE).await;
                    }
                    told => return told,
                }
            }
        })
    }

    async fn look(&self) -> Result<Option<CommitId>, UpstreamFault> {
        let name = refs::TIP;
        let body = format!(
            "{}{}0001{}0000",
            packet("command=ls-refs\n"),
            packet("object-format=sha1\n"),
            packet(&format!("ref-prefix {name}\n")),
        );
        let answer = match self.ask("git-upload-pack", body, LOOK_TIME).await {
            Ok(answer) => answer,
            Err(fault) => return Err(fault?.into()),
        };
        report::commit_of(&answer, name)
            .ok_or_else(|| UpstreamFault::Odd(report::words(&String::from_utf8_lossy(&answer))))
    }

    async fn send(
        &self,
        before: Option<CommitId>,
        new: CommitId,
        body: Bytes,
        time: Duration,
    ) -> Result<(), NotPushed> {
        let answer = match self.ask("git-receive-pack", body, time).await {
            Ok(answer) => answer,
            Err(Ok(trouble @ Trouble::NotSent(_))) => return Err(trouble.of_push()),
            Err(Ok(trouble)) => return self.settle(before, new, trouble.of_push()).await,
            Err(Err(fault)) => return Err(NotPushed::NotDone(fault)),
        };
        match report::of_push(&answer, refs::TIP) {
            Some(Report::Moved) => Ok(()),
            Some(Report::Refused { words, about }) => self.why(before, new, &words, about).await,
            None => {
                let odd = NotPushed::Unknown("its answer is not one of git".to_owned());
                self.settle(before, new, odd).await
            }
        }
    }

    /// Why a push was refused with these words: git's own are not meant for programs, so the branch itself tells.
    async fn why(
        &self,
        before: Option<CommitId>,
        new: CommitId,
        words: &str,
        about: About,
    ) -> Result<(), NotPushed> {
        warn!(words, commit.id = %new, "the forge did not move its branch");
        let said = report::without_paths(words);
        match self.look().await {
            // A proxy may have sent it twice.
            Ok(found) if found == Some(new) => Ok(()),
            Ok(found) if found != before => Err(NotPushed::Elsewhere),
            // Whom the forge does not let push, it does not let push anything.
            _ if about == About::Pusher => Err(NotPushed::NotDone(UpstreamFault::Closed(said))),
            // Perhaps somebody else moved it.
            Err(fault) => {
                let unknown = NotPushed::Unknown(format!("{said}, and then {fault}"));
                self.settle(before, new, unknown).await
            }
            Ok(_) if about == About::Forge => Err(NotPushed::Failing(said)),
            Ok(_) => Err(NotPushed::Refused(said)),
        }
    }

    /// Looks what became of a push of which git itself said nothing, as long as there is time for it; `said` is what
    /// holds if it was not taken.
    async fn settle(
        &self,
        before: Option<CommitId>,
        new: CommitId,
        said: NotPushed,
    ) -> Result<(), NotPushed> {
        warn!(reason = %said, commit.id = %new, "git did not say what became of a push; it is looked for");
        let is_over = !matches!(said, NotPushed::Unknown(_));
        let is_busy = matches!(said, NotPushed::NotDone(UpstreamFault::Busy(_)));
        let until = Instant::now() + SETTLE_TIME;
        while Instant::now() < until {
            match self.look().await.map_err(NotPushed::NotDone) {
                Ok(found) if found == Some(new) => return Ok(()),
                Ok(found) if found != before => return Err(NotPushed::Elsewhere),
                Ok(_) if is_over => return Err(said),
                // It may still be on its way.
                Ok(_) => {}
                // Whoever turns away both in the same words lets nothing pass; but while the forge is too busy, it is
                // not even asked.
                Err(fault) if fault == said && !is_busy => return Err(said),
                Err(fault) => debug!(%fault, "nothing is known of the push"),
            }
            sleep(PAUSE).await;
        }
        match said {
            NotPushed::Unknown(_) => Err(said),
            said => Err(NotPushed::Unknown(said.to_string())),
        }
    }
}

impl UpstreamFault {
    /// Whether it will pass without anybody's doing.
    pub(super) fn is_away(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Busy(_) => true,
            Self::Doubtful(why) => why.is_away(),
            _ => false,
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("url", &self.url.load().as_str())
            .field("poll", &self.poll)
            .finish_non_exhaustive()
    }
}

/// What is sent to move the branch.
fn request(before: Option<CommitId>, new: CommitId, pack: Vec<u8>) -> Vec<u8> {
    let name = refs::TIP;
    let old = before.map_or_else(|| "0".repeat(40), |id| id.to_string());
    let agent = concat!("sidecargo/", env!("CARGO_PKG_VERSION"));
    let command = format!(
        "{old} {new} {name}\0 report-status side-band-64k object-format=sha1 agent={agent}\n"
    );
    let mut body = format!("{}0000", packet(&command)).into_bytes();
    body.extend(pack);
    body
}
