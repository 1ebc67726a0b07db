//! Index lines as other readers understand them: tame-index, crates-index and Cargo's own schema.

use std::collections::BTreeMap;

use cargo_util_schemas::index::{IndexPackage, format_pubtime};
use sidecargo::domain::{Cksum, Dependency, DependencyKind, Features, IndexFile, IndexLine};

const PUBLIC: &str = "https://github.com/rust-lang/crates.io-index";

/// One line of the table: its name in messages, and the line.
type Row = (&'static str, IndexLine);

fn line(name: &str, version: &str, deps: Vec<Dependency>, features: Features) -> IndexLine {
    let pubtime = "2026-11-22T10:00:00Z".parse().unwrap();
    let cksum = Cksum::from(std::array::from_fn(|at| at as u8 ^ 0xa5));
    IndexLine::new(
        name.parse().unwrap(),
        version.parse().unwrap(),
        deps,
        features,
        cksum,
        pubtime,
    )
}

fn dep(name: &str, requirement: &str) -> Dependency {
    Dependency {
        name: name.parse().unwrap(),
        req: requirement.parse().unwrap(),
        features: Vec::new(),
        optional: false,
        default_features: true,
        target: None,
        kind: DependencyKind::Normal,
        registry: None,
        package: None,
        unknown: Default::default(),
    }
}

fn features(of: &[(&str, &[&str])]) -> Features {
    of.iter()
        .map(|(name, values)| {
            (
                (*name).to_owned(),
                values.iter().map(|v| (*v).to_owned()).collect(),
            )
        })
        .collect()
}

fn plain(version: &str) -> IndexLine {
    line("plain", version, vec![], Features::new())
}

fn with_deps(deps: Vec<Dependency>) -> IndexLine {
    line("with-deps", "1.0.0", deps, Features::new())
}

fn with_features(of: &[(&str, &[&str])]) -> IndexLine {
    let optional = Dependency {
        optional: true,
        ..dep("tls", "1")
    };
    line("with_features", "1.0.0", vec![optional], features(of))
}

/// A line with keys that nobody knows, which can only be read.
fn with_unknown_keys() -> IndexLine {
    let text = String::from_utf8(with_deps(vec![dep("a", "1")]).to_bytes()).unwrap();
    let text = text
        .replacen(
            "\"kind\":\"normal\"",
            "\"kind\":\"normal\",\"future\":[1.0e10,{\"a\":[]}]",
            1,
        )
        .replace("}\n", ",\"future\":{\"n\":12345678901234567890123}}\n");
    let line = IndexLine::parse(text.as_bytes()).unwrap();
    assert_eq!(line.to_bytes(), text.as_bytes());
    line
}

fn versions() -> Vec<Row> {
    vec![
        ("the least", plain("0.0.0")),
        ("large numbers", plain("18446744073709551615.0.1")),
        ("pre-release", plain("1.0.0-rc.1")),
        ("build metadata", plain("1.0.7+zstd.1.5.7")),
        ("both", plain("1.0.0-alpha.beta.11+sha-5114f85")),
        (
            "a name with capitals",
            line("Inflector-X_y", "0.11.4", vec![], Features::new()),
        ),
        (
            "a name of one letter",
            line("a", "1.0.0", vec![], Features::new()),
        ),
        (
            "a name of 64 letters",
            line(&"n".repeat(64), "1.0.0", vec![], Features::new()),
        ),
        (
            "yanked",
            IndexLine {
                yanked: true,
                ..plain("1.0.0")
            },
        ),
        (
            "links",
            IndexLine {
                links: Some("z".to_owned()),
                ..plain("1.0.0")
            },
        ),
        (
            "rust version of one part",
            IndexLine {
                rust_version: Some("1".to_owned()),
                ..plain("1.0.0")
            },
        ),
        (
            "rust version of two parts",
            IndexLine {
                rust_version: Some("1.60".to_owned()),
                ..plain("1.0.0")
            },
        ),
        (
            "rust version of three parts",
            IndexLine {
                rust_version: Some("1.74.1".to_owned()),
                ..plain("1.0.0")
            },
        ),
        (
            "without time",
            IndexLine {
                pubtime: None,
                ..plain("1.0.0")
            },
        ),
        (
            "long ago",
            IndexLine {
                pubtime: Some("0001-01-01T00:00:00Z".parse().unwrap()),
                ..plain("1.0.0")
            },
        ),
        (
            "far ahead",
            IndexLine {
                pubtime: Some("9999-12-30T22:00:00Z".parse().unwrap()),
                ..plain("1.0.0")
            },
        ),
        ("unknown keys", with_unknown_keys()),
    ]
}

fn dependencies() -> Vec<Row> {
    let renamed = Dependency {
        package: Some("Real-Name".parse().unwrap()),
        ..dep("_alias", "^1.2")
    };
    let optional = Dependency {
        optional: true,
        features: vec!["std".to_owned()],
        ..dep("b", "~1.2.3")
    };
    let bare = Dependency {
        default_features: false,
        ..dep("c", ">=1, <2.5.0-rc.1")
    };
    let targets = [
        "cfg(all(unix, target_os = \"linux\"))",
        "x86_64-pc-windows-msvc",
    ]
    .map(|target| Dependency {
        target: Some(target.to_owned()),
        ..dep("d", "1.*")
    });
    let kinds = [
        DependencyKind::Dev,
        DependencyKind::Build,
        DependencyKind::Normal,
    ]
    .map(|kind| Dependency {
        kind,
        ..dep("e", "=1.0.0-rc.1")
    });
    let foreign = [
        PUBLIC,
        "sparse+https://other.example/index/",
        "ssh://git@other.example/index.git",
    ]
    .map(|url| Dependency {
        registry: Some(url.parse().unwrap()),
        ..dep("f", "*")
    });
    let all = [renamed.clone(), optional.clone(), bare.clone()]
        .into_iter()
        .chain(targets.clone())
        .chain(kinds.clone())
        .chain(foreign.clone());
    vec![
        ("plain dependency", with_deps(vec![dep("a", "1")])),
        ("renamed", with_deps(vec![renamed])),
        ("optional, with features", with_deps(vec![optional])),
        ("without default features", with_deps(vec![bare])),
        ("for platforms", with_deps(targets.to_vec())),
        ("of every kind", with_deps(kinds.to_vec())),
        ("from other registries", with_deps(foreign.to_vec())),
        ("all of them", with_deps(all.collect())),
    ]
}

fn feature_tables() -> Vec<Row> {
    vec![
        (
            "plain features",
            with_features(&[("default", &["std"]), ("std", &[]), ("x", &["tls/std"])]),
        ),
        (
            "namespaced",
            with_features(&[("secure", &["dep:tls"]), ("std", &[])]),
        ),
        ("weak", with_features(&[("std", &["tls?/std"])])),
        (
            "a chain",
            with_features(&[
                ("default", &["net"]),
                ("net", &["secure"]),
                ("secure", &["dep:tls"]),
                ("x", &[]),
            ]),
        ),
        (
            "odd names",
            with_features(&[
                ("7z", &["c++17", "größe"]),
                ("c++17", &[]),
                ("größe", &["_x.y"]),
                ("_x.y", &[]),
            ]),
        ),
    ]
}

fn table() -> Vec<Row> {
    [versions(), dependencies(), feature_tables()].concat()
}

/// Features as a reader sees them that has merged both tables.
fn merged(line: &IndexLine) -> BTreeMap<String, Vec<String>> {
    let mut all = line.features.clone();
    all.extend(line.features2.clone().unwrap_or_default());
    all
}

fn kind_text(kind: DependencyKind) -> &'static str {
    match kind {
        DependencyKind::Normal => "normal",
        DependencyKind::Build => "build",
        DependencyKind::Dev => "dev",
    }
}

