//! Events that the forge tells of, and the proof that it is the forge.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use aws_lc_rs::hmac;
use thiserror::Error;

/// The longest secret, in bytes.
const SECRET_BYTES_MAX: u64 = 4096;
/// The shortest: one that can be guessed proves nothing.
const SECRET_BYTES_MIN: usize = 16;

/// Why an event is not believed.
#[derive(Debug, Error)]
pub enum WebhookFault {
    /// The operator has set up none.
    #[error("this registry hears no webhook; name its secret in `forge.webhook_secret_file`")]
    NotSetUp,
    /// The secret cannot be read.
    #[error("the secret of the webhook cannot be read")]
    Secret(#[source] io::Error),
    /// The secret proves nothing.
    #[error("the secret of the webhook is shorter than {SECRET_BYTES_MIN} characters")]
    Short,
    /// No signature, or not one of this body.
    #[error(
        "the event is not signed with this registry's secret; compare it with the one that the forge has for this webhook"
    )]
    NotSigned,
}

/// What `X-Hub-Signature-256` says of a body that has not been read yet, and the key that tells whether it is true.
///
/// All forges send this header in the same form: `sha256=` and an HMAC-SHA256 in hexadecimal digits.
pub struct Signature {
    tag: [u8; 32],
    key: hmac::Key,
}

impl Signature {
    /// Reads the header, and the secret in `file`: each time, so that another one needs no restart.
    pub fn read(file: Option<&Path>, header: Option<&str>) -> Result<Self, WebhookFault> {
        let file = file.ok_or(WebhookFault::NotSetUp)?;
        let tag = header.and_then(|text| text.strip_prefix("sha256="));
        let tag = tag.and_then(decode).ok_or(WebhookFault::NotSigned)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret(file)?.trim().as_bytes());
        Ok(Self { tag, key })
    }

    /// Checks the body, in constant time.
    pub fn check(&self, body: &[u8]) -> Result<(), WebhookFault> {
        hmac::verify(&self.key, body, &self.tag).map_err(|_| WebhookFault::NotSigned)
    }
}

fn decode(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(16 * digit(0)? + digit(1)?).ok()?;
    }
    Some(bytes)
}

/// Whether there is a secret that proves something.
pub fn check_secret(file: Option<&Path>) -> Result<(), WebhookFault> {
    secret(file.ok_or(WebhookFault::NotSetUp)?).map(drop)
}

fn secret(file: &Path) -> Result<String, WebhookFault> {
    let mut secret = String::new();
    File::open(file)
        .and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut secret))
        .map_err(WebhookFault::Secret)?;
    match secret.trim().len() < SECRET_BYTES_MIN {
        true => Err(WebhookFault::Short),
        false => Ok(secret),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const BODY: &[u8] = b"{\"ref\":\"refs/heads/main\"}";
    const SECRET: &str = "correct horse battery staple";

    fn check(file: Option<&Path>, header: Option<&str>, body: &[u8]) -> Result<(), WebhookFault> {
        Signature::read(file, header)?.check(body)
    }

    fn signature_of(secret: &str, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, body);
        let digits: String = tag
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("sha256={digits}")
    }

    #[test]
    fn only_what_is_signed_with_the_secret_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        fs::write(&file, format!("{SECRET}\n")).unwrap();
        let good = signature_of(SECRET, BODY);
        check(Some(&file), Some(&good), BODY).unwrap();
        for signature in [
            None,
            Some(String::new()),
            Some(good.replace("sha256=", "")),
            Some(good.replace("sha256=", "sha1=")),
            Some(good[..good.len() - 2].to_owned()),
            Some(format!("{good}00")),
            Some(good.replace(|c: char| c.is_ascii_digit(), "é")),
            Some(signature_of("another secret of its own", BODY)),
            Some(signature_of(SECRET, b"{}")),
        ] {
            let fault = check(Some(&file), signature.as_deref(), BODY).unwrap_err();
            assert!(
                matches!(fault, WebhookFault::NotSigned),
                "{signature:?}: {fault}"
            );
        }
    }

    #[test]
    fn without_a_secret_nothing_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let unset = check(None, Some(&signature_of("", BODY)), BODY).unwrap_err();
        assert!(matches!(unset, WebhookFault::NotSetUp), "{unset}");
        let gone = check(Some(&file), Some(&signature_of("", BODY)), BODY).unwrap_err();
        assert!(matches!(gone, WebhookFault::Secret(_)), "{gone}");
        for short in ["", "\n", "fifteen letters"] {
            fs::write(&file, short).unwrap();
            let signature = signature_of(short.trim(), BODY);
            let fault = check(Some(&file), Some(&signature), BODY).unwrap_err();
            assert!(matches!(fault, WebhookFault::Short), "{short:?}: {fault}");
        }
    }
}
