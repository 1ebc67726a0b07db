//! Those who come with a token of the forge.
//!
//! A token that the forge signed is verified with its keys; any other of its own is shown to it, and what it answers is
//! remembered for a while. Who may read is who may read the index repository there. What somebody may change is found
//! out in `standing.rs`, each time anew.

mod fault;
mod guest;
mod reading;
mod right;
mod vouched;

pub use fault::GateFault;
pub use guest::Guest;
pub use vouched::Vouched;

pub(super) use guest::{GuestProof, Who, job_of};
pub(super) use right::Has;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use prometheus::IntCounterVec;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::id_token::{IdTokenFault, Issuers, Signed, SignedFor, SignedJob, Wanted};
use super::remembered::{Known, Look, Remembered, TokenHash};
use super::strangers::Strangers;
use super::{Holds, IssuerNames, TokenFault};
use crate::domain::{Person, RepositoryPath, Secret, Visibility};
use crate::forge::{
    Account, Forge, ForgeFault, IssuerFault, IssuerKeys, KeyPatience, Permission, Showing,
};

/// Where the forge has the keys of its people and of its jobs.
const PEOPLE_DISCOVERY: &str = ".well-known/openid-configuration";
const JOBS_DISCOVERY: &str = "api/actions/.well-known/openid-configuration";
/// How many tokens that were never good are asked about at once, and how long others wait for that.
const NEWCOMERS: usize = 8;
const NEWCOMER_WAIT: Duration = Duration::from_secs(4);
/// The digits of an access token, and of a job's.
const OPAQUE_DIGITS: usize = 40;

/// The forge as the one who decides.
#[derive(Debug)]
pub struct Gate {
    pub(super) forge: Arc<Forge>,
    /// The index repository.
    pub(super) index: RepositoryPath,
    issuers: Issuers,
    remembered: Remembered,
    strangers: Strangers,
    /// Tokens that were never good and are being asked about.
    newcomers: Semaphore,
}

/// A token that counts against its address, while the forge is asked about it.
struct Turn<'a> {
    peer: IpAddr,
    _place: SemaphorePermit<'a>,
}

impl Gate {
    /// The gate of the registry whose index is in this repository.
    pub fn new(
        forge: Arc<Forge>,
        index: RepositoryPath,
        names: IssuerNames,
        holds: Holds,
        patience: KeyPatience,
    ) -> Self {
        let jobs = format!("{}/api/actions", names.root);
        let people = names.root.clone();
        let keys =
            |issuer, discovery| IssuerKeys::new(issuer, names.root.clone(), discovery, patience);
        Self {
            forge,
            index,
            issuers: Issuers {
                people: keys(people, PEOPLE_DISCOVERY),
                jobs: keys(jobs, JOBS_DISCOVERY),
                client_id: names.client_id,
                audience: names.audience,
            },
            remembered: Remembered::new(holds),
            strangers: Strangers::default(),
            newcomers: Semaphore::new(NEWCOMERS),
        }
    }

    /// Whether a token that this registry did not make can be one of the forge.
    pub fn may_know(fault: &TokenFault) -> bool {
        match fault {
            TokenFault::TooLong | TokenFault::NotOurs => true,
            TokenFault::Algorithm | TokenFault::UnknownKey(_) => true,
            // Signed with a key of ours.
            _ => false,
        }
    }

