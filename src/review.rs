//! Pull requests on the index repository: judged when the forge tells of them, before anybody merges them, and again
//! when the branch came to be another than the one for which they were judged.
//!
//! Nothing that the forge has as a status is a judgement of ours: whoever may write there can put it. What was judged
//! is known here alone, so a start judges all that are open, and of several servers one judges.

mod event;
mod just_good;
mod owners;
mod rounds;
mod told;
mod verdicts;

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::app::App;
use crate::blobs::Lead;
use crate::domain::{CommitId, RepositoryPath, harmless};
use crate::forge::{Forge, ForgeFault, Said, Status};
use crate::index::{Basis, Merge, Stall, Upstream, WriteFault};
pub use event::Event;
use just_good::JustGood;
pub use rounds::follow;
use told::{Told, once_good, told};
use verdicts::Verdicts;

/// The name of the status; a rule of protection on the forge can require it.
const CONTEXT: &str = "sidecargo";
/// The state of one that may be merged, and that of one of which it is not known any more.
const GOOD: &str = "success";
const PENDING: &str = "pending";
/// What is said of the latter.
const AGAIN: &str = "judged again, for the branch is another now";
const UNSEEN: &str = "judged again once the forge tells where the branch is";
const AFTER_ANOTHER: &str =
    "good alone; it waits until it is seen whether another that touches the same is merged";
/// And what if nobody proposes it now.
const ONCE_PROPOSED: &str =
    "what was said of it counts no more; it is judged again when somebody proposes it again";
/// The longest sentence that the pages of a forge show whole, in characters.
const SENTENCE_MAX: usize = 250;
/// How long it is waited for the word where the branch is.
const LOOK_TIME: Duration = Duration::from_secs(10);
/// How many that were told of wait for their judgement; more are judged later.
const WAITING_MAX: usize = 32;

/// What judges pull requests, one at a time.
pub struct Reviews {
    upstream: Upstream,
    forge: Arc<Forge>,
    index: RepositoryPath,
    waiting: Semaphore,
    /// There once it is this server that judges; what is in it keeps others from it.
    lead: OnceLock<Option<Lead>>,
    /// By which commits people had moved the branch when another server was called for that last.
    called_for: Mutex<Option<(CommitId, Option<CommitId>)>>,
    /// Held while one is judged.
    turn: Mutex<JustGood>,
    /// What was judged of each newest commit; held while the forge is told.
    verdicts: Mutex<Verdicts>,
    /// Whether one was judged since the last round began whose judgement waits for a branch that is good again.
    is_branch_blamed: AtomicBool,
    /// Told when one is left that is to be judged again, for the index was another before the forge was told.
    left: Notify,
    /// Told when a good one waits for another.
    waits: Notify,
    /// Told when one could not be judged, or the forge not be asked or told.
    failed: Notify,
}

/// What was judged of a pull request.
#[derive(Clone)]
struct Judged {
    number: u64,
    /// Its newest commit.
    head: CommitId,
    told: Told,
    /// For which states of the index.
    basis: Basis,
}

impl Judged {
    /// Leaves open whether it may be merged, and says why.
    fn put_off(&mut self, why: &str) {
        self.told = Told {
            state: PENDING,
            sentence: why.to_owned(),
            is_settled: true,
        };
    }
}

impl Reviews {
    /// For the pull requests of the repository `index` at the forge, which is `upstream`.
    pub fn new(upstream: Upstream, forge: Arc<Forge>, index: RepositoryPath) -> Self {
        Self {
            upstream,
            forge,
            index,
            waiting: Semaphore::new(WAITING_MAX),
            lead: OnceLock::new(),
            called_for: Mutex::default(),
            turn: Mutex::default(),
            verdicts: Mutex::default(),
            is_branch_blamed: AtomicBool::default(),
            left: Notify::new(),
            waits: Notify::new(),
            failed: Notify::new(),
        }
    }

    /// Has a round begin as soon as nothing is wrong with the branch, if that is why one was not judged.
    fn blame_branch(&self, is_blamed: bool) {
        self.is_branch_blamed.fetch_or(is_blamed, Ordering::Relaxed);
    }

