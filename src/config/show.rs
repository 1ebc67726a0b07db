//! Every setting as it holds, with where it comes from: TOML that is a configuration file itself.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;
use toml::{Table, Value};

use super::file::Lines;
use super::sources::{Arguments, Environment};
use super::{Config, ConfigFault, TOKEN_VARIABLE};

/// Where the comment with the source begins, in characters.
const SOURCE_COLUMN: usize = 48;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Argument(&'static str),
    Variable(&'static str),
    /// A line of the file, counted from 1.
    File(String, usize),
    Default,
}

/// The settings of a configuration and what they come from.
pub(super) struct Shown<'a> {
    pub(super) config: &'a Config,
    pub(super) arguments: &'a Arguments,
    pub(super) environment: &'a Environment,
    pub(super) lines: &'a Lines,
}

impl Shown<'_> {
    /// All of them, in the order of the example file.
    pub(super) fn text(&self) -> Result<String, ConfigFault> {
        let mut out = String::new();
        self.write(&mut out)?;
        Ok(out)
    }

    fn write(&self, out: &mut String) -> Result<(), ConfigFault> {
        let (config, arguments, environment) = (self.config, self.arguments, self.environment);
        let given = |argument: bool, argument_name, variable: bool, variable_name| {
            if argument {
                return Some(Source::Argument(argument_name));
            }
            variable.then_some(Source::Variable(variable_name))
        };
        let of = |key, given: Option<Source>| given.unwrap_or_else(|| self.of_file("", key));
        let data = given(
            arguments.data.is_some(),
            "--data",
            environment.data.is_some(),
            "SIDECARGO_DATA",
        );
        line(out, "data", &config.data, &of("data", data))?;
        let listen = given(
            arguments.listen.is_some(),
            "--listen",
            environment.listen.is_some(),
            "SIDECARGO_LISTEN",
        );
        line(out, "listen", &config.listen, &of("listen", listen))?;
        let public_url = given(
            arguments.public_url.is_some(),
            "--public-url",
            environment.public_url.is_some(),
            "SIDECARGO_PUBLIC_URL",
        );
        self.write_public_url(out, config.listen, &of("public_url", public_url))?;
        let name = given(
            arguments.name.is_some(),
            "--name",
            environment.name.is_some(),
            "SIDECARGO_NAME",
        );
        line(out, "name", &config.name, &of("name", name))?;
        let visibility = given(
            arguments.visibility.is_some(),
            "--visibility",
            environment.visibility.is_some(),
            "SIDECARGO_VISIBILITY",
        );
        match &config.visibility {
            Some(known) => line(out, "visibility", known, &of("visibility", visibility))?,
            None => out.push_str("# visibility is what the index says, or the forge\n"),
        }
        let capability = of("capability_downloads", None);
        let is_on = config.capability_downloads;
        line(out, "capability_downloads", &is_on, &capability)?;
        self.section(out, "index", &config.index, &[])?;
        if let Some(forge) = &config.forge {
            self.section(out, "forge", forge, &[])?;
            if environment.has_forge_token {
                let what = match forge.token_file {
                    Some(_) => "is set and not used, for `token_file` is set",
                    None => "is set and holds the token of the server's account",
                };
                out.push_str(&format!("# {TOKEN_VARIABLE} {what}\n"));
            }
        }
        self.section(out, "http", &config.http, &[])?;
        self.section(out, "fetch", &config.fetch, &[])?;
        let filter = environment.log.as_ref();
        let filter = filter.map(|_| ("filter", Source::Variable("SIDECARGO_LOG")));
        self.section(out, "log", &config.log, filter.as_slice())
    }

    /// The default depends on the port, which the system chooses if it is 0.
    fn write_public_url(
        &self,
        out: &mut String,
        listen: SocketAddr,
        source: &Source,
    ) -> Result<(), ConfigFault> {
        if *source == Source::Default && listen.port() == 0 {
            let what = "http://localhost and the port that the system chooses";
            out.push_str(&format!("# public_url is {what}\n"));
            return Ok(());
        }
        line(out, "public_url", &self.config.public_url(listen), source)
    }

    /// A section, whose keys come from the file or are the defaults but for those `given` otherwise.
    fn section(
        &self,
        out: &mut String,
        name: &str,
        section: &impl Serialize,
        given: &[(&str, Source)],
    ) -> Result<(), ConfigFault> {
        out.push_str(&format!("\n[{name}]\n"));
        for (key, value) in Table::try_from(section).map_err(not_shown(name))? {
            let given = given.iter().find(|(given, _)| *given == key);
            let source =
                given.map_or_else(|| self.of_file(name, &key), |(_, source)| source.clone());
            line(out, &key, &value, &source)?;
        }
        Ok(())
    }

    fn of_file(&self, section: &str, key: &str) -> Source {
        match self.lines.of(section, key) {
            Some((path, number)) => Source::File(path.display().to_string(), number),
            None => Source::Default,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(name) | Self::Variable(name) => f.write_str(name),
            // A comment ends with its line, whatever the file is called.
            Self::File(path, number) => write!(f, "{}:{number}", path.escape_debug()),
            Self::Default => f.write_str("default"),
        }
    }
}

fn line(
    out: &mut String,
    key: &str,
    value: &impl Serialize,
    source: &Source,
) -> Result<(), ConfigFault> {
    let value = Value::try_from(value).map_err(not_shown(key))?;
    let setting = format!("{key} = {value}");
    out.push_str(&format!("{setting:SOURCE_COLUMN$}  # {source}\n"));
    Ok(())
}

fn not_shown(key: &str) -> impl FnOnce(toml::ser::Error) -> ConfigFault {
    |fault| ConfigFault::Show {
        key: key.to_owned(),
        reason: fault.to_string(),
    }
}
