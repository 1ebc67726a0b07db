//! Who may publish, yank and own a crate: the file `owners/<index path>.toml`.

mod creators;
mod leave;
mod name;
mod named;
mod words;

pub use creators::Creators;
pub use leave::{Leaver, Meant};
pub use name::{OwnerName, TeamName};
pub use named::{Called, Named};

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use thiserror::Error;

use super::document::read_document;
use super::grant::Can;
use super::principal::{Actor, Standing};
use super::text::{Login, PlainText};

/// The most owners that a crate may have.
const OWNERS_MAX: usize = 200;
/// The longest file, in bytes: room for that many names of the longest kind, each character escaped.
const FILE_BYTES_MAX: usize = 256 * 1024;
/// What to do where the name of an owner does not tell which one shall leave.
const REMEDY: &str = "remove the one you mean by the name that the forge has for it now, or take it out of the crate's file below `owners/` in the index";

/// The owners of one crate, in the order in which they were added.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owners {
    /// People.
    #[serde(default)]
    users: Vec<User>,
    /// Teams of an organisation of the forge.
    #[serde(default)]
    teams: Vec<Team>,
    /// The repository of the forge whose pushers may publish.
    #[serde(default)]
    repository: Option<Repository>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    login: Login,
    id: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Team {
    name: PlainText,
    id: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Repository {
    name: PlainText,
    id: u64,
}

/// One owner, as a file of owners has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A person.
    User {
        /// The account's name.
        login: Login,
        /// Its number on the forge, if there is one.
        id: Option<u64>,
    },
    /// A team of the forge.
    Team {
        /// Its name.
        name: TeamName,
        /// Its number.
        id: u64,
    },
}

/// Why owners cannot be changed so, or a file is not one of owners.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OwnerFault {
    /// Not a user name.
    #[error(transparent)]
    Login(#[from] super::text::LoginFault),
    /// A team, but there is no forge that has teams.
    #[error("`{0}` names a team; teams need a forge, and this registry runs without one")]
    TeamWithoutForge(String),
    /// Something with a colon that is not a team.
    #[error("`{0}` names no team; write `ORGANISATION:TEAM`")]
    Team(String),
    /// Removal of somebody who is no owner.
    #[error("`{0}` is not an owner of this crate")]
    NotAnOwner(OwnerName),
    /// Removal by a name that another has by now.
    #[error(
        "`{name}` is number {number} on the forge, which is not an owner of this crate; recorded under that name is {recorded}: {REMEDY}"
    )]
    NameOfAnother {
        /// The name.
        name: OwnerName,
        /// The number that has it.
        number: u64,
        /// The numbers of the owners that are recorded under it, in words.
        recorded: String,
    },
    /// Removal by a name that nobody has, under which several are recorded.
    #[error(
        "the forge does not know `{name}`, or does not show it, and recorded under that name are {recorded}: {REMEDY}"
    )]
    NameOfSeveral {
        /// The name.
        name: OwnerName,
        /// Their numbers, in words.
        recorded: String,
    },
    /// Removal of everybody.
    #[error("a crate must keep at least one owner; add another before `{0}` leaves")]
    Last(OwnerName),
    /// Too many.
    #[error("a crate can have at most {OWNERS_MAX} owners")]
    TooMany,
    /// The file is larger than any that could be written for so many owners.
    #[error("a file of owners can have at most {FILE_BYTES_MAX} bytes, not {0}")]
    TooLarge(usize),
    /// The file is not TOML of the right shape.
    #[error("not a file of owners: {0}")]
    Syntax(String),
}

impl Owners {
    /// A crate's first publisher.
    pub fn first(login: Login) -> Self {
        let mut owners = Self::default();
        owners.users.push(User { login, id: None });
        owners
    }

    /// The owners of a crate that `actor` creates: a person, or the repository that a job runs for.
    pub fn first_of(actor: &Actor) -> Self {
        let mut owners = Self::default();
        match actor {
            Actor::Local(login) => return Self::first(login.clone()),
            Actor::Person(person) => owners.users.push(User {
                login: person.login.clone(),
                id: Some(person.id),
            }),
            Actor::Job(job) => {
                owners.repository = Some(Repository {
                    name: actor.name(),
                    id: job.repository_id,
                });
            }
        }
        owners
    }

    /// Whether these can be the owners of a crate that somebody of this name created.
    pub fn are_first_of(&self, author: &str) -> bool {
        match (self.users.as_slice(), &*self.teams, &self.repository) {
            ([user], [], None) => user.login.as_str() == author,
            ([], [], Some(repository)) => repository.name.as_str() == author,
            _ => false,
        }
    }

    /// Whether somebody may do this to the crate.
    ///
    /// People may all of it; members of a team may publish and yank, and so may people who write to the repository;
    /// its jobs may publish. On a forge the number decides, never the name: names are given away and taken again.
    pub fn admit(&self, by: &Standing, can: Can) -> bool {
        let is_user = self.users.iter().any(|user| user.is(by));
        let is_in_team = || self.teams.iter().any(|team| by.teams.contains(&team.id));
        let is_writer = || {
            let repository = self.repository.as_ref();
            repository.is_some_and(|repository| by.repositories.contains(&repository.id))
        };
        match (can, &by.actor) {
            (Can::Publish, Actor::Job(_)) => is_writer(),
            (_, Actor::Job(_)) => false,
            (Can::Publish | Can::Yank, _) => is_user || is_in_team() || is_writer(),
            (Can::Read | Can::Own, _) => is_user,
        }
    }

