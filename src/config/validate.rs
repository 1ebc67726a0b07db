//! From what was written to what holds.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::{Config, ConfigFault, FetchConfig, HttpConfig, RawConfig, forge};
use crate::domain::Visibility;

const DEFAULT_DATA: &str = "sidecargo-data";
const DEFAULT_PORT: u16 = 8642;
/// The longest time limit, in seconds: a day. Beyond it a limit is none.
pub(super) const SECS_MAX: u64 = 24 * 60 * 60;
/// More memory than any index needs.
const REMEMBERED_MB_MAX: u64 = 64 * 1024;
/// More processes than any machine serves fetches with.
const CHILDREN_MAX: u64 = 1024;
/// More connections than a process has file descriptors for.
const CONNECTIONS_MAX: u64 = 1_000_000;

/// The settings of `raw`, where a relative data folder starts at `data_folder`, and the forge's files at `file_folder`:
/// the data folder may be named elsewhere, they are named in the file alone.
pub(super) fn complete(
    raw: RawConfig,
    data_folder: &Path,
    file_folder: &Path,
) -> Result<Config, ConfigFault> {
    within("index.poll_secs", raw.index.poll_secs, 1, SECS_MAX)?;
    check_http(&raw.http)?;
    check_fetch(&raw.fetch)?;
    // With a forge, it may become private any day.
    let is_open = raw.visibility != Some(Visibility::Private) && raw.forge.url.is_none();
    if raw.capability_downloads && is_open {
        let reason = "it is on, but `visibility` is not `private`: where everybody may read, all can download already";
        return refuse("capability_downloads", reason.to_owned());
    }
    let data = raw.data.unwrap_or_else(|| DEFAULT_DATA.into());
    if data.as_os_str().is_empty() {
        return refuse("data", "it is empty, it must name a folder".to_owned());
    }
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT));
    Ok(Config {
        data: data_folder.join(data),
        listen: raw.listen.unwrap_or(listen),
        name: raw.name.unwrap_or_default(),
        visibility: raw.visibility,
        capability_downloads: raw.capability_downloads,
        index: raw.index,
        forge: forge::complete(raw.forge, file_folder)?,
        http: raw.http,
        fetch: raw.fetch,
        log: raw.log,
        public_url: raw.public_url,
    })
}

fn check_http(http: &HttpConfig) -> Result<(), ConfigFault> {
    for (key, secs) in [
        ("http.header_secs", http.header_secs),
        ("http.body_idle_secs", http.body_idle_secs),
        ("http.body_total_secs", http.body_total_secs),
        ("http.response_idle_secs", http.response_idle_secs),
        ("http.shutdown_secs", http.shutdown_secs),
        ("http.publish_deadline_secs", http.publish_deadline_secs),
    ] {
        within(key, secs, 1, SECS_MAX)?;
    }
    let connections = http.connections_max as u64;
    within("http.connections_max", connections, 1, CONNECTIONS_MAX)?;
    at_most(
        ("http.body_idle_secs", http.body_idle_secs),
        ("http.body_total_secs", http.body_total_secs),
    )?;
    // Otherwise the end of the server would cut publishes that were still in time.
    at_most(
        ("http.publish_deadline_secs", http.publish_deadline_secs),
        ("http.shutdown_secs", http.shutdown_secs),
    )
}

fn check_fetch(fetch: &FetchConfig) -> Result<(), ConfigFault> {
    let children = fetch.children_max as u64;
    let per_address = fetch.per_address_max as u64;
    within("fetch.children_max", children, 1, CHILDREN_MAX)?;
    within("fetch.per_address_max", per_address, 1, CHILDREN_MAX)?;
    within("fetch.queue_secs", fetch.queue_secs, 0, SECS_MAX)?;
    within("fetch.stall_secs", fetch.stall_secs, 1, SECS_MAX)?;
    within("fetch.total_secs", fetch.total_secs, 1, SECS_MAX)?;
    within("fetch.cpu_secs", fetch.cpu_secs, 1, SECS_MAX)?;
    let remembered = fetch.remembered_mb as u64;
    within("fetch.remembered_mb", remembered, 0, REMEMBERED_MB_MAX)?;
    at_most(
        ("fetch.per_address_max", per_address),
        ("fetch.children_max", children),
    )
}

pub(super) fn within(
    key: &'static str,
    value: u64,
    least: u64,
    most: u64,
) -> Result<(), ConfigFault> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    refuse(
        key,
        format!("it is {value}, it must lie between {least} and {most}"),
    )
}

fn at_most(small: (&'static str, u64), large: (&'static str, u64)) -> Result<(), ConfigFault> {
    if small.1 <= large.1 {
        return Ok(());
    }
    let reason = format!(
        "it is {}, more than `{}` with {}",
        small.1, large.0, large.1
    );
    refuse(small.0, reason)
}

pub(super) fn refuse<T>(key: &'static str, reason: String) -> Result<T, ConfigFault> {
    Err(ConfigFault::Value { key, reason })
}
