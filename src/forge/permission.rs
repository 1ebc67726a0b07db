//! What somebody may do with the code of a repository, and by which teams.

use std::collections::HashMap;

use serde::Deserialize;

/// The part of a repository that is its code, as both forges call it.
const CODE: &str = "repo.code";

/// A right, each with all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// None.
    None,
    /// To read.
    Read,
    /// To write.
    Write,
    /// To administer, as owners of organisations and repositories do too.
    Admin,
}

/// A team of an organisation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Team {
    /// Its number.
    pub id: u64,
    /// Its name, without the organisation's.
    pub name: String,
    /// What it may do with repositories as a whole. Unless it administers them, Gitea says `none` here, and Forgejo the
    /// least of the rights in `units_map`.
    #[serde(default)]
    permission: String,
    /// What it may do with each part of a repository.
    units_map: Option<HashMap<String, String>>,
    /// The parts of a repository that it may do something with.
    units: Option<Vec<String>>,
}

impl Permission {
    /// The one that a forge calls so; what it calls otherwise is none that we know of.
    pub(super) fn named(name: &str) -> Self {
        match name {
            "read" => Self::Read,
            "write" => Self::Write,
            "admin" | "owner" => Self::Admin,
            _ => Self::None,
        }
    }
}

impl Team {
    /// What its members may do with the code of the repositories that are open to it.
    pub fn code(&self) -> Permission {
        let whole = self.whole();
        match (&self.units_map, &self.units) {
            _ if whole == Permission::Admin => whole,
            (Some(units), _) => units
                .get(CODE)
                .map_or(Permission::None, |name| Permission::named(name)),
            // As older forges tell it.
            (None, Some(units)) if units.iter().any(|unit| unit == CODE) => whole,
            (None, _) => Permission::None,
        }
    }

    /// Whether its members have this right to the code by it, and are not known by it as administrators anyway.
    pub fn gives(&self, wanted: Permission) -> bool {
        (wanted..Permission::Admin).contains(&self.code())
    }

    /// What the forge says that they may do with a repository as a whole.
    pub fn whole(&self) -> Permission {
        Permission::named(&self.permission)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn team(told: Value) -> Team {
        let mut team = json!({ "id": 3, "name": "Platform" });
        let all = team.as_object_mut().unwrap();
        all.extend(told.as_object().unwrap().clone());
        serde_json::from_value(team).unwrap()
    }

    #[test]
    fn what_a_team_may_do_with_code_is_told_by_its_units() {
        use Permission::{Admin, None, Read, Write};
        for (told, code, whole) in [
            // Gitea.
            (
                json!({"permission": "none", "units": ["repo.code"], "units_map": {"repo.code": "write"}}),
                Write,
                None,
            ),
            (
                json!({"permission": "none", "units": null, "units_map": {}}),
                None,
                None,
            ),
            (
                json!({"permission": "none", "units_map": {"repo.code": "none", "repo.issues": "write"}}),
                None,
                None,
            ),
            (
                json!({"permission": "owner", "units_map": {"repo.code": "owner"}}),
                Admin,
                Admin,
            ),
            // Forgejo.
            (
                json!({"permission": "write", "units": ["repo.issues"], "units_map": {"repo.issues": "write"}}),
                None,
                Write,
            ),
            (
                json!({"permission": "read", "units_map": {"repo.code": "write", "repo.wiki": "read"}}),
                Write,
                Read,
            ),
            (
                json!({"permission": "admin", "units_map": {"repo.code": "admin"}}),
                Admin,
                Admin,
            ),
            // One that knows no map.
            (
                json!({"permission": "write", "units": ["repo.code", "repo.wiki"]}),
                Write,
                Write,
            ),
            (
                json!({"permission": "write", "units": ["repo.wiki"]}),
                None,
                Write,
            ),
            (json!({"permission": "read", "units": null}), None, Read),
            (json!({}), None, None),
        ] {
            let team = team(told);
            assert_eq!((team.code(), team.whole()), (code, whole), "{team:?}");
        }
    }
}
