//! One question to the forge and its answer: bounded in time, in size, and in number.

use std::fmt;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response};
use serde::de::DeserializeOwned;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;
use url::Url;

use super::kind::KnownKind;
use super::{ForgeFault, IndexRepository, Measures, Robot};
use crate::domain::{ForgePaths, PublicUrl, Secret, harmless};
use crate::pause::{self, Pause};

/// The questions at one moment.
const TURNS: usize = 8;
/// The longest answer that is read, in bytes: fifty teams of an organisation have 30 kB.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// How many entries a list has, on each page of it.
const TOTAL: HeaderName = HeaderName::from_static("x-total-count");
/// How often one question is sent on to another name: once for an owner that was renamed, and once for the repository.
const RENAMED_MAX: usize = 4;
/// After how long a busy forge may be asked again if it does not say.
const RETRY: Duration = Duration::from_secs(5);

/// How long a question may take.
#[derive(Debug, Clone, Copy)]
pub struct ForgeLimits {
    /// For a connection.
    pub connect: Duration,
    /// For the whole question, once it has its turn.
    pub total: Duration,
    /// For its turn.
    pub turn: Duration,
}

impl Default for ForgeLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            total: Duration::from_secs(8),
            turn: Duration::from_secs(4),
        }
    }
}

/// The forge, as one who asks it sees it.
pub struct Forge {
    pub(super) root: Url,
    pub(super) paths: ForgePaths,
    limits: ForgeLimits,
    /// Made when the first question comes: to read the machine's certificates takes a while.
    http: OnceCell<Client>,
    turns: Semaphore,
    pub(super) robot: Robot,
    pub(super) index: Option<IndexRepository>,
    pub(super) kind: KnownKind,
    pause: Pause,
    measures: Measures,
}

