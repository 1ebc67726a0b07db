//! A disk without any room.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Target, is_root, system};
use crate::common::http::get;
use crate::common::metrics::Metrics;
use crate::common::registry::Registry;
use crate::common::tools;
use crate::common::upload::Release;
use crate::operate::ready;

/// A small file system of its own, until it is dropped.
struct Small(PathBuf);

impl Small {
    /// Puts what lies in `folder` onto it, and it in the folder's place.
    fn in_place_of(folder: &Path) -> Self {
        let before = folder.with_extension("before");
        fs::rename(folder, &before).unwrap();
        fs::create_dir(folder).unwrap();
        let options = ["-t", "tmpfs", "-o", "size=4m,nr_inodes=2000", "tmpfs"].map(Path::new);
        system("mount", &[&options[..], &[folder]].concat());
        let small = Self(folder.to_owned());
        let all = before.join(".");
        system("cp", &[Path::new("-a"), &all, folder]);
        small
    }

    /// Takes all room that is left: for bytes and for files.
    fn fill(&self) -> Vec<PathBuf> {
        let path = |number: usize| self.0.join(format!("filler-{number}"));
        let mut file = File::create(path(0)).unwrap();
        // The rest that has no room for a block is taken byte by byte.
        while file.write_all(&[0; 4096]).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
        let mut paths = vec![path(0)];
        while File::create_new(path(paths.len())).is_ok() {
            paths.push(path(paths.len()));
        }
        paths
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Also under a server that still runs.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_takes_nothing_and_gives_everything_also_after_a_restart() {
    if !is_root() {
        tools::skip("only root can make a small disk");
        return;
    }
    let mut target = Target::new();
    let early = Release::new("early", "1.0.0");
    target.registry.stop();
    let small = Small::in_place_of(&target.registry.data());
    target.registry.start_again();
    let fillers = small.fill();
    target.registry.knows_its_files();

    let late = Release::new("late", "1.0.0");
    target.cannot_publish(&late, "No space left on device");
    target.has_once(&early);
    let why = ready::wait_for(&target.registry, 503);
    assert!(why.contains("nothing can be written"), "{why}");
    let failed = "sidecargo_publishes_total{outcome=\"failed\"}";
    assert_eq!(Metrics::of(&target.registry).get(failed), 1.0);
    target.registry.stop();
    target.registry.start_again();
    target.has_once(&early);
    target.cannot_publish(&late, "No space left on device");
    get("/healthz").send(target.registry.port).succeeds();

    for filler in fillers {
        fs::remove_file(filler).unwrap();
    }
    ready::wait_for(&target.registry, 200);
    target.publish(&late).succeeds();
    target.has_once(&late);
    target.registry.stop();
    drop(small);
}

#[test]
fn a_limit_of_sizes_is_a_full_disk_and_not_the_end_of_the_server() {
    // In blocks of 512 bytes or of 1024.
    let limited = "ulimit -f 2000 && exec \"$0\" \"$@\"";
    let registry = Registry::start_under(&["sh", "-c", limited]);
    let token = registry.token("alice");
    let large = Release::large("krate", "1.0.0", 4_000_000);
    let refused = large.publish(registry.port, &token);
    assert_eq!(refused.status, 503, "{refused:?}");
    let log = registry.log();
    assert!(log.contains("File too large"), "{log}");
    Release::new("krate", "1.0.0")
        .publish(registry.port, &token)
        .succeeds();
}
