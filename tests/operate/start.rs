//! A start with the snapshot file, without it, and with one that is damaged.

use std::fmt::Write;
use std::fs;

use serde_json::json;

use crate::common::git;
use crate::common::http::get;
use crate::common::registry::Registry;

/// So many that the file is worth writing.
const CRATES: usize = 1_000;
const WARNING: &str = "the snapshot file is not used";

#[test]
fn a_start_serves_the_same_with_and_without_the_snapshot_file() {
    let mut registry = Registry::start();
    registry.stop();
    import(&registry);
    registry.knows_its_files();
    let file = registry.data().join("cache/snapshot");
    registry.start_again();
    let from_git = served(&registry);
    assert!(!file.exists());
    registry.stop();
    let kept = fs::read(&file).unwrap();

    registry.start_again();
    assert_eq!(served(&registry), from_git);
    registry.stop();
    assert!(!registry.log().contains(WARNING), "{}", registry.log());

    fs::write(&file, &kept[..kept.len() / 2]).unwrap();
    registry.start_again();
    assert_eq!(served(&registry), from_git);
    assert!(registry.log().contains(WARNING), "{}", registry.log());
    registry.stop();
    assert_eq!(fs::read(&file).unwrap().len(), kept.len(), "it is whole");

    // A command that finds no server starts as a server does, and ends so.
    fs::remove_file(&file).unwrap();
    let revoke = ["token", "revoke", "00000000000000000000000000000000"];
    registry.run(&revoke).succeeds();
    assert_eq!(fs::read(&file).unwrap().len(), kept.len());
}

/// A few index files, as they are answered.
fn served(registry: &Registry) -> Vec<String> {
    let file = |number: usize| {
        let path = format!("/crates/index/im/po/imported{number}");
        let reply = get(&path).send(registry.port).succeeds();
        format!("{:?} {}", reply.header("etag"), reply.text())
    };
    (0..CRATES).step_by(99).map(file).collect()
}

/// Brings the crates into the index, as years of publishing do.
fn import(registry: &Registry) {
    let repository = registry.repository();
    let mut stream = format!(
        "commit refs/heads/main\ncommitter Nobody <> 1700000000 +0000\ndata 0\nfrom {}\n",
        git::tip(&repository)
    );
    for number in 0..CRATES {
        let name = format!("imported{number}");
        let line = json!({
            "name": name, "vers": "1.0.0", "deps": [], "cksum": "0".repeat(64), "features": {}, "yanked": false,
        });
        let owners = "users = [{ login = \"alice\" }]";
        for (path, text) in [
            (format!("im/po/{name}"), line.to_string()),
            (format!("owners/im/po/{name}.toml"), owners.to_owned()),
        ] {
            let length = text.len() + 1;
            writeln!(stream, "M 100644 inline {path}\ndata {length}\n{text}\n").unwrap();
        }
    }
    git::git_that_reads(&repository, &["fast-import", "--quiet"], &stream).succeeds();
    let tip = format!("{}\n", git::tip(&repository));
    fs::write(repository.join("sidecargo-shown"), tip).unwrap();
}
