//! The moment of a publication.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// When a version was published: whole seconds, UTC, always 20 characters like `2026-11-22T10:00:00Z`.
///
/// Cargo since 1.94 discards a line whose `pubtime` has any other form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PubTime(Timestamp);

/// The text is not of the form `YYYY-MM-DDThh:mm:ssZ`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a publication time has the form YYYY-MM-DDThh:mm:ssZ")]
pub struct PubTimeFault;

impl PubTime {
    /// The second in which `moment` lies, or the nearest one that four digits of a year can express.
    pub fn from_moment(moment: Timestamp) -> Self {
        const YEAR_0: i64 = -62_167_219_200;
        const YEAR_9999_END: i64 = 253_402_207_200;
        // Before 1970 the fraction is negative.
        let floor = moment.as_second() - i64::from(moment.subsec_nanosecond() < 0);
        let second = floor.clamp(YEAR_0, YEAR_9999_END);
        Self(Timestamp::from_second(second).expect("the range lies within that of a timestamp"))
    }

    /// Seconds since 1970.
    pub fn unix_secs(&self) -> i64 {
        self.0.as_second()
    }
}

impl FromStr for PubTime {
    type Err = PubTimeFault;

    fn from_str(text: &str) -> Result<Self, PubTimeFault> {
        let moment: Timestamp = text.parse().map_err(|_| PubTimeFault)?;
        let time = Self::from_moment(moment);
        (time.to_string() == text)
            .then_some(time)
            .ok_or(PubTimeFault)
    }
}

impl fmt::Display for PubTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for PubTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PubTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::from_text(deserializer)
    }
}
