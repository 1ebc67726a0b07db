//! The two refs of the repository: the tip, and the ref that clients of git see.

mod packed;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;
use tracing::{debug, warn};

use crate::disk::{self, about};
use crate::domain::CommitId;

pub(super) use packed::mend as mend_packed;

/// The branch whose tip is the index.
pub(super) const TIP: &str = "refs/heads/main";
/// What people call it.
pub const BRANCH: &str = TIP.split_at("refs/heads/".len()).1;
/// What clients of git see, under the namespace `served`.
pub(super) const SERVED: &str = "refs/namespaces/served/refs/heads/main";
/// The `HEAD` of that namespace.
pub(super) const SERVED_HEAD: &str = "refs/namespaces/served/HEAD";

/// A file beside the refs that names the commit which clients of git were shown last: a command that moves all refs
/// does not reach it.
pub(super) const SHOWN: &str = "sidecargo-shown";

/// How long a lock is waited for: a push holds it for some milliseconds.
const LOCK_WAIT: Duration = Duration::from_secs(1);
/// One that is older was left by a process that ended.
const LOCK_LIFE: Duration = Duration::from_secs(10);
/// The pause between two attempts at a lock.
const LOCK_LOOK: Duration = Duration::from_millis(5);

/// How often the ref for clients of git is written again because git removed its folder meanwhile.
const SHOW_AGAIN_MAX: usize = 16;

