//! What a running set-up is looked at for: on this machine, at the addresses that people use, and at the forge.
//!
//! Nothing is changed. Each finding that is not good says what to do about it.

mod branch;
mod forge;
mod owners;
mod signing;
mod teams;

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use url::Url;

use crate::app::Data;
use crate::config::Config;
use crate::domain::{PublicUrl, Secret, Visibility, harmless};
use crate::git;

/// For one request to the server.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// How much of an answer is repeated, in characters.
const WORDS_MAX: usize = 300;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: &'static str,
    /// How it is.
    pub verdict: Verdict,
}

/// How something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As it must be.
    Good(String),
    /// Not as it must be, and what to do.
    Mend(String),
    /// Not to be seen from here, and how it can be.
    Unknown(String),
}

/// Hears of each finding.
type Tell<'a> = &'a mut dyn FnMut(Finding);

/// Looks at everything; `owner` is a token of an owner of the index repository, who is shown more of it.
pub async fn examine(config: &Config, owner: Option<Secret>, tell: Tell<'_>) {
    tell(find("git", program(config.forge.is_some())));
    let data = Data::new(&config.data);
    tell(find("store", store(&data)));
    tell(find("who may read", readers(config, &data)));
    tell(find("keys", keys(&data.keys())));
    let client = Client::builder()
        .timeout(REQUEST_TIME)
        .no_proxy()
        .redirect(Policy::none());
    match client.build() {
        Ok(client) => {
            tell(find("server", server(&client, config.listen).await));
            tell(Finding {
                what: "public address",
                verdict: answers(&client, config).await,
            });
        }
        Err(fault) => tell(find("server", Err(fault.to_string()))),
    }
    if let Some(settings) = &config.forge {
        let examined = forge::Examined::new(config, settings, owner);
        examined.examine(tell).await;
    }
}

fn find(what: &'static str, seen: Result<String, String>) -> Finding {
    let verdict = match seen {
        Ok(good) => Verdict::Good(good),
        Err(mend) => Verdict::Mend(mend),
    };
    Finding { what, verdict }
}

/// Whether there is a git that has all that is used of it.
fn program(has_forge: bool) -> Result<String, String> {
    let version = git::command(Path::new("/")).arg("--version").output();
    match version {
        Ok(version) if version.status.success() => {
            let text = String::from_utf8_lossy(&version.stdout);
            let said = harmless(text.trim(), WORDS_MAX);
            match git::version(&said).and_then(|version| git::lack(version, has_forge)) {
                Some(lack) => Err(format!("{said} is too old: {lack}")),
                None => Ok(said),
            }
        }
        _ => Err("the `git` program cannot be run; install git".to_owned()),
    }
}

/// Whether the crate files are those of the index.
fn store(data: &Data<'_>) -> Result<String, String> {
    let place = data.existing_place().map_err(|fault| fault.to_string())?;
    let identity = place.identity().map_err(|fault| fault.to_string())?;
    let store = data.existing_blobs().map_err(|fault| fault.to_string())?;
    let (found, wanted) = (store.id(), identity.blob_store);
    match found == wanted {
        true => Ok(format!("{found}, of the registry `{}`", identity.name)),
        false => Err(format!(
            "the crate files are those of the store {found}, and the index belongs to {wanted}: bring the folders of one registry together"
        )),
    }
}

