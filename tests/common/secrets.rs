//! Looks for secrets in bytes where none may be, in every form in which a program might have written them.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use memchr::memmem::Finder;

/// What begins the public and the private half in a key of OpenSSH: the length of 64 bytes.
const OPENSSH_PAIR: [u8; 4] = 64_u32.to_be_bytes();
/// How many bytes of a key of Ed25519 are secret, in each file format the same.
const SEED_BYTES: usize = 32;
/// What stands in a PKCS#8 file before them.
const PKCS8_HEAD: usize = 16;

/// Secrets that are looked for.
#[derive(Default)]
pub struct Secrets {
    forms: Vec<Form>,
    known: BTreeSet<Vec<u8>>,
}

/// One secret in one form.
struct Form {
    /// Which: never the secret itself, because a failing test prints it.
    what: String,
    finder: Finder<'static>,
}

impl Secrets {
    /// Looks for this token from now on.
    ///
    /// Its signature is what makes it one: whoever has a part that ends before it has nothing.
    pub fn add_token(&mut self, token: &str) {
        let signature = token.rsplit('.').next().expect("there is a last part");
        self.add("a token", signature.as_bytes());
    }

    /// Looks for the secret segment of download addresses from now on.
    pub fn add_capability(&mut self, segment: &str) {
        self.add("a capability", segment.as_bytes());
    }

    /// Looks for what is secret in a file of a private key from now on; gives whether there was something.
    pub fn add_key_file(&mut self, bytes: &[u8]) -> bool {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        if text.contains("-----BEGIN OPENSSH PRIVATE KEY-----") {
            return self.add_openssh_key(text).is_some();
        }
        let seed = bytes.get(PKCS8_HEAD..PKCS8_HEAD + SEED_BYTES);
        // A power cut leaves zeros of a file that nobody was told of yet.
        let seed = seed.filter(|seed| seed.iter().any(|byte| *byte != 0));
        seed.is_some_and(|seed| {
            self.add("a private key", seed);
            true
        })
    }

    /// What of it stands in `bytes`: each secret and its form in a few words.
    pub fn found_in(&self, bytes: &[u8]) -> Vec<&str> {
        let is_there = |form: &&Form| form.finder.find(bytes).is_some();
        let found = self.forms.iter().filter(is_there);
        found.map(|form| form.what.as_str()).collect()
    }

    fn add_openssh_key(&mut self, text: &str) -> Option<()> {
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.contains("-----"))
            .collect();
        let bytes = BASE64_STANDARD.decode(lines.concat()).ok()?;
        let at = memchr::memmem::find(&bytes, &OPENSSH_PAIR)? + OPENSSH_PAIR.len();
        let end = at + SEED_BYTES;
        self.add("a private key", bytes.get(at..end)?);
        // The file breaks its lines inside the key.
        let width = lines.first()?.len();
        for line in &lines[at * 4 / 3 / width..=(end * 4 / 3 / width).min(lines.len() - 1)] {
            self.add("a line of a private key", line.as_bytes());
        }
        Some(())
    }

    fn add(&mut self, what: &str, secret: &[u8]) {
        assert!(secret.len() >= 10, "{what} is too short to look for");
        if !self.known.insert(secret.to_owned()) {
            return;
        }
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut forms: Vec<(&str, Vec<u8>)> = vec![
            ("as it is", secret.to_owned()),
            ("in hexadecimal", hex.to_uppercase().into()),
            ("in hexadecimal", hex.into()),
        ];
        for before in 0..3 {
            for text in base64_behind(before, secret) {
                forms.push(("in base64", text.into()));
            }
        }
        forms.sort();
        forms.dedup();
        self.forms
            .extend(forms.into_iter().map(|(form, needle)| Form {
                what: format!("{what} {form}"),
                finder: Finder::new(&needle).into_owned(),
            }));
    }
}

