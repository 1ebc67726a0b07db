//! What somebody may do with the code of a repository who shows the forge no token: our own account asks.
//!
//! What the forge says of a person and a repository as a whole counts where it cannot come by a team, for there it says
//! too little or too much of the code; the rest is asked of the teams that have a right to the code.

use std::time::Duration;

use tokio::time::timeout;
use tracing::warn;

use super::{Gate, GateFault, of_robot};
use crate::domain::{Person, Secret, harmless};
use crate::forge::{ForgeFault, Permission, Repository, TEAMS_ASKED_MAX, Team};

/// For all questions about one person and one repository.
const ALL_TIME: Duration = Duration::from_secs(20);

/// How much of the names of teams the log repeats, in characters.
const NAMES_CHARS_MAX: usize = 300;

/// Whether somebody has a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::auth) enum Has {
    Yes,
    No,
    /// Our own account does not administer the repository, so it is not told.
    NotTold,
    /// It may come by a team, and our own account is not told who is in there.
    NotToldOfTeam,
}

/// What a question is about.
struct Question<'a> {
    person: &'a Person,
    /// As our own account sees it, under the name that it has now.
    repository: &'a Repository,
    wanted: Permission,
    robot: &'a Secret,
}

impl Gate {
    /// Whether a person has a right to the code of a repository, which is given as our own account sees it.
    pub(in crate::auth) async fn has(
        &self,
        person: &Person,
        repository: &Repository,
        wanted: Permission,
        robot: &Secret,
    ) -> Result<Has, GateFault> {
        let question = Question {
            person,
            repository,
            wanted,
            robot,
        };
        let answer = match timeout(ALL_TIME, self.find_right(&question)).await {
            Ok(answer) => answer,
            Err(_) => {
                let secs = ALL_TIME.as_secs();
                let late = format!("not all that matters was told within {secs} seconds");
                Err(ForgeFault::Unreachable(late))
            }
        };
        answer.map_err(|fault| GateFault::Forge(of_robot(fault)))
    }

    async fn find_right(&self, question: &Question<'_>) -> Result<Has, ForgeFault> {
        let Question {
            person,
            repository,
            wanted,
            robot,
        } = *question;
        let (path, login) = (&repository.path, &person.login);
        let asked = self.forge.permission_of(path, login, person.id, robot);
        let whole = match asked.await {
            Ok(Some(whole)) => whole,
            Ok(None) | Err(ForgeFault::NotFound) => return Ok(Has::No),
            Err(ForgeFault::Forbidden(_)) => return Ok(Has::NotTold),
            Err(fault) => return Err(fault),
        };
        // Who administers a repository and does not read its code is shown that it has none.
        if !repository.rights.pull {
            return Ok(Has::No);
        }
        if whole == Permission::Admin {
            return Ok(Has::Yes);
        }
        let is_enough = whole >= wanted;
        if is_enough {
            let is_for_all = wanted == Permission::Read && !repository.is_private;
            if is_for_all && self.is_seen_by_all().await {
                return Ok(Has::Yes);
            }
            if self.forge.is_collaborator(path, login, robot).await? {
                return Ok(Has::Yes);
            }
        }
        let Some(teams) = self.forge.teams_of_repository(path, robot).await? else {
            return Ok(if is_enough { Has::Yes } else { Has::No });
        };
        let is_open = !repository.is_private || repository.is_internal;
        let may_be_everybody = is_enough && wanted == Permission::Read && is_open;
        if may_be_everybody && self.is_everybody(question, &teams).await? {
            return Ok(Has::Yes);
        }
        match self.by_team(question, &teams).await? {
            Has::No if may_be_everybody => Ok(Has::NotToldOfTeam),
            by_team => Ok(by_team),
        }
    }

    /// Whether the right comes by a team. Who is in one that administers is known as an administrator.
    async fn by_team(&self, question: &Question<'_>, teams: &[Team]) -> Result<Has, ForgeFault> {
        let gives = |team: &&Team| team.gives(question.wanted);
        let teams: Vec<&Team> = teams.iter().filter(gives).collect();
        let is_in = self.is_in_one(question, &teams).await?;
        if is_in == Has::NotToldOfTeam {
            let names: Vec<&str> = teams.iter().map(|team| &*team.name).collect();
            let names = harmless(&names.join(", "), NAMES_CHARS_MAX);
            let repository = &question.repository.path;
            warn!(
                %repository,
                teams = names,
                "this server's own account is not told who is in all of the teams that a repository is open to"
            );
        }
        Ok(is_in)
    }

    /// Whether somebody whom the forge lets read surely does so as everybody does who is signed in, or in the
    /// organisation.
    ///
    /// Accounts that are restricted do not, which is told to administrators of the forge alone. Of those it says that
    /// they may read only if they are in a team whose rights it counts for the repository as a whole.
    async fn is_everybody(
        &self,
        question: &Question<'_>,
        teams: &[Team],
    ) -> Result<bool, ForgeFault> {
        let counts =
            |team: &&Team| team.code() < question.wanted && team.whole() >= question.wanted;
        let teams: Vec<&Team> = teams.iter().filter(counts).collect();
        Ok(self.is_in_one(question, &teams).await? == Has::No)
    }

    async fn is_in_one(&self, question: &Question<'_>, teams: &[&Team]) -> Result<Has, ForgeFault> {
        let (Person { login, id }, robot) = (question.person, question.robot);
        let mut is_hidden = teams.len() > TEAMS_ASKED_MAX;
        for team in teams.iter().take(TEAMS_ASKED_MAX) {
            match self.forge.is_member(team.id, login, *id, robot).await {
                Ok(true) => return Ok(Has::Yes),
                Ok(false) => {}
                Err(ForgeFault::Forbidden(_)) => is_hidden = true,
                Err(fault) => return Err(fault),
            }
        }
        if teams.is_empty() {
            return Ok(Has::No);
        }
        let organisation = question.repository.path.owner();
        // To whoever is not in the organisation, nobody is in a team.
        let mut is_known = self.forge.is_shown_teams(organisation, robot).await?;
        if is_known && is_hidden {
            // And who is not in it is in none of its teams.
            let asked = self.forge.is_in_organisation(organisation, login, robot);
            is_known = asked.await? == Some(false);
        }
        Ok(match is_known {
            true => Has::No,
            false => Has::NotToldOfTeam,
        })
    }
}
