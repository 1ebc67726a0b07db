//! What the operator of a registry asks for on the command line, whether a server runs or not.
//!
//! Each request may be made again after a crash anywhere: what was done is found done, and the rest is done.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::app::{App, AppFault, Data};
use crate::auth::{self, Lifetime, TokenKeys, Verifier};
use crate::domain::{CommitId, PlainText, TokenId};
use crate::index::{self, Index, OpenFault, Operation, WriteFault};
use crate::tokens::{RecordFault, TokenRecord, TokenRecords};

/// How long an operation may wait for its turn with the writer.
const TURN: Duration = Duration::from_secs(20);

/// What the operator asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// A token shall no longer be good.
    RevokeToken {
        /// The token.
        id: TokenId,
    },
    /// Other keys shall sign commits and tokens.
    // With braces, so that unknown keys are refused here too.
    RotateKeys {},
    /// Downloads without a token shall have another secret.
    RotateDownloads {},
    /// Somebody moved the branch of the index.
    LookAtBranch {},
}

/// What was done; reads as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "done", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Done {
    /// The token is revoked now.
    TokenRevoked {
        /// The token.
        id: TokenId,
        /// Whose it is; `None` if this registry has no record of it.
        user: Option<String>,
    },
    /// It was revoked before.
    TokenWasRevoked {
        /// The token.
        id: TokenId,
    },
    /// Other keys sign now.
    KeysRotated {
        /// The fingerprint of the key that signs commits.
        signing_key: String,
        /// The id of the key that signs tokens.
        token_key: String,
    },
    /// Downloads have another secret, which only the index tells.
    DownloadsRotated {},
    /// The branch is served where it is.
    BranchServed {
        /// The commit.
        commit: CommitId,
    },
}

