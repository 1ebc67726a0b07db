//! `token list` and `token revoke`.

use std::fs;
use std::process::Command;
use std::thread;

use tempfile::TempDir;

use super::{assert_revoked, id_of, publish, subjects};
use crate::common::git;
use crate::common::ran::run;
use crate::common::registry::{Registry, program};
use crate::common::upload::{Release, Uploading};

#[test]
fn a_revocation_holds_at_once_and_after_a_kill() {
    let mut registry = Registry::start();
    let (stolen, kept) = (registry.token("alice"), registry.token("alice"));
    // Used before, so that the server remembers it.
    publish(&registry, "alice", 0, &stolen).succeeds();
    let id = id_of(&stolen);
    let said = registry.run(&["token", "revoke", &id]).succeeds();
    assert_eq!(said.stdout, format!("the token {id} of alice is revoked\n"));
    assert_revoked(&registry, "alice", &stolen);
    publish(&registry, "alice", 1, &kept).succeeds();

    registry.kill();
    registry.start_again();
    assert_revoked(&registry, "alice", &stolen);
    publish(&registry, "alice", 2, &kept).succeeds();
    let tip = git::tip(&registry.repository());
    registry
        .run(&["token", "revoke", &id])
        .succeeds()
        .prints("was revoked before");
    assert_eq!(git::tip(&registry.repository()), tip);
    let expected = format!("revoke token {id}");
    assert_eq!(
        subjects(&registry)[2],
        expected,
        "{:?}",
        subjects(&registry)
    );
    for secret in [&stolen, &kept] {
        let signature = secret.rsplit('.').next().unwrap();
        assert!(!registry.log().contains(signature), "the log holds a token");
    }
}

#[test]
fn a_token_that_is_revoked_during_an_upload_publishes_nothing() {
    let registry = Registry::start();
    let (stolen, kept) = (registry.token("alice"), registry.token("alice"));
    let (taken, left) = (
        Release::new("taken", "1.0.0"),
        Release::new("left", "1.0.0"),
    );
    let uploads = [
        taken.begin(registry.port, &stolen),
        left.begin(registry.port, &kept),
    ];
    let id = id_of(&stolen);
    registry.run(&["token", "revoke", &id]).succeeds();
    let [refused, done] = uploads.map(Uploading::finish);
    assert_eq!(refused.status, 401, "{refused:?}");
    let said = refused.refusal();
    assert!(
        said.contains(&format!("the token {id} was revoked")),
        "{said}"
    );
    done.succeeds();
    let expected = ["publish left 1.0.0", &format!("revoke token {id}")];
    assert_eq!(subjects(&registry)[..2], expected);
}

#[test]
fn tokens_are_revoked_while_no_server_runs() {
    let mut registry = Registry::start();
    let (one, two, kept) = (
        registry.token("alice"),
        registry.token("bob"),
        registry.token("carol"),
    );
    registry.stop();
    let ids = [id_of(&one), id_of(&two)];
    registry
        .run(&["token", "revoke", &ids[0]])
        .succeeds()
        .prints("of alice is revoked");
    registry.start_again();
    assert_revoked(&registry, "alice", &one);
    // A server that was killed leaves its socket, at which nobody listens.
    registry.kill();
    assert!(registry.data().join("control.sock").exists());
    // Nor need the index of a pack have come to the disk.
    let packs = fs::read_dir(registry.repository().join("objects/pack")).unwrap();
    let paths = packs.map(|entry| entry.unwrap().path());
    for index in paths.filter(|path| path.extension().is_some_and(|it| it == "idx")) {
        fs::remove_file(index).unwrap();
    }
    registry
        .run(&["token", "revoke", &ids[1], &ids[0]])
        .succeeds()
        .prints("of bob is revoked")
        .prints("was revoked before");
    registry.start_again();
    assert_revoked(&registry, "bob", &two);
    publish(&registry, "carol", 0, &kept).succeeds();
    // The socket was replaced.
    registry.run(&["token", "revoke", &id_of(&kept)]).succeeds();
    assert_revoked(&registry, "carol", &kept);
    assert_eq!(subjects(&registry).len(), 5);
    git::assert_sound(&registry.repository());
}

