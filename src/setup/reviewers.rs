//! The team that approves and merges.

use reqwest::Method;
use serde_json::Value;

use super::told::is_so;
use super::{Owner, Plan, SetupFault, Step};
use crate::domain::Visibility;

/// What the members of a team, as the forge shows it, lack to approve and to merge, in words; nothing if they may.
///
/// A forge counts the approval of whoever is on the list, and then merges for nobody who may not write.
pub fn lacking(team: &Value, seen_by: Visibility) -> Option<&'static str> {
    let may = |unit: &str, rights: &[&str]| {
        let right = team["units_map"][unit].as_str();
        right.is_some_and(|right| rights.contains(&right))
    };
    if !may("repo.code", &["write", "admin", "owner"]) {
        return Some("to write code");
    }
    let sees =
        seen_by == Visibility::Public || may("repo.pulls", &["read", "write", "admin", "owner"]);
    (!sees).then_some("to read pull requests")
}

/// The team with this name, in whatever case.
pub fn team_named<'json>(teams: &'json Value, name: &str) -> Option<&'json Value> {
    let is_it = |team: &&Value| {
        let found = team["name"].as_str();
        found.is_some_and(|found| found.eq_ignore_ascii_case(name))
    };
    teams.as_array()?.iter().find(is_it)
}

impl Plan {
    /// Whether there is such a team, whose members can do what they are named for.
    pub(super) async fn reviewers_must_be_able(&self, forge: &Owner) -> Result<(), SetupFault> {
        let Some(team) = &self.reviewers else {
            return Ok(());
        };
        let owner = self.repository.owner();
        let teams = forge.read_list(&format!("/orgs/{owner}/teams")).await?;
        let named = || (owner.to_owned(), team.clone());
        let Some(found) = teams.as_ref().and_then(|teams| team_named(teams, team)) else {
            let (owner, team) = named();
            return Err(SetupFault::NoTeam { owner, team });
        };
        let seen_by = match self.is_private {
            true => Visibility::Private,
            false => Visibility::Public,
        };
        match lacking(found, seen_by) {
            None => Ok(()),
            Some(right) => {
                let (owner, team) = named();
                Err(SetupFault::TeamMayNot { owner, team, right })
            }
        }
    }

    /// Opens the repository to the team.
    pub(super) async fn reviewers_see_it(
        &self,
        forge: &Owner,
        found: &Value,
        tell: &mut dyn FnMut(&Step),
    ) -> Result<(), SetupFault> {
        let Some(team) = &self.reviewers else {
            return Ok(());
        };
        let what = format!("the team `{team}` has it");
        let path = self.api(&format!("/teams/{team}"));
        if !found.is_null() && forge.read(&path).await?.is_some() {
            tell(&is_so(&what));
            return Ok(());
        }
        let call = (Method::PUT, &*path, Value::Null);
        self.change(forge, &what, call, tell).await.map(drop)
    }
}
