//! Identities of bytes: SHA-256 of a `.crate` file, SHA-1 of git objects.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// The text is not the lower-case hexadecimal form of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected {digits} lower-case hexadecimal digits")]
pub struct HexFault {
    digits: usize,
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl From<[u8; $bytes]> for $name {
            fn from(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }
        }

        impl FromStr for $name {
            type Err = HexFault;

            fn from_str(text: &str) -> Result<Self, HexFault> {
                let mut bytes = [0; $bytes];
                decode(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0; 2 * $bytes];
                encode_hex(&self.0, &mut digits);
                f.write_str(std::str::from_utf8(&digits).expect("digits are ASCII"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                super::from_text(deserializer)
            }
        }
    };
}

identity!(
    /// The SHA-256 of a `.crate` file: `cksum` of its index line and its name in the blob store.
    Cksum, 32
);
identity!(
    /// The id of a git commit.
    CommitId, 20
);
identity!(
    /// The id of a git tree.
    TreeId, 20
);
identity!(
    /// The id of a git blob; in quotes it is the `ETag` of an index file.
    BlobId, 20
);
identity!(
    /// The random identity that a registry keeps for life: issuer and audience of its tokens.
    RegistryId, 16
);
identity!(
    /// The random identity of a blob store.
    StoreId, 16
);
identity!(
    /// The random identity of a token, by which it is named and revoked; not a secret.
    TokenId, 16
);

/// Writes two lower-case hexadecimal digits for each byte.
pub fn encode_hex(bytes: &[u8], digits: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

fn decode(text: &str, bytes: &mut [u8]) -> Result<(), HexFault> {
    let fault = HexFault {
        digits: bytes.len() * 2,
    };
    if text.len() != fault.digits {
        return Err(fault);
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        match (nibble(pair[0]), nibble(pair[1])) {
            (Some(high), Some(low)) => *byte = high << 4 | low,
            _ => return Err(fault),
        }
    }
    Ok(())
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::*;

    proptest! {
        #[test]
        fn bytes_and_digits_are_two_forms_of_one_identity(bytes in any::<[u8; 32]>()) {
            let text = Cksum::from(bytes).to_string();
            let cksum: Cksum = text.parse().unwrap();
            prop_assert_eq!(cksum.as_bytes(), &bytes);
            prop_assert_eq!(cksum.to_string(), text.clone());
            let json = serde_json::to_string(&cksum).unwrap();
            prop_assert_eq!(&json, &format!("\"{text}\""));
            prop_assert_eq!(serde_json::from_str::<Cksum>(&json).unwrap(), cksum);
        }

        #[test]
        fn any_other_text_is_refused(text in arbitrary::text()) {
            prop_assert!(text.parse::<Cksum>().is_err());
        }

        #[test]
        fn one_wrong_digit_is_found_wherever_it_is(
            bytes in any::<[u8; 20]>(), at in 0usize..40, wrong in "[A-Zg-z /:@`-]",
        ) {
            let mut text = CommitId::from(bytes).to_string();
            text.replace_range(at..=at, &wrong);
            prop_assert!(text.parse::<CommitId>().is_err());
        }
    }

    #[test]
    fn upper_case_and_wrong_lengths_are_refused() {
        let text = "0123456789abcdef".repeat(4);
        assert_eq!(text.parse::<Cksum>().unwrap().to_string(), text);
        assert!(text.to_uppercase().parse::<Cksum>().is_err());
        for broken in [
            &text[1..],
            &format!("{text}0"),
            "",
            &format!("0x{}", &text[2..]),
        ] {
            let fault = broken.parse::<Cksum>().unwrap_err();
            assert_eq!(
                fault.to_string(),
                "expected 64 lower-case hexadecimal digits"
            );
        }
        // As many bytes, but fewer characters.
        assert!("é".repeat(32).parse::<Cksum>().is_err());
    }

    #[test]
    fn each_identity_has_its_own_length() {
        let text = "ab".repeat(20);
        assert!(text.parse::<CommitId>().is_ok());
        assert!(text.parse::<TreeId>().is_ok());
        assert!(text.parse::<BlobId>().is_ok());
        assert!(text.parse::<RegistryId>().is_err());
        assert!(text[..32].parse::<RegistryId>().is_ok());
        assert!(text.parse::<Cksum>().is_err());
        let id: CommitId = text.parse().unwrap();
        assert_eq!(format!("{id:?}"), format!("CommitId({text})"));
    }
}
