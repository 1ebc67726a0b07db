//! One request to a service of git on the forge, and what can become of it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Response, StatusCode, Url};
use tokio::time::Instant;
use tracing::warn;

use crate::domain::ForgePaths;
use crate::pause::is_busy;

use super::super::writer::chain;
use super::report::words;
use super::{NotPushed, TokenFault, Upstream, UpstreamFault};

/// The largest answer that is read, in bytes: refs of one name, or the report of a push with what hooks say.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// How often one request is sent on to another place.
const RENAMED_MAX: usize = 4;

/// Why a request was not answered as it should be.
pub(super) enum Trouble {
    /// Nothing was sent.
    NotSent(String),
    /// It broke when something had been sent.
    Broken(String),
    /// Another status than success.
    Status(StatusCode, String),
    /// A success, but not of git.
    NotGit,
}

impl Upstream {
    /// One request to a service of git, and the whole answer.
    pub(super) async fn ask(
        &self,
        service: &str,
        body: impl Into<Bytes>,
        time: Duration,
    ) -> Result<Vec<u8>, Result<Trouble, UpstreamFault>> {
        if self.pause.left().is_some() {
            return Err(Err(UpstreamFault::Busy(StatusCode::TOO_MANY_REQUESTS)));
        }
        let token = self.token().map_err(Err)?;
        self.must_be_same().await.map_err(Err)?;
        let (until, body) = (Instant::now() + time, body.into());
        let mut base = Url::clone(&self.url.load());
        // A repository that was renamed answers with its new place, and so did its owner before.
        for _ in 0..=RENAMED_MAX {
            let url = format!("{}/{service}", base.as_str().trim_end_matches('/'));
            let request = self
                .client
                .post(&url)
                .header(CONTENT_TYPE, format!("application/x-{service}-request"))
                .header("Git-Protocol", "version=2")
                .header(AUTHORIZATION, token.clone())
                .timeout(until.saturating_duration_since(Instant::now()))
                .body(body.clone());
            let response = request
                .send()
                .await
                .map_err(|fault| Ok(Trouble::of(fault)))?;
            match moved_to(&response, &base, service, self.paths.as_ref()) {
                Some(place) => base = place,
                None => {
                    self.pause.hear(response.status(), response.headers());
                    if response.status().is_success() {
                        self.remember(base);
                    }
                    return read(response, service).await.map_err(Ok);
                }
            }
        }
        Err(Ok(Trouble::Status(
            StatusCode::LOOP_DETECTED,
            "it sends from place to place".to_owned(),
        )))
    }
}

impl Upstream {
    /// Refuses a repository that has only the name of the right one, or may have.
    pub(super) async fn must_be_same(&self) -> Result<(), UpstreamFault> {
        let Some(is_taken) = &self.is_taken else {
            return Ok(());
        };
        match is_taken().await {
            Ok(false) => Ok(()),
            Ok(true) => Err(UpstreamFault::Taken),
            Err(why) => Err(UpstreamFault::Doubtful(Box::new(why))),
        }
    }

    /// What is sent with a request as `Authorization`.
    pub(super) fn token(&self) -> Result<HeaderValue, UpstreamFault> {
        let fault = |cause: io::Error| UpstreamFault::Token(TokenFault(cause.to_string()));
        (self.authorization)().map_err(fault)
    }

    /// From now on it is asked for at its new place.
    fn remember(&self, place: Url) {
        if **self.url.load() != place {
            warn!(
                place = place.as_str(),
                "the index repository was renamed on the forge; change `forge.repository`"
            );
            self.url.store(Arc::new(place));
        }
    }
}

impl Trouble {
    fn of(fault: reqwest::Error) -> Self {
        let is_sent = !fault.is_connect() && !fault.is_builder();
        let reason = chain(&fault.without_url());
        match is_sent {
            true => Self::Broken(reason),
            false => Self::NotSent(reason),
        }
    }

    /// What is said of a push whose commit is not found on the branch.
    pub(super) fn of_push(self) -> NotPushed {
        match self {
            Self::Broken(reason) => NotPushed::Unknown(reason),
            // Whoever answers so may stand before the forge, which may have got all of it and be at it still.
            Self::Status(status, _)
                if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT =>
            {
                NotPushed::Unknown(format!("the forge answered {status}"))
            }
            Self::NotGit => NotPushed::Unknown(UpstreamFault::from(self).to_string()),
            Self::Status(StatusCode::PAYLOAD_TOO_LARGE, said) => {
                let reason = format!("it is too large for the forge or a proxy before it {said}");
                NotPushed::Refused(reason.trim_end().to_owned())
            }
            other => NotPushed::NotDone(other.into()),
        }
    }
}

