//! `sidecargo downloads rotate`

use std::io::Write;

use clap::{Args, Subcommand};

use sidecargo::config::Arguments;
use sidecargo::control;
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
        let config = rotate.settings.load(Arguments::default())?;
        let done = control::ask(&config.data, &Request::RotateDownloads {})?;
        writeln!(std::io::stdout(), "{done}")?;
        Ok(())
    }
}
