//! Owners that leave: whom a name means.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::{Owner, OwnerFault, OwnerName, Owners};

/// An owner that shall leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaver {
    /// As `cargo owner` names it.
    pub name: OwnerName,
    /// Whom the name means.
    pub meant: Meant,
}

/// Whom the name of an owner means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant {
    /// Whoever is recorded under it: there is no forge.
    Recorded,
    /// The one that has it on the forge, by this number.
    Number(u64),
    /// Nobody that the forge knows, so the one that is recorded under it.
    Unknown,
}

impl Owners {
    /// The owners without `leavers`: each must be one, and one person must stay.
    pub fn without(&self, leavers: &[Leaver]) -> Result<Self, OwnerFault> {
        let mut owners = self.clone();
        for leaver in leavers {
            let name = &leaver.name;
            let gone = owners.numbers_of(leaver)?;
            let count = owners.users.len() + owners.teams.len();
            match name {
                OwnerName::User(login) => owners.users.retain(|user| match user.id {
                    Some(id) => !gone.contains(&id),
                    None => user.login != *login,
                }),
                OwnerName::Team(_) => owners.teams.retain(|team| !gone.contains(&team.id)),
            }
            if owners.users.len() + owners.teams.len() == count {
                return Err(OwnerFault::NotAnOwner(name.clone()));
            }
            if owners.users.is_empty() && matches!(name, OwnerName::User(_)) {
                return Err(OwnerFault::Last(name.clone()));
            }
        }
        Ok(owners)
    }

    /// Whether an owner is recorded under this name.
    pub fn records(&self, name: &OwnerName) -> bool {
        self.entries(name).any(|(is_called_so, _)| is_called_so)
    }

    /// The numbers of those whom the name means, whatever else they are called here.
    fn numbers_of(&self, leaver: &Leaver) -> Result<BTreeSet<u64>, OwnerFault> {
        let name = &leaver.name;
        let recorded = self.entries(name).filter(|(is_called_so, _)| *is_called_so);
        let recorded: BTreeSet<u64> = recorded.filter_map(|(_, id)| id).collect();
        match leaver.meant {
            Meant::Number(number) if self.entries(name).any(|(_, id)| id == Some(number)) => {
                Ok([number].into())
            }
            Meant::Number(number) if !recorded.is_empty() => Err(OwnerFault::NameOfAnother {
                name: name.clone(),
                number,
                recorded: in_words(&recorded),
            }),
            Meant::Unknown if recorded.len() > 1 => Err(OwnerFault::NameOfSeveral {
                name: name.clone(),
                recorded: in_words(&recorded),
            }),
            Meant::Recorded | Meant::Number(_) | Meant::Unknown => Ok(recorded),
        }
    }

    /// The owners of the kind that `name` is of: whether they are called so, and their numbers.
    fn entries(&self, name: &OwnerName) -> impl Iterator<Item = (bool, Option<u64>)> {
        let users = self.users.iter().filter_map(move |user| match name {
            OwnerName::User(login) => Some((user.login == *login, user.id)),
            OwnerName::Team(_) => None,
        });
        let teams = self.teams.iter().filter_map(move |team| match name {
            OwnerName::User(_) => None,
            OwnerName::Team(name) => Some((name.is(&team.name), Some(team.id))),
        });
        users.chain(teams)
    }
}

/// `number 3 and number 7`
fn in_words(numbers: &BTreeSet<u64>) -> String {
    let numbers: Vec<String> = numbers.iter().map(|id| format!("number {id}")).collect();
    numbers.join(" and ")
}

/// Where there is no forge.
impl FromStr for Leaver {
    type Err = OwnerFault;

    fn from_str(text: &str) -> Result<Self, OwnerFault> {
        // There are no teams.
        let _: Owner = text.parse()?;
        Ok(Self {
            name: text.parse()?,
            meant: Meant::Recorded,
        })
    }
}
