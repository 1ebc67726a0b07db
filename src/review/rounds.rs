//! Rounds over all pull requests that are open: at the start, now and again, and when the branch came to be another.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::watch::error::RecvError;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{info, warn};

use super::just_good::MERGE_TIME;
use super::{AGAIN, CONTEXT, GOOD, ONCE_PROPOSED, PENDING, Reviews, judge, look};
use crate::app::App;
use crate::domain::CommitId;
use crate::forge::{ForgeFault, PullRequest, Said};
use crate::index::{self, Ground};

/// How often it is looked whether there are some that nobody has judged, and how soon after one could not be.
const PAUSE: Duration = Duration::from_secs(600);
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(30);
/// The shortest pause between two rounds of judging, however often the branch moves.
const PAUSE_MIN: Duration = Duration::from_secs(5);

impl Reviews {
    /// Judges those whose judgement is not known, not for the index as it is, or not what the forge says of them; not
    /// before `soonest`, and until people move the branch again. What nobody can say of one keeps none of the others, and
    /// nor do other owners of a crate, which whoever owns it may change as often as they like.
    async fn catch_up(&self, app: &Arc<App>, soonest: Instant) -> Result<(), ForgeFault> {
        if self.forge.is_index_taken().await? {
            // What is proposed to another repository is nothing to us, nor is what is said there.
            info!(
                "no pull request is judged: another repository has the name of the index repository"
            );
            return Ok(());
        }
        let mut on = app.index.ground();
        let open = self.forge.open_pull_requests(&self.index).await;
        if open == Err(ForgeFault::NotFound) {
            // A forge knows of none in a repository that is empty, as one was until a moment ago.
            self.failed.notify_one();
            return Ok(());
        }
        let mut open = match open {
            Ok(open) => open,
            Err(fault) => {
                // Any may be open.
                let heads = self.verdicts.lock().await.heads();
                self.take_back(&heads, &on).await;
                return Err(fault);
            }
        };
        open.retain(|open| open.base.name == index::BRANCH);
        let heads: HashSet<_> = open.iter().map(|open| open.head.sha).collect();
        self.take_back(&heads, &on).await;
        self.sort(&mut open).await;
        sleep_until(soonest).await;
        for open in open {
            let newest = app.index.ground();
            if newest.by_people() != on.by_people() {
                // What was found good just now is to be taken back first, and some are merged.
                break;
            }
            if self.is_other(&on, &newest).await {
                // What was found good just now is taken back before anything else is found good.
                self.take_back(&heads, &newest).await;
                self.left.notify_one();
            }
            on = newest;
            let (number, head) = (open.number, open.head.sha);
            match self.forge.said(&self.index, head, CONTEXT).await {
                Ok(said) if self.stands(app, head, said.as_ref()).await => {}
                Ok(said) => judge(app, self, number, head, said).await,
                Err(reason) => {
                    warn!(number, %reason, "it is not known whether it is judged");
                    self.failed.notify_one();
                }
            }
        }
        Ok(())
    }

    /// Whether some judgement may not hold for the index as it came to be, be it of a state between the two.
    async fn is_other(&self, before: &Ground, on: &Ground) -> bool {
        before.by_people() != on.by_people()
            || before.snapshot.reworked() != on.snapshot.reworked()
                && (self.verdicts.lock().await).are_other(|basis| !basis.holds(on))
    }

    /// Tells the forge of those that were good for another state of the index than this that they are judged again, so
    /// that nobody merges them meanwhile. One that is closed can be opened again and merged at once.
    async fn take_back(&self, open: &HashSet<CommitId>, on: &Ground) {
        let mut verdicts = self.verdicts.lock().await;
        verdicts.keep(open);
        for head in verdicts.outdated(|basis| basis.holds(on), open) {
            let is_open = open.contains(&head);
            let words = if is_open { AGAIN } else { ONCE_PROPOSED };
            let withdrawn = self.withdraw(head, words).await;
            if withdrawn.is_ok() {
                info!(commit.id = %head, "what was good is taken back");
            }
            match withdrawn {
                Ok(()) if is_open => verdicts.put(head, PENDING, None),
                Ok(()) => verdicts.forget(&head),
                Err(reason) => {
                    warn!(commit.id = %head, %reason, "the forge was not told that one is judged again");
                    self.failed.notify_one();
                }
            }
        }
    }

    /// Those that were good come first.
    async fn sort(&self, open: &mut [PullRequest]) {
        let verdicts = self.verdicts.lock().await;
        let is_first = |state| matches!(state, Some(GOOD | PENDING));
        open.sort_by_key(|open| !is_first(verdicts.state(&open.head.sha)));
    }

    /// Whether what the forge says of a commit is what was judged, for the index as it is.
    async fn stands(&self, app: &App, head: CommitId, said: Option<&Said>) -> bool {
        let on = app.index.ground();
        let verdicts = self.verdicts.lock().await;
        said.is_some_and(|said| verdicts.stands(&head, &said.state, |basis| basis.holds(&on)))
    }
}

