//! Who may read a registry, and the secret by which a Cargo that sends no token downloads.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Who may read the index, search and download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Visibility {
    /// Everybody who reaches the server.
    #[default]
    Public,
    /// Whoever has a token that may read.
    Private,
}

/// The secret segment of download URLs: 128 random bits, as 32 lower-case hexadecimal digits.
///
/// Whoever reads the private index knows it, nobody else. It is never printed: there is no `Display`, and `Debug`
/// writes `***`. Comparing takes the same time whatever is right of it.
#[derive(Clone)]
pub struct Capability([u8; 16]);

/// The text is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VisibilityFault {
    /// Neither of the two words.
    #[error("`{0}` is not a visibility; there are `public` and `private`")]
    Visibility(String),
    /// Not a capability. What it was is not repeated: nearly right is nearly the secret.
    #[error("a capability has 32 lower-case hexadecimal digits")]
    Capability,
}

impl Visibility {
    /// The word for it in settings and in the index.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

impl FromStr for Visibility {
    type Err = VisibilityFault;

    fn from_str(text: &str) -> Result<Self, VisibilityFault> {
        [Self::Public, Self::Private]
            .into_iter()
            .find(|visibility| visibility.as_str() == text)
            .ok_or_else(|| VisibilityFault::Visibility(super::excerpt(text)))
    }
}

impl fmt::Display for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Capability {
    /// The digits, for the files of the private index.
    pub fn expose(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }
}

impl From<[u8; 16]> for Capability {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Capability {
    type Err = VisibilityFault;

    fn from_str(text: &str) -> Result<Self, VisibilityFault> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return Err(VisibilityFault::Capability);
        }
        u128::from_str_radix(text, 16)
            .map(|bits| Self(bits.to_be_bytes()))
            .map_err(|_| VisibilityFault::Capability)
    }
}

impl PartialEq for Capability {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for Capability {}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Visibility {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.expose())
    }
}

impl<'de> Deserialize<'de> for Visibility {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::from_text(deserializer)
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::from_text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::*;

    proptest! {
        #[test]
        fn a_capability_reads_back_and_is_only_itself(bytes: [u8; 16], other: [u8; 16]) {
            let capability = Capability::from(bytes);
            let text = capability.expose();
            prop_assert_eq!(text.parse::<Capability>().unwrap(), capability.clone());
            prop_assert_eq!(serde_json::to_string(&capability).unwrap(), format!("{text:?}"));
            prop_assert_eq!(capability == Capability::from(other), bytes == other);
            prop_assert_eq!(format!("{capability:?}"), "***");
        }

        #[test]
        fn other_texts_are_refused_and_not_repeated(text in arbitrary::text()) {
            prop_assume!(text.len() != 32);
            prop_assert_eq!(text.parse::<Capability>(), Err(VisibilityFault::Capability));
            prop_assume!(text != "public" && text != "private");
            let fault = text.parse::<Visibility>().unwrap_err().to_string();
            prop_assert!(!fault.contains(char::is_control), "{}", fault);
        }
    }

    #[test]
    fn a_capability_has_exactly_32_lower_case_digits() {
        let good = "00112233445566778899aabbccddeeff";
        assert!(good.parse::<Capability>().is_ok());
        let signed = format!("+{}", &good[1..]);
        for text in [&good[1..], &good.to_uppercase(), &signed, ""] {
            assert!(text.parse::<Capability>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_visibility_has_one_word() {
        for visibility in [Visibility::Public, Visibility::Private] {
            assert_eq!(visibility.to_string().parse(), Ok(visibility));
            let json = format!("\"{visibility}\"");
            assert_eq!(
                serde_json::from_str::<Visibility>(&json).unwrap(),
                visibility
            );
        }
        assert_eq!(
            "Private".parse::<Visibility>().unwrap_err().to_string(),
            "`Private` is not a visibility; there are `public` and `private`"
        );
    }
}
