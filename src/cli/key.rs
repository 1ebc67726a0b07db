//! `sidecargo key rotate`

use std::io::Write;

use clap::{Args, Subcommand};

use sidecargo::config::Arguments;
use sidecargo::control;
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
        let config = rotate.settings.load(Arguments::default())?;
        let done = control::ask(&config.data, &Request::RotateKeys {})?;
        writeln!(std::io::stdout(), "{done}")?;
        Ok(())
    }
}
