//! The server's own answers, without Cargo.
//!
//! Mostly to what an honest client never sends: each is refused with a sentence, and nothing is left behind.

mod browse;
mod disagreement;
mod downloads;
mod frames;
mod names;
mod permanence;
mod private;
mod process;
mod publishing;
mod routes;
mod tarballs;
mod tokens;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::common::git;
use crate::common::http::{Reply, Request, get, request};
use crate::common::registry::Registry;
use crate::common::upload::{Release, frame, metadata};

/// A registry that must not change, and somebody who may publish to it.
struct Target {
    registry: Registry,
    token: String,
    before: State,
}

/// Everything that an upload could leave behind.
#[derive(Debug, PartialEq)]
struct State {
    tip: String,
    files: BTreeSet<PathBuf>,
}

impl Target {
    /// A registry with these releases, all of alice.
    fn with(releases: &[Release]) -> Self {
        let registry = Registry::start();
        let token = registry.token("alice");
        for release in releases {
            release.publish(registry.port, &token).succeeds();
        }
        let before = State::of(&registry);
        Self {
            registry,
            token,
            before,
        }
    }

    /// Uploads `body` and expects a refusal.
    #[track_caller]
    fn refuses_body(&self, what: &str, body: Vec<u8>) -> Reply {
        let upload = request("PUT", "/crates/api/v1/crates/new")
            .token(&self.token)
            .body(body);
        self.refuses(what, &upload)
    }

    /// Uploads this `.crate` file as `krate 1.0.0` and expects a refusal.
    #[track_caller]
    fn refuses_crate_file(&self, what: &str, crate_file: &[u8]) -> Reply {
        let metadata = metadata("krate", "1.0.0").to_string();
        self.refuses_body(what, frame(metadata.as_bytes(), crate_file))
    }

    /// Sends the request and expects an answer from 400 to 499 with a sentence, and no change at all.
    #[track_caller]
    fn refuses(&self, what: &str, request: &Request) -> Reply {
        let reply = request
            .try_send(self.registry.port)
            .unwrap_or_else(|error| panic!("{what}: no answer: {error}"));
        assert!(
            (400..500).contains(&reply.status),
            "{what}: status {}, {}",
            reply.status,
            String::from_utf8_lossy(&reply.body)
        );
        println!("{what}: {} {}", reply.status, reply.refusal());
        self.is_unchanged(what);
        reply
    }

    /// Expects that nothing has changed; temporary files may take a moment to go.
    #[track_caller]
    fn is_unchanged(&self, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let now = State::of(&self.registry);
            assert_eq!(now.tip, self.before.tip, "{what}: the tip has moved");
            if now == self.before {
                return;
            }
            let left = now.files.symmetric_difference(&self.before.files);
            let left: Vec<_> = left.collect();
            assert!(Instant::now() < deadline, "{what}: files differ: {left:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Expects that the server still does its work.
    #[track_caller]
    fn still_publishes(&self) {
        let release = Release::new("afterwards", "1.0.0");
        release.publish(self.registry.port, &self.token).succeeds();
        let download = get(release.download_path()).send(self.registry.port);
        assert!(download.succeeds().body == release.crate_file);
    }
}

impl State {
    fn of(registry: &Registry) -> Self {
        let mut files = registry.files();
        // The command line keeps a record of the tokens that a test makes; no upload comes near it.
        files.retain(|path| !path.starts_with("tokens"));
        Self {
            tip: git::tip(&registry.repository()),
            files,
        }
    }
}
