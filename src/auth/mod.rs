//! Who is calling, and what their token lets them do.
//!
//! What must stay true: a token's text stands in no error, log or `Debug` output.

mod credentials;
mod secret;

pub use credentials::{AUTHORIZATION_BYTES_MAX, CredentialsFault, Malformed, token_from_header};
pub use secret::Secret;