/// Judges at the start and then now and again what nobody has judged, for the forge may have told of it while nobody
/// listened; and all that are open once the branch is another, for together with that they may do what none does alone,
/// or is good again.
pub async fn follow(app: Arc<App>) {
    if let Some(reviews) = &app.reviews {
        lead(&app, reviews).await;
        tokio::select! {
            () = judge_all(&app, reviews) => {}
            () = release(&app, reviews) => {}
            () = listen(&app, reviews) => {}
        }
    }
}

/// Waits until it is this server that judges: of two that judged, neither would know what the other has called good.
async fn lead(app: &App, reviews: &Reviews) {
    let mut is_known = false;
    let lead = loop {
        let blobs = Arc::clone(&app.blobs);
        let taken = spawn_blocking(move || blobs.take_lead()).await;
        match taken.unwrap_or_else(|fault| Err(fault.into())) {
            Ok(Some(lead)) => break Some(lead),
            Ok(None) => {
                if !is_known {
                    info!("another server that shares the store judges pull requests");
                }
                is_known = true;
                sleep(PAUSE_MIN).await;
            }
            Err(cause) if cause.kind() == ErrorKind::Unsupported => {
                warn!(%cause, "it is not known whether another server judges pull requests, so this one does");
                break None;
            }
            Err(cause) => {
                if !is_known {
                    warn!(%cause, "this server judges no pull request until it knows that no other does");
                }
                is_known = true;
                sleep(PAUSE_MIN).await;
            }
        }
    };
    reviews.lead.get_or_init(|| lead);
}

/// Has a round begin when another server, to which the forge told of one, calls.
async fn listen(app: &App, reviews: &Reviews) {
    let lead = reviews.lead.get().and_then(Option::as_ref);
    let last_call = || lead.and_then(|lead| lead.last_call().ok());
    let mut known = last_call();
    loop {
        sleep(PAUSE_MIN).await;
        let last = last_call();
        if last != known {
            // It may have been told of a merge; if nobody knows where the branch is, that is taken for where it was.
            let _ = look(app).await;
            reviews.left.notify_one();
        }
        known = last;
    }
}

/// Tells the forge of those that waited for others, once these had their time to be merged: one look tells whether any
/// of them is.
async fn release(app: &App, reviews: &Reviews) {
    loop {
        reviews.waits.notified().await;
        sleep(MERGE_TIME).await;
        let mut just_good = reviews.turn.lock().await;
        if reviews.look(app, &mut just_good).await {
            for judged in mem::take(&mut just_good.waiting) {
                match just_good.must_wait(&judged) {
                    true => just_good.waiting.push(judged),
                    false => reviews.conclude(app, &mut just_good, judged, None).await,
                }
            }
        }
        if !just_good.waiting.is_empty() {
            reviews.waits.notify_one();
        }
    }
}

/// Goes round until the index ends.
async fn judge_all(app: &Arc<App>, reviews: &Reviews) {
    let mut moves = app.index.moves();
    let mut pause = PAUSE_AFTER_FAULT;
    let mut soonest = Instant::now();
    loop {
        let due = Instant::now() + PAUSE;
        moves.mark_unchanged();
        let mut seen = app.index.ground();
        reviews.is_branch_blamed.store(false, Ordering::Relaxed);
        if let Err(reason) = reviews.catch_up(app, soonest).await {
            warn!(%reason, "it is not known which pull requests wait");
            reviews.failed.notify_one();
        }
        soonest = Instant::now() + PAUSE_MIN;
        let moved = async {
            loop {
                moves.mark_unchanged();
                let on = app.index.ground();
                let is_blamed = reviews.is_branch_blamed.load(Ordering::Relaxed);
                if is_blamed && app.index.stall().is_none() || reviews.is_other(&seen, &on).await {
                    return Ok(());
                }
                // The one before is kept no longer than needed.
                seen = on;
                tokio::select! {
                    () = reviews.left.notified() => return Ok(()),
                    moved = moves.changed() => moved?,
                }
            }
        };
        tokio::select! {
            next = calm(&reviews.failed, due, pause) => pause = next,
            moved = moved => match moved {
                Ok(()) => {}
                // The index ends.
                Err::<(), RecvError>(_) => return,
            },
        }
    }
}

/// Waits until the next look is `due`, or until `pause` after something failed if that is sooner; gives the pause after
/// the next failure.
async fn calm(failed: &Notify, due: Instant, pause: Duration) -> Duration {
    match timeout_at(due, failed.notified()).await {
        Ok(()) => {
            sleep_until(due.min(Instant::now() + pause)).await;
            // Twice as late each time: one of which nothing can be said must not be fetched for ever.
            PAUSE.min(pause * 2)
        }
        Err(_elapsed) => PAUSE_AFTER_FAULT,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_failed_puts_no_look_off() {
        let failed = Notify::new();
        failed.notify_one();
        let looks = calm(&failed, Instant::now(), Duration::from_secs(3600));
        let next = timeout(Duration::from_secs(60), looks).await;
        assert_eq!(next, Ok(PAUSE), "what is due is not waited for");
        let looks = calm(&failed, Instant::now(), PAUSE);
        assert_eq!(looks.await, PAUSE_AFTER_FAULT, "nothing has failed");
    }
}