/// By whom a question is asked.
#[derive(Debug, Clone, Copy)]
pub enum Showing<'a> {
    /// Nobody in particular.
    Nobody,
    /// The owner of a token.
    Token(&'a Secret),
    /// The same as git does it: only so the git addresses look at what a token is limited to.
    AsGit(&'a Secret),
}

/// A whole answer of a status that is no refusal.
pub(super) struct Answer {
    /// What its clock says.
    pub(super) date: Option<Timestamp>,
    pub(super) content_type: String,
    /// How many entries the whole list has, if it is a page of one.
    pub(super) total: Option<usize>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ForgeFault> {
        serde_json::from_slice(&self.body).map_err(|fault| {
            // The text of a fault may repeat what stands in the answer.
            let place = format!("line {}, column {}", fault.line(), fault.column());
            ForgeFault::Odd(format!("not the JSON that was asked for ({place})"))
        })
    }
}

impl Forge {
    /// The forge at `url`; nothing is asked yet.
    pub fn new(url: &PublicUrl, robot: Robot, limits: ForgeLimits) -> Self {
        let root = Url::parse(&format!("{url}/")).expect("a public URL is a URL");
        Self {
            root,
            paths: ForgePaths::new(url, url),
            limits,
            http: OnceCell::new(),
            turns: Semaphore::new(TURNS),
            robot,
            index: None,
            kind: KnownKind::default(),
            pause: Pause::default(),
            measures: Measures::new(),
        }
    }

    /// The same, if the index is in this repository: another that takes its name is not there.
    #[must_use]
    pub fn with_index(mut self, index: IndexRepository) -> Self {
        self.index = Some(index);
        self
    }

    /// The same, if it calls itself by this address.
    #[must_use]
    pub fn shown_at(mut self, url: &PublicUrl, issuer: &PublicUrl) -> Self {
        self.paths = ForgePaths::new(url, issuer);
        self
    }

    /// The token of the server's own account.
    ///
    /// # Errors
    /// `Robot`.
    pub fn robot_token(&self) -> Result<Secret, ForgeFault> {
        self.robot.token()
    }

    /// What is measured of its questions.
    pub fn measures(&self) -> &Measures {
        &self.measures
    }

    /// The address of a page below the root: written behind it, so that it cannot be at another host.
    fn address(&self, path: &str) -> Result<Url, ForgeFault> {
        let odd = |_| ForgeFault::Odd("an address that is none".to_owned());
        Url::parse(&format!("{}{path}", self.root)).map_err(odd)
    }

    /// Asks for what is at `path`, a relative one.
    pub(super) async fn get(
        &self,
        path: &str,
        showing: Showing<'_>,
        bytes: Bytes,
    ) -> Result<Answer, ForgeFault> {
        self.question(path, showing, Sent(Method::GET, None), bytes)
            .await
    }

    /// Does something at `path` with a body that is JSON.
    pub(super) async fn send_json(
        &self,
        method: Method,
        path: &str,
        showing: Showing<'_>,
        json: Vec<u8>,
    ) -> Result<Answer, ForgeFault> {
        self.question(path, showing, Sent(method, Some(json)), Bytes::All)
            .await
    }

    async fn question(
        &self,
        path: &str,
        showing: Showing<'_>,
        sent: Sent,
        bytes: Bytes,
    ) -> Result<Answer, ForgeFault> {
        let began = Instant::now();
        let told = self.in_turn(path, showing, sent, bytes).await;
        self.measures.note(&told, began);
        told
    }

    async fn in_turn(
        &self,
        path: &str,
        showing: Showing<'_>,
        sent: Sent,
        bytes: Bytes,
    ) -> Result<Answer, ForgeFault> {
        if let Some(left) = self.pause.left() {
            let retry_after_secs = left.as_secs() + 1;
            return Err(ForgeFault::Busy { retry_after_secs });
        }
        let turn = timeout(self.limits.turn, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(ForgeFault::Busy {
                retry_after_secs: RETRY.as_secs(),
            });
        };
        let asked = self.ask(self.address(path)?, showing, sent, bytes);
        timeout(self.limits.total, asked).await.map_err(|_| {
            let secs = self.limits.total.as_secs();
            ForgeFault::Unreachable(format!("no whole answer within {secs} seconds"))
        })?
    }

    async fn ask(
        &self,
        url: Url,
        showing: Showing<'_>,
        sent: Sent,
        bytes: Bytes,
    ) -> Result<Answer, ForgeFault> {
        let mut url = url;
        let mut response = self.send(url.clone(), showing, sent.clone()).await?;
        for _ in 0..RENAMED_MAX {
            let Some(renamed) = self.renamed(&url, &response) else {
                break;
            };
            url = renamed;
            response = self.send(url.clone(), showing, sent.clone()).await?;
        }
        self.pause.hear(response.status(), response.headers());
        answer(response, bytes).await
    }

    async fn send(
        &self,
        url: Url,
        showing: Showing<'_>,
        Sent(method, json): Sent,
    ) -> Result<Response, ForgeFault> {
        let request = self.http().await?.request(method, url);
        let request = match json {
            Some(json) => request.header(CONTENT_TYPE, "application/json").body(json),
            None => request,
        };
        let request = match showing {
            Showing::Nobody => request,
            Showing::Token(token) => request.header(
                AUTHORIZATION,
                hidden(&format!("Bearer {}", token.expose()))?,
            ),
            Showing::AsGit(token) => request.basic_auth("sidecargo", Some(token.expose())),
        };
        request.send().await.map_err(unreachable)
    }

    async fn http(&self) -> Result<&Client, ForgeFault> {
        let limits = self.limits;
        self.http
            .get_or_try_init(|| async move {
                Client::builder()
                    .user_agent(concat!("sidecargo/", env!("CARGO_PKG_VERSION")))
                    .redirect(Policy::none())
                    .no_proxy()
                    .connect_timeout(limits.connect)
                    .build()
                    .map_err(unreachable)
            })
            .await
    }
}

/// What is sent.
#[derive(Clone)]
struct Sent(Method, Option<Vec<u8>>);

/// How much of an answer is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bytes {
    /// All of it, or it is refused.
    All,
    /// So many, and the rest is not asked for.
    First(usize),
}

