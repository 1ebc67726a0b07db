//! How often one person may do something.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

/// Some at once, then some an hour: a bucket of tokens that is full at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many may come at once.
    pub burst: NonZeroU32,
    /// How many more each hour allows.
    pub per_hour: NonZeroU32,
}

/// The rates of a registry: the table `[rates]` of `policy.toml`; none means without limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    /// Crates under names that did not exist.
    pub new_crates: Option<Rate>,
    /// Further versions of crates.
    pub new_versions: Option<Rate>,
    /// Yanks, and yanks that are taken back.
    pub yanks: Option<Rate>,
    /// Changes of the owners of crates.
    pub owners: Option<Rate>,
}

impl Rate {
    /// The time in which one more becomes allowed.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(3600) / self.per_hour.get()
    }
}
