//! The largest crate file that passes, and the next larger one.

use std::fs;

use flate2::{Compression, GzBuilder};

use crate::common::cargos::{Sandbox, View};
use crate::common::http::request;
use crate::common::person;
use crate::common::project::Project;
use crate::common::registry::Registry;
use crate::common::tarball::Tarball;
use crate::common::upload::{frame, manifest, metadata};
use std::io::Write;

/// The limit of every new registry, as that of the public one: 10 MiB.
const BYTES_MAX: usize = 10_485_760;

#[test]
fn a_crate_file_of_just_the_limit_passes_and_one_byte_more_does_not() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let upload = |version: &str, bytes: usize| {
        let file = crate_file_of(version, bytes);
        assert_eq!(file.len(), bytes);
        let metadata = metadata("krate", version).to_string();
        request("PUT", "/crates/api/v1/crates/new")
            .token(&token)
            .body(frame(metadata.as_bytes(), &file))
            .send(registry.port)
    };
    let refused = upload("1.0.0", BYTES_MAX + 1);
    assert_eq!(refused.status, 413);
    let why = refused.refusal();
    assert!(why.contains(&BYTES_MAX.to_string()), "{why}");
    upload("1.0.0", BYTES_MAX).succeeds();
}

/// A good crate file of exactly so many bytes: a comment in the head of gzip fills it up.
fn crate_file_of(version: &str, bytes: usize) -> Vec<u8> {
    let text = manifest("krate", version);
    let tar = Tarball::of_crate("krate", version, &text)
        .file(&format!("krate-{version}/noise"), &vec![7; bytes - 65_536])
        .tar();
    let packed = |comment: &str| {
        let builder = GzBuilder::new().comment(comment);
        // Stored, so that the length is that of the archive and a little more.
        let mut encoder = builder.write(Vec::new(), Compression::none());
        encoder.write_all(&tar).unwrap();
        encoder.finish().unwrap()
    };
    let missing = bytes - packed("").len();
    packed(&"x".repeat(missing))
}

#[test]
fn cargo_shows_the_limit_that_its_crate_is_one_byte_over() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    let alice = Sandbox::stable(&registry, View::Sparse);
    alice.login(&token);
    let folder = Project::library("krate", "1.0.0", "").write(&alice.work());
    let words = ["package", "--no-verify"];
    alice.cargo(&folder, &words).succeeds();
    let packed = alice.target().join("package/krate-1.0.0.crate");
    let bytes = usize::try_from(fs::metadata(packed).unwrap().len()).unwrap();
    for (limit, is_taken) in [(bytes - 1, false), (bytes, true)] {
        registry.stop();
        let policy = include_str!("../../index-template/policy.toml");
        let policy = policy.replace(&BYTES_MAX.to_string(), &limit.to_string());
        person::commit_file(&registry, "policy.toml", &policy);
        registry.start_again();
        let published = alice.publish(&folder);
        if is_taken {
            published.succeeds();
        } else {
            let said = published.fails_with("413");
            assert!(said.stderr.contains(&limit.to_string()), "{said}");
        }
    }
}
