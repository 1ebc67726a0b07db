//! Objects of people that are too large to be taken into memory: each is read as it comes, and hashed.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{ChildStdout, Stdio};

use gix::hash::{Hasher, Kind as Hash};
use gix::objs::tree::EntryMode;
use gix::objs::{CommitRefIter, Kind};

use crate::domain::CommitId;
use crate::git;
use crate::index::objects::{Objects, bytes_of};

/// What of a commit is looked at: the names of its folder and of its parents stand first.
const HEAD_BYTES_MAX: u64 = 1024 * 1024;
/// The longest name in a folder, in bytes, and the longest mode before it.
const NAME_BYTES_MAX: u64 = 64 * 1024;

/// An object that git prints.
pub(super) struct Large<'a> {
    git_dir: &'a Path,
    id: [u8; 20],
    bytes: u64,
}

/// Hears of an entry of a folder: mode, name and object.
pub(super) type Tell<'a> = dyn FnMut(EntryMode, &[u8], [u8; 20]) + 'a;

type Out = BufReader<Hashing<ChildStdout>>;

impl<'a> Large<'a> {
    /// The object with this id, of so many bytes.
    pub(super) fn of(objects: &'a Objects, id: [u8; 20], bytes: u64) -> Self {
        Self {
            git_dir: objects.git_dir(),
            id,
            bytes,
        }
    }

    /// Reads a blob to its end.
    pub(super) fn blob(&self) -> io::Result<()> {
        self.read(Kind::Blob, |_| Ok(()))
    }

    /// The folder of a commit and its parents.
    pub(super) fn commit(&self) -> io::Result<([u8; 20], Vec<CommitId>)> {
        self.read(Kind::Commit, |out| {
            let mut head = Vec::new();
            out.take(HEAD_BYTES_MAX).read_to_end(&mut head)?;
            let mut tokens = CommitRefIter::from_bytes(&head, Hash::Sha1);
            let tree = tokens.tree_id().map_err(io::Error::other)?;
            let parents = tokens.parent_ids();
            let parents = parents.map(|id| CommitId::from(bytes_of(id)));
            Ok((bytes_of(tree), parents.collect()))
        })
    }

    /// Tells of each entry of a folder.
    pub(super) fn folder(&self, tell: &mut Tell<'_>) -> io::Result<()> {
        self.read(Kind::Tree, |out| {
            while !out.fill_buf()?.is_empty() {
                let mode = part(out, b' ')?;
                let mode = EntryMode::from_bytes(&mode)
                    .ok_or_else(|| io::Error::other("a folder has an entry of no known mode"))?;
                let name = part(out, 0)?;
                let mut id = [0; 20];
                out.read_exact(&mut id)?;
                tell(mode, &name, id);
            }
            Ok(())
        })
    }

