//! Dependencies of a manifest, from all its sections.

use std::collections::BTreeMap;

use semver::VersionReq;
use thiserror::Error;
use toml::{Table, Value};

use super::fields::{Fields, KeyFault};
use super::{ManifestFault, ManifestRules, is_inherited, platform};
use crate::domain::{
    CrateName, Dependency, DependencyKind, DependencyName, FeatureFault, NameFault, RegistryUrl,
    Unknown, UrlFault, check_feature_name,
};
use crate::publish::faults::{Faults, quoted};

/// The sections of dependencies, as Cargo writes them.
const SECTIONS: [(&str, DependencyKind); 3] = [
    ("dependencies", DependencyKind::Normal),
    ("build-dependencies", DependencyKind::Build),
    ("dev-dependencies", DependencyKind::Dev),
];

/// Keys that name another source than a registry.
const SOURCE_KEYS: [&str; 6] = ["path", "base", "git", "branch", "tag", "rev"];

/// Keys that only a nightly Cargo writes: stable ones would take the dependency for an ordinary one.
const NIGHTLY_KEYS: [&str; 4] = ["public", "artifact", "lib", "target"];

/// The longest requirement, in bytes.
const REQUIREMENT_BYTES_MAX: usize = 256;

/// What is wrong with one dependency; the texts go on after its name.
#[derive(Debug, Error)]
pub enum DependencyFault {
    /// Neither a string nor a table.
    #[error("must be a requirement in quotes or a table")]
    Form,
    /// A key of its table.
    #[error("is not understood: `{key}` {fault}")]
    Key { key: String, fault: KeyFault },
    /// Inherited from a workspace.
    #[error("is inherited from a workspace; `cargo package` writes the requirement itself")]
    Inherited,
    /// A name that no crate of a registry has.
    #[error("cannot be in a registry: {0}")]
    Name(NameFault),
    /// No requirement.
    #[error("has no `version`; what is published can only depend on versions in a registry")]
    NoVersion,
    /// Not a requirement.
    #[error("has the requirement `{text}`, which Cargo cannot read: {reason}")]
    Requirement { text: String, reason: String },
    /// Any version whatever.
    #[error("allows any version with `*`; name a version that is known to work, such as `1`")]
    Star,
    /// A folder or a git repository.
    #[error(
        "has the key `{0}`; `cargo package` removes it, because what is published can only depend on registries"
    )]
    Source(&'static str),
    /// An alias of a registry.
    #[error(
        "names its registry by `registry`, an alias of the uploader's; `cargo package` writes the URL as `registry-index`"
    )]
    Alias,
    /// A key of a feature of Cargo that is not stable.
    #[error("has the key `{0}`, which only nightly Cargo understands")]
    Nightly(&'static str),
    /// Not the URL of an index.
    #[error("has a `registry-index` that is not the URL of an index: {0}")]
    Url(UrlFault),
    /// From the public registry, where that is not allowed.
    #[error(
        "comes from the public registry, on which crates here may not depend; write `registry = \"…\"` beside its version if it is a crate of this registry"
    )]
    PublicRegistry,
    /// From a registry that is not in the list.
    #[error("comes from the registry `{0}`, on which crates here may not depend")]
    Registry(RegistryUrl),
    /// Another registry than for the same name in another section.
    #[error(
        "has another `registry-index` than in `[{0}]`; Cargo takes a name from one URL alone: write the same, or rename one by `package`"
    )]
    OtherSource(String),
    /// One of the features that it switches on.
    #[error("switches on a feature that cannot exist: {0}")]
    Feature(FeatureFault),
    /// Too many of them.
    #[error("switches on more than {0} features")]
    TooManyFeatures(usize),
    /// A dependency of tests that a feature must ask for.
    #[error("is optional, which a dependency of tests cannot be")]
    OptionalDev,
}

/// The names of all dependencies, and whether one of that name is optional.
pub(super) type Declared = BTreeMap<String, bool>;

/// All dependencies, not yet looked into.
pub(super) struct DependencyTables(Vec<Entry>);

struct Entry {
    kind: DependencyKind,
    platform: Option<String>,
    name: String,
    value: Value,
}

