//! `sidecargo token create`, `list` and `revoke`

use std::fmt::Display;
use std::io::Write;

use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::Timestamp;

use sidecargo::app;
use sidecargo::auth::{Lifetime, TokenOrder};
use sidecargo::config::Arguments;
use sidecargo::control;
use sidecargo::domain::{Can, CrateScope, Login, Scopes, TokenId};
use sidecargo::operator::{self, ListedToken, Request};
use sidecargo::tokens::TokenRecord;

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
    /// Prints all tokens of the registry, a line each; works while the server runs.
    List(List),
    /// Ends tokens before their time, at once and for good; works while the server runs.
    Revoke(Revoke),
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

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
struct Revoke {
    /// The id of the token, as `token list` shows it, or several.
    // Not a `TokenId`: what is typed here by mistake may be the token itself, and is not to be printed.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    settings: Settings,
}

impl Token {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Create(create) => create.run(),
            Command::List(list) => list.run(),
            Command::Revoke(revoke) => revoke.run(),
        }
    }
}

impl Create {
    fn run(self) -> anyhow::Result<()> {
        let config = self.settings.load(Arguments::default())?;
        // In the wrong folder that is not what was meant.
        let tell = || {
            let data = config.data.display();
            eprintln!("sidecargo: there was no registry in {data}; a new one was made");
        };
        let issuer = app::issuer(&config, tell).context("no token was made")?;
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
        let mut can = order.scopes.can.clone();
        can.sort_unstable();
        can.dedup();
        let record = TokenRecord {
            user: order.login.clone(),
            can,
            crates: order.scopes.crates.clone(),
            issued: minted.issued,
            expires: minted.expires,
            key: minted.key.to_string().parse().ok(),
        };
        app::token_records(&config)
            .add(minted.id, &record)
            .context("no token was made")?;
        eprintln!(
            "token {} of {}, good until {}; it is not shown again",
            minted.id, order.login, minted.expires
        );
        writeln!(std::io::stdout(), "{}", minted.token.expose())?;
        Ok(())
    }
}

impl List {
    fn run(self) -> anyhow::Result<()> {
        let config = self.settings.load(Arguments::default())?;
        let mut rows =
            vec![["ID", "USER", "CAN", "CRATES", "ISSUED", "EXPIRES", "STATE"].map(str::to_owned)];
        let tokens = operator::list_tokens(&config.data, Timestamp::now())?;
        rows.extend(tokens.iter().map(row));
        let mut out = std::io::stdout().lock();
        for row in &rows {
            let cells: String = (0..row.len() - 1)
                .map(|column| {
                    let width = rows.iter().map(|row| row[column].len()).max();
                    format!("{:<1$}  ", row[column], width.unwrap_or_default())
                })
                .collect();
            writeln!(out, "{cells}{}", row[row.len() - 1])?;
        }
        Ok(())
    }
}

fn row(token: &ListedToken) -> [String; 7] {
    let (id, state) = (token.id.to_string(), token.state.to_string());
    match &token.record {
        Some(record) => [
            id,
            record.user.to_string(),
            joined(&record.can),
            joined(&record.crates),
            record.issued.to_string(),
            record.expires.to_string(),
            state,
        ],
        None => {
            let unknown = || "?".to_owned();
            [
                id,
                unknown(),
                unknown(),
                unknown(),
                unknown(),
                unknown(),
                state,
            ]
        }
    }
}

fn joined(items: &[impl Display]) -> String {
    let words: Vec<String> = items.iter().map(ToString::to_string).collect();
    words.join(",")
}

impl Revoke {
    fn run(self) -> anyhow::Result<()> {
        let ids: Vec<TokenId> = self
            .ids
            .iter()
            .map(|id| id.parse())
            .collect::<Result<_, _>>()
            .context("nothing was revoked: this is not the id of a token; `sidecargo token list` shows the ids")?;
        let config = self.settings.load(Arguments::default())?;
        for id in ids {
            let done = control::ask(&config.data, &Request::RevokeToken { id })
                .with_context(|| format!("the token {id} was not revoked"))?;
            writeln!(std::io::stdout(), "{done}")?;
        }
        Ok(())
    }
}
