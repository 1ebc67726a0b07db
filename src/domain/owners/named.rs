//! Owners by the name that people read, and the number beside it, by which alone a forge knows them.

use std::fmt;

use super::Owners;
use crate::domain::text::{Login, PlainText};

/// An owner. On a forge the number alone decides; who reviews a change reads the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Named {
    /// What it is called.
    pub called: Called,
    /// Its number, if there is one.
    pub id: Option<u64>,
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
    /// All of them.
    pub fn each(&self) -> impl Iterator<Item = Named> {
        let users = { self.users.iter() }.map(|user| (Called::User(user.login.clone()), user.id));
        let teams =
            { self.teams.iter() }.map(|team| (Called::Team(team.name.clone()), Some(team.id)));
        let repository = { self.repository.iter() }.map(|repository| {
            (
                Called::Repository(repository.name.clone()),
                Some(repository.id),
            )
        });
        let all = users.chain(teams).chain(repository);
        all.map(|(called, id)| Named { called, id })
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
