//! The manifest of a release: the only source of what its index line says.
//!
//! It is the `Cargo.toml` of the `.crate` file, which `cargo package` has rewritten so that any Cargo can read it:
//! without workspace inheritance, patches, folders and git repositories, with registries as URLs
//! ([Cargo book](https://doc.rust-lang.org/cargo/reference/manifest.html)). A manifest that is not of that kind is
//! refused with what Cargo would have written. Keys that say nothing about the line are not looked at.

mod about;
mod dependency;
mod features;
mod fields;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod platform;
mod syntax;
mod targets;

use jiff::Timestamp;
use thiserror::Error;
use toml::{Table, Value};

use self::dependency::DependencyTables;
use self::fields::Fields;
use self::targets::Build;
use super::faults::{Faults, quoted};
use super::files::Files;
use super::frame::{Metadata, MetadataFault};
use crate::domain::{
    Cksum, CrateName, CrateVersion, Dependency, DocumentFault, Features, IndexLine, Limits,
    NameFault, OwnUrls, PlainText, PubTime, RegistryUrl, Requirements, TextFault, VersionFault,
    read_document,
};

use self::about::About;
pub use self::about::AboutFault;
pub use self::dependency::DependencyFault;
pub use self::features::FeaturesFault;
pub use self::fields::KeyFault;
pub use self::platform::PlatformFault;
pub use self::syntax::SyntaxFault;
pub use self::targets::TargetFault;

/// What a registry asks of a manifest.
#[derive(Debug, Clone, Copy)]
pub struct ManifestRules<'a> {
    /// The URLs that mean this registry; dependencies on them are its own.
    pub own: &'a OwnUrls,
    /// The other registries on which a release may depend, the public one included if it may.
    pub allowed_registries: &'a [RegistryUrl],
    /// What a release must have.
    pub require: &'a Requirements,
    /// How much a release may have.
    pub limits: &'a Limits,
}

/// What a manifest says of a release, judged and ready for the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The crate, as the manifest spells it.
    pub name: CrateName,
    /// The version, build metadata included.
    pub version: CrateVersion,
    /// Dependencies of all kinds, in no particular order.
    pub dependencies: Vec<Dependency>,
    /// Features as written; those that optional dependencies imply are not listed, as in Cargo's own lines.
    pub features: Features,
    /// The native library that it links.
    pub links: Option<String>,
    /// The oldest Rust that it needs: one to three numbers.
    pub rust_version: Option<String>,
    /// What it is, for people; not part of the index line.
    pub description: Option<String>,
    /// Where its sources are said to be; not part of the index line.
    pub repository: Option<String>,
}

/// What could be read of a release.
#[derive(Debug)]
pub struct Read {
    /// The release, whole if there are no faults; otherwise what is not understood is left out.
    ///
    /// There is none if the upload does not say name and version.
    pub release: Option<Release>,
    /// All that is wrong with the manifest.
    pub faults: Faults<ManifestFault>,
}

/// What is wrong with a manifest.
#[derive(Debug, Error)]
pub enum ManifestFault {
    /// Not TOML.
    #[error("`Cargo.toml` cannot be read, line {line}: {message}")]
    Toml { line: usize, message: String },
    /// TOML that not every reader takes.
    #[error("`Cargo.toml`, line {line}, {fault}")]
    Syntax { line: usize, fault: SyntaxFault },
    /// A key, from the top of the manifest.
    #[error("`{key}` {fault}")]
    Key { key: String, fault: KeyFault },
    /// Not the name of a crate.
    #[error("`package.name`: {0}")]
    Name(NameFault),
    /// Not a version.
    #[error("`package.version`: {0}")]
    Version(VersionFault),
    /// The upload claims another name.
    #[error("the manifest is that of `{manifest}`, but the upload says `{metadata}`")]
    OtherName {
        manifest: CrateName,
        metadata: CrateName,
    },
    /// The upload claims another version.
    #[error("the manifest says version `{manifest}`, but the upload says `{metadata}`")]
    OtherVersion {
        manifest: CrateVersion,
        metadata: CrateVersion,
    },
    /// A section that Cargo removes.
    #[error("`[{0}]` must not be in a published crate; `cargo package` does not write it")]
    Section(&'static str),
    /// A value that only the uploader's workspace knows.
    #[error("`{0}` is inherited from a workspace; `cargo package` writes the value itself")]
    Inherited(String),
    /// A platform that Cargo cannot read: the index line would be lost.
    #[error("the platform `{platform}` in `[target]` {fault}")]
    Platform {
        platform: String,
        fault: PlatformFault,
    },
    /// More dependencies than allowed.
    #[error("the manifest has {found} dependencies; at most {max} are allowed")]
    TooManyDependencies { found: usize, max: usize },
    /// One dependency.
    #[error("the dependency `{name}` in `[{section}]` {fault}")]
    Dependency {
        name: String,
        section: String,
        fault: DependencyFault,
    },
    /// The features.
    #[error(transparent)]
    Features(#[from] FeaturesFault),
    /// A crate that is not for any registry.
    #[error(
        "`package.publish` says that no registry may have the crate; remove it, or list this registry in it"
    )]
    Unpublished,
    /// What it builds.
    #[error(transparent)]
    Targets(#[from] TargetFault),
    /// What is for people.
    #[error(transparent)]
    About(#[from] AboutFault),
    /// The native library.
    #[error("`package.links`: {0}")]
    Links(TextFault),
    /// A version of Rust that Cargo cannot read: the index line would be lost.
    #[error("`package.rust-version` is `{0}`; it must be one to three numbers such as `1.85`")]
    RustVersion(String),
    /// The line would be too long for the index.
    #[error(
        "the index line of this release would be {bytes} bytes long; at most {max} are allowed"
    )]
    LineTooLong { bytes: usize, max: usize },
}

