//! Clients that mean harm, against the running program.
//!
//! Each test ends with the same proof: the registry has not changed, works on, and has let go of everything.

mod addresses;
mod crowd;
mod pkt_lines;
mod slow;

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::common::git;
use crate::common::http::{connect, get};
use crate::common::person;
use crate::common::process::{children, descriptors, settled};
use crate::common::registry::Registry;
use crate::common::upload::{Release, noise};

/// Short limits, so that a test of patience takes little of it.
const SHORT_LIMITS: &str = "[http]\nheader_secs = 1\nbody_idle_secs = 1\nbody_total_secs = 4\n\
                            response_idle_secs = 1\n\n\
                            [fetch]\nstall_secs = 1\n";

/// The least that a clone of a large index has: more than the buffers of a connection hold.
const LARGE_BYTES: usize = 16 << 20;

/// A registry under attack, and what it held before.
struct Besieged {
    registry: Registry,
    token: String,
    tip: String,
    descriptors: usize,
}

impl Besieged {
    /// With a crate to read and this configuration.
    fn with(config: &str) -> Self {
        let registry = Registry::start_with(config);
        let token = registry.token("alice");
        let release = Release::new("krate", "1.0.0");
        release.publish(registry.port, &token).succeeds();
        Self::of(registry, token)
    }

    /// As [`Besieged::with`], with an index whose clone is of [`LARGE_BYTES`].
    fn with_large_index(config: &str) -> Self {
        let mut registry = Registry::start_with(config);
        let token = registry.token("alice");
        let release = Release::new("krate", "1.0.0");
        release.publish(registry.port, &token).succeeds();
        registry.stop();
        person::commit_file(&registry, "README.md", &noise(1, 3 * LARGE_BYTES / 2));
        registry.start_again();
        Self::of(registry, token)
    }

    fn of(registry: Registry, token: String) -> Self {
        let release = Release::new("krate", "1.0.0");
        // Once through everything: what is opened lazily and kept is open now.
        get(release.download_path()).send(registry.port).succeeds();
        clone_works(&registry);
        let tip = git::tip(&registry.repository());
        let descriptors = settled(|| descriptors(registry.pid()), None);
        Self {
            registry,
            token,
            tip,
            descriptors,
        }
    }

    /// The same, with the server started again under a program that runs others.
    fn under(mut self, runner: &[&str]) -> Self {
        self.registry.stop();
        self.registry.start_again_under(runner);
        Self::of(self.registry, self.token)
    }

    /// The same, after a change that was meant.
    fn with_a_new_tip(self) -> Self {
        Self {
            tip: git::tip(&self.registry.repository()),
            ..self
        }
    }

    fn port(&self) -> u16 {
        self.registry.port
    }

    /// A client that has begun to take a clone, and takes no more of it.
    fn deaf_clone(&self) -> TcpStream {
        let body = format!("0032want {}\n00000009done\n", self.tip);
        let ask = format!(
            "POST /crates/git/git-upload-pack HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut client = connect(self.port()).unwrap();
        client.write_all(ask.as_bytes()).unwrap();
        client.read_exact(&mut [0; 1]).unwrap();
        client
    }

    /// Expects that nothing changed, that everything still works, and that nothing is left of the attack.
    #[track_caller]
    fn has_held(self) {
        assert_eq!(git::tip(&self.registry.repository()), self.tip);
        get("/crates/index/kr/at/krate")
            .send(self.port())
            .succeeds();
        clone_works(&self.registry);
        let pid = self.registry.pid();
        let children = settled(|| children(pid), Some(0));
        assert_eq!(children, 0, "processes are left");
        let left = settled(|| descriptors(pid), Some(self.descriptors));
        assert!(left <= self.descriptors, "{left} descriptors are open");
        Release::new("afterwards", "1.0.0")
            .publish(self.port(), &self.token)
            .succeeds();
        assert!(!self.registry.log().contains("panicked"));
    }
}

#[track_caller]
fn clone_works(registry: &Registry) {
    let folder = tempfile::TempDir::new().unwrap();
    let words = ["clone", "--quiet", &registry.git_index(), "clone"];
    git::git(folder.path(), &words).succeeds();
}
