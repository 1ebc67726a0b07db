//! `sidecargo downloads rotate`

use clap::{Args, Subcommand};

use sidecargo::operator::Request;

use super::Settings;

/// Options of `downloads`.
#[derive(Debug, Args)]
pub(super) struct Downloads {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Gives the URLs of capability downloads a new secret; the ones so far end, until Cargo has read the index again.
    /// Works while the server runs.
    Rotate(Rotate),
}

#[derive(Debug, Args)]
struct Rotate {
    #[command(flatten)]
    settings: Settings,
}

impl Downloads {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Command::Rotate(rotate) = self.command;
        rotate.settings.ask(&Request::RotateDownloads {})
    }
}
