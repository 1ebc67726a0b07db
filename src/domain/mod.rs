//! The words of the field as types that cannot hold nonsense.
//!
//! Everything here is pure: no files, no clock, no randomness, no async.
//! Each text has one door in (`FromStr`), and serde goes through the same door.

#[cfg(test)]
mod arbitrary;
mod dependency;
mod document;
mod feature;
mod forge;
mod grant;
mod hash;
mod keys;
mod limits;
mod line;
mod name;
mod owners;
mod path;
mod policy;
mod principal;
mod rate;
mod registry;
mod requirements;
mod secret;
mod text;
mod time;
mod version;
mod visibility;

pub use dependency::{Dependency, DependencyKind};
pub use document::{DocumentFault, read_document};
pub use feature::{FeatureFault, Features, check_feature_name, check_feature_value};
pub use forge::{ForgePaths, RepositoryPath, RepositoryPathFault};
pub use grant::{Can, CrateScope, Grant, Only, ScopeFault, Scopes};
pub use hash::{
    BlobId, Cksum, CommitId, HexFault, RegistryId, StoreId, TokenId, TreeId, encode_hex,
};
pub use keys::Unknown;
pub use limits::Limits;
#[cfg(any(test, fuzzing))]
pub use line::fuzzing::index_line;
pub use line::{IndexFile, IndexLine, LineFault, LineHead};
pub use name::{
    CRATE_NAME_BYTES_MAX, CanonicalName, CrateName, DependencyName, NameFault, Reserved,
    is_windows_device,
};
pub use owners::{
    Called, Creators, Leaver, Meant, Named, Owner, OwnerFault, OwnerName, Owners, TeamName,
};
pub use path::IndexPath;
pub use policy::{Policy, PolicyFault};
pub use principal::{Actor, Job, Person, Proof, Standing};
pub use rate::{Rate, RateLimits};
pub use registry::{OwnUrls, PUBLIC_REGISTRY, PublicUrl, RegistryName, RegistryUrl, UrlFault};
pub use requirements::Requirements;
pub use secret::Secret;
pub use text::{LOGIN_BYTES_MAX, Login, LoginFault, PlainText, TextFault, is_misleading};
pub use time::{PubTime, PubTimeFault};
pub use version::{CrateVersion, VERSION_BYTES_MAX, VersionFault, VersionKey};
pub use visibility::{Capability, Visibility, VisibilityFault};

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// The serde door of every text type: the same as its `FromStr`.
fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    text.parse().map_err(de::Error::custom)
}

/// What a refusal quotes of a text that somebody sent: its beginning, nothing in it that could break or turn a line.
pub(crate) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut quoted: String = text
        .chars()
        .take(CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        quoted.push('…');
    }
    quoted
}

/// What a refusal repeats of a list: the first of them, and how many more there are.
pub(crate) fn first_of(mut names: impl Iterator<Item = String>, max: usize) -> String {
    let shown = names.by_ref().take(max).collect::<Vec<_>>().join(", ");
    match names.count() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// What a refusal repeats of a text in which a stranger's may stand: so many characters of it, and those escaped that
/// could break or turn a line.
pub(crate) fn harmless(text: &str, chars_max: usize) -> String {
    let mut chars = text.chars();
    let mut shown = String::new();
    for c in chars.by_ref().take(chars_max) {
        match is_misleading(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_excerpt_is_short_and_harmless(text in arbitrary::text(), times in 1usize..9) {
            let quoted = excerpt(&text.repeat(times));
            let is_hostile = |c: char| c.is_control() || c == '\u{202e}' || c == '\u{2028}';
            prop_assert!(!quoted.contains(is_hostile));
            // Ten characters escape one.
            prop_assert!(quoted.chars().count() <= 80 * 10 + 1);
        }
    }

    #[test]
    fn a_long_list_is_cut_short() {
        let names = |count: u8| (0..count).map(|number| number.to_string());
        assert_eq!(first_of(names(0), 2), "");
        assert_eq!(first_of(names(2), 2), "0, 1");
        assert_eq!(first_of(names(5), 2), "0, 1 and 3 more");
    }

    #[test]
    fn an_excerpt_says_that_it_is_one() {
        assert_eq!(excerpt(&"é".repeat(80)), "é".repeat(80));
        assert_eq!(excerpt(&"é".repeat(81)), format!("{}…", "é".repeat(80)));
    }
}
