//! Paths of an archive: inside the one top folder, the same on every system, each once.

use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

use super::TarballFault;
use super::entry::Member;
use crate::domain::is_windows_device;
use crate::publish::faults::{Faults, quoted};

/// Characters that no path may have on Windows, which is why Cargo packs no such file.
const NOT_ON_WINDOWS: [char; 8] = ['\\', '<', '>', ':', '"', '|', '?', '*'];

/// The most odd paths that one answer lists.
const WARNINGS_MAX: usize = 5;

/// Why a path is refused.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum PathFault {
    /// Longer than allowed.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// A control character, NUL among them, or one that Windows does not allow.
    #[error("contains {0:?}, which a portable path cannot have")]
    Character(char),
    /// Starts with a slash.
    #[error("is absolute")]
    Absolute,
    /// A part that is empty, `.` or `..`.
    #[error("has an empty part, `.` or `..` in it")]
    Part,
    /// A file whose path says that it is a folder.
    #[error("ends with a slash but is a file")]
    FileWithSlash,
    /// Not under the top folder.
    #[error("is not inside `{0}`, the only top folder that the archive may have")]
    Outside(String),
}

/// Checks a member's path; `top` ends with a slash. What comes back has no slash at its end.
pub(super) fn check<'a>(
    member: &'a Member,
    top: &str,
    bytes_max: usize,
) -> Result<&'a str, PathFault> {
    if member.path.len() > bytes_max {
        return Err(PathFault::TooLong(bytes_max));
    }
    let path = std::str::from_utf8(&member.path).map_err(|_| PathFault::NotUtf8)?;
    let is_refused = |c: &char| c.is_control() || NOT_ON_WINDOWS.contains(c);
    if let Some(found) = path.chars().find(is_refused) {
        return Err(PathFault::Character(found));
    }
    if path.starts_with('/') {
        return Err(PathFault::Absolute);
    }
    let bare = match path.strip_suffix('/') {
        Some(_) if !member.is_folder => return Err(PathFault::FileWithSlash),
        Some(bare) => bare,
        None => path,
    };
    if bare.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(PathFault::Part);
    }
    let is_top = member.is_folder && bare == top.trim_end_matches('/');
    if !is_top && !bare.starts_with(top) {
        return Err(PathFault::Outside(top.to_owned()));
    }
    Ok(bare)
}

/// All sound paths of an archive.
#[derive(Default)]
pub(super) struct Paths(Vec<Seen>);

struct Seen {
    /// The path in lower case and without composed characters, its slashes as NUL: sorted so, a folder comes right
    /// before what is in it.
    folded: String,
    path: String,
    is_folder: bool,
}

impl Paths {
    pub(super) fn add(&mut self, path: &str, is_folder: bool) {
        self.0.push(Seen {
            folded: fold(path).replace('/', "\0"),
            path: path.to_owned(),
            is_folder,
        });
    }

    /// Finds paths that stand for the same file, and files that would have to be folders.
    pub(super) fn judge(&mut self, faults: &mut Faults<TarballFault>) {
        self.0.sort_by(|a, b| a.folded.cmp(&b.folded));
        for pair in self.0.windows(2) {
            let [a, b] = pair else { continue };
            if a.path == b.path {
                faults.add(TarballFault::Twice(quoted(&a.path)));
            } else if a.folded == b.folded {
                faults.add(TarballFault::SameButForCase(
                    quoted(&a.path),
                    quoted(&b.path),
                ));
            } else if !a.is_folder && is_inside(&b.folded, &a.folded) {
                faults.add(TarballFault::FileAsFolder {
                    file: quoted(&a.path),
                    inside: quoted(&b.path),
                });
            }
        }
    }

    /// A sentence for each of the first paths that are allowed but cannot be unpacked on Windows.
    pub(super) fn warnings(&self) -> Vec<String> {
        let is_odd = |seen: &&Seen| seen.path.split('/').any(is_odd_on_windows);
        let odd = self.0.iter().filter(is_odd).take(WARNINGS_MAX);
        odd.map(|seen| {
            let path = quoted(&seen.path);
            format!("`{path}` has a name that Windows does not give to files; it cannot be unpacked there")
        })
        .collect()
    }
}

/// One spelling for all paths that some file system takes for one: without case, and `é` as `e` with its accent.
fn fold(path: &str) -> String {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    // Lower case may bring forth composed characters, and decomposing may bring forth capitals.
    let lower: String = path.nfd().flat_map(char::to_lowercase).collect();
    lower.nfd().collect()
}

/// Whether a part of a path is a name that Windows does not give to files as it is.
fn is_odd_on_windows(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part);
    is_windows_device(stem.trim_end()) || part.ends_with(['.', ' '])
}

fn is_inside(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('\0'))
}
