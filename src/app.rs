//! A registry that is open: its data folder locked, its index loaded, its keys read.

mod asked;
mod caller;
mod data;
mod forge;

pub use asked::Asked;
pub use caller::{Caller, Visitor};
pub(crate) use data::Data;
use data::{Lock, cure};

use std::env;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use prometheus::IntCounterVec;
use thiserror::Error;
use tokio::sync::Semaphore;
use tracing::warn;

use crate::auth::{
    self, AuthFault, Gate, GateFault, Issuer, KeySearch, Spent, TokenFault, TokenKeys, Verifier,
    Wish,
};
use crate::blobs::Blobs;
use crate::catalog::Catalog;
use crate::config::{Config, FetchConfig};
use crate::domain::{
    Actor, Grant, OwnUrls, Proof, PublicUrl, Standing, StoreId, TokenId, Visibility,
};
use crate::fetch::{self, Fetches};
use crate::index::{Branch, Index, OpenFault, Settings, Snapshot};
use crate::measure;
use crate::probe::Probe;
use crate::rates::Rates;
use crate::review::Reviews;
use crate::tokens::TokenRecords;
use crate::visibility::Watch;

/// As many as are written together; the runtime has twice as many threads for work that waits.
const KEEPERS_MAX: usize = 256;
/// How long a command waits for a server that is just making the registry.
const FOUNDING_WAIT: Duration = Duration::from_secs(10);
/// How long a server waits for the folder: a command that makes the registry soon lets go of it.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// How often they look.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What can become of an upload of a version.
pub const PUBLISH_OUTCOMES: [&str; 8] = [
    "published",
    "there_already",
    "refused",
    "too_often",
    "broken",
    "failed",
    "unknown",
    "abandoned",
];

/// Everything that a request may need.
pub struct App {
    /// The settings.
    pub config: Config,
    /// Where people reach the server.
    pub public_url: PublicUrl,
    /// The index and its writer.
    pub index: Index,
    /// The `.crate` files.
    pub blobs: Arc<Blobs>,
    /// What people look crates up by.
    pub catalog: Arc<Catalog>,
    /// Who may enter.
    pub verifier: Verifier,
    /// What finds the keys that other servers have made.
    key_search: KeySearch,
    /// Who else may, if there is a forge that knows them.
    pub gate: Option<Arc<Gate>>,
    /// Tokens that are good no more before their time.
    pub spent: Arc<Spent>,
    /// Git clients that read.
    pub fetches: Fetches,
    /// How often each person has written lately.
    pub rates: Rates,
    /// Crate files that are looked into at one time: an archive can keep a core busy and a manifest some memory.
    pub inspections: Arc<Semaphore>,
    /// Crate files that go into the store at one time: on a disk that hangs each holds a thread that others need, too.
    pub keepers: Arc<Semaphore>,
    /// What judges pull requests, if the index is on a forge.
    pub reviews: Option<Reviews>,
    /// What lets the index say who may read, where a forge or the configuration decides that while it is served.
    pub watch: Option<Watch>,
    /// Whether the disk takes what is written.
    pub disk: Probe,
    /// What became of uploads of versions.
    pub publishes: IntCounterVec,
    /// Addresses that reach this process on this machine, whatever the public one is, and the index on the forge.
    other_urls: OwnUrls,
    /// Held as long as the process may write.
    _lock: Lock,
}

