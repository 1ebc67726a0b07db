//! What can happen to the index, judged and applied without touching anything: the pure core of the writer.

mod publish;

use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;

use crate::domain::{
    Actor, Can, CrateName, CrateVersion, IndexFile, IndexLine, IndexPath, Leaver, LineFault, Owner,
    OwnerFault, Owners, PlainText, Policy, Proof, Reserved, Standing, TokenId,
};

use super::dependencies::MissingDependency;
use super::edit::{Edit, Verdict};
use super::message::Message;
use super::object::Collision;
use super::operator::OperationFault;
use super::snapshot::{Crate, Release, Snapshot};

use self::publish::FILE_BYTES_MAX;

/// What somebody in a team is told who signed in, and so shows the forge nothing.
const LOOKED_UP: &str = "; who signs in is found in a team only if the registry's own account at the forge is in it too (`sidecargo doctor` looks)";
/// The same of those who push to the repository of the crate.
const LOOKED_UP_AS_PUSHER: &str = "; who signs in is found among those who push to a repository only if the registry's own account at the forge administers it, and who does so by a team only if it is in that team too (`sidecargo doctor` looks)";

/// A change that somebody asks for.
#[derive(Debug, Clone)]
pub struct Change {
    /// What shall happen.
    pub action: Action,
    /// Who asks, and what was proved of them.
    pub by: Standing,
    /// The id of the request, as the log has it.
    pub request_id: PlainText,
    /// When it was asked.
    pub at: Timestamp,
}

/// The kinds of change.
#[derive(Debug, Clone)]
pub enum Action {
    /// A new version.
    Publish {
        /// Its line.
        line: Box<IndexLine>,
        /// The commit of its sources, if the upload names one.
        source_commit: Option<PlainText>,
        /// The policy by which its manifest was judged.
        policy: Arc<Policy>,
    },
    /// A version is yanked, or no longer.
    Yank {
        /// The crate.
        name: CrateName,
        /// The version; build metadata may be left out.
        version: CrateVersion,
        /// Whether it shall be yanked.
        yanked: bool,
    },
    /// Owners are added.
    AddOwners {
        /// The crate.
        name: CrateName,
        /// The new owners.
        owners: Vec<Owner>,
    },
    /// Owners are removed.
    RemoveOwners {
        /// The crate.
        name: CrateName,
        /// The owners that leave.
        owners: Vec<Leaver>,
    },
}

impl Action {
    /// The crate that it is about.
    pub fn krate(&self) -> &CrateName {
        match self {
            Self::Publish { line, .. } => &line.name,
            Self::Yank { name, .. }
            | Self::AddOwners { name, .. }
            | Self::RemoveOwners { name, .. } => name,
        }
    }
}

