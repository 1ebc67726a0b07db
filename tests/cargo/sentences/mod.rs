//! Each rule for uploads in the words in which a developer reads it: those that the real `cargo publish` prints.
//!
//! A case bears the name of its rule, `HeaderFault::Format`, which is the variant that holds the sentence. What Cargo
//! itself lets through is a package, and Cargo sends it. What Cargo would refuse or never make goes in the place of
//! what it sends, and Cargo prints the answer to that.

mod archive;
mod dependencies;
mod features;
mod frame;
mod index;
mod manifest;
mod names;
mod owners;
mod people;
mod rules;

use std::fs;
use std::path::PathBuf;

use insta::assert_snapshot;

use crate::common::cargos::Sandbox;
use crate::common::courier::Courier;
use crate::common::git::Clone;
use crate::common::ran::Ran;
use crate::common::registry::Registry;
use crate::common::tarball::Tarball;
use crate::common::upload::{frame, metadata};

/// The start of a manifest of `krate 1.0.0`.
const MANIFEST: &str = "[package]\nname = \"krate\"\nversion = \"1.0.0\"\n";

/// A package of which only the manifest matters.
struct Package {
    name: String,
    version: String,
    folder: PathBuf,
}

/// A developer's cargo and the registry at which it publishes, with a courier between them.
struct Desk {
    registry: Registry,
    courier: Courier,
    alice: Sandbox,
    /// What Cargo packs when something else is sent.
    krate: Package,
}

impl Package {
    /// `rest` goes right below name and version.
    fn new(sandbox: &Sandbox, name: &str, version: &str, rest: &str) -> Self {
        let package = Self {
            name: name.to_owned(),
            version: version.to_owned(),
            folder: sandbox.work().join(format!("{name}-{version}")),
        };
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n{rest}"
        );
        package.file("src/lib.rs", "").file("Cargo.toml", &manifest)
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }
}

impl Desk {
    /// At a registry with this text as its `policy.toml`, where `alice` may publish.
    fn with_policy(policy: &str) -> Self {
        let courier = Courier::new();
        // So `config.json` sends Cargo to the courier, and so does every index line.
        let mut registry = Registry::start_with(&format!("public_url = '{}'\n", courier.url()));
        if !policy.is_empty() {
            set_policy(&mut registry, policy);
        }
        courier.serve(registry.port);
        let alice = sandbox(&courier);
        alice.login(&registry.token("alice"));
        let krate = Package::new(&alice, "krate", "1.0.0", "");
        Self {
            registry,
            courier,
            alice,
            krate,
        }
    }

    /// A machine of somebody else who may publish.
    fn machine_of(&self, user: &str) -> Sandbox {
        let sandbox = sandbox(&self.courier);
        sandbox.login(&self.registry.token(user));
        sandbox
    }

    /// A package of alice, with `rest` below name and version.
    fn package(&self, name: &str, version: &str, rest: &str) -> Package {
        Package::new(&self.alice, name, version, rest)
    }

    /// What Cargo prints for `rule` when it publishes `package`, which must fail.
    #[track_caller]
    fn refuses(&self, rule: &str, package: &Package) -> String {
        self.refuses_to(&self.alice, rule, package)
    }

    /// As [`Desk::refuses`], on somebody's machine.
    #[track_caller]
    fn refuses_to(&self, sandbox: &Sandbox, rule: &str, package: &Package) -> String {
        let Package { name, version, .. } = package;
        let failed = format!("failed to publish {name} v{version} to");
        self.sentence(rule, &failed, &publish(sandbox, package))
    }

    /// What Cargo prints for `rule` when `body` arrives in the place of what it sent.
    #[track_caller]
    fn refuses_body(&self, rule: &str, body: Vec<u8>) -> String {
        self.courier.with(body, || self.refuses(rule, &self.krate))
    }

    /// As [`Desk::refuses_body`], for the `.crate` file of `krate 1.0.0`.
    #[track_caller]
    fn refuses_file(&self, rule: &str, crate_file: &[u8]) -> String {
        let metadata = metadata("krate", "1.0.0").to_string();
        self.refuses_body(rule, frame(metadata.as_bytes(), crate_file))
    }

    /// As [`Desk::refuses_file`], for a file with this manifest.
    #[track_caller]
    fn refuses_manifest(&self, rule: &str, manifest: &str) -> String {
        self.refuses_file(
            rule,
            &Tarball::of_crate("krate", "1.0.0", manifest).finish(),
        )
    }

    /// As [`Desk::refuses_manifest`], with `rest` below name and version.
    #[track_caller]
    fn refuses_keys(&self, rule: &str, rest: &str) -> String {
        self.refuses_manifest(rule, &format!("{MANIFEST}{rest}"))
    }

    /// The status and the sentence, which must stand where Cargo prints what a registry says.
    #[track_caller]
    fn sentence(&self, rule: &str, failed: &str, ran: &Ran) -> String {
        let before = format!(
            "error: {failed} registry at {}/crates\n\nCaused by:\n  \
             the remote server responded with an error (status ",
            self.courier.url()
        );
        let said = ran.stderr.strip_prefix(&before);
        let said = said.unwrap_or_else(|| panic!("{rule}: no refusal but {ran}"));
        let said = said.trim_end().replacen("): ", ": ", 1);
        // How long a test has run is nobody's business.
        match said.split_once("allowed in ") {
            Some((before, after)) => {
                let unit = after.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{before}allowed in N{unit}")
            }
            None => said,
        }
    }
}

fn publish(sandbox: &Sandbox, package: &Package) -> Ran {
    let arguments = ["publish", "--registry", "crates", "--no-verify", "--quiet"];
    sandbox.cargo(&package.folder, &arguments)
}

fn sandbox(courier: &Courier) -> Sandbox {
    Sandbox::stable_at(&format!("sparse+{}/crates/index/", courier.url()))
}

/// Replaces `policy.toml` by a commit, as people do while the registry stands still.
fn set_policy(registry: &mut Registry, policy: &str) {
    let clone = Clone::of(registry);
    fs::write(clone.path().join("policy.toml"), policy).unwrap();
    let author = [
        "-c",
        "user.name=admin",
        "-c",
        "user.email=admin@example.com",
    ];
    clone.git(&[&author[..], &["commit", "--quiet", "-am", "Other rules"]].concat());
    registry.stop();
    let repository = registry.repository();
    clone.git(&["push", "--quiet", repository.to_str().unwrap(), "HEAD:main"]);
    registry.start_again();
}

#[test]
fn a_sentence_stands_below_what_cargo_failed_to_do() {
    let desk = Desk::with_policy("");
    let ran = publish(&desk.alice, &desk.package("std", "1.0.0", ""));
    let port = desk.courier.url().replace("http://localhost:", "");
    assert_snapshot!(ran.stderr.replace(&port, "PORT"), @"
    error: failed to publish std v1.0.0 to registry at http://localhost:PORT/crates

    Caused by:
      the remote server responded with an error (status 400 Bad Request): the name `std` is reserved for the Rust toolchain; choose another
    ");
}

#[test]
fn all_faults_of_a_manifest_stand_in_one_line() {
    let desk = Desk::with_policy("");
    let two = "keywords = ['-']\nlinks = ' '\nbuild = 'src/lib.rs'";
    let package = desk.package("krate", "1.0.1", two);
    assert_snapshot!(
        desk.refuses("two faults at once", &package),
        @"400 Bad Request: `package.keywords` has `-`; a keyword is 1 to 20 ASCII letters, digits, `_`, `-` and `+`, with a letter or digit first, `package.links`: the text is empty or has blanks at its ends"
    );
}