#[test]
fn the_list_says_which_tokens_are_good_and_holds_none() {
    let mut registry = Registry::start();
    let limits = ["--can", "yank,publish", "--crates", "acme*,tool"];
    let valid = registry.token_with("alice", &limits);
    let revoked = registry.token("bob");
    let expired = registry.token("carol");
    let record = registry
        .data()
        .join(format!("tokens/{}.toml", id_of(&expired)));
    let text = fs::read_to_string(&record).unwrap();
    let (head, _) = text.split_once("expires = ").unwrap();
    fs::write(
        &record,
        format!("{head}expires = \"2020-01-01T00:00:00Z\"\n"),
    )
    .unwrap();
    let unknown = "00112233445566778899aabbccddeeff";
    registry
        .run(&["token", "revoke", &id_of(&revoked)])
        .succeeds();
    // It is not: it expired by the record that was changed, as it would by a clock that is ahead.
    publish(&registry, "carol", 0, &expired).succeeds();
    registry
        .run(&["token", "revoke", &id_of(&expired)])
        .succeeds()
        .prints("of carol is revoked");
    assert_revoked(&registry, "carol", &expired);
    registry
        .run(&["token", "revoke", unknown])
        .succeeds()
        .prints(&format!(
            "the token {unknown} is revoked; this registry has no record of it"
        ));

    let running = registry.run(&["token", "list"]).succeeds().stdout;
    let rows: Vec<Vec<&str>> = running
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[0],
        ["ID", "USER", "CAN", "CRATES", "ISSUED", "EXPIRES", "STATE"]
    );
    let all = "read,publish,yank,own";
    for (token, user, can, crates, state) in [
        (&valid, "alice", "publish,yank", "acme*,tool", "valid"),
        (&revoked, "bob", all, "*", "revoked"),
        (&expired, "carol", all, "*", "expired"),
    ] {
        let row = rows.iter().find(|row| row[0] == id_of(token)).unwrap();
        assert_eq!((row[1], row[2], row[3], row[6]), (user, can, crates, state));
        assert!(!running.contains(token.rsplit('.').next().unwrap()));
    }
    assert_eq!(rows[4], [unknown, "?", "?", "?", "?", "?", "revoked"]);
    assert_eq!(rows.len(), 5);
    registry.stop();
    assert_eq!(registry.run(&["token", "list"]).succeeds().stdout, running);
    // What lies beside the tokens' ids and limits in the data folder is not a token either.
    let secret = valid.rsplit('.').next().unwrap().as_bytes();
    for path in registry.files() {
        let bytes = fs::read(registry.data().join(&path)).unwrap();
        let is_in = bytes.windows(secret.len()).any(|part| part == secret);
        assert!(!is_in, "{} holds a token", path.display());
    }
}

#[test]
fn what_is_no_id_is_refused_and_not_repeated() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let tip = git::tip(&registry.repository());
    for wrong in [token.as_str(), "", "5f3a", &id_of(&token).to_uppercase()] {
        let arguments = ["token", "revoke", &id_of(&token), wrong];
        let ran = registry
            .run(&arguments)
            .fails_with("nothing was revoked: this is not the id of a token");
        assert!(!ran.stderr.contains(&token), "it prints the token");
    }
    assert_eq!(git::tip(&registry.repository()), tip);
}

#[test]
fn a_folder_without_a_registry_is_named_and_not_filled() {
    let mut registry = Registry::start();
    registry.stop();
    let data = registry.data();
    fs::remove_dir_all(&data).unwrap();
    for arguments in [
        &["token", "revoke", &"0".repeat(32)][..],
        &["token", "list"],
        &["key", "rotate"],
    ] {
        registry
            .run(arguments)
            .fails_with("there is no registry in the data folder");
    }
    assert!(!data.exists());
}

#[test]
fn a_token_that_makes_a_registry_says_so() {
    let folder = TempDir::new().unwrap();
    let create = || {
        let mut command = Command::new(program());
        command.args(["token", "create", "alice"]);
        run(command.current_dir(folder.path()), b"").succeeds()
    };
    let data = folder.path().canonicalize().unwrap().join("sidecargo-data");
    let said = format!(
        "sidecargo: there was no registry in {}; a new one was made\n",
        data.display()
    );
    let first = create();
    assert!(first.stderr.starts_with(&said), "{first}");
    assert_eq!(first.stdout.lines().count(), 1, "{first}");
    let second = create();
    assert!(!second.stderr.contains("was made"), "{second}");
}

#[test]
fn several_commands_at_once_all_succeed() {
    let mut registry = Registry::start();
    let tokens: Vec<String> = (0..4).map(|_| registry.token("alice")).collect();
    let revoke = |registry: &Registry, tokens: &[String]| {
        thread::scope(|scope| {
            for token in tokens {
                // The same one twice, too.
                for _ in 0..2 {
                    scope.spawn(|| registry.run(&["token", "revoke", &id_of(token)]).succeeds());
                }
            }
        });
    };
    revoke(&registry, &tokens[..2]);
    registry.stop();
    revoke(&registry, &tokens[2..]);
    registry.start_again();
    for token in &tokens {
        assert_revoked(&registry, "alice", token);
    }
    assert_eq!(subjects(&registry).len(), 1 + tokens.len());
    git::assert_sound(&registry.repository());
}
