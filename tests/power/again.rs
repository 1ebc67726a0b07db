//! The program itself on a folder that a power cut left.

use std::fs;
use std::net::SocketAddr;

use super::disk::Tree;
use super::facts::Fact;
use crate::common::git;
use crate::common::http::{Reply, Request, get, request};
use crate::common::registry::Registry;
use crate::common::upload::Release;

/// A server that is given one folder after the other.
pub struct Again {
    registry: Registry,
}

impl Again {
    /// At the same public address.
    pub fn new(bound: SocketAddr) -> Self {
        let registry = stopped(bound);
        Self { registry }
    }

    /// Panics unless a server starts on what a cut left, takes what makes the facts true again, refusing what it has
    /// only for that reason, and has all of it after another start.
    pub fn goes_on(&mut self, facts: &[Fact], tree: &Tree) {
        fill(&mut self.registry, tree);
        self.registry.start_again();
        let token = self.registry.token("alice");
        for fact in facts {
            if let Some(request) = request_for(fact, &token) {
                assert_done(&request.send(self.registry.port));
            }
            if let Fact::TokenRevoked { id, .. } = fact {
                self.registry.run(&["token", "revoke", id]).succeeds();
            }
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

/// A registry that has ended, for folders of one that was reached on `bound`: they need no new settings.
pub fn stopped(bound: SocketAddr) -> Registry {
    let config = format!("public_url = \"http://localhost:{}\"\n", bound.port());
    let mut registry = Registry::start_with(&config);
    registry.stop();
    registry
}

/// Gives a registry that has ended another data folder.
pub fn fill(registry: &mut Registry, tree: &Tree) {
    let data = registry.data();
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    tree.write(&data);
    // Commands write into the folders of keys and tokens without the server's leave, so it tidies nothing up there.
    registry.knows_its_files();
}

/// What a client sends to make the fact true.
pub fn request_for(fact: &Fact, token: &str) -> Option<Request> {
    match fact {
        Fact::Published(release) => Some(release.request(token)),
        Fact::Yanked(release) => {
            let (name, version) = (&release.name, &release.version);
            let path = format!("/crates/api/v1/crates/{name}/{version}/yank");
            Some(request("DELETE", path).token(token))
        }
        Fact::Owns(login, release) => {
            let path = format!("/crates/api/v1/crates/{}/owners", release.name);
            let body = serde_json::json!({ "users": [login] }).to_string();
            Some(request("PUT", path).token(token).body(body))
        }
        Fact::TokenMade { .. } | Fact::TokenGood { .. } | Fact::TokenRevoked { .. } => None,
    }
}

/// Panics unless it was done, or had been done with these very bytes.
#[track_caller]
pub fn assert_done(reply: &Reply) {
    let is_known = || reply.status == 409 && reply.refusal().contains("same checksum");
    assert!(reply.status == 200 || is_known(), "{reply:?}");
}