/// The tip could not be moved.
#[derive(Debug, Error)]
pub(super) enum MoveFault {
    /// It is not where it was thought to be; nothing was changed.
    #[error("somebody else moved {TIP} to {}", .found.map_or("nothing".to_owned(), |id| id.to_string()))]
    Elsewhere {
        /// Where it is.
        found: Option<CommitId>,
    },
    /// The move failed; nothing was changed.
    #[error("the tip of {TIP} was not moved")]
    NotMoved(#[source] io::Error),
    /// The new tip is in place, but perhaps not for good.
    #[error("the tip of {TIP} was moved, but it is unknown whether that survives a power cut")]
    NotFlushed(#[source] io::Error),
}

/// Where a ref points; `None` if there is no such ref.
///
/// A ref that git has packed away is found too.
pub(super) fn read(git_dir: &Path, name: &str) -> io::Result<Option<CommitId>> {
    let path = git_dir.join(name);
    let invalid = |text: &str| {
        let what = format!("{} does not hold a commit id but {text:?}", path.display());
        io::Error::new(io::ErrorKind::InvalidData, what)
    };
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim_end().parse().map_err(|_| invalid(&text))?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => packed::read(git_dir, name),
        Err(error) => Err(about(&path)(error)),
    }
}

/// Moves the tip from `expected` to `new`: durable when this returns.
///
/// It takes the lock that git takes, so a push at the same time loses or wins as a whole.
pub(super) fn move_tip(
    git_dir: &Path,
    expected: Option<CommitId>,
    new: CommitId,
) -> Result<(), MoveFault> {
    let path = git_dir.join(TIP);
    let lock = Lock::take(&path, new).map_err(MoveFault::NotMoved)?;
    let found = read(git_dir, TIP).map_err(MoveFault::NotMoved)?;
    if found != expected {
        return Err(MoveFault::Elsewhere { found });
    }
    lock.commit()
}

/// Moves the tip to where the forge's branch is, wherever it was: durable when this returns.
pub(super) fn follow(git_dir: &Path, new: CommitId) -> Result<(), MoveFault> {
    Lock::take(&git_dir.join(TIP), new)
        .map_err(MoveFault::NotMoved)?
        .commit()
}

/// Puts a tip that names no commit where it was.
pub(super) fn restore_tip(git_dir: &Path, commit: CommitId) -> Result<(), MoveFault> {
    let path = git_dir.join(TIP);
    let lock = Lock::take(&path, commit).map_err(MoveFault::NotMoved)?;
    if let Ok(found @ Some(_)) = read(git_dir, TIP) {
        return Err(MoveFault::Elsewhere { found });
    }
    lock.commit()
}

/// The commit that clients of git were shown last, which we alone tell.
pub(super) fn shown(git_dir: &Path) -> io::Result<Option<CommitId>> {
    match remembered(git_dir) {
        None => read(git_dir, SERVED),
        shown => Ok(shown),
    }
}

/// The same, if it is known whoever moved the refs: its file is there and whole.
pub(super) fn remembered(git_dir: &Path) -> Option<CommitId> {
    read(git_dir, SHOWN).ok().flatten()
}

/// Flushes what is remembered.
pub(super) fn keep_shown(git_dir: &Path) -> io::Result<()> {
    let path = git_dir.join(SHOWN);
    let file = disk::if_there(File::open(&path)).map_err(about(&path))?;
    file.map_or(Ok(()), |file| disk::flush(&file))
        .map_err(about(&path))
}

/// Lets clients of git see `commit`, and remembers that it is good. Not flushed: at the next start it is set from the
/// tip.
pub(super) fn show(git_dir: &Path, commit: CommitId) -> io::Result<()> {
    show_unproven(git_dir, commit)?;
    if read(git_dir, SHOWN).is_ok_and(|shown| shown == Some(commit)) {
        return Ok(());
    }
    let (path, text) = (git_dir.join(SHOWN), format!("{commit}\n"));
    let written = match disk::write_over(&path, text.as_bytes()) {
        Ok(None) => disk::replace(&path, text.as_bytes()),
        written => written.map(drop),
    };
    written.map_err(about(&path))
}

/// Lets clients of git see `commit`, of which a power cut may leave nothing: then nothing shall tell of it.
pub(super) fn show_unproven(git_dir: &Path, commit: CommitId) -> io::Result<()> {
    // Where it was moved away, or is not mounted, nothing begins in its place.
    let objects = git_dir.join("objects");
    fs::metadata(&objects).map_err(about(&objects))?;
    show_branch(git_dir)?;
    show_commit(git_dir, commit)
}

/// What the `HEAD` of clients of git says.
pub(super) fn served_head() -> String {
    format!("ref: {SERVED}\n")
}

fn show_branch(git_dir: &Path) -> io::Result<()> {
    let (path, text) = (git_dir.join(SERVED_HEAD), served_head());
    let found = disk::if_there(fs::read(&path)).map_err(about(&path))?;
    if found.is_some_and(|found| found == text.as_bytes()) {
        return Ok(());
    }
    warn!(path = %path.display(), "the `HEAD` of clients of git was damaged and is written again");
    disk::create_folder(folder_of(&path))?;
    disk::replace(&path, text.as_bytes()).map_err(about(&path))
}

fn show_commit(git_dir: &Path, commit: CommitId) -> io::Result<()> {
    // A torn ref is not one that shows anything.
    if read(git_dir, SERVED).is_ok_and(|shown| shown == Some(commit)) {
        return Ok(());
    }
    let path = git_dir.join(SERVED);
    let text = format!("{commit}\n");
    let write = || {
        let spare = spare_beside(&path);
        let written = match disk::write_over(&spare, text.as_bytes()) {
            Ok(None) => {
                disk::if_there(fs::remove_file(&spare)).and_then(|_| fs::write(&spare, &text))
            }
            written => written.map(drop),
        };
        written.map_err(about(&spare))?;
        // Whatever else bears the name is in the way, and stays.
        if path.is_file() && disk::exchange(&spare, &path).is_ok() {
            return Ok(());
        }
        fs::rename(&spare, &path).map_err(about(&path))
    };
    let is_overtaken = |done: &io::Result<()>| matches!(done, Err(error) if error.kind() == io::ErrorKind::NotFound);
    let mut done = write();
    for _ in 0..SHOW_AGAIN_MAX {
        if !is_overtaken(&done) {
            break;
        }
        let folder = folder_of(&path);
        fs::create_dir_all(folder).map_err(about(folder))?;
        done = write();
    }
    done
}

/// Makes sure that the tip which was found at the start is durable: who wrote it may have been killed before that, or
/// may have seen the flush fail, after which a second flush proves nothing.
///
/// So the ref is written anew; where there is no room for that, the old file must do.
pub(super) fn renew_tip(git_dir: &Path, tip: CommitId) -> io::Result<()> {
    match move_tip(git_dir, Some(tip), tip) {
        Ok(()) => return Ok(()),
        // Whoever pushes meanwhile is followed like any other.
        Err(fault @ MoveFault::Elsewhere { .. }) => {
            debug!(%fault, "the tip moved during the start")
        }
        Err(fault) => {
            let reason = super::writer::chain(&fault);
            warn!(reason, "the tip could not be written anew at the start");
        }
    }
    flush_tip(git_dir)
}

/// Flushes the tip's file, if it has one of its own, and the folder that names it.
pub(super) fn flush_tip(git_dir: &Path) -> io::Result<()> {
    let path = git_dir.join(TIP);
    let file = disk::if_there(File::open(&path)).map_err(about(&path))?;
    let flushed = file.map_or(Ok(()), |file| disk::flush(&file));
    flushed.map_err(about(&path))?;
    let folder = folder_of(&path);
    disk::sync_folder(folder).map_err(about(folder))
}

fn held(lock: &Path) -> io::Error {
    let what = format!(
        "{} is there: a git program writes the ref, or ended in the middle of it; if none runs, remove the file",
        lock.display()
    );
    io::Error::new(io::ErrorKind::AlreadyExists, what)
}

/// Where git's lock on the tip lies.
pub(super) fn lock_of_tip(git_dir: &Path) -> PathBuf {
    git_dir.join(TIP).with_extension("lock")
}

/// Why nobody can move the tip, if its lock is there for longer than any move takes.
pub(super) fn stale_lock(git_dir: &Path) -> Option<String> {
    let lock = lock_of_tip(git_dir);
    let age = fs::metadata(&lock).and_then(|it| disk::age(&it)).ok()?;
    (age > LOCK_LIFE).then(|| held(&lock).to_string())
}

/// Removes the lock on the tip that an ended process left, at a start.
pub(super) fn remove_left_lock(git_dir: &Path) -> io::Result<()> {
    let (lock, spare) = (lock_of_tip(git_dir), spare_beside(&git_dir.join(TIP)));
    let until = Instant::now() + LOCK_WAIT;
    // Ours was the spare file before. While that is there, this one is git's, and its push may still be under way.
    while spare.exists() && lock.exists() && Instant::now() < until {
        thread::sleep(LOCK_LOOK);
    }
    let removed = disk::if_there(fs::remove_file(&lock)).map(drop);
    removed.map_err(about(&lock))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().expect("the ref lies in a folder")
}

/// A file in the folder of a ref that is not needed at the moment: the ref's old one, for its next value.
///
/// To make and to remove a file costs a file system more than all else that a ref needs. Git passes over files of
/// `.lock` in a folder of refs.
fn spare_beside(path: &Path) -> PathBuf {
    path.with_file_name("sidecargo-spare.lock")
}

/// Git's own lock on a ref, `<ref>.lock`, created only if it is not there, with the ref's next value in it.
struct Lock {
    path: PathBuf,
    target: PathBuf,
    spare: PathBuf,
    /// Whether a file at `path` is ours.
    is_held: bool,
}

impl Lock {
    /// Writes and flushes the next value, then takes the lock with it.
    fn take(target: &Path, next: CommitId) -> io::Result<Self> {
        let mut lock = Self {
            path: target.with_extension("lock"),
            target: target.to_owned(),
            spare: spare_beside(target),
            is_held: false,
        };
        let text = format!("{next}\n");
        let until = Instant::now() + LOCK_WAIT;
        if !lock.take_with_spare(&text, until)? {
            wait_for(until, &lock.path, || {
                let mut options = OpenOptions::new();
                let mut file = options.write(true).create_new(true).open(&lock.path)?;
                let written = file
                    .write_all(text.as_bytes())
                    .and_then(|()| disk::flush(&file));
                written.inspect_err(|_| drop(fs::remove_file(&lock.path)))
            })?;
        }
        lock.is_held = true;
        Ok(lock)
    }

