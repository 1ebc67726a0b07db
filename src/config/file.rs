//! The configuration file as it is written.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;
use toml::de::DeTable;

use super::{ConfigFault, LogFilter, mistake};
use crate::domain::{PublicUrl, RegistryName, RepositoryPath, Visibility};

/// The largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A configuration file: every key may be missing, none may be unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawConfig {
    /// The data folder.
    pub data: Option<PathBuf>,
    /// The address to listen on.
    pub listen: Option<SocketAddr>,
    /// The base URL at which people reach the server.
    pub public_url: Option<PublicUrl>,
    /// The registry's name.
    pub name: Option<RegistryName>,
    /// Who may read.
    pub visibility: Option<Visibility>,
    /// Whether a Cargo that sends no token may download by a secret in the URL.
    pub capability_downloads: bool,
    /// The repository.
    pub index: IndexConfig,
    /// The forge that has its branch, if there is one.
    pub forge: RawForge,
    /// Connections and requests.
    pub http: HttpConfig,
    /// Reading by the git protocol.
    pub fetch: FetchConfig,
    /// What is logged.
    pub log: LogConfig,
}

/// The section `[index]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "the section `[index]`, its keys in the lines below"
)]
pub struct IndexConfig {
    /// How often it is looked whether somebody else moved the branch.
    pub poll_secs: u64,
}

/// The section `[forge]` as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "the section `[forge]`, its keys in the lines below"
)]
pub struct RawForge {
    /// Its base URL.
    pub url: Option<PublicUrl>,
    /// What it calls itself, if that is another URL.
    pub issuer: Option<PublicUrl>,
    /// The index repository there.
    pub repository: Option<RepositoryPath>,
    /// The file that holds the robot's token.
    pub token_file: Option<PathBuf>,
    /// The file that holds the secret of the webhook.
    pub webhook_secret_file: Option<PathBuf>,
    /// The number of this registry as an application there.
    pub client_id: Option<String>,
    /// The team whose members approve and merge.
    pub reviewers: Option<String>,
    /// Where the forge reaches this server.
    pub told_at: Option<PublicUrl>,
    /// How often it is looked whether somebody else moved the branch there.
    pub poll_secs: u64,
    /// How long those who could read may go on while the forge cannot be asked.
    pub unreachable_secs: u64,
}

/// The section `[http]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "the section `[http]`, its keys in the lines below"
)]
pub struct HttpConfig {
    /// For a request head, and for idling between two requests.
    pub header_secs: u64,
    /// For the next bytes of a request body.
    pub body_idle_secs: u64,
    /// For a whole request body.
    pub body_total_secs: u64,
    /// For a client to take the next bytes of an answer.
    pub response_idle_secs: u64,
    /// The most connections at one time.
    pub connections_max: usize,
    /// For running requests once the server is told to end.
    pub shutdown_secs: u64,
    /// For a publish, from the last byte of its body.
    pub publish_deadline_secs: u64,
    /// Networks of proxies that say for whom they ask.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
}

/// Networks; that of a single address may stand without a length.
fn networks<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<IpNet>, D::Error> {
    let networks = Vec::<Network>::deserialize(source)?;
    Ok(networks.into_iter().map(|network| network.0).collect())
}

struct Network(IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_str(NetworkText)
    }
}

struct NetworkText;

impl Visitor<'_> for NetworkText {
    type Value = Network;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address or a network, such as 127.0.0.1 or 10.0.0.0/8")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Network, E> {
        let address = |_| text.parse().map(|address: IpAddr| address.into());
        let network = text.parse().or_else(address);
        let fault = |_| E::invalid_value(Unexpected::Str(text), &self);
        network.map(Network).map_err(fault)
    }
}

