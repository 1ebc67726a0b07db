//! The questions about people and their teams: who is in one, and what somebody may do who shows no token.

use serde::de::IgnoredAny;

use super::answers::{RawRight, RawUser};
use super::client::Bytes;
use super::{Account, Forge, ForgeFault, Permission, Showing, Team};
use crate::domain::{Called, Login, OwnerName, Person, RepositoryPath, Secret};

/// Of how many teams of one repository or crate it is asked who is in there, one question each.
pub const TEAMS_ASKED_MAX: usize = 50;
/// What both forges say of the teams of a repository that belongs to an account.
const NO_ORGANISATION: &str = "not owned by an organization";

impl Forge {
    /// The account of this name.
    pub async fn user_named(
        &self,
        login: &Login,
        showing: Showing<'_>,
    ) -> Result<Person, ForgeFault> {
        let path = format!("api/v1/users/{login}");
        let user: RawUser = self.json(&path, showing).await?;
        match user.account()? {
            Account::Person { login, id } => Ok(Person { login, id }),
            Account::Job { .. } => Err(ForgeFault::NotFound),
        }
    }

    /// The number that the forge has now for whatever is called so, asked by our own account; `None` if there is nothing
    /// of that name, or it is not shown.
    pub async fn number_of(&self, called: &Called) -> Result<Option<u64>, ForgeFault> {
        let robot = self.robot_token()?;
        let showing = Showing::Token(&robot);
        let number = match called {
            Called::User(login) => self.number_of_user(login, showing).await,
            Called::Team(name) => match name.as_str().parse() {
                Ok(OwnerName::Team(name)) => {
                    let team = self.team(name.organisation(), name.team(), &robot).await;
                    team.map(|team| team.id)
                }
                _ => return Ok(None),
            },
            Called::Repository(name) => match name.as_str().parse() {
                Ok(path) => self.repository(&path, showing).await.map(|seen| seen.id),
                Err(_) => return Ok(None),
            },
        };
        match number {
            Ok(number) => Ok(Some(number)),
            Err(ForgeFault::NotFound | ForgeFault::Forbidden(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn number_of_user(&self, login: &Login, showing: Showing<'_>) -> Result<u64, ForgeFault> {
        let named = match self.user_named(login, showing).await {
            // The token lacks the scope for it, and most forges show accounts to everybody.
            Err(ForgeFault::Forbidden(_)) => match self.user_named(login, Showing::Nobody).await {
                Err(ForgeFault::Unauthenticated) => Err(ForgeFault::NotFound),
                named => named,
            },
            named => named,
        };
        named.map(|person| person.id)
    }

    /// Whether an account is an organisation, as far as the token, or else our own, may ask that.
    pub async fn is_organisation(&self, login: &Login, token: &Secret) -> Result<bool, ForgeFault> {
        let path = format!("api/v1/orgs/{login}");
        for token in [token, &self.robot_token()?] {
            match self.json::<IgnoredAny>(&path, Showing::Token(token)).await {
                Ok(_) => return Ok(true),
                Err(ForgeFault::NotFound) => return Ok(false),
                Err(ForgeFault::Forbidden(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(false)
    }

    /// The team of an organisation with this name, in whatever case.
    pub async fn team(
        &self,
        organisation: &Login,
        name: &str,
        token: &Secret,
    ) -> Result<Team, ForgeFault> {
        let path = format!("api/v1/orgs/{organisation}/teams");
        let teams: Vec<Team> = self.list(&path, Showing::Token(token)).await?;
        let mut teams = teams.into_iter();
        let found = teams.find(|team| team.name.eq_ignore_ascii_case(name));
        found.ok_or(ForgeFault::NotFound)
    }

    /// The numbers of the teams that the owner of the token is in.
    pub async fn own_teams(&self, token: &Secret) -> Result<Vec<u64>, ForgeFault> {
        let showing = Showing::Token(token);
        let teams: Vec<Team> = self.list("api/v1/user/teams", showing).await?;
        Ok(teams.iter().map(|team| team.id).collect())
    }

    /// Whether an account is in a team, asked by another that is in the organisation.
    pub async fn is_member(
        &self,
        team: u64,
        login: &Login,
        id: u64,
        token: &Secret,
    ) -> Result<bool, ForgeFault> {
        let path = format!("api/v1/teams/{team}/members/{login}");
        match self.json::<RawUser>(&path, Showing::Token(token)).await {
            Ok(member) => Ok(member.person_id() == Some(id)),
            Err(ForgeFault::NotFound) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// What an account may do in a repository, asked by another that administers it; `None` if the name is another's by
    /// now, or the account is blocked.
    ///
    /// This is of the repository as a whole. What it says of `read` and `write` is not what a member of a team may do
    /// with the code: Gitea says nothing of teams here that do not administer, and Forgejo says the least of all the
    /// rights that a team has, be they on issues alone.
    pub async fn permission_of(
        &self,
        path: &RepositoryPath,
        login: &Login,
        id: u64,
        token: &Secret,
    ) -> Result<Option<Permission>, ForgeFault> {
        let path = format!("api/v1/repos/{path}/collaborators/{login}/permission");
        let right: RawRight = self.json(&path, Showing::Token(token)).await?;
        let is_them = right.user.person_id() == Some(id) && !right.user.is_blocked;
        Ok(is_them.then(|| Permission::named(&right.permission)))
    }

    /// Whether an account is a collaborator of a repository, by no team.
    pub async fn is_collaborator(
        &self,
        path: &RepositoryPath,
        login: &Login,
        token: &Secret,
    ) -> Result<bool, ForgeFault> {
        let path = format!("api/v1/repos/{path}/collaborators/{login}");
        self.is_there(&path, token).await
    }

    /// The teams that a repository is open to; `None` if it belongs to no organisation.
    pub async fn teams_of_repository(
        &self,
        path: &RepositoryPath,
        token: &Secret,
    ) -> Result<Option<Vec<Team>>, ForgeFault> {
        let path = format!("api/v1/repos/{path}/teams");
        let showing = Showing::Token(token);
        let answer = match self.get(&path, showing, Bytes::All).await {
            Ok(answer) => answer,
            Err(ForgeFault::NotFit(words)) if words.contains(NO_ORGANISATION) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        // Both forges give all at once, and then do not say how many that is.
        let teams: Vec<Team> = answer.json()?;
        match answer.total {
            Some(total) if total > teams.len() => self.list(&path, showing).await.map(Some),
            _ => Ok(Some(teams)),
        }
    }

    /// Whether an account is in an organisation; `None` if the one who asks is not, and so is not told.
    pub async fn is_in_organisation(
        &self,
        organisation: &str,
        login: &Login,
        token: &Secret,
    ) -> Result<Option<bool>, ForgeFault> {
        let path = format!("api/v1/orgs/{organisation}/members/{login}");
        told_or(self.is_there(&path, token).await)
    }

    /// Whether the teams of an organisation are shown to the one who asks, as they are to whoever is in it.
    pub async fn is_shown_teams(
        &self,
        organisation: &str,
        token: &Secret,
    ) -> Result<bool, ForgeFault> {
        let path = format!("api/v1/orgs/{organisation}/teams?limit=1");
        let is_there = told_or(self.is_there(&path, token).await)?;
        Ok(is_there == Some(true))
    }

    async fn is_there(&self, path: &str, token: &Secret) -> Result<bool, ForgeFault> {
        match self.get(path, Showing::Token(token), Bytes::All).await {
            Ok(_) => Ok(true),
            Err(ForgeFault::NotFound) => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}

/// What is refused is not told.
fn told_or(answer: Result<bool, ForgeFault>) -> Result<Option<bool>, ForgeFault> {
    match answer {
        Ok(is_so) => Ok(Some(is_so)),
        Err(ForgeFault::Forbidden(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}
