//! Names on the forge.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::registry::PublicUrl;

/// The longest name of an owner or of a repository, in bytes: what the forges allow.
const NAME_BYTES_MAX: usize = 100;

/// A repository of the forge, as its URL names it: `owner/name`.
///
/// Names can be given away and taken again; where it matters which one was meant, its numeric id decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryPath {
    owner: String,
    name: String,
}

/// The text names no repository.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` names no repository; write `OWNER/NAME`, each of ASCII letters, digits, `-`, `_` and `.`"
)]
pub struct RepositoryPathFault(String);

impl RepositoryPath {
    /// The user or organisation.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The repository whose page or clone this URL is, if it is one of the forge at `forge`.
    pub fn of_url(url: &str, forge: &PublicUrl) -> Option<Self> {
        let path = url.strip_prefix(forge.as_str())?.strip_prefix('/')?;
        let path = path.trim_end_matches('/');
        path.strip_suffix(".git").unwrap_or(path).parse().ok()
    }

    /// The name without its owner.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for RepositoryPath {
    type Err = RepositoryPathFault;

    fn from_str(text: &str) -> Result<Self, RepositoryPathFault> {
        let parts = text.split_once('/');
        let (owner, name) = parts
            .filter(|(owner, name)| is_name(owner) && is_name(name) && !name.ends_with(".git"))
            .ok_or_else(|| RepositoryPathFault(super::excerpt(text)))?;
        Ok(Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// Whether it is one whole segment of a path and no other after an encoding.
fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(is_allowed)
        && !matches!(text, "." | "..")
}

impl fmt::Display for RepositoryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl Serialize for RepositoryPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RepositoryPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::from_text(deserializer)
    }
}

/// Below which paths a forge is: at the address at which this server reaches it, and at that of people.
///
/// They differ where a proxy adds one and this server asks behind it. Where a repository is that was renamed, the forge
/// says for people.
#[derive(Debug, Clone)]
pub struct ForgePaths {
    reached: String,
    shown: String,
}

impl ForgePaths {
    /// Those of a forge that is reached at `url` and shown at `issuer`.
    pub fn new(url: &PublicUrl, issuer: &PublicUrl) -> Self {
        Self {
            reached: url.path(),
            shown: issuer.path(),
        }
    }

    /// The path at which this server reaches it, with a slash at its end.
    pub fn reached(&self) -> &str {
        &self.reached
    }

    /// What follows in `path`, by either.
    pub fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a str> {
        let both = [&self.shown, &self.reached].into_iter();
        both.filter_map(|root| path.strip_prefix(root.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_named_by_two_segments_of_a_path() {
        for text in ["acme/crates", "a/b", "Acme-1/_index.v2", "a/.hidden"] {
            let path: RepositoryPath = text.parse().unwrap();
            assert_eq!(path.to_string(), text);
        }
        let path: RepositoryPath = "acme/crates".parse().unwrap();
        assert_eq!((path.owner(), path.name()), ("acme", "crates"));
        let forge = "https://git.example.com".parse().unwrap();
        let of_url = |url: &str| RepositoryPath::of_url(url, &forge);
        for url in ["", "/", ".git", ".git/"] {
            let url = format!("https://git.example.com/acme/crates{url}");
            assert_eq!(of_url(&url), Some(path.clone()), "{url}");
        }
        for url in [
            "https://git.example.com",
            "https://git.example.com/acme",
            "https://git.example.com.evil/acme/crates",
            "https://other.example/acme/crates",
            "https://git.example.com/acme/crates/src/branch/main",
        ] {
            assert_eq!(of_url(url), None, "{url}");
        }
        let long = format!("a/{}", "b".repeat(NAME_BYTES_MAX + 1));
        for text in [
            "", "acme", "acme/", "/crates", "a/b/c", "a/..", "./b", "a/b.git", "a b/c", "a%2f/b",
            "ä/b", "a/b\n", &long,
        ] {
            let fault = text.parse::<RepositoryPath>().unwrap_err().to_string();
            assert!(fault.contains("names no repository"), "{text:?}: {fault}");
        }
    }

    #[test]
    fn a_path_is_meant_for_people_or_for_who_asks_behind_the_proxy() {
        let paths = |url: &str, issuer: &str| {
            ForgePaths::new(&url.parse().unwrap(), &issuer.parse().unwrap())
        };
        let behind = paths("http://127.0.0.1:3000", "https://example.com/git/");
        assert_eq!(behind.reached(), "/");
        let below: Vec<&str> = behind.below("/git/acme/crates").collect();
        assert_eq!(below, ["acme/crates", "git/acme/crates"]);
        let below: Vec<&str> = behind.below("/gits/crates").collect();
        assert_eq!(below, ["gits/crates"]);
        let same = paths("https://example.com/a/b", "https://example.com/a/b");
        assert_eq!(same.reached(), "/a/b/");
        assert_eq!(same.below("/acme/crates").count(), 0);
    }
}
