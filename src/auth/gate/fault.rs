//! Why somebody with a token of the forge is turned away.

use thiserror::Error;

use super::IdTokenFault;
use crate::domain::{Login, RepositoryPath, TeamName, TextFault};
use crate::forge::ForgeFault;

/// Why somebody with a token of the forge is turned away.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GateFault {
    /// The forge cannot be asked now.
    #[error("{0}; it decides who may do this, so try again later")]
    Forge(ForgeFault),
    /// The forge does not know the token.
    #[error("{}", ForgeFault::Unauthenticated)]
    Unknown,
    /// Not a good token of those that it signs.
    #[error(transparent)]
    IdToken(#[from] IdTokenFault),
    /// The forge knows the token and refuses.
    #[error("{}", ForgeFault::Forbidden(.0.clone()))]
    Refused(String),
    /// The index repository is not shown to it.
    #[error(
        "this token may not read the index repository of this registry on the forge; it needs the scope `read:repository` and no limit to what is public (`public-only`), and its owner the right to read there"
    )]
    MayNotRead,
    /// Somebody who may read by a team, perhaps.
    #[error(
        "whether you may read this registry is not known: it may be by a team, and the forge does not tell the registry's own account who is in all of the teams that may; its operator finds them by `sidecargo doctor`, and an access token of yours needs none of that"
    )]
    HiddenTeam,
    /// Somebody whom the forge does not show.
    #[error(
        "the forge does not show the account `{0}` to the registry's own account: it is gone or was renamed, or its profile is hidden; show the profile (`limited` suffices), or use an access token, which does not need that"
    )]
    HiddenPerson(Login),
    /// A job, which cannot be asked about.
    #[error(
        "an id-token of a job does not read a private registry; use the job's token, or one of this registry"
    )]
    JobMayNotRead,
    /// The token does not tell whose it is.
    #[error(
        "the token does not tell whose it is, give it the scope `read:user` too; the forge says: {0}"
    )]
    NoName(String),
    /// The token may only read.
    #[error(
        "this token may not write on the forge, so it may change nothing here; give it the scope `write:repository` ({0})"
    )]
    ReadOnly(ForgeFault),
    /// The token is limited to what everybody sees.
    #[error(
        "this token is limited to what is public on the forge (`public-only`), and the index repository of this registry is not; make one without that limit"
    )]
    PublicOnly,
    /// Nobody may write.
    #[error(
        "the index repository is archived on the forge, so nothing is written; whoever administers it can take that back"
    )]
    Archived,
    /// A job whose repository is not known, or not this crate's.
    #[error(
        "a job may publish a crate of the repository that it runs for, with a token that may write there; a new crate must name that repository in its Cargo.toml, as `package.repository`, and one that is there in its file below `owners/` of the index, as `repository = {{ name = \"alice/greeter\", id = 12 }}`, which a pull request there sets"
    )]
    OtherRepository,
    /// A job of which the forge tells only that it is one, as Forgejo before 16 and Gitea before 1.26 do.
    #[error(
        "the forge does not tell which job this token belongs to; publish with an id-token of the job, as the workflow `publish-id-token.yml` does, or with a token of this registry"
    )]
    NamelessJob,
    /// The repository of a job whose id-token does not tell its number, as that of Forgejo before 16.
    #[error(
        "the id-token does not tell the number of the repository `{0}`, and the forge does not show that to the registry's own account; whoever administers the repository can give that account the right to read it"
    )]
    HiddenRepository(RepositoryPath),
    /// A job that does not show its run, which tells whether it is of a pull request.
    #[error(
        "the token of this job may not read the runs of its repository, which tell what the job was started by; give the job the permission `actions: read` too"
    )]
    HiddenRun,
    /// A job whose workflow has a name that no commit can say.
    #[error(
        "the workflow of this job has a name that the commits of the index cannot say: {0}; give its file another name"
    )]
    OddWorkflow(TextFault),
    /// Jobs do nothing else.
    #[error("a job of the forge's CI may publish, and nothing else")]
    JobsPublish,
    /// There is nobody of that name.
    #[error("the forge has no user `{0}`, or does not show them")]
    NoUser(Login),
    /// Owners are accounts and teams.
    #[error("`{0}` is an organisation; name one of its teams, as in `{0}:developers`")]
    Organisation(Login),
    /// There is no such team.
    #[error(
        "the forge has no team `{0}`, or does not show it: a token needs the scope `read:organization`, and its owner must be in the organisation"
    )]
    NoTeam(TeamName),
    /// Too many unknown tokens.
    #[error(
        "too many unknown tokens came from this address; the next is looked at in {wait_secs} seconds"
    )]
    TooMany {
        /// How long to wait.
        wait_secs: u64,
    },
}

impl GateFault {
    /// Whether the forge cannot be asked at all, whoever wants to know what. What is odd about one answer says nothing
    /// of the others: it may be about the very token that was shown.
    pub(super) fn is_away(&self) -> bool {
        matches!(self, Self::Forge(fault) if fault.is_away())
    }
}

impl From<ForgeFault> for GateFault {
    fn from(fault: ForgeFault) -> Self {
        match fault {
            ForgeFault::Unauthenticated => Self::Unknown,
            ForgeFault::Forbidden(words) => Self::Refused(words),
            fault => Self::Forge(fault),
        }
    }
}
