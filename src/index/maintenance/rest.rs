//! How long nothing is merged after that failed.

use std::time::{Duration, Instant};

/// What failed once has most often to do with the moment: a program was ended, or somebody's git took packs away.
const LEAST: Duration = Duration::from_secs(15);
/// What fails again and again costs a run of git each time.
const MOST: Duration = Duration::from_secs(600);

/// The rest after a failure; none by default.
#[derive(Debug, Default)]
pub(super) struct Rest(Option<(Instant, Duration)>);

impl Rest {
    /// Begins after one more failure, twice as long as the last one.
    pub(super) fn begin(&mut self, now: Instant) {
        let last = self.0.map(|(_, length)| length);
        let length = last.map_or(LEAST, |last| (2 * last).min(MOST));
        self.0 = Some((now, length));
    }

    /// Whether it is over. With too many packs none is long: they become more meanwhile, until no change is taken.
    pub(super) fn is_over(&self, now: Instant, is_crowded: bool) -> bool {
        self.0.is_none_or(|(began, length)| {
            let length = if is_crowded { LEAST } else { length };
            now.duration_since(began) >= length
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_with_each_failure_and_is_short_while_packs_pile_up() {
        let mut rest = Rest::default();
        let now = Instant::now();
        assert!(rest.is_over(now, false));
        for seconds in [15, 30, 60, 120, 240, 480, 600, 600] {
            rest.begin(now);
            let after = |millis| now + Duration::from_millis(millis);
            assert!(!rest.is_over(after(seconds * 1000 - 1), false), "{seconds}");
            assert!(rest.is_over(after(seconds * 1000), false), "{seconds}");
            assert!(!rest.is_over(after(14_999), true), "{seconds}");
            assert!(rest.is_over(after(15_000), true), "{seconds}");
        }
    }
}
