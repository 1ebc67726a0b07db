//! How often the server answered, by route and status.

use std::sync::OnceLock;

use prometheus::{IntCounter, IntCounterVec};
use warp::http::StatusCode;

use crate::measure;

/// The statuses that are told apart, in their order; any other is `other`.
const STATUSES: [u16; 20] = [
    200, 206, 304, 400, 401, 403, 404, 405, 408, 409, 411, 413, 414, 415, 416, 417, 429, 431, 500,
    503,
];
/// Those of them that are an alarm, and so are there from the start: an alert on a rise sees none in a number that
/// appears with its first event.
const ALARMS: [StatusCode; 2] = [
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
];
/// The same for one route: events that somebody else signed, or the forge with another secret.
const ALARM_OF_ONE: (&str, StatusCode) = ("webhook", StatusCode::UNAUTHORIZED);
/// The route of a request that none took, or that ended by a fault of ours.
const NO_ROUTE: &str = "none";

/// The answers of all routes.
#[derive(Debug, Clone)]
pub(super) struct Answered(IntCounterVec);

/// The answers of one route: counting one is an atomic add.
#[derive(Debug)]
pub(super) struct AnsweredBy {
    all: IntCounterVec,
    route: &'static str,
    /// A place for each of the [`STATUSES`] and one for the others, filled when it first occurs but for alarms.
    by_status: [OnceLock<IntCounter>; STATUSES.len() + 1],
}

impl Answered {
    pub(super) fn new() -> Self {
        Self(measure::counts(
            "sidecargo_http_requests_total",
            "Requests that were answered, by route and status.",
            &["route", "status"],
        ))
    }

    /// What is counted, for those who show it.
    pub(super) fn measure(&self) -> IntCounterVec {
        self.0.clone()
    }

    /// The answers of the route with this name.
    pub(super) fn by(&self, route: &'static str) -> AnsweredBy {
        let by = AnsweredBy {
            all: self.0.clone(),
            route,
            by_status: [const { OnceLock::new() }; STATUSES.len() + 1],
        };
        let (alarmed, status) = ALARM_OF_ONE;
        let alarms = ALARMS.into_iter();
        for status in alarms.chain((route == alarmed).then_some(status)) {
            by.counter(status);
        }
        by
    }

    /// The answers that no route gave.
    pub(super) fn by_none(&self) -> AnsweredBy {
        self.by(NO_ROUTE)
    }
}

impl AnsweredBy {
    /// Counts one answer.
    pub(super) fn count(&self, status: StatusCode) {
        self.counter(status).inc();
    }

    fn counter(&self, status: StatusCode) -> &IntCounter {
        let status = status.as_u16();
        let at = STATUSES.binary_search(&status).unwrap_or(STATUSES.len());
        self.by_status[at].get_or_init(|| {
            let known = STATUSES.get(at).map(u16::to_string);
            let label = known.as_deref().unwrap_or("other");
            self.all.with_label_values(&[self.route, label])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_told_apart_in_a_bounded_number_of_series() {
        assert!(STATUSES.is_sorted());
        let answered = Answered::new();
        let by = answered.by("route");
        for status in 100..1000 {
            by.count(StatusCode::from_u16(status).unwrap());
        }
        let of = |status: &str| answered.0.with_label_values(&["route", status]).get();
        for status in STATUSES {
            assert_eq!(of(&status.to_string()), 1, "{status}");
        }
        assert_eq!(of("other"), 900 - STATUSES.len() as u64);
    }
}
