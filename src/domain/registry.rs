//! The registry's own name and addresses, and those of others.

use std::fmt;
use std::str::FromStr;

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;
use url::{ParseError, Url};

/// The index URL that Cargo writes for the public registry, whichever protocol it uses: a constant of Cargo.
pub const PUBLIC_REGISTRY: &str = "https://github.com/rust-lang/crates.io-index";

/// The longest URL, in bytes, as written and as Cargo would write it.
const URL_BYTES_MAX: usize = 512;

/// The name of the registry: the first segment of its paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RegistryName(String);

/// The base URL at which people reach this server: http or https, no trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PublicUrl(String);

/// The index URL of a registry as it may stand in an index line.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct RegistryUrl(String);

/// Every URL that means this very registry.
#[derive(Debug, Clone, Default)]
pub struct OwnUrls(Vec<String>);

/// Why a text is not an address of the needed kind.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlFault {
    /// Not a URL at all.
    #[error("`{text}` is not a URL: {reason}")]
    Syntax { text: String, reason: String },
    /// A scheme that is not allowed there.
    #[error("`{0}` must start with `https://` or `http://`")]
    Scheme(String),
    /// User name, password, query or fragment.
    #[error("the URL must not carry a user name, a password, `?` or `#`")]
    Extra,
    /// More than [`URL_BYTES_MAX`] bytes.
    #[error("the URL is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
    /// Not a registry name.
    #[error(
        "`{0}` is not a registry name; 1 to 32 lower-case ASCII letters, digits and `-` are allowed, with a letter first"
    )]
    Name(String),
}

impl RegistryName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RegistryName {
    fn default() -> Self {
        Self("crates".to_owned())
    }
}

impl FromStr for RegistryName {
    type Err = UrlFault;

    fn from_str(text: &str) -> Result<Self, UrlFault> {
        let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=32).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(is_allowed)
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(UrlFault::Name(super::excerpt(text)))
        }
    }
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PublicUrl {
    /// The URL, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path, with a slash at its end.
    pub(super) fn path(&self) -> String {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let path = rest.split_once('/').map_or("", |(_, path)| path);
        match path.trim_end_matches('/') {
            "" => "/".to_owned(),
            path => format!("/{path}/"),
        }
    }

    /// The git index of the registry `name`.
    pub fn git_index(&self, name: &RegistryName) -> String {
        format!("{}/{name}/git", self.0)
    }

    /// The sparse index of the registry `name`, as Cargo wants it written.
    pub fn sparse_index(&self, name: &RegistryName) -> String {
        format!("sparse+{}/{name}/index/", self.0)
    }

    /// The base of the web API and of downloads.
    pub fn registry_root(&self, name: &RegistryName) -> String {
        format!("{}/{name}", self.0)
    }
}

impl FromStr for PublicUrl {
    type Err = UrlFault;

    fn from_str(text: &str) -> Result<Self, UrlFault> {
        let url = parse(text)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlFault::Scheme(super::excerpt(text)));
        }
        if has_extra(&url) {
            return Err(UrlFault::Extra);
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RegistryUrl {
    /// The URL as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The public registry.
    pub fn public_registry() -> Self {
        Self(PUBLIC_REGISTRY.to_owned())
    }

    /// Whether it is that of a sparse index.
    pub fn is_sparse(&self) -> bool {
        self.0.starts_with("sparse+")
    }

    /// Whether `self` and `other` are spellings of one registry.
    pub fn is_same_registry(&self, other: &Self) -> bool {
        canonical(&self.0) == canonical(&other.0)
    }
}

impl FromStr for RegistryUrl {
    type Err = UrlFault;

    fn from_str(text: &str) -> Result<Self, UrlFault> {
        let url = parse(text.strip_prefix("sparse+").unwrap_or(text))?;
        if !matches!(url.scheme(), "http" | "https" | "ssh" | "file") {
            return Err(UrlFault::Scheme(super::excerpt(text)));
        }
        // `ssh://git@host/…` is an ordinary index URL; a password never is.
        if url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(UrlFault::Extra);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl OwnUrls {
    /// The URLs of the registry `name` at each of `bases`, git and sparse.
    pub fn new<'a>(name: &RegistryName, bases: impl IntoIterator<Item = &'a PublicUrl>) -> Self {
        Self(
            bases
                .into_iter()
                .flat_map(|base| [base.git_index(name), base.sparse_index(name)])
                .map(|url| canonical(&url))
                .collect(),
        )
    }

    /// These URLs and that of a git repository which is the index, too.
    pub fn and_repository(mut self, url: &str) -> Self {
        self.0.push(canonical(url));
        self
    }

    /// These URLs and those of `other`.
    pub fn and(mut self, other: &Self) -> Self {
        self.0.extend_from_slice(&other.0);
        self
    }

    /// Whether `url` means this registry, with or without `.git` or a final slash.
    pub fn contains(&self, url: &RegistryUrl) -> bool {
        self.0.contains(&canonical(url.as_str()))
    }
}

/// One spelling for all that Cargo or a person may write for one index: no `sparse+`, `.git` or final slash,
/// scheme and host in lower case, no default port.
fn canonical(text: &str) -> String {
    let bare = text.strip_prefix("sparse+").unwrap_or(text);
    let parsed = Url::parse(bare).map_or_else(|_| bare.to_owned(), String::from);
    let trimmed = parsed.trim_end_matches('/');
    trimmed
        .strip_suffix(".git")
        .unwrap_or(trimmed)
        .trim_end_matches('/')
        .to_owned()
}

fn parse(text: &str) -> Result<Url, UrlFault> {
    let fault = |reason: String| UrlFault::Syntax {
        text: super::excerpt(text),
        reason,
    };
    if text.len() > URL_BYTES_MAX {
        return Err(UrlFault::TooLong);
    }
    // A URL parser skips these silently, in a host also invisible ones: the text would not be what it means.
    let invisible = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let is_skipped = |c: char| c.is_control() || c.is_whitespace() || invisible.contains(c);
    if text.contains(is_skipped) {
        let reason = "it contains a blank, a control character or an invisible one";
        return Err(fault(reason.to_owned()));
    }
    let url = Url::parse(text).map_err(|error| match error {
        // It is one without the first part, most likely.
        ParseError::RelativeUrlWithoutBase => UrlFault::Scheme(super::excerpt(text)),
        error => fault(error.to_string()),
    })?;
    if url.as_str().len() > URL_BYTES_MAX {
        return Err(UrlFault::TooLong);
    }
    Ok(url)
}

fn has_extra(url: &Url) -> bool {
    !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
}

impl<'de> Deserialize<'de> for RegistryName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::from_text(deserializer)
    }
}

impl<'de> Deserialize<'de> for PublicUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::from_text(deserializer)
    }
}

impl<'de> Deserialize<'de> for RegistryUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::from_text(deserializer)
    }
}

#[cfg(test)]
mod tests;