impl DependencyTables {
    pub(super) fn take(manifest: &mut Fields, faults: &mut Faults<ManifestFault>) -> Self {
        let mut entries = Vec::new();
        take_sections(manifest, None, &mut entries);
        let platforms: Table = manifest.take("target", "a table").unwrap_or_default();
        for (platform, sections) in platforms {
            let Value::Table(sections) = sections else {
                faults.add(ManifestFault::Key {
                    key: quoted(&format!("target.{platform}")),
                    fault: KeyFault::Type("a table"),
                });
                continue;
            };
            let mut sections = Fields::new(sections);
            let spelled = platform::canonical(&platform);
            let name = spelled.as_ref().unwrap_or(&platform);
            take_sections(&mut sections, Some(name), &mut entries);
            sections.report(&format!("target.{}.", quoted(&platform)), faults);
            // Cargo reads every platform of a manifest, also one without dependencies.
            if let Err(fault) = spelled {
                let platform = quoted(&platform);
                faults.add(ManifestFault::Platform { platform, fault });
            }
        }
        Self(entries)
    }

    pub(super) fn declared(&self) -> Declared {
        let mut declared = Declared::new();
        for entry in &self.0 {
            let optional = entry.value.get("optional").and_then(Value::as_bool);
            *declared.entry(entry.name.clone()).or_default() |= optional.unwrap_or_default();
        }
        declared
    }

    /// Reads each dependency; those whose crate or registry is not known are left out.
    pub(super) fn read(
        self,
        rules: &ManifestRules<'_>,
        faults: &mut Faults<ManifestFault>,
    ) -> Vec<Dependency> {
        let (found, max) = (self.0.len(), rules.limits.dependencies_max);
        if found > max {
            faults.add(ManifestFault::TooManyDependencies { found, max });
            return Vec::new();
        }
        let mut dependencies = Vec::new();
        let mut sources = BTreeMap::new();
        for entry in self.0 {
            let (name, section) = (quoted(&entry.name), quoted(&entry.section()));
            let mut found = Vec::new();
            found.extend(entry.source_fault(&section, &mut sources));
            dependencies.extend(entry.read(rules, &mut found));
            for fault in found {
                faults.add(ManifestFault::Dependency {
                    name: name.clone(),
                    section: section.clone(),
                    fault,
                });
            }
        }
        dependencies
    }
}

fn take_sections(tables: &mut Fields, platform: Option<&str>, entries: &mut Vec<Entry>) {
    for (section, kind) in SECTIONS {
        let table: Table = tables.take_spelled(section, "a table").unwrap_or_default();
        entries.extend(table.into_iter().map(|(name, value)| Entry {
            kind,
            platform: platform.map(str::to_owned),
            name,
            value,
        }));
    }
}

impl Entry {
    /// The section in which it stands.
    fn section(&self) -> String {
        let name = SECTIONS
            .iter()
            .find(|(_, kind)| *kind == self.kind)
            .map_or("dependencies", |(name, _)| name);
        match &self.platform {
            Some(platform) => format!("target.'{platform}'.{name}"),
            None => name.to_owned(),
        }
    }

    /// Compares its source with that of the same name in an earlier section.
    ///
    /// Cargo does so on reading the manifest; to it a git index and a sparse one are never the same.
    fn source_fault(
        &self,
        section: &str,
        sources: &mut BTreeMap<String, (RegistryUrl, String)>,
    ) -> Option<DependencyFault> {
        let source = match self.value.get("registry-index") {
            None => RegistryUrl::public_registry(),
            // What is no URL is told elsewhere.
            Some(url) => url.as_str()?.parse().ok()?,
        };
        let Some((first, first_section)) = sources.get(&self.name) else {
            sources.insert(self.name.clone(), (source, section.to_owned()));
            return None;
        };
        let is_same = first.is_same_registry(&source) && first.is_sparse() == source.is_sparse();
        (!is_same).then(|| DependencyFault::OtherSource(first_section.clone()))
    }

