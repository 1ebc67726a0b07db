//! The environment and the command line, and which of them wins.

use std::ffi::OsString;
use std::net::{AddrParseError, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use super::{ConfigFault, RawConfig, TOKEN_VARIABLE, mistake};
use crate::domain::{PublicUrl, RegistryName, Visibility};

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--public-url`.
    pub public_url: Option<PublicUrl>,
    /// `--name`.
    pub name: Option<RegistryName>,
    /// `--visibility`.
    pub visibility: Option<Visibility>,
}

/// What the environment says about the configuration, not yet checked.
///
/// Other variables are left alone even where they start with `SIDECARGO_`: Kubernetes makes such ones by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `SIDECARGO_CONFIG`.
    pub config: Option<PathBuf>,
    /// `SIDECARGO_DATA`.
    pub data: Option<PathBuf>,
    /// `SIDECARGO_LISTEN`.
    pub listen: Option<OsString>,
    /// `SIDECARGO_PUBLIC_URL`.
    pub public_url: Option<OsString>,
    /// `SIDECARGO_NAME`.
    pub name: Option<OsString>,
    /// `SIDECARGO_VISIBILITY`.
    pub visibility: Option<OsString>,
    /// `SIDECARGO_LOG`.
    pub log: Option<OsString>,
    /// Whether [`TOKEN_VARIABLE`] is set; what it holds is for nobody to see.
    pub has_forge_token: bool,
}

impl Environment {
    /// Picks our variables out of `variables`; an empty one counts as not set.
    pub fn from_variables(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            if value.is_empty() {
                continue;
            }
            match name.to_str() {
                Some("SIDECARGO_CONFIG") => environment.config = Some(value.into()),
                Some("SIDECARGO_DATA") => environment.data = Some(value.into()),
                Some("SIDECARGO_LISTEN") => environment.listen = Some(value),
                Some("SIDECARGO_PUBLIC_URL") => environment.public_url = Some(value),
                Some("SIDECARGO_NAME") => environment.name = Some(value),
                Some("SIDECARGO_VISIBILITY") => environment.visibility = Some(value),
                Some("SIDECARGO_LOG") => environment.log = Some(value),
                Some(TOKEN_VARIABLE) => environment.has_forge_token = true,
                _ => {}
            }
        }
        environment
    }
}

/// `raw` with what the environment and then the command line say instead.
pub(super) fn overlay(
    mut raw: RawConfig,
    arguments: &Arguments,
    environment: &Environment,
) -> Result<RawConfig, ConfigFault> {
    let listen = parse("SIDECARGO_LISTEN", environment.listen.as_ref())?;
    let public_url = parse("SIDECARGO_PUBLIC_URL", environment.public_url.as_ref())?;
    let name = parse("SIDECARGO_NAME", environment.name.as_ref())?;
    let visibility = parse("SIDECARGO_VISIBILITY", environment.visibility.as_ref())?;
    let data = environment.data.clone();
    raw.data = arguments.data.clone().or(data).or(raw.data);
    raw.listen = arguments.listen.or(listen).or(raw.listen);
    raw.public_url = arguments
        .public_url
        .clone()
        .or(public_url)
        .or(raw.public_url);
    raw.name = arguments.name.clone().or(name).or(raw.name);
    raw.visibility = arguments.visibility.or(visibility).or(raw.visibility);
    if let Some(filter) = parse("SIDECARGO_LOG", environment.log.as_ref())? {
        raw.log.filter = filter;
    }
    Ok(raw)
}

/// The address that an argument names.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|fault: AddrParseError| mistake::without_value(&fault.to_string(), text))
}

fn parse<T>(key: &'static str, value: Option<&OsString>) -> Result<Option<T>, ConfigFault>
where
    T: FromStr<Err: std::fmt::Display>,
{
    let Some(value) = value else {
        return Ok(None);
    };
    let reason = match value.to_str().map(|text| (text, text.parse::<T>())) {
        Some((_, Ok(parsed))) => return Ok(Some(parsed)),
        Some((text, Err(fault))) => mistake::without_value(&fault.to_string(), text),
        None => "it is not UTF-8".to_owned(),
    };
    Err(ConfigFault::Value { key, reason })
}
