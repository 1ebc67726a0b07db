//! Whether there is something to build, and the build script that `links` needs.
//!
//! Cargo packs no crate that breaks these rules, and builds none: they are its own
//! ([Cargo book](https://doc.rust-lang.org/cargo/reference/cargo-targets.html)).

use thiserror::Error;
use toml::Value;

use super::ManifestFault;
use super::fields::Fields;
use crate::publish::faults::Faults;
use crate::publish::files::Files;

/// The sections of targets.
const SECTIONS: [&str; 5] = ["lib", "bin", "example", "test", "bench"];

/// The folders in which Cargo looks for targets.
const FOLDERS: [&str; 4] = ["src/bin", "examples", "tests", "benches"];

/// What is wrong with what a crate builds.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum TargetFault {
    /// Nothing to build.
    #[error(
        "the crate has nothing to build: neither `src/lib.rs` nor `src/main.rs` is in the archive, and `Cargo.toml` has no `[lib]` and no `[[bin]]`"
    )]
    NoTarget,
    /// A native library that nothing finds or makes.
    #[error(
        "`package.links` needs a build script: `build.rs`, or the file that `package.build` names, must be in the archive"
    )]
    NoBuildScript,
}

/// What `package.build` says.
pub(super) enum Build {
    /// Nothing: there is a script if there is `build.rs`.
    Default,
    Never,
    Script(String),
}

impl Build {
    pub(super) fn read(package: &mut Fields) -> Self {
        let expected = "the path of a build script, `true` or `false`";
        match package.take::<Value>("build", expected) {
            Some(Value::Boolean(false)) => Self::Never,
            Some(Value::String(path)) => Self::Script(path),
            None | Some(Value::Boolean(true)) => Self::Default,
            Some(_) => {
                package.wrong("build", expected);
                Self::Default
            }
        }
    }

    /// Checks that a script is there.
    pub(super) fn check(&self, files: &Files, faults: &mut Faults<ManifestFault>) {
        let has_script = match self {
            Self::Default => files.has("build.rs"),
            Self::Never => false,
            Self::Script(path) => files.has(path),
        };
        if !has_script {
            faults.add(TargetFault::NoBuildScript.into());
        }
    }
}

/// Checks that the manifest names a target, or that there is a file where Cargo looks for one.
pub(super) fn check(manifest: &mut Fields, files: &Files, faults: &mut Faults<ManifestFault>) {
    let is_section = |value: Value| match value {
        Value::Array(targets) => !targets.is_empty(),
        _ => true,
    };
    let named = SECTIONS.map(|section| manifest.remove(section).is_some_and(is_section));
    let has_target = named.contains(&true)
        || ["src/lib.rs", "src/main.rs"]
            .iter()
            .any(|path| files.has(path))
        || FOLDERS.iter().any(|folder| files.has_in(folder));
    if !has_target {
        faults.add(TargetFault::NoTarget.into());
    }
}