    /// Takes the lock with the spare file; `false` if there is none that serves for it.
    fn take_with_spare(&self, text: &str, until: Instant) -> io::Result<bool> {
        use io::ErrorKind::{InvalidInput, Unsupported};

        let (spare, remove) = (&self.spare, || disk::if_there(fs::remove_file(&self.spare)));
        let Some(written) = disk::write_over(spare, text.as_bytes()).map_err(about(spare))? else {
            return Ok(false);
        };
        // Nothing that is said of this file later would be true.
        let flushed = disk::flush(&written).inspect_err(|_| drop(remove()));
        flushed.map_err(about(spare))?;
        match wait_for(until, &self.path, || disk::rename_new(spare, &self.path)) {
            // It was copied here from a file system that can do more than this one.
            Err(error) if matches!(error.kind(), InvalidInput | Unsupported) => {
                remove().map_err(about(spare))?;
                Ok(false)
            }
            taken => taken.map(|()| true),
        }
    }

    /// Puts the next value in the ref's place: durable when this returns.
    fn commit(mut self) -> Result<(), MoveFault> {
        // The old file becomes the spare one; where there is none, or the file system cannot do it, it is replaced.
        if disk::exchange(&self.path, &self.target).is_err() {
            fs::rename(&self.path, &self.target)
                .map_err(|cause| MoveFault::NotMoved(about(&self.target)(cause)))?;
            self.is_held = false;
        }
        let (target, spare) = (self.target.clone(), self.spare.clone());
        // Let go of first, so that the flush is about that too.
        drop(self);
        let folder = folder_of(&target);
        disk::sync_folder(folder).map_err(|cause| {
            // On the disk the spare file may still be the ref: nothing is written over it any more.
            let _ = fs::remove_file(spare);
            MoveFault::NotFlushed(about(folder)(cause))
        })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Once given away, a file of this name is somebody else's lock.
        if self.is_held && disk::put_aside(&self.path, &self.spare).is_err() {
            // One that stays all the same is named by who meets it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Tries until nobody else holds the lock at `path`.
fn wait_for(until: Instant, path: &Path, take: impl Fn() -> io::Result<()>) -> io::Result<()> {
    loop {
        match take() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if Instant::now() > until {
                    return Err(held(path));
                }
            }
            other => return other.map_err(about(path)),
        }
        thread::sleep(LOCK_LOOK);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::{DirEntryExt, MetadataExt};

    use super::*;

    fn id(byte: u8) -> CommitId {
        CommitId::from([byte; 20])
    }

    /// A repository whose tip is `id(1)`, as far as refs go.
    fn repository() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder_of(&folder.path().join(TIP))).unwrap();
        fs::create_dir(folder.path().join("objects")).unwrap();
        fs::write(folder.path().join(TIP), format!("{}\n", id(1))).unwrap();
        folder
    }

