//! The rule for the lines of one crate.

use thiserror::Error;

use crate::domain::{Cksum, CrateName, CrateVersion, IndexFile, IndexLine, IndexPath};

use super::super::snapshot::Crate;
use super::By;

/// What happened to a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LineStep {
    /// It came at the end of the file.
    Added(Box<IndexLine>),
    /// Its version was yanked, or is no longer.
    Yanked {
        /// The version.
        version: CrateVersion,
        /// Whether it is yanked now.
        yanked: bool,
    },
}

/// What may not happen to a line; reads on after the name of the file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LineViolation {
    /// Somebody else than the registry added it.
    #[error(
        " has a line for version `{0}` that the registry did not write; publish it with Cargo instead"
    )]
    AddedByPeople(CrateVersion),
    /// It is gone.
    #[error(
        " has lost the line of version `{0}`; put it back, and yank the version if nobody shall use it"
    )]
    Dropped(CrateVersion),
    /// It says something else.
    #[error(
        " has another line for version `{0}`; of a line only `yanked` may change, and nothing of its form"
    )]
    Rewritten(CrateVersion),
    /// The order is not that of publication.
    #[error(
        " has the line of version `{0}` in another place; lines stay where they are, and new ones come at the end"
    )]
    Moved(CrateVersion),
    /// Not a line at all.
    #[error(", line {number}, cannot be read: {reason}")]
    Unreadable {
        /// Which line, from 1.
        number: usize,
        /// What is wrong.
        reason: String,
    },
    /// Readable, but not as the registry writes it.
    #[error(", line {number}, is not written in the one form that lines have")]
    Form {
        /// Which line, from 1.
        number: usize,
    },
    /// The line of another crate, or of another spelling.
    #[error(" has a line of the crate `{0}`")]
    OtherCrate(CrateName),
    /// The version is there already.
    #[error(" has two lines for version `{0}`, build metadata left aside")]
    Twice(CrateVersion),
    /// The line's file is not there.
    #[error(
        " has a line for version `{version}`, but its `.crate` file with the checksum {cksum} is not there"
    )]
    NoBlob {
        /// The version.
        version: CrateVersion,
        /// The checksum in the line.
        cksum: Cksum,
    },
    /// There are no lines.
    #[error(" has no lines")]
    Empty,
}

/// What happened between two forms of a file. Costs little for lines that are the same in both.
pub(super) fn steps(
    before: IndexFile<'_>,
    after: IndexFile<'_>,
) -> Result<Vec<LineStep>, LineViolation> {
    let mut steps = Vec::new();
    let mut old = before.lines();
    for (at, line) in after.lines().enumerate() {
        let number = at + 1;
        match old.next() {
            Some(same) if same == line => {}
            Some(other) => steps.push(changed(other, line, number, before, after)?),
            None => steps.push(LineStep::Added(Box::new(read(line, number)?))),
        }
    }
    match old.next() {
        Some(dropped) => Err(LineViolation::Dropped(version_of(dropped, 0)?)),
        None => Ok(steps),
    }
}

/// What became of a line in whose place another stands.
fn changed(
    old: &[u8],
    new: &[u8],
    number: usize,
    before: IndexFile<'_>,
    after: IndexFile<'_>,
) -> Result<LineStep, LineViolation> {
    let mut flipped = parse(old, number)?;
    flipped.yanked = !flipped.yanked;
    if flipped.to_bytes() == new {
        return Ok(LineStep::Yanked {
            version: flipped.vers,
            yanked: flipped.yanked,
        });
    }
    let version = flipped.vers;
    let now = version_of(new, number)?;
    Err(if after.lines().any(|line| line == old) {
        match before.lines().any(|line| line == new) {
            true => LineViolation::Moved(now),
            false => LineViolation::AddedByPeople(now),
        }
    } else if has_version(after, &version) {
        LineViolation::Rewritten(version)
    } else {
        LineViolation::Dropped(version)
    })
}

fn has_version(file: IndexFile<'_>, version: &CrateVersion) -> bool {
    file.heads()
        .any(|head| head.is_ok_and(|head| head.vers.key() == version.key()))
}

/// The line, which must be in the form that the registry writes.
fn read(line: &[u8], number: usize) -> Result<IndexLine, LineViolation> {
    let parsed = parse(line, number)?;
    match parsed.to_bytes() == line {
        true => Ok(parsed),
        false => Err(LineViolation::Form { number }),
    }
}

fn parse(line: &[u8], number: usize) -> Result<IndexLine, LineViolation> {
    IndexLine::parse(line).map_err(|fault| LineViolation::Unreadable {
        number,
        reason: fault.to_string(),
    })
}

fn version_of(line: &[u8], number: usize) -> Result<CrateVersion, LineViolation> {
    Ok(parse(line, number)?.vers)
}

/// Judges what happened to the lines of the crate whose path spells it `name`.
pub(super) fn judge(
    steps: &[LineStep],
    name: &CrateName,
    existing: Option<&Crate>,
    by: By,
    has_blob: &dyn Fn(&Cksum) -> bool,
) -> Result<(), LineViolation> {
    let mut spelling = existing.map(|krate| &krate.name);
    let mut added = std::collections::BTreeSet::new();
    for step in steps {
        let LineStep::Added(line) = step else {
            continue;
        };
        let version = || line.vers.clone();
        if by == By::People {
            return Err(LineViolation::AddedByPeople(version()));
        }
        let is_of_path = IndexPath::of(&line.name) == IndexPath::of(name);
        if !is_of_path || *spelling.get_or_insert(&line.name) != &line.name {
            return Err(LineViolation::OtherCrate(line.name.clone()));
        }
        let key = line.vers.key();
        let is_there = existing.is_some_and(|krate| krate.release(&key).is_some());
        if is_there || !added.insert(key) {
            return Err(LineViolation::Twice(version()));
        }
        if !has_blob(&line.cksum) {
            return Err(LineViolation::NoBlob {
                version: version(),
                cksum: line.cksum,
            });
        }
    }
    Ok(())
}
