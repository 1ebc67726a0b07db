//! Paths of an archive: inside the one top folder, the same on every system, each once.

use std::collections::BTreeSet;

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use thiserror::Error;
use unicase::UniCase;
use unicode_normalization::UnicodeNormalization;

use super::TarballFault;
use super::entry::Member;
use crate::domain::{is_misleading, is_windows_device};
use crate::publish::faults::{Faults, quoted};
use crate::publish::files::Files;

/// Characters that no path may have on Windows, which is why Cargo packs no such file.
const NOT_ON_WINDOWS: [char; 8] = ['\\', '<', '>', ':', '"', '|', '?', '*'];

/// The most odd paths that one answer lists.
const WARNINGS_MAX: usize = 5;

/// Why a path is refused.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum PathFault {
    /// Longer than allowed.
    #[error("is longer than {0} bytes; use shorter names")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("is not UTF-8; rename the file")]
    NotUtf8,
    /// A control character, NUL among them, a mark of direction, or one that Windows does not allow.
    #[error(
        "contains {0:?}; a path that is the same on every system has no control character, no mark of direction and none of `\\ < > : \" | ? *`"
    )]
    Character(char),
    /// Starts with a slash.
    #[error("is absolute; it must begin with the top folder `NAME-VERSION/`")]
    Absolute,
    /// A part that is empty, `.` or `..`, or would be on Windows, which drops dots and spaces at the end.
    #[error(
        "has an empty part, `.` or `..` in it, or a part of dots and spaces alone; name each folder by its own name"
    )]
    Part,
    /// A file whose path says that it is a folder.
    #[error("ends with a slash but is a file; only folders may end so")]
    FileWithSlash,
    /// Not under the top folder.
    #[error("is not inside `{0}`, the only top folder that the archive may have")]
    Outside(String),
}

/// Checks a member's path; `top` ends with a slash, if it is known. What comes back has no slash at its end.
pub(super) fn check<'a>(
    member: &'a Member,
    top: Option<&str>,
    bytes_max: usize,
) -> Result<&'a str, PathFault> {
    if member.path.len() > bytes_max {
        return Err(PathFault::TooLong(bytes_max));
    }
    let path = std::str::from_utf8(&member.path).map_err(|_| PathFault::NotUtf8)?;
    let is_refused = |c: &char| is_misleading(*c) || NOT_ON_WINDOWS.contains(c);
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
    if bare.split('/').any(|part| without_tail(part).is_empty()) {
        return Err(PathFault::Part);
    }
    let Some(top) = top else { return Ok(bare) };
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
    key: Key,
    path: String,
    is_folder: bool,
}

/// One spelling for all paths that some file system takes for one.
///
/// Its slashes are NUL: sorted so, a folder comes right before what is in it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(String);

impl Key {
    /// The key of a path that is sound.
    ///
    /// Case and accents are those of a canonical caseless match (Unicode 16, chapter 3.13, D145). It finds more twins
    /// than any one file system, `ß` and `ss` among them. HFS+ passes over invisible characters, Windows over dots
    /// and spaces at the end of a name.
    pub(super) fn of(path: &str) -> Self {
        let folded = if path.is_ascii() {
            path.to_ascii_lowercase()
        } else {
            let invisible = CodePointSetData::new::<DefaultIgnorableCodePoint>();
            let visible: String = path.nfd().filter(|c| !invisible.contains(*c)).collect();
            UniCase::unicode(visible).to_folded_case().nfd().collect()
        };
        let parts = folded.split('/').map(without_tail);
        Self(parts.collect::<Vec<_>>().join("\0"))
    }

    /// Whether some part of the path is this name, which is in lower case.
    pub(super) fn has_part(&self, name: &str) -> bool {
        self.parts().any(|part| part == name)
    }

    /// Whether the path is this name, which is in lower case, in the top folder.
    pub(super) fn is_at_top(&self, name: &str) -> bool {
        self.0
            .split_once('\0')
            .is_some_and(|(_, rest)| rest == name)
    }

    fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('\0')
    }

    fn is_inside(&self, folder: &Self) -> bool {
        let rest = self.0.strip_prefix(&folder.0);
        rest.is_some_and(|rest| rest.starts_with('\0'))
    }
}

impl Paths {
    pub(super) fn add(&mut self, path: &str, key: Key, is_folder: bool) {
        self.0.push(Seen {
            key,
            path: path.to_owned(),
            is_folder,
        });
    }

    /// Finds paths that stand for the same file or folder, and files that would have to be folders.
    ///
    /// A folder is also there for what is in it: `src/lib.rs` and `Src/main.rs` need twins.
    pub(super) fn judge(&mut self, faults: &mut Faults<TarballFault>) {
        self.0.sort_by(|a, b| a.key.cmp(&b.key));
        let mut spellings = Spellings::default();
        let mut before: Option<&Seen> = None;
        for seen in &self.0 {
            spellings.take(before, seen, faults);
            match before.replace(seen) {
                Some(before) if before.path == seen.path => {
                    faults.add_with(|| TarballFault::Twice(quoted(&seen.path)));
                }
                Some(before) if before.stands_in_the_way_of(seen) => {
                    faults.add_with(|| TarballFault::FileAsFolder {
                        file: quoted(&before.path),
                        inside: quoted(&seen.path),
                    });
                }
                _ => {}
            }
        }
    }

