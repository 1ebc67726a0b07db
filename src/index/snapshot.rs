//! The index at one commit, as readers need it: immutable, and cheap to derive the next one from.

use std::borrow::Cow;
use std::sync::Arc;

use crate::domain::{
    Cksum, CommitId, CrateName, CrateVersion, IndexFile, IndexLine, IndexPath, LineFault, Owners,
    VersionKey, Visibility,
};

use super::crates::Crates;
use super::object::Body;
use super::recent::Recent;
use super::registry_files::{CONFIG_JSON, RegistryFiles};

/// Everything that is served at one commit.
///
/// A clone shares all crates with the original, whatever their number.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(super) commit: CommitId,
    pub(super) crates: Crates,
    pub(super) registry: Arc<RegistryFiles>,
    pub(super) recent: Recent,
    pub(super) reworked: CommitId,
    pub(super) by_people: CommitId,
}

/// One crate of a snapshot.
#[derive(Debug, Clone)]
pub struct Crate {
    /// As its first publisher spelled it.
    pub name: CrateName,
    /// The bytes of its index file.
    pub body: Body,
    /// Who may publish it.
    pub owners: Arc<Owners>,
    /// At least one, in the order of [`VersionKey`].
    releases: Box<[Release]>,
}

/// One version of a crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Build metadata included.
    pub version: CrateVersion,
    /// SHA-256 of its `.crate` file.
    pub cksum: Cksum,
    /// Whether it is yanked.
    pub yanked: bool,
}

impl Snapshot {
    /// The commit that this is.
    pub fn commit(&self) -> CommitId {
        self.commit
    }

    /// The newest commit that was people's or gave a crate other owners; one from before this process began counts as
    /// that at which it began.
    ///
    /// What somebody proposes may be judged otherwise since then: other commits add and yank versions.
    pub fn reworked(&self) -> CommitId {
        self.reworked
    }

    /// The newest commit that was people's; counted as for [`Snapshot::reworked`].
    pub fn by_people(&self) -> CommitId {
        self.by_people
    }

    /// The crate that `name` or one of its twins by case or `-` and `_` denotes.
    pub fn find(&self, name: &CrateName) -> Option<&Arc<Crate>> {
        self.crates.get(name)
    }

    /// As [`Snapshot::file`], while this is who may read: `config.json` tells it before the index can.
    pub fn file_as(&self, path: &str, visibility: Visibility) -> Option<Cow<'_, Body>> {
        match path {
            CONFIG_JSON => Some(self.registry.config_json(visibility)),
            _ => self.file(path).map(Cow::Borrowed),
        }
    }

    /// The bytes of the index file at `path` as Cargo asks for it, `config.json` among them.
    pub fn file(&self, path: &str) -> Option<&Body> {
        if path == CONFIG_JSON {
            return Some(&self.registry.config_json);
        }
        let name = IndexPath::crate_at(path)?;
        let krate = self.find(&name)?;
        // A twin by `-` and `_` has another path.
        let is_here = krate.name.as_str().eq_ignore_ascii_case(name.as_str());
        is_here.then_some(&krate.body)
    }

    /// The crates that are new or changed since `earlier`, some perhaps more than once.
    ///
    /// `None` if that is not known: `earlier` is too old, or not of this history.
    pub fn changed_since(&self, earlier: CommitId) -> Option<impl Iterator<Item = &CrateName>> {
        let steps = match earlier == self.commit {
            true => 0,
            false => self.recent.steps_since(earlier)?,
        };
        Some(self.recent.crates(steps))
    }

    /// How many crates there are.
    pub fn crate_count(&self) -> usize {
        self.crates.len()
    }

    /// All crates, in no order.
    pub fn crates(&self) -> impl Iterator<Item = &Arc<Crate>> {
        self.crates.iter()
    }

    /// The files that are not about one crate.
    pub fn registry(&self) -> &RegistryFiles {
        &self.registry
    }
}

impl Crate {
    /// Reads an index file; `None` if it has no line.
    pub(super) fn read(
        bytes: &[u8],
        body: Body,
        owners: Arc<Owners>,
    ) -> Result<Option<Self>, LineFault> {
        let mut name = None;
        // As many as there are lines: there are many crates, and none has room for more than it needs.
        let mut releases = Vec::with_capacity(IndexFile::new(bytes).lines().count());
        for head in IndexFile::new(bytes).heads() {
            let head = head?;
            releases.push(Release {
                version: head.vers,
                cksum: head.cksum,
                yanked: head.yanked,
            });
            name = Some(head.name);
        }
        releases.sort_by(|a, b| a.version.cmp_precedence(&b.version));
        Ok(name.map(|name| Self {
            name,
            body,
            owners,
            releases: releases.into(),
        }))
    }

    /// A new crate with its first release.
    pub(super) fn new(line: &IndexLine, body: Body, owners: Arc<Owners>) -> Self {
        Self {
            name: line.name.clone(),
            body,
            owners,
            releases: [Release::of(line)].into(),
        }
    }

    /// A crate with the version 1.0.0, of which nothing counts but the name.
    #[cfg(test)]
    pub(crate) fn example(name: &str) -> Self {
        let line = IndexLine::new(
            name.parse().unwrap(),
            "1.0.0".parse().unwrap(),
            Vec::new(),
            crate::domain::Features::new(),
            Cksum::from([0; 32]),
            "2026-11-22T10:00:00Z".parse().unwrap(),
        );
        let owners = Owners::first("alice".parse().unwrap());
        Self::new(&line, Body::new(b"").unwrap(), Arc::new(owners))
    }

    /// A crate with these releases, as they were before; `None` if there are none.
    pub(super) fn again(
        name: CrateName,
        body: Body,
        owners: Arc<Owners>,
        releases: Box<[Release]>,
    ) -> Option<Self> {
        (!releases.is_empty()).then_some(Self {
            name,
            body,
            owners,
            releases,
        })
    }

    /// The versions, lowest first.
    pub fn releases(&self) -> &[Release] {
        &self.releases
    }

    /// The release with this version, build metadata left aside.
    pub fn release(&self, key: &VersionKey) -> Option<&Release> {
        let at = self.position(key).ok()?;
        self.releases.get(at)
    }

    /// The version to show people: the highest that is not yanked, ordinary ones before pre-releases.
    pub fn newest(&self) -> &Release {
        // Of several, the last, and so the highest.
        let rank = |release: &&Release| (!release.yanked, !release.version.is_prerelease());
        let newest = self.releases.iter().max_by_key(rank);
        newest.expect("a crate has a release from its first moment on")
    }

    /// Adds the release of a line.
    pub(super) fn add(&mut self, line: &IndexLine) {
        let at = self.position(&line.vers.key()).unwrap_or_else(|at| at);
        let mut releases = std::mem::take(&mut self.releases).into_vec();
        releases.insert(at, Release::of(line));
        self.releases = releases.into();
    }

    /// Yanks or unyanks a release.
    pub(super) fn set_yanked(&mut self, key: &VersionKey, yanked: bool) {
        if let Ok(at) = self.position(key) {
            self.releases[at].yanked = yanked;
        }
    }

    /// The crate with other owners.
    pub(super) fn with_owners(&self, owners: Arc<Owners>) -> Self {
        Self {
            owners,
            ..self.clone()
        }
    }

    fn position(&self, key: &VersionKey) -> Result<usize, usize> {
        self.releases
            .binary_search_by(|release| key.precedence_of(&release.version))
    }
}

impl Release {
    fn of(line: &IndexLine) -> Self {
        Self {
            version: line.vers.clone(),
            cksum: line.cksum,
            yanked: line.yanked,
        }
    }
}
