//! What setting up and looking after ask: any page of the API, whose JSON they look at in part.

use reqwest::Method;
use serde_json::Value;

use super::client::{Answer, Bytes};
use super::{Forge, ForgeFault, Showing};

impl Forge {
    /// What is at `path` of the API; `None` if nothing is there that the one who asks may see.
    pub async fn look(
        &self,
        path: &str,
        showing: Showing<'_>,
    ) -> Result<Option<Value>, ForgeFault> {
        match self.get(&api(path), showing, Bytes::All).await {
            Ok(answer) => value(&answer).map(Some),
            Err(ForgeFault::NotFound) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The whole list at `path` of the API; `None` if nothing is there that the one who asks may see.
    pub async fn look_through(
        &self,
        path: &str,
        showing: Showing<'_>,
    ) -> Result<Option<Value>, ForgeFault> {
        match self.list(&api(path), showing).await {
            Ok(entries) => Ok(Some(Value::Array(entries))),
            Err(ForgeFault::NotFound) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Changes what is at `path` of the API.
    pub async fn change(
        &self,
        method: Method,
        path: &str,
        showing: Showing<'_>,
        body: &Value,
    ) -> Result<Value, ForgeFault> {
        let json = body.to_string().into_bytes();
        value(&self.send_json(method, &api(path), showing, json).await?)
    }
}

fn api(path: &str) -> String {
    format!("api/v1{path}")
}

/// The body; an empty one is `null`.
fn value(answer: &Answer) -> Result<Value, ForgeFault> {
    match answer.body.is_empty() {
        true => Ok(Value::Null),
        false => answer.json(),
    }
}
