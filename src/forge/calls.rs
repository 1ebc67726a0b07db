//! The questions.

use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

use super::answers::{RawRepository, RawRun, RawStatuses, RawTask, RawTasks, RawToken, RawUser};
use super::client::Bytes;
use super::{Account, Forge, ForgeFault, PullRequest, Repository, Run, Said, Showing, TokenInfo};
use crate::domain::{CommitId, RepositoryPath, Secret, Visibility};

/// How many pages of a repository's jobs are looked through: one that runs is among the newest.
const TASK_PAGES_MAX: u32 = 10;

/// What is said of a commit.
#[derive(Debug, Serialize)]
pub struct Status<'a> {
    /// `success`, `failure` or `error`.
    pub state: &'a str,
    /// Who says it.
    pub context: &'a str,
    /// In words.
    pub description: &'a str,
}

const ADVERTISEMENT: &str = "application/x-git-receive-pack-advertisement";
const ADVERTISEMENT_START: &[u8] = b"001f# service=git-receive-pack";

impl Forge {
    /// Whose token it is. It must have the scope `read:user`, but for a job's.
    pub async fn account(&self, token: &Secret) -> Result<Account, ForgeFault> {
        let showing = Showing::Token(token);
        let user: RawUser = self.json("api/v1/user", showing).await?;
        user.account()
    }

    /// A repository, with what the one who asks may do there.
    pub async fn repository(
        &self,
        path: &RepositoryPath,
        showing: Showing<'_>,
    ) -> Result<Repository, ForgeFault> {
        let seen = self.of_name(path, showing).await?;
        match &self.index {
            Some(index) if index.path == *path => index.admit(seen)?.ok_or(ForgeFault::NotFound),
            _ => Ok(seen),
        }
    }

    async fn of_name(
        &self,
        path: &RepositoryPath,
        showing: Showing<'_>,
    ) -> Result<Repository, ForgeFault> {
        let path = format!("api/v1/repos/{path}");
        Ok(self.json::<RawRepository>(&path, showing).await?.into())
    }

