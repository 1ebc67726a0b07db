//! The write flow of a new version.

mod faults;
mod frame;
mod manifest;
mod tarball;

#[cfg(test)]
#[path = "../../tests/common/tarball.rs"]
mod tarball_builder;

pub use faults::{FAULTS_MAX, Faults};
pub use frame::{FrameFault, Metadata, Part, Upload, receive};
pub use manifest::{
    DependencyFault, FeaturesFault, KeyFault, ManifestFault, ManifestRules, PlatformFault, Release,
    release,
};
pub use tarball::{Contents, HeaderFault, PathFault, TarballFault, inspect};
