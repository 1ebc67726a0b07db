//! Requests that end: in time and in size, and never elsewhere than they were sent.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fault::Fault;
use crate::domain::harmless;

/// For a connection, and for all of a request.
const CONNECT_TIME: Duration = Duration::from_secs(10);
const TOTAL_TIME: Duration = Duration::from_secs(30);
/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// What is repeated of somebody's words, in characters.
const WORDS_MAX: usize = 500;

/// An answer, whatever its status.
pub struct Reply {
    pub status: u16,
    body: Vec<u8>,
}

/// A client that follows nobody elsewhere.
pub fn client() -> Result<Client, Fault> {
    Client::builder()
        .connect_timeout(CONNECT_TIME)
        .timeout(TOTAL_TIME)
        .redirect(Policy::none())
        .build()
        .map_err(|fault| unreachable("the network", fault))
}

/// Sends a request to `who`.
pub async fn ask(who: &str, request: RequestBuilder) -> Result<Reply, Fault> {
    let mut response = request
        .send()
        .await
        .map_err(|fault| unreachable(who, fault))?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|fault| unreachable(who, fault))?
    {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            let who = who.to_owned();
            return Err(Fault::Odd {
                who,
                what: "it is too long",
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply { status, body })
}

impl Reply {
    /// What a success says.
    pub fn json<T: DeserializeOwned>(&self, who: &str) -> Result<T, Fault> {
        if self.status != 200 {
            return Err(self.refusal(who));
        }
        // The text of a fault may repeat what stands in the answer.
        serde_json::from_slice(&self.body).map_err(|_| Fault::Odd {
            who: who.to_owned(),
            what: "not the JSON that was asked for",
        })
    }

    /// The refusal in words.
    pub fn refusal(&self, who: &str) -> Fault {
        Fault::Refused {
            who: who.to_owned(),
            status: self.status,
            said: self.said(),
        }
    }

    /// The words of a refusal, as registries and forges put them.
    pub fn said(&self) -> String {
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let words = [
            &json["errors"][0]["detail"],
            &json["error_description"],
            &json["error"],
            &json["message"],
        ];
        let words = words.into_iter().find_map(Value::as_str);
        harmless(words.unwrap_or("it does not say why"), WORDS_MAX)
    }
}

/// What went wrong on the way, without the address, in which something may stand that is nobody's business.
fn unreachable(who: &str, fault: reqwest::Error) -> Fault {
    let fault = fault.without_url();
    let mut cause: &dyn std::error::Error = &fault;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Fault::Unreachable {
        who: who.to_owned(),
        why: harmless(&cause.to_string(), WORDS_MAX),
    }
}