    /// The dependency; if something is wrong with it that is in `faults`, and there may be none.
    ///
    /// Without a requirement it stays, so that its crate is looked for all the same.
    fn read(
        self,
        rules: &ManifestRules<'_>,
        faults: &mut Vec<DependencyFault>,
    ) -> Option<Dependency> {
        let table = table_of(self.value).map_err(|fault| faults.push(fault));
        let mut table = Fields::new(table.ok()?);
        refuse_keys(&mut table, faults);
        let names = read_names(&self.name, table.take("package", "a string"), faults);
        let req = read_requirement(&mut table, faults);
        let registry = read_registry(table.take("registry-index", "a string"), rules, faults);
        let features: Vec<String> = table
            .take("features", "a list of strings")
            .unwrap_or_default();
        check_features(&features, rules.limits.features_max, faults);
        let optional = table
            .take("optional", "`true` or `false`")
            .unwrap_or_default();
        if optional && self.kind == DependencyKind::Dev {
            faults.push(DependencyFault::OptionalDev);
        }
        let default_features = table
            .take_spelled("default-features", "`true` or `false`")
            .unwrap_or(true);
        let keys = table.faults().into_iter();
        faults.extend(keys.map(|(key, fault)| DependencyFault::Key { key, fault }));
        let (name, package) = names?;
        Some(Dependency {
            name,
            req: req.unwrap_or_default(),
            features,
            optional,
            default_features,
            target: self.platform,
            kind: self.kind,
            registry: registry?,
            package,
            unknown: Unknown::default(),
        })
    }
}

/// The long form of a dependency: a requirement alone is a table with nothing else.
fn table_of(value: Value) -> Result<Table, DependencyFault> {
    match value {
        Value::String(_) => Ok(Table::from_iter([("version".to_owned(), value)])),
        Value::Table(_) if is_inherited(&value) => Err(DependencyFault::Inherited),
        Value::Table(table) => Ok(table),
        _ => Err(DependencyFault::Form),
    }
}

fn refuse_keys(table: &mut Fields, faults: &mut Vec<DependencyFault>) {
    for key in SOURCE_KEYS {
        if table.remove(key).is_some() {
            faults.push(DependencyFault::Source(key));
        }
    }
    for key in NIGHTLY_KEYS {
        if table.remove(key).is_some() {
            faults.push(DependencyFault::Nightly(key));
        }
    }
    if table.remove("registry").is_some() {
        faults.push(DependencyFault::Alias);
    }
}

/// The name in the manifest, and the crate's own if that is another.
fn read_names(
    key: &str,
    package: Option<String>,
    faults: &mut Vec<DependencyFault>,
) -> Option<(DependencyName, Option<CrateName>)> {
    let names = match package {
        Some(package) => key
            .parse()
            .and_then(|name| Ok((name, Some(package.parse()?)))),
        None => key
            .parse()
            .map(|name: CrateName| (DependencyName::from(name), None)),
    };
    names
        .map_err(|fault| faults.push(DependencyFault::Name(fault)))
        .ok()
}

fn read_requirement(table: &mut Fields, faults: &mut Vec<DependencyFault>) -> Option<VersionReq> {
    if !table.has("version") {
        faults.push(DependencyFault::NoVersion);
    }
    let text: String = table.take("version", "a string")?;
    let not_one = |reason| DependencyFault::Requirement {
        text: quoted(&text),
        reason,
    };
    faults.push(if text.len() > REQUIREMENT_BYTES_MAX {
        not_one(format!("it is longer than {REQUIREMENT_BYTES_MAX} bytes"))
    } else {
        match VersionReq::parse(&text) {
            Ok(req) if req != VersionReq::STAR => return Some(req),
            Ok(_) => DependencyFault::Star,
            Err(error) => not_one(error.to_string()),
        }
    });
    None
}

/// The registry as the index line names it: `None` inside is this one.
fn read_registry(
    url: Option<String>,
    rules: &ManifestRules<'_>,
    faults: &mut Vec<DependencyFault>,
) -> Option<Option<RegistryUrl>> {
    let public = RegistryUrl::public_registry();
    let url = match url.map(|url| url.parse::<RegistryUrl>()) {
        // Cargo writes no URL for the public registry.
        None => public.clone(),
        Some(Ok(url)) if rules.own.contains(&url) => return Some(None),
        Some(Ok(url)) if url.is_same_registry(&public) => public.clone(),
        Some(Ok(url)) => url,
        Some(Err(fault)) => {
            faults.push(DependencyFault::Url(fault));
            return None;
        }
    };
    let mut allowed = rules.allowed_registries.iter();
    if allowed.any(|allowed| allowed.is_same_registry(&url)) {
        return Some(Some(url));
    }
    faults.push(if url == public {
        DependencyFault::PublicRegistry
    } else {
        DependencyFault::Registry(url)
    });
    None
}

fn check_features(features: &[String], max: usize, faults: &mut Vec<DependencyFault>) {
    if features.len() > max {
        faults.push(DependencyFault::TooManyFeatures(max));
        return;
    }
    let found = features
        .iter()
        .filter_map(|name| check_feature_name(name).err());
    faults.extend(found.map(DependencyFault::Feature));
}
