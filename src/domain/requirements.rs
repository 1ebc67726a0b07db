//! What a registry asks of its crates beyond what Cargo needs.

use serde::Deserialize;

/// Rules that a registry may switch on or off one by one: the table `[require]` of `policy.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Requirements {
    /// A description that says something, and is not a README.
    pub description: bool,
    /// An SPDX expression, or a file with the licence.
    pub license: bool,
    /// Homepage, documentation and repository are pages of the web.
    pub web_urls: bool,
    /// What is depended on in this registry is there, in this spelling.
    pub known_dependencies: bool,
}

impl Default for Requirements {
    fn default() -> Self {
        Self {
            description: false,
            license: false,
            web_urls: false,
            known_dependencies: true,
        }
    }
}