/// Why something was not done.
#[derive(Debug, Error)]
pub enum OperatorFault {
    /// The commit was not written.
    #[error(transparent)]
    Write(#[from] WriteFault),
    /// There is no new signing key; nothing was done.
    #[error("no key was rotated")]
    SigningKey(#[from] index::KeyFault),
    /// The signing key was rotated, the token key was not.
    #[error("the signing key was rotated, the token key was not; run `sidecargo key rotate` again")]
    TokenKey(#[from] auth::KeyFault),
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordFault),
    /// The registry cannot be opened.
    #[error(transparent)]
    App(#[from] AppFault),
    /// Its index cannot be read.
    #[error(transparent)]
    Index(#[from] OpenFault),
    /// The system gives no random bytes.
    #[error("no new secret was made")]
    Random(#[source] std::io::Error),
    /// The system gives no timer.
    #[error("the command cannot wait for the disk")]
    Runtime(#[source] std::io::Error),
}

/// A token as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedToken {
    /// Its id.
    pub id: TokenId,
    /// What is known of it; `None` if it was revoked without a record.
    pub record: Option<TokenRecord>,
    /// Whether it is good.
    pub state: TokenState,
}

/// Whether a token is good, as a server would say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    /// It is good.
    Valid,
    /// Its time is over.
    Expired,
    /// It was revoked before its time.
    Revoked,
    /// The key that signed it was taken away.
    KeyGone,
}

/// An open registry in the hands of its operator.
///
/// One request at a time: the caller does not share it.
pub struct Operator<'a> {
    index: &'a Index,
    keys: PathBuf,
    tokens: TokenRecords,
    /// Who lets tokens in meanwhile, if a server runs.
    verifier: Option<&'a Verifier>,
}

impl<'a> Operator<'a> {
    /// The operator of a registry that a server runs.
    pub fn of(app: &'a App) -> Self {
        let data = Data::new(&app.config.data);
        Self {
            index: &app.index,
            keys: data.keys(),
            tokens: data.tokens(),
            verifier: Some(&app.verifier),
        }
    }

    /// Does what is asked for. Files are written by the calling thread.
    pub async fn carry_out(&mut self, request: &Request) -> Result<Done, OperatorFault> {
        match request {
            Request::RevokeToken { id } => self.revoke(*id, Timestamp::now()).await,
            Request::RotateKeys {} => self.rotate_keys().await,
            Request::RotateDownloads {} => self.rotate_downloads().await,
            Request::LookAtBranch {} => {
                let landed = self.index.look(Instant::now() + TURN).await?;
                let commit = landed.commit;
                Ok(Done::BranchServed { commit })
            }
        }
    }

    /// Also a token whose time is over: the clock may be ahead, and is right some day.
    async fn revoke(&self, id: TokenId, now: Timestamp) -> Result<Done, OperatorFault> {
        let record = self.tokens.find(id).unwrap_or_else(|fault| {
            warn!(%fault, token.id = %id, "a token is revoked without its record");
            None
        });
        if self.index.snapshot().registry().revoked.contains(&id) {
            return Ok(Done::TokenWasRevoked { id });
        }
        let until = record
            .as_ref()
            .map_or_else(|| longest_life(now), |record| record.expires);
        self.operate(Operation::RevokeToken { id, until }, now)
            .await?;
        info!(token.id = %id, "a token was revoked");
        let user = record.map(|record| record.user.to_string());
        Ok(Done::TokenRevoked { id, user })
    }

    /// The signing key first: if the index cannot be written, nothing is done.
    async fn rotate_keys(&self) -> Result<Done, OperatorFault> {
        let to = self.index.prepare_signing_key()?;
        let signing_key = to.fingerprint().to_owned();
        self.operate(Operation::RotateSigningKey { to }, Timestamp::now())
            .await?;
        let token_key = TokenKeys::add(&self.keys)?;
        if let Some(verifier) = self.verifier {
            // Before anybody can make a token with the new key, tokens of both are good.
            verifier.use_keys(Arc::new(TokenKeys::open(&self.keys)?));
        }
        TokenKeys::sign_with(&self.keys, &token_key)?;
        info!(signing_key, %token_key, "the keys were rotated");
        Ok(Done::KeysRotated {
            signing_key,
            token_key: token_key.to_string(),
        })
    }

    async fn rotate_downloads(&self) -> Result<Done, OperatorFault> {
        let fresh = index::random_capability().map_err(OperatorFault::Random)?;
        self.operate(Operation::RotateDownloads { fresh }, Timestamp::now())
            .await?;
        info!("downloads have a new secret");
        Ok(Done::DownloadsRotated {})
    }

    async fn operate(&self, operation: Operation, now: Timestamp) -> Result<(), WriteFault> {
        let deadline = Instant::now() + TURN;
        self.index.operate(operation, now, deadline).await.map(drop)
    }
}

/// Does what is asked for in a data folder that no server uses; with the folder in use it is
/// [`AppFault::Locked`], and nothing is done.
pub fn carry_out_alone(folder: &Path, request: &Request) -> Result<Done, OperatorFault> {
    let data = Data::new(folder);
    let (index, _lock) = data.open_index()?;
    let mut operator = Operator {
        index: &index,
        keys: data.keys(),
        tokens: data.tokens(),
        verifier: None,
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(OperatorFault::Runtime)?
        .block_on(operator.carry_out(request))
}

/// All tokens of the registry in a data folder, also while a server runs on it: those with a record by age, then those
/// that were revoked without one.
pub fn list_tokens(folder: &Path, now: Timestamp) -> Result<Vec<ListedToken>, OperatorFault> {
    let data = Data::new(folder);
    let revoked = data.read(|place| {
        let commit = data.newest_good(place)?;
        Ok::<_, OperatorFault>(place.revoked(commit)?)
    })?;
    let keys = data.keys();
    let is_gone = |key: &PlainText| !TokenKeys::has(&keys, key.as_str());
    let state = |id: &TokenId, expires: Timestamp, key: Option<&PlainText>| match () {
        () if expires <= now => TokenState::Expired,
        () if revoked.contains(id) => TokenState::Revoked,
        () if key.is_some_and(is_gone) => TokenState::KeyGone,
        () => TokenState::Valid,
    };
    let records = data.tokens().all()?;
    let recorded: HashSet<&TokenId> = records.iter().map(|(id, _)| id).collect();
    let mut strangers: Vec<_> = revoked
        .iter()
        .filter(|(id, _)| !recorded.contains(id))
        .map(|(id, until)| ListedToken {
            id: *id,
            record: None,
            state: state(id, until, None),
        })
        .collect();
    strangers.sort_by_key(|token| token.id);
    let recorded = records.into_iter().map(|(id, record)| ListedToken {
        id,
        state: state(&id, record.expires, record.key.as_ref()),
        record: Some(record),
    });
    Ok(recorded.chain(strangers).collect())
}

/// When a token expires at the latest that somebody holds at the moment `now`.
fn longest_life(now: Timestamp) -> Timestamp {
    let life = SignedDuration::from_secs(Lifetime::MAX.as_secs());
    now.checked_add(life).unwrap_or(Timestamp::MAX)
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenRevoked {
                id,
                user: Some(user),
            } => {
                write!(f, "the token {id} of {user} is revoked")
            }
            Self::TokenRevoked { id, user: None } => write!(
                f,
                "the token {id} is revoked; this registry has no record of it, so compare the id if you typed it"
            ),
            Self::TokenWasRevoked { id } => write!(f, "the token {id} was revoked before"),
            Self::BranchServed { commit } => write!(f, "the registry serves {commit}"),
            Self::DownloadsRotated {} => f.write_str(
                "downloads without a token have a new secret; Cargo finds it when it reads the index again",
            ),
            Self::KeysRotated {
                signing_key,
                token_key,
            } => write!(
                f,
                "commits are signed by the key {signing_key} from now on, and `allowed_signers` of the index names it\n\
                 tokens are signed by the key {token_key} from now on; older ones stay good until they expire"
            ),
        }
    }
}

impl fmt::Display for TokenState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::KeyGone => "key gone",
        })
    }
}
