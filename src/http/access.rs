//! Who may read, and what a client hears that may not.
//!
//! A handler gets the index only from here, so that none forgets to ask.

use std::fmt::Display;
use std::sync::Arc;

use jiff::Timestamp;
use tracing::{Span, field};
use warp::http::header::{self, HeaderValue};

use super::context::Response;
use super::error::ApiError;
use super::request::Request;
use crate::app::{App, Visitor};
use crate::auth::{AuthFault, Gate, Guest, TokenFault, token_from_header};
use crate::domain::{Can, Grant, Secret, Visibility};
use crate::index::Snapshot;

/// How a client is asked for a token; it sends none before it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// As the [Cargo book](https://doc.rust-lang.org/cargo/reference/registry-authentication.html) has it,
    /// with the address of the page that tells how to get one.
    Cargo,
    /// As git understands it (RFC 7617): the token is the password of whatever user.
    Basic,
}

impl Challenge {
    fn header(self, app: &App) -> HeaderValue {
        let name = &app.config.name;
        let text = match self {
            Self::Cargo => {
                let root = app.public_url.registry_root(name);
                format!("Cargo login_url=\"{root}/me\"")
            }
            Self::Basic => format!("Basic realm=\"{name}\""),
        };
        HeaderValue::from_str(&text).expect("a name and a URL are plain ASCII")
    }
}

impl Request {
    /// The index as it is now, if the sender may read it.
    ///
    /// A private registry is read with any token of it that may `read`, or of whoever may read the index repository on
    /// the forge. The crates that a token is limited to do not matter: a clone of the index cannot leave one out, so
    /// the registry as a whole is read or not. For a token of our own nothing is waited for,
    /// unless another server has signed it with a new key.
    ///
    /// # Errors
    /// 401 with the challenge, or 403 for a token that allows other things.
    pub async fn read(&self, challenge: Challenge) -> Result<Arc<Snapshot>, ApiError> {
        let snapshot = self.app.index.snapshot();
        if self.app.visibility(&snapshot) == Visibility::Private {
            match self.grant().await {
                Ok(grant) => {
                    grant.require(Can::Read)?;
                    let read = self.read_behind(&grant).await;
                    read.map_err(|fault| self.refusal(fault, challenge))?;
                }
                Err(fault) => {
                    let read = self.read_as_guest(fault).await;
                    read.map_err(|fault| self.refusal(fault, challenge))?;
                }
            }
        }
        Ok(snapshot)
    }

    /// Who asks for a change, if their token is good.
    ///
    /// # Errors
    /// 401 with the challenge, and what the forge has against a token of its own.
    pub async fn visitor(&self, challenge: Challenge) -> Result<Visitor, ApiError> {
        let visitor = match self.grant().await {
            Ok(grant) => self.behind(&grant).map(|behind| match behind {
                Some((gate, guest)) => Visitor::Minted(grant, gate, Box::new(guest)),
                None => Visitor::Local(grant),
            }),
            Err(fault) => self.guest(fault).await,
        };
        visitor.map_err(|fault| self.refusal(fault, challenge))
    }

    /// What a token of this registry allows.
    async fn grant(&self) -> Result<Arc<Grant>, AuthFault> {
        let grant = self
            .app
            .authenticate_by_any_key(self.authorization())
            .await?;
        self.is_from(grant.bearer.name().as_str());
        Ok(grant)
    }

    /// The guest for whom a token of ours speaks, and who decides about them.
    fn behind(&self, grant: &Grant) -> Result<Option<(Arc<Gate>, Guest)>, AuthFault> {
        let Some(guest) = Guest::behind(grant) else {
            return Ok(None);
        };
        let gate = self.app.gate.clone().ok_or(TokenFault::NoForge)?;
        Ok(Some((gate, guest)))
    }

    /// The gate and the token, if what is no token of ours can be one of the forge.
    fn to_gate(&self, fault: AuthFault) -> Result<(&Arc<Gate>, Secret), AuthFault> {
        match (&self.app.gate, &fault) {
            (Some(gate), AuthFault::Token(ours)) if Gate::may_know(ours) => {
                Ok((gate, token_from_header(self.authorization())?))
            }
            _ => Err(fault),
        }
    }

    async fn read_behind(&self, grant: &Grant) -> Result<(), AuthFault> {
        if let Some((gate, guest)) = self.behind(grant)? {
            gate.may_read_as(&guest, Timestamp::now()).await?;
        }
        Ok(())
    }

    async fn read_as_guest(&self, fault: AuthFault) -> Result<(), AuthFault> {
        let (gate, token) = self.to_gate(fault)?;
        let peer = self.asked.peer.0.ip();
        gate.may_read(&token, peer, Timestamp::now()).await?;
        self.is_from("a reader of the forge");
        Ok(())
    }

    async fn guest(&self, fault: AuthFault) -> Result<Visitor, AuthFault> {
        let (gate, token) = self.to_gate(fault)?;
        let peer = self.asked.peer.0.ip();
        let guest = gate.guest(&token, peer, Timestamp::now()).await?;
        guest.must_not_be_spent(&self.app.spent).await?;
        self.is_from(&guest);
        Ok(Visitor::Guest(Arc::clone(gate), Box::new(guest)))
    }

    /// It is known now who asks.
    fn is_from(&self, principal: impl Display) {
        Span::current().record("principal", field::display(principal));
        self.asked.sender_is_known();
    }

    fn authorization(&self) -> Option<&[u8]> {
        let header = self.asked.headers.get(header::AUTHORIZATION);
        header.map(HeaderValue::as_bytes)
    }

    fn refusal(&self, fault: AuthFault, challenge: Challenge) -> ApiError {
        ApiError::from(fault).with_challenge(challenge.header(&self.app))
    }
}

/// The answer, kept out of caches that several people share if the registry is private.
pub fn keep_private(app: &App, mut response: Response) -> Response {
    let visibility = app.visibility(&app.index.snapshot());
    if visibility == Visibility::Private {
        let caching = response.headers().get(header::CACHE_CONTROL);
        let caching = private_caching(caching.and_then(|caching| caching.to_str().ok()));
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, caching);
    }
    response
}

/// The same rule for the one who asked, and for nobody else (RFC 9111, 5.2.2.7).
fn private_caching(caching: Option<&str>) -> HeaderValue {
    // What the index says of its files, so of most answers.
    if let None | Some("no-cache") = caching {
        return HeaderValue::from_static("private, no-cache");
    }
    let rest: Vec<&str> = caching
        .unwrap_or("no-cache")
        .split(',')
        .map(str::trim)
        .filter(|directive| *directive != "public")
        .collect();
    let text = format!("private, {}", rest.join(", "));
    HeaderValue::from_str(&text).expect("it is made of the directives of a header")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private_is_cached_by_its_reader_alone() {
        for (caching, private) in [
            (None, "private, no-cache"),
            (Some("no-cache"), "private, no-cache"),
            (
                Some("public, max-age=1, immutable"),
                "private, max-age=1, immutable",
            ),
        ] {
            assert_eq!(private_caching(caching), private);
        }
    }
}
