//! Tokens that were verified before.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::Secret;

/// The SHA-256 of a token: the text itself is not kept.
type TokenHash = [u8; 32];

/// A bounded memory of what verified tokens say.
///
/// Two generations: entries are added to the young one, and when that is full, it becomes the old one and what was
/// old is forgotten. What is found in the old one moves to the young one, so tokens in use stay.
pub(super) struct TokenCache<T> {
    generation_max: usize,
    generations: Mutex<Generations<T>>,
}

struct Generations<T> {
    young: HashMap<TokenHash, T>,
    old: HashMap<TokenHash, T>,
}

impl<T: Clone> TokenCache<T> {
    /// A cache that never holds more than `entries_max` entries, and at least two.
    pub(super) fn new(entries_max: usize) -> Self {
        Self {
            generation_max: (entries_max / 2).max(1),
            generations: Mutex::new(Generations {
                young: HashMap::new(),
                old: HashMap::new(),
            }),
        }
    }

    pub(super) fn get(&self, token: &Secret) -> Option<T> {
        let hash = hash(token);
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = generations.young.get(&hash) {
            return Some(found.clone());
        }
        let found = generations.old.remove(&hash)?;
        self.insert_young(&mut generations, hash, found.clone());
        Some(found)
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        let generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        generations.young.len() + generations.old.len()
    }

    pub(super) fn insert(&self, token: &Secret, value: T) {
        let hash = hash(token);
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.insert_young(&mut generations, hash, value);
    }

    fn insert_young(&self, generations: &mut Generations<T>, hash: TokenHash, value: T) {
        if generations.young.len() >= self.generation_max {
            generations.old = mem::take(&mut generations.young);
        }
        generations.young.insert(hash, value);
    }
}

fn hash(token: &Secret) -> TokenHash {
    Sha256::digest(token.expose().as_bytes()).into()
}

impl<T> fmt::Debug for TokenCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("generation_max", &self.generation_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(number: usize) -> Secret {
        Secret::new(format!("token {number}"))
    }

    #[test]
    fn a_generation_keeps_all_that_it_has_room_for() {
        let cache = TokenCache::new(10);
        for number in 0..5 {
            cache.insert(&token(number), number);
        }
        for number in 0..5 {
            assert_eq!(cache.get(&token(number)), Some(number));
        }
        assert_eq!(cache.len(), 5);
        cache.insert(&token(5), 5);
        assert_eq!(cache.len(), 6, "the old generation counts too");
        assert!(format!("{cache:?}").starts_with("TokenCache { generation_max: 5"));
    }

    #[test]
    fn entries_are_bounded_and_those_in_use_stay() {
        let cache = TokenCache::new(10);
        cache.insert(&token(0), 0);
        for number in 1..100 {
            cache.insert(&token(number), number);
            assert_eq!(cache.get(&token(0)), Some(0), "after {number}");
            assert!((2..=10).contains(&cache.len()), "after {number}");
        }
        assert_eq!(cache.get(&token(99)), Some(99));
        assert_eq!(cache.get(&token(50)), None);
        assert_eq!(cache.get(&token(100)), None);
    }
}
