//! The server's own account at the forge.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderValue;

use super::ForgeFault;
use crate::config::{ForgeConfig, TOKEN_VARIABLE};
use crate::domain::Secret;

/// The longest token of the server's own account, in bytes.
const TOKEN_BYTES_MAX: usize = 4096;

/// Where the token of the server's own account is.
#[derive(Debug, Clone)]
pub enum Robot {
    /// There is no such account.
    None,
    /// In a file, which is read for each use: another token needs no restart.
    File(PathBuf),
    /// Given at the start.
    Token(Secret),
}

impl Robot {
    /// The account that the configuration, or the environment in its place, has a token of.
    pub fn of(config: &ForgeConfig) -> Self {
        match (&config.token_file, env::var(TOKEN_VARIABLE)) {
            (Some(file), _) => Self::File(file.clone()),
            (None, Ok(token)) => Self::Token(Secret::new(token)),
            (None, Err(_)) => Self::None,
        }
    }

    /// The token.
    ///
    /// # Errors
    /// `Robot`, with what is wrong.
    pub fn token(&self) -> Result<Secret, ForgeFault> {
        let text = match self {
            Self::None => return Err(missing()),
            Self::Token(token) => token.expose().clone(),
            Self::File(path) => read(path).map_err(|cause| {
                let file = path.display();
                ForgeFault::Robot(format!("`{file}` (`forge.token_file`): {cause}"))
            })?,
        };
        let token = text.trim();
        if token.is_empty() {
            return Err(missing());
        }
        let is_token = |byte: u8| byte.is_ascii_graphic();
        if token.len() > TOKEN_BYTES_MAX || !token.bytes().all(is_token) {
            let reason = "it is not one word of printable ASCII";
            return Err(ForgeFault::Robot(reason.to_owned()));
        }
        Ok(Secret::new(token.to_owned()))
    }

    /// The `Authorization` header of a request by git, which nothing prints.
    ///
    /// It is `Basic`, as git sends it: with another form Gitea does not look at what a token may do.
    ///
    /// # Errors
    /// As [`Robot::token`].
    pub fn authorization(&self) -> Result<HeaderValue, ForgeFault> {
        let pair = format!("sidecargo:{}", self.token()?.expose());
        let text = format!("Basic {}", BASE64_STANDARD.encode(pair));
        let mut value = HeaderValue::from_str(&text).expect("base64 is a header value");
        value.set_sensitive(true);
        Ok(value)
    }
}

/// The text of the file, and no more of a longer one than shows that it is too long.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let most = TOKEN_BYTES_MAX as u64 + 2;
    File::open(path)?.take(most).read_to_string(&mut text)?;
    Ok(text)
}

fn missing() -> ForgeFault {
    let what = format!("there is none: name a file in `forge.token_file`, or set {TOKEN_VARIABLE}");
    ForgeFault::Robot(what)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_token_is_read_for_each_use_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let robot = Robot::File(path.clone());
        let fault = robot.token().unwrap_err().to_string();
        assert!(fault.contains("`forge.token_file`"), "{fault}");
        for token in ["one", "another"] {
            fs::write(&path, format!(" {token}\n")).unwrap();
            assert_eq!(robot.token().unwrap().expose(), token);
            let value = robot.authorization().unwrap();
            let pair = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
            let pair = BASE64_STANDARD.decode(pair).unwrap();
            assert_eq!(pair, format!("sidecargo:{token}").as_bytes());
            assert_eq!(format!("{value:?}"), "Sensitive");
        }
    }

    #[test]
    fn what_is_no_token_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let robot = Robot::File(path.clone());
        for (text, word) in [
            ("\n".to_owned(), "there is none"),
            ("two words".to_owned(), "one word"),
            ("caf\u{e9}".to_owned(), "one word"),
            ("x".repeat(TOKEN_BYTES_MAX + 1), "one word"),
        ] {
            fs::write(&path, text).unwrap();
            let fault = robot.token().unwrap_err().to_string();
            assert!(fault.contains(word), "{fault}");
        }
        fs::write(&path, "x".repeat(TOKEN_BYTES_MAX)).unwrap();
        assert!(robot.token().is_ok());
        let fault = Robot::None.token().unwrap_err().to_string();
        assert!(fault.contains(TOKEN_VARIABLE), "{fault}");
    }
}
