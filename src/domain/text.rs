//! Texts that go into commit messages: they cannot forge a line, a trailer or a person.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

/// The longest text that a trailer may carry, in bytes.
pub const PLAIN_TEXT_BYTES_MAX: usize = 512;
/// The longest login, in bytes: what forges allow.
pub const LOGIN_BYTES_MAX: usize = 40;

/// One line of text without control characters and without `<` and `>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct PlainText(String);

/// The name of a person's account.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Login(String);

/// Why a text may not stand in a commit message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TextFault {
    /// Longer than allowed.
    #[error("the text is longer than {0} bytes")]
    TooLong(usize),
    /// Empty, or with blanks at its ends.
    #[error("the text is empty or has blanks at its ends")]
    Blank,
    /// A control character, `<` or `>`.
    #[error("the text contains the character {0:?}")]
    Character(char),
}

/// Why a text is not a login.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not a user name; 1 to {LOGIN_BYTES_MAX} ASCII letters, digits, `-`, `_` and `.` are allowed, with a letter or digit first"
)]
pub struct LoginFault(String);

impl PlainText {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PlainText {
    type Err = TextFault;

    fn from_str(text: &str) -> Result<Self, TextFault> {
        if text.len() > PLAIN_TEXT_BYTES_MAX {
            return Err(TextFault::TooLong(PLAIN_TEXT_BYTES_MAX));
        }
        // Unicode's own line breaks and direction marks could make a log read other than it is.
        let is_misleading = |c: char| {
            c.is_control()
                || matches!(
                    c,
                    '<' | '>' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{feff}'
                )
                || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        if let Some(found) = text.chars().find(|c| is_misleading(*c)) {
            return Err(TextFault::Character(found));
        }
        if text.is_empty() || text.trim() != text {
            return Err(TextFault::Blank);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PlainText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Login {
    /// The login as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Login {
    type Err = LoginFault;

    fn from_str(text: &str) -> Result<Self, LoginFault> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if text.len() <= LOGIN_BYTES_MAX
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(is_allowed)
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(LoginFault(super::excerpt(text)))
        }
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl<'de> Deserialize<'de> for PlainText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::from_text(deserializer)
    }
}

impl<'de> Deserialize<'de> for Login {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::from_text(deserializer)
    }
}
