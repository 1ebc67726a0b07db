//! Runs the real server and commands beside it under `strace`, and keeps what they did and what they said.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tempfile::TempDir;

use super::again;
use super::calls::{self, Step};
use super::disk::{Fate, Tree};
use super::facts::Fact;
use super::replay::Cut;
use crate::cargo::durability::whole_trace;
use crate::common::person::Person;
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

impl Token {
    /// As it was printed.
    pub fn of(text: &str) -> Self {
        let claims = BASE64_URL_SAFE_NO_PAD.decode(text.split('.').nth(1).unwrap());
        let claims: serde_json::Value = serde_json::from_slice(&claims.unwrap()).unwrap();
        let (id, text) = (claims["jti"].as_str().unwrap().to_owned(), text.to_owned());
        Self { text, id }
    }
}

impl Recording {
    /// Of everything that `play` does to a registry that begins with an empty folder; `None` if there is no `strace`.
    pub fn of(play: impl FnOnce(&Stage)) -> Option<Self> {
        Self::of_both(play, |_| ())
    }

    /// The same, and of all that `afterwards` does once the server has ended.
    pub fn of_both(play: impl FnOnce(&Stage), afterwards: impl FnOnce(&Stage)) -> Option<Self> {
        let strace = tools::strace()?;
        let folder = TempDir::new().unwrap();
        let registry = Registry::start_under(&texts(&runner(&strace, folder.path())));
        Some(Stage::new(registry, strace, folder).record(play, afterwards))
    }

    /// Of a folder that was left as it is long ago: all of it is durable, and these facts are known.
    pub fn resting(tree: &Tree, facts: Vec<Fact>, bound: SocketAddr) -> Self {
        let steps = tree.steps();
        let told = steps.len() - 1;
        Self {
            facts: facts.into_iter().map(|fact| (told, fact)).collect(),
            steps,
            bound,
        }
    }

    /// As if the server had been killed after so many steps and another one started: what was not flushed is there,
    /// and is lost all the same when the power goes after that. `play` is recorded from then on.
    pub fn killed_after(&self, steps: usize, play: impl FnOnce(&Stage)) -> Option<Self> {
        let strace = tools::strace()?;
        let folder = TempDir::new().unwrap();
        let fate = Fate::Kept;
        let mut registry = again::stopped(self.bound);
        again::fill(&mut registry, &self.tree_after(Cut { steps, fate }));
        registry.start_again_under(&texts(&runner(&strace, folder.path())));
        let later = Stage::new(registry, strace, folder).record(play, |_| ());
        let mut all = self.steps[..steps].to_vec();
        // The kill has cut some flushes short: no later one may bear their numbers.
        all.extend(later.steps.into_iter().map(|step| match step {
            Step::SyncBegun { path, number } => {
                let number = number + self.steps.len();
                Step::SyncBegun { path, number }
            }
            Step::SyncEnded { number } => {
                let number = number + self.steps.len();
                Step::SyncEnded { number }
            }
            step => step,
        }));
        let before = self.facts.iter().filter(|(step, _)| *step < steps).cloned();
        let after = later
            .facts
            .into_iter()
            .map(|(step, fact)| (step + steps, fact));
        Some(Self {
            steps: all,
            facts: before.chain(after).collect(),
            bound: self.bound,
        })
    }

