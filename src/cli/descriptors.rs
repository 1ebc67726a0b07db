//! How many files the server may have open, and how many connections that is enough for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

use sidecargo::config::Config;

/// Of a connection: its socket, and the file that comes, which is open twice, or goes.
const OF_CONNECTION: u64 = 3;
/// Of a fetch beside its connection: both ends of three pipes while its process starts, and the process itself.
const OF_FETCH: u64 = 7;
/// Of everything else: the listener, locks, packs that are read, what the writer and the catalog have open.
const OF_THE_REST: u64 = 64;

/// Raises the limit of open files to twice what the configuration needs; where the system does not allow so many, fewer
/// connections are taken in.
///
/// A connection without a descriptor waits in its turn; a publish or a fetch without one would fail.
pub(super) fn make_room(config: &mut Config) {
    let (beside, needed) = needs(config);
    // What was not thought of finds some, too.
    let allowed = raised(2 * needed);
    if allowed >= needed {
        return;
    }
    let room = connections(allowed, beside).min(config.http.connections_max);
    warn!(
        allowed,
        needed,
        connections_max = room,
        "few files may be open (`ulimit -n`): fewer connections are taken in at one time than configured"
    );
    config.http.connections_max = room;
}

/// How many connections there will be room for, if that is fewer than configured.
pub(super) fn too_little_room(config: &Config) -> Option<usize> {
    let (beside, needed) = needs(config);
    let allowed = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let room = connections(allowed, beside);
    (allowed < needed && room < config.http.connections_max).then_some(room)
}

/// How many files the configuration needs beside those of its connections, and in all.
fn needs(config: &Config) -> (u64, u64) {
    let beside = OF_THE_REST + OF_FETCH * config.fetch.children_max as u64;
    let all = beside + OF_CONNECTION * config.http.connections_max as u64;
    (beside, all)
}

/// How many connections there is room for: one always, for a server without any is none.
fn connections(allowed: u64, beside: u64) -> usize {
    let room = allowed.saturating_sub(beside) / OF_CONNECTION;
    usize::try_from(room).unwrap_or(usize::MAX).max(1)
}

/// Raises the limit to `wanted`, or as far as it may be raised; gives what it is then.
fn raised(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // None is no limit at all.
    let current = limit.current.unwrap_or(u64::MAX);
    let wanted = wanted.min(limit.maximum.unwrap_or(u64::MAX));
    if current >= wanted {
        return current;
    }
    let higher = Rlimit {
        current: Some(wanted),
        ..limit
    };
    match setrlimit(Resource::Nofile, higher) {
        Ok(()) => {
            info!(from = current, to = wanted, "more files may be open");
            wanted
        }
        Err(fault) => {
            warn!(%fault, "the limit of open files cannot be raised");
            current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beside_connections_comes_first_and_one_connection_is_left() {
        assert_eq!(connections(1000, 200), 266);
        assert_eq!(connections(203, 200), 1);
        assert_eq!(connections(10, 200), 1);
    }
}
