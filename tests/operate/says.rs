//! Commits of the registry that do not say what they do, or do not do what they say.

use super::verify::{LINES, finds, registry};
use crate::common::git;
use crate::common::person::{Person, Receive};
use crate::common::registry::Registry;
use crate::common::tools;
use crate::common::upload::Release;

const OWNERS: &str = "owners/1/a.toml";

/// Lets a person commit with the key of the registry.
fn sign_as_the_registry(person: &Person, registry: &Registry) {
    let key = registry.data().join("keys/signing-ed25519");
    let settings = [
        ("gpg.format", "ssh"),
        ("user.signingKey", key.to_str().unwrap()),
        ("commit.gpgSign", "true"),
    ];
    for (key, value) in settings {
        person.git(&["config", key, value]);
    }
}

/// A good change, the message that says something else of it, and what is found.
type Lie = (fn(&Person), &'static str, &'static str);

const LIES: [Lie; 13] = [
    (
        yank,
        "unyank a 1.0.0\n\nCrate: a\nVersion: 1.0.0\nAuthenticated-via: token 0\nRequest-id: 0\n",
        "its subject is `unyank a 1.0.0`, but what it does is `yank a 1.0.0`",
    ),
    (
        yank,
        "yank a 1.0.0\n\nCrate: b\nVersion: 1.0.0\nAuthenticated-via: token 0\nRequest-id: 0\n",
        "its message says `Crate: b`, but what it does is of `a`",
    ),
    (
        yank,
        "yank a 1.0.0\n\nCrate: a\nVersion: 1.1.0\nAuthenticated-via: token 0\nRequest-id: 0\n",
        "its message says `Version: 1.1.0`, but what it does is of `1.0.0`",
    ),
    (
        yank,
        "yank a 1.0.0\n\nCrate: a\nVersion: 1.0.0\nRequest-id: 0\n",
        "its message has no `Authenticated-via`",
    ),
    (
        yank,
        "yank a 1.0.0\n\nCrate: a\nVersion: 1.0.0\nVersion: 2.0.0\nAuthenticated-via: token 0\nRequest-id: 0\n",
        "the trailers of its message are Crate, Version, Version, ",
    ),
    (
        |person| {
            yank(person);
            person.write("README.md", "and more\n");
        },
        "yank a 1.0.0\n\nCrate: a\nVersion: 1.0.0\nAuthenticated-via: token 0\nRequest-id: 0\n",
        "its message says nothing of `README.md`, which it changes",
    ),
    (
        |person| {
            person.replace(OWNERS, "alice", "mallory");
        },
        "own a +bob\n\nCrate: a\nAuthenticated-via: token 0\nRequest-id: 0\n",
        "its subject is `own a +bob`, but what it does is `own a +mallory -alice`",
    ),
    (
        |person| {
            person.replace("config.json", "localhost", "evil.localhost");
        },
        "move to http://evil.localhost\n",
        "`config.json` and `registry.toml` do not agree",
    ),
    (
        |person| {
            person.replace("registry.toml", "localhost", "evil.localhost");
        },
        "move to http://evil.localhost\n",
        "`config.json` and `registry.toml` do not agree",
    ),
    (
        |person| revoke(person, &["01"]),
        "revoke token 02020202020202020202020202020202\n\nToken: 02020202020202020202020202020202\n",
        "its subject is `revoke token 0202",
    ),
    (
        |person| revoke(person, &["01", "02"]),
        "revoke token 02020202020202020202020202020202\n\nToken: 02020202020202020202020202020202\n",
        "a commit of the registry revokes one token",
    ),
    (
        |person| {
            person.write("policy.toml", "create = []\n");
        },
        "nobody creates crates\n",
        "its message says nothing of `policy.toml`",
    ),
    (
        |_| {},
        "nothing\n",
        "a commit of the registry changes nothing",
    ),
];

fn revoke(person: &Person, bytes: &[&str]) {
    let entry = |byte: &&str| {
        let id = byte.repeat(16);
        format!("{{ id = \"{id}\", until = \"2099-01-01T00:00:00Z\" }},")
    };
    let entries: String = bytes.iter().map(entry).collect();
    person.write("revoked.toml", &format!("tokens = [{entries}]\n"));
}

fn yank(person: &Person) {
    let lines = person.read(LINES);
    person.write(
        LINES,
        &lines.replacen("\"yanked\":false", "\"yanked\":true", 1),
    );
}

#[test]
fn a_commit_of_the_registry_that_says_something_else_is_found() {
    if tools::ssh_keygen().is_none() {
        return;
    }
    let (mut registry, _) = registry();
    registry.stop();
    let good = git::tip(&registry.repository());
    let person = Person::of(&registry);
    sign_as_the_registry(&person, &registry);
    for (change, message, what) in LIES {
        person.catch_up();
        change(&person);
        let commit = person.commit(message);
        person.push("HEAD:main", Receive::Packed).succeeds();
        finds(&registry, &commit, what);
        person
            .push(&format!("{good}:main"), Receive::Packed)
            .succeeds();
    }
    publishes_with_a_lie(&registry, &person);
    // The very commits that the registry would make are good.
    person.catch_up();
    yank(&person);
    person.commit(
        "yank a 1.0.0\n\nCrate: a\nVersion: 1.0.0\nAuthenticated-via: token 0\nRequest-id: 0\n",
    );
    person.push("HEAD:main", Receive::Packed).succeeds();
    registry.run(&["verify"]).succeeds();
    registry.knows_its_files();
}

/// A version whose line is good and whose message names another checksum, then no publisher, then another one.
fn publishes_with_a_lie(registry: &Registry, person: &Person) {
    let good = git::tip(&registry.repository());
    let cksum = Release::new("a", "1.1.0").cksum();
    let says = |cksum: &str, by: &str| {
        format!(
            "publish a 1.2.0\n\nCrate: a\nVersion: 1.2.0\nCksum: {cksum}\n{by}Authenticated-via: token 0\nRequest-id: 0\n"
        )
    };
    let cases = [
        (
            says(&"0".repeat(64), "Published-by: Petra\n"),
            "its message says `Cksum: 00",
        ),
        (says(&cksum, ""), "its message has no `Published-by`"),
        (
            says(&cksum, "Published-by: alice\n"),
            "its message says `Published-by: alice`, but what it does is of `Petra`",
        ),
    ];
    for (message, what) in cases {
        person.catch_up();
        let lines = person.read(LINES);
        let last = lines.lines().last().unwrap().replace("1.1.0", "1.2.0");
        person.write(LINES, &format!("{lines}{last}\n"));
        let commit = person.commit(&message);
        person.push("HEAD:main", Receive::Packed).succeeds();
        finds(registry, &commit, what);
        person
            .push(&format!("{good}:main"), Receive::Packed)
            .succeeds();
    }
    // A new crate belongs to whoever published it.
    person.catch_up();
    let lines = person.read(LINES);
    let line = lines.lines().last().unwrap().replace("\"a\"", "\"b\"");
    person.write("1/b", &format!("{line}\n"));
    person.write("owners/1/b.toml", &person.read(OWNERS));
    let says = says(&cksum, "Published-by: Petra\n").replace("publish a 1.2.0", "publish b 1.1.0");
    let says = says.replace("Crate: a\nVersion: 1.2.0", "Crate: b\nVersion: 1.1.0");
    let commit = person.commit(&says);
    person.push("HEAD:main", Receive::Packed).succeeds();
    finds(
        registry,
        &commit,
        "the crate is new, but its owner is not `Petra`, who published it",
    );
    person
        .push(&format!("{good}:main"), Receive::Packed)
        .succeeds();
}
