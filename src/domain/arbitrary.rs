//! What property tests draw from.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::dependency::{Dependency, DependencyKind};
use super::feature::Features;
use super::hash::Cksum;
use super::keys::{Keys, Unknown};
use super::line::IndexLine;
use super::name::{CrateName, DependencyName};
use super::registry::RegistryUrl;
use super::time::PubTime;
use super::version::CrateVersion;

/// Any text, with the characters that matter to us more often than chance would have them.
pub(super) fn text() -> impl Strategy<Value = String> {
    let characters = prop_oneof![
        any::<char>(),
        select(
            "aZ0-_./:*+?#@%<>\"'\\{}[]= \n\r\t\0\u{85}\u{2028}\u{202e}é…🦀"
                .chars()
                .collect::<Vec<_>>()
        ),
    ];
    vec(characters, 0..40).prop_map(String::from_iter)
}

pub(super) fn crate_name() -> impl Strategy<Value = CrateName> {
    "[a-zA-Z][a-zA-Z0-9_-]{0,8}|[a-zA-Z][a-zA-Z0-9_-]{63}".prop_map(|text| text.parse().unwrap())
}

fn dependency_name() -> impl Strategy<Value = DependencyName> {
    "[a-zA-Z_][a-zA-Z0-9_-]{0,3}".prop_map(|text| text.parse().unwrap())
}

/// The text of a version, now and then with pre-release and build metadata.
pub(super) fn version() -> impl Strategy<Value = CrateVersion> {
    "(0|[1-9][0-9]{0,3})\\.(0|[1-9])\\.(0|[1-9])(-(rc|alpha)(\\.(0|[1-9][0-9]?))?)?(\\+[a-z0-9]{1,5})?"
        .prop_map(|text| text.parse().unwrap())
}

fn requirement() -> impl Strategy<Value = semver::VersionReq> {
    let one = "(|=|>|>=|<|<=|~|\\^)[0-9]\\.[0-9](\\.[0-9](-rc\\.[0-9])?)?|[0-9]\\.\\*|[0-9]\\.[0-9]\\.\\*";
    let some = vec(one, 1..4).prop_map(|parts| parts.join(", "));
    prop_oneof![9 => some, 1 => Just("*".to_owned())].prop_map(|text| text.parse().unwrap())
}

/// Features that name each other, some with values that need Cargo 1.60.
pub(super) fn features() -> impl Strategy<Value = Features> {
    let value = prop_oneof![
        6 => "[a-e]",
        1 => "dep:[a-c]",
        1 => "[a-c]\\?/[a-c]",
        1 => "[a-c]/[a-c]",
    ];
    btree_map("[a-e]|[a-z0-9_][a-z0-9_+.-]{0,3}", vec(value, 0..3), 0..7)
}

/// JSON as nobody sane writes it: odd numbers, blanks, keys twice, deep inside.
fn raw_json() -> impl Strategy<Value = String> {
    let leaf = select(vec![
        "null",
        "true",
        "1.0e10",
        "-0.0",
        "12345678901234567890123",
        "1E+5",
        r#""""#,
        r#""\u00e9\/\n""#,
        r#""é🦀""#,
        "{ }",
        "[\t]",
    ]);
    leaf.prop_map(str::to_owned)
        .prop_recursive(4, 16, 4, |inner| {
            vec(inner, 0..4).prop_flat_map(|parts| {
                let object: Vec<String> = parts
                    .iter()
                    .map(|part| format!(r#""k" : {part}"#))
                    .collect();
                prop_oneof![
                    Just(format!("[{}]", parts.join(" ,"))),
                    Just(format!("{{{}}}", object.join(","))),
                ]
            })
        })
}

pub(super) fn unknown() -> impl Strategy<Value = Unknown> {
    btree_map("x_[a-z\"é]{0,3}", raw_json(), 0..3).prop_map(|entries| {
        let object: Vec<String> = entries
            .iter()
            // Against the order of the alphabet, as a sorted map would have it.
            .rev()
            .map(|(key, raw)| format!("{}:{raw}", serde_json::to_string(key).unwrap()))
            .collect();
        let keys: Keys = serde_json::from_str(&format!("{{{}}}", object.join(","))).unwrap();
        keys.rest()
    })
}

pub(super) fn dependency() -> impl Strategy<Value = Dependency> {
    let urls = [
        "https://github.com/rust-lang/crates.io-index",
        "sparse+https://registry.example/index/",
        "ssh://git@registry.example/index.git",
    ];
    let targets = [
        "cfg(unix)",
        "x86_64-unknown-linux-gnu",
        r#"cfg(target_os = "none")"#,
    ];
    let kinds = [
        DependencyKind::Normal,
        DependencyKind::Build,
        DependencyKind::Dev,
    ];
    (
        (dependency_name(), requirement(), vec("[a-z]{1,4}", 0..3)),
        (any::<bool>(), any::<bool>()),
        option::of(select(targets.to_vec())),
        select(kinds.to_vec()),
        option::of(select(urls.to_vec())),
        option::of(crate_name()),
        unknown(),
    )
        .prop_map(
            |(
                (name, req, features),
                (optional, default_features),
                target,
                kind,
                url,
                package,
                unknown,
            )| {
                Dependency {
                    name,
                    req,
                    features,
                    optional,
                    default_features,
                    target: target.map(str::to_owned),
                    kind,
                    registry: url.map(|url| url.parse::<RegistryUrl>().unwrap()),
                    package,
                    unknown,
                }
            },
        )
}

pub(super) fn pubtime() -> impl Strategy<Value = PubTime> {
    // From the year 1 to 9999.
    (-62_135_596_800i64..=253_402_207_199)
        .prop_map(|second| PubTime::from_moment(jiff::Timestamp::from_second(second).unwrap()))
}

/// A line as a publish makes it, then with all that it may also carry.
pub(super) fn line() -> impl Strategy<Value = IndexLine> {
    (
        (crate_name(), version(), vec(dependency(), 0..4), features()),
        any::<[u8; 32]>(),
        (option::of(pubtime()), any::<bool>(), unknown()),
        option::of("[a-z]{1,4}"),
        option::of(select(vec!["1", "1.60", "1.60.1"])),
    )
        .prop_map(
            |((name, vers, deps, features), cksum, (pubtime, yanked, unknown), links, rust)| {
                let epoch = PubTime::from_moment(jiff::Timestamp::UNIX_EPOCH);
                IndexLine {
                    pubtime,
                    yanked,
                    links,
                    rust_version: rust.map(str::to_owned),
                    unknown,
                    ..IndexLine::new(name, vers, deps, features, Cksum::from(cksum), epoch)
                }
            },
        )
}