impl Release {
    /// The line that stands for this release in the index.
    pub fn line(&self, cksum: Cksum, pubtime: PubTime) -> IndexLine {
        IndexLine {
            links: self.links.clone(),
            rust_version: self.rust_version.clone(),
            ..IndexLine::new(
                self.name.clone(),
                self.version.clone(),
                self.dependencies.clone(),
                self.features.clone(),
                cksum,
                pubtime,
            )
        }
    }
}

impl Read {
    /// What the upload says without its manifest.
    pub fn nothing(upload: &Metadata) -> Self {
        let release = upload.release().map(|(name, version)| Release {
            name: name.clone(),
            version: version.clone(),
            dependencies: Vec::new(),
            features: Features::new(),
            links: None,
            rust_version: None,
            description: None,
            repository: None,
        });
        let faults = Faults::none();
        Self { release, faults }
    }
}

/// Reads the manifest of a `.crate` file with these files; all faults are found unless it is no TOML at all.
///
/// What only name, version or files tell is not judged where they are not known.
pub fn read(
    manifest: &str,
    upload: &Metadata,
    files: Option<&Files>,
    rules: &ManifestRules<'_>,
) -> Read {
    let Read {
        release,
        mut faults,
    } = Read::nothing(upload);
    let table = read_document(manifest).map_err(|fault| toml_fault(manifest, &fault));
    let Some(table) = faults.note(table) else {
        return Read { release, faults };
    };
    faults.take_over(syntax::check(manifest), |(at, fault)| {
        let line = line_of(manifest, at);
        ManifestFault::Syntax { line, fault }
    });
    let mut manifest = Fields::new(table);

    refuse_sections(&mut manifest, &mut faults);
    let package = read_package(&mut manifest, upload, files, rules, &mut faults);
    if let Some(files) = files {
        targets::check(&mut manifest, files, &mut faults);
    }
    let tables = DependencyTables::take(&mut manifest, &mut faults);
    let declared = tables.declared();
    let dependencies = tables.read(rules, &mut faults);
    let features = features::read(&mut manifest, &declared, rules.limits, &mut faults);
    manifest.report("", &mut faults);

    let release = release.map(|release| Release {
        dependencies,
        features,
        links: package.links,
        rust_version: package.rust_version,
        description: package.about.description,
        repository: package.about.repository,
        ..release
    });
    if let Some(release) = &release {
        check_line_length(release, rules.limits, &mut faults);
    }
    Read { release, faults }
}

fn toml_fault(manifest: &str, fault: &DocumentFault) -> ManifestFault {
    ManifestFault::Toml {
        line: line_of(manifest, fault.at),
        message: quoted(&fault.to_string()),
    }
}

/// The number of the line, from 1, in which the byte at `at` is.
fn line_of(manifest: &str, at: usize) -> usize {
    let line_feeds = manifest.bytes().take(at).filter(|byte| *byte == b'\n');
    line_feeds.count() + 1
}

/// Refuses what would let a published crate depend on its uploader's folders.
fn refuse_sections(manifest: &mut Fields, faults: &mut Faults<ManifestFault>) {
    for section in ["patch", "replace", "project"] {
        if manifest.remove(section).is_some() {
            faults.add(ManifestFault::Section(section));
        }
    }
    if manifest
        .remove("lints")
        .is_some_and(|lints| is_inherited(&lints))
    {
        faults.add(ManifestFault::Inherited("lints".to_owned()));
    }
}