/// The section `[fetch]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "the section `[fetch]`, its keys in the lines below"
)]
pub struct FetchConfig {
    /// The most `git upload-pack` processes at one time.
    pub children_max: usize,
    /// The most of them for one address.
    pub per_address_max: usize,
    /// For a fetch to wait until it has a process; 0 refuses at once.
    pub queue_secs: u64,
    /// For a client to take the next bytes of a pack.
    pub stall_secs: u64,
    /// For a whole fetch.
    pub total_secs: u64,
    /// CPU time of one process.
    pub cpu_secs: u64,
    /// Memory for answers that are sent again, in MiB.
    pub remembered_mb: usize,
}

/// The section `[log]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "the section `[log]`, its keys in the lines below"
)]
pub struct LogConfig {
    /// Levels by module.
    pub filter: LogFilter,
    /// For whom its lines are.
    pub format: LogFormat,
}

/// The form of a line of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One that people read.
    #[default]
    Human,
    /// One JSON object.
    Json,
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self { poll_secs: 1 }
    }
}

impl Default for RawForge {
    fn default() -> Self {
        Self {
            url: None,
            issuer: None,
            repository: None,
            token_file: None,
            webhook_secret_file: None,
            client_id: None,
            reviewers: None,
            told_at: None,
            poll_secs: 30,
            unreachable_secs: 86400,
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            header_secs: 10,
            body_idle_secs: 30,
            body_total_secs: 600,
            response_idle_secs: 30,
            connections_max: 512,
            shutdown_secs: 30,
            publish_deadline_secs: 20,
            trusted_proxies: Vec::new(),
        }
    }
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            children_max: 16,
            per_address_max: 4,
            queue_secs: 10,
            stall_secs: 120,
            total_secs: 1800,
            cpu_secs: 60,
            remembered_mb: 64,
        }
    }
}

/// Where in a configuration file each key stands.
#[derive(Debug, Default)]
pub(super) struct Lines {
    path: PathBuf,
    /// Section (empty for none), key and line.
    keys: Vec<(String, String, usize)>,
}

impl Lines {
    /// The lines of the keys of `text`, which has been read as a [`RawConfig`] before.
    fn find(path: &Path, text: &str) -> Self {
        let mut keys = Vec::new();
        // It is a valid file, so there is no fault here.
        if let Ok(table) = DeTable::parse(text) {
            for (key, value) in table.get_ref() {
                keys.push((String::new(), key.get_ref().to_string(), line_at(text, key)));
                for (inner, _) in value.get_ref().as_table().into_iter().flatten() {
                    let section = key.get_ref().to_string();
                    keys.push((section, inner.get_ref().to_string(), line_at(text, inner)));
                }
            }
        }
        Self {
            path: path.to_owned(),
            keys,
        }
    }

    /// The file and the line of a key, if it stands there.
    pub(super) fn of(&self, section: &str, key: &str) -> Option<(&Path, usize)> {
        let is_it = |known: &&(String, String, usize)| known.0 == section && known.1 == key;
        let (_, _, line) = self.keys.iter().find(is_it)?;
        Some((&self.path, *line))
    }
}

fn line_at<T>(text: &str, key: &Spanned<T>) -> usize {
    let before = text.as_bytes().get(..key.span().start).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

impl RawConfig {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// `Read`, `TooLarge`, or `Syntax` with key, line and column.
    pub fn read(path: &Path) -> Result<Self, ConfigFault> {
        Ok(Self::read_with_lines(path)?.0)
    }

    /// As [`RawConfig::read`], with where each key stands.
    pub(super) fn read_with_lines(path: &Path) -> Result<(Self, Lines), ConfigFault> {
        let unreadable = |source| ConfigFault::Read {
            path: path.to_owned(),
            source,
        };
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
            .map_err(unreadable)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(ConfigFault::TooLarge {
                path: path.to_owned(),
                bytes_max: FILE_BYTES_MAX,
            });
        }
        let raw = toml::from_str(&text).map_err(|fault| ConfigFault::Syntax {
            path: path.to_owned(),
            reason: mistake::told(&text, &fault),
        })?;
        Ok((raw, Lines::find(path, &text)))
    }
}
