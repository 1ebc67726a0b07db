//! Who has come, and by what they proved it.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::spawn_blocking;

use super::{GateFault, IdTokenFault};
use crate::auth::Spent;
use crate::domain::{Actor, Grant, Job, Person, PlainText, RepositoryPath, Secret, TokenId};
use crate::forge::{ForgeFault, Run};

/// Somebody with a token of the forge, who wants to change something.
#[derive(Debug, Clone)]
pub struct Guest {
    pub(in crate::auth) who: Who,
    pub(in crate::auth) proof: GuestProof,
}

#[derive(Debug, Clone)]
pub(in crate::auth) enum Who {
    Person(Person),
    /// A job whose repository is known.
    Job(Job),
    /// A job of which only the number is.
    Task(u64),
}

#[derive(Debug, Clone)]
pub(in crate::auth) enum GuestProof {
    /// The token was shown to the forge, and can be again.
    Shown(Secret),
    /// The forge signed it.
    Signed {
        /// The groups that it names.
        groups: Vec<PlainText>,
        /// By what it is known again.
        once: [u8; 32],
        /// When it ends.
        until: Timestamp,
    },
    /// We made it from one that the forge signed.
    Minted(TokenId),
}

impl Guest {
    /// For whom a token of ours speaks, unless that is nobody of the forge.
    pub fn behind(grant: &Grant) -> Option<Self> {
        let who = match &grant.bearer {
            Actor::Local(_) => return None,
            Actor::Person(person) => Who::Person(person.clone()),
            Actor::Job(job) => Who::Job(Job::clone(job)),
        };
        let proof = GuestProof::Minted(grant.token_id);
        Some(Self { who, proof })
    }

    /// Refuses a job whose id-token was exchanged: what it was exchanged for is limited, and would limit nothing. A
    /// person may exchange theirs again and again.
    pub async fn must_not_be_spent(&self, spent: &Arc<Spent>) -> Result<(), GateFault> {
        let (Who::Job(_) | Who::Task(_), GuestProof::Signed { once, until, .. }) =
            (&self.who, &self.proof)
        else {
            return Ok(());
        };
        let (once, until) = (*once, *until);
        let spent = Arc::clone(spent);
        match spawn_blocking(move || spent.is_spent(&once, until)).await {
            Ok(false) => Ok(()),
            _ => Err(IdTokenFault::Spent.into()),
        }
    }
}

/// A job that runs what was taken into the repository, not what somebody proposes.
pub(in crate::auth) fn job_of(
    repository: RepositoryPath,
    repository_id: u64,
    run: &Run,
) -> Result<Job, GateFault> {
    if run.event.starts_with("pull_request") {
        return Err(IdTokenFault::PullRequest.into());
    }
    let plain = |text: &str| -> Result<PlainText, GateFault> {
        let odd = |_| GateFault::Forge(ForgeFault::Odd("a run with an odd name".to_owned()));
        text.parse().map_err(odd)
    };
    Ok(Job {
        repository,
        repository_id,
        workflow: run.workflow.parse().map_err(GateFault::OddWorkflow)?,
        run: plain(&run.number.to_string())?,
        commit: plain(&run.commit)?,
    })
}

/// Their name, for the log.
impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.who {
            Who::Person(person) => person.login.fmt(f),
            Who::Job(job) => job.repository.fmt(f),
            Who::Task(task) => write!(f, "job {task} of the forge"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_a_persons_id_token_it_is_not_asked_whether_it_was_exchanged() {
        let folder = tempfile::tempdir().unwrap();
        let (now, until) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        let spent = Arc::new(Spent::open(folder.path().to_owned(), now).unwrap());
        spent.spend([1; 32], until, now).unwrap();
        let login = "alice".parse().unwrap();
        for (who, is_refused) in [
            (Who::Person(Person { login, id: 7 }), false),
            (Who::Task(1), true),
        ] {
            let proof = GuestProof::Signed {
                groups: Vec::new(),
                once: [1; 32],
                until,
            };
            let asked = Guest { who, proof }.must_not_be_spent(&spent).await;
            assert_eq!(asked.is_err(), is_refused, "{asked:?}");
        }
    }
}