/// What base64 always makes of `secret` when `before` bytes (modulo 3) stand before it and any behind it, such as a
/// user's name in `Basic`; in both alphabets.
fn base64_behind(before: usize, secret: &[u8]) -> [String; 2] {
    let bytes = [&vec![0; before][..], secret].concat();
    // Six bits a character: the first and the last may share theirs with a neighbour.
    let (start, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD]
        .map(|engine| engine.encode(&bytes)[start..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str =
        "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbGljZSJ9.Pgy62IpbwVZHDutCfMz6aJPMf2dUhPxqjc_-";

    #[track_caller]
    fn is_found(secrets: &Secrets, text: &[u8]) {
        let around = [b"begin ", text, b" end"].concat();
        assert!(
            !secrets.found_in(&around).is_empty(),
            "{}",
            String::from_utf8_lossy(text)
        );
        for found in secrets.found_in(&around) {
            assert!(!found.contains("Pgy62"), "the finding tells the secret");
        }
    }

    #[test]
    fn a_token_is_found_in_every_form() {
        let mut secrets = Secrets::default();
        secrets.add_token(TOKEN);
        is_found(&secrets, TOKEN.as_bytes());
        is_found(&secrets, format!("Bearer {TOKEN}").as_bytes());
        is_found(&secrets, TOKEN.rsplit('.').next().unwrap().as_bytes());
        is_found(&secrets, format!("a={TOKEN}&b").as_bytes());
        for user in ["", "a", "me", "bob", "alice", "anybody", "someone else"] {
            for pair in [format!("{user}:{TOKEN}"), format!("{TOKEN}:{user}")] {
                for text in [
                    BASE64_STANDARD.encode(&pair),
                    BASE64_STANDARD_NO_PAD.encode(&pair),
                    BASE64_URL_SAFE_NO_PAD.encode(&pair),
                ] {
                    is_found(&secrets, format!("Basic {text}").as_bytes());
                }
            }
        }
        let hex: String = TOKEN.bytes().map(|byte| format!("{byte:02x}")).collect();
        is_found(&secrets, hex.as_bytes());
        is_found(&secrets, hex.to_uppercase().as_bytes());
    }

    #[test]
    fn a_capability_is_found_in_an_address() {
        let mut secrets = Secrets::default();
        secrets.add_capability("00112233445566778899aabbccddeeff");
        is_found(
            &secrets,
            b"GET /crates/dl/00112233445566778899aabbccddeeff/krate/1.0.0/abc",
        );
    }

    #[test]
    fn a_key_of_pkcs8_is_found_in_every_form() {
        let head = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        let seed: Vec<u8> = (100..132).map(|byte: u8| byte.wrapping_mul(37)).collect();
        let file = [&head[..], &seed].concat();
        let mut secrets = Secrets::default();
        assert!(secrets.add_key_file(&file));
        for bytes in [&seed, &file] {
            is_found(&secrets, bytes);
            is_found(&secrets, BASE64_STANDARD.encode(bytes).as_bytes());
            is_found(&secrets, BASE64_URL_SAFE_NO_PAD.encode(bytes).as_bytes());
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            is_found(&secrets, hex.as_bytes());
        }
    }

    #[test]
    fn a_key_of_openssh_is_found_also_by_one_line() {
        let seed: Vec<u8> = (0..32)
            .map(|byte: u8| byte.wrapping_mul(91) ^ 0x5a)
            .collect();
        let key = ssh_key::private::Ed25519Keypair::from_seed(&seed.clone().try_into().unwrap());
        let key = ssh_key::PrivateKey::from(key);
        let text = key.to_openssh(ssh_key::LineEnding::LF).unwrap();
        let mut secrets = Secrets::default();
        assert!(secrets.add_key_file(text.as_bytes()));
        is_found(&secrets, text.as_bytes());
        is_found(&secrets, text.replace('\n', "").as_bytes());
        is_found(&secrets, &seed);
        let public = key.public_key().to_openssh().unwrap();
        assert!(secrets.found_in(public.as_bytes()).is_empty(), "{public}");
    }

    #[test]
    fn what_is_no_secret_is_not_found() {
        let mut secrets = Secrets::default();
        secrets.add_token(TOKEN);
        let (unsigned, _) = TOKEN.rsplit_once('.').unwrap();
        let other = format!("{unsigned}.{}", "A".repeat(86));
        for text in ["", unsigned, &other, "Basic YWxpY2U6c2VjcmV0"] {
            assert!(secrets.found_in(text.as_bytes()).is_empty(), "{text}");
        }
        assert!(!secrets.add_key_file(b"short"));
    }
}
