//! What is found out of somebody before they change something.
//!
//! That a token may write is two facts: what its owner may do, which is compared with the owners of the crate, and what
//! the token is limited to. The forge tells the second of an access token by its scopes or by the first step of a push.

use tracing::warn;

use super::gate::{Gate, GateFault, Guest, GuestProof, Has, Who, job_of, of_robot};
use crate::domain::{
    Actor, Can, Job, Owner, OwnerName, Owners, Person, PlainText, Proof, RepositoryPath, Secret,
    Standing, TeamName,
};
use crate::forge::{ForgeFault, Permission, Repository, Showing, TEAMS_ASKED_MAX, TokenInfo};

/// What Gitea says to a token that is limited so and asks for another thing.
const PUBLIC_ALONE: &str = "limited to public";

/// What somebody wants to change.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// How.
    pub can: Can,
    /// The owners of the crate, if it is there.
    pub owners: Option<&'a Owners>,
    /// Who may create it, if it is not there and the policy names them.
    pub creators: Option<&'a Owners>,
    /// Where its manifest says that its sources are. It grants nothing; a job is only looked for there.
    pub sources: Option<&'a RepositoryPath>,
}

impl Gate {
    /// All that decides whether the guest may do what they wish.
    pub async fn standing(&self, guest: &Guest, wish: &Wish<'_>) -> Result<Standing, GateFault> {
        match (&guest.who, &guest.proof) {
            (Who::Person(person), GuestProof::Shown(token)) => {
                self.of_shown_person(person, token, wish).await
            }
            (Who::Person(person), GuestProof::Signed { groups, .. }) => {
                let standing = Standing::of(Actor::Person(person.clone()), Proof::IdToken);
                self.of_unshown_person(person, standing, Some(groups), wish)
                    .await
            }
            (Who::Person(person), GuestProof::Minted(id)) => {
                let standing = Standing::of(Actor::Person(person.clone()), Proof::Token(*id));
                self.of_unshown_person(person, standing, None, wish).await
            }
            _ if wish.can != Can::Publish => Err(GateFault::JobsPublish),
            (Who::Job(job), GuestProof::Shown(token)) => {
                let seen = self
                    .forge
                    .repository_of_id(job.repository_id, Showing::Token(token));
                self.must_push(&hidden_or(seen.await)?, token).await?;
                self.of_job(job.clone(), &guest.proof, wish).await
            }
            (Who::Job(job), _) => self.of_job(job.clone(), &guest.proof, wish).await,
            (Who::Task(task), GuestProof::Shown(token)) => {
                let job = self.bind(*task, token, wish).await?;
                self.of_job(job, &guest.proof, wish).await
            }
            (Who::Task(_), _) => Err(GateFault::OtherRepository),
        }
    }

    async fn of_shown_person(
        &self,
        person: &Person,
        token: &Secret,
        wish: &Wish<'_>,
    ) -> Result<Standing, GateFault> {
        self.must_be_writing(token).await?;
        // Whoever was taken off the index does nothing more, whatever they own.
        self.must_read_by(token).await?;
        let mut standing = Standing::of(Actor::Person(person.clone()), Proof::ForgeToken);
        let Some(owners) = wish.owners.or(wish.creators) else {
            return Ok(standing);
        };
        if owners.admit(&standing, wish.can) {
            return Ok(standing);
        }
        standing.teams = self.teams_by(person, token, owners).await?;
        if !owners.admit(&standing, wish.can)
            && let Some(id) = owners.repository_id()
            && self.pushes_by(id, token).await?
        {
            standing.repositories = vec![id];
        }
        Ok(standing)
    }

    /// Somebody whose token cannot be shown to the forge; `groups` are those that it names, if it names any.
    async fn of_unshown_person(
        &self,
        person: &Person,
        mut standing: Standing,
        groups: Option<&Vec<PlainText>>,
        wish: &Wish<'_>,
    ) -> Result<Standing, GateFault> {
        // Whoever was taken off the index or is gone does nothing more, whatever they own.
        self.must_read_as(person).await?;
        let Some(owners) = wish.owners.or(wish.creators) else {
            return Ok(standing);
        };
        if owners.admit(&standing, wish.can) {
            return Ok(standing);
        }
        let robot = self.forge.robot_token().map_err(GateFault::Forge)?;
        // Names are changed and given away, so the number decides; those that the token names are only asked about first.
        let is_named = |name: &str| {
            let is_it = |group: &PlainText| group.as_str().eq_ignore_ascii_case(name);
            groups.is_none_or(|groups| groups.iter().any(is_it))
        };
        let mut teams: Vec<_> = owners.teams().collect();
        teams.sort_by_key(|(name, _)| !is_named(name));
        let ids: Vec<u64> = teams.into_iter().map(|(_, id)| id).collect();
        standing.teams = self.teams_as(person, &ids, &robot).await?;
        if !owners.admit(&standing, wish.can)
            && let Some(id) = owners.repository_id()
            && self.pushes(person, id, &robot).await?
        {
            standing.repositories = vec![id];
        }
        Ok(standing)
    }