/// What `[package]` says besides name and version.
#[derive(Default)]
struct Package {
    links: Option<String>,
    rust_version: Option<String>,
    about: About,
}

fn read_package(
    manifest: &mut Fields,
    upload: &Metadata,
    files: Option<&Files>,
    rules: &ManifestRules<'_>,
    faults: &mut Faults<ManifestFault>,
) -> Package {
    let Some(mut table) = manifest.need::<Table>("package", "a table") else {
        return Package::default();
    };
    // Tools may keep what they like in their own table.
    table.remove("metadata");
    let mut package = Fields::new(table);
    for key in package.remove_inherited() {
        faults.add(ManifestFault::Inherited(quoted(&format!("package.{key}"))));
    }
    check_identity(&mut package, upload, faults);
    check_publish(&mut package, faults);
    // Which editions there are is for the Cargo that builds it.
    package.take::<String>("edition", "a string");
    let build = Build::read(&mut package);
    let read = Package {
        links: package.take("links", "a string"),
        rust_version: package.take("rust-version", "a string"),
        about: about::read(&mut package, rules, faults),
    };
    if let (Some(_), Some(files)) = (&read.links, files) {
        build.check(files, faults);
    }
    if let Some(Err(fault)) = read.links.as_ref().map(|links| links.parse::<PlainText>()) {
        faults.add(ManifestFault::Links(fault));
    }
    if let Some(text) = read
        .rust_version
        .as_ref()
        .filter(|text| !is_rust_version(text))
    {
        faults.add(ManifestFault::RustVersion(quoted(text)));
    }
    package.report("package.", faults);
    read
}

/// Checks that the manifest names the release that was announced.
fn check_identity(package: &mut Fields, upload: &Metadata, faults: &mut Faults<ManifestFault>) {
    let name: Option<String> = package.need("name", "a string");
    match (name.map(|name| name.parse()), upload.name.clone()) {
        (Some(Ok(manifest)), Ok(metadata)) if manifest != metadata => {
            faults.add(ManifestFault::OtherName { manifest, metadata });
        }
        // Cargo takes the one from the other: the sentence is there already.
        (Some(Err(fault)), Err(MetadataFault::Name(told))) if fault == told => {}
        (Some(Err(fault)), _) => faults.add(ManifestFault::Name(fault)),
        (Some(Ok(_)) | None, _) => {}
    }
    let version: Option<String> = package.need("version", "a string");
    match (version.map(|text| text.parse()), upload.version.clone()) {
        (Some(Ok(manifest)), Ok(metadata)) if manifest != metadata => {
            faults.add(ManifestFault::OtherVersion { manifest, metadata });
        }
        (Some(Err(fault)), Err(MetadataFault::Version(told))) if fault == told => {}
        (Some(Err(fault)), _) => faults.add(ManifestFault::Version(fault)),
        (Some(Ok(_)) | None, _) => {}
    }
}

/// Checks that the crate is for some registry; Cargo alone knows by which name this one is meant.
fn check_publish(package: &mut Fields, faults: &mut Faults<ManifestFault>) {
    let expected = "`true`, `false` or a list of registries";
    let is_nowhere = match package.take::<Value>("publish", expected) {
        None | Some(Value::Boolean(true)) => false,
        Some(Value::Boolean(false)) => true,
        Some(Value::Array(registries)) => registries.is_empty(),
        Some(_) => {
            package.wrong("publish", expected);
            false
        }
    };
    if is_nowhere {
        faults.add(ManifestFault::Unpublished);
    }
}

/// Whether a value says `workspace = true`, or anything else about a workspace.
fn is_inherited(value: &Value) -> bool {
    value.get("workspace").is_some()
}

/// Whether Cargo reads the text as a version of Rust in an index line: since 1.74 it is strict.
fn is_rust_version(text: &str) -> bool {
    let is_number = |part: &str| {
        part.parse::<u64>()
            .is_ok_and(|number| number.to_string() == part)
    };
    text.split('.').count() <= 3 && text.split('.').all(is_number)
}

fn check_line_length(release: &Release, limits: &Limits, faults: &mut Faults<ManifestFault>) {
    // Checksums and times are all equally long.
    let line = release.line(
        Cksum::from([0; 32]),
        PubTime::from_moment(Timestamp::UNIX_EPOCH),
    );
    let (bytes, max) = (line.to_bytes().len(), limits.line_bytes_max);
    if bytes > max {
        faults.add(ManifestFault::LineTooLong { bytes, max });
    }
}

#[cfg(test)]
mod line_tests;
#[cfg(test)]
mod tests;
