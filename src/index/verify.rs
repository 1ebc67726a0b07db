//! Proving the whole history of an index: every step, signature, message, line and `.crate` file.

mod large;
mod message;
mod theirs;

use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use crate::blobs::Blobs;
use crate::domain::{Cksum, CommitId};

use super::damage::each;
use super::history::{self, HistoryFault, Judged, Walk};
use super::load::{self, LoadFault};
use super::objects::{Commit, Objects};
use super::rule::{By, LineStep};
use super::writer::{Tip, chain};
use super::{OpenFault, Place, refs, signature};
use theirs::Seen;

/// The most faults that are kept; further ones are only counted.
const FAULTS_MAX: usize = 100;

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The tip that was verified.
    pub tip: Option<CommitId>,
    /// The commit after which it was verified, if not all was; it is taken for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<CommitId>,
    /// Commits that were looked at.
    pub commits: u64,
    /// Those of the registry among them, each with a good signature.
    pub signed: u64,
    /// Lines that were added, each with its `.crate` file.
    pub versions: u64,
    /// The first faults.
    pub faults: Vec<Fault>,
    /// How many faults there are.
    pub faults_found: u64,
}

/// One thing that is wrong.
#[derive(Debug, Serialize)]
pub struct Fault {
    /// The commit in which it is.
    pub commit: CommitId,
    /// What is wrong, as a sentence.
    pub what: String,
    /// The command that shows it.
    pub look: String,
}

/// Nothing could be verified.
#[derive(Debug, Error)]
pub enum VerifyFault {
    /// The repository cannot be used at all.
    #[error(transparent)]
    Open(#[from] OpenFault),
    /// The commit from which to begin is not there.
    #[error("the index cannot be verified from {since} on")]
    Since {
        /// The commit.
        since: CommitId,
        /// What is wrong with it.
        source: LoadFault,
    },
    /// The commit from which to begin was only merged.
    #[error(
        "{0} is not a commit of the branch itself but of the side of a merge; name one that `git log --first-parent` shows"
    )]
    Aside(CommitId),
    /// The commit from which to begin is here and not on the branch.
    #[error(
        "{since} is not in the history of the branch, which is at {tip}; name a commit that `git log --first-parent main` shows, or none to verify all of it"
    )]
    Outside {
        /// The commit.
        since: CommitId,
        /// Where the branch is.
        tip: CommitId,
    },
}

/// Verifies the index at `place` from its first commit on, or from `since`, which is then taken for good; if that is a
/// commit of people, from the registry's own before it.
///
/// It reads and never writes, so a server may run meanwhile. `tell` hears after each step how many commits are left.
/// A history that breaks a rule ends it, since nothing behind that has a meaning; all other faults are gathered.
pub fn verify(
    place: &Place,
    blobs: &Blobs,
    since: Option<CommitId>,
    tell: &mut dyn FnMut(usize),
) -> Result<Report, VerifyFault> {
    // Before the tip: a server that runs moves the tip first, then what it shows.
    let shown = refs::shown(&place.git_dir).ok().flatten();
    let tip = place.tip()?;
    let objects = open(place)?;
    let mut proof = Proof {
        place,
        blobs,
        objects: &objects,
        seen: Seen::default(),
        report: Report {
            tip: Some(tip),
            ..Report::default()
        },
    };
    if let Some(path) = history::cut_off_by(&place.git_dir) {
        let what = format!("`{}` hides older commits from every clone", path.display());
        proof.add(tip, &what, format!("rm {}", quoted(&path)));
    }
    for torn in place.torn_aids().map_err(|source| place.io_fault(source))? {
        let what = format!("{torn}; git goes by it, and the next start removes it");
        proof.add(tip, &what, format!("rm {}", quoted(&torn.path)));
    }
    let unread = place.unread().map_err(|source| place.io_fault(source))?;
    for file in &unread {
        proof.add(tip, file, format!("cat {} >/dev/null", quoted(&file.path)));
    }
    if !unread.is_empty() {
        return Ok(proof.report);
    }
    let (start, first) = match since {
        Some(since) => (proof.beginning(since, tip, shown.unwrap_or(tip)), None),
        None => match proof.first_commit(tip) {
            Some(first) => (first.id, Some(first)),
            None => return Ok(proof.report),
        },
    };
    proof.report.since = since.map(|_| start);
    let state = match load::load_from(open(place)?, start) {
        Ok(state) => state,
        Err(source) => {
            let Some(since) = since else {
                proof.add_unreadable(start, &source);
                return Ok(proof.report);
            };
            // What was merged from another history need not be an index.
            return Err(match history::leads(&objects, since, tip) {
                Err(HistoryFault::Sideways { .. }) => VerifyFault::Aside(since),
                _ => VerifyFault::Since {
                    since: start,
                    source,
                },
            });
        }
    };
    proof
        .seen
        .add_with_parents(&objects, since.unwrap_or(start));
    if let Some(first) = first {
        proof.judge_first(&first, &state);
    }
    // Whether a file is there is seen when it is hashed.
    let mut walk = Walk::from(state, &objects, &|_| true);
    let went = walk.to(tip, &mut |judged| {
        proof.step(judged);
        tell(judged.left);
    });
    // The branch must go on from what the registry served last.
    let led = shown.map_or(Ok(()), |shown| history::leads(&objects, shown, tip));
    let went = match since.and_then(|since| no_beginning(since, tip, &went)) {
        Some(fault) if led.is_ok() => return Err(fault),
        // What became of the branch tells why.
        Some(_) => Ok(()),
        None => went,
    };
    if let Err(fault) = went.and(led) {
        proof.add_history(&fault, tip);
    } else if let Some(what) = place.fallen_back()? {
        proof.add(tip, &what, proof.show(tip, None));
    }
    Ok(proof.report)
}

