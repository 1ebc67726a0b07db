//! The search for secrets at the end of every test, shown to find what is there.

use std::fs;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::common::http::get;
use crate::common::person;
use crate::common::registry::Registry;

/// Panics unless the search finds `text` in a file at `place` below the data, and nothing once it is gone.
#[track_caller]
fn is_found_at(registry: &Registry, place: &str, text: &[u8]) {
    let path = registry.data().join(place);
    let before = fs::read(&path).ok();
    fs::write(&path, [b"before ", text, b" behind"].concat()).unwrap();
    let found = registry.misplaced_secrets();
    match before {
        Some(before) => fs::write(path, before).unwrap(),
        None => fs::remove_file(path).unwrap(),
    }
    assert!(!found.is_empty(), "nothing is found at {place}");
    assert_eq!(registry.misplaced_secrets(), [""; 0]);
}

#[test]
fn secrets_are_found_wherever_they_are_written() {
    let config = "visibility = \"private\"\ncapability_downloads = true\n";
    let mut registry = Registry::start_with(config);
    let token = registry.token("alice");
    let key = registry.files().into_iter().find(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.ends_with(".pk8")
    });
    let key = fs::read(registry.data().join(key.unwrap())).unwrap();
    let signing = fs::read(registry.data().join("keys/signing-ed25519")).unwrap();
    let settings = get("/crates/index/config.json").token(&token);
    let settings = settings.send(registry.port).succeeds().json();
    let dl = settings["dl"].as_str().unwrap();
    let (_, capability) = dl.split_once("/dl/").unwrap();
    let capability = capability.split('/').next().unwrap().to_owned();
    let basic = BASE64_STANDARD.encode(format!("me:{token}"));
    registry.run(&["key", "rotate"]).succeeds();
    registry.stop();
    assert_eq!(registry.misplaced_secrets(), [""; 0]);

    let places = [
        "../log",
        "../rival-log",
        "cache-or-not",
        "index.git/note",
        "tokens/new",
    ];
    for place in places {
        for secret in [
            token.as_bytes(),
            basic.as_bytes(),
            &key,
            &signing,
            capability.as_bytes(),
        ] {
            is_found_at(&registry, place, secret);
        }
    }
    // A key that has been replaced is still one: what it signed stays good.
    let old_key = registry.data().join("keys/signing-ed25519");
    assert!(fs::read(old_key).unwrap() != signing);
}

#[test]
fn a_token_in_a_commit_is_found_although_it_is_compressed() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    registry.stop();
    assert_eq!(registry.misplaced_secrets(), [""; 0]);
    // As one that somebody pushed to the index.
    let found = {
        let copy = registry.data().join("index.git");
        let kept = tempfile::TempDir::new().unwrap();
        let kept = kept.path().join("kept");
        copy_folder(&copy, &kept);
        person::commit_file(&registry, "README.md", &token);
        let found = registry.misplaced_secrets();
        fs::remove_dir_all(&copy).unwrap();
        copy_folder(&kept, &copy);
        found
    };
    assert_eq!(found, ["a token as it is in the objects of the index"]);
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
}
