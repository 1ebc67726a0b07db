//! Crate files that no line names: what is left of a publish that was refused, withdrawn or overtaken after its file was
//! kept.
//!
//! On a forge that no line names a file is not known from the branch: other servers may share the store, and if the forge
//! has lost lines that they acknowledged, they alone have them. So only those go of which a publish said that it made no
//! line for them, and that were not there before it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::blobs::{Blobs, Stamp};
use crate::domain::Cksum;
use crate::index::{Index, Snapshot};

/// How often it is looked for them: far longer than a publish takes.
const PAUSE: Duration = Duration::from_secs(3600);
/// For how long nobody must have touched a file that goes, in seconds.
const AGE_SECS: i64 = 24 * 3600;
/// How long it is waited for a look at the branch.
const PATIENCE: Duration = Duration::from_secs(60);

/// What removes them.
#[derive(Debug)]
pub struct Orphans {
    blobs: Arc<Blobs>,
    /// Those of the last look. One that is named by none of two looks is no publish's that is under way, whatever the
    /// clock says.
    seen: HashMap<Cksum, Stamp>,
    /// Whether the index here has all lines that may name a file.
    has_all_lines: bool,
    pause: Duration,
    age_secs: i64,
}

impl Orphans {
    /// Of the store that belongs to an index.
    pub fn of(blobs: Arc<Blobs>, index: &Index) -> Self {
        Self {
            blobs,
            seen: HashMap::new(),
            has_all_lines: !index.has_forge(),
            pause: PAUSE,
            age_secs: AGE_SECS,
        }
    }

    /// Removes them now and then, as long as it is polled.
    pub async fn follow(mut self, index: &Index) {
        loop {
            sleep(self.pause).await;
            // Another server may have published. While the branch is not good nobody knows what will be named.
            if index.look(Instant::now() + PATIENCE).await.is_err() {
                continue;
            }
            let snapshot = index.snapshot();
            let look = spawn_blocking(move || {
                let removed = self.look(&snapshot, Timestamp::now());
                (self, removed)
            });
            let Ok((back, removed)) = look.await else {
                return;
            };
            self = back;
            match removed {
                Ok(0) => {}
                Ok(count) => info!(count, "crate files that no line names were removed"),
                Err(cause) => warn!(%cause, "crate files that no line names are not removed"),
            }
        }
    }

