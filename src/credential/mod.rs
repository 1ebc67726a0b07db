//! What Cargo asks for a token: `cargo-credential-sidecargo`.
//!
//! `cargo login` signs in at the registry's forge with a browser (`sign_in.rs`, `loopback.rs`) and keeps the refresh token
//! (`store.rs`). For each operation that gets an id_token of the moment, which the registry exchanges for a token of
//! fifteen minutes that is for this operation alone (`registry.rs`).
//!
//! What must stay true: a secret stands in no argument, no message and no file but the one for its owner alone; and a
//! refresh token is sent to the forge that gave it, whatever the registry says later.

mod browser;
mod fault;
mod loopback;
mod protocol;
mod registry;
mod requests;
mod sign_in;
mod store;

use std::io::{self, BufRead, Read, Write};
use std::path::PathBuf;

use fault::Fault;
use protocol::{Action, Answer, Given, Question};
use registry::Registry;
use store::{Session, Store};

/// What somebody sees who runs the program by hand.
pub const FOR_CARGO: &str = "cargo-credential-sidecargo is run by Cargo: name it as `credential-provider` of a registry in .cargo/config.toml, and use `cargo login`, `cargo publish` and the others";
/// The longest question that is read, in bytes.
const QUESTION_BYTES_MAX: u64 = 64 * 1024;

/// What the environment says.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The folder in which sessions are kept.
    pub folder: Option<PathBuf>,
    /// The variable `BROWSER`.
    pub browser: Option<String>,
}

impl Settings {
    /// As it is set for this process: beside Cargo's own credentials.
    pub fn of_environment() -> Self {
        let path = |name| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty());
            value.map(PathBuf::from)
        };
        let home = path("CARGO_HOME").or_else(|| path("HOME").map(|home| home.join(".cargo")));
        Self {
            folder: home.map(|home| home.join("sidecargo")),
            browser: std::env::var("BROWSER").ok(),
        }
    }
}

/// Answers Cargo's questions until there are no more.
///
/// # Errors
/// Cargo speaks otherwise than it should, or does not listen.
pub fn serve(settings: &Settings, mut asked: impl BufRead, mut told: impl Write) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    writeln!(told, "{}", protocol::HELLO)?;
    told.flush()?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = asked.by_ref().take(QUESTION_BYTES_MAX);
        if bounded.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        // Nothing of a question is repeated: a token may stand in it.
        let answer = match serde_json::from_slice::<Question>(&line) {
            Ok(question) => runtime.block_on(answer(settings, question)),
            Err(_) => Err(Fault::Question),
        };
        writeln!(told, "{}", protocol::told(answer))?;
        told.flush()?;
    }
}

async fn answer(settings: &Settings, question: Question) -> Result<Answer, Fault> {
    let registry = Registry::of_index(&question.registry)?;
    let store = Store::new(settings.folder.as_deref(), &registry)?;
    match question.action {
        Action::Login { token: Some(token) } => {
            let _turn = store.turn()?;
            store.keep(&Session::Pasted { token })?;
            Ok(Answer::LoggedIn)
        }
        Action::Login { token: None } => {
            let session = sign_in::sign_in(&registry, settings.browser.as_deref()).await?;
            let turn = store.turn()?;
            store.keep(&session)?;
            drop(turn);
            eprintln!("You are signed in at {}.", registry.root());
            Ok(Answer::LoggedIn)
        }
        Action::Logout => {
            // A refresh that is under way keeps what comes with it.
            let _turn = store.turn()?;
            match store.remove()? {
                true => Ok(Answer::LoggedOut),
                false => Err(Fault::NotFound),
            }
        }
        Action::Get(operation) => match store.session()?.ok_or(Fault::NotFound)? {
            Session::Pasted { token } => Ok(Answer::Got(Given::for_everything(token))),
            Session::SignedIn { .. } => {
                let wanted = registry::wanted(&operation)?;
                let id_token = sign_in::fresh_id_token(&registry, &store).await?;
                let token = registry.exchange(&id_token, &wanted).await?;
                Ok(Answer::Got(Given::for_operation(&operation, token)))
            }
        },
        Action::Unknown => Err(Fault::NotSupported),
    }
}

#[cfg(test)]
mod tests;
