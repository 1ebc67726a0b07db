//! What a token shall be like before it is minted.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use crate::domain::{Actor, Can, CrateScope, Login, Only, Scopes};

/// The most patterns of crates that one token may carry.
pub const CRATE_SCOPES_MAX: usize = 100;

const MINUTE_SECS: i64 = 60;
const HOUR_SECS: i64 = 60 * MINUTE_SECS;
const DAY_SECS: i64 = 24 * HOUR_SECS;
const YEAR_SECS: i64 = 365 * DAY_SECS;

/// A token that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenOrder {
    /// Whose token it will be.
    pub login: Login,
    /// What it will allow.
    pub scopes: Scopes,
    /// How long it will be good.
    pub lifetime: Lifetime,
}

/// The longest that a token for a guest is good.
pub const GUEST_MAX: SignedDuration = SignedDuration::from_mins(15);

/// A short token that somebody of the forge asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestOrder {
    /// For whom it will speak.
    pub bearer: Actor,
    /// What it will allow.
    pub scopes: Scopes,
    /// The one release that it will be for.
    pub only: Only,
    /// When what vouches for them ends: it is not outlived.
    pub until: Timestamp,
}

/// How long a token is good: from one minute to ten years, written as `30m`, `12h`, `90d` or `1y`.
///
/// A day has 24 hours and a year 365 days. The default is 90 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lifetime {
    secs: i64,
}

/// Why a token cannot be ordered so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OrderFault {
    /// Not a number with a unit.
    #[error(
        "`{0}` is not a duration; write a whole number and a unit, such as `30m`, `12h`, `90d` or `1y`"
    )]
    Form(String),
    /// Zero, or more than ten years.
    #[error("`{0}` is out of range; a token lives from `1m` to `10y`")]
    Range(String),
    /// A token without any action.
    #[error("a token needs at least one action")]
    NoAction,
    /// A token without any crate.
    #[error("a token needs at least one crate; `*` stands for all")]
    NoCrate,
    /// More than [`CRATE_SCOPES_MAX`] patterns.
    #[error(
        "{0} crates are too many for one token, it may name {CRATE_SCOPES_MAX}; name only those that it is for, or use a prefix such as `acme-*` if it is no job's"
    )]
    TooManyCrates(usize),
    /// One release of several crates.
    #[error("a token of one version must name its crate, and that one alone")]
    OneCrate,
    /// One release, of which more could be done than is done to a release.
    #[error(
        "a token of one version may `publish` or `yank` alone, and one of a file needs the version and may `publish` alone"
    )]
    OneRelease,
}

impl TokenOrder {
    /// A token for everything that `login` may do, good for the default time.
    pub fn for_everything(login: Login) -> Self {
        Self {
            login,
            scopes: Scopes::all(),
            lifetime: Lifetime::default(),
        }
    }

    /// Whether a token may be made of this.
    pub fn check(&self) -> Result<(), OrderFault> {
        check_scopes(&self.scopes)
    }
}

impl GuestOrder {
    /// Whether a token may be made of this.
    pub fn check(&self) -> Result<(), OrderFault> {
        check_scopes(&self.scopes)?;
        let Only { version, cksum } = &self.only;
        if version.is_none() && cksum.is_none() {
            return Ok(());
        }
        if !matches!(&*self.scopes.crates, [CrateScope::Exact(_)]) {
            return Err(OrderFault::OneCrate);
        }
        let may_be = |can: &Can| match cksum {
            Some(_) => *can == Can::Publish && version.is_some(),
            None => [Can::Publish, Can::Yank].contains(can),
        };
        match self.scopes.can.iter().all(may_be) {
            true => Ok(()),
            false => Err(OrderFault::OneRelease),
        }
    }

    /// When a token ends that is made now.
    pub(super) fn expires_after(&self, now: Timestamp) -> Timestamp {
        let latest = now.checked_add(GUEST_MAX).unwrap_or(Timestamp::MAX);
        latest.min(self.until)
    }
}

fn check_scopes(scopes: &Scopes) -> Result<(), OrderFault> {
    if scopes.can.is_empty() {
        return Err(OrderFault::NoAction);
    }
    match scopes.crates.len() {
        0 => Err(OrderFault::NoCrate),
        1..=CRATE_SCOPES_MAX => Ok(()),
        count => Err(OrderFault::TooManyCrates(count)),
    }
}

impl Lifetime {
    /// The longest: ten years.
    pub const MAX: Self = Self {
        secs: 10 * YEAR_SECS,
    };

    /// In seconds.
    pub fn as_secs(self) -> i64 {
        self.secs
    }
}

impl Default for Lifetime {
    fn default() -> Self {
        Self {
            secs: 90 * DAY_SECS,
        }
    }
}

impl FromStr for Lifetime {
    type Err = OrderFault;

