//! The keys with which the forge signs what it says of its people and jobs.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::Mutex;

use super::client::Bytes;
use super::{Forge, ForgeFault, Showing};
use crate::domain::harmless;

/// The most keys of an issuer; a forge has one.
const KEYS_MAX: usize = 32;
/// How much of the name of another issuer is repeated, in characters.
const ISSUER_CHARS_MAX: usize = 200;
/// The longest name of a key, in bytes.
const KID_BYTES_MAX: usize = 256;

/// The algorithms with which an issuer may sign: those whose verifying key cannot sign.
const ALGORITHMS: [(KeyAlgorithm, Algorithm, &str); 9] = [
    (KeyAlgorithm::RS256, Algorithm::RS256, "RS256"),
    (KeyAlgorithm::RS384, Algorithm::RS384, "RS384"),
    (KeyAlgorithm::RS512, Algorithm::RS512, "RS512"),
    (KeyAlgorithm::PS256, Algorithm::PS256, "PS256"),
    (KeyAlgorithm::PS384, Algorithm::PS384, "PS384"),
    (KeyAlgorithm::PS512, Algorithm::PS512, "PS512"),
    (KeyAlgorithm::ES256, Algorithm::ES256, "ES256"),
    (KeyAlgorithm::ES384, Algorithm::ES384, "ES384"),
    (KeyAlgorithm::EdDSA, Algorithm::EdDSA, "EdDSA"),
];

/// Why an issuer's key is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IssuerFault {
    /// The forge did not answer.
    #[error(transparent)]
    Forge(#[from] ForgeFault),
    /// It has no keys at all for this.
    #[error(
        "this forge signs no such tokens, for it tells no keys of theirs; use an access token, or in a job of its CI the job's own token"
    )]
    SignsNothing,
    /// It signs with a secret instead of a key.
    #[error(
        "the forge signs with a secret that it shares (HS256); an administrator has to set JWT_SIGNING_ALGORITHM to RS256 or ES256, until then use an access token"
    )]
    Symmetric,
    /// It is another issuer than the configured one.
    #[error(
        "the forge says that it is another issuer than this registry expects; its operator must set `forge.issuer` to the forge's ROOT_URL"
    )]
    OtherIssuer,
    /// It is the configured one, and signs under another name.
    #[error(
        "the forge signs as `{0}` and not as its ROOT_URL, which no registry can tell from another forge; an administrator has to take JWT_CLAIM_ISSUER out of its section `[oauth2]`, until then use an access token"
    )]
    ClaimsAnother(String),
    /// It has no key of this name.
    #[error("the token is signed with a key that the forge does not have; get a new one")]
    UnknownKey,
}

/// A key of an issuer and how it is used.
pub struct VerifyingKey {
    algorithm: Algorithm,
    name: &'static str,
    key: DecodingKey,
}

/// How often keys are asked for.
#[derive(Debug, Clone, Copy)]
pub struct KeyPatience {
    /// How long keys are believed before they are asked for again.
    pub fresh: Duration,
    /// How long nothing is asked after the last question, whatever key a token names.
    pub pause: Duration,
}

impl Default for KeyPatience {
    fn default() -> Self {
        Self {
            fresh: Duration::from_secs(600),
            pause: Duration::from_secs(10),
        }
    }
}

/// The keys of one issuer: asked for when they are needed, and kept.
pub struct IssuerKeys {
    issuer: String,
    /// The base URL of the forge, as it calls itself.
    root: String,
    /// Relative to it.
    discovery: String,
    patience: KeyPatience,
    known: ArcSwapOption<Known>,
    /// The last question: one at a time.
    asked: Mutex<Option<Asked>>,
}

struct Asked {
    at: Instant,
    /// What came of it, if it was no answer.
    fault: Option<IssuerFault>,
}

