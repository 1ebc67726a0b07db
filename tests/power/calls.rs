//! Reads from a trace of `strace -f -y -ttt` what was done to the data folder, and what was said to clients.

use std::path::{Path, PathBuf};

use crate::cargo::durability::trace::{WholeCall, descriptor_path, paths_at, whole_calls};

/// The calls that can change files, make them durable, or tell somebody that something was done.
pub const CALLS: &str = "trace=open,openat,openat2,creat,write,writev,pwrite64,pwritev,pwritev2,lseek,\
     ftruncate,truncate,fallocate,copy_file_range,sendfile,splice,mmap,rename,renameat,renameat2,link,linkat,\
     symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,fsync,fdatasync,sync_file_range,syncfs,sync,\
     sendto,sendmsg";

/// One thing that happened, its paths as they are below the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A file was opened, and made if it was not there.
    Open { path: PathBuf, truncates: bool },
    /// The next write goes to this place.
    Seek { path: PathBuf, to: usize },
    /// Bytes were written at the file's place.
    Write { path: PathBuf, bytes: Vec<u8> },
    /// A file or folder has another name, and nothing else has that.
    Rename { from: PathBuf, to: PathBuf },
    /// Two files of one folder have each the name of the other.
    Exchange { one: PathBuf, other: PathBuf },
    /// A file has one more name.
    Link { from: PathBuf, to: PathBuf },
    /// A name is gone.
    Unlink(PathBuf),
    /// A folder was made.
    MakeFolder(PathBuf),
    /// A flush began: what comes after this is not part of it.
    SyncBegun { path: PathBuf, number: usize },
    /// The flush of that number is done.
    SyncEnded { number: usize },
    /// A socket or a pipe is given these bytes.
    Said(Vec<u8>),
}

/// The steps that several traces of one machine show together, in their order.
///
/// An effect is put where its call ended, a flush and an answer where they began: never too early for the former and
/// never too late for the latter.
///
/// # Panics
/// If something was done to the data folder that is no [`Step`].
pub fn read(traces: &[String], data: &Path) -> Vec<Step> {
    let mut steps: Vec<(u64, Step)> = Vec::new();
    let mut syncs = 0;
    for text in traces {
        let (times, text) = without_times(text);
        let mut own = Vec::new();
        for call in whole_calls(&text) {
            let Some(step) = step(&call, data) else {
                continue;
            };
            match step {
                Step::SyncBegun { path, .. } => {
                    syncs += 1;
                    let number = syncs;
                    own.push((call.begun, Step::SyncBegun { path, number }));
                    own.push((call.ended, Step::SyncEnded { number }));
                }
                Step::Said(_) => own.push((call.begun, step)),
                _ => own.push((call.ended, step)),
            }
        }
        own.sort_by_key(|(line, _)| *line);
        steps.extend(own.into_iter().map(|(line, step)| (times[line], step)));
    }
    steps.sort_by_key(|(time, _)| *time);
    steps.into_iter().map(|(_, step)| step).collect()
}

/// The moments of the lines, in microseconds, and the lines without them.
fn without_times(text: &str) -> (Vec<u64>, String) {
    let mut times = Vec::new();
    let mut rest = String::new();
    for line in text.lines() {
        let mut words = line.splitn(2, char::is_whitespace);
        let thread = words.next().unwrap();
        let (time, call) = words
            .next()
            .and_then(|more| more.trim_start().split_once(' '))
            .unwrap_or_else(|| panic!("no time in {line}"));
        times.push(time.replace('.', "").parse().unwrap());
        rest.push_str(&format!("{thread} {call}\n"));
    }
    (times, rest)
}

fn step(call: &WholeCall, data: &Path) -> Option<Step> {
    let (name, rest) = call.text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.starts_with(['-', '?']) {
        return None;
    }
    let below = |path: PathBuf| path.strip_prefix(data).map(Path::to_owned).ok();
    let descriptor = || below(descriptor_path(arguments)?);
    // Only git's programs name anything by a relative path: they stand in the repository.
    let there = |path: PathBuf| data.join("index.git").join(path).components().collect();
    let named = || {
        { strings(arguments).into_iter().map(path) }
            .map(there)
            .map(below)
    };
    let at = || paths_at(arguments).into_iter().map(below);
    match name {
        "open" | "creat" | "openat" => opened(below(descriptor_path(result)?)?, name, arguments),
        "lseek" => Some(Step::Seek {
            path: descriptor()?,
            to: result.parse().unwrap(),
        }),
        "write" | "writev" | "sendto" | "sendmsg" => {
            written(descriptor_path(arguments)?, &below, call)
        }
        "rename" => renamed(named()),
        "renameat2" if arguments.contains("RENAME_EXCHANGE") => exchanged(at()),
        "renameat" | "renameat2" => renamed(at()),
        "link" => linked(named()),
        "linkat" => linked(at()),
        "unlink" | "rmdir" => Some(Step::Unlink(named().next()??)),
        "unlinkat" => Some(Step::Unlink(at().next()??)),
        "mkdir" => Some(Step::MakeFolder(named().next()??)),
        "mkdirat" => Some(Step::MakeFolder(at().next()??)),
        "fsync" | "fdatasync" => Some(Step::SyncBegun {
            path: descriptor()?,
            number: 0,
        }),
        "mmap" if !arguments.contains("MAP_SHARED") || !arguments.contains("PROT_WRITE") => None,
        _ => {
            let is_here = call.text.contains(data.to_str().unwrap());
            assert!(!is_here, "this is not in the model: {}", call.text);
            None
        }
    }
}

