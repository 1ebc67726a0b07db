//! What the disk itself allows: a new file that is durable under its name.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Writes `bytes` under a temporary name, flushes, renames, and flushes the folder.
pub fn write_durably(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let temporary = folder.join(format!("tmp_{name}"));
    let mut file = File::create_new(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, folder.join(name))?;
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// How long `count` such files take that `threads` write at the same time.
pub fn write_many(
    folder: &Path,
    threads: usize,
    count: usize,
    bytes: &[u8],
) -> anyhow::Result<Duration> {
    let started = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || -> anyhow::Result<()> {
                    for number in (thread..count).step_by(threads) {
                        write_durably(folder, &format!("{number}"), bytes)?;
                    }
                    Ok(())
                })
            })
            .collect();
        for worker in workers {
            worker.join().expect("a worker does not panic")?;
        }
        anyhow::Ok(())
    })?;
    Ok(started.elapsed())
}
