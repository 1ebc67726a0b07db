//! Owners that have a number, by which a forge knows them, beside the name that people read.

use std::fmt;

use super::Owners;
use crate::domain::text::{Login, PlainText};

/// An owner with a number. On a forge that alone decides; who reviews a change reads the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Numbered {
    /// What it is called.
    pub called: Called,
    /// Its number.
    pub id: u64,
}

/// What an owner is called, by its kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Called {
    /// An account.
    User(Login),
    /// A team, as somebody wrote it.
    Team(PlainText),
    /// A repository, as somebody wrote it.
    Repository(PlainText),
}

impl Owners {
    /// Those that have a number.
    pub fn with_numbers(&self) -> impl Iterator<Item = Numbered> {
        let users = self.users.iter().filter_map(|user| {
            let called = Called::User(user.login.clone());
            Some((called, user.id?))
        });
        let teams = { self.teams.iter() }.map(|team| (Called::Team(team.name.clone()), team.id));
        let repository = { self.repository.iter() }
            .map(|repository| (Called::Repository(repository.name.clone()), repository.id));
        let all = users.chain(teams).chain(repository);
        all.map(|(called, id)| Numbered { called, id })
    }
}

impl fmt::Display for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(login) => login.fmt(f),
            Self::Team(name) | Self::Repository(name) => name.fmt(f),
        }
    }
}
