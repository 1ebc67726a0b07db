//! Pull requests on the index repository: judged when the forge tells of them, before anybody merges them.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use reqwest::header::AUTHORIZATION;
use reqwest::redirect::Policy;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{Mutex, Semaphore};
use tracing::{info, warn};

use crate::app::{App, Data};
use crate::domain::{CommitId, harmless};
use crate::index::{self, ReviewFault, Upstream};
use crate::robot;

/// The name of the status; a rule of protection on the forge can require it.
const CONTEXT: &str = "sidecargo";
/// The longest sentence that the pages of a forge show whole, in characters.
const SENTENCE_MAX: usize = 250;
/// How many pull requests wait for their judgement; more are not looked at.
const WAITING_MAX: usize = 32;
/// For the forge to take a status.
const STATUS_TIME: Duration = Duration::from_secs(10);

/// What judges pull requests, one at a time.
pub struct Reviews {
    upstream: Upstream,
    client: Client,
    waiting: Semaphore,
    turn: Mutex<()>,
}

/// What a forge tells of a pull request, as far as it matters.
#[derive(Debug, Deserialize)]
pub struct Event {
    action: String,
    number: u64,
    pull_request: PullRequest,
}

#[derive(Debug, Deserialize)]
struct PullRequest {
    head: Side,
    base: Side,
}

#[derive(Debug, Deserialize)]
struct Side {
    #[serde(rename = "ref")]
    name: String,
    sha: CommitId,
}

#[derive(Serialize)]
struct Status<'a> {
    state: &'a str,
    context: &'a str,
    description: &'a str,
}

/// The forge has no word of what was found.
#[derive(Debug, Error)]
enum StatusFault {
    #[error("the token for the forge cannot be read")]
    Token(#[source] std::io::Error),
    #[error("the forge does not take a status: {0}")]
    Refused(reqwest::StatusCode),
    #[error("the forge cannot be told")]
    Request(#[source] reqwest::Error),
}

impl Reviews {
    /// For the pull requests of the repository `upstream`.
    pub fn new(upstream: Upstream) -> reqwest::Result<Self> {
        let client = Client::builder()
            .redirect(Policy::none())
            .timeout(STATUS_TIME)
            .build()?;
        Ok(Self {
            upstream,
            client,
            waiting: Semaphore::new(WAITING_MAX),
            turn: Mutex::default(),
        })
    }
}

impl Event {
    /// Whether there is something new to be judged, on the branch that is the index.
    fn is_new(&self) -> bool {
        let is_news = [
            "opened",
            "reopened",
            "synchronized",
            "synchronize",
            "edited",
        ];
        is_news.contains(&self.action.as_str()) && self.pull_request.base.name == "main"
    }
}

/// Judges a pull request and tells the forge, which shows it beside the commit.
///
/// Nothing is believed of the event but which pull request it is about: what is judged comes from the forge.
pub async fn review(app: Arc<App>, event: Event) {
    let Some(reviews) = app.reviews.as_ref().filter(|_| event.is_new()) else {
        return;
    };
    let (number, head) = (event.number, event.pull_request.head.sha);
    let Ok(_waiting) = reviews.waiting.try_acquire() else {
        warn!(
            number,
            "too many pull requests wait; this one is not judged"
        );
        return;
    };
    let _turn = reviews.turn.lock().await;
    let judging = Arc::clone(&app);
    let upstream = reviews.upstream.clone();
    let judged = tokio::task::spawn_blocking(move || {
        let place = Data::new(&judging.config.data).place();
        index::judge_merge(&place, &judging.blobs, &upstream, number, head)
    });
    let (state, sentence) = match judged.await {
        Ok(Ok(())) => ("success", "keeps the rules of the index".to_owned()),
        Ok(Err(fault @ (ReviewFault::Forbidden(_) | ReviewFault::Conflict))) => {
            ("failure", fault.to_string())
        }
        Ok(Err(fault)) => ("error", fault.to_string()),
        Err(_) => ("error", "an internal fault, which the log names".to_owned()),
    };
    info!(number, commit.id = %head, state, sentence, "a pull request was judged");
    if let Err(fault) = tell(&app, reviews, head, state, &sentence).await {
        warn!(number, reason = %fault, cause = ?std::error::Error::source(&fault), "the forge was not told of a judgement");
    }
}

async fn tell(
    app: &App,
    reviews: &Reviews,
    head: CommitId,
    state: &str,
    sentence: &str,
) -> Result<(), StatusFault> {
    let Some(forge) = &app.config.forge else {
        return Ok(());
    };
    let description = harmless(sentence, SENTENCE_MAX);
    let status = Status {
        state,
        context: CONTEXT,
        description: &description,
    };
    let body = serde_json::to_vec(&status).expect("a status is JSON");
    let token = robot::authorization(forge)().map_err(StatusFault::Token)?;
    let (url, repository) = (&forge.url, &forge.repository);
    let request = reviews
        .client
        .post(format!("{url}/api/v1/repos/{repository}/statuses/{head}"))
        .header(AUTHORIZATION, token)
        .header("Content-Type", "application/json")
        .body(body);
    let response = request.send().await;
    let response = response.map_err(|fault| StatusFault::Request(fault.without_url()))?;
    match response.status() {
        status if status.is_success() => Ok(()),
        status => Err(StatusFault::Refused(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(action: &str, base: &str) -> Event {
        let id = "1".repeat(40);
        let json = format!(
            r#"{{"action":"{action}","number":7,"more":{{}},"pull_request":{{"id":1,
            "head":{{"label":"x","ref":"x","sha":"{id}"}},"base":{{"ref":"{base}","sha":"{id}"}}}}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn only_what_is_new_on_the_branch_is_judged() {
        for action in [
            "opened",
            "reopened",
            "synchronized",
            "synchronize",
            "edited",
        ] {
            assert!(event(action, "main").is_new(), "{action}");
            assert!(!event(action, "other").is_new(), "{action}");
        }
        for action in ["closed", "labeled", ""] {
            assert!(!event(action, "main").is_new(), "{action}");
        }
    }
}
