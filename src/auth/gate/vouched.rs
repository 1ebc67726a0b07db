//! Those for whom the forge vouches with its signature.

use jiff::Timestamp;

use super::{Gate, GateFault, Guest, GuestProof, SignedFor, SignedJob, Wanted, Who, of_robot};
use crate::domain::{Actor, Job, RepositoryPath, Secret};
use crate::forge::{ForgeFault, Showing};

/// Somebody for whom the forge vouches with its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    /// A person, or a job.
    pub bearer: Actor,
    /// When that ends.
    pub until: Timestamp,
    /// By what the token is known again.
    pub once: [u8; 32],
}

impl Gate {
    pub(super) async fn signed(&self, token: &Secret, now: Timestamp) -> Result<Guest, GateFault> {
        let signed = self.verify(token, Wanted::Write, now).await?;
        let (once, until) = (signed.once, signed.expires);
        let (who, groups) = match signed.who {
            SignedFor::Person(person, groups) => (Who::Person(person), groups),
            SignedFor::Job(job) => (Who::Job(self.numbered(job).await?), Vec::new()),
        };
        let proof = GuestProof::Signed {
            groups,
            once,
            until,
        };
        Ok(Guest { who, proof })
    }

    /// For whom the forge vouches by a token that it signed a moment ago.
    pub async fn vouched(&self, token: &Secret, now: Timestamp) -> Result<Vouched, GateFault> {
        let signed = self.verify(token, Wanted::Write, now).await?;
        let bearer = match signed.who {
            SignedFor::Person(person, _) => Actor::Person(person),
            SignedFor::Job(job) => Actor::Job(Box::new(self.numbered(job).await?)),
        };
        Ok(Vouched {
            bearer,
            until: signed.expires,
            once: signed.once,
        })
    }

    async fn numbered(&self, job: SignedJob) -> Result<Job, GateFault> {
        let repository_id = match job.repository_id {
            Some(id) => id,
            None => self.id_of(&job.repository).await?,
        };
        Ok(Job {
            repository: job.repository,
            repository_id,
            workflow: job.workflow.parse().map_err(GateFault::OddWorkflow)?,
            run: job.run,
            commit: job.commit,
        })
    }

    /// The number of a repository whose job's token does not say it, as older forges do.
    async fn id_of(&self, path: &RepositoryPath) -> Result<u64, GateFault> {
        let robot = self.forge.robot_token().map_err(GateFault::Forge)?;
        match self.forge.repository(path, Showing::Token(&robot)).await {
            Ok(seen) => Ok(seen.id),
            Err(ForgeFault::NotFound) => Err(GateFault::HiddenRepository(path.clone())),
            Err(fault) => Err(GateFault::Forge(of_robot(fault))),
        }
    }
}
