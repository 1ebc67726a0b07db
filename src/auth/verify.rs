//! From the text of a token to what it grants.
//!
//! A token is a JWT (RFC 7519) signed with Ed25519 (RFC 8037). The algorithm is fixed here and only compared with the
//! header's, never chosen by it (RFC 8725, 3.1). All claims are required, and a claim that is not known is refused:
//! it could be a restriction.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use prometheus::IntCounter;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};
use thiserror::Error;

use super::cache::TokenCache;
use super::issuer::JobClaim;
use super::{AuthFault, CRATE_SCOPES_MAX, Issuer, KeyId, Secret, TokenKeys, token_from_header};
use crate::domain::{
    Actor, Can, CrateScope, Grant, Job, Only, Person, RegistryId, Scopes, TokenId,
};
use crate::measure;

/// The longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;

/// How far the clock of another machine that mints tokens may be ahead of ours, in seconds.
const LEEWAY_SECS: i64 = 60;
/// How many verified tokens are remembered.
const CACHE_ENTRIES_MAX: usize = 10_000;

/// Verifies the tokens of one registry.
///
/// A token that was good is remembered; whether it is still good is asked each time.
pub struct Verifier {
    registry: RegistryId,
    trust: ArcSwap<Trust>,
    measures: Measures,
}

/// What the verifier measures of itself.
#[derive(Debug, Clone)]
pub struct Measures {
    /// Tokens that were remembered.
    pub cache_hits: IntCounter,
    /// Tokens that were not, and had to be verified.
    pub cache_misses: IntCounter,
}

impl Measures {
    fn new() -> Self {
        Self {
            cache_hits: measure::count(
                "sidecargo_tokens_remembered_total",
                "Tokens that came and were remembered as verified.",
            ),
            cache_misses: measure::count(
                "sidecargo_tokens_verified_total",
                "Tokens that came and were not remembered, good ones and others.",
            ),
        }
    }
}

/// The keys and what was verified with them: one is never without the other.
struct Trust {
    keys: Arc<TokenKeys>,
    cache: TokenCache<Verified>,
}

/// Why a token is not good.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenFault {
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes; no token of this registry is")]
    TooLong,
    /// Not a JWT with the header that ours have.
    #[error("this is not a token of this registry; copy the whole token again, or get a new one")]
    NotOurs,
    /// Signed in a way that we never sign.
    #[error(
        "the token is not signed with Ed25519, as the tokens of this registry are; get a new one"
    )]
    Algorithm,
    /// No key has this id.
    #[error(
        "the token is signed with the key `{0}`, which this registry does not have; it belongs to another registry or its key was retired: get a new one"
    )]
    UnknownKey(KeyId),
    /// The signature does not fit the key and the text.
    #[error("the signature of the token is wrong; copy the whole token again, or get a new one")]
    Signature,
    /// Issuer or audience are not this registry.
    #[error("the token is for another registry; get one for this registry")]
    OtherRegistry,
    /// A claim is not there.
    #[error("the token lacks the claim `{0}`; get a new one")]
    MissingClaim(&'static str),
    /// A claim is not of the form that ours have.
    #[error("the claim `{0}` of the token is not of the right form; get a new one")]
    ClaimForm(&'static str),
    /// There is a claim of which it is not known what it allows or forbids.
    #[error(
        "the token holds claims that this server does not know; get one from this registry's own server"
    )]
    UnknownClaim,
    /// Its time is over.
    #[error("the token expired at {0}; get a new one")]
    Expired(Timestamp),
    /// It speaks for somebody whom nobody can be asked about.
    #[error(
        "the token stands for an account of a forge, but this registry has none now; get one of this registry"
    )]
    NoForge,
    /// It was revoked before its time.
    #[error("the token {0} was revoked; get a new one")]
    Revoked(TokenId),
    /// It was made for a guest, who gave it back.
    #[error("the token {0} was given back; get a new one")]
    GivenBack(TokenId),
    /// Its time has not begun.
    #[error(
        "the token is not good before {0}; check the clocks of this server and of the machine that made it"
    )]
    NotYetValid(Timestamp),
}