struct Known {
    keys: HashMap<String, Arc<VerifyingKey>>,
    is_symmetric: bool,
    since: Instant,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl VerifyingKey {
    /// Whether the signature is that of the message; `algorithm` is what the token says it is signed with.
    pub fn verifies(&self, algorithm: &str, message: &[u8], signature: &str) -> bool {
        let verdict =
            || jsonwebtoken::crypto::verify(signature, message, &self.key, self.algorithm);
        algorithm == self.name && matches!(verdict(), Ok(true))
    }

    /// The key, unless it is one that we do not use.
    fn of(jwk: &Value) -> Option<(String, Self)> {
        let text = |name| jwk.get(name).and_then(Value::as_str);
        let kid = text("kid").filter(|kid| kid.len() <= KID_BYTES_MAX)?;
        if text("use").is_some_and(|used| used != "sig") {
            return None;
        }
        let jwk: Jwk = serde_json::from_value(jwk.clone()).ok()?;
        let algorithm = jwk.common.key_algorithm?;
        let known = ALGORITHMS.iter().find(|(known, ..)| *known == algorithm);
        let (_, algorithm, name) = *known?;
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let key = Self {
            algorithm,
            name,
            key,
        };
        Some((kid.to_owned(), key))
    }
}

impl IssuerKeys {
    /// The keys of `issuer`, of a forge that calls itself `root`; its discovery document is at a path below that.
    pub fn new(
        issuer: String,
        root: String,
        discovery: impl Into<String>,
        patience: KeyPatience,
    ) -> Self {
        Self {
            issuer,
            root,
            discovery: discovery.into(),
            patience,
            known: ArcSwapOption::empty(),
            asked: Mutex::new(None),
        }
    }

    /// Who signs.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The key of this name.
    ///
    /// Old ones hold as long as the forge cannot be asked. A name that is not known is asked for, but not at every
    /// token that somebody makes up.
    pub async fn key(&self, kid: &str, forge: &Forge) -> Result<Arc<VerifyingKey>, IssuerFault> {
        if let Some(key) = self.fresh(kid) {
            return Ok(key);
        }
        let mut asked = self.asked.lock().await;
        // Somebody may have asked while this waited.
        if let Some(key) = self.fresh(kid) {
            return Ok(key);
        }
        let is_allowed = { asked.as_ref() }.is_none_or(|it| it.at.elapsed() >= self.patience.pause);
        if is_allowed {
            let told = self.ask(forge).await;
            let fault = told.map(|known| self.known.store(Some(Arc::new(known))));
            let (at, fault) = (Instant::now(), fault.err());
            *asked = Some(Asked { at, fault });
        }
        if let Some(key) = self.kept(kid) {
            return Ok(key);
        }
        let fault = asked.as_ref().and_then(|asked| asked.fault.clone());
        Err(fault.unwrap_or_else(|| self.missing()))
    }

    /// Whether the forge is this issuer and has a key that we use.
    pub async fn check(&self, forge: &Forge) -> Result<(), IssuerFault> {
        let known = self.ask(forge).await?;
        match known.keys.is_empty() {
            true if known.is_symmetric => Err(IssuerFault::Symmetric),
            true => Err(IssuerFault::UnknownKey),
            false => Ok(()),
        }
    }

    fn fresh(&self, kid: &str) -> Option<Arc<VerifyingKey>> {
        let known = self.known.load();
        let known = known.as_ref()?;
        if known.since.elapsed() >= self.patience.fresh {
            return None;
        }
        known.keys.get(kid).cloned()
    }

    fn kept(&self, kid: &str) -> Option<Arc<VerifyingKey>> {
        self.known.load().as_ref()?.keys.get(kid).cloned()
    }

    fn missing(&self) -> IssuerFault {
        match &*self.known.load() {
            Some(known) if known.is_symmetric => IssuerFault::Symmetric,
            _ => IssuerFault::UnknownKey,
        }
    }

    async fn ask(&self, forge: &Forge) -> Result<Known, IssuerFault> {
        let answer = forge.get(&self.discovery, Showing::Nobody, Bytes::All);
        let answer = answer.await.map_err(|fault| match fault {
            ForgeFault::NotFound => IssuerFault::SignsNothing,
            fault => fault.into(),
        });
        let discovery: Discovery = answer?.json()?;
        // Only at the forge itself, where we reach it: the token says nothing of where its key is, and the forge nothing
        // of others.
        let path = discovery.jwks_uri.strip_prefix(&self.root);
        let path = path.and_then(|path| path.strip_prefix('/'));
        let Some(path) = path else {
            return Err(IssuerFault::OtherIssuer);
        };
        if discovery.issuer != self.issuer {
            let issuer = harmless(&discovery.issuer, ISSUER_CHARS_MAX);
            return Err(IssuerFault::ClaimsAnother(issuer));
        }
        let answer = forge.get(path, Showing::Nobody, Bytes::All).await?;
        let set: KeySet = answer.json()?;
        let is_symmetric = |jwk: &Value| jwk.get("kty").and_then(Value::as_str) == Some("oct");
        let keys = set.keys.iter().take(KEYS_MAX).filter_map(VerifyingKey::of);
        Ok(Known {
            keys: keys.map(|(kid, key)| (kid, Arc::new(key))).collect(),
            is_symmetric: set.keys.iter().any(is_symmetric),
            since: Instant::now(),
        })
    }
}

impl fmt::Debug for IssuerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerKeys")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
