//! Uploads whose JSON and manifest say different things: people read the manifest, so it is right.

use serde_json::{Value, json};

use crate::common::http::{get, request};
use crate::common::registry::Registry;
use crate::common::upload::{Release, frame, manifest, metadata, tarball};

/// What the manifest of the test says beside the usual.
const REST: &str = "rust-version = \"1.60\"\nlinks = \"true-links\"\n\n\
                    [dependencies]\nleaf = { version = \"1.2\", features = [\"good\"] }\n\n\
                    [features]\nreal = [\"leaf/good\"]\n";

/// The same with the words of a dependency on this registry, as Cargo writes them when it packs.
fn true_manifest(registry: &Registry) -> String {
    let index = format!(
        "version = \"1.2\", registry-index = {:?}",
        registry.sparse_index()
    );
    manifest("krate", "1.0.0") + &REST.replace("version = \"1.2\"", &index)
}

/// A dependency as the JSON of an upload has it.
fn dep(name: &str, req: &str, registry: Option<&str>) -> Value {
    json!({
        "name": name, "version_req": req, "features": [], "optional": false,
        "default_features": true, "target": null, "kind": "normal", "registry": registry,
        "explicit_name_in_toml": null,
    })
}

#[test]
fn the_line_says_what_the_manifest_says_whatever_the_json_claims() {
    let registry = Registry::start();
    let token = registry.token("alice");
    for name in ["leaf", "evil"] {
        let release = Release::new(name, "1.2.0");
        release.publish(registry.port, &token).succeeds();
    }
    let text = true_manifest(&registry);
    let file = tarball(
        "krate",
        "1.0.0",
        &[
            ("Cargo.toml", text.as_bytes()),
            ("build.rs", b""),
            ("src/lib.rs", b""),
        ],
    );
    let mut lies = metadata("krate", "1.0.0");
    let own = registry.sparse_index();
    lies["deps"] = json!([dep("leaf", "^9", Some(&own)), dep("evil", "^1", Some(&own)),]);
    lies["features"] = json!({ "false": ["evil"] });
    lies["links"] = "false-links".into();
    lies["rust_version"] = "1.99".into();
    let reply = request("PUT", "/crates/api/v1/crates/new")
        .token(&token)
        .body(frame(lies.to_string().as_bytes(), &file))
        .send(registry.port);
    reply.succeeds();

    let line = get("/crates/index/kr/at/krate").send(registry.port);
    let line = line.succeeds().json();
    let deps = line["deps"].as_array().unwrap();
    assert_eq!(deps.len(), 1, "{line}");
    assert_eq!(deps[0]["name"], "leaf");
    assert_eq!(deps[0]["req"], "^1.2");
    assert_eq!(deps[0]["features"], json!(["good"]));
    assert_eq!(line["features"], json!({ "real": ["leaf/good"] }));
    assert_eq!(line["links"], "true-links");
    assert_eq!(line["rust_version"], "1.60");
    assert!(!line.to_string().contains("evil"), "{line}");
}
