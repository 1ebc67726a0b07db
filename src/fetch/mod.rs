//! Reading by the git protocol: `git upload-pack` processes, bounded in every direction.
//!
//! A fetch holds a place of its address while it waits and works, and a place in the pool only while its
//! process runs; the request is read and checked before there is a process. A process ends with its answer,
//! with its client, or at a limit, whichever comes first. A clone of the commit that is served, asked for by
//! the same request as one before, needs no process: its answer is kept in memory.
//!
//! Nothing here knows HTTP. Processes see only the refs under `refs/namespaces/served/`, but every object
//! of the repository can be asked for by its id: nothing secret may lie in it.

mod child;
mod git_command;
mod remembered;
mod request;
mod stream;

pub use git_command::check_program;
pub use remembered::Served;
#[cfg(any(test, fuzzing))]
pub use request::fuzzing::git_request;
pub use request::{BodyCoding, REQUEST_BYTES_MAX};
pub use stream::FetchStream;

use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use prometheus::{IntCounter, IntGauge};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::config::FetchConfig;
use crate::measure::{self, Counted};
use crate::places::{Place, Places};
use child::Job;
use git_command::Answering;
use remembered::{Recording, Remembered};
use request::Reading;

/// What a v0 client expects before the refs: one pkt-line with the service's name, and a flush.
const ADVERTISEMENT_HEAD: &[u8] = b"001e# service=git-upload-pack\n0000";
/// The largest request that is read beside any number of others, inflated, in bytes: most have less than one.
const SMALL_BYTES_MAX: usize = 64 * 1024;
/// The most larger ones that are in memory before they are judged.
const LARGE_MAX: usize = 16;

/// How many fetches there may be and what one may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// The most processes at one time.
    pub children_max: usize,
    /// The most fetches of one address at one time, waiting for the pool or working.
    pub per_address_max: usize,
    /// The longest wait for a place.
    pub queue: Duration,
    /// The longest wait for a client to take the next chunk of at most 64 KiB.
    pub stall: Duration,
    /// The longest time for an answer.
    pub total: Duration,
    /// CPU time of a process, in seconds.
    pub cpu_secs: u64,
    /// The largest request, inflated, in bytes.
    pub request_bytes_max: usize,
    /// Of answers that are kept in memory, all together, in bytes.
    pub remembered_bytes_max: usize,
}

/// The version of the git protocol that a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GitProtocol {
    /// What a client speaks that says nothing: libgit2, and so Cargo.
    V0,
    /// Like v0 with a version line.
    V1,
    /// Commands; git's own default.
    V2,
}

