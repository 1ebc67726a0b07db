//! `sidecargo token create`

use std::io::Write;

use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::Timestamp;

use sidecargo::app;
use sidecargo::auth::{Lifetime, TokenOrder};
use sidecargo::config::Arguments;
use sidecargo::domain::{Can, CrateScope, Login, Scopes};

use super::Settings;

/// Options of `token`.
#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints a new token, and nothing else, on the standard output; works while the server runs.
    Create(Create),
}

#[derive(Debug, Args)]
struct Create {
    /// Whose token it is.
    user: Login,
    #[command(flatten)]
    settings: Settings,
    /// What it allows: `read`, `publish`, `yank`, `own`; everything if not given.
    #[arg(long, value_name = "ACTION", value_delimiter = ',')]
    can: Vec<Can>,
    /// On which crates: names, or prefixes such as `acme-*`; all if not given.
    #[arg(long, value_name = "CRATE", value_delimiter = ',')]
    crates: Vec<CrateScope>,
    /// How long it is good, such as `12h`, `90d` or `1y`.
    #[arg(long, value_name = "TIME", default_value_t)]
    expires: Lifetime,
}

impl Token {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Create(create) => create.run(),
        }
    }
}

impl Create {
    fn run(self) -> anyhow::Result<()> {
        let config = self.settings.load(Arguments::default())?;
        let issuer = app::issuer(&config).context("no token was made")?;
        let all = Scopes::all();
        let scopes = Scopes {
            can: if self.can.is_empty() {
                all.can
            } else {
                self.can
            },
            crates: if self.crates.is_empty() {
                all.crates
            } else {
                self.crates
            },
        };
        let order = TokenOrder {
            login: self.user,
            scopes,
            lifetime: self.expires,
        };
        let minted = issuer
            .mint(&order, Timestamp::now())
            .context("no token was made")?;
        eprintln!(
            "token {} of {}, good until {}; it is not shown again",
            minted.id, order.login, minted.expires
        );
        writeln!(std::io::stdout(), "{}", minted.token.expose())?;
        Ok(())
    }
}