    /// Takes back that a commit is good.
    async fn withdraw(&self, head: CommitId, words: &str) -> Result<(), ForgeFault> {
        let told = self.tell(head, PENDING, words).await;
        if told.is_err() {
            // What pull requests have left is removed some day, and then merged by nobody.
            let said = self.forge.said(&self.index, head, CONTEXT).await;
            if let Err(ForgeFault::NotFound) = said {
                return Ok(());
            }
        }
        told
    }

    /// As [`look`], by which it is known, too, whether what was told is merged.
    async fn look(&self, app: &App, just_good: &mut JustGood) -> bool {
        let began = Instant::now();
        match look(app).await {
            Ok(()) => {
                just_good.looked(began);
                true
            }
            Err(reason) => {
                warn!(%reason, "nothing is called good while it is not known where the branch is");
                false
            }
        }
    }

    /// Tells the forge what was judged, if that holds for the index as it is; it was just looked at if that is good.
    async fn conclude(
        &self,
        app: &App,
        just_good: &mut JustGood,
        mut judged: Judged,
        said: Option<Said>,
    ) {
        // Who takes back what is good for another state waits for this, or the index is seen to be another.
        let mut verdicts = self.verdicts.lock().await;
        if !judged.basis.holds(&app.index.ground()) {
            if judged.told.state == GOOD {
                judged.put_off(AGAIN);
            }
            self.left.notify_one();
        }
        let (number, head) = (judged.number, judged.head);
        let (state, sentence) = (judged.told.state, &judged.told.sentence);
        info!(number, commit.id = %head, state, sentence, "a pull request was judged");
        let announced = self.announce(&mut verdicts, &judged, said).await;
        if let Err(reason) = &announced {
            warn!(number, %reason, "the forge was not told of a judgement");
        }
        if announced.is_err() || !judged.told.is_settled {
            self.failed.notify_one();
        }
        if state == GOOD {
            just_good.add(judged);
        }
    }

    /// Tells the forge what was judged of a commit, unless that is what it says.
    async fn announce(
        &self,
        verdicts: &mut Verdicts,
        judged: &Judged,
        said: Option<Said>,
    ) -> Result<(), ForgeFault> {
        let head = judged.head;
        while let Some(oldest) = verdicts.in_the_way_of(&head) {
            if verdicts.state(&oldest) == Some(GOOD) {
                self.withdraw(oldest, ONCE_PROPOSED).await?;
            }
            verdicts.forget(&oldest);
        }
        let state = judged.told.state;
        match state {
            // Whether the forge heard it or not, should its answer be lost.
            GOOD => verdicts.put(head, GOOD, judged.basis.clone()),
            _ => verdicts.doubt(&head),
        }
        let description = harmless(&judged.told.sentence, SENTENCE_MAX);
        if said.is_none_or(|said| said.state != state || said.description != description) {
            self.tell(head, state, &description).await?;
        }
        match judged.told.is_settled {
            true => verdicts.put(head, state, judged.basis.clone()),
            false => verdicts.forget(&head),
        }
        Ok(())
    }

    /// Puts the status on a commit.
    async fn tell(&self, head: CommitId, state: &str, description: &str) -> Result<(), ForgeFault> {
        let status = Status {
            state,
            context: CONTEXT,
            description,
        };
        self.forge.set_status(&self.index, head, &status).await
    }
}

/// Judges a pull request and tells the forge, which shows it beside the commit.
///
/// Nothing is believed of the event but which pull request it is about: what is judged comes from the forge.
pub async fn review(app: Arc<App>, event: Event) {
    let Some(reviews) = app.reviews.as_ref().filter(|_| event.is_new()) else {
        return;
    };
    if reviews.lead.get().is_none() {
        return call_lead(&app).await;
    }
    let number = event.number;
    let Ok(_waiting) = reviews.waiting.try_acquire() else {
        warn!(
            number,
            "too many pull requests wait; this one is judged later"
        );
        return;
    };
    judge(&app, reviews, number, event.pull_request.head.sha, None).await;
}

/// Lets whoever judges look at the branch, if people moved it since that was called for last: publishes are pushes, too.
pub async fn hear_of_push(app: Arc<App>) {
    if let Some(reviews) = app.reviews.as_ref().filter(|it| it.lead.get().is_none()) {
        let by_people = Some(app.index.ground().by_people());
        if mem::replace(&mut *reviews.called_for.lock().await, by_people) != by_people {
            call_lead(&app).await;
        }
    }
}

