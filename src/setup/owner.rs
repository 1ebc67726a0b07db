//! The forge, as whoever sets the repository up sees it.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::SetupFault;
use crate::domain::{Login, PublicUrl, Secret};
use crate::forge::{Forge, ForgeFault, ForgeLimits, Robot, Showing};

/// For one call: to make a repository takes a forge some time.
const CALL_TIME: Duration = Duration::from_secs(20);

/// The forge, asked with the token of an owner.
pub struct Owner {
    forge: Forge,
    token: Secret,
}

impl Owner {
    /// The forge at `url` for whoever has `token`.
    pub fn new(url: &PublicUrl, token: Secret) -> Self {
        let limits = ForgeLimits {
            total: CALL_TIME,
            ..ForgeLimits::default()
        };
        let forge = Forge::new(url, Robot::None, limits);
        Self { forge, token }
    }

    /// Reads what is at `path` of the API; `None` if nothing is there that this token may see.
    pub(super) async fn read(&self, path: &str) -> Result<Option<Value>, SetupFault> {
        let found = self.forge.look(path, Showing::Token(&self.token)).await;
        found.map_err(named(&Method::GET, path))
    }

    /// Reads the whole list at `path` of the API, as [`Owner::read`].
    pub(super) async fn read_list(&self, path: &str) -> Result<Option<Value>, SetupFault> {
        let showing = Showing::Token(&self.token);
        let found = self.forge.look_through(path, showing).await;
        found.map_err(named(&Method::GET, path))
    }

    /// Whether an account is an organisation, as far as this token, or else a stranger, may ask that.
    pub(super) async fn is_organisation(&self, login: &Login) -> Result<bool, SetupFault> {
        let path = format!("/orgs/{login}");
        match self.forge.look(&path, Showing::Token(&self.token)).await {
            // To set up a repository of an account a token needs no scope for organisations.
            Err(ForgeFault::Forbidden(_)) => {
                let seen = self.forge.look(&path, Showing::Nobody).await;
                Ok(matches!(seen, Ok(Some(_))))
            }
            seen => seen
                .map(|found| found.is_some())
                .map_err(named(&Method::GET, &path)),
        }
    }

    /// Changes something.
    pub(super) async fn write(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, SetupFault> {
        let showing = Showing::Token(&self.token);
        let done = self.forge.change(method.clone(), path, showing, body).await;
        done.map_err(named(&method, path))
    }
}

fn named(method: &Method, path: &str) -> impl FnOnce(ForgeFault) -> SetupFault {
    let call = format!("{method} {path}");
    move |fault| SetupFault::Forge { call, fault }
}