    /// Removes what no line named at the last look either, and nobody has touched since; gives how many went.
    fn look(&mut self, snapshot: &Snapshot, now: Timestamp) -> io::Result<usize> {
        let releases = snapshot.crates().flat_map(|krate| krate.releases());
        let named: HashSet<Cksum> = releases.map(|release| release.cksum).collect();
        let mut files = self
            .blobs
            .untouched_since(now.as_second() - self.age_secs)?;
        files.retain(|(cksum, stamp)| {
            !named.contains(cksum) && (self.has_all_lines || stamp.is_left())
        });
        let seen = std::mem::replace(&mut self.seen, files.into_iter().collect());
        let mut removed = 0;
        for (cksum, stamp) in &self.seen {
            if seen.get(cksum) == Some(stamp) && self.blobs.remove(cksum, *stamp)? {
                removed += 1;
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use sha2::{Digest, Sha256};

    use super::*;
    use crate::blobs::Kept;
    use crate::catalog::tests::Fixture;

    const HOUR: i64 = 3600;

    fn keep(blobs: &Blobs, bytes: &[u8]) -> Cksum {
        keep_so(blobs, bytes).0
    }

    fn keep_so(blobs: &Blobs, bytes: &[u8]) -> (Cksum, Kept) {
        let mut file = blobs.incoming().unwrap();
        file.file().write_all(bytes).unwrap();
        let cksum = Cksum::from(<[u8; 32]>::from(Sha256::digest(bytes)));
        let kept = blobs.keep(file, &cksum).unwrap();
        (cksum, kept)
    }

    fn is_there(blobs: &Blobs, cksum: &Cksum) -> bool {
        blobs.path(cksum).exists()
    }

    #[tokio::test]
    async fn a_file_goes_when_no_line_has_named_it_for_a_day_at_two_looks() {
        let fixture = Fixture::new();
        let (index, blobs) = (&fixture.index, &fixture.blobs);
        let named = fixture.publish("a", "1.0.0", "it stays").await;
        let [orphan, again, later] = [b"orphan", b"again?", b"later."].map(|it| keep(blobs, it));
        let mut orphans = Orphans::of(Arc::clone(blobs), &fixture.index);
        let snapshot = index.snapshot();
        let mut look_in = |hours: i64, snapshot: &Snapshot| {
            let now = Timestamp::now().as_second() + hours * HOUR;
            let now = Timestamp::from_second(now).unwrap();
            orphans.look(snapshot, now).unwrap()
        };
        assert_eq!(look_in(23, &snapshot), 0);
        assert_eq!(look_in(23, &snapshot), 0, "they are too young");
        assert_eq!(look_in(25, &snapshot), 0, "it is the first look");
        // One is kept anew, as whoever publishes it now does, and one gets its line.
        keep(blobs, b"again?");
        let published = fixture.publish_kept("b", "1.0.0", later).await;
        assert_eq!(look_in(25, &index.snapshot()), 1);
        assert!(!is_there(blobs, &orphan));
        for cksum in [named, again, published] {
            assert!(is_there(blobs, &cksum));
        }
        assert_eq!(look_in(26, &index.snapshot()), 1);
        assert!(!is_there(blobs, &again));
        assert_eq!(look_in(26, &index.snapshot()), 0);
    }

    #[tokio::test]
    async fn beside_other_servers_only_what_a_publish_brought_and_left_goes() {
        let fixture = Fixture::new();
        let blobs = &fixture.blobs;
        let [left, published] = [b"left", b"here"].map(|bytes| {
            let (cksum, kept) = keep_so(blobs, bytes);
            kept.leave().unwrap();
            cksum
        });
        let published = fixture.publish_kept("a", "1.0.0", published).await;
        // The forge has lost the lines of other servers that name these: a publish here that came to nothing brought the
        // first one again, and had brought the others before them.
        let first = keep(blobs, b"theirs");
        keep_so(blobs, b"theirs").1.leave().unwrap();
        keep_so(blobs, b"theirs too").1.leave().unwrap();
        let second = keep(blobs, b"theirs too");
        let (_, kept) = keep_so(blobs, b"and this");
        let third = keep(blobs, b"and this");
        kept.leave().unwrap();
        let mut orphans = Orphans {
            age_secs: -HOUR,
            has_all_lines: false,
            ..Orphans::of(Arc::clone(blobs), &fixture.index)
        };
        let snapshot = fixture.index.snapshot();
        let mut look = || orphans.look(&snapshot, Timestamp::now()).unwrap();
        assert_eq!([look(), look(), look()], [0, 1, 0]);
        assert!(!is_there(blobs, &left));
        for cksum in [published, first, second, third] {
            assert!(is_there(blobs, &cksum));
        }
    }

    #[tokio::test]
    async fn it_goes_on_as_long_as_it_is_polled() {
        let fixture = Fixture::new();
        let blobs = &fixture.blobs;
        let named = fixture.publish("a", "1.0.0", "it stays").await;
        let orphans = Orphans {
            pause: Duration::from_millis(1),
            age_secs: -HOUR,
            ..Orphans::of(Arc::clone(blobs), &fixture.index)
        };
        let first = keep(blobs, b"first");
        let is_gone = async |cksum: Cksum| {
            while is_there(blobs, &cksum) {
                tokio::task::yield_now().await;
            }
        };
        let goes = async {
            is_gone(first).await;
            is_gone(keep(blobs, b"second")).await;
        };
        tokio::select! {
            () = orphans.follow(&fixture.index) => panic!("it ended"),
            gone = tokio::time::timeout(PATIENCE, goes) => gone.unwrap(),
        }
        assert!(is_there(blobs, &named));
    }
}
