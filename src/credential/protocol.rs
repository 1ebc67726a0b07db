//! Cargo's protocol for programs that give it tokens, version 1: a line of JSON each.
//!
//! The [Cargo book](https://doc.rust-lang.org/cargo/reference/credential-provider-protocol.html) has it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::Fault;
use super::sign_in::claims;

/// What is said first: which versions are understood.
pub const HELLO: &str = r#"{"v":[1]}"#;

/// What Cargo asks.
#[derive(Deserialize)]
pub struct Question {
    pub registry: Asking,
    #[serde(flatten)]
    pub action: Action,
}

/// The registry for which it asks.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Asking {
    pub index_url: String,
    /// As it is called in the settings of Cargo.
    pub name: Option<String>,
}

/// What shall be done.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Action {
    Get(Operation),
    /// The token is one that was piped or named.
    Login {
        token: Option<String>,
    },
    Logout,
    #[serde(other)]
    Unknown,
}

/// For what a token is wanted.
#[derive(Deserialize)]
#[serde(tag = "operation", rename_all = "kebab-case")]
pub enum Operation {
    Read,
    Publish {
        name: String,
        vers: String,
        cksum: String,
    },
    Yank {
        name: String,
        vers: String,
    },
    Unyank {
        name: String,
        vers: String,
    },
    Owners {
        name: String,
    },
    #[serde(other)]
    Unknown,
}

/// What was done.
pub enum Answer {
    LoggedIn,
    LoggedOut,
    Got(Given),
}

/// A token, and how long Cargo may use it without asking again.
pub struct Given {
    token: String,
    keep: Keep,
    is_for_everything: bool,
}

enum Keep {
    Never,
    /// Until this second.
    Until(i64),
    Session,
}

impl Given {
    /// A token that was pasted: what it may do is not known here.
    pub fn for_everything(token: String) -> Self {
        Self {
            token,
            keep: Keep::Session,
            is_for_everything: true,
        }
    }

    /// A token that was made for this.
    pub fn for_operation(operation: &Operation, token: String) -> Self {
        let end = claims(&token).and_then(|claims| claims["exp"].as_i64());
        let keep = match (operation, end) {
            (Operation::Read, Some(end)) => Keep::Until(end),
            _ => Keep::Never,
        };
        Self {
            token,
            keep,
            is_for_everything: false,
        }
    }
}

/// An answer in the words of the protocol.
pub fn told(answer: Result<Answer, Fault>) -> Value {
    match answer {
        Ok(Answer::LoggedIn) => json!({"Ok": {"kind": "login"}}),
        Ok(Answer::LoggedOut) => json!({"Ok": {"kind": "logout"}}),
        Ok(Answer::Got(given)) => {
            let mut got = json!({
                "kind": "get",
                "token": given.token,
                "operation_independent": given.is_for_everything,
            });
            match given.keep {
                Keep::Never => got["cache"] = "never".into(),
                Keep::Session => got["cache"] = "session".into(),
                Keep::Until(second) => {
                    got["cache"] = "expires".into();
                    got["expiration"] = second.into();
                }
            }
            json!({ "Ok": got })
        }
        Err(Fault::OtherUrl) => json!({"Err": {"kind": "url-not-supported"}}),
        Err(Fault::NotFound) => json!({"Err": {"kind": "not-found"}}),
        Err(Fault::NotSupported) => json!({"Err": {"kind": "operation-not-supported"}}),
        Err(fault) => {
            json!({"Err": {"kind": "other", "message": fault.to_string(), "caused-by": []}})
        }
    }
}
