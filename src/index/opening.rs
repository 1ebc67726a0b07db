//! Why an index cannot be opened.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::domain::{RegistryName, StoreId};

use super::history::HistoryFault;
use super::load::LoadFault;
use super::mend::MendFault;
use super::refs;
use super::signature::KeyFault;
use super::template::InitFault;
use super::upstream::{ARRIVED, NotPushed, UpstreamFault};

/// The index cannot be opened.
#[derive(Debug, Error)]
pub enum OpenFault {
    /// The signing key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// There was no repository and none could be made.
    #[error(transparent)]
    Init(#[from] InitFault),
    /// The repository cannot be served.
    #[error(transparent)]
    Load(#[from] LoadFault),
    /// Files of the repository are damaged.
    #[error(transparent)]
    Mend(#[from] MendFault),
    /// The branch has a history that no index has.
    #[error(transparent)]
    History(HistoryFault),
    /// A file of the repository cannot be read or written.
    #[error("the index repository {} cannot be opened", git_dir.display())]
    Io {
        /// The repository.
        git_dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The repository has no branch.
    #[error("the index repository {} has no commit on {}", .0.display(), refs::TIP)]
    NoTip(PathBuf),
    /// The configured name is not that of the registry in the folder.
    #[error("`name` is `{configured}`, but the registry in this folder is called `{found}`")]
    Name {
        /// What the configuration says.
        configured: RegistryName,
        /// What the repository says.
        found: RegistryName,
    },
    /// The blob store belongs to another registry.
    #[error(
        "the blob store has the id {found} in its file `store-id`, but the index belongs to the store {expected}"
    )]
    Store {
        /// The store that was opened.
        found: StoreId,
        /// The store that the repository names.
        expected: StoreId,
    },
    /// The signing key is not one that the repository trusts.
    #[error(
        "the signing key {} is not listed in `allowed_signers` of the index; bring the right one back from a backup (its folder `keys`)", .0.display()
    )]
    ForeignKey(PathBuf),
    /// There is no copy of the forge's branch here yet, and none can be had.
    #[error("the index was not fetched from the forge")]
    Upstream(#[from] UpstreamFault),
    /// The repository on the forge is empty, and does not take a first commit.
    #[error("the empty repository on the forge did not get its first commit")]
    Found(#[from] NotPushed),
    /// The repository here is another than that of the forge.
    #[error(
        "the index repository {} has a history of its own, which is not that of the forge; push its branch to the empty repository there, or move it away to begin with the forge's", .0.display()
    )]
    NotEmpty(PathBuf),
    /// The branch on the forge is something else.
    #[error("the branch on the forge is no index; use an empty repository, without a README")]
    NotAnIndex(#[source] LoadFault),
    /// The repository here follows a forge.
    #[error(
        "the index repository {} follows a branch on a forge: start the server, which does it, with the forge in its configuration (`forge.url`, `forge.repository`); for a registry that has left its forge for good, run `git --git-dir {} update-ref -d {ARRIVED}` first", .0.display(), .0.display()
    )]
    FollowsForge(PathBuf),
    /// The system gives no random bytes.
    #[error("no secret for downloads was made")]
    Random(#[source] io::Error),
    /// The commit for other settings was not written.
    #[error("the new settings were not written to the index: {0}")]
    Configure(String),
}