#[test]
fn the_table_shows_every_key() {
    let lines = table();
    let has = |fact: fn(&IndexLine) -> bool| lines.iter().any(|(_, line)| fact(line));
    assert!(lines.len() >= 25);
    assert!(has(
        |line| line.features2.is_some() && !line.features.is_empty()
    ));
    assert!(has(
        |line| line.features2.is_none() && !line.features.is_empty()
    ));
    assert!(has(|line| line.yanked) && has(|line| line.links.is_some()));
    assert!(has(|line| line.rust_version.is_some()) && has(|line| line.pubtime.is_none()));
    let deps = || lines.iter().flat_map(|(_, line)| &line.deps);
    assert!(deps().any(|dep| dep.package.is_some()) && deps().any(|dep| dep.registry.is_some()));
    assert!(deps().any(|dep| dep.optional) && deps().any(|dep| !dep.default_features));
    assert!(deps().any(|dep| dep.target.is_some()) && deps().any(|dep| !dep.features.is_empty()));
}

#[test]
fn tame_index_says_the_same() {
    for (what, ours) in table() {
        let theirs = tame_index::IndexKrate::from_slice(&ours.to_bytes()).unwrap();
        let [theirs] = &theirs.versions[..] else {
            panic!("{what}: {theirs:?}")
        };
        assert_eq!(theirs.name, ours.name.as_str(), "{what}");
        assert_eq!(theirs.version, ours.vers.to_string(), "{what}");
        assert_eq!(theirs.checksum(), ours.cksum.as_bytes(), "{what}");
        assert_eq!(theirs.is_yanked(), ours.yanked, "{what}");
        assert_eq!(theirs.links(), ours.links.as_deref(), "{what}");
        assert_eq!(
            theirs.rust_version(),
            ours.rust_version.as_deref(),
            "{what}"
        );
        assert_eq!(
            theirs.pubtime.as_ref().map(ToString::to_string),
            ours.pubtime.map(|time| time.to_string()),
            "{what}"
        );
        let features = theirs
            .features()
            .map(|(name, values)| (name.clone(), values.clone()));
        assert_eq!(
            features.collect::<BTreeMap<_, _>>(),
            merged(&ours),
            "{what}"
        );

        assert_eq!(theirs.dependencies().len(), ours.deps.len(), "{what}");
        for (theirs, ours) in theirs.dependencies().iter().zip(&ours.deps) {
            let kind = match theirs.kind() {
                tame_index::krate::DependencyKind::Normal => DependencyKind::Normal,
                tame_index::krate::DependencyKind::Build => DependencyKind::Build,
                tame_index::krate::DependencyKind::Dev => DependencyKind::Dev,
            };
            assert_eq!(theirs.name, ours.name.as_str(), "{what}");
            assert_eq!(theirs.crate_name(), ours.crate_name(), "{what}");
            assert_eq!(
                theirs.package(),
                ours.package.as_ref().map(|name| name.as_str()),
                "{what}"
            );
            assert_eq!(theirs.req, ours.req.to_string(), "{what}");
            assert_eq!(theirs.version_requirement(), ours.req, "{what}");
            assert_eq!(theirs.features(), ours.features, "{what}");
            assert_eq!(theirs.is_optional(), ours.optional, "{what}");
            assert_eq!(
                theirs.has_default_features(),
                ours.default_features,
                "{what}"
            );
            assert_eq!(theirs.target(), ours.target.as_deref(), "{what}");
            assert_eq!(kind, ours.kind, "{what}");
        }
    }
}