async fn answer(mut response: Response, bytes: Bytes) -> Result<Answer, ForgeFault> {
    let status = response.status();
    let header = |name: HeaderName| {
        response
            .headers()
            .get(name)?
            .to_str()
            .ok()
            .map(str::to_owned)
    };
    let retry_after_secs = retry_secs(response.headers());
    // The form of RFC 9110, 5.6.7 is one of that of mail.
    let date = header(DATE).and_then(|text| rfc2822::parse(&text).ok());
    let date = date.map(|date| date.timestamp());
    let content_type = header(CONTENT_TYPE).unwrap_or_default();
    let location = header(LOCATION);
    let total = header(TOTAL).and_then(|text| text.parse().ok());
    let mut body = Vec::new();
    let enough = match bytes {
        Bytes::First(enough) => enough,
        Bytes::All => usize::MAX,
    };
    while body.len() < enough {
        let Some(chunk) = response.chunk().await.map_err(unreachable)? else {
            break;
        };
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(ForgeFault::TooLong(ANSWER_BYTES_MAX));
        }
        body.extend_from_slice(&chunk);
    }
    match status.as_u16() {
        200..=205 => Ok(Answer {
            date,
            content_type,
            total,
            body,
        }),
        401 => Err(ForgeFault::Unauthenticated),
        403 => Err(ForgeFault::forbidden(&body)),
        404 => Err(ForgeFault::NotFound),
        405 => Err(ForgeFault::not_fit(&body)),
        // An account that must do something at the forge first: to change its password, for example.
        302 | 303 => Err(ForgeFault::Forbidden(
            "it sends to a page for people; sign in there and see what it asks for".to_owned(),
        )),
        code @ 300..=399 => Err(ForgeFault::Odd(sent_on(code, location))),
        429 | 503 => Err(ForgeFault::Busy { retry_after_secs }),
        code @ 500.. => Err(ForgeFault::Unreachable(format!("it answers {code}"))),
        code => Err(ForgeFault::odd(code, &body)),
    }
}

fn retry_secs(headers: &HeaderMap) -> u64 {
    let retry_after = pause::asked_for(headers).unwrap_or(RETRY);
    retry_after.as_secs().max(1)
}

/// What went wrong on the way, without the address, which stands in the configuration.
fn unreachable(fault: reqwest::Error) -> ForgeFault {
    let fault = fault.without_url();
    let mut cause: &dyn std::error::Error = &fault;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    ForgeFault::Unreachable(harmless(&cause.to_string(), 200))
}

/// What is said of a forge that sends elsewhere; a token does not go along.
fn sent_on(code: u16, location: Option<String>) -> String {
    match location {
        Some(place) => format!(
            "it answers {code} and sends to `{}`, where no token goes by itself; if the forge is there now, set `forge.url` to that address",
            harmless(&place, 200)
        ),
        None => format!("it answers {code}, and does not say where to"),
    }
}

fn hidden(text: &str) -> Result<HeaderValue, ForgeFault> {
    let mut value = HeaderValue::from_str(text).map_err(|_| ForgeFault::Unauthenticated)?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Forge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forge")
            .field("root", &self.root.as_str())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn a_busy_forge_says_for_how_long() {
        for (said, secs) in [
            (Some("7"), 7),
            (Some("0"), 1),
            (Some("99999"), 300),
            (Some("Fri, 31 Dec 1999 23:59:59 GMT"), 5),
            (None, 5),
        ] {
            let header = said.map(|said| (RETRY_AFTER, HeaderValue::from_static(said)));
            assert_eq!(retry_secs(&header.into_iter().collect()), secs, "{said:?}");
        }
    }
}
