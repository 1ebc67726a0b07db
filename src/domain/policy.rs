//! What the people who run a registry decided: the file `policy.toml`.

use serde::Deserialize;
use thiserror::Error;

use super::limits::Limits;
use super::name::CrateName;
use super::registry::RegistryUrl;
use super::text::Login;

/// The largest policy file that is read, in bytes.
const POLICY_BYTES_MAX: usize = 256 * 1024;

/// Rules that a reviewed commit can change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Who may publish under a name that no crate has yet.
    pub create: Creators,
    /// Names that nobody may take, beyond those that no registry gives away.
    pub reserved: Vec<CrateName>,
    /// Other registries whose crates may be depended on.
    pub dependencies_from: Vec<RegistryUrl>,
    /// Bounds on uploads.
    pub limits: Limits,
}

/// Who may create crates.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Creators {
    /// Everybody whose token may publish.
    Word(Everyone),
    /// These people.
    Users(Vec<Login>),
}

/// The word `"everyone"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Everyone {
    /// Everybody.
    Everyone,
}

/// The file is not a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyFault {
    /// Larger than [`POLICY_BYTES_MAX`].
    #[error("`policy.toml` is larger than {POLICY_BYTES_MAX} bytes")]
    TooLarge,
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("`policy.toml` cannot be used: {0}")]
    Syntax(String),
}

impl Policy {
    /// Reads the file; keys that are missing have their defaults.
    pub fn parse(text: &str) -> Result<Self, PolicyFault> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyFault::TooLarge);
        }
        toml::from_str(text).map_err(|error| PolicyFault::Syntax(error.to_string()))
    }

    /// Whether `login` may create crates.
    pub fn may_create(&self, login: &Login) -> bool {
        match &self.create {
            Creators::Word(Everyone::Everyone) => true,
            Creators::Users(users) => users.contains(login),
        }
    }

    /// Whether the registry keeps this name for itself.
    pub fn reserves(&self, name: &CrateName) -> bool {
        self.reserved
            .iter()
            .any(|reserved| reserved.canonical() == name.canonical())
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            create: Creators::Word(Everyone::Everyone),
            reserved: Vec::new(),
            dependencies_from: vec![RegistryUrl::public_registry()],
            limits: Limits::default(),
        }
    }
}