    /// A job acts for its repository alone. A crate that is not there yet it may create if it may read the index.
    async fn of_job(
        &self,
        job: Job,
        proof: &GuestProof,
        wish: &Wish<'_>,
    ) -> Result<Standing, GateFault> {
        if wish.owners.is_none() {
            match proof {
                GuestProof::Shown(token) => self.must_read_by(token).await?,
                GuestProof::Signed { .. } | GuestProof::Minted(_) => self.jobs_must_read().await?,
            }
        }
        let proof = match proof {
            GuestProof::Shown(_) => Proof::ForgeToken,
            GuestProof::Signed { .. } => Proof::IdToken,
            GuestProof::Minted(id) => Proof::Token(*id),
        };
        let repositories = vec![job.repository_id];
        Ok(Standing {
            repositories,
            ..Standing::of(Actor::Job(Box::new(job)), proof)
        })
    }

    /// The job behind a token that does not tell its repository: only a job of that one may write there.
    async fn bind(&self, task: u64, token: &Secret, wish: &Wish<'_>) -> Result<Job, GateFault> {
        let showing = Showing::Token(token);
        let linked = wish.owners.and_then(Owners::repository_id);
        let seen = match (wish.owners, linked, wish.sources) {
            (Some(_), Some(id), _) => self.forge.repository_of_id(id, showing).await,
            (None, _, Some(path)) => self.forge.repository(path, showing).await,
            _ => return Err(GateFault::OtherRepository),
        };
        let seen = hidden_or(seen)?;
        self.must_push(&seen, token).await?;
        let run = self.forge.run_of_task(&seen.path, task, token).await;
        let run = run.map_err(|fault| match fault {
            ForgeFault::NotFound | ForgeFault::Forbidden(_) => GateFault::HiddenRun,
            fault => fault.into(),
        })?;
        job_of(seen.path, seen.id, &run)
    }

    /// Whether the owner of the token may push there, and the token too.
    async fn must_push(&self, seen: &Repository, token: &Secret) -> Result<(), GateFault> {
        if !seen.rights.push || seen.is_archived {
            return Err(GateFault::OtherRepository);
        }
        narrow_or(self.forge.may_token_write(&seen.path, token).await)
    }

    /// Whether the owner of the token may push to the repository of this number, and the token too.
    async fn pushes_by(&self, id: u64, token: &Secret) -> Result<bool, GateFault> {
        let seen = self.forge.repository_of_id(id, Showing::Token(token)).await;
        let pushes = match hidden_or(seen) {
            Ok(seen) => self.must_push(&seen, token).await,
            Err(fault) => Err(fault),
        };
        match pushes {
            Ok(()) => Ok(true),
            Err(fault @ GateFault::Forge(_)) => Err(fault),
            Err(_) => Ok(false),
        }
    }

    /// Whether the token may write anywhere, as its scopes say or the first step of a push to the index repository.
    async fn must_be_writing(&self, token: &Secret) -> Result<(), GateFault> {
        let kind = self.forge.kind().await.map_err(GateFault::Forge)?;
        let told = match kind.tells_scopes() {
            true => self.forge.token_info(token).await.ok(),
            false => None,
        };
        if told.as_ref().is_some_and(TokenInfo::may_write) {
            return Ok(());
        }
        let answer = self.forge.may_token_write(&self.index, token).await;
        if let Err(ForgeFault::Forbidden(_) | ForgeFault::NotFound) = answer {
            let seen = self.forge.repository(&self.index, Showing::Token(token));
            match seen.await {
                // That is no fault of the token.
                Ok(seen) if seen.is_archived => return Err(GateFault::Archived),
                Err(ForgeFault::Forbidden(words)) if words.contains(PUBLIC_ALONE) => {
                    return Err(GateFault::PublicOnly);
                }
                Err(ForgeFault::NotFound) if told.is_some_and(|it| it.is_for_public_alone()) => {
                    return Err(GateFault::PublicOnly);
                }
                Err(ForgeFault::NotFound) => return Err(GateFault::MayNotRead),
                _ => {}
            }
        }
        narrow_or(answer)
    }

