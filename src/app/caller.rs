//! Who asks for a change.

use std::sync::Arc;

use jiff::Timestamp;

use super::App;
use crate::auth::{AuthFault, Gate, Guest, NotPermitted, TokenFault};
use crate::domain::{Can, Cksum, CrateName, CrateVersion, Grant, PlainText, Standing};
use crate::index::{Action, Change};

/// Somebody who proved who they are, and the request by which they ask.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who it is.
    pub visitor: Visitor,
    /// The request, as the log names it.
    pub request_id: PlainText,
}

/// Whose token it is.
#[derive(Debug, Clone)]
pub enum Visitor {
    /// One of this registry.
    Local(Arc<Grant>),
    /// One of the forge, which decides for each change.
    Guest(Arc<Gate>, Box<Guest>),
    /// One of this registry that speaks for a guest from the forge: both decide.
    Minted(Arc<Grant>, Arc<Gate>, Box<Guest>),
}

impl Caller {
    /// Whether the token covers the action where no crate is concerned; what the forge allows is asked later.
    pub fn require(&self, can: Can) -> Result<(), NotPermitted> {
        match &self.visitor {
            Visitor::Local(grant) | Visitor::Minted(grant, ..) => grant.require(can),
            Visitor::Guest(..) => Ok(()),
        }
    }

    /// Whether the token covers the action on `krate`; what the forge allows is asked later.
    pub fn require_on(&self, can: Can, krate: &CrateName) -> Result<(), NotPermitted> {
        match &self.visitor {
            Visitor::Local(grant) | Visitor::Minted(grant, ..) => grant.require_on(can, krate),
            Visitor::Guest(..) => Ok(()),
        }
    }

    /// Whether the token covers this version of its crate, and the file if one is concerned.
    pub fn require_release(
        &self,
        version: &CrateVersion,
        cksum: Option<&Cksum>,
    ) -> Result<(), NotPermitted> {
        match &self.visitor {
            Visitor::Local(grant) | Visitor::Minted(grant, ..) => {
                grant.require_release(version, cksum)
            }
            Visitor::Guest(..) => Ok(()),
        }
    }

    /// What the caller asks of the index at this moment.
    pub fn asks(&self, by: Standing, at: Timestamp, action: Action) -> Change {
        Change {
            action,
            by,
            request_id: self.request_id.clone(),
            at,
        }
    }
}

impl App {
    /// As [`App::authenticate`]; a key that is not known is looked for first, because another server may have made it.
    pub async fn authenticate_by_any_key(
        &self,
        header: Option<&[u8]>,
    ) -> Result<Arc<Grant>, AuthFault> {
        match self.authenticate(header) {
            Err(AuthFault::Token(TokenFault::UnknownKey(id)))
                if self.key_search.find(&id, &self.verifier).await =>
            {
                self.authenticate(header)
            }
            done => done,
        }
    }
}