    /// The files, by their paths below the top folder.
    pub(super) fn into_files(self) -> Files {
        let files = self.0.into_iter().filter(|seen| !seen.is_folder);
        let inside = files.filter_map(|seen| Some(seen.path.split_once('/')?.1.to_owned()));
        Files::new(inside.collect())
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

/// How each part of a path was spelled so far, while paths come in the order of their keys.
#[derive(Default)]
struct Spellings<'a>(Vec<Spelled<'a>>);

/// The spellings of one file or folder; further ones are rare.
struct Spelled<'a> {
    first: &'a str,
    others: BTreeSet<&'a str>,
}

impl Seen {
    /// Whether it is a file where `other` needs a folder.
    fn stands_in_the_way_of(&self, other: &Self) -> bool {
        !self.is_folder && other.key.is_inside(&self.key)
    }
}

impl<'a> Spellings<'a> {
    /// Takes the path that follows `before`, with a fault for each part that has a new spelling.
    fn take(
        &mut self,
        before: Option<&'a Seen>,
        seen: &'a Seen,
        faults: &mut Faults<TarballFault>,
    ) {
        let shared = before.map_or(0, |before| {
            let parts = before.key.parts().zip(seen.key.parts());
            parts.take_while(|(a, b)| a == b).count()
        });
        // A file that would have to be a folder is told as such.
        let file = before.filter(|before| before.stands_in_the_way_of(seen));
        let told = file.map(|_| shared);
        self.0.truncate(shared);
        for (part, count) in seen.path.split('/').zip(1..) {
            let Some(spelled) = self.0.get_mut(count - 1) else {
                self.0.push(Spelled {
                    first: part,
                    others: BTreeSet::new(),
                });
                continue;
            };
            let is_new = spelled.first != part && spelled.others.insert(part);
            if let (true, Some(before)) = (is_new && told != Some(count), before) {
                let of = |seen: &Seen| quoted(first_parts(&seen.path, count));
                faults.add_with(|| TarballFault::Twins(of(before), of(seen)));
            }
        }
    }
}

/// The first `count` parts of a path.
fn first_parts(path: &str, count: usize) -> &str {
    let end = path.match_indices('/').nth(count - 1);
    &path[..end.map_or(path.len(), |(at, _)| at)]
}

/// A part of a path without the dots and spaces at its end, which Windows drops.
fn without_tail(part: &str) -> &str {
    part.trim_end_matches(['.', ' '])
}

/// Whether a part of a path is a name that Windows does not give to files as it is.
fn is_odd_on_windows(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part);
    is_windows_device(stem.trim_end()) || part != without_tail(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_one(a: &str, b: &str) -> bool {
        Key::of(a) == Key::of(b)
    }

    #[test]
    fn full_case_folding_and_accents_make_one_key() {
        for (a, b) in [
            ("a/README.md", "a/readme.MD"),
            ("σας", "σασ"),
            ("Σ", "ς"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{1e9e}", "ss"),
            ("\u{17f}rc", "src"),
            ("\u{b5}", "\u{3bc}"),
            ("\u{212a}elvin", "kelvin"),
            ("\u{212b}", "a\u{30a}"),
            ("\u{fb01}le", "file"),
            ("\u{1f82}", "\u{1f00}\u{300}\u{3b9}"),
            ("\u{345}", "\u{3b9}"),
            ("\u{10400}", "\u{10428}"),
            ("e\u{327}\u{301}", "\u{c9}\u{327}"),
        ] {
            assert!(is_one(a, b), "{a:?} and {b:?}");
        }
        for (a, b) in [
            ("e", "\u{e9}"),
            ("a/b", "a.b"),
            ("o", "\u{f8}"),
            ("\u{430}", "a"),
        ] {
            assert!(!is_one(a, b), "{a:?} and {b:?}");
        }
    }

    #[test]
    fn no_character_is_told_from_its_capital_or_small_letter() {
        for c in '\0'..=char::MAX {
            let of = |text: &str| Key::of(text).0;
            let (key, lower, upper) = (of(&c.to_string()), c.to_lowercase(), c.to_uppercase());
            assert_eq!(of(&lower.to_string()), key, "{c:?}");
            // Its capital is `I`, and that is the capital of another letter.
            if c != '\u{131}' {
                assert_eq!(of(&upper.to_string()), key, "{c:?}");
            }
        }
    }

    #[test]
    fn what_a_file_system_passes_over_is_not_in_the_key() {
        for invisible in [
            '\u{ad}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{2060}',
            '\u{fe0f}',
            '\u{e0041}',
        ] {
            assert!(
                is_one(&format!(".cargo{invisible}-ok"), ".cargo-ok"),
                "{invisible:?}"
            );
        }
        // A joiner between a letter and its accent does not keep them apart.
        assert!(is_one("e\u{200d}\u{301}", "\u{e9}"));
        for tail in [".", " ", ". .", "...  ", ".\u{200d} "] {
            assert!(is_one(&format!("a{tail}/b{tail}"), "a/b"), "{tail:?}");
        }
        assert!(!is_one("a. b", "a.b") && !is_one(" a", "a") && !is_one(".a", "a"));
    }
}
