//! Reads what `strace -f -y` writes and judges the order of a publish.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The calls of all threads, in the order in which they ended.
pub struct Trace {
    calls: Vec<Call>,
}

/// One call that succeeded; `begun` and `ended` are lines of the trace.
#[derive(Debug)]
struct Call {
    begun: usize,
    ended: usize,
    what: What,
}

/// One call as `strace` writes it, also if others were written in between.
pub struct WholeCall {
    /// The line in which it began.
    pub begun: usize,
    /// The line in which it ended.
    pub ended: usize,
    /// Name, arguments and result.
    pub text: String,
}

#[derive(Debug)]
enum What {
    MakeFolder(PathBuf),
    Sync(PathBuf),
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    /// A success on a socket.
    AnswerOk,
}

impl Trace {
    /// Reads the text; calls that do not matter or that failed are left out.
    pub fn parse(text: &str) -> Self {
        let calls = whole_calls(text).into_iter().filter_map(|call| {
            Some(Call {
                begun: call.begun,
                ended: call.ended,
                what: what(&call.text)?,
            })
        });
        let calls = calls.collect();
        Self { calls }
    }

    /// Checks that the publish of the `.crate` file with this checksum did: blob and pack, each by fsync, rename, fsync
    /// of the folder; after both the ref in the same way; and only then the first success on a socket since the blob's
    /// bytes were complete.
    ///
    /// # Errors
    /// The first step that is missing or too early.
    pub fn proves_order(&self, data: &Path, cksum: &str) -> Result<(), String> {
        let is_blob = |to: &Path| to.starts_with(data.join("blobs")) && to.ends_with(cksum);
        let (blob_begun, blob_ended) = self.lands("blob", 0, &is_blob)?;

        // A folder for the blob may be made before its bytes come: look from the answer before this request.
        let answers = || {
            self.calls
                .iter()
                .filter(|call| matches!(call.what, What::AnswerOk))
        };
        let before = answers().rfind(|call| call.ended < blob_begun);
        let request_begun = before.map_or(0, |call| call.ended);
        let ref_ended = self.pack_and_ref_land(data, request_begun, blob_ended)?;
        self.new_folders_are_durable(data, request_begun, ref_ended)?;
        let answer = answers()
            .find(|call| call.begun > blob_begun)
            .ok_or("no success on a socket")?;
        if answer.begun < ref_ended {
            return Err(format!(
                "the success (line {}) was sent before the ref was durable (line {ref_ended})",
                answer.begun
            ));
        }
        Ok(())
    }

    /// Checks that first the pack, then its index, and only then the ref came into their places: the pack by an fsync of
    /// the folder in which it has its place and an fsync of its own; the ref by fsync, rename, fsync of the folder; the
    /// index by a rename, as it can be made again from the pack.
    ///
    /// # Errors
    /// The first step that is missing or too early.
    pub fn proves_pack_and_ref(&self, data: &Path) -> Result<(), String> {
        self.pack_and_ref_land(data, 0, 0).map(drop)
    }

    /// Checks that these files and folders were synced before the first success on a socket.
    ///
    /// # Errors
    /// The first that was not.
    pub fn flushes_before_answer(&self, paths: &[&Path]) -> Result<(), String> {
        let is_answer = |call: &&Call| matches!(call.what, What::AnswerOk);
        let answer = self.calls.iter().find(is_answer);
        let answer = answer.ok_or("no success on a socket")?;
        for path in paths {
            let is_synced = self.calls.iter().any(|call| {
                matches!(&call.what, What::Sync(synced) if synced == path)
                    && call.ended < answer.begun
            });
            if !is_synced {
                return Err(format!("{path:?} was not synced before the success"));
            }
        }
        Ok(())
    }

    /// The line in which the ref was durable, if the pack came after `after` and before it, and it came after `blob`.
    fn pack_and_ref_land(&self, data: &Path, after: usize, blob: usize) -> Result<usize, String> {
        let packs = data.join("index.git/objects/pack");
        let is_in_packs = |to: &Path, kind: &str| {
            to.parent() == Some(packs.as_path()) && to.extension().is_some_and(|it| it == kind)
        };
        let (index, _, name) = self.renamed("pack index", after, &|to| is_in_packs(to, "idx"))?;
        let pack = name.with_extension("pack");
        let pack = self.syncs(&pack).find(|call| call.ended < index.begun);
        let pack = pack.ok_or("the pack was not synced before its index was named")?;
        if !self.syncs(&packs).any(|call| call.ended < pack.begun) {
            return Err("the folder of packs was not synced before the pack".to_owned());
        }
        let branch = data.join("index.git/refs/heads/main");
        let before_ref = index.ended.max(blob);
        let (_, ref_ended) = self.lands("ref", before_ref, &|to| to == branch)?;
        Ok(ref_ended)
    }

