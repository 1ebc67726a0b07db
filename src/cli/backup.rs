//! `sidecargo backup` and `sidecargo restore`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use sidecargo::backup::{self, Copied};
use sidecargo::config::Arguments;

use super::{Settings, progress};

/// Copies the registry to a folder, also while the server runs; a backup that is there is brought up to date.
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The folder of the backup. It holds the keys too: guard it as you guard them.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    #[command(flatten)]
    settings: Settings,
}

/// Verifies a backup and copies it into a data folder that has no registry yet.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The folder of the backup.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    #[command(flatten)]
    settings: Settings,
}

impl Backup {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let data = self.settings.load(Arguments::default())?.data;
        let bar = progress::bar("crate files");
        let copied = backup::back_up(&data, &self.folder, &mut |all, left| bar.set(all, left));
        bar.clear();
        say("the backup is", copied?)
    }
}

impl Restore {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let data = self.settings.load(Arguments::default())?.data;
        let bar = progress::bar("crate files");
        let copied = backup::restore(&self.folder, &data, &mut |all, left| bar.set(all, left));
        bar.clear();
        let copied = copied?;
        let is_closed = copied.is_closed;
        if let Some(kept) = &copied.kept {
            writeln!(
                std::io::stderr(),
                "sidecargo: warning: {} was there already and stays, though it is not that of the backup: it holds the number of the index repository on the forge; unless it came later, remove it before the start",
                kept.display()
            )?;
        }
        say("the registry is restored", copied)?;
        if is_closed {
            writeln!(
                std::io::stdout(),
                "if everybody could read it: nobody reads it without a token until the forge has shown its repository for a minute, or, without a forge, the configuration says `visibility = \"public\"`"
            )?;
        }
        Ok(())
    }
}

fn say(what: &str, copied: Copied) -> anyhow::Result<()> {
    let Copied {
        commit,
        left_out,
        crate_files,
        fresh,
        is_closed: _,
        kept: _,
    } = copied;
    if let Some(branch) = left_out {
        writeln!(
            std::io::stderr(),
            "sidecargo: warning: the branch is at {branch}, and what it has beyond {commit} is left out, because the registry does not follow it there; `sidecargo verify` tells why"
        )?;
    }
    writeln!(
        std::io::stdout(),
        "{what} at {commit}; crate files: {crate_files}, copied now: {fresh}"
    )?;
    Ok(())
}
