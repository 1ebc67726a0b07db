//! Cuts the power after every step of a recording, and looks at what is found then.

use std::collections::HashMap;
use std::thread;

use super::calls::Step;
use super::disk::{Disk, Fate, Tree};
use super::facts::{self, Fact};
use super::recording::Recording;

/// All that may have become of what was not flushed.
pub const FATES: [Fate; 9] = [
    Fate::Lost,
    Fate::Emptied,
    Fate::Zeroed,
    Fate::Torn(1),
    Fate::Mixed(1),
    Fate::Mixed(2),
    Fate::Mixed(3),
    Fate::Mixed(4),
    Fate::Kept,
];

/// The power went when so many steps were done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// How many.
    pub steps: usize,
    /// And what became of the rest.
    pub fate: Fate,
}

impl Recording {
    /// Every cut since so many steps that leaves a folder of its own; of those that leave the same, the last, for it has the most to keep.
    pub fn cuts(&self, since: usize) -> Vec<Cut> {
        let mut last: HashMap<u64, Cut> = HashMap::new();
        let mut disk = Disk::new();
        let mut found = Vec::new();
        for steps in 0..=self.steps.len() {
            if let Some(step) = steps.checked_sub(1).map(|step| &self.steps[step]) {
                disk.take(step);
                let is_idle = matches!(
                    step,
                    Step::Said(_) | Step::Seek { .. } | Step::SyncBegun { .. }
                );
                if steps >= since && (found.is_empty() || !is_idle) {
                    found = fingerprints(&disk);
                }
            }
            for (fate, fingerprint) in FATES.into_iter().zip(&found) {
                last.insert(*fingerprint, Cut { steps, fate });
            }
        }
        let mut cuts: Vec<Cut> = last.into_values().collect();
        cuts.sort_by_key(|cut| (cut.steps, FATES.iter().position(|fate| *fate == cut.fate)));
        cuts
    }

    /// Looks at the folder after each of these cuts, and tells each that is not as it must be.
    pub fn losses(&self, cuts: &[Cut]) -> Vec<String> {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let work = |worker: usize| {
            let mut losses = Vec::new();
            let mut disk = Disk::new();
            let mut done = 0;
            for cut in cuts.iter().skip(worker).step_by(workers) {
                self.steps[done..cut.steps]
                    .iter()
                    .for_each(|step| disk.take(step));
                done = cut.steps;
                losses.extend(self.loss(*cut, &disk.after(cut.fate)));
            }
            losses
        };
        thread::scope(|scope| {
            let work = &work;
            let workers: Vec<_> = (0..workers)
                .map(|worker| scope.spawn(move || work(worker)))
                .collect();
            workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap())
                .collect()
        })
    }

    /// The first loss when the power goes after so many steps, whatever becomes of what was not flushed.
    pub fn loss_after(&self, steps: usize) -> Option<String> {
        let mut disk = Disk::new();
        self.steps[..steps].iter().for_each(|step| disk.take(step));
        FATES
            .into_iter()
            .find_map(|fate| self.loss(Cut { steps, fate }, &disk.after(fate)))
    }

    /// What is found after the cut.
    pub fn tree_after(&self, cut: Cut) -> Tree {
        let mut disk = Disk::new();
        self.steps[..cut.steps]
            .iter()
            .for_each(|step| disk.take(step));
        disk.after(cut.fate)
    }

    /// What had been acknowledged when so many steps were done.
    pub fn facts_before(&self, steps: usize) -> Vec<Fact> {
        let told = self.facts.iter().filter(|(step, _)| *step < steps);
        told.map(|(_, fact)| fact.clone()).collect()
    }

    /// The steps by which something was acknowledged.
    pub fn told(&self) -> Vec<usize> {
        let mut told: Vec<usize> = self.facts.iter().map(|(step, _)| *step).collect();
        told.sort_unstable();
        told.dedup();
        told
    }

    fn loss(&self, cut: Cut, tree: &Tree) -> Option<String> {
        let why = facts::examine(tree, &self.facts_before(cut.steps), self.bound).err()?;
        let before: Vec<String> = self.steps[cut.steps.saturating_sub(8)..cut.steps]
            .iter()
            .map(|step| format!("  {}\n", shown(step)))
            .collect();
        Some(format!("{cut:?}: {why}\nafter\n{}", before.concat()))
    }
}

fn fingerprints(disk: &Disk) -> Vec<u64> {
    FATES
        .iter()
        .map(|fate| disk.after(*fate).fingerprint())
        .collect()
}

/// A step without its bytes.
fn shown(step: &Step) -> String {
    match step {
        Step::Write { path, bytes } => format!("Write {} bytes to {}", bytes.len(), path.display()),
        Step::Said(bytes) => format!("Said {:.60}", String::from_utf8_lossy(bytes)),
        step => format!("{step:?}"),
    }
}
