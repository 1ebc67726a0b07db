//! Why there is no token, in sentences that Cargo prints.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why there is no token.
#[derive(Debug, Error)]
pub enum Fault {
    /// Not the index of such a registry; Cargo may ask another program.
    #[error("this is not the index of a Sidecargo registry")]
    OtherUrl,
    /// Nobody has logged in; Cargo may ask another program.
    #[error("nobody is signed in")]
    NotFound,
    /// Something that this version does not know.
    #[error("this is not supported")]
    NotSupported,
    /// Not a question of the protocol.
    #[error("Cargo asks what this program does not understand; are they of versions that fit?")]
    Question,
    /// There is no folder.
    #[error("there is no folder to keep a sign-in in: set CARGO_HOME or HOME")]
    NoFolder,
    /// The system says no.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Others can read the secret.
    #[error(
        "others on this machine may read {}, which holds a secret; run `cargo logout` and `cargo login` again with this registry",
        .0.display()
    )]
    Exposed(PathBuf),
    /// Not what this program has written.
    #[error("{} is damaged; run `cargo login` again with this registry", .0.display())]
    Damaged(PathBuf),
    /// Nobody answers.
    #[error("{who} cannot be reached: {why}")]
    Unreachable { who: String, why: String },
    /// Somebody refuses.
    #[error("{who} refuses ({status}): {said}")]
    Refused {
        who: String,
        status: u16,
        said: String,
    },
    /// An answer that is none.
    #[error("{who} answers otherwise than it should: {what}")]
    Odd { who: String, what: &'static str },
    /// The registry does not sign in.
    #[error(
        "{said}; `cargo login` takes a token from a pipe, as in `cargo login --registry {name} < token`"
    )]
    NoSignIn { said: String, name: String },
    /// The port cannot be had.
    #[error("cannot listen on 127.0.0.1, where the browser is to bring the answer: {0}")]
    Listen(io::Error),
    /// Nobody came.
    #[error("nobody signed in within {minutes} minutes; run `cargo login` again")]
    TimedOut { minutes: u64 },
    /// The person or the forge said no.
    #[error("{forge} did not sign you in: {said}")]
    NotSignedIn { forge: String, said: String },
    /// The refresh token is not good any more.
    #[error(
        "{forge} does not know your sign-in any more ({said}); run `cargo login --registry {name}` again"
    )]
    SignedOut {
        forge: String,
        said: String,
        name: String,
    },
    /// The machine has no randomness.
    #[error("the system gave no random bytes")]
    Random,
}
