//! The `Authorization` header and the token in it.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;

use super::Secret;

/// The longest value of an `Authorization` header that is looked at, in bytes.
pub const AUTHORIZATION_BYTES_MAX: usize = 8 * 1024;

/// Base64 as RFC 7617 wants it for `Basic`; a few clients leave the padding out.
const BASIC_BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a request carries no token that could be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CredentialsFault {
    /// No header, or nothing but blanks in it.
    #[error("this needs a token; send it in the `Authorization` header")]
    Missing,
    /// The header is not of a known form.
    #[error("the `Authorization` header {0}")]
    Malformed(Malformed),
    /// The header is longer than [`AUTHORIZATION_BYTES_MAX`].
    #[error("the `Authorization` header is longer than {AUTHORIZATION_BYTES_MAX} bytes")]
    TooLong,
}

/// What is wrong with the form of an `Authorization` header; reads as the end of a sentence.
///
/// Nothing of the header is repeated: with a wrong form, any part of it may be the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// A byte that no token contains.
    #[error("contains a character that is not printable ASCII")]
    Character,
    /// `Bearer` or `Basic` and nothing behind it.
    #[error("names a scheme but no token")]
    NoToken,
    /// Neither `Bearer` nor `Basic`.
    #[error(
        "has a scheme other than `Bearer` and `Basic`; send the token alone, as `Bearer TOKEN`, or as the password of `Basic`"
    )]
    Scheme,
    /// What follows `Basic` is not `user:password` in base64.
    #[error("does not hold `user:token` in base64 behind `Basic`")]
    Basic,
    /// A blank inside the token.
    #[error("holds a token with a blank inside; a token is one word")]
    Blank,
}

/// Finds the token in the value of an `Authorization` header.
///
/// Cargo sends what was stored, so the token may stand alone (`TOKEN`) or behind `Bearer`; git sends
/// `Basic base64(user:TOKEN)`, or `Basic base64(TOKEN:)` if the token was typed as the user's name.
/// Schemes may be in any case (RFC 9110, 11.1); blanks at the ends do not count.
pub fn token_from_header(value: Option<&[u8]>) -> Result<Secret, CredentialsFault> {
    let value = value.ok_or(CredentialsFault::Missing)?;
    if value.len() > AUTHORIZATION_BYTES_MAX {
        return Err(CredentialsFault::TooLong);
    }
    let value = printable(value)?.trim();
    if value.is_empty() {
        return Err(CredentialsFault::Missing);
    }
    let (scheme, rest) = match blank_in(value) {
        Some(at) => value.split_at(at),
        None => (value, ""),
    };
    let token = if scheme.eq_ignore_ascii_case("bearer") {
        one_word(rest)
    } else if scheme.eq_ignore_ascii_case("basic") {
        from_basic(rest.trim())
    } else if rest.is_empty() {
        one_word(value)
    } else {
        Err(Malformed::Scheme)
    };
    token.map_err(CredentialsFault::Malformed)
}

fn from_basic(encoded: &str) -> Result<Secret, Malformed> {
    if encoded.is_empty() {
        return Err(Malformed::NoToken);
    }
    let decoded = BASIC_BASE64.decode(encoded).map_err(|_| Malformed::Basic)?;
    let pair = printable(&decoded)?;
    let (user, password) = pair.split_once(':').ok_or(Malformed::Basic)?;
    match password.trim() {
        "" => one_word(user),
        password => one_word(password),
    }
}

fn one_word(text: &str) -> Result<Secret, Malformed> {
    match text.trim() {
        "" => Err(Malformed::NoToken),
        word if blank_in(word).is_some() => Err(Malformed::Blank),
        word => Ok(Secret::new(word.to_owned())),
    }
}

fn printable(bytes: &[u8]) -> Result<&str, Malformed> {
    let is_printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    // Without a stop at the first that is not: the compiler then takes many at once, and each read of a private
    // registry comes through here.
    let are_printable = bytes
        .iter()
        .map(is_printable)
        .fold(true, |all, is| all & is);
    match std::str::from_utf8(bytes) {
        Ok(text) if are_printable => Ok(text),
        _ => Err(Malformed::Character),
    }
}

