//! How many tokens that nobody knows came from each address lately.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many unknown tokens an address may show at once.
const BURST: u32 = 20;
/// The time in which it may show another.
const INTERVAL: Duration = Duration::from_secs(10);
/// The most addresses that are kept.
const ADDRESSES_MAX: usize = 100_000;

/// For each address, the moment at which it is as good as new.
#[derive(Default)]
pub(super) struct Strangers(Mutex<HashMap<IpAddr, Instant>>);

impl Strangers {
    /// Whether the address may show an unknown token.
    ///
    /// # Errors
    /// It showed too many; the number of seconds to wait.
    pub(super) fn look(&self, peer: IpAddr, now: Instant) -> Result<(), u64> {
        let full_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        missing_then(&full_at, network(peer), now).map(|_| ())
    }

    /// Counts an unknown token, before anybody is asked about it.
    ///
    /// # Errors
    /// As [`Strangers::look`].
    pub(super) fn take(&self, peer: IpAddr, now: Instant) -> Result<(), u64> {
        let mut full_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = network(peer);
        let missing_then = missing_then(&full_at, peer, now)?;
        if full_at.len() >= ADDRESSES_MAX {
            full_at.retain(|_, at| *at > now);
            if full_at.len() >= ADDRESSES_MAX {
                full_at.clear();
            }
        }
        full_at.insert(peer, now + missing_then);
        Ok(())
    }

    /// The token was not an unknown one.
    pub(super) fn give_back(&self, peer: IpAddr) {
        let mut full_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = full_at.get_mut(&network(peer)) {
            *at = at.checked_sub(INTERVAL).unwrap_or(*at);
        }
    }
}

/// How far from full the address is once it showed another, in time.
fn missing_then(
    full_at: &HashMap<IpAddr, Instant>,
    peer: IpAddr,
    now: Instant,
) -> Result<Duration, u64> {
    let known = full_at.get(&peer);
    let missing = known.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
    let missing_then = missing + INTERVAL;
    match missing_then.checked_sub(INTERVAL * BURST) {
        Some(wait) if !wait.is_zero() => Err(wait.as_secs() + 1),
        _ => Ok(missing_then),
    }
}

impl fmt::Debug for Strangers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Strangers")
    }
}

/// Of IPv6 the half that a provider gives to one client.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let mut segments = address.segments();
            segments[4..].fill(0);
            IpAddr::V6(Ipv6Addr::from(segments))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_shows_some_unknown_tokens_and_then_one_each_while() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        for _ in 0..BURST {
            strangers.take(one, now).unwrap();
        }
        assert_eq!(strangers.take(one, now), Err(11));
        assert_eq!(strangers.look(one, now), Err(11));
        assert_eq!(strangers.look(other, now), Ok(()));
        strangers.take(other, now).unwrap();
        assert_eq!(strangers.take(one, now + INTERVAL), Ok(()));
        assert!(strangers.take(one, now + INTERVAL).is_err());
        // A good one does not count.
        strangers.give_back(one);
        assert_eq!(strangers.take(one, now + INTERVAL), Ok(()));
        strangers.give_back(ip("192.0.2.3"));
    }

    #[test]
    fn one_clients_ipv6_addresses_are_one() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        for host in 0..BURST {
            strangers
                .take(ip(&format!("2001:db8::{host:x}")), now)
                .unwrap();
        }
        assert!(strangers.take(ip("2001:db8::ffff:1"), now).is_err());
        strangers.take(ip("2001:db8:0:1::1"), now).unwrap();
        for _ in 0..BURST {
            strangers.take(ip("::ffff:192.0.2.1"), now).unwrap();
        }
        assert!(strangers.take(ip("192.0.2.1"), now).is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        for number in 0..ADDRESSES_MAX as u32 {
            let peer = IpAddr::V4(number.into());
            strangers.take(peer, now).unwrap();
        }
        strangers.take(ip("192.0.2.1"), now).unwrap();
        assert_eq!(strangers.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn who_showed_nothing_lately_is_forgotten_first() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        let (one, new) = (ip("192.0.2.1"), ip("192.0.2.2"));
        for _ in 0..BURST {
            strangers.take(one, now).unwrap();
        }
        for number in 1..ADDRESSES_MAX as u32 {
            strangers.take(IpAddr::V4(number.into()), now).unwrap();
        }
        let later = now + INTERVAL;
        strangers.take(new, later).unwrap();
        assert_eq!(strangers.0.lock().unwrap().len(), 2);
        strangers.take(one, later).unwrap();
        assert!(strangers.take(one, later).is_err());
    }
}
