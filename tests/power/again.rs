//! The program itself on a folder that a power cut left.

use std::fs;

use super::disk::Tree;
use super::facts::Fact;
use crate::common::git;
use crate::common::http::{Reply, get, request};
use crate::common::registry::Registry;
use crate::common::upload::Release;

/// A server that is given one folder after the other.
pub struct Again {
    registry: Registry,
}

impl Again {
    pub fn new() -> Self {
        let mut registry = Registry::start();
        registry.stop();
        Self { registry }
    }

    /// Panics unless a server starts on what a cut left, takes what makes the facts true again, refusing what
    /// it has only for that reason, and has all of it after another start.
    pub fn goes_on(&mut self, facts: &[Fact], tree: &Tree) {
        let data = self.registry.data();
        fs::remove_dir_all(&data).unwrap();
        fs::create_dir(&data).unwrap();
        tree.write(&data);
        // Commands write into the folders of keys and tokens without the server's leave, so it tidies nothing up there.
        self.registry.knows_its_files();
        self.registry.start_again();
        let token = self.registry.token("alice");
        for fact in facts {
            self.ask(fact, &token);
        }
        let next = Release::new("after-the-cut", "1.0.0");
        next.publish(self.registry.port, &token).succeeds();
        self.registry.stop();
        self.registry.start_again();
        self.has(&next);
        for fact in facts {
            match fact {
                Fact::Published(release) => self.has(release),
                Fact::TokenRevoked { token, .. } => {
                    assert_eq!(self.publish_as(token).status, 401);
                }
                _ => {}
            }
        }
        self.registry.stop();
        git::assert_sound(&self.registry.repository());
    }

    /// Asks for what makes the fact true.
    fn ask(&self, fact: &Fact, token: &str) {
        let port = self.registry.port;
        match fact {
            Fact::Published(release) => {
                let reply = release.publish(port, token);
                let is_known = reply.status == 409 && reply.refusal().contains("same checksum");
                assert!(reply.status == 200 || is_known, "{reply:?}");
            }
            Fact::Yanked(release) => {
                let path = format!("{}/{}/yank", release.name, release.version);
                let path = format!("/crates/api/v1/crates/{path}");
                request("DELETE", path).token(token).send(port).succeeds();
            }
            Fact::Owns(login, release) => {
                let path = format!("/crates/api/v1/crates/{}/owners", release.name);
                let body = serde_json::json!({ "users": [login] }).to_string();
                let request = request("PUT", path).token(token).body(body);
                request.send(port).succeeds();
            }
            Fact::TokenRevoked { id, .. } => {
                self.registry.run(&["token", "revoke", id]).succeeds();
            }
            Fact::TokenMade { .. } | Fact::TokenGood { .. } => {}
        }
    }

    fn publish_as(&self, token: &str) -> Reply {
        Release::new("by-nobody", "1.0.0").publish(self.registry.port, token)
    }

    /// Panics unless the line and the file of the release are served.
    fn has(&self, release: &Release) {
        let name = &release.name;
        let path = format!("/crates/index/{}/{}/{name}", &name[..2], &name[2..4]);
        let file = get(path).send(self.registry.port).succeeds();
        let lines = file
            .text()
            .lines()
            .filter(|line| line.contains(&release.cksum()));
        assert_eq!(lines.count(), 1, "{name} {}", release.version);
        let download = get(release.download_path())
            .send(self.registry.port)
            .succeeds();
        assert!(download.body == release.crate_file, "other bytes");
    }
}