impl From<Trouble> for UpstreamFault {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::NotSent(reason) | Trouble::Broken(reason) => Self::Unreachable(reason),
            Trouble::Status(status, _) if is_busy(status) => Self::Busy(status),
            Trouble::Status(status, said) if status.is_client_error() => {
                Self::Closed(format!("{status} {said}").trim_end().to_owned())
            }
            Trouble::Status(status, said) => Self::Odd(format!("{status} {said}")),
            Trouble::NotGit => Self::Closed(
                "it answers with a page for people; perhaps the account may not sign in".to_owned(),
            ),
        }
    }
}

/// Where the repository is now, if the forge says that it was renamed: on the same forge, nowhere else.
fn moved_to(
    response: &Response,
    base: &Url,
    service: &str,
    paths: Option<&ForgePaths>,
) -> Option<Url> {
    if !response.status().is_redirection() {
        return None;
    }
    let place = response.headers().get(LOCATION)?.to_str().ok()?;
    let mut place = response.url().join(place).ok()?;
    if place.origin() != base.origin() {
        return None;
    }
    place.set_query(None);
    let repository = place
        .path()
        .strip_suffix(&format!("/{service}"))?
        .to_owned();
    let owned = |place: &&str| place.split('/').count() == 2;
    let here = paths.and_then(|paths| {
        let place = paths.below(&repository).find(owned)?;
        Some(format!("{}{place}", paths.reached()))
    });
    place.set_path(&here.unwrap_or(repository));
    Some(place)
}

async fn read(mut response: Response, service: &str) -> Result<Vec<u8>, Trouble> {
    let status = response.status();
    let is_git = response.headers().get(CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes() == format!("application/x-{service}-result").as_bytes()
    });
    let mut answer = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if answer.len() + chunk.len() <= ANSWER_BYTES_MAX => {
                answer.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => return Err(Trouble::Broken("its answer is too long".to_owned())),
            Ok(None) => break,
            Err(fault) => return Err(Trouble::Broken(chain(&fault.without_url()))),
        }
    }
    match status.is_success() {
        true if is_git => Ok(answer),
        true => Err(Trouble::NotGit),
        false => Err(Trouble::Status(
            status,
            words(&String::from_utf8_lossy(&answer)),
        )),
    }
}

pub(super) fn packet(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

#[cfg(test)]
mod tests {
    use reqwest::Client;

    use super::*;

    #[tokio::test]
    async fn of_a_request_that_never_went_out_it_is_known_that_nothing_was_done() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        for url in [nobody.as_str(), "no URL"] {
            let fault = Client::new().post(url).send().await.unwrap_err();
            let trouble = Trouble::of(fault);
            assert!(matches!(&trouble, Trouble::NotSent(_)), "{url}");
            assert!(matches!(trouble.of_push(), NotPushed::NotDone(_)));
        }
    }

    #[test]
    fn what_is_closed_and_what_passes_is_told_by_the_status() {
        let told = |status| {
            let status = StatusCode::from_u16(status).unwrap();
            UpstreamFault::from(Trouble::Status(status, "why".to_owned()))
        };
        for status in [400, 403, 404] {
            let fault = told(status);
            assert!(matches!(fault, UpstreamFault::Closed(_)), "{fault}");
            assert!(!fault.is_away());
        }
        for status in [302, 500, 508] {
            let fault = told(status);
            assert!(matches!(fault, UpstreamFault::Odd(_)), "{fault}");
            assert!(!fault.is_away());
        }
        for status in [429, 503] {
            assert!(told(status).is_away());
        }
        assert!(UpstreamFault::from(Trouble::Broken(String::new())).is_away());
        // Whose the repository is, the forge does not say for the same reasons.
        for (status, is_away) in [(503, true), (500, false)] {
            assert_eq!(
                UpstreamFault::Doubtful(Box::new(told(status))).is_away(),
                is_away
            );
        }
    }

    #[tokio::test]
    async fn an_answer_has_at_most_256_kibibytes() {
        let answer = async |bytes| {
            let kind = "application/x-git-upload-pack-result";
            let answer = hyper::Response::builder().header(CONTENT_TYPE, kind);
            let answer = answer.body(vec![b'a'; bytes]).unwrap();
            read(Response::from(answer), "git-upload-pack").await
        };
        for bytes in [0, 100_000, 256 << 10] {
            let read = answer(bytes).await;
            assert!(read.is_ok_and(|read| read.len() == bytes), "{bytes}");
        }
        let read = answer((256 << 10) + 1).await;
        assert!(matches!(read, Err(Trouble::Broken(why)) if why.contains("too long")));
    }
}
