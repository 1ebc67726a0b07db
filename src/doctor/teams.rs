//! Whether the server can find out what people who sign in may do: who reads the index, and who pushes where the sources
//! of crates are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::forge::Examined;
use super::owners::listed;
use super::{Finding, Verdict, WORDS_MAX, find};
use crate::domain::{RepositoryPath, Secret, harmless};
use crate::forge::{ForgeFault, Permission, Showing, TEAMS_ASKED_MAX};
use crate::index::{Crate, Snapshot};

/// The most repositories of crates that are looked at.
const REPOSITORIES_MAX: usize = 20;

/// What was looked at.
#[derive(Default)]
struct Looked {
    /// Repositories that the robot does not administer.
    foreign: Vec<String>,
    /// Repositories with more teams than are asked about.
    crowded: Vec<String>,
    /// Teams by which people have a right to code.
    teams: BTreeMap<u64, String>,
}

impl Examined<'_> {
    /// Whether the server's own account is told who has a right by a team, or pushes to a repository that crates are
    /// linked to; nothing if there is neither.
    pub(super) async fn rights(&self, snapshot: &Snapshot, robot: &Secret) -> Option<Finding> {
        let what = "rights by teams";
        let mut looked = Looked::default();
        match self.look_at_all(snapshot, robot, &mut looked).await {
            Ok(()) => {}
            Err(fault) => return Some(find(what, Err(fault.to_string()))),
        }
        let hidden = match self.hidden_teams(&looked.teams, robot).await {
            Ok(hidden) => hidden,
            Err(fault) => return Some(find(what, Err(fault.to_string()))),
        };
        let verdict = match looked.lacking(&hidden) {
            Some(mend) => self.of_those_who_sign_in(mend),
            None if looked.teams.is_empty() => return None,
            None => Verdict::Good(format!(
                "the robot is told who has one ({} of {} teams)",
                looked.teams.len().min(TEAMS_ASKED_MAX),
                looked.teams.len()
            )),
        };
        Some(Finding { what, verdict })
    }

    async fn look_at_all(
        &self,
        snapshot: &Snapshot,
        robot: &Secret,
        looked: &mut Looked,
    ) -> Result<(), ForgeFault> {
        let showing = Showing::Token(robot);
        let path = &self.settings.repository;
        let index = self.forge.repository(path, showing).await?;
        if index.is_private {
            let right = Permission::Read;
            self.look_at(&index.path, right, robot, looked).await?;
        }
        let linked = |krate: &Arc<Crate>| krate.owners.repository_id();
        let linked: BTreeSet<u64> = snapshot.crates().filter_map(linked).collect();
        for id in linked.into_iter().take(REPOSITORIES_MAX) {
            let seen = match self
                .forge
                .look(&format!("/repositories/{id}"), showing)
                .await
            {
                Ok(Some(seen)) if seen["permissions"]["admin"] == true => seen,
                Ok(seen) => {
                    looked.foreign.push(called(seen.as_ref(), id));
                    continue;
                }
                Err(ForgeFault::Forbidden(_)) => {
                    looked.foreign.push(called(None, id));
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            if let Ok(path) = called(Some(&seen), id).parse() {
                let right = Permission::Write;
                self.look_at(&path, right, robot, looked).await?;
            }
        }
        Ok(())
    }

    async fn look_at(
        &self,
        path: &RepositoryPath,
        right: Permission,
        robot: &Secret,
        looked: &mut Looked,
    ) -> Result<(), ForgeFault> {
        let Some(mut teams) = self.forge.teams_of_repository(path, robot).await? else {
            return Ok(());
        };
        teams.retain(|team| team.gives(right));
        if teams.len() > TEAMS_ASKED_MAX {
            looked.crowded.push(path.to_string());
        }
        let known = teams.into_iter().map(|team| (team.id, team.name));
        looked.teams.extend(known);
        Ok(())
    }

    fn of_those_who_sign_in(&self, mend: String) -> Verdict {
        match &self.settings.client_id {
            Some(_) => Verdict::Mend(format!(
                "{mend}; until then people who sign in and have a right only so are refused"
            )),
            None => Verdict::Unknown(format!(
                "{mend}; people come in with access tokens that show their rights"
            )),
        }
    }
}

impl Looked {
    /// What the robot lacks and how it gets it.
    fn lacking(&self, hidden: &[String]) -> Option<String> {
        let mut parts = Vec::new();
        if !hidden.is_empty() {
            parts.push(format!(
                "the robot is not told who is in {}, which have a right to the code of the index or of a crate: take it into each of these teams, and give its token the scope `read:organization`",
                listed(hidden)
            ));
        }
        if !self.foreign.is_empty() {
            parts.push(format!(
                "the robot is not told who pushes to {}: let it administer what crates are linked to (a collaborator with `admin`)",
                listed(&self.foreign)
            ));
        }
        if !self.crowded.is_empty() {
            parts.push(format!(
                "more than {TEAMS_ASKED_MAX} teams have a right to the code of {}, of which only so many are asked: let there be fewer",
                listed(&self.crowded)
            ));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// The name of a repository, or its number if it is not shown.
fn called(seen: Option<&Value>, id: u64) -> String {
    match seen.and_then(|seen| seen["full_name"].as_str()) {
        Some(name) => harmless(name, WORDS_MAX),
        None => format!("number {id}"),
    }
}