fn blank_in(text: &str) -> Option<usize> {
    memchr::memchr2(b' ', b'\t', text.as_bytes())
}

impl From<Malformed> for CredentialsFault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
    use proptest::prelude::{any, proptest};

    use super::*;

    fn token(value: &str) -> Result<String, CredentialsFault> {
        token_from_header(Some(value.as_bytes())).map(|secret| secret.expose().clone())
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }

    #[test]
    fn every_form_that_clients_send_is_understood() {
        for value in [
            "tok",
            "  tok\t",
            "Bearer tok",
            "bEARER   tok ",
            "Bearer\ttok",
        ] {
            assert_eq!(token(value).as_deref(), Ok("tok"), "{value:?}");
        }
        for pair in ["alice:tok", ":tok", "tok:", "alice: tok "] {
            assert_eq!(token(&basic(pair)).as_deref(), Ok("tok"), "{pair:?}");
        }
        assert_eq!(token(&basic("alice:a:b")).as_deref(), Ok("a:b"));
        let unpadded = format!("bASIC {}", BASE64_STANDARD_NO_PAD.encode("alice:token"));
        assert!(!unpadded.ends_with('='));
        assert_eq!(token(&unpadded).as_deref(), Ok("token"));
    }

    #[test]
    fn every_broken_form_has_its_own_fault() {
        assert_eq!(
            token_from_header(None).err(),
            Some(CredentialsFault::Missing)
        );
        for value in ["", " \t "] {
            assert_eq!(token(value), Err(CredentialsFault::Missing), "{value:?}");
        }
        for (value, fault) in [
            ("Bearer", Malformed::NoToken),
            ("Bearer  ", Malformed::NoToken),
            ("basic", Malformed::NoToken),
            (basic(":").as_str(), Malformed::NoToken),
            ("Bearer a b", Malformed::Blank),
            (basic("alice:a b").as_str(), Malformed::Blank),
            ("Digest tok", Malformed::Scheme),
            ("token tok", Malformed::Scheme),
            ("Bearer: tok", Malformed::Scheme),
            ("Basic !!!", Malformed::Basic),
            (basic("no colon").as_str(), Malformed::Basic),
            (basic("alice:tök").as_str(), Malformed::Character),
            (basic("alice:a\nb").as_str(), Malformed::Character),
            ("tök", Malformed::Character),
            ("a\0b", Malformed::Character),
            ("Bearer a\u{7f}", Malformed::Character),
        ] {
            assert_eq!(
                token(value),
                Err(CredentialsFault::Malformed(fault)),
                "{value:?}"
            );
        }
        assert_eq!(
            token_from_header(Some(b"\xff\xfe")).err(),
            Some(CredentialsFault::Malformed(Malformed::Character))
        );
    }

    #[test]
    fn the_longest_token_fits_in_each_form() {
        let longest = "a".repeat(crate::auth::TOKEN_BYTES_MAX);
        let pair = format!("{}:{longest}", "u".repeat(64));
        for header in [format!("Bearer {longest}"), basic(&pair)] {
            assert_eq!(token(&header).unwrap(), longest);
        }
    }

    #[test]
    fn length_is_bounded_before_anything_else() {
        let longest = "a".repeat(AUTHORIZATION_BYTES_MAX);
        assert_eq!(token(&longest).as_ref(), Ok(&longest));
        assert_eq!(
            token(&format!("{longest}a")),
            Err(CredentialsFault::TooLong)
        );
        assert_eq!(token(&"A".repeat(1 << 20)), Err(CredentialsFault::TooLong));
    }

    #[test]
    fn no_fault_repeats_the_header() {
        for value in [
            "hunter2 and more",
            "Bearer hunter2 b",
            "Basic hunter2!",
            "hunter2ö",
        ] {
            let fault = token(value).unwrap_err();
            assert!(
                !format!("{fault} {fault:?}").contains("hunter2"),
                "{value:?}"
            );
        }
        let secret = token_from_header(Some(b"Bearer hunter2")).unwrap();
        assert_eq!(format!("{secret:?}"), "***");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_give_one_word_or_a_fault(bytes in any::<Vec<u8>>()) {
            if let Ok(secret) = token_from_header(Some(&bytes)) {
                let word = secret.expose();
                assert!(!word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