#[test]
fn crates_index_says_the_same() {
    for (what, ours) in table() {
        let theirs = crates_index::Crate::from_slice(&ours.to_bytes()).unwrap();
        let [theirs] = theirs.versions() else {
            panic!("{what}: {theirs:?}")
        };
        assert_eq!(theirs.name(), ours.name.as_str(), "{what}");
        assert_eq!(theirs.version(), ours.vers.to_string(), "{what}");
        assert_eq!(theirs.checksum(), ours.cksum.as_bytes(), "{what}");
        assert_eq!(theirs.is_yanked(), ours.yanked, "{what}");
        assert_eq!(theirs.links(), ours.links.as_deref(), "{what}");
        assert_eq!(
            theirs.rust_version(),
            ours.rust_version.as_deref(),
            "{what}"
        );
        assert_eq!(
            theirs.pubtime().map(str::to_owned),
            ours.pubtime.map(|time| time.to_string()),
            "{what}"
        );
        let features = theirs.features().clone().into_iter();
        assert_eq!(
            features.collect::<BTreeMap<_, _>>(),
            merged(&ours),
            "{what}"
        );

        assert_eq!(theirs.dependencies().len(), ours.deps.len(), "{what}");
        for (theirs, ours) in theirs.dependencies().iter().zip(&ours.deps) {
            let kind = match theirs.kind() {
                crates_index::DependencyKind::Normal => DependencyKind::Normal,
                crates_index::DependencyKind::Build => DependencyKind::Build,
                crates_index::DependencyKind::Dev => DependencyKind::Dev,
            };
            assert_eq!(theirs.name(), ours.name.as_str(), "{what}");
            assert_eq!(theirs.crate_name(), ours.crate_name(), "{what}");
            assert_eq!(
                theirs.package(),
                ours.package.as_ref().map(|name| name.as_str()),
                "{what}"
            );
            assert_eq!(theirs.requirement(), ours.req.to_string(), "{what}");
            assert_eq!(theirs.features(), ours.features, "{what}");
            assert_eq!(theirs.is_optional(), ours.optional, "{what}");
            assert_eq!(
                theirs.has_default_features(),
                ours.default_features,
                "{what}"
            );
            assert_eq!(theirs.target(), ours.target.as_deref(), "{what}");
            assert_eq!(
                theirs.registry(),
                ours.registry.as_ref().map(|url| url.as_str()),
                "{what}"
            );
            assert_eq!(kind, ours.kind, "{what}");
        }
    }
}

