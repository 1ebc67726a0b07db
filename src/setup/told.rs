//! What setting up tells: each step, and why it stopped.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::domain::{Login, RepositoryPath};
use crate::forge::ForgeFault;

/// What became of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub(super) what: String,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    IsSo,
    /// It is about to be done.
    Next,
    Done,
    WouldBe,
}

/// The repository was not set up; what was done before stays, and it can be run again.
#[derive(Debug, Error)]
pub enum SetupFault {
    /// The forge did not do what was asked.
    #[error("the forge was asked to `{call}`")]
    Forge {
        /// The call of its API.
        call: String,
        /// What came of it.
        #[source]
        fault: ForgeFault,
    },
    /// There is no such account.
    #[error(
        "there is no account `{0}` on the forge, or its profile is hidden, so that nobody can be told from an organisation; show it, or make an ordinary one for the server (a forge's administrator can: Site administration, User accounts), and run this again"
    )]
    NoRobot(Login),
    /// It is no account but an organisation.
    #[error(
        "`{0}` is an organisation, which can be no account of the server; name an ordinary account with `--robot`, and run this again"
    )]
    RobotIsOrganisation(Login),
    /// There is no such team.
    #[error("the organisation `{owner}` has no team `{team}` that this token may see")]
    NoTeam {
        /// The organisation.
        owner: String,
        /// The team.
        team: String,
    },
    /// The team cannot do what it is named for.
    #[error(
        "the members of the team `{team}` of `{owner}` could not approve and merge, for they lack the right {right}; give the team that right (the organisation's page, Teams, Settings), or name another with `--reviewers`"
    )]
    TeamMayNot {
        /// The organisation.
        owner: String,
        /// The team.
        team: String,
        /// What it lacks.
        right: &'static str,
    },
    /// The account was made a collaborator, and may not write all the same.
    #[error(
        "the forge took `{robot}` as a collaborator of `{repository}`, but says that it may not write there; look at the collaborators and teams in the settings of the repository, and at whether the account is active or restricted"
    )]
    RobotMayNot {
        /// The account of the server.
        robot: Login,
        /// The index repository.
        repository: RepositoryPath,
    },
    /// Several teams review, and there can be one.
    #[error("several teams may merge to `main`: {0}; name the one that shall with `--reviewers`")]
    ManyTeams(String),
    /// The repository is in use for something else.
    #[error(
        "the repository `{0}` holds something else than an index (there is no `registry.toml` on its branch `main`); name one that is empty or not there yet"
    )]
    NoIndex(RepositoryPath),
    /// The owner is neither an organisation nor the token's own account.
    #[error(
        "there is no repository `{0}`, and this token can make one only for its own account or its organisations"
    )]
    NotOurs(RepositoryPath),
    /// The settings are not what was sent.
    #[error(
        "the forge took the settings of the repository, but they are still otherwise than they must be: {0}; look at its settings there, and whether the forge has switched off for all repositories what is lacking (`DISABLED_REPO_UNITS`)"
    )]
    NotKept(String),
    /// It is not made public.
    #[error(
        "the forge does not let the repository `{0}` become public ({1}); leave `--public` out, and the registry is private, or let the forge's administrator make it public (whether others may is `FORCE_PRIVATE` in the section `[repository]` of its settings)"
    )]
    StaysPrivate(RepositoryPath, String),
    /// The rule is not what was sent.
    #[error(
        "the forge took the protection of `main`, but it is still otherwise than it must be: {0}; look at its branch protection in the settings of the repository"
    )]
    Unprotected(String),
    /// The secret proves nothing.
    #[error(
        "the secret of the webhook in `{}` is empty or too short, so that it proves nothing; remove the file, and run this again to have another made", .0.display()
    )]
    ShortSecret(PathBuf),
    /// The secret.
    #[error("the secret of the webhook, `{}`, cannot be read or made", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Step {
    /// Whether it changed something, or would.
    pub fn is_change(&self) -> bool {
        self.outcome != Outcome::IsSo
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.outcome {
            Outcome::IsSo => "as it was  ",
            Outcome::Next => "next       ",
            Outcome::Done => "done       ",
            Outcome::WouldBe => "would be   ",
        };
        write!(f, "{sign}{}", self.what)
    }
}

/// A step for which nothing was to be done.
pub(super) fn is_so(what: &str) -> Step {
    Step {
        what: what.to_owned(),
        outcome: Outcome::IsSo,
    }
}
