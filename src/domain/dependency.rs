//! A dependency as an index line states it.

use semver::VersionReq;
use serde::{Deserialize, Serialize};

use super::line::Unknown;
use super::name::{CrateName, DependencyName};
use super::registry::RegistryUrl;

/// One dependency of a release, in the order of keys in which it is written.
///
/// Every key that Cargo before 1.84 insists on is always written, defaults included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// The name in the manifest: the alias if the dependency is renamed.
    pub name: DependencyName,
    /// The requirement, normalised (`1` becomes `^1`).
    #[serde(serialize_with = "requirement_text")]
    pub req: VersionReq,
    /// Features to switch on.
    pub features: Vec<String>,
    /// Whether a feature must ask for it.
    pub optional: bool,
    /// Whether its default features are on.
    pub default_features: bool,
    /// The platform, a triple or `cfg(…)`.
    pub target: Option<String>,
    /// What it is needed for.
    pub kind: DependencyKind,
    /// The index it comes from; `None` is the registry of the line itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryUrl>,
    /// The crate's real name if `name` is an alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<CrateName>,
    /// Keys that this version of Sidecargo does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What a dependency is needed for; the order is the one in which index lines list them.
///
/// Normal ones come first: Cargo of long ago takes `optional` from the first dependency of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DependencyKind {
    /// For the crate itself.
    Normal,
    /// For its build script.
    Build,
    /// For its tests and examples.
    Dev,
}

impl Dependency {
    /// The name of the crate that is depended on, whatever the manifest calls it.
    pub fn crate_name(&self) -> &str {
        match &self.package {
            Some(package) => package.as_str(),
            None => self.name.as_str(),
        }
    }

    /// The place of this dependency in a line: by name, then kind, then platform.
    pub(super) fn sort_key(&self) -> (&DependencyName, DependencyKind, Option<&str>, String) {
        (
            &self.name,
            self.kind,
            self.target.as_deref(),
            self.req.to_string(),
        )
    }
}

fn requirement_text<S: serde::Serializer>(
    req: &VersionReq,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(req)
}