/// Why nothing leads from `since` to the tip, if nothing does: that is no fault of the branch.
fn no_beginning(
    since: CommitId,
    tip: CommitId,
    went: &Result<(), HistoryFault>,
) -> Option<VerifyFault> {
    match went {
        Err(HistoryFault::Sideways { .. }) => Some(VerifyFault::Aside(since)),
        Err(HistoryFault::Rewound { .. } | HistoryFault::Rewritten { .. }) => {
            Some(VerifyFault::Outside { since, tip })
        }
        _ => None,
    }
}

fn open(place: &Place) -> Result<Objects, OpenFault> {
    Ok(Objects::open(&place.git_dir)?.hashed())
}

struct Proof<'a> {
    place: &'a Place,
    blobs: &'a Blobs,
    objects: &'a Objects,
    seen: Seen,
    report: Report,
}

impl Proof<'_> {
    /// The commit of the registry at which to begin so as to judge what came after `since`.
    ///
    /// What people committed between two of them is one step: in the midst of it the index need not be good. The keys are
    /// those at a commit that is known to be good, because people may have brought others and taken them off again.
    fn beginning(&self, since: CommitId, tip: CommitId, good: CommitId) -> CommitId {
        let newest = |trusted: Vec<u8>| {
            history::newest_signed(self.objects, since, |signer| signer.is_among(&trusted)).ok()
        };
        // What nothing leads from, or cannot be read, is told by whoever goes from there.
        history::leads(self.objects, since, tip)
            .ok()
            .and_then(|()| load::allowed_signers(&self.place.git_dir, good).ok())
            .and_then(newest)
            .unwrap_or(since)
    }

    /// The first commit of all.
    fn first_commit(&mut self, tip: CommitId) -> Option<Commit> {
        let mut id = tip;
        loop {
            let commit = match self.objects.commit(id) {
                Ok(commit) => commit,
                Err(fault) => {
                    self.add_unreadable(id, &fault);
                    return None;
                }
            };
            if let Some(parent) = commit.parents.first() {
                id = *parent;
                continue;
            }
            return Some(commit);
        }
    }

    /// Judges the first commit of all, which must bear the signature of a key that it names itself.
    fn judge_first(&mut self, commit: &Commit, state: &Tip) {
        let signer = signature::signer_of(&commit.bytes);
        let is_signed = signer.is_some_and(|signer| state.snapshot.registry.trusts(&signer));
        self.report.commits += 1;
        self.report.signed += u64::from(is_signed);
        if !is_signed {
            let what =
                "the first commit does not bear the signature of a key in its `allowed_signers`";
            self.add(commit.id, &what, self.show(commit.id, None));
        }
        if state.snapshot.crates().next().is_some() {
            let what = "the first commit of an index holds no crates";
            self.add(commit.id, &what, self.show(commit.id, None));
        }
    }

    fn step(&mut self, judged: &Judged<'_>) {
        let commit = judged.commit.id;
        self.report.commits += judged.commits as u64;
        if judged.by == By::People {
            if let Err((commit, fault)) = self.seen.read(self.objects, commit) {
                self.add_unreadable(commit, &fault);
            }
            return;
        }
        self.seen.add(commit);
        self.report.signed += 1;
        if let Err(what) = message::check(judged) {
            self.add(commit, &what, self.show(commit, None));
        }
        for (krate, steps) in &judged.step.crates {
            for step in steps {
                let LineStep::Added(line) = step else {
                    continue;
                };
                self.report.versions += 1;
                let (reason, look) = match self.blobs.is_intact(&line.cksum) {
                    Ok(true) => continue,
                    Ok(false) => match self.blobs.path(&line.cksum).exists() {
                        true => ("is damaged".to_owned(), self.hash(&line.cksum)),
                        false => ("is missing".to_owned(), self.show(commit, None)),
                    },
                    Err(cause) => (format!("cannot be read: {cause}"), self.hash(&line.cksum)),
                };
                let path = self.blobs.path(&line.cksum);
                let what = format!(
                    "the crate file of `{} {}` {reason}: {}",
                    krate.name,
                    line.vers,
                    path.display()
                );
                self.add(commit, &what, look);
            }
        }
    }

    /// Adds what ended the walk to the tip.
    fn add_history(&mut self, fault: &HistoryFault, tip: CommitId) {
        let (commit, look) = match fault {
            HistoryFault::Rule { commit, violation } => {
                (*commit, self.show(*commit, violation.path()))
            }
            HistoryFault::Forged { commit, .. } => (*commit, self.show(*commit, None)),
            HistoryFault::Unreadable { commit, .. } => {
                return self.add_unreadable(*commit, fault);
            }
            HistoryFault::NoCommit { good, .. }
            | HistoryFault::Rewound { good, .. }
            | HistoryFault::Sideways { good, .. }
            | HistoryFault::Rewritten { good, .. } => (tip, self.compare(*good, tip)),
        };
        self.add(commit, &chain(fault), look);
    }

    /// Adds what cannot be read, with the packs that are known to be gone.
    fn add_unreadable(&mut self, commit: CommitId, fault: &dyn std::error::Error) {
        let mut to_blame = self.place.to_blame();
        to_blame.extend(self.place.lost_indices());
        let to_blame = each(&to_blame);
        self.add(commit, &format!("{}{to_blame}", chain(fault)), self.check());
    }

    fn add(&mut self, commit: CommitId, what: &dyn ToString, look: String) {
        self.report.faults_found += 1;
        if self.report.faults.len() < FAULTS_MAX {
            self.report.faults.push(Fault {
                commit,
                what: what.to_string(),
                look,
            });
        }
    }

    fn show(&self, commit: CommitId, path: Option<&str>) -> String {
        let path = path.map_or_else(String::new, |path| {
            format!(" -- {}", quoted(Path::new(path)))
        });
        format!(
            "git --git-dir {} show {commit}{path}",
            quoted(&self.place.git_dir)
        )
    }

    /// What shows an object that cannot be read, and all others that cannot.
    fn check(&self) -> String {
        format!(
            "git --git-dir {} fsck --full --no-dangling",
            quoted(&self.place.git_dir)
        )
    }

    /// What shows the commits that only one of both has.
    fn compare(&self, good: CommitId, found: CommitId) -> String {
        format!(
            "git --git-dir {} log --oneline --left-right {good}...{found}",
            quoted(&self.place.git_dir)
        )
    }

    fn hash(&self, cksum: &Cksum) -> String {
        let path: PathBuf = self.blobs.path(cksum);
        format!("sha256sum {}", quoted(&path))
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{blobs, open as open_index, place};
    use super::*;

    #[test]
    fn all_faults_are_counted_and_the_first_hundred_listed() {
        let folder = tempfile::tempdir().unwrap();
        drop(open_index(folder.path(), "http://localhost:1").unwrap());
        let (place, blobs) = (place(folder.path()), blobs(folder.path()));
        let mut proof = Proof {
            place: &place,
            blobs: &blobs,
            objects: &open(&place).unwrap(),
            seen: Seen::default(),
            report: Report::default(),
        };
        for number in 0..103 {
            proof.add(CommitId::from([0; 20]), &number, String::new());
        }
        let Report {
            faults_found,
            faults,
            ..
        } = proof.report;
        assert_eq!((faults_found, faults.len()), (103, 100));
        assert_eq!((&*faults[0].what, &*faults[99].what), ("0", "99"));
    }

    #[test]
    fn paths_are_quoted_as_a_shell_takes_them() {
        for (path, expected) in [
            ("/data/index.git", "/data/index.git"),
            ("1/a-b_c.d+e@f", "1/a-b_c.d+e@f"),
            ("", "''"),
            ("two words", "'two words'"),
            ("$(rm)", "'$(rm)'"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(quoted(Path::new(path)), expected);
        }
    }
}