    /// Whether nobody of a forge is among them: there, names without numbers are nobody's.
    pub fn are_names_alone(&self) -> bool {
        let has_number = |user: &User| user.id.is_some();
        !self.users.iter().any(has_number) && self.teams.is_empty() && self.repository.is_none()
    }

    /// The numbers of the teams.
    pub fn team_ids(&self) -> impl Iterator<Item = u64> {
        self.teams.iter().map(|team| team.id)
    }

    /// The teams with their numbers.
    pub fn teams(&self) -> impl Iterator<Item = (&str, u64)> {
        self.teams.iter().map(|team| (team.name.as_str(), team.id))
    }

    /// The number of the repository.
    pub fn repository_id(&self) -> Option<u64> {
        self.repository().map(|(_, id)| id)
    }

    /// The repository with its number.
    pub fn repository(&self) -> Option<(&str, u64)> {
        let repository = self.repository.as_ref()?;
        Some((repository.name.as_str(), repository.id))
    }

    /// Reads the file.
    pub fn parse(text: &str) -> Result<Self, OwnerFault> {
        if text.len() > FILE_BYTES_MAX {
            return Err(OwnerFault::TooLarge(text.len()));
        }
        let owners: Self =
            read_document(text).map_err(|fault| OwnerFault::Syntax(fault.to_string()))?;
        if owners.users.len() + owners.teams.len() > OWNERS_MAX {
            return Err(OwnerFault::TooMany);
        }
        Ok(owners)
    }

    /// The people among the owners.
    pub fn users(&self) -> impl Iterator<Item = &Login> {
        self.users.iter().map(|user| &user.login)
    }

    /// Whether `login` is an owner.
    pub fn includes(&self, login: &Login) -> bool {
        self.users().any(|user| user == login)
    }

    /// The owners with `added`, those that already are owners left where they are.
    ///
    /// Somebody who was known by name alone gets the number.
    pub fn with(&self, added: &[Owner]) -> Result<Self, OwnerFault> {
        let mut owners = self.clone();
        for owner in added {
            match owner {
                Owner::User { login, id } => owners.add_user(login, *id),
                Owner::Team { name, id } => {
                    if !owners.teams.iter().any(|team| team.id == *id) {
                        let name = name.plain();
                        owners.teams.push(Team { name, id: *id });
                    }
                }
            }
        }
        if owners.users.len() + owners.teams.len() > OWNERS_MAX {
            return Err(OwnerFault::TooMany);
        }
        Ok(owners)
    }

    fn add_user(&mut self, login: &Login, id: Option<u64>) {
        let added = User {
            login: login.clone(),
            id,
        };
        // Whoever has the number is there, whoever else is called so.
        if id.is_some() && self.users.iter().any(|user| user.id == id) {
            return;
        }
        match self.users.iter_mut().find(|user| user.is_same(&added)) {
            Some(known) => known.id = known.id.or(id),
            None => self.users.push(added),
        }
    }

    /// How people and teams changed since `earlier`: ` +bob -carol`, each with a blank before it.
    pub fn difference(&self, earlier: &Self) -> String {
        let added = self
            .users
            .iter()
            .filter(|user| !earlier.users.contains(user));
        let is_here = |user: &User| self.users.iter().any(|other| other.is_same(user));
        let removed = earlier.users.iter().filter(|user| !is_here(user));
        let teams = self
            .teams
            .iter()
            .filter(|team| !earlier.teams.contains(team));
        let teams_gone = earlier
            .teams
            .iter()
            .filter(|team| !self.teams.contains(team));
        let added = added.map(|user| format!(" +{}", user.login));
        let added = added.chain(teams.map(|team| format!(" +{}", team.name)));
        let removed = removed.map(|user| format!(" -{}", user.login));
        let removed = removed.chain(teams_gone.map(|team| format!(" -{}", team.name)));
        added.chain(removed).collect()
    }
}

impl User {
    /// The number decides, and the name only where one of them has none.
    fn is_same(&self, other: &Self) -> bool {
        match (self.id, other.id) {
            (Some(id), Some(other)) => id == other,
            _ => self.login == other.login,
        }
    }

    fn is(&self, by: &Standing) -> bool {
        match &by.actor {
            Actor::Local(login) => self.login == *login && (by.names_suffice || self.id.is_none()),
            Actor::Person(person) => self.id == Some(person.id),
            Actor::Job(_) => false,
        }
    }
}

/// Where there is no forge.
impl FromStr for Owner {
    type Err = OwnerFault;

    fn from_str(text: &str) -> Result<Self, OwnerFault> {
        if text.contains(':') {
            return Err(OwnerFault::TeamWithoutForge(super::excerpt(text)));
        }
        Ok(Self::User {
            login: text.parse()?,
            id: None,
        })
    }
}

/// The file's text: the same owners always give the same bytes.
impl fmt::Display for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let entry = |key: &str, name: &str, id: Option<u64>| match id {
            Some(id) => format!("{{ {key} = {}, id = {id} }}", quoted(name)),
            None => format!("{{ {key} = {} }}", quoted(name)),
        };
        let list = |entries: Vec<String>| entries.join(", ");
        let users = self
            .users
            .iter()
            .map(|user| entry("login", user.login.as_str(), user.id));
        writeln!(f, "users = [{}]", list(users.collect()))?;
        if !self.teams.is_empty() {
            let teams = self
                .teams
                .iter()
                .map(|team| entry("name", team.name.as_str(), Some(team.id)));
            writeln!(f, "teams = [{}]", list(teams.collect()))?;
        }
        if let Some(repository) = &self.repository {
            writeln!(
                f,
                "repository = {}",
                entry("name", repository.name.as_str(), Some(repository.id))
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