    fn from_str(text: &str) -> Result<Self, OrderFault> {
        let shown = || text.chars().take(20).flat_map(char::escape_debug).collect();
        let form = || OrderFault::Form(shown());
        let range = || OrderFault::Range(shown());
        let unit = text.chars().next_back().ok_or_else(form)?;
        let unit_secs = match unit {
            'm' => MINUTE_SECS,
            'h' => HOUR_SECS,
            'd' => DAY_SECS,
            'y' => YEAR_SECS,
            _ => return Err(form()),
        };
        let digits = &text[..text.len() - unit.len_utf8()];
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(form());
        }
        let count: i64 = digits.parse().map_err(|_| range())?;
        let secs = count.checked_mul(unit_secs).ok_or_else(range)?;
        if secs == 0 || secs > Self::MAX.secs {
            return Err(range());
        }
        Ok(Self { secs })
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit_secs, unit) = [(YEAR_SECS, 'y'), (DAY_SECS, 'd'), (HOUR_SECS, 'h')]
            .into_iter()
            .find(|(unit_secs, _)| self.secs % unit_secs == 0)
            .unwrap_or((MINUTE_SECS, 'm'));
        write!(f, "{}{unit}", self.secs / unit_secs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    #[test]
    fn lifetimes_are_read_in_every_unit_and_written_back() {
        for (text, secs) in [
            ("1m", 60),
            ("30m", 1_800),
            ("12h", 43_200),
            ("90d", 7_776_000),
            ("1y", 31_536_000),
            ("10y", 315_360_000),
        ] {
            let lifetime: Lifetime = text.parse().unwrap();
            assert_eq!(
                (lifetime.as_secs(), lifetime.to_string().as_str()),
                (secs, text)
            );
        }
        assert_eq!("0060m".parse::<Lifetime>().unwrap().to_string(), "1h");
        assert_eq!(Lifetime::default().to_string(), "90d");
    }

    #[test]
    fn other_durations_are_refused() {
        for text in [
            "", "d", "90", "90 d", "-1d", "+1d", "1.5d", "1w", "1D", "٣d", "1d1h", "1é",
        ] {
            let fault = text.parse::<Lifetime>().unwrap_err();
            assert!(matches!(fault, OrderFault::Form(_)), "{text:?}: {fault}");
        }
        for text in [
            "0m",
            "0y",
            "11y",
            "3651d",
            "99999999999999999999999y",
            "9223372036854775807y",
        ] {
            let fault = text.parse::<Lifetime>().unwrap_err();
            assert!(matches!(fault, OrderFault::Range(_)), "{text:?}: {fault}");
        }
    }

    #[test]
    fn an_order_needs_an_action_and_some_crates() {
        let order = TokenOrder::for_everything("alice".parse().unwrap());
        assert_eq!(order.check(), Ok(()));
        let with = |can: usize, crates: usize| {
            let mut order = order.clone();
            order.scopes.can.truncate(can);
            order.scopes.crates = vec!["serde".parse().unwrap(); crates];
            order.check()
        };
        assert_eq!(with(0, 1), Err(OrderFault::NoAction));
        assert_eq!(with(1, 0), Err(OrderFault::NoCrate));
        assert_eq!(with(1, CRATE_SCOPES_MAX), Ok(()));
        assert_eq!(
            with(1, CRATE_SCOPES_MAX + 1),
            Err(OrderFault::TooManyCrates(101))
        );
    }

    fn guest_order(can: &[Can], crates: &[&str], only: Only) -> GuestOrder {
        GuestOrder {
            bearer: Actor::Local("alice".parse().unwrap()),
            scopes: Scopes {
                can: can.to_vec(),
                crates: crates.iter().map(|text| text.parse().unwrap()).collect(),
            },
            only,
            until: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_guest_may_ask_for_one_release_of_one_crate() {
        let (publish, all) = (&[Can::Publish][..], &[Can::Publish, Can::Yank][..]);
        let check =
            |can: &[Can], crates: &[&str], version: Option<&str>, cksum: Option<[u8; 32]>| {
                let only = Only {
                    version: version.map(|text| text.parse().unwrap()),
                    cksum: cksum.map(Into::into),
                };
                guest_order(can, crates, only).check()
            };
        let (version, file) = (Some("1.0.0"), Some([1; 32]));
        assert_eq!(check(&[Can::Own], &["a-*", "b"], None, None), Ok(()));
        assert_eq!(check(all, &["a"], version, None), Ok(()));
        assert_eq!(check(publish, &["a"], version, file), Ok(()));
        let fault = Err(OrderFault::NoAction);
        assert_eq!(check(&[], &["a"], None, None), fault);
        let fault = Err(OrderFault::OneCrate);
        for crates in [&["a-*"][..], &["a", "b"]] {
            assert_eq!(check(publish, crates, version, None), fault);
            assert_eq!(check(publish, crates, None, file), fault);
        }
        let fault = Err(OrderFault::OneRelease);
        assert_eq!(check(&[Can::Own], &["a"], version, None), fault);
        assert_eq!(check(all, &["a"], version, file), fault);
        assert_eq!(check(publish, &["a"], None, file), fault);
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_a_lifetime_in_range_or_a_fault(text in any::<String>()) {
            if let Ok(lifetime) = text.parse::<Lifetime>() {
                assert!((60..=Lifetime::MAX.as_secs()).contains(&lifetime.as_secs()));
            }
        }
    }
}
