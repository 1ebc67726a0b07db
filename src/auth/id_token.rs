//! What the forge signs of its people and of its jobs.
//!
//! Both are JWTs (RFC 7519) of asymmetric algorithms (RFC 8725, 3.1), each of an issuer of its own, and the issuer is
//! the configured forge: nothing in a token says where its key is looked for.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::domain::{Login, Person, PlainText, RepositoryPath, Secret};
use crate::forge::{Forge, IssuerFault, IssuerKeys};

/// How far the clock of the forge may be from ours, in seconds.
const LEEWAY_SECS: i64 = 60;
/// How old a token may be that changes something, in seconds.
const WRITE_AGE_SECS: i64 = 600;
/// The most groups of a person that are read.
const GROUPS_MAX: usize = 1_000;

/// Why a token of the forge is not good.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdTokenFault {
    /// Not a JWT at all, or none of the forge's.
    #[error(
        "this is neither a token of this registry nor one of its forge; copy the whole token again"
    )]
    Foreign,
    /// A JWT for the forge's own API.
    #[error(
        "this is an OAuth {0} token, which says neither who you are nor for whom it is; use an id_token or an access token of your account instead"
    )]
    OAuth(&'static str),
    /// Signed with a secret.
    #[error(
        "the token is signed with a shared secret; the forge must sign with a key: its administrator can set JWT_SIGNING_ALGORITHM to RS256 or ES256, until then use an access token"
    )]
    Symmetric,
    /// The key is not to be had.
    #[error(transparent)]
    Issuer(#[from] IssuerFault),
    /// The signature does not fit.
    #[error("the signature of the token is wrong; copy the whole token again, or get a new one")]
    Signature,
    /// Another signed it, or says so.
    #[error(
        "the claim `iss` of the token names neither this registry's forge nor the CI of that; get one there"
    )]
    OtherIssuer,
    /// It is for another application.
    #[error(
        "the claim `aud` of the token must be `{0}` and nothing else; get one for this registry"
    )]
    OtherAudience(String),
    /// The registry is no application of the forge.
    #[error(
        "this registry takes no id_tokens of people: `forge.client_id` is not configured; use an access token"
    )]
    NoClient,
    /// A claim is not there, or not of its form.
    #[error("the claim `{0}` of the token is missing or not of the right form; get a new one")]
    Claim(&'static str),
    /// Its time is over.
    #[error("the token expired at {0}, as its claim `exp` says; get a new one")]
    Expired(Timestamp),
    /// Its time has not begun.
    #[error(
        "the token is not good before {0}, as its claims `iat` and `nbf` say; check the clocks of this server and of the forge"
    )]
    NotYetValid(Timestamp),
    /// Too old to change something.
    #[error(
        "the token was made at {0}, as its claim `iat` says; to change something it must be less than ten minutes old"
    )]
    TooOld(Timestamp),
    /// A job that runs what a stranger may have proposed.
    #[error(
        "the claim `event_name` of the token is a pull request's, whose jobs may not publish; run it for a tag or a branch"
    )]
    PullRequest,
    /// It was exchanged for a token of ours.
    #[error(
        "this id-token (its claim `jti`) was exchanged before and is good for nothing else; use the token that it was exchanged for, or let the job get another"
    )]
    Spent,
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) who: SignedFor,
    pub(super) expires: Timestamp,
    /// By what it is known again, however it is written.
    pub(super) once: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SignedFor {
    /// A person, and organisations and teams: `acme`, `acme:platform`.
    Person(Person, Vec<PlainText>),
    /// A job.
    Job(SignedJob),
}

/// A job, whose repository may come without its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SignedJob {
    pub(super) repository: RepositoryPath,
    pub(super) repository_id: Option<u64>,
    /// As the forge names it, which may be more than a commit can say.
    pub(super) workflow: String,
    pub(super) run: PlainText,
    pub(super) commit: PlainText,
}

/// What a token is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Read,
    Write,
}

/// The issuers of one forge, and what we are to them.
#[derive(Debug)]
pub(super) struct Issuers {
    pub(super) people: IssuerKeys,
    pub(super) jobs: IssuerKeys,
    /// Our number as an application of the forge.
    pub(super) client_id: Option<String>,
    /// What a job says that its token is for.
    pub(super) audience: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

impl Issuers {
    /// Verifies a token at the moment `now`.
    pub(super) async fn verify(
        &self,
        token: &Secret,
        wanted: Wanted,
        now: Timestamp,
        forge: &Forge,
    ) -> Result<Signed, IdTokenFault> {
        let (message, signature) = token.expose().rsplit_once('.').ok_or(FOREIGN)?;
        let (header, claims) = message.split_once('.').ok_or(FOREIGN)?;
        let header: Header = json_part(header)?;
        let claims = Claims(json_part(claims)?);
        claims.refuse_oauth()?;
        let issuer: String = claims.get("iss").map_err(|_| FOREIGN)?;
        let is_job = match &issuer {
            issuer if issuer == self.people.issuer() => false,
            issuer if issuer == self.jobs.issuer() => true,
            _ => return Err(IdTokenFault::OtherIssuer),
        };
        if header.alg.starts_with("HS") {
            return Err(IdTokenFault::Symmetric);
        }
        if header.crit.is_some() || header.typ.is_some_and(|typ| typ != "JWT") {
            return Err(FOREIGN);
        }
        let kid = header.kid.ok_or(FOREIGN)?;
        let keys = if is_job { &self.jobs } else { &self.people };
        let key = keys.key(&kid, forge).await?;
        if !key.verifies(&header.alg, message.as_bytes(), signature) {
            return Err(IdTokenFault::Signature);
        }
        claims.must_be_for(match is_job {
            true => &self.audience,
            false => self.client_id.as_ref().ok_or(IdTokenFault::NoClient)?,
        })?;
        let expires = claims.check_times(wanted, now)?;
        let who = match is_job {
            true => SignedFor::Job(claims.job()?),
            false => claims.person()?,
        };
        let once = claims.once(&issuer, message)?;
        Ok(Signed { who, expires, once })
    }
}

const FOREIGN: IdTokenFault = IdTokenFault::Foreign;

struct Claims(Map<String, Value>);

impl Claims {
    fn get<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, IdTokenFault> {
        let value = self.0.get(name).cloned();
        let value = value.ok_or(IdTokenFault::Claim(name))?;
        serde_json::from_value(value).map_err(|_| IdTokenFault::Claim(name))
    }