    /// The first token that is good, and the first release.
    pub fn first(&self) -> (Token, Release) {
        let mut facts = self.facts.iter().map(|(_, fact)| fact);
        let release = facts.clone().find_map(|fact| match fact {
            Fact::Published(release) => Some(release.clone()),
            _ => None,
        });
        let token = facts.find_map(|fact| match fact {
            Fact::TokenGood { token } => Some(Token::of(token)),
            _ => None,
        });
        (token.unwrap(), release.unwrap())
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
    fn new(registry: Registry, strace: PathBuf, folder: TempDir) -> Self {
        Self {
            registry,
            strace,
            folder,
            traces: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Everything that happens until `play` is over, the server has ended, and `afterwards` is over.
    fn record(mut self, play: impl FnOnce(&Self), afterwards: impl FnOnce(&Self)) -> Recording {
        play(&self);
        let pid = self.registry.pid();
        self.registry.stop();
        afterwards(&self);
        let mut traces = self.traces.into_inner().unwrap();
        traces.push(whole_trace(&trace_of_server(self.folder.path()), pid));
        let steps = calls::read(&traces, &self.registry.data());
        let told = self.told.into_inner().unwrap();
        let facts = told
            .into_iter()
            .map(|(mark, fact)| (step_that_says(&steps, &mark), fact));
        Recording {
            facts: facts.collect(),
            steps,
            bound: (Ipv4Addr::LOCALHOST, self.registry.port).into(),
        }
    }

    /// Publishes a release.
    pub fn publish(&self, release: &Release, token: &Token) {
        self.make(Fact::Published(release.clone()), token);
    }

    /// Yanks a release.
    pub fn yank(&self, release: &Release, token: &Token) {
        self.make(Fact::Yanked(release.clone()), token);
    }

    /// Makes `login` an owner of the crate of a release.
    pub fn add_owner(&self, login: &str, release: &Release, token: &Token) {
        self.make(Fact::Owns(login.to_owned(), release.clone()), token);
    }

    /// Has the fact made true, or told that it is.
    pub fn make(&self, fact: Fact, token: &Token) {
        if let Fact::TokenRevoked { id, token: text } = fact {
            return self.revoke(&Token { text, id });
        }
        let request = again::request_for(&fact, &token.text).expect("clients ask for it");
        let reply = request.send(self.registry.port);
        again::assert_done(&reply);
        self.tell(reply.header("x-request-id").unwrap(), fact);
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
        let token = Token::of(&text);
        let id = token.id.clone();
        self.tell(&text, Fact::TokenMade { id });
        token
    }

    /// Revokes a token.
    pub fn revoke(&self, token: &Token) {
        self.command(&["token", "revoke", &token.id]);
        // Now or before.
        let mark = format!("revoked\",\"id\":\"{}\"", token.id);
        let Token { id, text: token } = token.clone();
        self.tell(&mark, Fact::TokenRevoked { id, token });
    }

    /// Lets a person write something else for `from` in a file of the index, by git.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let person = Person::of(&self.registry);
        person.replace(path, from, to).commit("by hand");
        self.traced(|trace| {
            let strace = words(&self.strace, trace).join(" ");
            let program = format!("--receive-pack={strace} git receive-pack");
            // What completes a thin pack goes to where reads have come, which are not written down.
            person.git(&["push", "--no-thin", &program, "origin", "HEAD:main"]);
        });
    }

    /// Whether the server's log says so.
    pub fn logs(&self, what: &str) -> bool {
        self.registry.log().contains(what)
    }

    /// Runs a command beside the server, and gives what it prints.
    pub fn command(&self, arguments: &[&str]) -> String {
        self.traced(|trace| {
            let mut command = Command::new(&self.strace);
            command
                .args(&words(&self.strace, trace)[1..])
                .arg(program())
                .args(arguments)
                .arg("--data")
                .arg(self.registry.data());
            run(&mut command, b"").succeeds().stdout
        })
    }

    /// Runs what writes its trace there, and keeps that.
    fn traced<T>(&self, run: impl FnOnce(&Path) -> T) -> T {
        let folder = TempDir::new_in(self.folder.path()).unwrap();
        let path = folder.path().join("trace");
        let ran = run(&path);
        let trace = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        self.traces.lock().unwrap().push(trace);
        ran
    }

    fn tell(&self, mark: &str, fact: Fact) {
        self.told.lock().unwrap().push((mark.to_owned(), fact));
    }
}

/// How `strace` is called for a server whose trace lies in `folder`: it leaves it as our own child.
fn runner(strace: &Path, folder: &Path) -> Vec<String> {
    let mut words = words(strace, &trace_of_server(folder));
    words.push("-D".to_owned());
    words
}

fn trace_of_server(folder: &Path) -> PathBuf {
    folder.join("server")
}

/// How `strace` is called, up to the program that it runs.
fn words(strace: &Path, output: &Path) -> Vec<String> {
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

fn texts(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}
