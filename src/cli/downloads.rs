//! `sidecargo downloads rotate`

use anyhow::Context;
use clap::{Args, Subcommand};

use sidecargo::app;
use sidecargo::config::Arguments;

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
    Rotate(Rotate),
}

#[derive(Debug, Args)]
struct Rotate {
    #[command(flatten)]
    settings: Settings,
}

impl Downloads {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Rotate(rotate) => rotate.run(),
        }
    }
}

impl Rotate {
    fn run(self) -> anyhow::Result<()> {
        let config = self.settings.load(Arguments::default())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let landed = runtime
            .block_on(app::rotate_downloads(&config))
            .context("the secret of downloads was not changed")?;
        // The secret itself is for the index alone.
        eprintln!(
            "downloads have a new secret since the commit {}",
            landed.commit
        );
        Ok(())
    }
}
