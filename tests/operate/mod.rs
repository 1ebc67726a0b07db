//! What an operator does to a registry, while its server runs and while it does not.

mod backup;
mod hooks;
mod keys;
mod logs;
mod metrics;
mod push;
pub mod ready;
mod says;
mod secrets;
mod settings;
mod socket;
mod start;
mod tokens;
mod users;
mod verify;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::common::git::{self, Clone, git};
use crate::common::http::Reply;
use crate::common::registry::Registry;
use crate::common::upload::Release;

/// The id of a token: its claim `jti`.
fn id_of(token: &str) -> String {
    let claims = token.split('.').nth(1).unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

/// Publishes a version of a crate of `who`.
fn publish(registry: &Registry, who: &str, patch: usize, token: &str) -> Reply {
    Release::new(&format!("of-{who}"), &format!("1.0.{patch}")).publish(registry.port, token)
}

/// Panics unless the token is refused as a revoked one.
#[track_caller]
fn assert_revoked(registry: &Registry, who: &str, token: &str) {
    let reply = publish(registry, who, 999, token);
    assert_eq!(reply.status, 401, "{reply:?}");
    let why = reply.refusal();
    let sentence = format!("the token {} was revoked; get a new one", id_of(token));
    assert!(why.contains(&sentence), "unclear: {why}");
}

/// The subjects of all commits, the newest first.
fn subjects(registry: &Registry) -> Vec<String> {
    let arguments = ["log", "--format=%s", "refs/heads/main"];
    let log = git(&registry.repository(), &arguments).succeeds();
    log.stdout.lines().map(str::to_owned).collect()
}

/// Panics unless git accepts all commits by the keys that the tip names; gives the keys, the newest commit first.
#[track_caller]
fn signers(registry: &Registry) -> Vec<String> {
    git::assert_sound(&registry.repository());
    let clone = Clone::of(registry);
    let setting = "gpg.ssh.allowedSignersFile=allowed_signers";
    let log = clone.git(&["-c", setting, "log", "--format=%G? %GK %s"]);
    let signer = |line: &str| {
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("G"), "{log}");
        words.next().unwrap().to_owned()
    };
    log.lines().map(signer).collect()
}