/// The header of a token; keys that do not matter to us are allowed (RFC 7515, 4).
#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    /// Extensions that must be understood (RFC 7515, 4.1.11): we understand none.
    crit: Option<IgnoredAny>,
}

/// A token whose signature and form are good.
#[derive(Debug, Clone)]
struct Verified {
    grant: Arc<Grant>,
    issued: Timestamp,
    expires: Timestamp,
}

impl Trust {
    fn in_keys(keys: Arc<TokenKeys>) -> Self {
        Self {
            keys,
            cache: TokenCache::new(CACHE_ENTRIES_MAX),
        }
    }
}

impl Verifier {
    /// A verifier for the registry with this id.
    pub fn new(registry: RegistryId, keys: Arc<TokenKeys>) -> Self {
        Self {
            registry,
            trust: ArcSwap::from_pointee(Trust::in_keys(keys)),
            measures: Measures::new(),
        }
    }

    /// Trusts these keys and no others from now on; what was remembered is verified again.
    pub fn use_keys(&self, keys: Arc<TokenKeys>) {
        self.trust.store(Arc::new(Trust::in_keys(keys)));
    }

    /// Whether the key is one of those.
    pub fn knows(&self, key: &KeyId) -> bool {
        self.trust.load().keys.verifying_key(key).is_some()
    }

    /// One who makes tokens with the key that signs now.
    pub fn issuer(&self) -> Issuer {
        Issuer::new(self.registry, Arc::clone(&self.trust.load().keys))
    }

    /// How many tokens are remembered.
    pub fn remembered(&self) -> usize {
        self.trust.load().cache.len()
    }

    /// What the verifier measures of itself.
    pub fn measures(&self) -> &Measures {
        &self.measures
    }

    /// Who sent the request with this `Authorization` header, and what may they do?
    pub fn authenticate(
        &self,
        header: Option<&[u8]>,
        now: Timestamp,
        is_revoked: &dyn Fn(&TokenId) -> bool,
    ) -> Result<Arc<Grant>, AuthFault> {
        let token = token_from_header(header)?;
        Ok(self.verify(&token, now, is_revoked)?)
    }

    /// What does the token grant at the moment `now`, to which `is_revoked` belongs?
    pub fn verify(
        &self,
        token: &Secret,
        now: Timestamp,
        is_revoked: &dyn Fn(&TokenId) -> bool,
    ) -> Result<Arc<Grant>, TokenFault> {
        if token.expose().len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::TooLong);
        }
        let trust = self.trust.load();
        if let Some(verified) = trust.cache.get(token) {
            self.measures.cache_hits.inc();
            return admit(verified, now, is_revoked);
        }
        self.measures.cache_misses.inc();
        let verified = self.verify_text(token.expose(), &trust.keys)?;
        let grant = admit(verified.clone(), now, is_revoked)?;
        trust.cache.insert(token, verified);
        Ok(grant)
    }

    /// Checks all that cannot change between two uses of the same token.
    fn verify_text(&self, token: &str, keys: &TokenKeys) -> Result<Verified, TokenFault> {
        let (message, signature) = token.rsplit_once('.').ok_or(TokenFault::NotOurs)?;
        let (header, claims) = message.split_once('.').ok_or(TokenFault::NotOurs)?;
        let header: Header = json_part(header)?;
        if header.alg != "EdDSA" {
            return Err(TokenFault::Algorithm);
        }
        if header.crit.is_some() || header.typ.is_some_and(|typ| typ != "JWT") {
            return Err(TokenFault::NotOurs);
        }
        let id: KeyId = header
            .kid
            .and_then(|kid| kid.parse().ok())
            .ok_or(TokenFault::NotOurs)?;
        let Some(key) = keys.verifying_key(&id) else {
            return Err(TokenFault::UnknownKey(id));
        };
        let verdict =
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, Algorithm::EdDSA);
        if !matches!(verdict, Ok(true)) {
            return Err(TokenFault::Signature);
        }
        self.read_claims(Claims(json_part(claims)?))
    }

    fn read_claims(&self, mut claims: Claims) -> Result<Verified, TokenFault> {
        for name in ["iss", "aud"] {
            let registry: String = claims.take(name)?;
            if registry.parse() != Ok(self.registry) {
                return Err(TokenFault::OtherRegistry);
            }
        }
        let bearer = claims.take_bearer()?;
        let token_id = claims.take("jti")?;
        let issued = claims.take_moment("iat")?;
        let expires = claims.take_moment("exp")?;
        let can: Vec<Can> = claims.take("can")?;
        let crates: Vec<CrateScope> = claims.take("crates")?;
        if crates.len() > CRATE_SCOPES_MAX {
            return Err(TokenFault::ClaimForm("crates"));
        }
        let only = Only {
            version: claims.take_if_there("vers")?,
            cksum: claims.take_if_there("cksum")?,
        };
        if !claims.0.is_empty() {
            return Err(TokenFault::UnknownClaim);
        }
        let grant = Arc::new(Grant {
            bearer,
            token_id,
            scopes: Scopes { can, crates },
            only,
        });
        Ok(Verified {
            grant,
            issued,
            expires,
        })
    }
}

