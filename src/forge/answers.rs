//! What the forge says, as far as we look.

use serde::Deserialize;

use super::ForgeFault;
use crate::domain::{CommitId, Login, RepositoryPath};

/// The number by which both forges mean a job of their CI where they mean a user.
const JOB_USER: i64 = -2;

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// A person's, or that of an account that a program uses like one.
    Person {
        /// The name at this moment.
        login: Login,
        /// The number, which is never given to another.
        id: u64,
    },
    /// A job's of the forge's CI.
    Job {
        /// Its number, if the forge tells.
        task: Option<u64>,
    },
}

/// What an account may do with the code of a repository; what its token is limited to does not count here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct Rights {
    /// Reading.
    pub pull: bool,
    /// Writing.
    pub push: bool,
}

/// A repository, as the one who asks sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its number, which is never given to another.
    pub id: u64,
    /// Its name at this moment.
    pub path: RepositoryPath,
    /// Whether only those see it who are let in, or who are in its organisation.
    pub is_private: bool,
    /// Whether, of these, all see it who are in its organisation.
    pub is_internal: bool,
    /// Whether it is closed for writing.
    pub is_archived: bool,
    /// What the one who asks may do.
    pub rights: Rights,
}

/// A run of the forge's CI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The file of the workflow.
    pub workflow: String,
    /// The run's number.
    pub number: u64,
    /// The commit that it works on.
    pub commit: String,
    /// What it was started by.
    pub event: String,
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PullRequest {
    /// Its number in its repository.
    pub number: u64,
    /// What it brings.
    pub head: Side,
    /// Where to.
    pub base: Side,
}

/// One of both sides of a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Side {
    /// The branch.
    #[serde(rename = "ref")]
    pub name: String,
    /// Its newest commit.
    pub sha: CommitId,
}

/// What somebody said of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Said {
    /// Under which name.
    pub context: String,
    /// Such as `success`.
    #[serde(rename = "status")]
    pub state: String,
    /// In words.
    #[serde(default)]
    pub description: String,
}

/// What Gitea since 1.27 says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// What it is limited to.
    pub scopes: Vec<String>,
}

impl TokenInfo {
    /// Whether it may write to every repository that its owner may write to.
    pub fn may_write(&self) -> bool {
        let has = |wanted: &str| self.scopes.iter().any(|scope| scope == wanted);
        (has("write:repository") || has("all")) && !self.is_for_public_alone()
    }

    /// Whether it is limited to what everybody sees.
    pub fn is_for_public_alone(&self) -> bool {
        self.scopes.iter().any(|scope| scope == "public-only")
    }
}

#[derive(Deserialize)]
pub(super) struct RawUser {
    id: i64,
    login: String,
    #[serde(default)]
    login_name: String,
    /// Told to administrators of the forge alone.
    #[serde(default, rename = "prohibit_login")]
    pub(super) is_blocked: bool,
}

#[derive(Deserialize)]
pub(super) struct RawRepository {
    id: u64,
    full_name: RepositoryPath,
    private: bool,
    #[serde(default)]
    internal: bool,
    archived: bool,
    #[serde(default)]
    permissions: Rights,
}

#[derive(Deserialize)]
pub(super) struct RawRight {
    pub(super) permission: String,
    pub(super) user: RawUser,
}

#[derive(Deserialize)]
pub(super) struct RawToken {
    pub(super) scopes: Vec<String>,
}

/// Forgejo's run, with the repository that it belongs to.
#[derive(Deserialize)]
pub(super) struct RawRun {
    #[serde(rename = "index_in_repo")]
    number: u64,
    pub(super) repository: RawRepository,
    workflow_id: String,
    commit_sha: String,
    event: String,
    #[serde(default)]
    trigger_event: String,
    #[serde(default)]
    is_fork_pull_request: bool,
}

/// What is said of a commit, by all.
#[derive(Deserialize)]
pub(super) struct RawStatuses {
    pub(super) statuses: Option<Vec<Said>>,
}

#[derive(Deserialize)]
pub(super) struct RawTasks {
    workflow_runs: Vec<RawTask>,
}

impl From<RawTasks> for Vec<RawTask> {
    fn from(raw: RawTasks) -> Self {
        raw.workflow_runs
    }
}

#[derive(Deserialize)]
pub(super) struct RawTask {
    pub(super) id: u64,
    run_number: u64,
    event: String,
    workflow_id: String,
    head_sha: String,
}

impl RawUser {
    /// A person's number, if it is one.
    pub(super) fn person_id(&self) -> Option<u64> {
        u64::try_from(self.id).ok().filter(|id| *id > 0)
    }

    pub(super) fn account(self) -> Result<Account, ForgeFault> {
        if let Some(id) = self.person_id() {
            let login = self.login.parse();
            let odd = |fault| ForgeFault::Odd(format!("the name of the account: {fault}"));
            return Ok(Account::Person {
                login: login.map_err(odd)?,
                id,
            });
        }
        if self.id == JOB_USER {
            let task = self.login_name.rsplit_once('/');
            return Ok(Account::Job {
                task: task.and_then(|(_, number)| number.parse().ok()),
            });
        }
        let reason = "the token is no person's and no job's".to_owned();
        Err(ForgeFault::Forbidden(reason))
    }
}

impl From<RawRepository> for Repository {
    fn from(raw: RawRepository) -> Self {
        Self {
            id: raw.id,
            path: raw.full_name,
            is_private: raw.private || raw.internal,
            is_internal: raw.internal && !raw.private,
            is_archived: raw.archived,
            rights: raw.permissions,
        }
    }
}

impl From<RawTask> for Run {
    fn from(raw: RawTask) -> Self {
        Self {
            workflow: raw.workflow_id,
            number: raw.run_number,
            commit: raw.head_sha,
            event: raw.event,
        }
    }
}

impl RawRun {
    /// The repository and the run, whose event is the one that tells a pull request.
    pub(super) fn split(self) -> (Repository, Run) {
        let is_for_pull_request =
            self.is_fork_pull_request || self.trigger_event.starts_with("pull_request");
        let run = Run {
            workflow: self.workflow_id,
            number: self.number,
            commit: self.commit_sha,
            event: match is_for_pull_request {
                true => "pull_request".to_owned(),
                false => self.event,
            },
        };
        (self.repository.into(), run)
    }
}