    /// Finds the first rename since line `after` to a path that `is_target` knows, and checks that the file was
    /// synced since then and before the rename, its folder after it. Gives the lines of first and last step.
    fn lands(
        &self,
        name: &str,
        after: usize,
        is_target: &dyn Fn(&Path) -> bool,
    ) -> Result<(usize, usize), String> {
        let (rename, from, to) = self.renamed(name, after, is_target)?;
        let folder = to.parent().ok_or("a file without a folder")?;
        // A file may be written ahead of its turn, so only the rename must wait for what comes before.
        let file = self.synced_before(from, rename.begun).ok_or_else(|| {
            format!(
                "the {name} was not synced before its rename in line {}",
                rename.begun
            )
        })?;
        Ok((file.begun, self.folder_synced(name, rename, folder)?))
    }

    /// The first rename since line `after` to a path that `is_target` knows, with both names.
    fn renamed(
        &self,
        name: &str,
        after: usize,
        is_target: &dyn Fn(&Path) -> bool,
    ) -> Result<(&Call, &Path, &Path), String> {
        let renamed = self.calls.iter().find_map(|call| match &call.what {
            What::Rename { from, to } if call.begun >= after && is_target(to) => {
                Some((call, from.as_path(), to.as_path()))
            }
            _ => None,
        });
        renamed.ok_or_else(|| format!("no rename of the {name} after line {after}"))
    }

    fn syncs(&self, wanted: &Path) -> impl Iterator<Item = &Call> {
        let wanted = wanted.to_owned();
        self.calls
            .iter()
            .filter(move |call| matches!(&call.what, What::Sync(path) if *path == wanted))
    }

    /// A sync of the file before line `before`, under this name or under the one that it had before.
    fn synced_before(&self, path: &Path, before: usize) -> Option<&Call> {
        let as_it_is = self.syncs(path).find(|call| call.ended < before);
        as_it_is.or_else(|| {
            let earlier = self.calls.iter().rev().find_map(|call| match &call.what {
                What::Rename { from, to } if to == path && call.ended < before => {
                    Some((from, call.begun))
                }
                _ => None,
            });
            let (from, renamed) = earlier?;
            self.syncs(from).find(|call| call.ended < renamed)
        })
    }

    /// The line in which a sync of the folder ended that began after the rename.
    fn folder_synced(&self, name: &str, rename: &Call, folder: &Path) -> Result<usize, String> {
        let synced = self
            .syncs(folder)
            .find(|call| call.begun > rename.ended)
            .ok_or_else(|| {
                format!(
                    "the folder of the {name} was not synced after line {}",
                    rename.ended
                )
            })?;
        Ok(synced.ended)
    }

    /// Checks that the parent of each folder that was made for this publish was synced too.
    fn new_folders_are_durable(&self, data: &Path, after: usize, by: usize) -> Result<(), String> {
        for call in &self.calls {
            let What::MakeFolder(path) = &call.what else {
                continue;
            };
            if call.ended < after || call.begun > by || !path.starts_with(data) {
                continue;
            }
            let is_durable = self.calls.iter().any(|sync| {
                matches!(&sync.what, What::Sync(synced) if Some(synced.as_path()) == path.parent())
                    && sync.begun > call.ended
                    && sync.ended <= by
            });
            if !is_durable {
                return Err(format!(
                    "the parent of the new folder {path:?} was not synced"
                ));
            }
        }
        Ok(())
    }

    /// The calls on `data` and the answers, for people.
    pub fn about(&self, data: &Path) -> String {
        let is_here = |call: &&Call| match &call.what {
            What::MakeFolder(path) | What::Sync(path) => path.starts_with(data),
            What::Rename { to, .. } => to.starts_with(data),
            What::AnswerOk => true,
        };
        let line = |call: &Call| format!("{}–{} {:?}\n", call.begun, call.ended, call.what);
        self.calls.iter().filter(is_here).map(line).collect()
    }
}

/// The calls of a trace in which each line begins with its thread, in the order in which they ended.
pub fn whole_calls(text: &str) -> Vec<WholeCall> {
    let mut unfinished: HashMap<&str, (usize, String)> = HashMap::new();
    let mut calls = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, (number, start.to_owned()));
            continue;
        }
        let (begun, text) = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let Some((begun, start)) = unfinished.remove(thread) else {
                    continue;
                };
                let end = resumed.split_once(" resumed>").map_or("", |(_, end)| end);
                (begun, start + end)
            }
            None => (number, rest.to_owned()),
        };
        calls.push(WholeCall {
            begun,
            ended: number,
            text,
        });
    }
    calls
}

fn what(call: &str) -> Option<What> {
    let (name, rest) = call.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.starts_with('-') {
        return None;
    }
    let arguments = arguments.trim_end().strip_suffix(')')?;
    match name {
        "fsync" | "fdatasync" => Some(What::Sync(descriptor_path(arguments)?)),
        "mkdir" => Some(What::MakeFolder(quoted(arguments)?.into())),
        "mkdirat" => Some(What::MakeFolder(paths_at(arguments).into_iter().next()?)),
        "rename" => {
            let (from, to) = arguments.split_once(", ")?;
            Some(What::Rename {
                from: quoted(from)?.into(),
                to: quoted(to)?.into(),
            })
        }
        "renameat" | "renameat2" => {
            let mut paths = paths_at(arguments).into_iter();
            Some(What::Rename {
                from: paths.next()?,
                to: paths.next()?,
            })
        }
        "write" | "writev" | "sendto" | "sendmsg" => {
            let is_success = arguments.contains("\"HTTP/1.1 200 ");
            let is_socket = descriptor_path(arguments)?.to_str()?.starts_with("socket:");
            (is_success && is_socket).then_some(What::AnswerOk)
        }
        _ => None,
    }
}