    /// Who wants to change something; the forge is asked each time.
    pub async fn guest(
        &self,
        token: &Secret,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<Guest, GateFault> {
        let hash = Remembered::hash(token);
        let _flight = self.remembered.flight(hash).await;
        if let Known::Bad(fault @ GateFault::Unknown) = self.remembered.known(&hash, now) {
            return Err(fault);
        }
        let turn = self.question(token, &hash, peer, now).await?;
        let guest = match is_opaque(token) {
            true => self.shown(token).await,
            false => self.signed(token, now).await,
        };
        self.remembered.count(Look::Asked);
        match &guest {
            Ok(_) => {
                self.uncount(turn);
                self.remembered.seen(hash);
            }
            Err(GateFault::Unknown) => self.remembered.bad(hash, GateFault::Unknown),
            Err(fault) if fault.is_away() => {
                self.uncount(turn);
                self.remembered.failed();
            }
            Err(_) => {}
        }
        guest
    }

    /// The forge.
    pub fn forge(&self) -> &Forge {
        &self.forge
    }

    /// What came of looks at tokens.
    pub fn looked(&self) -> &IntCounterVec {
        self.remembered.looked()
    }

    /// How many tokens are remembered that may read.
    pub fn remembered(&self) -> usize {
        self.remembered.len()
    }

    /// The right to ask about a token. One that the forge alone knows and that was not good lately counts against its
    /// address, and waits for a place among those: so many good ones at once are none too many.
    async fn question(
        &self,
        token: &Secret,
        hash: &TokenHash,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<Option<Turn<'_>>, GateFault> {
        let is_known = self.remembered.is_known(hash, now) || self.remembered.is_seen(hash);
        if is_known || !is_opaque(token) {
            return Ok(None);
        }
        let too_many = |wait_secs| {
            self.remembered.count(Look::HeldOff);
            GateFault::TooMany { wait_secs }
        };
        self.strangers
            .look(peer, Instant::now())
            .map_err(too_many)?;
        let Ok(Ok(place)) = timeout(NEWCOMER_WAIT, self.newcomers.acquire()).await else {
            return Err(GateFault::Forge(ForgeFault::Busy {
                retry_after_secs: NEWCOMER_WAIT.as_secs(),
            }));
        };
        self.strangers
            .take(peer, Instant::now())
            .map_err(too_many)?;
        Ok(Some(Turn {
            peer,
            _place: place,
        }))
    }

    /// A token was not an unknown one; of one that was not counted there is nothing to give back.
    fn uncount(&self, turn: Option<Turn<'_>>) {
        if let Some(turn) = turn {
            self.strangers.give_back(turn.peer);
        }
    }

    /// Whether the token is shown the index repository.
    pub(super) async fn must_read_by(&self, token: &Secret) -> Result<(), GateFault> {
        let seen = self.forge.repository(&self.index, Showing::Token(token));
        match seen.await {
            Ok(seen) if seen.rights.pull => Ok(()),
            Ok(_) | Err(ForgeFault::NotFound) => Err(GateFault::MayNotRead),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Whether the person may read the index repository; our own account asks, for they gave us nothing to show.
    pub(super) async fn must_read_as(&self, person: &Person) -> Result<(), GateFault> {
        let robot = self.forge.robot_token().map_err(GateFault::Forge)?;
        let index = match self.forge.own_index(&self.index).await {
            Ok(Some(index)) => index,
            Ok(None) => return Err(GateFault::MayNotRead),
            // Whose rights there are is not known then.
            Err(fault) => return Err(GateFault::Forge(of_robot(fault))),
        };
        match self.has(person, &index, Permission::Read, &robot).await? {
            Has::Yes => Ok(()),
            Has::No => Err(GateFault::MayNotRead),
            // Of a repository that all see that need not be told.
            Has::NotTold if self.is_seen_by_all().await => self.must_be_there(person, &robot).await,
            Has::NotTold => {
                let why = "it does not administer the index repository";
                Err(GateFault::Forge(ForgeFault::Robot(why.to_owned())))
            }
            Has::NotToldOfTeam => Err(GateFault::HiddenTeam),
        }
    }

    /// Whether the account is still there, and no other has its name.
    async fn must_be_there(&self, person: &Person, robot: &Secret) -> Result<(), GateFault> {
        let named = self.forge.user_named(&person.login, Showing::Token(robot));
        match named.await {
            Ok(there) if there.id == person.id => Ok(()),
            Ok(_) => Err(GateFault::MayNotRead),
            Err(ForgeFault::NotFound) => Err(GateFault::HiddenPerson(person.login.clone())),
            Err(fault) => Err(GateFault::Forge(of_robot(fault))),
        }
    }

    async fn is_seen_by_all(&self) -> bool {
        matches!(
            self.forge.visibility(&self.index).await,
            Ok(Visibility::Public)
        )
    }

    /// Whether everybody may read: of a job that shows no token nothing else can be known.
    pub(super) async fn jobs_must_read(&self) -> Result<(), GateFault> {
        match self.forge.visibility(&self.index).await {
            Ok(Visibility::Public) => Ok(()),
            Ok(Visibility::Private) => Err(GateFault::JobMayNotRead),
            Err(fault) => Err(GateFault::Forge(fault)),
        }
    }

    async fn verify(
        &self,
        token: &Secret,
        wanted: Wanted,
        now: Timestamp,
    ) -> Result<Signed, GateFault> {
        match self.issuers.verify(token, wanted, now, &self.forge).await {
            Err(IdTokenFault::Issuer(IssuerFault::Forge(fault))) => Err(GateFault::Forge(fault)),
            verdict => Ok(verdict?),
        }
    }

    /// Whose token it is, as the forge says.
    async fn shown(&self, token: &Secret) -> Result<Guest, GateFault> {
        let who = match self.forge.account(token).await {
            Ok(Account::Person { login, id }) => Who::Person(Person { login, id }),
            Ok(Account::Job { task }) => self.job(token, task).await?,
            Err(ForgeFault::Forbidden(words)) if words.contains("scope") => {
                return Err(GateFault::NoName(words));
            }
            Err(fault) => return Err(fault.into()),
        };
        let proof = GuestProof::Shown(token.clone());
        Ok(Guest { who, proof })
    }

    async fn job(&self, token: &Secret, task: Option<u64>) -> Result<Who, GateFault> {
        if self
            .forge
            .kind()
            .await
            .map_err(GateFault::Forge)?
            .tells_runs()
        {
            let (repository, run) = self.forge.own_run(token).await?;
            return Ok(Who::Job(job_of(repository.path, repository.id, &run)?));
        }
        task.map(Who::Task).ok_or(GateFault::NamelessJob)
    }
}

/// What the forge refuses to our own account, or hides from it, is a fault of the set-up, not of the one who asks.
pub(super) fn of_robot(fault: ForgeFault) -> ForgeFault {
    match fault {
        ForgeFault::Unauthenticated | ForgeFault::Forbidden(_) | ForgeFault::NotFound => {
            ForgeFault::Robot(fault.to_string())
        }
        fault => fault,
    }
}

/// Whether the token is of the form that both forges give to access tokens and to jobs.
fn is_opaque(token: &Secret) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let token = token.expose();
    token.len() == OPAQUE_DIGITS && token.bytes().all(is_digit)
}

#[cfg(test)]
mod tests;
