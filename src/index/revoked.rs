//! The file `revoked.toml`: tokens that are no longer good although their time is not over.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use thiserror::Error;

use crate::domain::{TokenId, read_document};

/// The most tokens that can be revoked at one time.
pub(super) const REVOKED_MAX: usize = 100_000;
/// The largest file that is parsed, in bytes: an entry as we write it has 82.
const FILE_BYTES_MAX: usize = 16 << 20;
/// How long an entry stays after its token has expired: a clock that is set back does not revive the token.
const KEPT_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// As long as there are no more entries, none goes: a clock that was years ahead for a moment revives no token either.
const KEPT_MIN: usize = 1000;

/// The revoked tokens, each with the moment at which it expires anyway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revoked(HashMap<TokenId, Timestamp>);

/// The file `revoked.toml` cannot be used.
#[derive(Debug, Error)]
pub(super) enum RevokedFault {
    /// More bytes than are parsed.
    #[error("it has more than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// More entries than are kept.
    #[error("it has more than {REVOKED_MAX} tokens")]
    TooMany,
    /// Not the TOML that it should be.
    #[error("{0}")]
    Form(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tokens: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: TokenId,
    until: Timestamp,
}

impl Revoked {
    /// Whether the token was revoked.
    pub fn contains(&self, id: &TokenId) -> bool {
        self.0.contains_key(id)
    }

    /// The tokens with the moments at which they expire anyway, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&TokenId, Timestamp)> {
        self.0.iter().map(|(id, until)| (id, *until))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Reads the bytes of the file.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, RevokedFault> {
        if bytes.len() > FILE_BYTES_MAX {
            return Err(RevokedFault::TooLarge);
        }
        let form = |error: &dyn ToString| RevokedFault::Form(error.to_string());
        let text = std::str::from_utf8(bytes).map_err(|error| form(&error))?;
        let file: File = read_document(text).map_err(|fault| form(&fault))?;
        if file.tokens.len() > REVOKED_MAX {
            return Err(RevokedFault::TooMany);
        }
        let entries = file.tokens.into_iter();
        Ok(Self(entries.map(|entry| (entry.id, entry.until)).collect()))
    }

    /// With one more token, and at the moment `now` without others that need no entry any longer.
    pub(super) fn with(&self, id: TokenId, until: Timestamp, now: Timestamp) -> Self {
        let mut entries = self.0.clone();
        entries.insert(id, until);
        if entries.len() > KEPT_MIN {
            // Whoever asks may know better than the clock.
            entries.retain(|other, until| *other == id || is_needed(*until, now));
        }
        Self(entries)
    }

    /// The bytes of the file: a line a token, in the order of their ids.
    pub(super) fn to_toml(&self) -> String {
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_unstable();
        let lines: String = entries
            .iter()
            .map(|(id, until)| format!("  {{ id = \"{id}\", until = \"{until}\" }},\n"))
            .collect();
        let open = if lines.is_empty() { "" } else { "\n" };
        format!(
            "# Tokens that were revoked before their time, by their id, and when each expires anyway.\n\
             # Written by the registry itself.\ntokens = [{open}{lines}]\n"
        )
    }
}

/// Whether a token that is good until `until` needs an entry at the moment `now`.
fn is_needed(until: Timestamp, now: Timestamp) -> bool {
    now.duration_since(until) < KEPT_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> TokenId {
        TokenId::from([number; 16])
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + hours * 3600).unwrap()
    }

    #[test]
    fn the_file_that_an_index_starts_with_is_read() {
        let start = include_bytes!("../../index-template/revoked.toml");
        assert_eq!(Revoked::parse(start).unwrap(), Revoked::default());
        assert_eq!(Revoked::default().to_toml().as_bytes(), start);
    }

    #[test]
    fn what_is_written_is_read_back_in_one_order() {
        let revoked = Revoked::default()
            .with(id(2), at(5), at(0))
            .with(id(1), at(9), at(1));
        let text = revoked.to_toml();
        assert_eq!(Revoked::parse(text.as_bytes()).unwrap(), revoked);
        let place = |id: TokenId| {
            text.find(&format!("{{ id = \"{id}\", until = \"2026-"))
                .unwrap()
        };
        assert!(place(id(1)) < place(id(2)), "{text}");
        let empty = Revoked::default();
        assert_eq!(Revoked::parse(empty.to_toml().as_bytes()).unwrap(), empty);
    }

    #[test]
    fn of_many_entries_one_goes_a_day_after_its_token_expired() {
        let many = |count: usize| {
            let entries = (0..count as u64).map(|number| {
                let mut bytes = [0xff; 16];
                bytes[..8].copy_from_slice(&number.to_be_bytes());
                (TokenId::from(bytes), at(99))
            });
            Revoked(entries.collect()).with(id(1), at(1), at(0))
        };
        let few = many(KEPT_MIN - 2).with(id(2), at(99), at(25));
        assert!(few.contains(&id(1)) && few.len() == KEPT_MIN);
        let revoked = many(KEPT_MIN);
        assert!(revoked.with(id(2), at(99), at(24)).contains(&id(1)));
        let later = revoked.with(id(2), at(99), at(25));
        assert!(!later.contains(&id(1)) && later.contains(&id(2)));
        assert_eq!(later.len(), KEPT_MIN + 1);
        // The last one stays, whatever the clock says of it.
        let expired = revoked.with(id(2), at(1), at(90_000));
        assert!(expired.contains(&id(2)) && expired.len() == 1);
        assert!(!is_needed(Timestamp::MIN, Timestamp::MAX));
        assert!(is_needed(Timestamp::MAX, Timestamp::MIN));
    }

    #[test]
    fn a_clock_that_was_years_ahead_for_a_moment_revives_no_token() {
        let revoked = Revoked::default().with(id(1), at(1), at(0));
        let ahead = revoked.with(id(2), at(90_001), at(90_000));
        assert!(ahead.contains(&id(1)) && ahead.contains(&id(2)));
        let back = ahead.with(id(3), at(5), at(0));
        assert_eq!(back.len(), 3);
    }

    #[test]
    fn anything_else_is_refused_before_much_is_done() {
        let entry = format!(
            "{{ id = \"{}\", until = \"2026-11-22T10:00:00Z\" }},",
            id(1)
        );
        let of = |count: usize| format!("tokens = [{}]", entry.repeat(count));
        let most = Revoked::parse(of(REVOKED_MAX).as_bytes());
        assert_eq!(most.unwrap().len(), 1);
        let many = Revoked::parse(of(REVOKED_MAX + 1).as_bytes());
        assert!(matches!(many, Err(RevokedFault::TooMany)), "{many:?}");
        let large = |bytes| Revoked::parse(&vec![b'#'; bytes]);
        let most = 16 << 20;
        assert!(matches!(large(most), Err(RevokedFault::Form(_))));
        assert!(matches!(large(most + 1), Err(RevokedFault::TooLarge)));
        for text in [
            "",
            "tokens = 1",
            "tokens = []\nmore = 1",
            "tokens = [{ id = \"abc\", until = \"2026-11-22T10:00:00Z\" }]",
            "tokens = [{ id = \"00000000000000000000000000000000\" }]",
            "tokens = [{ id = \"00000000000000000000000000000000\", until = \"soon\" }]",
            "\u{0}",
        ] {
            let fault = Revoked::parse(text.as_bytes());
            assert!(matches!(fault, Err(RevokedFault::Form(_))), "{text:?}");
        }
        assert!(Revoked::parse(b"\xff").is_err());
    }
}
