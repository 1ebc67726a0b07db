//! What is in packs, as `git pack-objects` reads it.
//!
//! Git would find it by itself (`--stdin-packs`), but it then follows each commit into all of its folders, and of those that
//! lie elsewhere it looks for each one again, in all packs, as often as a commit has it. In an index of 10,000 crates
//! that took half a minute for 128 packs.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use gix::ObjectId;
use gix::bstr::BString;
use gix::objs::{Find, FindHeader, Kind, TreeRefIter};
use gix::odb::HandleArc;
use gix::odb::store::iter::Ordering;

use super::super::objects::{self, OBJECT_BYTES_MAX};
use super::Fault;

/// The id of each object in a folder of git's, a line each, and after it the name that it has in a folder of the index: git
/// looks for deltas among what has one name.
pub(super) fn contents(folder: &Path) -> Result<String, Fault> {
    let store = objects::at(folder)?;
    let ids = store.iter().map_err(io::Error::other)?;
    let ids = ids.with_ordering(Ordering::PackAscendingOffsetThenLooseLexicographical);
    let ids: Vec<ObjectId> = ids.collect::<Result<_, _>>().map_err(io::Error::other)?;
    let names = names(&store, &ids);
    let lines = ids.iter().map(|id| format!("{id} {}\n", names[id]));
    Ok(lines.collect())
}

/// What folders among these objects call them. A folder that cannot be read calls nothing by a name: of that git will tell.
fn names(store: &HandleArc, ids: &[ObjectId]) -> HashMap<ObjectId, BString> {
    let mut names: HashMap<_, _> = ids.iter().map(|id| (*id, BString::default())).collect();
    let mut bytes = Vec::new();
    for id in ids {
        let Ok(Some(header)) = store.try_header(id) else {
            continue;
        };
        let is_folder = header.kind == Kind::Tree && header.size <= OBJECT_BYTES_MAX;
        if !is_folder || store.try_find(id, &mut bytes).is_err() {
            continue;
        }
        let entries = TreeRefIter::from_bytes(&bytes, gix::hash::Kind::Sha1);
        for entry in entries.map_while(Result::ok) {
            // A line is one object, whatever somebody calls a file.
            let is_plain = entry.filename.iter().all(u8::is_ascii_graphic);
            if is_plain && let Some(name) = names.get_mut(entry.oid) {
                *name = entry.filename.to_owned();
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    fn git(folder: &Path, args: &[&str], input: &str) -> String {
        let mut command = Command::new("git");
        command.current_dir(folder).args(args);
        let [stdin, stdout] = [(); 2].map(|()| Stdio::piped());
        let mut child = command.stdin(stdin).stdout(stdout).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn each_object_has_a_line_with_the_name_that_git_knows() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        git(folder, &["init", "-q", "--bare"], "");
        // Two packs: names are found in the folders of both.
        let mut parent = String::new();
        for version in 1..=2 {
            let stream = format!(
                "commit refs/heads/main\ncommitter a <a@b> {version} +0000\ndata 0\n{parent}\
                M 100644 inline in/de/index\ndata 1\n{version}\n\
                M 100644 inline \"a\\nb\"\ndata 2\nx{version}\n"
            );
            let args = ["-c", "fastimport.unpackLimit=0", "fast-import", "--quiet"];
            git(folder, &args, &stream);
            parent = "from refs/heads/main^0\n".to_owned();
        }
        let objects = folder.join("objects");
        assert_eq!(fs::read_dir(objects.join("pack")).unwrap().count(), 4);
        let told = contents(&objects).unwrap();
        let told: BTreeMap<&str, &str> = told
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .collect();
        let all = [
            "cat-file",
            "--batch-all-objects",
            "--batch-check=%(objectname)",
        ];
        let all = git(folder, &all, "");
        assert_eq!(
            told.keys().copied().collect::<BTreeSet<_>>(),
            all.lines().collect()
        );
        assert_eq!(told.len(), 12);
        let named = ["rev-list", "--objects", "main"];
        for line in git(folder, &named, "").lines() {
            let (id, path) = line.split_once(' ').unwrap_or((line, ""));
            // Git ends the line where the name has its newline.
            let name = path.rsplit('/').next().filter(|name| *name != "a");
            assert_eq!(told[id], name.unwrap_or(""), "{line}");
        }
    }
}