    fn parse<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, IdTokenFault> {
        let text: String = self.get(name)?;
        text.parse().map_err(|_| IdTokenFault::Claim(name))
    }

    fn moment(&self, name: &'static str) -> Result<Timestamp, IdTokenFault> {
        let secs = self.get(name)?;
        Timestamp::from_second(secs).map_err(|_| IdTokenFault::Claim(name))
    }

    /// All tokens of the forge are signed with the same key: these two kinds would verify.
    fn refuse_oauth(&self) -> Result<(), IdTokenFault> {
        match (self.0.get("gnt"), self.0.get("tt").and_then(Value::as_i64)) {
            (_, Some(1)) => Err(IdTokenFault::OAuth("refresh")),
            (None, None) => Ok(()),
            _ => Err(IdTokenFault::OAuth("access")),
        }
    }

    /// For us and for nobody else.
    fn must_be_for(&self, audience: &str) -> Result<(), IdTokenFault> {
        let is_ours = match self.0.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(all)) => matches!(&**all, [Value::String(one)] if one == audience),
            _ => return Err(IdTokenFault::Claim("aud")),
        };
        match is_ours {
            true => Ok(()),
            false => Err(IdTokenFault::OtherAudience(audience.to_owned())),
        }
    }

    fn check_times(&self, wanted: Wanted, now: Timestamp) -> Result<Timestamp, IdTokenFault> {
        let (issued, expires) = (self.moment("iat")?, self.moment("exp")?);
        let secs = now.as_second();
        if secs >= expires.as_second().saturating_add(LEEWAY_SECS) {
            return Err(IdTokenFault::Expired(expires));
        }
        let begins = match self.0.contains_key("nbf") {
            true => self.moment("nbf")?.max(issued),
            false => issued,
        };
        if begins.as_second() > secs.saturating_add(LEEWAY_SECS) {
            return Err(IdTokenFault::NotYetValid(begins));
        }
        let age = secs.saturating_sub(issued.as_second());
        if wanted == Wanted::Write && age > WRITE_AGE_SECS {
            return Err(IdTokenFault::TooOld(issued));
        }
        Ok(expires)
    }

    /// By its id, or by what was signed: a signature can be written in two ways.
    fn once(&self, issuer: &str, message: &str) -> Result<[u8; 32], IdTokenFault> {
        if !self.0.contains_key("jti") {
            return Ok(Sha256::digest(message).into());
        }
        let id: PlainText = self.parse("jti")?;
        Ok(Sha256::digest(format!("{issuer} {}", id.as_str())).into())
    }

    fn person(&self) -> Result<SignedFor, IdTokenFault> {
        let login: Login = self.parse("preferred_username")?;
        let groups: Vec<String> = match self.0.contains_key("groups") {
            true => self.get("groups")?,
            false => Vec::new(),
        };
        if groups.len() > GROUPS_MAX {
            return Err(IdTokenFault::Claim("groups"));
        }
        let groups = groups.iter().filter_map(|group| group.parse().ok());
        let id = self.number("sub")?;
        Ok(SignedFor::Person(Person { login, id }, groups.collect()))
    }

    fn job(&self) -> Result<SignedJob, IdTokenFault> {
        let event: String = self.get("event_name")?;
        if event.starts_with("pull_request") {
            return Err(IdTokenFault::PullRequest);
        }
        let repository_id = match self.0.contains_key("repository_id") {
            true => Some(self.number("repository_id")?),
            false => None,
        };
        Ok(SignedJob {
            repository: self.parse("repository")?,
            repository_id,
            workflow: self.get("workflow")?,
            run: self.parse("run_id")?,
            commit: self.parse("sha")?,
        })
    }

    /// A number that is written as text, in its one form.
    fn number(&self, name: &'static str) -> Result<u64, IdTokenFault> {
        let text: String = self.get(name)?;
        match text.parse::<u64>() {
            Ok(number) if number > 0 && number.to_string() == text => Ok(number),
            _ => Err(IdTokenFault::Claim(name)),
        }
    }
}

fn json_part<T: DeserializeOwned>(part: &str) -> Result<T, IdTokenFault> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| FOREIGN)?;
    serde_json::from_slice(&json).map_err(|_| FOREIGN)
}
