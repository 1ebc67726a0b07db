//! Who may publish, yank and own a crate: the file `owners/<index path>.toml`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::text::{Login, PlainText};

/// The most owners that a crate may have.
const OWNERS_MAX: usize = 200;
/// The longest file, in bytes: room for that many names of the longest kind, each character escaped.
const FILE_BYTES_MAX: usize = 256 * 1024;

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

/// One owner as `cargo owner` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner(Login);

/// Why owners cannot be changed so, or a file is not one of owners.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OwnerFault {
    /// Not a user name.
    #[error(transparent)]
    Login(#[from] super::text::LoginFault),
    /// A team, but there is no forge that has teams.
    #[error("`{0}` names a team; teams need a forge, and this registry runs without one")]
    TeamWithoutForge(String),
    /// Removal of somebody who is no owner.
    #[error("`{0}` is not an owner of this crate")]
    NotAnOwner(Login),
    /// Removal of everybody.
    #[error("a crate must keep at least one owner; add another before `{0}` leaves")]
    Last(Login),
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

    /// Reads the file.
    pub fn parse(text: &str) -> Result<Self, OwnerFault> {
        if text.len() > FILE_BYTES_MAX {
            return Err(OwnerFault::TooLarge(text.len()));
        }
        let owners: Self =
            toml::from_str(text).map_err(|error| OwnerFault::Syntax(error.message().to_owned()))?;
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
    pub fn with(&self, added: &[Owner]) -> Result<Self, OwnerFault> {
        let mut owners = self.clone();
        for Owner(login) in added {
            if !owners.includes(login) {
                owners.users.push(User {
                    login: login.clone(),
                    id: None,
                });
            }
        }
        if owners.users.len() + owners.teams.len() > OWNERS_MAX {
            return Err(OwnerFault::TooMany);
        }
        Ok(owners)
    }

    /// The owners without `removed`: each must be one, and one person must stay.
    pub fn without(&self, removed: &[Owner]) -> Result<Self, OwnerFault> {
        let mut owners = self.clone();
        for Owner(login) in removed {
            let count = owners.users.len();
            owners.users.retain(|user| user.login != *login);
            if owners.users.len() == count {
                return Err(OwnerFault::NotAnOwner(login.clone()));
            }
            if owners.users.is_empty() {
                return Err(OwnerFault::Last(login.clone()));
            }
        }
        Ok(owners)
    }

    /// How the people changed since `earlier`: ` +bob -carol`, each with a blank before it.
    pub fn difference(&self, earlier: &Self) -> String {
        let added = self.users().filter(|user| !earlier.includes(user));
        let removed = earlier.users().filter(|user| !self.includes(user));
        let added = added.map(|user| format!(" +{user}"));
        let removed = removed.map(|user| format!(" -{user}"));
        added.chain(removed).collect()
    }

    /// The owners in words, for a refusal: `alice, bob`.
    pub fn names(&self) -> String {
        let users = self.users.iter().map(|user| user.login.to_string());
        let teams = self.teams.iter().map(|team| team.name.to_string());
        users.chain(teams).collect::<Vec<_>>().join(", ")
    }
}

impl Owner {
    /// The user's login.
    pub fn login(&self) -> &Login {
        &self.0
    }
}

impl FromStr for Owner {
    type Err = OwnerFault;

    fn from_str(text: &str) -> Result<Self, OwnerFault> {
        if text.contains(':') {
            return Err(OwnerFault::TeamWithoutForge(super::excerpt(text)));
        }
        Ok(Self(text.parse()?))
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