    #[test]
    fn nothing_begins_where_a_repository_was_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("index.git");
        for show in [show, show_unproven] {
            let fault = show(&gone, id(1)).unwrap_err().to_string();
            assert!(fault.contains("index.git"), "{fault}");
            assert!(!gone.exists());
        }
    }

    #[test]
    fn a_copy_that_shares_its_files_keeps_what_it_says() {
        let folder = repository();
        let git_dir = folder.path();
        let copy = tempfile::tempdir().unwrap();
        show(git_dir, id(1)).unwrap();
        // Also the spare file has been the tip of somebody.
        for next in 2..6 {
            let names = [TIP, SERVED, SHOWN];
            let copied = |name: &str| copy.path().join(name.replace('/', "-"));
            for name in names {
                let _ = fs::remove_file(copied(name));
                fs::hard_link(git_dir.join(name), copied(name)).unwrap();
            }
            let before = names.map(|name| fs::read(git_dir.join(name)).unwrap());
            for next in [id(next), id(next + 10)] {
                let tip = read(git_dir, TIP).unwrap();
                move_tip(git_dir, tip, next).unwrap();
                show(git_dir, next).unwrap();
            }
            assert_eq!(names.map(|name| fs::read(copied(name)).unwrap()), before);
        }
        assert_eq!(shown(git_dir).unwrap(), Some(id(15)));
    }