#[test]
fn cargo_says_the_same() {
    for (what, ours) in table() {
        let bytes = ours.to_bytes();
        let theirs: IndexPackage = serde_json::from_slice(&bytes).unwrap();
        let owned = |features: &BTreeMap<_, Vec<_>>| -> Features {
            let text = serde_json::to_string(features).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        assert_eq!(theirs.name, ours.name.as_str(), "{what}");
        assert_eq!(theirs.vers, ours.vers.semver(), "{what}");
        assert_eq!(theirs.cksum, ours.cksum.to_string(), "{what}");
        assert_eq!(theirs.yanked, Some(ours.yanked), "{what}");
        assert_eq!(theirs.links.as_deref(), ours.links.as_deref(), "{what}");
        assert_eq!(
            theirs.rust_version.as_ref().map(ToString::to_string),
            ours.rust_version,
            "{what}"
        );
        assert_eq!(
            theirs.pubtime.map(format_pubtime),
            ours.pubtime.map(|time| time.to_string()),
            "{what}"
        );
        assert_eq!(
            theirs.pubtime.map(|time| time.as_second()),
            ours.pubtime.map(|time| time.unix_secs()),
            "{what}"
        );
        assert_eq!(theirs.v, ours.v, "{what}");
        assert_eq!(theirs.v.is_some(), theirs.features2.is_some(), "{what}");
        assert_eq!(owned(&theirs.features), ours.features, "{what}");
        assert_eq!(
            theirs.features2.as_ref().map(owned),
            ours.features2,
            "{what}"
        );

        assert_eq!(theirs.deps.len(), ours.deps.len(), "{what}");
        for (theirs, ours) in theirs.deps.iter().zip(&ours.deps) {
            assert_eq!(theirs.name, ours.name.as_str(), "{what}");
            assert_eq!(
                theirs.package.as_deref(),
                ours.package.as_ref().map(|name| name.as_str()),
                "{what}"
            );
            assert_eq!(theirs.req, ours.req.to_string(), "{what}");
            assert_eq!(theirs.features, ours.features, "{what}");
            assert_eq!(theirs.optional, ours.optional, "{what}");
            assert_eq!(theirs.default_features, ours.default_features, "{what}");
            assert_eq!(theirs.target.as_deref(), ours.target.as_deref(), "{what}");
            assert_eq!(theirs.kind.as_deref(), Some(kind_text(ours.kind)), "{what}");
            assert_eq!(
                theirs.registry.as_deref(),
                ours.registry.as_ref().map(|url| url.as_str()),
                "{what}"
            );
            assert_eq!(
                (theirs.public, &theirs.artifact, theirs.lib),
                (None, &None, false),
                "{what}"
            );
        }
    }
}

/// What Cargo's own type writes for a line is read by ours, with the same meaning.
#[test]
fn lines_of_cargo_are_read_by_us() {
    for (what, ours) in table() {
        let bytes = ours.to_bytes();
        let theirs: IndexPackage = serde_json::from_slice(&bytes).unwrap();
        let read = IndexLine::parse(&serde_json::to_vec(&theirs).unwrap()).unwrap();
        let without_unknown = |line: IndexLine| {
            let deps = line.deps.into_iter();
            let deps = deps.map(|dep| Dependency {
                unknown: Default::default(),
                ..dep
            });
            IndexLine {
                deps: deps.collect(),
                unknown: Default::default(),
                ..line
            }
        };
        assert_eq!(without_unknown(read), without_unknown(ours), "{what}");
    }
}

#[test]
fn a_file_of_many_versions_is_read_whole() {
    let mut bytes = Vec::new();
    for (_, line) in table() {
        bytes = IndexFile::new(&bytes).with(&line);
    }
    let ours: Vec<String> = table()
        .iter()
        .map(|(_, line)| line.vers.to_string())
        .collect();
    let tame = tame_index::IndexKrate::from_slice(&bytes).unwrap();
    let tame: Vec<String> = tame
        .versions
        .iter()
        .map(|line| line.version.to_string())
        .collect();
    assert_eq!(tame, ours);
    let crates_index = crates_index::Crate::from_slice(&bytes).unwrap();
    let crates_index: Vec<&str> = crates_index
        .versions()
        .iter()
        .map(|line| line.version())
        .collect();
    assert_eq!(crates_index, ours);
}

#[test]
fn a_yank_is_seen_by_all() {
    let bytes = [plain("1.0.0").to_bytes(), plain("1.0.1+b").to_bytes()].concat();
    let version = plain("1.0.1").vers.key();
    let bytes = IndexFile::new(&bytes)
        .with_yanked(&version, true)
        .unwrap()
        .unwrap();
    let tame = tame_index::IndexKrate::from_slice(&bytes).unwrap();
    let yanked: Vec<bool> = tame.versions.iter().map(|line| line.is_yanked()).collect();
    assert_eq!(yanked, [false, true]);
    let crates_index = crates_index::Crate::from_slice(&bytes).unwrap();
    assert_eq!(
        crates_index
            .highest_normal_version()
            .map(|line| line.version()),
        Some("1.0.0")
    );
    let cargo: Vec<Option<bool>> = IndexFile::new(&bytes)
        .lines()
        .map(|line| serde_json::from_slice::<IndexPackage>(line).unwrap().yanked)
        .collect();
    assert_eq!(cargo, [Some(false), Some(true)]);
}
