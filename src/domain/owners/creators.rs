//! Who may create crates: named as the owners of one are.

use serde::Deserialize;

use super::{Owners, User};
use crate::domain::text::Login;

/// Who may publish under a name that no crate has yet.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Written")]
pub enum Creators {
    /// Everybody whose token may publish.
    Everyone,
    /// Whoever these would let publish, if they were the owners.
    These(Owners),
}

/// The value as it is written.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "`create` is neither \"everyone\" nor a list of user names nor a table with `users`, `teams` and `repository` as a file of owners has them"
)]
enum Written {
    Word(Everyone),
    Names(Vec<Login>),
    Owners(Owners),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Everyone {
    Everyone,
}

impl From<Written> for Creators {
    fn from(written: Written) -> Self {
        match written {
            Written::Word(Everyone::Everyone) => Self::Everyone,
            Written::Owners(owners) => Self::These(owners),
            Written::Names(names) => {
                let users = names.into_iter().map(|login| User { login, id: None });
                Self::These(Owners {
                    users: users.collect(),
                    ..Owners::default()
                })
            }
        }
    }
}

impl Creators {
    /// Those who are named, unless everybody may.
    pub fn named(&self) -> Option<&Owners> {
        match self {
            Self::Everyone => None,
            Self::These(owners) => Some(owners),
        }
    }
}
