//! Who is calling, and what their token lets them do.
//!
//! A request goes through here in three steps: [`token_from_header`] finds the token, [`Verifier::verify`] turns it
//! into a [`Grant`], [`Grant::require`] and [`Grant::require_on`] say whether that covers the action.
//! [`Issuer`] is the other end: it mints the tokens of a registry that has no forge.
//!
//! With a forge, a token that is not ours is the [`Gate`]'s: [`Gate::may_read`] and [`Gate::guest`] say who it is,
//! [`Gate::standing`] all that is to be known before they change something.
//! What the forge signed can be exchanged for a short token of ours that speaks for the same guest: [`Gate::vouched`] says
//! for whom, [`Issuer::mint_for_guest`] makes it, and [`Guest::behind`] is the guest again when it is used. [`Spent`] sees
//! to it that a job's is exchanged once.
//!
//! What must stay true: a token's text stands in no error, log or `Debug` output, and nothing in a token is believed
//! before its signature is verified or the forge has said so.
//! Owners of crates are not known here; a token only narrows what its person may do.

mod cache;
mod credentials;
mod gate;
mod id_token;
mod issuer;
mod key_search;
mod keys;
mod order;
mod permission;
mod remembered;
mod spent;
mod standing;
mod strangers;
mod verify;

pub use credentials::{AUTHORIZATION_BYTES_MAX, CredentialsFault, Malformed, token_from_header};
pub use gate::{Gate, GateFault, Guest, Vouched};
pub use id_token::IdTokenFault;
pub use issuer::{Issuer, MintFault, Minted};
pub use key_search::KeySearch;
pub use keys::{KeyFault, KeyId, KeyIdFault, TokenKeys};
pub use order::{CRATE_SCOPES_MAX, GUEST_MAX, GuestOrder, Lifetime, OrderFault, TokenOrder};
pub use permission::{AuthFault, NotPermitted};
pub use remembered::Holds;
pub use spent::{GIVEN_BACK, Spent, SpentFault};
pub use standing::Wish;
#[cfg(any(test, fuzzing))]
pub use verify::fuzzing::token;
pub use verify::{TOKEN_BYTES_MAX, TokenFault, Verifier};

pub use crate::domain::Secret;

#[cfg(doc)]
use crate::domain::Grant;

/// What the forge is called by others.
#[derive(Debug, Clone)]
pub struct IssuerNames {
    /// Its base URL as it calls itself, with which it signs.
    pub root: String,
    /// Our number as an application there.
    pub client_id: Option<String>,
    /// What jobs say that their tokens are for.
    pub audience: String,
}