    /// The teams of the crate that the owner of the token is in.
    async fn teams_by(
        &self,
        person: &Person,
        token: &Secret,
        owners: &Owners,
    ) -> Result<Vec<u64>, GateFault> {
        let ids: Vec<u64> = owners.team_ids().collect();
        if ids.is_empty() {
            return Ok(ids);
        }
        match self.forge.own_teams(token).await {
            Ok(own) => Ok(ids.into_iter().filter(|id| own.contains(id)).collect()),
            // A token without the scope for it: our own account may know.
            Err(ForgeFault::Forbidden(_)) => match self.forge.robot_token() {
                Ok(robot) => self.teams_as(person, &ids, &robot).await,
                Err(_) => Ok(Vec::new()),
            },
            Err(fault) => Err(fault.into()),
        }
    }

    /// The same, asked by our own account, which must be in the team or own the organisation: of another team it is
    /// told nothing.
    async fn teams_as(
        &self,
        person: &Person,
        ids: &[u64],
        robot: &Secret,
    ) -> Result<Vec<u64>, GateFault> {
        if ids.len() > TEAMS_ASKED_MAX {
            warn!(
                teams = ids.len(),
                login = %person.login,
                "of more than {TEAMS_ASKED_MAX} teams the forge is not asked who is in there"
            );
        }
        let mut found = Vec::new();
        for id in ids.iter().take(TEAMS_ASKED_MAX) {
            let asked = self.forge.is_member(*id, &person.login, person.id, robot);
            match asked.await {
                Ok(true) => found.push(*id),
                Ok(false) => {}
                Err(ForgeFault::Forbidden(words)) => {
                    warn!(
                        team.id = id,
                        words, "this server's own account is not told who is in a team"
                    );
                }
                Err(fault) => return Err(GateFault::Forge(of_robot(fault))),
            }
        }
        Ok(found)
    }

    /// Whether a person who shows no token may push, asked by our own account: it must administer the repository, and be
    /// told who is in the teams that may write there.
    async fn pushes(&self, person: &Person, id: u64, robot: &Secret) -> Result<bool, GateFault> {
        let seen = self.forge.repository_of_id(id, Showing::Token(robot)).await;
        let seen = match seen {
            Ok(seen) if seen.is_archived => return Ok(false),
            Ok(seen) => seen,
            Err(ForgeFault::Forbidden(_) | ForgeFault::NotFound) => return Ok(false),
            Err(fault) => return Err(GateFault::Forge(of_robot(fault))),
        };
        let has = self.has(person, &seen, Permission::Write, robot).await?;
        Ok(has == Has::Yes)
    }

    /// The named ones with the numbers that the forge has for them.
    pub async fn owners(
        &self,
        asking: Option<&Guest>,
        names: &[OwnerName],
    ) -> Result<Vec<Owner>, GateFault> {
        let token = match asking.map(|guest| &guest.proof) {
            Some(GuestProof::Shown(token)) => token.clone(),
            _ => self.forge.robot_token().map_err(GateFault::Forge)?,
        };
        let mut owners = Vec::with_capacity(names.len());
        for name in names {
            owners.push(match name {
                OwnerName::User(login) => self.user(login, &token).await?,
                OwnerName::Team(name) => self.team(name, &token).await?,
            });
        }
        Ok(owners)
    }

    async fn user(&self, login: &crate::domain::Login, token: &Secret) -> Result<Owner, GateFault> {
        match self.forge.user_named(login, Showing::Token(token)).await {
            // The forge shows organisations among its users.
            Ok(_) if self.forge.is_organisation(login, token).await? => {
                Err(GateFault::Organisation(login.clone()))
            }
            Ok(person) => Ok(Owner::User {
                login: person.login,
                id: Some(person.id),
            }),
            Err(ForgeFault::NotFound) => Err(GateFault::NoUser(login.clone())),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn team(&self, name: &TeamName, token: &Secret) -> Result<Owner, GateFault> {
        let found = self.forge.team(name.organisation(), name.team(), token);
        match found.await {
            Ok(team) => Ok(Owner::Team {
                name: name.clone(),
                id: team.id,
            }),
            Err(ForgeFault::NotFound | ForgeFault::Forbidden(_)) => {
                Err(GateFault::NoTeam(name.clone()))
            }
            Err(fault) => Err(fault.into()),
        }
    }
}

/// What is not shown to a token is another's.
fn hidden_or<T>(seen: Result<T, ForgeFault>) -> Result<T, GateFault> {
    seen.map_err(|fault| match fault {
        ForgeFault::NotFound | ForgeFault::Forbidden(_) => GateFault::OtherRepository,
        fault => fault.into(),
    })
}

fn narrow_or(answer: Result<(), ForgeFault>) -> Result<(), GateFault> {
    answer.map_err(|fault| match fault {
        ForgeFault::NotFound | ForgeFault::Forbidden(_) => GateFault::ReadOnly(fault),
        fault => fault.into(),
    })
}
