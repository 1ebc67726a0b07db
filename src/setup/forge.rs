//! What setting up asks of the forge: a few calls of the API that Gitea and Forgejo share.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use thiserror::Error;

use crate::domain::{PublicUrl, harmless};

/// For one call.
const CALL_TIME: Duration = Duration::from_secs(20);
/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What is repeated of the forge's words, in characters.
const WORDS_MAX: usize = 300;

/// Why the forge did not do what was asked.
#[derive(Debug, Error)]
pub enum ForgeFault {
    /// No answer.
    #[error("the forge cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The token is not good.
    #[error("the forge does not know the token: {0}")]
    NotKnown(String),
    /// The token or its account may not do this.
    #[error("the forge does not let this token `{call}`: {said}")]
    Forbidden {
        /// The call.
        call: String,
        /// The forge's words.
        said: String,
    },
    /// Anything else.
    #[error("the forge answers {status} to `{call}`: {said}")]
    Refused {
        /// The call.
        call: String,
        /// Its status.
        status: StatusCode,
        /// The forge's words.
        said: String,
    },
    /// Not what the API says.
    #[error("the forge answers `{0}` with what its API does not say; is the URL that of its root?")]
    Odd(String),
}

/// Somebody with a token who calls the API.
pub struct Forge {
    client: Client,
    root: String,
    token: HeaderValue,
}

impl Forge {
    /// The forge at `url` for whoever has `token`.
    ///
    /// # Errors
    /// `Unreachable` if the system's certificates cannot be used.
    pub fn new(url: &PublicUrl, token: HeaderValue) -> Result<Self, ForgeFault> {
        let client = Client::builder()
            .timeout(CALL_TIME)
            .redirect(Policy::none())
            .build();
        Ok(Self {
            client: client.map_err(ForgeFault::Unreachable)?,
            root: format!("{url}/api/v1"),
            token,
        })
    }

    /// Reads what is at `path`; `None` if nothing is there that this token may see.
    pub async fn read(&self, path: &str) -> Result<Option<Value>, ForgeFault> {
        match self.call(Method::GET, path, None).await {
            Ok(found) => Ok(Some(found)),
            Err(ForgeFault::Refused { status, .. }) if status == StatusCode::NOT_FOUND => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Changes something.
    pub async fn write(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, ForgeFault> {
        self.call(method, path, Some(body)).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ForgeFault> {
        let call = format!("{method} {path}");
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.root))
            .header(AUTHORIZATION, self.token.clone())
            .header(ACCEPT, "application/json");
        if let Some(body) = body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        let unreachable = |fault: reqwest::Error| ForgeFault::Unreachable(fault.without_url());
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(ForgeFault::Odd(call));
            }
            answer.extend_from_slice(&chunk);
        }
        let json: Option<Value> = serde_json::from_slice(&answer).ok();
        if status.is_success() {
            return match json {
                Some(json) => Ok(json),
                None if answer.is_empty() => Ok(Value::Null),
                None => Err(ForgeFault::Odd(call)),
            };
        }
        let message = json.as_ref().and_then(|json| json["message"].as_str());
        let said = message.map_or_else(|| String::from_utf8_lossy(&answer).into(), str::to_owned);
        let said = harmless(&said, WORDS_MAX);
        Err(match status {
            StatusCode::UNAUTHORIZED => ForgeFault::NotKnown(said),
            StatusCode::FORBIDDEN => ForgeFault::Forbidden { call, said },
            status => ForgeFault::Refused { call, status, said },
        })
    }
}