/// The registry cannot be opened.
#[derive(Debug, Error)]
pub enum AppFault {
    /// Another process works on the folder.
    #[error("the data folder {} is in use by another sidecargo; end it or choose another `data`", .0.display())]
    Locked(PathBuf),
    /// There is nothing in the folder yet.
    #[error("there is no registry in the data folder {}; `--data` names its folder", .0.display())]
    NoRegistry(PathBuf),
    /// What is served would part from the registry of which it is the backup.
    #[error("the data folder {folder} is a backup, and one that is served cannot be brought up to date any more; `sidecargo restore {folder} --data OTHER` makes a registry of it in another folder; if it shall be the registry from now on, remove the file `sidecargo-backup` in it", folder = .0.display())]
    IsBackup(PathBuf),
    /// Its restore ended in the middle, and another registry would take its place.
    #[error("a restore into the data folder {folder} failed or ended in the middle: run it again, `sidecargo restore BACKUP --data {folder}`; if another registry shall begin there, remove the folder `index.restoring` in it", folder = .0.display())]
    HalfRestored(PathBuf),
    /// The registry is not whole.
    #[error("there is no store of crate files in {}; if this is a backup or was being restored, that ended in the middle: run the command again", .0.display())]
    NoStore(PathBuf),
    /// There is no index, but the crate files of one are there.
    #[error("there is no index at {}, but there are crate files beside it; bring it back from a backup with `sidecargo restore`, or begin a new registry in another folder", .0.display())]
    IndexGone(PathBuf),
    /// There are no crate files where those of the index should be.
    #[error("the store of crate files in {0} holds no file and no `store-id`; if it lies on another disk, mount that; if nothing was ever published, `echo {id} > {0}/store-id`", folder.display())]
    StoreGone {
        /// The store's folder.
        folder: PathBuf,
        /// Which store it should be.
        id: StoreId,
    },
    /// What root writes there, the server's user could not read.
    #[error("the data folder {folder} is that of user {user}, whose server could not read what root writes there; run this as that user (`sudo -u '#{user}' sidecargo …`, a container with `--user {user}`), or if root shall run the server from now on give it all to root: `chown -R root {folder}`", folder = folder.display())]
    OtherUser {
        /// The data folder.
        folder: PathBuf,
        /// The number of its user.
        user: u32,
    },
    /// A folder or file cannot be made or read.
    #[error("the data folder {} cannot be used{}", folder.display(), cure(source))]
    Io {
        /// The data folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Clients of git could not be served.
    #[error("the `git` program, which serves the git index, cannot be run; install git")]
    Git(#[source] io::Error),
    /// It is not known which repository of the forge is the index.
    #[error("it is not known which repository of the forge is the index")]
    ForgeRepository(#[source] io::Error),
    /// Nothing can be asked of the forge.
    #[error("the certificates of the system, by which the forge is known, cannot be used")]
    Client(#[source] io::Error),
    /// The index cannot be opened.
    #[error(transparent)]
    Index(#[from] OpenFault),
    /// The keys for tokens cannot be used.
    #[error(transparent)]
    Keys(#[from] auth::KeyFault),
}

impl App {
    /// Opens the registry of the data folder, or makes it there, for a server that listens on `bound`.
    pub fn open(config: Config, bound: SocketAddr) -> Result<Self, AppFault> {
        fetch::check_program().map_err(AppFault::Git)?;
        let public_url = config.public_url(bound);
        let data = Data::new(&config.data);
        data.check_user()?;
        let mut lock = data.lock_within(LOCK_WAIT)?;
        data.check_is_no_copy()?;
        data.clean();
        let blobs = Arc::new(data.blobs()?);
        if config.forge.is_none() {
            data.check_index(&blobs)?;
        }
        let of_forge = match &config.forge {
            Some(forge) => Some((forge, forge::client(forge, &data)?)),
            None => None,
        };
        let client = of_forge.as_ref().map(|(_, client)| client);
        let branch = forge::branch(&config, client)?;
        let mut settings = settings(&config, &public_url);
        let watch = forge::watch(&config, client, &data, &mut settings);
        let gate = of_forge.as_ref().map(|(settings, client)| {
            Arc::new(forge::gate(settings, Arc::clone(client), &public_url))
        });
        let reviews = match (&branch, of_forge) {
            (Branch::Forge(upstream), Some((settings, client))) => Some(Reviews::new(
                upstream.clone(),
                client,
                settings.repository.clone(),
            )),
            _ => None,
        };
        let is_known = data.place().git_dir.exists();
        let index = Index::open(&data.place(), &settings, &blobs, branch)?;
        if !is_known {
            data.hold_repository(&mut lock)?;
        }
        forge::settle_mark(&config, watch.as_ref(), &data, &index);
        if let Err(cause) =
            env::current_exe().and_then(|program| data.place().install_hooks(&program))
        {
            warn!(%cause, "the git hooks of the index were not put in place");
        }
        let registry = index.snapshot().registry().identity.id;
        if is_known && !TokenKeys::are_in(&data.keys()) {
            warn!(
                "there was no key for tokens and one is made: tokens that were made before are refused; if that was not meant, bring the folder `keys` back from a backup"
            );
        }
        let keys = Arc::new(TokenKeys::open_or_create(&data.keys())?);
        Ok(Self {
            reviews,
            watch,
            disk: Probe::of(
                vec![blobs.incoming_folder(), index.packs()],
                blobs.kept_by(),
                index.ref_folders(),
            ),
            fetches: fetches(&index, &config.fetch),
            verifier: Verifier::new(registry, keys),
            key_search: KeySearch::of(data.keys()),
            gate,
            spent: Arc::new(data.spent()?),
            other_urls: other_urls(&config, bound),
            catalog: Arc::new(Catalog::new(
                Arc::clone(&blobs),
                index.moves(),
                data.cache(),
            )),
            blobs,
            rates: Rates::default(),
            inspections: Arc::new(Semaphore::new(
                thread::available_parallelism().map_or(1, usize::from),
            )),
            keepers: Arc::new(Semaphore::new(KEEPERS_MAX)),
            publishes: measure::counts_from_zero(
                "sidecargo_publishes_total",
                "Uploads of versions, by what became of them.",
                "outcome",
                &PUBLISH_OUTCOMES,
            ),
            index,
            public_url,
            config,
            _lock: lock,
        })
    }

    /// Who may read: the strictest of what the configuration says, the index, and what the forge said last.
    pub fn visibility(&self, snapshot: &Snapshot) -> Visibility {
        let is_closed = self.watch.as_ref().is_some_and(Watch::is_closed);
        match self.config.visibility {
            Some(Visibility::Private) => Visibility::Private,
            _ if is_closed => Visibility::Private,
            _ => snapshot.registry().identity.visibility,
        }
    }

    /// Every index URL that means this registry.
    pub fn own_urls(&self, snapshot: &Snapshot) -> OwnUrls {
        snapshot
            .registry()
            .identity
            .own_urls()
            .and(&self.other_urls)
    }

    /// Until when a change that comes now must be written.
    pub fn deadline(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + Duration::from_secs(self.config.http.publish_deadline_secs)
    }

    /// Proves who sends a request with this `Authorization` header.
    pub fn authenticate(&self, header: Option<&[u8]>) -> Result<Arc<Grant>, AuthFault> {
        let snapshot = self.index.snapshot();
        let is_revoked = |id: &TokenId| snapshot.registry().revoked.contains(id);
        let grant = self
            .verifier
            .authenticate(header, Timestamp::now(), &is_revoked)?;
        let is_of_guest = !matches!(grant.bearer, Actor::Local(_));
        if is_of_guest && self.spent.is_given_back(grant.token_id) {
            return Err(TokenFault::GivenBack(grant.token_id).into());
        }
        Ok(grant)
    }

    /// All that decides whether the caller may do what they wish.
    pub async fn standing(&self, caller: &Caller, wish: &Wish<'_>) -> Result<Standing, GateFault> {
        match &caller.visitor {
            Visitor::Local(grant) => Ok(Standing {
                names_suffice: self.gate.is_none(),
                ..Standing::of(grant.bearer.clone(), Proof::Token(grant.token_id))
            }),
            Visitor::Guest(gate, guest) | Visitor::Minted(_, gate, guest) => {
                gate.standing(guest, wish).await
            }
        }
    }
}

/// An issuer for the registry in a data folder, also while a server runs on it.
///
/// If there is no registry yet, it is made as the server would make it; then `tell` is called.
pub fn issuer(config: &Config, tell: impl Fn()) -> Result<Issuer, AppFault> {
    let data = Data::new(&config.data);
    let place = data.place();
    let started = Instant::now();
    data.check_user()?;
    while !place.git_dir.exists() {
        match data.lock() {
            Ok(_lock) => {
                data.check_is_no_copy()?;
                let public_url = config.public_url(config.listen);
                if config.forge.is_some() {
                    // Its index is fetched by the server, at its first start.
                    return Err(AppFault::NoRegistry(config.data.clone()));
                }
                let blobs = data.blobs()?;
                data.check_index(&blobs)?;
                place.ensure(&settings(config, &public_url), blobs.id(), None)?;
                tell();
            }
            // A server is making it at this moment.
            Err(AppFault::Locked(_)) if started.elapsed() < FOUNDING_WAIT => {
                thread::sleep(LOOK_AGAIN);
            }
            Err(fault) => return Err(fault),
        }
    }
    data.check_is_no_copy()?;
    let keys = TokenKeys::open_or_create(&data.keys())?;
    let registry = data.read(|place| Ok::<_, AppFault>(place.identity()?))?.id;
    Ok(Issuer::new(registry, Arc::new(keys)))
}

/// The record of the tokens of the registry in a data folder.
pub fn token_records(config: &Config) -> TokenRecords {
    Data::new(&config.data).tokens()
}

/// What serves clients of git.
fn fetches(index: &Index, config: &FetchConfig) -> Fetches {
    let moves = index.moves();
    let served = Box::new(move || moves.borrow().commit());
    Fetches::new(index.git_dir().to_owned(), config.into(), served)
}

/// What of the configuration stands in the index too.
fn settings(config: &Config, public_url: &PublicUrl) -> Settings {
    Settings {
        name: config.name.clone(),
        public_url: public_url.clone(),
        visibility: config.visibility.unwrap_or_default(),
        keeps_visibility: config.visibility.is_none(),
        capability_downloads: config.capability_downloads,
    }
}

/// People on the machine itself may have written the address that they see in the log, and others that of the forge.
fn other_urls(config: &Config, bound: SocketAddr) -> OwnUrls {
    let mut hosts = vec![bound.to_string()];
    if bound.ip().is_loopback() || bound.ip().is_unspecified() {
        let port = bound.port();
        hosts.extend([
            format!("localhost:{port}"),
            format!("127.0.0.1:{port}"),
            format!("[::1]:{port}"),
        ]);
    }
    let urls: Vec<PublicUrl> = hosts
        .iter()
        .filter_map(|host| format!("http://{host}").parse().ok())
        .collect();
    let here = OwnUrls::new(&config.name, &urls);
    match &config.forge {
        Some(forge) => here
            .and_repository(&forge.clone_url())
            .and_repository(&forge.clone_url_of_people()),
        None => here,
    }
}
