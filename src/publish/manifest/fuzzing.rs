//! What holds for every manifest and for the line of every accepted one, fed by a fuzzer.

use std::borrow::Cow;
use std::sync::LazyLock;

use cargo_util_schemas::index::IndexPackage;

use super::*;
use crate::domain::{DependencyKind, PublicUrl, RegistryName};
use crate::fuzzing::{Verdict, check_sentences};
use crate::publish::files::Files;

/// A registry at localhost that allows the public registry and another one.
struct Registry {
    own: OwnUrls,
    allowed: [RegistryUrl; 2],
    require: Requirements,
    limits: Limits,
    files: Files,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let url: PublicUrl = "http://localhost:8642".parse().expect("a URL");
    let other = "sparse+https://other.example/index/";
    let files = [
        "Cargo.toml",
        "README.md",
        "build.rs",
        "src/lib.rs",
        "src/main.rs",
    ];
    Registry {
        own: OwnUrls::new(&RegistryName::default(), [&url]),
        allowed: [
            RegistryUrl::public_registry(),
            other.parse().expect("a URL"),
        ],
        require: Requirements::default(),
        limits: Limits::default(),
        files: Files::new(files.map(str::to_owned).to_vec()),
    }
});

/// Reads the bytes as a manifest whose upload says the name and version that it says itself.
pub fn manifest(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Refused("not UTF-8".to_owned());
    };
    let upload = upload_of(text);
    let rules = ManifestRules {
        own: &REGISTRY.own,
        allowed_registries: &REGISTRY.allowed,
        require: &REGISTRY.require,
        limits: &REGISTRY.limits,
    };
    let found = read(text, &upload, Some(&REGISTRY.files), &rules);
    let sentences = found.faults.sentences();
    check_sentences(&sentences);
    if !sentences.is_empty() {
        let again = read(text, &upload, Some(&REGISTRY.files), &rules);
        assert_eq!(again.faults.sentences(), sentences);
        return Verdict::Refused(sentences.join(" | "));
    }
    let Some(release) = found.release else {
        // The upload itself is at fault, and told so elsewhere.
        assert!(upload.faults().next().is_some());
        return Verdict::Refused("no upload says such a name or version".to_owned());
    };
    assert_eq!(upload.release(), Some((&release.name, &release.version)));
    let without_files = read(text, &upload, None, &rules);
    assert!(without_files.faults.is_empty());
    assert_eq!(without_files.release.as_ref(), Some(&release));
    check_line(&release);
    Verdict::Accepted(String::new())
}

fn upload_of(text: &str) -> Metadata {
    let table: Table = text.parse().unwrap_or_default();
    let key = |key| Some(table.get("package")?.get(key)?.as_str()?.to_owned());
    let (name, version) = (key("name"), key("version"));
    Metadata {
        name: name
            .ok_or(MetadataFault::Missing("name"))
            .and_then(|name| name.parse().map_err(MetadataFault::Name)),
        version: version
            .ok_or(MetadataFault::Missing("vers"))
            .and_then(|version| version.parse().map_err(MetadataFault::Version)),
    }
}

/// Its line is one that we and Cargo read, and read alike.
fn check_line(release: &Release) {
    let pubtime = PubTime::from_moment(Timestamp::UNIX_EPOCH);
    let bytes = release.line(Cksum::from([0xab; 32]), pubtime).to_bytes();
    assert!(bytes.len() <= REGISTRY.limits.line_bytes_max);
    let (end, text) = bytes.split_last().expect("a line");
    assert!(*end == b'\n' && !text.iter().any(u8::is_ascii_control));

    let ours = IndexLine::parse(&bytes).expect("what is written can be read");
    assert_eq!(ours.to_bytes(), bytes);
    let of_cargo: IndexPackage<'_> = serde_json::from_slice(&bytes).expect("Cargo reads it");
    assert_eq!(of_cargo.name.as_ref(), release.name.as_str());
    assert_eq!(of_cargo.vers.to_string(), release.version.to_string());
    assert_eq!(of_cargo.links.as_deref(), release.links.as_deref());
    assert_eq!(
        of_cargo.rust_version.map(|version| version.to_string()),
        release.rust_version
    );
    assert_eq!(of_cargo.deps.len(), release.dependencies.len());
    for (theirs, ours) in of_cargo.deps.iter().zip(&ours.deps) {
        assert_eq!(theirs.name.as_ref(), ours.name.as_str());
        assert_eq!(theirs.req.as_ref(), ours.req.to_string());
        assert_eq!(theirs.optional, ours.optional);
        assert_eq!(theirs.default_features, ours.default_features);
        assert_eq!(theirs.target.as_deref(), ours.target.as_deref());
        let kind = match ours.kind {
            DependencyKind::Normal => "normal",
            DependencyKind::Build => "build",
            DependencyKind::Dev => "dev",
        };
        assert_eq!(theirs.kind.as_deref(), Some(kind));
        let registry = ours.registry.as_ref().map(RegistryUrl::as_str);
        assert_eq!(theirs.registry.as_deref(), registry);
        let package = ours.package.as_ref().map(CrateName::as_str);
        assert_eq!(theirs.package.as_deref(), package);
        assert_eq!(texts(&theirs.features), ours.features);
        let nothing_more = (&theirs.public, &theirs.artifact, &theirs.bindep_target);
        assert!(matches!(nothing_more, (None, None, None)) && !theirs.lib);
    }
    let features = of_cargo.features2.unwrap_or_default().into_iter();
    let features: Vec<_> = features.chain(of_cargo.features).collect();
    assert_eq!(features.len(), release.features.len());
    for (name, enabled) in &features {
        assert_eq!(texts(enabled), release.features[name.as_ref()]);
    }
}

fn texts(texts: &[Cow<'_, str>]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}