    #[test]
    fn a_lock_that_was_left_goes_but_not_at_once_if_it_may_be_that_of_a_push() {
        let folder = repository();
        let git_dir = folder.path();
        let lock = lock_of_tip(git_dir);
        remove_left_lock(git_dir).unwrap();
        for is_of_git in [false, true] {
            fs::write(&lock, "").unwrap();
            if is_of_git {
                fs::write(spare_beside(&git_dir.join(TIP)), "").unwrap();
            }
            let began = Instant::now();
            remove_left_lock(git_dir).unwrap();
            assert!(!lock.exists());
            assert!(!is_of_git || began.elapsed() >= LOCK_WAIT);
        }
        // Where there is none, none is waited for.
        remove_left_lock(git_dir).unwrap();
        fs::create_dir(&lock).unwrap();
        assert!(remove_left_lock(git_dir).is_err());
    }

    #[test]
    fn a_lock_of_a_time_to_come_is_old_as_well() {
        let folder = repository();
        let lock = lock_of_tip(folder.path());
        let to_come = std::time::SystemTime::now() + Duration::from_secs(86_400);
        File::create(&lock).unwrap().set_modified(to_come).unwrap();
        assert!(stale_lock(folder.path()).is_some());
    }

    #[test]
    fn a_lock_is_told_only_once_it_is_older_than_any_move() {
        let folder = repository();
        let git_dir = folder.path();
        assert_eq!(stale_lock(git_dir), None);
        let lock = File::create(lock_of_tip(git_dir)).unwrap();
        assert_eq!(stale_lock(git_dir), None);
        let hour = Duration::from_secs(3600);
        lock.set_modified(std::time::SystemTime::now() - hour)
            .unwrap();
        let told = stale_lock(git_dir).unwrap();
        assert!(told.contains("main.lock is there"), "{told}");
    }

    #[test]
    fn a_lock_is_given_back_whether_the_tip_was_moved_or_not() {
        let folder = repository();
        let git_dir = folder.path();
        let elsewhere = move_tip(git_dir, Some(id(2)), id(3)).unwrap_err();
        assert!(
            matches!(elsewhere, MoveFault::Elsewhere { found } if found == Some(id(1))),
            "{elsewhere}"
        );
        assert!(!lock_of_tip(git_dir).exists());
        move_tip(git_dir, Some(id(1)), id(2)).unwrap();
        assert!(!lock_of_tip(git_dir).exists());
        assert_eq!(read(git_dir, TIP).unwrap(), Some(id(2)));
    }

    #[test]
    fn a_ref_moves_by_turns_between_the_same_two_files() {
        let folder = repository();
        let git_dir = folder.path();
        let heads = folder_of(&git_dir.join(TIP)).to_owned();
        let files = || {
            let entries = fs::read_dir(&heads).unwrap().map(Result::unwrap);
            let mut inodes: Vec<u64> = entries.map(|entry| entry.ino()).collect();
            inodes.sort_unstable();
            inodes
        };
        move_tip(git_dir, Some(id(1)), id(2)).unwrap();
        let two = files();
        assert_eq!(two.len(), 2);
        for step in 2..6 {
            move_tip(git_dir, Some(id(step)), id(step + 1)).unwrap();
            assert_eq!(read(git_dir, TIP).unwrap(), Some(id(step + 1)));
            assert_eq!(files(), two);
        }
    }

    #[test]
    fn a_lock_of_somebody_else_is_left_alone() {
        let folder = repository();
        let git_dir = folder.path();
        move_tip(git_dir, Some(id(1)), id(2)).unwrap();
        let lock = lock_of_tip(git_dir);
        fs::write(&lock, "theirs").unwrap();
        let held = move_tip(git_dir, Some(id(2)), id(3)).unwrap_err();
        assert!(matches!(held, MoveFault::NotMoved(_)), "{held}");
        assert_eq!(fs::read_to_string(&lock).unwrap(), "theirs");
        assert_eq!(read(git_dir, TIP).unwrap(), Some(id(2)));
    }

