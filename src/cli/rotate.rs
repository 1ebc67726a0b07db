//! `sidecargo downloads rotate` and `sidecargo key rotate`

use clap::Subcommand;

use sidecargo::operator::Request;

use super::Settings;

/// What can be done with capability downloads.
#[derive(Debug, Subcommand)]
pub(super) enum Downloads {
    /// Gives the URLs of capability downloads a new secret; the ones so far end, until Cargo has read the index again.
    /// Works while the server runs.
    Rotate(Settings),
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Lets new keys sign commits and tokens; what the old ones signed stays good. Works while the server runs.
    Rotate(Settings),
}

impl Downloads {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self::Rotate(settings) = self;
        settings.ask(&Request::RotateDownloads {})
    }
}

impl Key {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self::Rotate(settings) = self;
        settings.ask(&Request::RotateKeys {})
    }
}
