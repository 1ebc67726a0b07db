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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::*;

    /// Every moment that jiff can express.
    fn moment() -> impl Strategy<Value = Timestamp> {
        let (min, max) = (
            Timestamp::MIN.as_nanosecond(),
            Timestamp::MAX.as_nanosecond(),
        );
        (min..=max).prop_map(|nanosecond| Timestamp::from_nanosecond(nanosecond).unwrap())
    }

    proptest! {
        #[test]
        fn the_form_is_always_the_same(moment in moment()) {
            let time = PubTime::from_moment(moment);
            let text = time.to_string();
            prop_assert_eq!(text.len(), 20);
            for (at, byte) in text.bytes().enumerate() {
                prop_assert_eq!(
                    byte.is_ascii_digit(),
                    !matches!(at, 4 | 7 | 10 | 13 | 16 | 19),
                    "{}", text
                );
            }
            prop_assert_eq!(text.parse::<PubTime>().unwrap(), time);
            prop_assert_eq!(serde_json::to_string(&time).unwrap(), format!("\"{text}\""));
        }

        #[test]
        fn text_and_moment_have_the_same_order(a in arbitrary::pubtime(), b in arbitrary::pubtime()) {
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9TZtz:+. -]{0,30}") {
            if let Ok(time) = text.parse::<PubTime>() {
                prop_assert_eq!(time.to_string(), text);
            }
        }
    }

    #[test]
    fn fractions_are_cut_also_before_1970() {
        let time = |text: &str| PubTime::from_moment(text.parse().unwrap()).to_string();
        assert_eq!(
            time("2026-11-22T10:00:00.999999999Z"),
            "2026-11-22T10:00:00Z"
        );
        assert_eq!(time("2026-11-22T10:00:00+01:00"), "2026-11-22T09:00:00Z");
        assert_eq!(time("1969-12-31T23:59:59.5Z"), "1969-12-31T23:59:59Z");
        for secs in [-1, 0, 1, 1_790_000_000] {
            let moment = Timestamp::from_second(secs).unwrap();
            assert_eq!(PubTime::from_moment(moment).unix_secs(), secs);
        }
    }

    #[test]
    fn years_that_four_digits_cannot_express_are_moved_to_the_nearest() {
        let first = PubTime::from_moment(Timestamp::MIN).to_string();
        assert_eq!(first, "0000-01-01T00:00:00Z");
        let last = PubTime::from_moment(Timestamp::MAX).to_string();
        assert_eq!(last, "9999-12-30T22:00:00Z");
        assert!(first.parse::<PubTime>().is_ok() && last.parse::<PubTime>().is_ok());
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for text in [
            "",
            "2026-11-22",
            "2026-11-22T10:00:00",
            "2026-11-22T10:00:00+00:00",
            "2026-11-22T10:00:00.0Z",
            "2026-11-22T10:00:00.123Z",
            "2026-11-22 10:00:00Z",
            "2026-11-22t10:00:00z",
            "2026-1-22T10:00:00Z",
            "2026-11-22T10:00Z",
            "20261122T100000Z",
            "+002026-11-22T10:00:00Z",
            "-000001-01-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "2026-02-29T10:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-12-31T23:59:60Z",
            " 2026-11-22T10:00:00Z",
            "2026-11-22T10:00:00Z\n",
            "2026-11-22T10:00:00Z[UTC]",
        ] {
            assert_eq!(text.parse::<PubTime>(), Err(PubTimeFault), "{text:?}");
        }
    }
}
