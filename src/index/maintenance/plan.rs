//! When which packs are merged.

/// What is left as it is while changes come one after the other: clones pay for it with each request.
pub(super) const BUSY: Tolerance = Tolerance {
    packs: 32,
    share: 8,
    objects: (1024, 8192),
};
/// What is left as it is for good.
pub(super) const QUIET: Tolerance = Tolerance {
    packs: 8,
    share: 256,
    objects: (256, 8192),
};

/// The most packs that become one at once. Git looks for each object in one pack after the other, so the price of a merge
/// is the square of their number: of 500 it takes a second, of 10,000 minutes.
const SLICE: usize = 512;

/// How much may lie about before something is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    /// From so many packs on, small ones are merged.
    pub(super) packs: usize,
    /// Objects beside the largest pack have no bitmap: one for so many of its own is left,
    pub(super) share: u64,
    /// but at least and at most so many.
    pub(super) objects: (u64, u64),
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Nothing.
    Rest,
    /// The so many smallest packs become one.
    Merge(usize),
    /// All packs become one with a bitmap.
    Renew,
}

impl Tolerance {
    /// What to do with packs of so many objects each, the smallest first.
    ///
    /// A pack is merged if it has less than twice the objects of all smaller ones together. So what is left doubles
    /// from pack to pack, and an object is copied again only when its pack doubles. Where more are due than become one at
    /// once, the smallest do, and what is left is planned anew.
    pub(super) fn plan(&self, sizes: &[u64]) -> Plan {
        if sizes.len() > SLICE {
            return self.merge(sizes);
        }
        let total: u64 = sizes.iter().sum();
        let largest = sizes.last().copied().unwrap_or_default();
        let (least, most) = self.objects;
        if total - largest >= (largest / self.share).clamp(least, most) {
            return Plan::Renew;
        }
        match self.merge(sizes) {
            // Whoever merges all may as well make the bitmap.
            Plan::Merge(count) if count == sizes.len() => Plan::Renew,
            plan => plan,
        }
    }

    /// As [`Tolerance::plan`], where there are others too that cannot be merged.
    pub(super) fn merge(&self, sizes: &[u64]) -> Plan {
        if sizes.len() < self.packs {
            return Plan::Rest;
        }
        let (mut smaller, mut count) = (0, 0);
        for (place, size) in sizes.iter().enumerate() {
            if *size < 2 * smaller {
                count = place + 1;
            }
            smaller += size;
        }
        match count {
            0 => Plan::Rest,
            count => Plan::Merge(count.min(SLICE)),
        }
    }
}
