//! Settings: file, environment and command line, checked and complete.
//!
//! The command line wins over the environment, that over the file.
//! Nothing here reads the process's environment or folder by itself: the caller hands both in.

mod file;
mod filter;
mod forge;
mod mistake;
mod show;
mod sources;
mod validate;

pub use file::{FetchConfig, HttpConfig, IndexConfig, LogConfig, LogFormat, RawConfig, RawForge};
pub use filter::{FilterFault, LogFilter};
pub use forge::{ForgeConfig, TOKEN_VARIABLE};
pub use sources::{Arguments, Environment, listen_address};

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::domain::{PublicUrl, RegistryName, Visibility};

/// Everything that the server needs to know: defaults filled, paths absolute, contradictions refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the index repository, blobs and keys lie.
    pub data: PathBuf,
    /// Where to accept connections; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The registry's name, the first segment of its paths.
    pub name: RegistryName,
    /// Who may read; without a word of it, whoever may already, and everybody if the registry is new.
    pub visibility: Option<Visibility>,
    /// Whether a Cargo that sends no token may download by a secret in the URL; only of a private registry.
    pub capability_downloads: bool,
    /// The repository.
    pub index: IndexConfig,
    /// The forge that has its branch; without one it is this machine's.
    pub forge: Option<ForgeConfig>,
    /// Connections, requests and how long they may take.
    pub http: HttpConfig,
    /// Reading by the git protocol.
    pub fetch: FetchConfig,
    /// What is logged.
    pub log: LogConfig,
    public_url: Option<PublicUrl>,
}

/// Why there is no valid configuration.
#[derive(Debug, Error)]
pub enum ConfigFault {
    /// The file cannot be read.
    #[error("cannot read the configuration file `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than any configuration.
    #[error("the configuration file `{}` is larger than {bytes_max} bytes", path.display())]
    TooLarge { path: PathBuf, bytes_max: u64 },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("the configuration file `{}` is not valid: {reason}", path.display())]
    Syntax { path: PathBuf, reason: String },
    /// A value that its key does not allow.
    #[error("`{key}` is not valid: {reason}")]
    Value { key: &'static str, reason: String },
    /// A value that TOML cannot hold, such as a path that is not UTF-8; of a section only its name is known.
    #[error("`{key}` cannot be shown: {reason}")]
    Show { key: String, reason: String },
}

impl Config {
    /// Puts file, environment and command line together.
    ///
    /// A relative path in the file starts at the file's folder, any other at `folder`.
    ///
    /// # Errors
    /// The first fault, with the name of its key or variable.
    pub fn load(
        arguments: &Arguments,
        environment: &Environment,
        folder: &Path,
    ) -> Result<Self, ConfigFault> {
        Ok(Self::load_with_lines(arguments, environment, folder)?.0)
    }

    /// Every setting that holds, as TOML, each with its source in a comment.
    ///
    /// No setting is a secret: keys and tokens lie in files of their own.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn show(
        arguments: &Arguments,
        environment: &Environment,
        folder: &Path,
    ) -> Result<String, ConfigFault> {
        let (config, lines) = Self::load_with_lines(arguments, environment, folder)?;
        let shown = show::Shown {
            config: &config,
            arguments,
            environment,
            lines: &lines,
        };
        shown.text()
    }

    fn load_with_lines(
        arguments: &Arguments,
        environment: &Environment,
        folder: &Path,
    ) -> Result<(Self, file::Lines), ConfigFault> {
        let file = arguments.config.as_ref().or(environment.config.as_ref());
        let (raw, lines, file_folder) = match file {
            Some(path) => {
                let path = folder.join(path);
                let file_folder = path.parent().unwrap_or(folder).to_owned();
                let (raw, lines) = RawConfig::read_with_lines(&path)?;
                (raw, lines, file_folder)
            }
            None => (
                RawConfig::default(),
                file::Lines::default(),
                folder.to_owned(),
            ),
        };
        let is_data_from_file =
            raw.data.is_some() && arguments.data.is_none() && environment.data.is_none();
        let data_folder = if is_data_from_file {
            &file_folder
        } else {
            folder
        };
        let raw = sources::overlay(raw, arguments, environment)?;
        Ok((validate::complete(raw, data_folder, &file_folder)?, lines))
    }

    /// The base URL of this server, once it is `bound`.
    ///
    /// The default says `localhost` whatever the address: git's credential helpers get no host for a literal IP.
    pub fn public_url(&self, bound: SocketAddr) -> PublicUrl {
        self.public_url.clone().unwrap_or_else(|| {
            format!("http://localhost:{}", bound.port())
                .parse()
                .expect("a host name and a port are a URL")
        })
    }
}

#[cfg(test)]
mod tests;
