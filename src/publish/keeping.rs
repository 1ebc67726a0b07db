//! How a received file comes into the store, off the threads that serve.

use std::io;
use std::sync::{Arc, mpsc};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::OwnedSemaphorePermit as Turn;
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::warn;

use super::PublishFault;
use super::spool::Received;
use crate::app::App;
use crate::blobs::{Blobs, Kept};
use crate::domain::Cksum;
use crate::index::{Blob, Index, WriteFault};

/// A file that is being kept: what is known of it once that has ended well.
pub(super) type Keeping = Shared<BoxFuture<'static, Option<Arc<Kept>>>>;

/// Begins to keep a file: while that goes on, the writer can do its part. Whether it was kept is told to whoever waits.
pub(super) fn keep(
    blobs: &Arc<Blobs>,
    received: Received,
    cksum: Cksum,
    turn: Turn,
) -> (Blob, Keeping) {
    let blobs = Arc::clone(blobs);
    let (tell, told) = mpsc::sync_channel(1);
    let kept = spawn_blocking(move || {
        let _turn = turn;
        let kept = received
            .into_file(&blobs)
            .and_then(|file| blobs.keep(file, &cksum));
        let (kept, told) = match kept {
            Ok(kept) => (Some(Arc::new(kept)), Ok(())),
            Err(cause) => (None, Err(cause)),
        };
        // Nobody may be waiting any more: then no line names the file.
        let _ = tell.send(told);
        kept
    });
    let kept = kept.map(|ended| ended.ok().flatten());
    (Blob::Coming(told), kept.boxed().shared())
}

/// Lets the file of a publish that came to nothing be removed, also if it is kept only later; whatever lets it stay does
/// no harm.
pub(super) fn leave(index: &Index, kept: Keeping, fault: &PublishFault) -> Option<JoinHandle<()>> {
    if let PublishFault::Write(WriteFault::OutcomeUnknown(_)) = fault {
        return None;
    }
    // While the branch is not good nobody knows what it names: it may be for want of this very file.
    if index.stall().is_some_and(|stall| !stall.is_away) {
        return None;
    }
    Some(tokio::spawn(async move {
        if let Some(kept) = kept.await {
            let _ = spawn_blocking(move || kept.leave()).await;
        }
    }))
}

/// Keeps a file that is uploaded again if the one in the store was lost or damaged meanwhile.
pub(super) async fn heal(
    app: &App,
    received: Received,
    cksum: Cksum,
    turn: Turn,
) -> io::Result<()> {
    let heal = move |blobs: &Blobs| {
        let _turn = turn;
        blobs.heal(received.into_file(blobs)?, &cksum)
    };
    if off_thread(&app.blobs, heal).await? {
        warn!(blob.cksum = %cksum, "a crate file that was missing or damaged was uploaded again");
    }
    Ok(())
}

/// Works on the blob store off the threads that serve.
pub(super) async fn off_thread<T: Send + 'static>(
    blobs: &Arc<Blobs>,
    work: impl FnOnce(&Blobs) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let blobs = Arc::clone(blobs);
    spawn_blocking(move || work(&blobs))
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::sync::Semaphore;
    use tokio::time::Instant;

    use super::*;
    use crate::catalog::tests::Fixture;
    use crate::index::BRANCH;

    #[tokio::test]
    async fn a_file_is_left_once_it_is_known_that_nothing_was_published() {
        let fixture = Fixture::new();
        let (index, blobs) = (&fixture.index, &fixture.blobs);
        let places = Arc::new(Semaphore::new(2));
        let tip = index.git_dir().join("refs/heads").join(BRANCH);
        for (number, (fault, is_left)) in [
            (WriteFault::Late, true),
            (WriteFault::OutcomeUnknown("why".to_owned()), false),
            // The branch is not good: nobody knows what it names.
            (WriteFault::Late, false),
        ]
        .into_iter()
        .enumerate()
        {
            if number == 2 {
                fs::remove_file(&tip).unwrap();
                let looked = index.look(Instant::now() + Duration::from_secs(60)).await;
                looked.unwrap_err();
            }
            let cksum = Cksum::from([number as u8; 32]);
            let turn = Arc::clone(&places).acquire_owned().await.unwrap();
            let (_blob, kept) = keep(blobs, Received::Memory(Vec::new()), cksum, turn);
            assert!(kept.clone().await.is_some());
            if let Some(leaving) = leave(index, kept, &fault.into()) {
                leaving.await.unwrap();
            }
            let files = blobs.untouched_since(i64::MAX).unwrap();
            let found = files.iter().find(|(found, _)| *found == cksum).unwrap();
            assert_eq!(found.1.is_left(), is_left);
        }
    }
}
