//! How much is logged.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};

/// Levels by module, in the language of tracing's `EnvFilter`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogFilter(String);

/// Why a text is no filter.
#[derive(Debug, Error)]
pub enum FilterFault {
    /// It would be the name of a module, all of whose lines are wanted, and none of any other.
    #[error(
        "a word that stands alone must be a level, which is `error`, `warn`, `info`, `debug`, `trace` or `off`; that of a module is written as `MODULE=debug`"
    )]
    NoLevel,
    /// It is not in that language.
    #[error("it must be levels by module, such as `info,MODULE=debug`")]
    Syntax(#[source] ParseError),
}

impl LogFilter {
    /// What holds lines back.
    pub fn layer(&self) -> EnvFilter {
        EnvFilter::new(&self.0)
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogFilter {
    type Err = FilterFault;

    fn from_str(text: &str) -> Result<Self, FilterFault> {
        let is_alone = |part: &&str| !part.contains(['=', '[']);
        for word in text.split(',').filter(is_alone) {
            if word.parse::<LevelFilter>().is_err() {
                return Err(FilterFault::NoLevel);
            }
        }
        EnvFilter::try_new(text).map_err(FilterFault::Syntax)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for LogFilter {
    type Error = FilterFault;

    fn try_from(text: String) -> Result<Self, FilterFault> {
        text.parse()
    }
}

impl From<LogFilter> for String {
    fn from(filter: LogFilter) -> Self {
        filter.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_alone_is_a_level_and_no_module() {
        for good in [
            "",
            "info",
            "WARN",
            "0",
            "info,",
            "off,sidecargo=debug",
            "sidecargo::fetch=trace,error",
            "warn,[request]",
            "sidecargo[request{path=\"/\"}]=debug",
        ] {
            good.parse::<LogFilter>().unwrap();
        }
        for word in ["warning", "errors", "hyper", "info,hyper", "6", "no level"] {
            let fault = word.parse::<LogFilter>().unwrap_err();
            assert!(matches!(fault, FilterFault::NoLevel), "{word}: {fault}");
        }
        let fault = "hyper=loud".parse::<LogFilter>().unwrap_err();
        assert!(matches!(fault, FilterFault::Syntax(_)), "{fault}");
    }
}
