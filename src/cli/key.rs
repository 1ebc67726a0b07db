//! `sidecargo key rotate`

use clap::{Args, Subcommand};

use sidecargo::operator::Request;

use super::Settings;

/// Options of `key`.
#[derive(Debug, Args)]
pub(super) struct Key {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lets new keys sign commits and tokens; what the old ones signed stays good. Works while the server runs.
    Rotate(Rotate),
}

#[derive(Debug, Args)]
struct Rotate {
    #[command(flatten)]
    settings: Settings,
}

impl Key {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Command::Rotate(rotate) = self.command;
        rotate.settings.ask(&Request::RotateKeys {})
    }
}
