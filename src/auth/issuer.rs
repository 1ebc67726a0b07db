//! Minting tokens.

use std::sync::Arc;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header};
use serde::Serialize;
use thiserror::Error;

use super::{OrderFault, Secret, TOKEN_BYTES_MAX, TokenKeys, TokenOrder};
use crate::domain::{Can, CrateScope, RegistryId, TokenId};

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
    sub: &'a str,
    iat: i64,
    exp: i64,
    jti: TokenId,
    can: Vec<Can>,
    crates: &'a [CrateScope],
}

impl Issuer {
    /// An issuer for the registry with this id.
    pub fn new(registry: RegistryId, keys: Arc<TokenKeys>) -> Self {
        Self { registry, keys }
    }

    /// Mints a token, good from `now` on.
    pub fn mint(&self, order: &TokenOrder, now: Timestamp) -> Result<Minted, MintFault> {
        order.check()?;
        let iat = now.as_second();
        let moment = |secs| Timestamp::from_second(secs).map_err(|_| MintFault::Calendar);
        let (issued, expires) = (moment(iat)?, moment(iat + order.lifetime.as_secs())?);
        let id = random_id().map_err(MintFault::Random)?;
        let registry = self.registry.to_string();
        let mut can = order.scopes.can.clone();
        can.sort_unstable();
        can.dedup();
        let claims = Claims {
            iss: &registry,
            aud: &registry,
            sub: order.login.as_str(),
            iat,
            exp: expires.as_second(),
            jti: id,
            can,
            crates: &order.scopes.crates,
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
            issued,
            expires,
        })
    }
}

fn random_id() -> Result<TokenId, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(TokenId::from(bytes))
}