/// Checks all that can change between two uses of the same token, so this is asked for remembered tokens too.
fn admit(
    verified: Verified,
    now: Timestamp,
    is_revoked: &dyn Fn(&TokenId) -> bool,
) -> Result<Arc<Grant>, TokenFault> {
    // "On or after" the moment of `exp` a token is not accepted (RFC 7519, 4.1.4).
    if now >= verified.expires {
        return Err(TokenFault::Expired(verified.expires));
    }
    if verified.issued.as_second() > now.as_second().saturating_add(LEEWAY_SECS) {
        return Err(TokenFault::NotYetValid(verified.issued));
    }
    if is_revoked(&verified.grant.token_id) {
        return Err(TokenFault::Revoked(verified.grant.token_id));
    }
    Ok(verified.grant)
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trust = self.trust.load();
        f.debug_struct("Verifier")
            .field("registry", &self.registry)
            .field("keys", &trust.keys)
            .field("cache", &trust.cache)
            .finish()
    }
}

/// The claims of a token, taken out one by one.
struct Claims(Map<String, Value>);

impl Claims {
    fn take<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, TokenFault> {
        let value = self.0.remove(name).ok_or(TokenFault::MissingClaim(name))?;
        serde_json::from_value(value).map_err(|_| TokenFault::ClaimForm(name))
    }

    fn take_if_there<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, TokenFault> {
        match self.0.contains_key(name) {
            true => self.take(name).map(Some),
            false => Ok(None),
        }
    }

    /// A name is the operator's word, unless the forge's number stands beside it.
    fn take_bearer(&mut self) -> Result<Actor, TokenFault> {
        if let Some(id) = self.take_if_there("user_id")? {
            let login = self.take("sub")?;
            return Ok(Actor::Person(Person { login, id }));
        }
        // By its names alone: a list would be read by the order in which they happen to be declared.
        let Some(job) = self.take_if_there::<Map<String, Value>>("job")? else {
            return Ok(Actor::Local(self.take("sub")?));
        };
        let job: JobClaim =
            serde_json::from_value(job.into()).map_err(|_| TokenFault::ClaimForm("job"))?;
        Ok(Actor::Job(Box::new(Job {
            repository: self.take("sub")?,
            repository_id: job.repository_id,
            workflow: job.workflow,
            run: job.run,
            commit: job.commit,
        })))
    }

    fn take_moment(&mut self, name: &'static str) -> Result<Timestamp, TokenFault> {
        let secs = self.take(name)?;
        Timestamp::from_second(secs).map_err(|_| TokenFault::ClaimForm(name))
    }
}

fn json_part<T: DeserializeOwned>(part: &str) -> Result<T, TokenFault> {
    let json = BASE64_URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenFault::NotOurs)?;
    // A list would be read too, by the order in which the fields happen to be declared.
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(TokenFault::NotOurs);
    }
    serde_json::from_slice(&json).map_err(|_| TokenFault::NotOurs)
}

#[cfg(test)]
mod tests;