/// Whether the index, by which clients go, says of who may read what decides that.
fn readers(config: &Config, data: &Data<'_>) -> Result<String, String> {
    let place = data.existing_place().map_err(|fault| fault.to_string())?;
    let identity = place.identity().map_err(|fault| fault.to_string())?;
    let hindered = "nobody reads without a token, but the index does not say so, so by the git index Cargo sends none: the server tries that commit again and again, and its log says what hinders it";
    let is_marked = data.closed().exists();
    let has_forge = config.forge.is_some();
    match (config.visibility, identity.visibility) {
        (Some(Visibility::Private), Visibility::Public) => {
            Err(format!("the configuration says `private`: {hindered}"))
        }
        (_, Visibility::Public) if has_forge && is_marked => Err(format!(
            "the forge hid the index repository, or told nothing of it for a minute: {hindered}; if it shows it now, the server believes that after a minute"
        )),
        (None, Visibility::Public) if is_marked => Err(format!(
            "the forge that this registry had hid the index repository: {hindered}; if everybody shall read, say so (`visibility = \"public\"`)"
        )),
        (Some(Visibility::Public), Visibility::Private) if !has_forge => Err(
            "the configuration says `public`, and the index `private`: start the server again, whose log says what hinders that commit"
                .to_owned(),
        ),
        (_, Visibility::Private) => Ok("whoever has a token that may".to_owned()),
        (_, Visibility::Public) => Ok("everybody".to_owned()),
    }
}

/// Whether nobody but this user reads the keys.
fn keys(folder: &Path) -> Result<String, String> {
    let named = |cause: io::Error| format!("`{}`: {cause}", folder.display());
    let mut count = 0;
    for entry in fs::read_dir(folder).map_err(named)? {
        let entry = entry.map_err(named)?;
        let metadata = entry.metadata().map_err(named)?;
        if metadata.permissions().mode() & 0o077 != 0 && metadata.is_file() {
            let path = entry.path();
            return Err(format!(
                "others may read `{}`: `chmod 600` it, and if anybody may have done so, run `sidecargo key rotate`",
                path.display()
            ));
        }
        count += 1;
    }
    Ok(format!("{count} files, for their owner alone"))
}

/// Whether the server runs and takes what is written.
async fn server(client: &Client, listen: SocketAddr) -> Result<String, String> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let url = format!("http://{}", SocketAddr::new(ip, listen.port()));
    let response = client.get(format!("{url}/readyz")).send().await;
    let response = response.map_err(|_| {
        format!("nobody answers at {url}: start `sidecargo serve`, and read its log")
    })?;
    let is_ready = response.status().is_success();
    let text = response.text().await.unwrap_or_default();
    let said = harmless(text.trim(), WORDS_MAX);
    match is_ready && said == "ok" {
        true => Ok(format!("ready at {url}")),
        false => Err(said),
    }
}

/// Whether the server is reached where people reach it: at the registry's own path, for a proxy may lead elsewhere from
/// the others.
async fn answers(client: &Client, config: &Config) -> Verdict {
    let url = config.public_url(config.listen);
    let page = format!("{}/me", url.registry_root(&config.name));
    let response = match client.get(&page).send().await {
        Ok(response) => response,
        Err(_) if is_of_a_container(&url, config.listen) => {
            return Verdict::Unknown(format!(
                "nothing answers at {url} here; in a container that is another place than outside of it, so look there: `curl --fail {page}`"
            ));
        }
        Err(fault) => {
            let fault = fault.without_url();
            return Verdict::Mend(format!(
                "{url} is not reached from here ({fault}): look at the proxy and at `public_url`"
            ));
        }
    };
    let is_ours = response.headers().contains_key("x-request-id");
    match response.status() {
        status if status.is_success() && is_ours => {
            Verdict::Good(format!("{url} reaches the server"))
        }
        status => Verdict::Mend(format!(
            "{page} answers {status}, and not as this server does: look at the proxy and at `public_url`"
        )),
    }
}

/// Whether the address may well be one that a container has of the machine around it: that machine's own, while the
/// server listens for others.
fn is_of_a_container(url: &PublicUrl, listen: SocketAddr) -> bool {
    let host = Url::parse(url.as_str()).ok();
    let host = host.as_ref().and_then(Url::host_str);
    listen.ip().is_unspecified() && matches!(host, Some("localhost" | "127.0.0.1" | "[::1]"))
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, text) = match &self.verdict {
            Verdict::Good(text) => ("good   ", text),
            Verdict::Mend(text) => ("mend   ", text),
            Verdict::Unknown(text) => ("unknown", text),
        };
        write!(f, "{sign}  {}: {text}", self.what)
    }
}