    /// Lets `look` read the object as far as it likes, and refuses one whose bytes are not those that its id names.
    fn read<T>(&self, kind: Kind, look: impl FnOnce(&mut Out) -> io::Result<T>) -> io::Result<T> {
        let id = gix::ObjectId::from_bytes_or_panic(&self.id);
        let mut child = git::command(self.git_dir)
            .args(["cat-file", &kind.to_string(), &id.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let out = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut out = BufReader::new(Hashing::new(out, kind, self.bytes));
        let looked = look(&mut out);
        // In either case: git waits to be read.
        let rest = io::copy(&mut out, &mut io::sink());
        child.wait()?;
        rest?;
        let found = out.into_inner().hasher.try_finalize();
        match found.map_err(io::Error::other)? == id {
            true => looked,
            false => Err(io::Error::other(format!("the object {id} is not whole"))),
        }
    }
}

/// What stands before `end`, without it.
fn part(out: &mut Out, end: u8) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    out.take(NAME_BYTES_MAX).read_until(end, &mut bytes)?;
    match bytes.pop() {
        Some(last) if last == end => Ok(bytes),
        _ => Err(io::Error::other("an entry of a folder has no end")),
    }
}

/// Hashes what is read.
struct Hashing<R> {
    source: R,
    hasher: Hasher,
}

impl<R> Hashing<R> {
    fn new(source: R, kind: Kind, bytes: u64) -> Self {
        let mut hasher = gix::hash::hasher(Hash::Sha1);
        hasher.update(format!("{kind} {bytes}\0").as_bytes());
        Self { source, hasher }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::process::Command;

    use super::*;

    /// What git prints, without the line's end.
    fn git(git_dir: &Path, args: &[&str], input: &[u8]) -> String {
        let mut git = Command::new("git");
        let git = git.arg("--git-dir").arg(git_dir).args(args);
        let mut child = git
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn id(hex: &str) -> [u8; 20] {
        bytes_of(gix::ObjectId::from_hex(hex.as_bytes()).unwrap())
    }

    #[test]
    fn what_git_prints_is_read_and_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let git_dir = folder.path();
        git(git_dir, &["init", "--quiet", "--bare"], b"");
        let write = |kind: &str, bytes: &[u8]| {
            let args = ["hash-object", "--literally", "-t", kind, "-w", "--stdin"];
            git(git_dir, &args, bytes)
        };
        let large = |hex: &str, bytes: usize| Large {
            git_dir,
            id: id(hex),
            bytes: bytes as u64,
        };
        let blob = write("blob", b"hello");
        large(&blob, 5).blob().unwrap();
        for wrong in [4, 6] {
            let fault = large(&blob, wrong).blob().unwrap_err().to_string();
            assert!(fault.contains("is not whole"), "{fault}");
        }
        assert!(large(&"1".repeat(40), 5).blob().is_err());

        let tree = [
            &b"100755 a program\0"[..],
            &id(&blob),
            b"40000 folder\0",
            &id(&blob),
        ]
        .concat();
        let tree_id = write("tree", &tree);
        let mut entries = Vec::new();
        let mut tell =
            |mode: EntryMode, name: &[u8], id| entries.push((mode.is_tree(), name.to_vec(), id));
        large(&tree_id, tree.len()).folder(&mut tell).unwrap();
        let entry = |is_folder, name: &[u8]| (is_folder, name.to_vec(), id(&blob));
        assert_eq!(
            entries,
            [entry(false, b"a program"), entry(true, b"folder")]
        );
        let endless = [b"100644 ".to_vec(), vec![b'a'; NAME_BYTES_MAX as usize + 1]].concat();
        for (broken, said) in [
            (&b"100644 a\0 short"[..], "fill whole buffer"),
            (b"x a\0aaaaaaaaaaaaaaaaaaaa", "no known mode"),
            (b"100644 a", "has no end"),
            (&endless, "has no end"),
        ] {
            let broken_id = write("tree", broken);
            let read = large(&broken_id, broken.len()).folder(&mut |_, _, _| {});
            let fault = read.unwrap_err().to_string();
            assert!(fault.contains(said), "{fault}");
        }

        let who = "a <a@b> 0 +0000";
        let head = format!("tree {tree_id}\nparent {blob}\nparent {tree_id}\nauthor {who}\n");
        // Longer than what is looked at.
        let text = "a".repeat(HEAD_BYTES_MAX as usize);
        let commit = format!("{head}committer {who}\n\n{text}");
        let commit_id = write("commit", commit.as_bytes());
        let (folder, parents) = large(&commit_id, commit.len()).commit().unwrap();
        assert_eq!(folder, id(&tree_id));
        assert_eq!(
            parents,
            [&blob, &tree_id].map(|hex| CommitId::from(id(hex)))
        );
        assert!(large(&blob, 5).commit().is_err());

        // Bytes that are not those of the name.
        let other = write("blob", b"other");
        let file = |hex: &str| git_dir.join("objects").join(&hex[..2]).join(&hex[2..]);
        fs::remove_file(file(&blob)).unwrap();
        fs::copy(file(&other), file(&blob)).unwrap();
        assert!(large(&blob, 5).blob().is_err());
    }
}