/// Why a change may not happen: nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// There is no such crate.
    #[error("there is no crate `{0}` in this registry")]
    NoSuchCrate(CrateName),
    /// There is no such version.
    #[error("the crate `{name}` has no version `{version}`")]
    NoSuchVersion {
        /// The crate.
        name: CrateName,
        /// The version that was named.
        version: CrateVersion,
    },
    /// The version is there, with these very bytes.
    #[error("crate version `{name} {version}` is already uploaded with this same checksum")]
    SameVersion {
        /// The crate.
        name: CrateName,
        /// The version that is there.
        version: CrateVersion,
    },
    /// The version is there with other bytes, perhaps with other build metadata.
    #[error(
        "crate version `{name} {version}` is already uploaded; a version cannot be changed, and build metadata does not make another, so publish under a new number"
    )]
    VersionTaken {
        /// The crate.
        name: CrateName,
        /// The version that is there.
        version: CrateVersion,
    },
    /// A crate with a twin name is there.
    #[error("the crate `{wanted}` exists under the spelling `{existing}`; use that name")]
    SpelledOtherwise {
        /// The name that was asked for.
        wanted: CrateName,
        /// The name that is taken.
        existing: CrateName,
    },
    /// Nobody may take this name.
    #[error("the name `{name}` {why}; choose another")]
    ReservedName {
        /// The name.
        name: CrateName,
        /// By whom it is reserved.
        why: Reserved,
    },
    /// The policy keeps this name.
    #[error("the name `{0}` is reserved by the policy of this registry; choose another")]
    ReservedByPolicy(CrateName),
    /// The caller may not create crates.
    #[error("the policy of this registry does not let `{who}` create crates; who may: {creators}")]
    MayNotCreate {
        /// The caller.
        who: String,
        /// Who could.
        creators: String,
    },
    /// The token is no longer good.
    #[error("the token {0} was revoked; get a new one")]
    Revoked(TokenId),
    /// The manifest was judged by rules that no longer hold.
    #[error("the policy of this registry changed while this was uploaded; publish it again")]
    PolicyChanged,
    /// The caller does not own the crate.
    #[error("`{who}` is not an owner of the crate `{name}`; its owners are {owners}")]
    NotAnOwner {
        /// The caller.
        who: String,
        /// The crate.
        name: CrateName,
        /// Who could.
        owners: String,
    },
    /// The version needs a crate of this registry that is not there.
    #[error(transparent)]
    Dependency(#[from] MissingDependency),
    /// The owners cannot be changed so.
    #[error(transparent)]
    Owners(#[from] OwnerFault),
    /// Git could not tell the new file from another.
    #[error(transparent)]
    Collision(#[from] Collision),
    /// The operator's change cannot be.
    #[error(transparent)]
    Operation(#[from] OperationFault),
    /// The crate has too many versions.
    #[error(
        "the crate `{0}` has so many versions that its index file would pass {FILE_BYTES_MAX} bytes"
    )]
    FileTooLarge(CrateName),
    /// The file in the index is broken.
    #[error("the index file of the crate `{name}` cannot be read: {fault}")]
    BrokenFile {
        /// The crate.
        name: CrateName,
        /// What is wrong.
        fault: String,
    },
}

impl Refusal {
    /// Whether it is about who asks, not about what they ask for.
    pub fn is_of_rights(&self) -> bool {
        matches!(self, Self::NotAnOwner { .. } | Self::MayNotCreate { .. })
    }
}

impl Change {
    /// Judges the change on a snapshot.
    pub(super) fn judge(&self, on: &Snapshot) -> Result<Verdict, Refusal> {
        self.token_must_be_good(on)?;
        match &self.action {
            Action::Publish {
                line,
                source_commit,
                policy,
            } => self.publish(on, line, source_commit.as_ref(), policy),
            Action::Yank {
                name,
                version,
                yanked,
            } => self.yank(on, name, version, *yanked),
            Action::AddOwners { name, owners } => {
                self.own(on, name, |current| current.with(owners))
            }
            Action::RemoveOwners { name, owners } => {
                self.own(on, name, |current| current.without(owners))
            }
        }
    }

    /// All that is against the change, without applying it; the first is what the writer would refuse.
    pub fn refusals(&self, on: &Snapshot) -> Vec<Refusal> {
        match &self.action {
            Action::Publish { line, policy, .. } => self.against_publish(on, line, policy),
            _ => self.judge(on).err().into_iter().collect(),
        }
    }

    /// It was when the request came, which may be long ago: an upload takes its time.
    fn token_must_be_good(&self, on: &Snapshot) -> Result<(), Refusal> {
        match self.by.proof {
            Proof::Token(id) if on.registry().revoked.contains(&id) => Err(Refusal::Revoked(id)),
            _ => Ok(()),
        }
    }

    fn yank(
        &self,
        on: &Snapshot,
        name: &CrateName,
        version: &CrateVersion,
        yanked: bool,
    ) -> Result<Verdict, Refusal> {
        let krate = on
            .find(name)
            .ok_or_else(|| Refusal::NoSuchCrate(name.clone()))?;
        self.must_be_admitted(krate, Can::Yank)?;
        let no_such_version = || Refusal::NoSuchVersion {
            name: krate.name.clone(),
            version: version.clone(),
        };
        let key = version.key();
        let is_meant = |release: &&Release| !version.has_build() || release.version == *version;
        let release = krate.release(&key).filter(is_meant);
        let release = release.ok_or_else(no_such_version)?;
        if release.yanked == yanked {
            return Ok(Verdict::Unchanged);
        }
        let before = krate.body.inflate();
        let bytes = IndexFile::new(&before)
            .with_yanked(&key, yanked)
            .map_err(|fault| broken(krate, &fault))?
            .ok_or_else(no_such_version)?;
        let verb = if yanked { "yank" } else { "unyank" };
        let message = Message::new(format!("{verb} {} {}", krate.name, release.version))
            .with("Crate", plain(&krate.name))
            .with("Version", plain(&release.version));
        let edit = self.edit(message).with(IndexPath::of(&krate.name), bytes)?;
        Ok(Verdict::Edit(Box::new(edit)))
    }

    fn own(
        &self,
        on: &Snapshot,
        name: &CrateName,
        apply: impl FnOnce(&Owners) -> Result<Owners, OwnerFault>,
    ) -> Result<Verdict, Refusal> {
        let krate = on
            .find(name)
            .ok_or_else(|| Refusal::NoSuchCrate(name.clone()))?;
        self.must_be_admitted(krate, Can::Own)?;
        let owners = apply(&krate.owners)?;
        if owners == *krate.owners {
            return Ok(Verdict::Unchanged);
        }
        let difference = owners.difference(&krate.owners);
        let message = Message::new(format!("own {}{difference}", krate.name))
            .with("Crate", plain(&krate.name));
        let edit = self
            .edit(message)
            .with_owners(&IndexPath::of(&krate.name), &owners)?;
        Ok(Verdict::Edit(Box::new(edit)))
    }

    fn must_be_admitted(&self, krate: &Crate, can: Can) -> Result<(), Refusal> {
        if krate.owners.admit(&self.by, can) {
            return Ok(());
        }
        let name = krate.name.clone();
        let (who, mut owners) = self.in_words(&krate.owners, can);
        owners += &self.way_in(krate, can);
        Err(Refusal::NotAnOwner { who, name, owners })
    }

    /// How what no request can change is changed in the index.
    fn way_in(&self, krate: &Crate, can: Can) -> String {
        let file = IndexPath::of(&krate.name).owners_file();
        match &self.by.actor {
            Actor::Job(job) => format!(
                "; its jobs publish this crate once a pull request on the index has put `repository = {{ name = \"{}\", id = {} }}` into `{file}`",
                job.repository, job.repository_id
            ),
            _ if can == Can::Own && krate.owners.users().next().is_none() => format!(
                "; only people who are named there change owners: name some by a pull request on the index, in `{file}`, as `users = [{{ login = \"alice\", id = 7 }}]`"
            ),
            _ => String::new(),
        }
    }

    /// The caller, and who they are not.
    fn in_words(&self, owners: &Owners, can: Can) -> (String, String) {
        let (who, mut names) = match &self.by.actor {
            // The name is there, and it is not theirs.
            Actor::Person(person) if owners.includes(&person.login) => {
                let who = format!("{} (number {})", person.login, person.id);
                (who, owners.numbered())
            }
            actor => (actor.name().to_string(), owners.names()),
        };
        let shows_nothing = self.by.proof != Proof::ForgeToken;
        if let Actor::Person(_) = self.by.actor
            && shows_nothing
            && can != Can::Own
        {
            if owners.teams().next().is_some() {
                names += LOOKED_UP;
            }
            if owners.repository_id().is_some() {
                names += LOOKED_UP_AS_PUSHER;
            }
        }
        if names.is_empty() {
            names += "nobody";
        }
        (who, names)
    }

    fn edit(&self, message: Message) -> Edit {
        Edit::of_actor(&self.by.actor, self.signed_off(message))
    }

    /// The message with what every change of somebody says of itself.
    pub(super) fn signed_off(&self, message: Message) -> Message {
        let mut message = message.with("Authenticated-via", self.by.authenticated_via());
        if let Actor::Job(job) = &self.by.actor {
            message = message
                .with("CI-workflow", job.workflow.clone())
                .with("CI-run", job.run.clone())
                .with("CI-commit", job.commit.clone());
        }
        message.with("Request-id", self.request_id.clone())
    }
}

fn broken(krate: &Crate, fault: &LineFault) -> Refusal {
    Refusal::BrokenFile {
        name: krate.name.clone(),
        fault: fault.to_string(),
    }
}

/// A value whose type admits only what a trailer may hold.
fn plain(value: &impl ToString) -> PlainText {
    value
        .to_string()
        .parse()
        .expect("names, versions, checksums and logins are short, plain ASCII")
}
