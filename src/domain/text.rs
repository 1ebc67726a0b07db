//! Texts that go into commit messages: they cannot forge a line, a trailer or a person.

use std::fmt;
use std::hash::{Hash, Hasher};
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
///
/// Spellings that differ in case are one person, as on the forges: nobody is shut out by a typo, and nobody poses as
/// another by one.
#[derive(Clone, Serialize)]
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
    #[error(
        "the text contains the character {0:?}; control characters, marks of direction, `<` and `>` are not allowed"
    )]
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
        let is_refused = |c: &char| matches!(c, '<' | '>') || is_misleading(*c);
        if let Some(found) = text.chars().find(is_refused) {
            return Err(TextFault::Character(found));
        }
        if text.is_empty() || text.trim() != text {
            return Err(TextFault::Blank);
        }
        Ok(Self(text.to_owned()))
    }
}

/// Whether a character can make a text read other than it is: control characters, Unicode's own line breaks, marks of
/// direction.
pub fn is_misleading(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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

impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Login {}

impl Hash for Login {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_ascii_lowercase().hash(state);
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

#[cfg(test)]
mod tests {
    use std::hash::DefaultHasher;

    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::*;

    proptest! {
        #[test]
        fn an_accepted_text_is_one_harmless_line(text in arbitrary::text()) {
            match text.parse::<PlainText>() {
                Ok(plain) => {
                    prop_assert_eq!(plain.as_str(), &text);
                    prop_assert_eq!(plain.to_string(), text.clone());
                    prop_assert_eq!(plain.as_str().lines().count(), 1);
                    prop_assert!(!text.contains(|c: char| c.is_control() || c == '<' || c == '>'));
                    prop_assert_eq!(text.trim(), &text);
                }
                Err(fault) => prop_assert!(!fault.to_string().contains(char::is_control)),
            }
        }

        #[test]
        fn an_accepted_login_is_plain_text_and_ascii(text in arbitrary::text()) {
            match text.parse::<Login>() {
                Ok(login) => {
                    prop_assert!(login.as_str().parse::<PlainText>().is_ok());
                    prop_assert!(login.as_str().is_ascii());
                }
                Err(fault) => prop_assert!(!fault.to_string().contains(char::is_control)),
            }
        }
    }

    #[test]
    fn characters_that_forge_or_mislead_are_refused_wherever_they_stand() {
        let refused = [
            '\n', '\r', '\0', '\t', '\u{b}', '\u{1b}', '\u{7f}', '\u{85}', '<', '>', '\u{2028}',
            '\u{2029}', '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2066}',
            '\u{2069}', '\u{feff}',
        ];
        for c in refused {
            for text in [format!("a{c}b"), format!("{c}b"), format!("a{c}")] {
                assert_eq!(
                    text.parse::<PlainText>(),
                    Err(TextFault::Character(c)),
                    "{text:?}"
                );
            }
            let sentence = TextFault::Character(c).to_string();
            assert!(
                !sentence.contains(c) || "<>".contains(c),
                "{sentence:?} shows its escape"
            );
        }
    }

    #[test]
    fn ordinary_text_is_kept() {
        for text in [
            "a",
            "broken: see #12",
            "größer 🦀 \"quoted\" ‘so’",
            "a: b",
            "Signed-off-by: x",
        ] {
            assert_eq!(text.parse::<PlainText>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn blanks_and_lengths() {
        for text in ["", " ", " a", "a ", "\u{a0}a", "a\u{3000}"] {
            assert_eq!(text.parse::<PlainText>(), Err(TextFault::Blank), "{text:?}");
        }
        assert!("a".repeat(512).parse::<PlainText>().is_ok());
        let fault = "a".repeat(513).parse::<PlainText>().unwrap_err();
        assert_eq!(fault.to_string(), "the text is longer than 512 bytes");
        assert!(
            "é".repeat(257).parse::<PlainText>().is_err(),
            "bytes are counted"
        );
    }

    #[test]
    fn logins_are_hashed_as_they_are_compared() {
        let hash = |text: &str| {
            let mut hasher = DefaultHasher::new();
            text.parse::<Login>().unwrap().hash(&mut hasher);
            hasher.finish()
        };
        assert_eq!(hash("Alice"), hash("aLICE"));
        assert_ne!(hash("alice"), hash("alicf"));
    }

    #[test]
    fn logins_are_those_of_forges() {
        for text in ["alice", "Alice", "0x", "a.b-c_d", &"a".repeat(40)] {
            let login: Login = text.parse().unwrap();
            assert_eq!(login.as_str(), text);
            assert_eq!(format!("{login:?}"), format!("`{text}`"));
        }
        for text in [
            "",
            ".a",
            "-a",
            "_a",
            "a b",
            "a\n",
            "a<b>",
            "a:b",
            "a@b",
            "ä",
            "../x",
            &"a".repeat(41),
        ] {
            assert!(text.parse::<Login>().is_err(), "{text:?}");
        }
        assert_eq!(
            "a\nb".parse::<Login>().unwrap_err().to_string(),
            r"`a\nb` is not a user name; 1 to 40 ASCII letters, digits, `-`, `_` and `.` are allowed, with a letter or digit first"
        );
        assert!(
            "x y"
                .repeat(1000)
                .parse::<Login>()
                .unwrap_err()
                .to_string()
                .len()
                < 300
        );
    }

    #[test]
    fn serde_goes_through_the_same_door() {
        assert!(serde_json::from_str::<PlainText>(r#""a\nb""#).is_err());
        assert!(serde_json::from_str::<PlainText>(r#""a b""#).is_ok());
        assert!(serde_json::from_str::<Login>(r#""a b""#).is_err());
        assert!(serde_json::from_str::<Login>(r#""ab""#).is_ok());
    }
}
