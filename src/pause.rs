//! How long a forge that has too much to do is left alone.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// The longest pause, whatever is asked for.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Until when nothing is asked, if somebody wanted that.
#[derive(Debug, Default)]
pub struct Pause(Mutex<Option<Instant>>);

/// Whether an answer with this status says that there is too much to do.
pub fn is_busy(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    )
}

/// For how long an answer asks to be left alone: `Retry-After` in seconds or as a date (RFC 9110, 10.2.3), within bounds.
pub fn asked_for(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = match text.parse() {
        Ok(secs) => Duration::from_secs(secs),
        Err(_) => until(text)?,
    };
    Some(asked.min(PAUSE_MAX))
}

/// How long it is until a date; nothing if that is over.
fn until(date: &str) -> Option<Duration> {
    let date = rfc2822::parse(date).ok()?.timestamp();
    date.duration_since(Timestamp::now()).try_into().ok()
}

impl Pause {
    /// Hears whether an answer asks for one.
    pub fn hear(&self, status: StatusCode, headers: &HeaderMap) {
        if let Some(pause) = asked_for(headers).filter(|_| is_busy(status)) {
            *self.lock() = Some(Instant::now() + pause);
        }
    }

    /// How much of it is left, if any is.
    pub fn left(&self) -> Option<Duration> {
        let left = self.lock().as_ref()?.checked_duration_since(Instant::now());
        left.filter(|left| !left.is_zero())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use jiff::fmt::rfc2822::DateTimePrinter;

    use super::*;

    #[test]
    fn a_pause_is_as_long_as_was_asked_for_within_bounds() {
        let left = |status: u16, said: Option<&str>| {
            let pause = Pause::default();
            let said = said.map(|said| (RETRY_AFTER, said.parse().unwrap()));
            let status = StatusCode::from_u16(status).unwrap();
            pause.hear(status, &said.into_iter().collect());
            pause.left()
        };
        for status in [429, 503] {
            let secs = left(status, Some(" 120 ")).unwrap().as_secs_f64();
            assert!((60.0..=120.0).contains(&secs), "{secs}");
            assert!(left(status, Some("99999")).unwrap() <= PAUSE_MAX);
            let moment = |secs| {
                let moment = Timestamp::now() + SignedDuration::from_secs(secs);
                DateTimePrinter::new().timestamp_to_rfc9110_string(&moment)
            };
            let secs = left(status, Some(&moment(120).unwrap())).unwrap();
            assert!((60.0..=120.0).contains(&secs.as_secs_f64()), "{secs:?}");
            assert!(left(status, Some(&moment(99999).unwrap())).unwrap() <= PAUSE_MAX);
            assert_eq!(left(status, Some(&moment(-5).unwrap())), None);
            for said in [None, Some("0"), Some("-1"), Some("soon")] {
                assert_eq!(left(status, said), None, "{said:?}");
            }
        }
        assert_eq!(left(500, Some("120")), None);
        assert_eq!(left(200, Some("120")), None);
    }
}
