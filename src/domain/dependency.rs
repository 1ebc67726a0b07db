//! A dependency as an index line states it.

use semver::VersionReq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::keys::{Keys, Unknown};
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

    /// The place of this dependency in a line: by name, then kind, then platform, then all the rest of it.
    pub(super) fn place(&self) -> (DependencyName, DependencyKind, Option<String>, String) {
        let text = serde_json::to_string(self).expect("it has only text keys");
        (self.name.clone(), self.kind, self.target.clone(), text)
    }
}

impl<'de> Deserialize<'de> for Dependency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut keys = Keys::deserialize(deserializer)?;
        Ok(Self {
            name: keys.need("name")?,
            req: keys.need("req")?,
            features: keys.take("features")?.unwrap_or_default(),
            optional: keys.take("optional")?.unwrap_or_default(),
            default_features: keys.take("default_features")?.unwrap_or(true),
            target: keys.take("target")?,
            kind: keys.take("kind")?.unwrap_or(DependencyKind::Normal),
            registry: keys.take("registry")?,
            package: keys.take("package")?,
            unknown: keys.rest(),
        })
    }
}

fn requirement_text<S: Serializer>(req: &VersionReq, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(req)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::*;

    proptest! {
        #[test]
        fn a_dependency_reads_back(dependency in arbitrary::dependency()) {
            let text = serde_json::to_string(&dependency).unwrap();
            let back: Dependency = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(serde_json::to_string(&back).unwrap(), text);
            prop_assert_eq!(back, dependency);
        }
    }

    #[test]
    fn what_differs_in_anything_has_its_own_place() {
        let place = |rest: &str| {
            let text = format!(r#"{{"name":"b","req":"1"{rest}}}"#);
            serde_json::from_str::<Dependency>(&text).unwrap().place()
        };
        let places: std::collections::BTreeSet<_> = [
            "",
            r#","features":["x"]"#,
            r#","optional":true"#,
            r#","default_features":false"#,
            r#","target":"cfg(unix)""#,
            r#","kind":"dev""#,
            r#","registry":"https://host/""#,
            r#","package":"c""#,
            r#","unknown":1"#,
        ]
        .map(place)
        .into();
        assert_eq!(places.len(), 9);
    }

    #[test]
    fn the_crate_is_the_package_if_there_is_an_alias() {
        let plain: Dependency = serde_json::from_str(r#"{"name":"b","req":"1"}"#).unwrap();
        assert_eq!(plain.crate_name(), "b");
        let renamed = r#"{"name":"_b","req":"1","package":"Real-B"}"#;
        let renamed: Dependency = serde_json::from_str(renamed).unwrap();
        assert_eq!(renamed.crate_name(), "Real-B");
        assert_eq!(renamed.name.as_str(), "_b");
    }

    #[test]
    fn a_requirement_is_written_in_one_way() {
        for (given, written) in [
            ("1", "^1"),
            ("=1.2.3", "=1.2.3"),
            (">= 1 , <2.0", ">=1, <2.0"),
            ("1.*", "1.*"),
            ("1.x.x", "1.*"),
            ("*", "*"),
            ("~1.2.3-rc.1+build", "~1.2.3-rc.1"),
        ] {
            let text = format!(r#"{{"name":"b","req":"{given}"}}"#);
            let dependency: Dependency = serde_json::from_str(&text).unwrap();
            let again = serde_json::to_string(&dependency).unwrap();
            assert!(again.contains(&format!(r#""req":"{written}""#)), "{again}");
        }
    }
}