/// Why a fetch was refused or ended early.
#[derive(Debug, Error)]
pub enum FetchFault {
    /// No place came free in time.
    #[error("too many fetches are running, try again in {retry_secs} seconds")]
    Busy { retry_secs: u64 },
    /// The request is not one of the git protocol.
    #[error("the request is not a git fetch: {0}")]
    Malformed(&'static str),
    /// It is one, and asks for what there is not.
    #[error("git does not understand the request: {0}")]
    NotUnderstood(String),
    /// The request is larger than any honest one.
    #[error("the request is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: u64 },
    /// The request took too long to arrive.
    #[error("the request did not arrive in time")]
    TooSlow,
    /// The request broke off.
    #[error("the request broke off")]
    Interrupted(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The git program cannot be started.
    #[error("cannot run the `git` program")]
    Spawn(#[source] std::io::Error),
    /// The process ended without a whole answer; the log has its words.
    #[error("`git upload-pack` failed")]
    Failed,
    /// The client took its bytes too slowly.
    #[error("the client took no bytes for too long or did not finish in time")]
    Stalled,
}

/// The pool of fetches from one bare repository.
pub struct Fetches {
    git_dir: PathBuf,
    limits: FetchLimits,
    places: Places,
    remembered: Arc<Remembered>,
    /// Turns of large requests: strangers must not fill the memory with what nobody has judged yet.
    large: Semaphore,
    measures: Measures,
    running: Mutex<JoinSet<()>>,
}

/// What the pool measures of itself.
#[derive(Debug, Clone)]
pub struct Measures {
    /// Fetches that wait for a place.
    pub waiting: IntGauge,
    /// Fetches that were refused because no place came free in time.
    pub refused: IntCounter,
    /// Clones that were answered from memory.
    pub remembered: IntCounter,
}

impl Measures {
    fn new() -> Self {
        Self {
            waiting: measure::level(
                "sidecargo_fetches_waiting",
                "Fetches that wait for a place in the pool.",
            ),
            refused: measure::count(
                "sidecargo_fetches_refused_total",
                "Fetches that were refused because no place came free in time.",
            ),
            remembered: measure::count(
                "sidecargo_fetches_remembered_total",
                "Clones that were answered from memory, without a process.",
            ),
        }
    }
}

impl From<&FetchConfig> for FetchLimits {
    fn from(config: &FetchConfig) -> Self {
        Self {
            children_max: config.children_max,
            per_address_max: config.per_address_max,
            queue: Duration::from_secs(config.queue_secs),
            stall: Duration::from_secs(config.stall_secs),
            total: Duration::from_secs(config.total_secs),
            cpu_secs: config.cpu_secs,
            request_bytes_max: request::REQUEST_BYTES_MAX,
            remembered_bytes_max: config.remembered_mb.saturating_mul(1024 * 1024),
        }
    }
}

impl GitProtocol {
    /// The version that the `Git-Protocol` header `value` asks for; v0 for everything that is not exactly a known one.
    ///
    /// See <https://git-scm.com/docs/protocol-v2>.
    pub fn from_header(value: Option<&[u8]>) -> Self {
        match value {
            Some(b"version=1") => Self::V1,
            Some(b"version=2") => Self::V2,
            _ => Self::V0,
        }
    }
}

impl Fetches {
    /// A pool that serves the bare repository at the absolute path `git_dir`, which shows the commit `served`.
    pub fn new(git_dir: PathBuf, limits: FetchLimits, served: Served) -> Self {
        Self {
            git_dir,
            limits,
            places: Places::new(limits.children_max, limits.per_address_max),
            remembered: Arc::new(Remembered::new(limits.remembered_bytes_max, served)),
            large: Semaphore::new(LARGE_MAX),
            measures: Measures::new(),
            running: Mutex::default(),
        }
    }

    /// The refs that are served, as `info/refs?service=git-upload-pack` answers.
    ///
    /// Whoever still waits for a place when `hurry` resolves gets none.
    ///
    /// # Errors
    /// `Busy`, `Spawn` or `Failed`.
    pub async fn advertise(
        &self,
        peer: IpAddr,
        protocol: GitProtocol,
        hurry: impl Future<Output = ()>,
    ) -> Result<FetchStream, FetchFault> {
        self.remembered.forget_older();
        let deadline = Instant::now() + self.limits.queue;
        let mut hurry = pin!(hurry);
        let place = self.places.of_address(peer, deadline);
        let place = self.wait(place, hurry.as_mut()).await?;
        let place = self.wait(place.in_pool(deadline), hurry).await?;
        let stream = self.run(
            place,
            Answering::Advertisement,
            protocol,
            Bytes::new(),
            None,
        )?;
        let stream = stream.checked().await?;
        Ok(match protocol {
            // git's own server sends it to these only.
            GitProtocol::V0 | GitProtocol::V1 => stream.after(ADVERTISEMENT_HEAD),
            GitProtocol::V2 => stream,
        })
    }

    /// The answer to the request `body`, as `git-upload-pack` answers.
    ///
    /// The caller bounds how long `body` may take; its size is bounded here. `hurry` is as of [`Fetches::advertise`].
    ///
    /// # Errors
    /// Every fault; one after the first bytes of the answer comes as the last item of the stream.
    pub async fn upload_pack<S, E>(
        &self,
        peer: IpAddr,
        protocol: GitProtocol,
        coding: BodyCoding,
        body: S,
        hurry: impl Future<Output = ()>,
    ) -> Result<FetchStream, FetchFault>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<FetchFault>,
    {
        let mut hurry = pin!(hurry);
        let place = self
            .places
            .of_address(peer, Instant::now() + self.limits.queue);
        let place = self.wait(place, hurry.as_mut()).await?;
        let mut reading = Reading::begin(body, coding, self.limits.request_bytes_max);
        let _turn = match reading.has_more_than(SMALL_BYTES_MAX).await? {
            true => {
                let turn = timeout(self.limits.queue, self.large.acquire());
                let turn = async { turn.await.ok()?.ok() };
                Some(self.wait(turn, hurry.as_mut()).await?)
            }
            false => None,
        };
        let request = reading.whole().await?;
        request::check(&request, protocol)?;
        let question = self.remembered.question(&request, protocol);
        if let Some(answer) = question.as_ref().and_then(|it| self.remembered.answer(it)) {
            self.measures.remembered.inc();
            let (sending, stream) = remembered::send(answer, self.limits, place);
            self.spawn(sending);
            return Ok(stream);
        }
        // The time that the client took to send is not time in the queue.
        let deadline = Instant::now() + self.limits.queue;
        let place = self.wait(place.in_pool(deadline), hurry).await?;
        let recording = question.map(|question| self.remembered.record(question));
        let stream = self.run(place, Answering::Request, protocol, request, recording)?;
        stream.checked().await
    }

    /// How many processes run.
    pub fn running(&self) -> usize {
        self.places.taken(self.limits.children_max)
    }

    /// How many bytes of answers are in memory.
    pub fn bytes_remembered(&self) -> usize {
        self.remembered.bytes()
    }

    /// What the pool measures of itself.
    pub fn measures(&self) -> &Measures {
        &self.measures
    }

    /// Waits until no process runs.
    pub async fn drained(&self) {
        self.places.all_free(self.limits.children_max).await;
    }

    /// The place that `coming` gives, if it does in time and before `hurry` resolves.
    async fn wait<T>(
        &self,
        coming: impl Future<Output = Option<T>>,
        hurry: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<T, FetchFault> {
        let _waiting = Counted::on(&self.measures.waiting);
        let place = tokio::select! {
            biased;
            place = coming => place,
            () = hurry => None,
        };
        place.ok_or_else(|| {
            self.measures.refused.inc();
            self.busy()
        })
    }

    fn run(
        &self,
        place: Place,
        answering: Answering,
        protocol: GitProtocol,
        request: Bytes,
        recording: Option<Recording>,
    ) -> Result<FetchStream, FetchFault> {
        let command = git_command::upload_pack(&self.git_dir, answering, protocol);
        let (job, stream) = Job::start(command, request, self.limits, place, recording)?;
        self.spawn(job.run());
        Ok(stream)
    }

    /// Runs `work` until it ends, or the pool does.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        while running.try_join_next().is_some() {}
        running.spawn(work);
    }

    fn busy(&self) -> FetchFault {
        FetchFault::Busy {
            retry_secs: self.limits.queue.as_secs().max(1),
        }
    }
}

#[cfg(test)]
mod tests;