/// Calls the server that judges; where none does yet, its first round sees all.
async fn call_lead(app: &App) {
    let blobs = Arc::clone(&app.blobs);
    let _ = spawn_blocking(move || blobs.call_lead()).await;
}

/// Looks where the branch is, for it may have been moved by others; fails if nobody knows. Where it breaks a rule is known
/// as well.
async fn look(app: &App) -> Result<(), WriteFault> {
    let began = Instant::now();
    let is_seen = |stall: &Stall| {
        let seen = stall.seen.filter(|_| stall.strayed.is_some());
        seen.is_some_and(|seen| seen >= began.into_std())
    };
    match app.index.look(began + LOOK_TIME).await {
        Err(WriteFault::Unavailable(_)) if app.index.stall().is_some_and(|it| is_seen(&it)) => {
            Ok(())
        }
        looked => looked.map(drop),
    }
}

/// Judges one of which the forge says this, if that is known.
async fn judge(app: &Arc<App>, reviews: &Reviews, number: u64, head: CommitId, said: Option<Said>) {
    let mut just_good = reviews.turn.lock().await;
    let mut waiting = just_good.waiting.iter();
    if waiting.any(|it| it.number == number && it.head != head) {
        // It waits no longer, and may be the newer one.
        reviews.left.notify_one();
    }
    if just_good.waits(number, head, &app.index.ground()) {
        return;
    }
    match reviews.forge.is_index_taken().await {
        Ok(false) => {}
        Ok(true) => {
            info!(
                number,
                "a pull request is left out: another repository has the name of the index repository"
            );
            return;
        }
        Err(reason) => {
            warn!(number, %reason, "it is not known to which repository a pull request is");
            reviews.failed.notify_one();
            return;
        }
    }
    // It may stand on what another server published a moment ago.
    let (basis, told) = match reviews.look(app, &mut just_good).await {
        true => find(app, reviews, number, head).await,
        false => unseen(app, reviews),
    };
    let mut judged = Judged {
        number,
        head,
        told,
        basis,
    };
    let is_good = judged.told.state == GOOD;
    if is_good && !reviews.look(app, &mut just_good).await {
        (judged.basis, judged.told) = unseen(app, reviews);
    } else if is_good && just_good.must_wait(&judged) {
        let waits = just_good.wait(judged.clone());
        judged.put_off(AFTER_ANOTHER);
        match waits {
            true => reviews.waits.notify_one(),
            false => reviews.failed.notify_one(),
        }
    }
    reviews.conclude(app, &mut just_good, judged, said).await;
}

/// What is to be said of a pull request, and for which states of the index.
async fn find(app: &Arc<App>, reviews: &Reviews, number: u64, head: CommitId) -> (Basis, Told) {
    let before = app.index.ground();
    let judging = Arc::clone(app);
    let upstream = reviews.upstream.clone();
    let judged = spawn_blocking(move || {
        let blobs = &judging.blobs;
        judging.index.judge_merge(blobs, &upstream, number, head)
    });
    match judged.await {
        Ok(Merge { basis, told: found }) => {
            let is_bad = basis.strayed.is_some() || is_branch_bad(app);
            let (brought, judged) =
                found.map_or_else(|fault| (Vec::new(), Err(fault)), |it| (it, Ok(())));
            let mut told = told(judged, is_bad);
            // Else nothing tells that the branch is good again.
            told.is_settled &= !is_bad || basis.strayed.is_some();
            reviews.blame_branch(is_bad && !told.is_settled);
            (basis, reviews.misfit(&brought).await.unwrap_or(told))
        }
        Err(_) => {
            let sentence = "an internal fault, which the log names".to_owned();
            (Basis::whole(&before), Told::error(sentence))
        }
    }
}

/// What is to be said of any while nobody knows where the branch is.
fn unseen(app: &App, reviews: &Reviews) -> (Basis, Told) {
    reviews.blame_branch(true);
    let told = match app.index.stall().filter(|stall| !stall.is_away) {
        Some(stall) => Told::error(once_good(&stall.reason)),
        None => Told {
            state: PENDING,
            ..Told::error(UNSEEN.to_owned())
        },
    };
    (Basis::whole(&app.index.ground()), told)
}

/// Whether the branch is where it must not be.
fn is_branch_bad(app: &App) -> bool {
    app.index.stall().is_some_and(|stall| !stall.is_away)
}
