//! Owners as people read of them.

use std::collections::HashSet;

use super::Owners;
use crate::domain::first_of;

/// How many of them a refusal names.
const NAMED_MAX: usize = 20;

impl Owners {
    /// All of them by name, with the number that the forge has for each; whom a push has named twice once.
    pub fn named(&self) -> impl Iterator<Item = (String, Option<u64>)> {
        let users = { self.users.iter() }.map(|user| (user.login.to_string(), user.id));
        let teams = { self.teams.iter() }.map(|team| (team.name.to_string(), Some(team.id)));
        once(users).chain(once(teams))
    }

    /// The same with the numbers by which a forge knows people.
    pub fn numbered(&self) -> String {
        let users = self.users.iter().map(|user| match user.id {
            Some(id) => format!("{} (number {id})", user.login),
            None => format!("{} (without a number)", user.login),
        });
        let teams = self.teams.iter().map(|team| team.name.to_string());
        first_of(users.chain(teams), NAMED_MAX)
    }

    /// The owners in words, for a refusal: `alice, bob`.
    pub fn names(&self) -> String {
        let users = self.users.iter().map(|user| user.login.to_string());
        let teams = self.teams.iter().map(|team| team.name.to_string());
        let pushers = self.repository.iter();
        let pushers = pushers.map(|repository| format!("whoever writes to {}", repository.name));
        first_of(users.chain(teams).chain(pushers), NAMED_MAX)
    }
}

/// The first with each number, or with each name of those without one, in any case.
fn once<'a>(
    named: impl Iterator<Item = (String, Option<u64>)> + 'a,
) -> impl Iterator<Item = (String, Option<u64>)> + 'a {
    let mut seen = HashSet::new();
    let key = |(name, id): &(String, Option<u64>)| id.ok_or_else(|| name.to_ascii_lowercase());
    named.filter(move |entry| seen.insert(key(entry)))
}