/// The path behind a descriptor: `/tmp/x` of `12</tmp/x>`.
pub fn descriptor_path(argument: &str) -> Option<PathBuf> {
    let (_, after) = argument.split_once('<')?;
    let (path, _) = after.split_once('>')?;
    Some(path.into())
}

fn quoted(argument: &str) -> Option<&str> {
    argument.split('"').nth(1)
}

/// The paths of a call that takes pairs of folder descriptor and path.
pub fn paths_at(arguments: &str) -> Vec<PathBuf> {
    let mut parts = arguments.split(", ");
    let mut paths = Vec::new();
    while let (Some(folder), Some(path)) = (parts.next(), parts.next()) {
        if let (Some(folder), Some(path)) = (descriptor_path(folder), quoted(path)) {
            paths.push(folder.join(path));
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    const CKSUM: &str = "aa11";
    /// A publish as it should be; the first line is the answer to an earlier request.
    const GOOD: &str = r#"
7 sendto(9<socket:[5]>, "HTTP/1.1 200 OK\r\n", 17, 0, NULL, 0) = 17
7 mkdir("/d/blobs/aa", 0777) = 0
7 fsync(12</d/blobs>) = 0
7 fsync(12</d/blobs/part-1> <unfinished ...>
8 write(3</d/blobs/part-1>, "HTTP/1.1 200 is only data", 25) = 25
7 <... fsync resumed>) = 0
7 rename("/d/blobs/part-1", "/d/blobs/aa/aa11") = 0
7 fsync(13</d/blobs/aa>) = 0
8 fsync(16</d/index.git/objects/pack>) = 0
8 fdatasync(14</d/index.git/objects/pack/pack-1.pack>) = 0
8 renameat2(5</d/index.git/objects/pack>, "tmp-2", 5</d/index.git/objects/pack>, "pack-1.idx", 0) = 0
8 fsync(17</d/index.git/refs/heads/spare>) = 0
8 renameat2(AT_FDCWD</w>, "/d/index.git/refs/heads/spare", AT_FDCWD</w>, "/d/index.git/refs/heads/main.lock", RENAME_NOREPLACE) = 0
8 renameat2(AT_FDCWD</w>, "/d/index.git/refs/heads/main.lock", AT_FDCWD</w>, "/d/index.git/refs/heads/main", RENAME_EXCHANGE) = 0
8 fsync(18</d/index.git/refs/heads>) = 0
7 writev(10<socket:[6]>, [{iov_base="HTTP/1.1 200 OK\r\n", iov_len=17}], 1) = 17
"#;

    fn verdict(text: &str) -> Result<(), String> {
        Trace::parse(text).proves_order(Path::new("/d"), CKSUM)
    }

    #[test]
    fn a_publish_in_order_is_accepted() {
        verdict(GOOD).unwrap();
    }

    #[test]
    fn no_step_may_be_missing() {
        let lines: Vec<&str> = GOOD.lines().collect();
        let is_step = |line: &str| line.contains("sync") || line.contains("rename");
        let steps: Vec<usize> = (0..lines.len()).filter(|at| is_step(lines[*at])).collect();
        assert_eq!(steps.len(), 12);
        for step in steps {
            let mut without = lines.clone();
            without.remove(step);
            assert!(
                verdict(&without.join("\n")).is_err(),
                "accepted without `{}`",
                lines[step]
            );
        }
    }

    #[test]
    fn a_step_that_failed_does_not_count() {
        let failed = GOOD.replace(
            "fsync(18</d/index.git/refs/heads>) = 0",
            "fsync(18</d/index.git/refs/heads>) = -1 EIO (Input/output error)",
        );
        assert!(verdict(&failed).is_err());
    }

    #[test]
    fn no_answer_may_come_early() {
        let lines: Vec<&str> = GOOD.trim().lines().collect();
        let answer = *lines.last().unwrap();
        // Lines 0 to 2 are before the blob's own first step.
        for place in 4..lines.len() - 1 {
            let mut early = lines[..lines.len() - 1].to_vec();
            early.insert(place, answer);
            assert!(verdict(&early.join("\n")).is_err(), "accepted at {place}");
        }
    }

    #[test]
    fn no_two_steps_may_change_places() {
        let lines: Vec<&str> = GOOD.trim().lines().collect();
        for (first, second) in [
            (6, 7),
            (7, 13),
            (7, 14),
            (8, 9),
            (9, 10),
            (10, 13),
            (11, 12),
            (12, 13),
            (13, 14),
        ] {
            let mut swapped = lines.clone();
            swapped.swap(first, second);
            assert!(
                verdict(&swapped.join("\n")).is_err(),
                "accepted `{}` before `{}`",
                lines[second],
                lines[first]
            );
        }
    }
}