    #[test]
    fn a_lock_of_somebody_else_is_waited_for_as_long_as_there_is_time() {
        let path = Path::new("main.lock");
        let tries = Cell::new(0);
        let take = || {
            tries.set(tries.get() + 1);
            match tries.get() {
                3 => Ok(()),
                _ => Err(io::ErrorKind::AlreadyExists.into()),
            }
        };
        wait_for(Instant::now() + Duration::from_secs(3600), path, take).unwrap();
        assert_eq!(tries.replace(0), 3);
        let fault = wait_for(Instant::now(), path, take).unwrap_err();
        assert!(fault.to_string().contains("main.lock is there"), "{fault}");
    }

    #[test]
    fn the_tip_is_written_anew_at_a_start() {
        let folder = repository();
        let tip = folder.path().join(TIP);
        let before = fs::metadata(&tip).unwrap().ino();
        renew_tip(folder.path(), id(1)).unwrap();
        assert_ne!(fs::metadata(&tip).unwrap().ino(), before);
        assert_eq!(read(folder.path(), TIP).unwrap(), Some(id(1)));
    }

    #[test]
    fn the_tip_goes_to_where_the_forge_is_wherever_it_was() {
        let folder = repository();
        for byte in [5, 3] {
            follow(folder.path(), id(byte)).unwrap();
            assert_eq!(read(folder.path(), TIP).unwrap(), Some(id(byte)));
        }
    }

    #[test]
    fn clients_of_git_are_shown_a_tip_though_the_folder_of_its_ref_is_gone() {
        let folder = repository();
        assert!(!folder_of(&folder.path().join(SERVED)).exists());
        show(folder.path(), id(1)).unwrap();
        assert_eq!(read(folder.path(), SERVED).unwrap(), Some(id(1)));
    }

    #[test]
    fn what_clients_of_git_were_shown_is_known_whoever_moved_the_refs() {
        let folder = repository();
        let git_dir = folder.path();
        for byte in [1, 2] {
            show(git_dir, id(byte)).unwrap();
            assert_eq!(read(git_dir, SERVED).unwrap(), Some(id(byte)));
            assert_eq!(remembered(git_dir), Some(id(byte)));
            let head = git_dir.join(SERVED_HEAD);
            assert_eq!(fs::read_to_string(&head).unwrap(), served_head());
            // What is damaged is whole after the next time.
            fs::write(head, "").unwrap();
        }
        fs::write(git_dir.join(SERVED), format!("{}\n", id(3))).unwrap();
        assert_eq!(shown(git_dir).unwrap(), Some(id(2)));
        // A torn file tells nothing, so the ref must do.
        fs::write(git_dir.join(SHOWN), "").unwrap();
        assert_eq!(remembered(git_dir), None);
        assert_eq!(shown(git_dir).unwrap(), Some(id(3)));
    }

    #[test]
    fn a_lock_that_cannot_be_made_is_not_taken_for_that_of_somebody_else() {
        let folder = tempfile::tempdir().unwrap();
        let fault = Lock::take(&folder.path().join("gone/main"), id(1))
            .err()
            .unwrap();
        assert_eq!(fault.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_list_of_refs_that_cannot_be_read_is_not_an_empty_one() {
        let folder = repository();
        let git_dir = folder.path();
        assert_eq!(read(git_dir, SERVED).unwrap(), None);
        let list = format!("# pack-refs\n{} {SERVED}\n", id(7));
        fs::write(git_dir.join("packed-refs"), list).unwrap();
        assert_eq!(read(git_dir, SERVED).unwrap(), Some(id(7)));
        fs::remove_file(git_dir.join("packed-refs")).unwrap();
        mend_packed(git_dir).unwrap();
        fs::create_dir(git_dir.join("packed-refs")).unwrap();
        assert!(read(git_dir, SERVED).is_err());
        assert!(mend_packed(git_dir).is_err());
        // Nor is a ref that cannot be read one that is not there.
        fs::remove_dir(git_dir.join("packed-refs")).unwrap();
        assert!(read(git_dir, "refs/heads").is_err());
    }
}
