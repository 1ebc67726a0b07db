//! Runs the real server and commands beside it under `strace`, and keeps what they did and what they said.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tempfile::TempDir;

use super::calls::{self, Step};
use super::facts::Fact;
use crate::cargo::durability::whole_trace;
use crate::common::http::{Request, request};
use crate::common::ran::run;
use crate::common::registry::{Registry, program};
use crate::common::tools;
use crate::common::upload::Release;

/// More than is ever written or said by one call, in bytes.
const TEXT_MAX: &str = "4000000";

/// What happened to a data folder, from its first moment on.
pub struct Recording {
    /// In their order.
    pub steps: Vec<Step>,
    /// What was acknowledged, each with the step that told it.
    pub facts: Vec<(usize, Fact)>,
    /// Where the server listened.
    pub bound: SocketAddr,
}

/// A registry whose every step is written down, and clients of it.
pub struct Stage {
    registry: Registry,
    strace: PathBuf,
    folder: TempDir,
    /// Traces of commands that have ended.
    traces: Mutex<Vec<String>>,
    /// What was acknowledged, each with a text that only the acknowledgement holds.
    told: Mutex<Vec<(String, Fact)>>,
}

/// A token and its id.
#[derive(Clone)]
pub struct Token {
    pub text: String,
    pub id: String,
}

impl Recording {
    /// Of everything that `play` does to a registry that begins with an empty folder; `None` if there is no `strace`.
    pub fn of(play: impl FnOnce(&Stage)) -> Option<Self> {
        let strace = tools::strace()?;
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("server");
        let mut runner = words(&strace, &path);
        // It leaves the server as our own child, so that it gets our signals.
        runner.push("-D".to_owned());
        let runner: Vec<&str> = runner.iter().map(String::as_str).collect();
        let mut stage = Stage {
            registry: Registry::start_under(&runner),
            strace,
            folder,
            traces: Mutex::default(),
            told: Mutex::default(),
        };
        play(&stage);
        let pid = stage.registry.pid();
        stage.registry.stop();
        let mut traces = stage.traces.into_inner().unwrap();
        traces.push(whole_trace(&path, pid));
        let steps = calls::read(&traces, &stage.registry.data());
        let told = stage.told.into_inner().unwrap();
        let facts = told
            .into_iter()
            .map(|(mark, fact)| (step_that_says(&steps, &mark), fact));
        Some(Self {
            facts: facts.collect(),
            steps,
            bound: (Ipv4Addr::LOCALHOST, stage.registry.port).into(),
        })
    }

    /// As if one flush had never been asked for.
    pub fn without_flush(&self, number: usize) -> Self {
        let mut steps = self.steps.clone();
        for step in &mut steps {
            if matches!(step, Step::SyncBegun { number: found, .. } if *found == number) {
                // Something else in its place, so that all others keep theirs.
                *step = Step::SyncEnded { number };
            }
        }
        Self {
            steps,
            facts: self.facts.clone(),
            bound: self.bound,
        }
    }
}

impl Stage {
    /// Publishes a release.
    pub fn publish(&self, release: &Release, token: &Token) {
        self.ask(
            release.request(&token.text),
            Fact::Published(release.clone()),
        );
    }

    /// Yanks a release.
    pub fn yank(&self, release: &Release, token: &Token) {
        let (name, version) = (&release.name, &release.version);
        let path = format!("/crates/api/v1/crates/{name}/{version}/yank");
        let request = request("DELETE", path).token(&token.text);
        self.ask(request, Fact::Yanked(release.clone()));
    }

    /// Makes `login` an owner of the crate of a release.
    pub fn add_owner(&self, login: &str, release: &Release, token: &Token) {
        let path = format!("/crates/api/v1/crates/{}/owners", release.name);
        let request = request("PUT", path)
            .token(&token.text)
            .body(serde_json::json!({ "users": [login] }).to_string());
        self.ask(request, Fact::Owns(login.to_owned(), release.clone()));
    }

    /// Makes a token that nobody revokes.
    pub fn token(&self, user: &str) -> Token {
        let token = self.token_to_revoke(user);
        let text = token.text.clone();
        self.tell(&token.text, Fact::TokenGood { token: text });
        token
    }

    /// Makes a token that may be revoked later.
    pub fn token_to_revoke(&self, user: &str) -> Token {
        let text = self
            .command(&["token", "create", user])
            .trim_end()
            .to_owned();
        let claims = BASE64_URL_SAFE_NO_PAD.decode(text.split('.').nth(1).unwrap());
        let claims: serde_json::Value = serde_json::from_slice(&claims.unwrap()).unwrap();
        let id = claims["jti"].as_str().unwrap().to_owned();
        self.tell(&text, Fact::TokenMade { id: id.clone() });
        Token { text, id }
    }

    /// Revokes a token.
    pub fn revoke(&self, token: &Token) {
        self.command(&["token", "revoke", &token.id]);
        let mark = format!("\"token-revoked\",\"id\":\"{}\"", token.id);
        let Token { id, text: token } = token.clone();
        self.tell(&mark, Fact::TokenRevoked { id, token });
    }

    /// Runs a command beside the server, and gives what it prints.
    pub fn command(&self, arguments: &[&str]) -> String {
        let folder = TempDir::new_in(self.folder.path()).unwrap();
        let path = folder.path().join("command");
        let mut command = Command::new(&self.strace);
        command
            .args(&words(&self.strace, &path)[1..])
            .arg(program())
            .args(arguments)
            .arg("--data")
            .arg(self.registry.data());
        let ran = run(&mut command, b"").succeeds();
        let trace = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        self.traces.lock().unwrap().push(trace);
        ran.stdout
    }

    fn ask(&self, request: Request, fact: Fact) {
        let reply = request.send(self.registry.port).succeeds();
        self.tell(reply.header("x-request-id").unwrap(), fact);
    }

    fn tell(&self, mark: &str, fact: Fact) {
        self.told.lock().unwrap().push((mark.to_owned(), fact));
    }
}

/// How `strace` is called, up to the program that it runs.
fn words(strace: &std::path::Path, output: &std::path::Path) -> Vec<String> {
    let (strace, output) = (strace.to_str().unwrap(), output.to_str().unwrap());
    let words = [
        strace,
        "-f",
        "-y",
        "-ttt",
        "-s",
        TEXT_MAX,
        "-e",
        calls::CALLS,
        "-o",
        output,
    ];
    words.map(str::to_owned).to_vec()
}

/// The first step that tells somebody the text `mark`.
fn step_that_says(steps: &[Step], mark: &str) -> usize {
    let says = |step: &Step| {
        let Step::Said(bytes) = step else {
            return false;
        };
        memchr::memmem::find(bytes, mark.as_bytes()).is_some()
    };
    let step = steps.iter().position(says);
    step.unwrap_or_else(|| panic!("nobody was told {mark}"))
}
