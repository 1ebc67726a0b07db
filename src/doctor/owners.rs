//! Whether the forge knows the owners of the crates, and tells this server what it must know of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::forge::{Examined, Seen};
use super::{Finding, Verdict, WORDS_MAX, find};
use crate::app::Data;
use crate::domain::{Named, Owners, Secret, first_of, harmless};
use crate::forge::{ForgeFault, Showing, TEAMS_ASKED_MAX};
use crate::index::{Crate, Snapshot};

/// How many crates and teams are named.
const NAMED_MAX: usize = 5;
/// Of how many owners the forge is asked whether they have their numbers.
const NUMBERS_ASKED_MAX: usize = 200;

impl Examined<'_> {
    /// The crates as they are served.
    pub(super) fn snapshot(&self) -> Result<Arc<Snapshot>, String> {
        let place = Data::new(self.data).existing_place();
        let place = place.map_err(|fault| fault.to_string())?;
        place.snapshot().map_err(|fault| fault.to_string())
    }

    /// Whether each crate has an owner with a number, by which alone a forge's people are known.
    pub(super) fn numbered(&self, snapshot: &Snapshot) -> Seen {
        let by_name = |krate: &&Arc<Crate>| krate.owners.are_names_alone();
        let by_name = snapshot.crates().filter(by_name);
        let mut names: Vec<String> = by_name.map(|krate| krate.name.to_string()).collect();
        names.sort_unstable();
        let creators = snapshot.registry().policy.create.named();
        if let Some(creators) = creators.filter(|it| it.are_names_alone() && it.users().count() > 0)
        {
            return Err(format!(
                "`create` of `policy.toml` names {}, so nobody of the forge may create crates: write their numbers too, as in `create = {{ users = [{{ login = \"alice\", id = 7 }}] }}`",
                creators.numbered()
            ));
        }
        match names.is_empty() {
            true => Ok(format!("{} crates", snapshot.crate_count())),
            false => Err(format!(
                "the owners of {} have no numbers, so nobody of the forge may publish there, and only tokens that this registry made: write them into `owners/` of the index by a pull request, as in `{{ login = \"alice\", id = 7 }}` ({}/api/v1/users/alice tells it)",
                listed(&names),
                self.settings.url
            )),
        }
    }

    /// Whether each owner with a number is the one who is called so: the number decides, and people read the name;
    /// nothing if there are none.
    pub(super) async fn names(&self, snapshot: &Snapshot) -> Option<Finding> {
        let what = "names of those who own";
        let numbered = |(Named { called, id }, file)| Some((called, id?, file));
        let all = snapshot.named_owners(None).into_iter();
        let all: Vec<_> = all.filter_map(numbered).collect();
        if all.is_empty() {
            return None;
        }
        let asked = all.len().min(NUMBERS_ASKED_MAX);
        let (mut strayed, mut hidden) = (Vec::new(), 0);
        for (called, id, file) in &all[..asked] {
            match self.forge.number_of(called).await {
                Ok(Some(number)) if number == *id => {}
                Ok(Some(number)) => {
                    let name = harmless(&called.to_string(), WORDS_MAX);
                    strayed.push(format!(
                        "{name} in {file}, who is number {number} and not {id}"
                    ));
                }
                Ok(None) => hidden += 1,
                Err(fault) => return Some(find(what, Err(fault.to_string()))),
            }
        }
        let seen = match strayed.is_empty() {
            true => Ok(format!(
                "{} of {} have the numbers that stand beside them, and {hidden} the forge does not have or does not show",
                asked - hidden,
                all.len()
            )),
            false => Err(format!(
                "another has the number that stands beside {}; the number decides: if it is the right one, write the name that belongs to it, and else take it out, by a pull request",
                listed(&strayed)
            )),
        };
        Some(find(what, seen))
    }

    /// Whether the server's own account is told who is in the teams that own crates; nothing if there are none.
    pub(super) async fn teams(&self, snapshot: &Snapshot, robot: &Secret) -> Option<Finding> {
        let creators = snapshot.registry().policy.create.named().into_iter();
        let all = snapshot
            .crates()
            .map(|krate| &*krate.owners)
            .chain(creators);
        let all = all.flat_map(Owners::teams);
        let teams: BTreeMap<u64, &str> = all.map(|(name, id)| (id, name)).collect();
        let what = "teams of owners";
        let hidden = match self.hidden_teams(&teams, robot).await {
            Ok(hidden) => hidden,
            Err(fault) => return Some(find(what, Err(fault.to_string()))),
        };
        let verdict = match hidden.is_empty() {
            true if teams.is_empty() => return None,
            true => Verdict::Good(format!(
                "the robot is told who is in them ({} of {})",
                teams.len().min(TEAMS_ASKED_MAX),
                teams.len()
            )),
            false => self.hidden(&listed(&hidden)),
        };
        Some(Finding { what, verdict })
    }

    /// The teams of which the server's own account is not told who is in there, as people are to read of them.
    pub(super) async fn hidden_teams(
        &self,
        teams: &BTreeMap<u64, impl AsRef<str>>,
        robot: &Secret,
    ) -> Result<Vec<String>, ForgeFault> {
        let mut hidden = Vec::new();
        for (id, name) in teams.iter().take(TEAMS_ASKED_MAX) {
            let path = format!("/teams/{id}");
            match self.forge.look(&path, Showing::Token(robot)).await {
                Ok(Some(_)) => {}
                Ok(None) | Err(ForgeFault::Forbidden(_)) => {
                    let name = harmless(name.as_ref(), WORDS_MAX);
                    hidden.push(format!("{name} (number {id})"));
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(hidden)
    }

    fn hidden(&self, teams: &str) -> Verdict {
        let mend = format!(
            "the robot is not told who is in {teams}: take it into each of these teams, and give its token the scope `read:organization`; one that is gone can be taken off by `cargo owner --remove`"
        );
        match &self.settings.client_id {
            Some(_) => Verdict::Mend(format!("{mend}; their members who sign in are refused")),
            None => Verdict::Unknown(format!(
                "{mend}; their members come in with access tokens that tell their teams"
            )),
        }
    }
}

/// The first few, and how many more there are.
pub(super) fn listed(names: &[String]) -> String {
    first_of(names.iter().map(|name| format!("`{name}`")), NAMED_MAX)
}
