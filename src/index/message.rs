//! Commits of the registry: message, people and bytes.

use std::fmt::Write;

use jiff::Timestamp;

use crate::domain::{CommitId, Login, PlainText, RepositoryPath, TreeId};

/// The domain of addresses that belong to nobody (RFC 2606).
const NOBODY: &str = "sidecargo.invalid";
/// The address of the registry, which commits everything that people do not.
pub const REGISTRY_ADDRESS: &str = "registry@sidecargo.invalid";

/// What a commit says: a subject, and trailers that machines read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) subject: String,
    pub(super) trailers: Vec<(&'static str, PlainText)>,
}

/// Who caused a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Author {
    /// A person with a token.
    Person(Login),
    /// A job of the forge's CI, for its repository.
    Job(RepositoryPath),
    /// The registry itself, for its own files.
    Registry,
}

/// A commit before it is signed.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) tree: TreeId,
    pub(super) parent: Option<CommitId>,
    pub(super) author: &'a Author,
    pub(super) time: Timestamp,
    pub(super) message: &'a Message,
}

impl Message {
    /// A message with a subject alone.
    pub(super) fn new(subject: String) -> Self {
        Self {
            subject,
            trailers: Vec::new(),
        }
    }

    /// Adds a trailer whose value is known to be one plain line.
    pub(super) fn with(mut self, key: &'static str, value: PlainText) -> Self {
        self.trailers.push((key, value));
        self
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.subject);
        if !self.trailers.is_empty() {
            text.push('\n');
        }
        for (key, value) in &self.trailers {
            text.push_str(&format!("{key}: {value}\n"));
        }
        text
    }
}

impl Author {
    fn identity(&self) -> String {
        match self {
            Self::Person(login) => format!("{login} <{login}@users.{NOBODY}>"),
            Self::Job(path) => format!("{path} <{path}@jobs.{NOBODY}>"),
            Self::Registry => committer(),
        }
    }
}

impl Draft<'_> {
    /// The commit's bytes, signed by `sign`, which is given the bytes without the signature.
    pub(super) fn sign<E>(
        &self,
        sign: impl FnOnce(&[u8]) -> Result<String, E>,
    ) -> Result<Vec<u8>, E> {
        let head = self.head();
        let text = self.message.text();
        let signature = sign(format!("{head}\n{text}").as_bytes())?;
        // A header's further lines start with a blank.
        let header = signature.trim_end().replace('\n', "\n ");
        Ok(format!("{head}gpgsig {header}\n\n{text}").into_bytes())
    }

    fn head(&self) -> String {
        let seconds = self.time.as_second();
        let mut head = format!("tree {}\n", self.tree);
        if let Some(parent) = &self.parent {
            writeln!(head, "parent {parent}").expect("writing to a string does not fail");
        }
        writeln!(head, "author {} {seconds} +0000", self.author.identity())
            .expect("writing to a string does not fail");
        writeln!(head, "committer {} {seconds} +0000", committer())
            .expect("writing to a string does not fail");
        head
    }
}

/// What a commit that exists says.
pub(super) struct Said(String);

impl Said {
    /// Reads the message of a commit, given as the whole object.
    pub(super) fn of(commit: &[u8]) -> Self {
        let text = String::from_utf8_lossy(commit);
        let message = text.split_once("\n\n").map_or("", |(_, message)| message);
        Self(message.to_owned())
    }

    /// The first line.
    pub(super) fn subject(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }

    /// The value of a trailer: of a line `Key: value` in the last paragraph.
    pub(super) fn trailer(&self, key: &str) -> Option<&str> {
        let mut lines = self.trailers();
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
    }

    /// The keys of all trailers, in their order; of a line that is none, the whole line.
    pub(super) fn keys(&self) -> Vec<&str> {
        let key = |line: &'_ str| line.find(": ").unwrap_or(line.len());
        self.trailers().map(|line| &line[..key(line)]).collect()
    }

    fn trailers(&self) -> std::str::Lines<'_> {
        let paragraphs = self.0.trim_end().rsplit_once("\n\n");
        paragraphs.map_or("", |(_, last)| last).lines()
    }
}

fn committer() -> String {
    format!("Sidecargo <{REGISTRY_ADDRESS}>")
}
