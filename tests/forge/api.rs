//! The forge's API, asked by anybody.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::gitea::Gitea;
use super::scene::Repository;
use crate::common::http::{Reply, Request, request};
use crate::common::watch::eventually;

/// Somebody who asks.
#[derive(Clone)]
pub struct Caller<'forge> {
    forge: &'forge Gitea,
    authorization: Option<String>,
}

impl Caller<'_> {
    /// A request to a path below the forge's root.
    pub fn request(&self, method: &'static str, path: &str) -> Request {
        let request = request(method, path);
        match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        }
    }

    /// Asks a path below the forge's root.
    #[track_caller]
    pub fn ask(&self, path: &str) -> Reply {
        self.request("GET", path).send(self.forge.port)
    }

    /// Asks the API.
    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.ask(&format!("/api/v1{path}"))
    }

    /// Asks the API, which must answer with 200; gives what it says.
    #[track_caller]
    pub fn read(&self, path: &str) -> Value {
        self.get(path).succeeds().json()
    }

    /// Tells the API something.
    #[track_caller]
    pub fn send(&self, method: &'static str, path: &str, body: &Value) -> Reply {
        self.request(method, &format!("/api/v1{path}"))
            .header("Content-Type", "application/json")
            .body(body.to_string())
            .send(self.forge.port)
    }

    /// Asks for the advertisement that comes before a push, as git does.
    #[track_caller]
    pub fn ask_to_push(&self, repository: &Repository) -> Reply {
        let Repository { owner, name, .. } = repository;
        self.ask(&format!(
            "/{owner}/{name}.git/info/refs?service=git-receive-pack"
        ))
    }

    /// Writes a new file on `main` or on another branch, which is new too.
    #[track_caller]
    pub fn write_file(&self, repository: &Repository, branch: &str, path: &str, text: &str) {
        let mut change = json!({
            "content": base64(text),
            "message": format!("write {path}"),
        });
        if branch != "main" {
            change["new_branch"] = branch.into();
        }
        let path = format!("{}/contents/{path}", repository.api());
        done(self.send("POST", &path, &change), 201);
    }

    /// Asks to merge a branch into `main`; gives the pull request's number, once the forge knows that it can be merged.
    #[track_caller]
    pub fn open_pull_request(&self, repository: &Repository, branch: &str) -> i64 {
        let wanted = json!({ "head": branch, "base": "main", "title": "a change" });
        let path = format!("{}/pulls", repository.api());
        // In one that it takes for empty there are none.
        eventually("the forge has looked at the first push", || {
            (self.read(&repository.api())["empty"] == false).then_some(())
        });
        let opened = number(&done(self.send("POST", &path, &wanted), 201), "number");
        eventually("a pull request that can be merged", || {
            let shown = self.read(&format!("{path}/{opened}"));
            (shown["mergeable"] == true).then_some(())
        });
        opened
    }

    /// Merges a pull request as one commit, if the forge lets it, once it has looked whether that can be done.
    #[track_caller]
    pub fn squash(&self, repository: &Repository, pull_request: i64) -> Reply {
        let path = format!("{}/pulls/{pull_request}/merge", repository.api());
        eventually("the forge knows whether it can be merged", || {
            let reply = self.send("POST", &path, &json!({ "Do": "squash" }));
            (!reply.text().contains("try again later")).then_some(reply)
        })
    }

    /// Says of a commit that it is good.
    #[track_caller]
    pub fn approve_commit(&self, repository: &Repository, commit: &str, context: &str) -> Reply {
        let status = json!({ "state": "success", "context": context, "description": "is good" });
        let path = format!("{}/statuses/{commit}", repository.api());
        self.send("POST", &path, &status)
    }
}

impl Gitea {
    /// Somebody without a token.
    pub fn anonymous(&self) -> Caller<'_> {
        self.caller(None)
    }

    /// Somebody with a token, sent as the API's own clients do.
    pub fn with_token(&self, token: &str) -> Caller<'_> {
        self.caller(Some(format!("token {token}")))
    }

    /// Somebody with a token, sent as OAuth does.
    pub fn with_bearer(&self, token: &str) -> Caller<'_> {
        self.caller(Some(format!("Bearer {token}")))
    }

    /// Somebody with a password, or a token in its place, as git sends it.
    pub fn with_password(&self, login: &str, password: &str) -> Caller<'_> {
        let both = BASE64_STANDARD.encode(format!("{login}:{password}"));
        self.caller(Some(format!("Basic {both}")))
    }

    /// The administrator.
    pub fn admin(&self) -> Caller<'_> {
        self.with_token(&self.admin_token)
    }

    fn caller(&self, authorization: Option<String>) -> Caller<'_> {
        Caller {
            forge: self,
            authorization,
        }
    }
}

/// What a reply says, which must have this status.
#[track_caller]
pub fn done(reply: Reply, status: u16) -> Value {
    assert_eq!(
        reply.status,
        status,
        "{}",
        String::from_utf8_lossy(&reply.body)
    );
    reply.json()
}

/// A field that is a number.
#[track_caller]
pub fn number(json: &Value, field: &str) -> i64 {
    let number = json[field].as_i64();
    number.unwrap_or_else(|| panic!("`{field}` is no number: {json}"))
}

/// A field that is a text.
#[track_caller]
pub fn text(json: &Value, field: &str) -> String {
    let text = json[field].as_str();
    text.unwrap_or_else(|| panic!("`{field}` is no text: {json}"))
        .to_owned()
}

/// A text as the API wants the content of a file.
pub fn base64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

/// How the forge signs what it tells, with this secret.
pub fn signature(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body);
    let digits = tag.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("sha256={}", digits.collect::<String>())
}
