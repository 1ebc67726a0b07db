//! Which forge it is: some questions only one of them answers.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;

use super::client::{Answer, Bytes};
use super::{Forge, ForgeFault, Showing};

/// How long what a forge said of itself is believed: it may be upgraded any day.
const KNOWN: Duration = Duration::from_secs(600);

/// The forge and its version: major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Gitea.
    Gitea(u32, u32),
    /// Forgejo.
    Forgejo(u32, u32),
}

impl Kind {
    /// Whether it tells of a token what it is limited to.
    pub fn tells_scopes(self) -> bool {
        matches!(self, Self::Gitea(major, minor) if (major, minor) >= (1, 27))
    }

    /// Whether it tells of a job's token which run it belongs to.
    pub fn tells_runs(self) -> bool {
        matches!(self, Self::Forgejo(major, _) if major >= 16)
    }
}

#[derive(Debug, Default)]
pub(super) struct KnownKind(Mutex<Option<(Instant, Kind)>>);

#[derive(Deserialize)]
struct Version {
    version: String,
}

impl Forge {
    /// Which forge it is, as it said lately.
    pub async fn kind(&self) -> Result<Kind, ForgeFault> {
        let known = *self.kind.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, kind)) = known
            && asked.elapsed() < KNOWN
        {
            return Ok(kind);
        }
        let kind = self.ask_kind().await?;
        *self.kind.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), kind));
        Ok(kind)
    }

    /// What its clock says, to the second.
    pub async fn time(&self) -> Result<Timestamp, ForgeFault> {
        let answer = self.of_itself("api/v1/version").await?;
        let odd = || ForgeFault::Odd("it does not say what time it is".to_owned());
        answer.date.ok_or_else(odd)
    }

    async fn ask_kind(&self) -> Result<Kind, ForgeFault> {
        match self.version("api/forgejo/v1/version").await {
            Ok((major, minor)) => Ok(Kind::Forgejo(major, minor)),
            Err(ForgeFault::NotFound) => {
                let (major, minor) = self.version("api/v1/version").await?;
                Ok(Kind::Gitea(major, minor))
            }
            Err(fault) => Err(fault),
        }
    }

    /// What it says of itself, which it may hide even from those who did not sign in.
    async fn of_itself(&self, path: &str) -> Result<Answer, ForgeFault> {
        match self.get(path, Showing::Nobody, Bytes::All).await {
            Err(ForgeFault::Unauthenticated | ForgeFault::Forbidden(_)) => {
                let robot = self.robot_token()?;
                self.get(path, Showing::Token(&robot), Bytes::All).await
            }
            answer => answer,
        }
    }

    async fn version(&self, path: &str) -> Result<(u32, u32), ForgeFault> {
        let answer = self.of_itself(path).await?;
        let version: Version = answer.json()?;
        let odd = || ForgeFault::Odd("its version is not a number".to_owned());
        numbers(&version.version).ok_or_else(odd)
    }
}

/// The first two numbers of `1.26.0`, `16.0.0+gitea-1.22.0` or `1.27.0-rc1`.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_both_forges_are_read() {
        for (text, expected) in [
            ("1.26.0", Some((1, 26))),
            ("16.0.0+gitea-1.22.0", Some((16, 0))),
            ("v1.27.0-rc1", Some((1, 27))),
            ("development", None),
            ("", None),
        ] {
            assert_eq!(numbers(text), expected, "{text}");
        }
        assert!(Kind::Gitea(1, 27).tells_scopes() && Kind::Gitea(2, 0).tells_scopes());
        assert!(!Kind::Gitea(1, 26).tells_scopes() && !Kind::Forgejo(16, 0).tells_scopes());
        assert!(Kind::Forgejo(16, 0).tells_runs() && !Kind::Forgejo(15, 0).tells_runs());
        assert!(!Kind::Gitea(17, 0).tells_runs());
    }
}
