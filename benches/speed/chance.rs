//! Numbers and names by chance, the same at each run.

/// A small generator of the xorshift kind: nothing secret depends on it.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 up to `bound`, without it.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// The name of a crate: one or two words; a few are as short as names get.
    pub fn name(&mut self) -> String {
        let mut name = self.word();
        if self.below(2) == 0 {
            name = format!("{name}-{}", self.word());
        }
        name
    }

    /// Bytes that no compression makes smaller.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }

    fn word(&mut self) -> String {
        let length = 3 + self.below(8);
        (0..length).map(|_| self.letter()).collect()
    }

    /// Early letters of the alphabet more often than late ones, so that folders differ in size.
    fn letter(&mut self) -> char {
        let at = self.below(26).min(self.below(26) + 4) as u8;
        char::from(b'a' + at)
    }
}
