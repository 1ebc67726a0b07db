//! Packs that pile up because they cannot be merged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// From so many on it is told; of those that are merged there are some dozens.
const MANY: usize = 1_000;
/// With so many no crate is changed any more, for whoever opens the repository must still be able to: gix tells at most
/// 32,767 packs from each other, and Linux maps at most 65,530 files into a process, two of each pack.
pub(in crate::index) const PACKS_MAX: usize = 10_000;

/// How many packs there are: as they were counted last, and those that were written since.
#[derive(Debug, Clone, Default)]
pub(in crate::index) struct Crowd(Arc<AtomicUsize>);

impl Crowd {
    pub(in crate::index) fn note(&self, packs: usize) {
        self.0.store(packs, Ordering::Relaxed);
    }

    /// One more was written, and stays.
    pub(in crate::index) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many, if that is more than there should ever be.
    pub(super) fn too_many(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|packs| *packs >= MANY)
    }

    /// Says why no crate may be changed, if there are so many; what the operator does has still room.
    pub(in crate::index) fn check(&self) -> Result<(), String> {
        match self.too_many().filter(|packs| *packs >= PACKS_MAX) {
            None => Ok(()),
            Some(packs) => Err(format!(
                "the index has {packs} packs, which cannot be merged; no crate is changed until they are, and the log of the server says what hinders it"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_packs_are_told_before_no_more_are_written() {
        let crowd = Crowd::default();
        for (packs, is_told, may_write) in [
            (0, false, true),
            (MANY - 1, false, true),
            (MANY, true, true),
            (PACKS_MAX - 1, true, true),
            (PACKS_MAX, true, false),
        ] {
            crowd.note(packs);
            assert_eq!(crowd.too_many().is_some(), is_told, "{packs}");
            assert_eq!(crowd.check().is_ok(), may_write, "{packs}");
        }
        crowd.note(PACKS_MAX - 1);
        crowd.add_one();
        assert!(crowd.check().unwrap_err().contains("has 10000 packs"));
    }
}
