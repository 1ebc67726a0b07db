//! Owners as `cargo owner` names them.

use std::fmt;
use std::str::FromStr;

use super::OwnerFault;
use crate::domain::text::{Login, PlainText};

/// One owner as `cargo owner` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerName {
    /// A person.
    User(Login),
    /// A team of the forge.
    Team(TeamName),
}

/// A team of the forge, `organisation:team`; the case does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamName {
    organisation: Login,
    team: Login,
}

impl TeamName {
    /// The organisation.
    pub fn organisation(&self) -> &Login {
        &self.organisation
    }

    /// The team's own name.
    pub fn team(&self) -> &str {
        self.team.as_str()
    }

    pub(super) fn plain(&self) -> PlainText {
        let text = self.to_string();
        text.parse().expect("two names are short, plain ASCII")
    }

    pub(super) fn is(&self, name: &PlainText) -> bool {
        self.to_string().eq_ignore_ascii_case(name.as_str())
    }
}

impl fmt::Display for TeamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.organisation, self.team)
    }
}

impl fmt::Display for OwnerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(login) => login.fmt(f),
            Self::Team(name) => name.fmt(f),
        }
    }
}

impl FromStr for OwnerName {
    type Err = OwnerFault;

    fn from_str(text: &str) -> Result<Self, OwnerFault> {
        let Some((organisation, team)) = text.split_once(':') else {
            return Ok(Self::User(text.parse()?));
        };
        match (organisation.parse(), team.parse()) {
            (Ok(organisation), Ok(team)) => Ok(Self::Team(TeamName { organisation, team })),
            _ => Err(OwnerFault::Team(crate::domain::excerpt(text))),
        }
    }
}