    /// Whether another repository has taken the name of that of the index.
    pub async fn is_index_taken(&self) -> Result<bool, ForgeFault> {
        let Some(index) = &self.index else {
            return Ok(false);
        };
        let robot = self.robot_token()?;
        match self.of_name(&index.path, Showing::Token(&robot)).await {
            Ok(seen) => Ok(!index.is(&seen)),
            Err(ForgeFault::NotFound) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Hears that the branch of the index repository, as it was seen last, is that of the index.
    pub fn prove_index(&self) {
        if let Some(index) = &self.index {
            index.prove();
        }
    }

    /// The index repository as our own account sees it; `None` if another has taken its name.
    pub async fn own_index(&self, path: &RepositoryPath) -> Result<Option<Repository>, ForgeFault> {
        let robot = self.robot_token()?;
        let seen = self.of_name(path, Showing::Token(&robot)).await?;
        match &self.index {
            Some(index) if index.path == *path => index.admit(seen),
            _ => Ok(Some(seen)),
        }
    }

    /// The repository with this number, whatever it is called.
    pub async fn repository_of_id(
        &self,
        id: u64,
        showing: Showing<'_>,
    ) -> Result<Repository, ForgeFault> {
        let path = format!("api/v1/repositories/{id}");
        Ok(self.json::<RawRepository>(&path, showing).await?.into())
    }

    /// Who sees the repository: everybody does if a stranger is shown it and it is not private.
    pub async fn visibility(&self, path: &RepositoryPath) -> Result<Visibility, ForgeFault> {
        match self.repository(path, Showing::Nobody).await {
            Ok(seen) if !seen.is_private && seen.rights.pull => Ok(Visibility::Public),
            Ok(_)
            | Err(ForgeFault::NotFound | ForgeFault::Unauthenticated | ForgeFault::Forbidden(_)) => {
                Ok(Visibility::Private)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Whether the token's scopes let it write to the repository.
    ///
    /// This is the first step of a push, which changes nothing. It tells of the token alone: whether its owner may
    /// write there is in [`Repository::rights`], and only both together are a right.
    pub async fn may_token_write(
        &self,
        path: &RepositoryPath,
        token: &Secret,
    ) -> Result<(), ForgeFault> {
        let address = format!("{path}.git/info/refs?service=git-receive-pack");
        let first = Bytes::First(ADVERTISEMENT_START.len());
        let answer = self.get(&address, Showing::AsGit(token), first).await?;
        if answer.content_type == ADVERTISEMENT && answer.body.starts_with(ADVERTISEMENT_START) {
            return Ok(());
        }
        // So a page is shown to accounts that were blocked.
        Err(ForgeFault::Forbidden(
            "it shows a page for people; the account may be blocked".to_owned(),
        ))
    }

    /// What a token is limited to, if the forge is one that tells (see [`super::Kind::tells_scopes`]).
    pub async fn token_info(&self, token: &Secret) -> Result<TokenInfo, ForgeFault> {
        let showing = Showing::Token(token);
        let raw: RawToken = self.json("api/v1/token", showing).await?;
        Ok(TokenInfo { scopes: raw.scopes })
    }

    /// The run to which a job's token belongs, if the forge is one that tells (see [`super::Kind::tells_runs`]).
    pub async fn own_run(&self, token: &Secret) -> Result<(Repository, Run), ForgeFault> {
        let showing = Showing::Token(token);
        let run: RawRun = self.json("api/v1/actions/run", showing).await?;
        Ok(run.split())
    }

    /// The run to which a job belongs, by the list of the repository's jobs.
    pub async fn run_of_task(
        &self,
        repository: &RepositoryPath,
        task: u64,
        token: &Secret,
    ) -> Result<Run, ForgeFault> {
        let path = format!("api/v1/repos/{repository}/actions/tasks");
        let (mut found, mut pages) = (None, 0);
        let is_enough = |tasks: Vec<RawTask>| {
            found = tasks.into_iter().find(|entry| entry.id == task);
            pages += 1;
            found.is_some() || pages == TASK_PAGES_MAX
        };
        self.pages::<RawTasks, _>(&path, Showing::Token(token), is_enough)
            .await?;
        found.map(Run::from).ok_or(ForgeFault::NotFound)
    }

    /// Puts a status on a commit, as the server's own account. Its pages show it beside the commit, and a rule of
    /// protection can require it.
    pub async fn set_status(
        &self,
        path: &RepositoryPath,
        commit: CommitId,
        status: &Status<'_>,
    ) -> Result<(), ForgeFault> {
        let path = format!("api/v1/repos/{path}/statuses/{commit}");
        let robot = self.robot_token()?;
        let json = serde_json::to_vec(status).expect("a status is JSON");
        let answer = self
            .send_json(Method::POST, &path, Showing::Token(&robot), json)
            .await;
        answer.map(|_| ())
    }

    /// The open pull requests of a repository, without those of which the forge does not say what they bring: their
    /// branch may be gone. One that is too long to be told of is missing too, and the log says so.
    pub async fn open_pull_requests(
        &self,
        path: &RepositoryPath,
    ) -> Result<Vec<PullRequest>, ForgeFault> {
        let path = format!("api/v1/repos/{path}/pulls?state=open");
        let robot = self.robot_token()?;
        let showing = Showing::Token(&robot);
        let all: Vec<Value> = self.list_of_readable(&path, showing).await?;
        let known = |open| serde_json::from_value(open).ok();
        Ok(all.into_iter().filter_map(known).collect())
    }

    /// What was said last of a commit under the name `context`: by whom does not matter to a rule of protection.
    pub async fn said(
        &self,
        path: &RepositoryPath,
        commit: CommitId,
        context: &str,
    ) -> Result<Option<Said>, ForgeFault> {
        let path = format!("api/v1/repos/{path}/commits/{commit}/status");
        let robot = self.robot_token()?;
        let said: RawStatuses = self.json(&path, Showing::Token(&robot)).await?;
        let mut all = said.statuses.into_iter().flatten();
        Ok(all.find(|said| said.context == context))
    }

    pub(super) async fn json<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        showing: Showing<'_>,
    ) -> Result<T, ForgeFault> {
        self.get(path, showing, Bytes::All).await?.json()
    }
}
