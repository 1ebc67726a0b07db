//! The command line: one file a command.

mod backup;
mod descriptors;
mod doctor;
mod hook;
mod init;
mod notify;
mod progress;
mod rotate;
mod serve;
mod token;
mod verify;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;

use sidecargo::config::{Arguments, Config, Environment};
use sidecargo::control;
use sidecargo::operator::Request;

/// A private Cargo registry whose index is signed commits in a git repository.
#[derive(Debug, Parser)]
#[command(name = "sidecargo", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the registry; without any setting an embedded one named `crates` in ./sidecargo-data.
    Serve(serve::Serve),
    /// Makes, lists and revokes tokens for publishing, yanking and changing owners.
    Token(token::Token),
    /// Changes how a Cargo that sends no token downloads from a private registry.
    #[command(subcommand)]
    Downloads(rotate::Downloads),
    /// Changes the keys that sign commits and tokens.
    #[command(subcommand)]
    Key(rotate::Key),
    Init(init::Init),
    Doctor(doctor::Doctor),
    Verify(verify::Verify),
    Backup(backup::Backup),
    Restore(backup::Restore),
    /// Looks at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// What the git hooks of the repository call.
    #[command(subcommand)]
    Hook(hook::Hook),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Prints every setting with which `serve` would run, each with where it comes from.
    Show(serve::Serve),
}

/// Settings that every command takes; they win over the environment, and that over the file.
#[derive(Debug, Clone, Args)]
struct Settings {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder of the registry's index, crates and keys.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Settings {
    /// The configuration with these settings and those of `more`.
    fn load(self, more: Arguments) -> anyhow::Result<Config> {
        let (arguments, environment, folder) = self.sources(more)?;
        Ok(Config::load(&arguments, &environment, &folder)?)
    }

    /// The same as text, with where each value comes from.
    fn show(self, more: Arguments) -> anyhow::Result<String> {
        let (arguments, environment, folder) = self.sources(more)?;
        Ok(Config::show(&arguments, &environment, &folder)?)
    }

    fn sources(self, more: Arguments) -> anyhow::Result<(Arguments, Environment, PathBuf)> {
        let arguments = Arguments {
            config: self.config,
            data: self.data,
            ..more
        };
        let environment = Environment::from_variables(std::env::vars_os());
        let folder = std::env::current_dir().context("the current folder is not there")?;
        Ok((arguments, environment, folder))
    }
}

/// Git knows no time before 1970, and our own texts none with five digits for the year.
fn check_clock() -> anyhow::Result<()> {
    let is_sane = |now: Timestamp| now >= Timestamp::UNIX_EPOCH;
    anyhow::ensure!(
        Timestamp::try_from(SystemTime::now()).is_ok_and(is_sane),
        "the clock of this machine is not between the years 1970 and 9999; set it and try again"
    );
    Ok(())
}

impl Settings {
    /// Asks the running server, or does it alone, and prints what was done.
    fn ask(self, request: &Request) -> anyhow::Result<()> {
        let config = self.load(Arguments::default())?;
        let done = control::ask(&config.data, request)?;
        writeln!(std::io::stdout(), "{done}")?;
        Ok(())
    }
}

impl Cli {
    /// Does what the command line says.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        check_clock()?;
        match self.command {
            Command::Serve(serve) => return serve.run(),
            Command::Token(token) => token.run()?,
            Command::Downloads(downloads) => downloads.run()?,
            Command::Key(key) => key.run()?,
            Command::Init(init) => init.run()?,
            Command::Doctor(doctor) => return doctor.run(),
            Command::Verify(verify) => return verify.run(),
            Command::Backup(backup) => backup.run()?,
            Command::Restore(restore) => restore.run()?,
            Command::Config(ConfigCommand::Show(serve)) => serve.show()?,
            Command::Hook(hook) => hook.run()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