fn opened(path: PathBuf, name: &str, arguments: &str) -> Option<Step> {
    let has = |flag: &str| arguments.contains(flag);
    let is_writer = name == "creat" || has("O_WRONLY") || has("O_RDWR");
    assert!(!has("O_APPEND"), "this is not in the model: {arguments}");
    is_writer.then(|| Step::Open {
        path,
        truncates: name == "creat" || has("O_TRUNC"),
    })
}

fn written(
    to: PathBuf,
    below: &dyn Fn(PathBuf) -> Option<PathBuf>,
    call: &WholeCall,
) -> Option<Step> {
    let name = to.to_str()?;
    let is_client = name.starts_with("socket:") || name.starts_with("pipe:");
    let is_gone = name.ends_with("(deleted)");
    let path = below(to.clone()).filter(|_| !is_gone);
    if !is_client && path.is_none() {
        return None;
    }
    let (arguments, result) = call.text.rsplit_once(" = ")?;
    let mut bytes = strings(arguments).concat();
    bytes.truncate(result.parse().unwrap());
    Some(match path {
        Some(path) => Step::Write { path, bytes },
        None => Step::Said(bytes),
    })
}

fn renamed(paths: impl Iterator<Item = Option<PathBuf>>) -> Option<Step> {
    let (from, to) = both(paths)?;
    Some(Step::Rename { from, to })
}

fn exchanged(paths: impl Iterator<Item = Option<PathBuf>>) -> Option<Step> {
    let (one, other) = both(paths)?;
    assert_eq!(one.parent(), other.parent(), "this is not in the model");
    Some(Step::Exchange { one, other })
}

fn linked(paths: impl Iterator<Item = Option<PathBuf>>) -> Option<Step> {
    let (from, to) = both(paths)?;
    Some(Step::Link { from, to })
}

/// Two paths, if they are below the data folder.
fn both(mut paths: impl Iterator<Item = Option<PathBuf>>) -> Option<(PathBuf, PathBuf)> {
    match (paths.next()?, paths.next()?) {
        (Some(from), Some(to)) => Some((from, to)),
        (None, None) => None,
        other => panic!("something came into the data folder or left it: {other:?}"),
    }
}

fn path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(String::from_utf8(bytes).unwrap())
}

/// The texts in quotes, as the bytes that they stand for.
fn strings(arguments: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut rest = arguments.as_bytes();
    while let Some(start) = rest.iter().position(|byte| *byte == b'"') {
        let (bytes, after) = unescaped(&rest[start + 1..]);
        assert!(
            !after.starts_with(b"..."),
            "strace cut it short: {arguments}"
        );
        found.push(bytes);
        rest = after;
    }
    found
}

/// The bytes up to the closing quote, and what comes after it. Escapes are those of C.
fn unescaped(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut bytes = Vec::new();
    let mut at = 0;
    loop {
        match text[at] {
            b'"' => return (bytes, &text[at + 1..]),
            b'\\' => {
                let digits = text[at + 1..]
                    .iter()
                    .take(3)
                    .take_while(|byte| (b'0'..=b'7').contains(byte))
                    .count();
                if digits > 0 {
                    let octal = std::str::from_utf8(&text[at + 1..=at + digits]).unwrap();
                    bytes.push(u8::from_str_radix(octal, 8).unwrap());
                    at += 1 + digits;
                } else {
                    bytes.push(match text[at + 1] {
                        b'n' => b'\n',
                        b't' => b'\t',
                        b'r' => b'\r',
                        b'v' => 0x0b,
                        b'f' => 0x0c,
                        b'a' => 0x07,
                        b'b' => 0x08,
                        other => other,
                    });
                    at += 2;
                }
            }
            byte => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = r#"7  10.000001 openat(AT_FDCWD</w>, "/d/blobs/tmp_1", O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0644) = 9</d/blobs/tmp_1>
7  10.000002 write(9</d/blobs/tmp_1>, "a\0\n\"\3771\08", 8) = 7
7  10.000003 fsync(9</d/blobs/tmp_1> <unfinished ...>
8  10.000004 write(2</log>, "not said", 8) = 8
8  10.000005 writev(5<socket:[1]>, [{iov_base="HTTP/1.1 ", iov_len=9}, {iov_base="200", iov_len=3}], 2 <unfinished ...>
7  10.000006 <... fsync resumed>) = 0
8  10.000007 <... writev resumed>) = 12
7  10.000008 rename("/d/blobs/tmp_1", "/d/blobs/b") = 0
7  10.000010 mkdir("/d/blobs", 0755) = -1 EEXIST (File exists)
7  10.000011 +++ exited with 0 +++
"#;
    const OTHER: &str = "3 10.000009 unlink(\"/d/tokens/x\") = 0\n";

    #[test]
    fn the_steps_of_several_traces_are_read_in_their_order() {
        let traces = [TRACE.to_owned(), OTHER.to_owned()];
        let steps = read(&traces, Path::new("/d"));
        let temp = PathBuf::from("blobs/tmp_1");
        let expected = [
            Step::Open {
                path: temp.clone(),
                truncates: false,
            },
            Step::Write {
                path: temp.clone(),
                bytes: b"a\0\n\"\xff1\0".to_vec(),
            },
            Step::SyncBegun {
                path: temp.clone(),
                number: 1,
            },
            Step::Said(b"HTTP/1.1 200".to_vec()),
            Step::SyncEnded { number: 1 },
            Step::Rename {
                from: temp,
                to: "blobs/b".into(),
            },
            Step::Unlink("tokens/x".into()),
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    #[should_panic(expected = "not in the model")]
    fn what_the_model_does_not_know_is_not_passed_over() {
        let text = "7 1.0 ftruncate(9</d/blobs/tmp_1>, 5) = 0\n";
        read(&[text.to_owned()], Path::new("/d"));
    }
}
