//! Minting tokens.

use std::sync::Arc;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{GuestOrder, KeyId, OrderFault, Secret, TOKEN_BYTES_MAX, TokenKeys, TokenOrder};
use crate::domain::{
    Actor, Can, Cksum, CrateScope, CrateVersion, Job, Only, PlainText, RegistryId, Scopes, TokenId,
};

/// Makes the tokens of one registry.
#[derive(Debug)]
pub struct Issuer {
    registry: RegistryId,
    keys: Arc<TokenKeys>,
}

/// A new token.
#[derive(Debug)]
pub struct Minted {
    /// The token's text: a JWT.
    pub token: Secret,
    /// Its id, by which it can be revoked: 128 random bits.
    pub id: TokenId,
    /// The key that signed it.
    pub key: KeyId,
    /// From when on it is good.
    pub issued: Timestamp,
    /// From when on it is no longer good.
    pub expires: Timestamp,
}

/// Why no token was made.
#[derive(Debug, Error)]
pub enum MintFault {
    /// The order itself cannot be met.
    #[error(transparent)]
    Order(#[from] OrderFault),
    /// Too many crates for the size that a token may have.
    #[error(
        "the token would have {0} bytes, more than the {TOKEN_BYTES_MAX} allowed; name fewer crates or use a prefix such as `acme-*`"
    )]
    TooLong(usize),
    /// What vouched for the guest is at its end.
    #[error("what the token would be made from expired at {0} (its claim `exp`); get a new one")]
    TooLate(Timestamp),
    /// The end of the token's time lies behind the end of the calendar.
    #[error("the token would expire after the year 9999")]
    Calendar,
    /// The system gave no random bytes.
    #[error("the system gave no random bytes for the id of the token")]
    Random(#[source] getrandom::Error),
    /// The key did not sign.
    #[error("the token could not be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// What a token says, in the order in which it is written.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: PlainText,
    iat: i64,
    exp: i64,
    jti: TokenId,
    can: Vec<Can>,
    crates: &'a [CrateScope],
    /// The forge's number of the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobClaim>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vers: Option<&'a CrateVersion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cksum: Option<&'a Cksum>,
}

/// What a token says of a job beside its repository, which is the subject.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobClaim {
    pub(super) repository_id: u64,
    pub(super) workflow: PlainText,
    pub(super) run: PlainText,
    pub(super) commit: PlainText,
}

/// All that one token shall be.
struct Wanted<'a> {
    bearer: &'a Actor,
    scopes: &'a Scopes,
    only: &'a Only,
    issued: Timestamp,
    expires: Timestamp,
}

impl Issuer {
    /// An issuer for the registry with this id.
    pub fn new(registry: RegistryId, keys: Arc<TokenKeys>) -> Self {
        Self { registry, keys }
    }

    /// Mints a token, good from `now` on.
    pub fn mint(&self, order: &TokenOrder, now: Timestamp) -> Result<Minted, MintFault> {
        order.check()?;
        let issued = whole_seconds(now.as_second())?;
        self.sign(&Wanted {
            bearer: &Actor::Local(order.login.clone()),
            scopes: &order.scopes,
            only: &Only::default(),
            issued,
            expires: whole_seconds(issued.as_second() + order.lifetime.as_secs())?,
        })
    }

    /// Mints a short token that speaks for a guest, good from `now` on and never longer than what vouched for them.
    pub fn mint_for_guest(&self, order: &GuestOrder, now: Timestamp) -> Result<Minted, MintFault> {
        order.check()?;
        let issued = whole_seconds(now.as_second())?;
        let expires = whole_seconds(order.expires_after(issued).as_second())?;
        if expires <= issued {
            return Err(MintFault::TooLate(order.until));
        }
        self.sign(&Wanted {
            bearer: &order.bearer,
            scopes: &order.scopes,
            only: &order.only,
            issued,
            expires,
        })
    }

    fn sign(&self, wanted: &Wanted<'_>) -> Result<Minted, MintFault> {
        let id = random_id().map_err(MintFault::Random)?;
        let registry = self.registry.to_string();
        let mut can = wanted.scopes.can.clone();
        can.sort_unstable();
        can.dedup();
        let (user_id, job) = match wanted.bearer {
            Actor::Local(_) => (None, None),
            Actor::Person(person) => (Some(person.id), None),
            Actor::Job(job) => (None, Some(JobClaim::of(job))),
        };
        let claims = Claims {
            iss: &registry,
            aud: &registry,
            sub: wanted.bearer.name(),
            iat: wanted.issued.as_second(),
            exp: wanted.expires.as_second(),
            jti: id,
            can,
            crates: &wanted.scopes.crates,
            user_id,
            job,
            vers: wanted.only.version.as_ref(),
            cksum: wanted.only.cksum.as_ref(),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.keys.signing_id().to_string());
        let token = jsonwebtoken::encode(&header, &claims, self.keys.signing_key())
            .map_err(MintFault::Sign)?;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(MintFault::TooLong(token.len()));
        }
        Ok(Minted {
            token: Secret::new(token),
            id,
            key: self.keys.signing_id().clone(),
            issued: wanted.issued,
            expires: wanted.expires,
        })
    }
}

impl JobClaim {
    fn of(job: &Job) -> Self {
        Self {
            repository_id: job.repository_id,
            workflow: job.workflow.clone(),
            run: job.run.clone(),
            commit: job.commit.clone(),
        }
    }
}

fn whole_seconds(secs: i64) -> Result<Timestamp, MintFault> {
    Timestamp::from_second(secs).map_err(|_| MintFault::Calendar)
}

fn random_id() -> Result<TokenId, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(TokenId::from(bytes))
}
