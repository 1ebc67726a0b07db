//! Whatever manifest is accepted, its line is one that all readers take: none is lost, and none hides others.

use cargo_util_schemas::index::IndexPackage;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::tests::{read_for, with_package};
use super::*;

const OTHER: &str = "sparse+https://other.example/index/";

/// A text as TOML writes it.
fn quoted_toml(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// Mostly words of `good`, sometimes what could poison a line.
fn word(good: &'static [&'static str]) -> impl Strategy<Value = String> {
    let hostile = [
        "",
        " ",
        "a b",
        "a\nb",
        "\0",
        "\u{7f}",
        "\u{2028}",
        "\u{feff}x",
        "\"",
        "\\",
        "a\"b",
        "é",
        "größe",
        "ﬁ",
        "🦀",
        "-",
        "_",
        "+",
        ".",
        "0",
        "1",
        "a/b",
        "a?/b",
        "dep:",
        "dep:a",
        "dep:a/b",
        "?/",
        "a//b",
        "null",
        "true",
        "{}",
        "[]",
        "cfg(",
        "cfg()",
        "cfg(a=\"\n\")",
        "*",
        ">",
        "^",
        "1.2.3.4",
        "99999999999999999999",
        "01",
        "1.",
        "a-",
        "-a",
        "_a",
        "A",
        "con",
        "\u{301}",
    ];
    prop_oneof![
        100 => select(good).prop_map(str::to_owned),
        2 => select(hostile.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => "[a-zA-Z0-9_.+?/:-]{1,70}",
    ]
}

/// The inline table of a dependency.
fn dependency() -> impl Strategy<Value = String> {
    let parts = (
        word(&[
            "1",
            "^1.2",
            "=1.0.0-rc.1",
            ">=1, <2",
            "~0.3",
            "1.*",
            "1.0.0+x",
        ]),
        option::weighted(0.2, word(&["real-name", "serde", "X"])),
        option::weighted(
            0.3,
            word(&[
                OTHER,
                "http://localhost:8642/crates/git",
                "https://other.example/index",
            ]),
        ),
        vec(word(&["std", "derive", "c++17", "größe", "2d"]), 0..3),
        option::weighted(0.3, any::<bool>()),
        option::weighted(0.3, any::<bool>()),
    );
    parts.prop_map(
        |(version, package, registry, features, optional, default)| {
            let mut table = format!("version = {}", quoted_toml(&version));
            for (key, text) in [("package", package), ("registry-index", registry)] {
                if let Some(text) = text {
                    table += &format!(", {key} = {}", quoted_toml(&text));
                }
            }
            let features: Vec<String> = features.iter().map(|text| quoted_toml(text)).collect();
            table += &format!(", features = [{}]", features.join(", "));
            for (key, flag) in [("optional", optional), ("default-features", default)] {
                if let Some(flag) = flag {
                    table += &format!(", {key} = {flag}");
                }
            }
            table
        },
    )
}

/// A section of dependencies, for a platform or for all.
fn section() -> impl Strategy<Value = String> {
    let kind = select(&["dependencies", "dev-dependencies", "build_dependencies"][..]);
    let platform = word(&[
        "cfg(unix)",
        "cfg( all(unix, not(target_os = \"macos\")) )",
        "x86_64-unknown-linux-gnu",
        "cfg(feature = \"x\")",
    ]);
    let entries = proptest::collection::btree_map(
        word(&["serde", "libc", "a", "B_c", "_alias"]),
        dependency(),
        0..4,
    );
    (kind, option::weighted(0.4, platform), entries).prop_map(|(kind, platform, entries)| {
        let mut text = match platform {
            Some(platform) => format!("[target.{}.{kind}]\n", quoted_toml(&platform)),
            None => format!("[{kind}]\n"),
        };
        for (name, table) in entries {
            text += &format!("{} = {{ {table} }}\n", quoted_toml(&name));
        }
        text
    })
}

fn features() -> impl Strategy<Value = String> {
    let value = word(&["std", "x", "dep:serde", "serde?/std", "libc/std", "a"]);
    let table = proptest::collection::btree_map(
        word(&["default", "std", "x", "c++17", "größe", "_x.y", "2d"]),
        vec(value, 0..3),
        0..4,
    );
    table.prop_map(|table| {
        // What the values may stand for is there, beside what else came up.
        let fixed = ["std", "x", "a"].map(|name| (name.to_owned(), Vec::new()));
        let table: std::collections::BTreeMap<_, _> = fixed.into_iter().chain(table).collect();
        let mut text = "[target.windows.dependencies]\n\
             serde = { version = \"1\", optional = true }\nlibc = \"1\"\n[features]\n"
            .to_owned();
        for (name, values) in table {
            let values: Vec<String> = values.iter().map(|text| quoted_toml(text)).collect();
            text += &format!("{} = [{}]\n", quoted_toml(&name), values.join(", "));
        }
        text
    })
}

fn manifest() -> impl Strategy<Value = String> {
    (
        option::weighted(0.3, word(&["z", "my native lib", "größe"])),
        option::weighted(0.3, word(&["1", "1.65", "1.74.1"])),
        option::weighted(0.3, word(&["Shows all.", "two\nlines"])),
        vec(section(), 0..3),
        option::weighted(0.4, features()),
    )
        .prop_map(|(links, rust_version, description, sections, features)| {
            let mut rest = String::new();
            for (key, text) in [
                ("links", links),
                ("rust-version", rust_version),
                ("description", description),
            ] {
                if let Some(text) = text {
                    rest += &format!("{key} = {}\n", quoted_toml(&text));
                }
            }
            with_package(&(rest + &sections.concat() + &features.unwrap_or_default()))
        })
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 200_000, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn the_line_of_every_accepted_manifest_is_read_by_all(manifest in manifest()) {
        let found = read_for(&manifest, &Limits::default(), &Requirements::default());
        prop_assume!(found.is_ok());
        let release = found.unwrap();
        let line = release.line(
            Cksum::from([0xab; 32]),
            "2026-11-22T10:00:00Z".parse().unwrap(),
        );
        let bytes = line.to_bytes();
        prop_assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        prop_assert!(!bytes[..bytes.len() - 1].iter().any(u8::is_ascii_control));

        let ours = IndexLine::parse(&bytes).unwrap();
        prop_assert_eq!(ours.to_bytes(), bytes.clone());
        let of_cargo: IndexPackage<'_> = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(of_cargo.name.as_ref(), "demo");
        prop_assert_eq!(of_cargo.deps.len(), release.dependencies.len());
        prop_assert_eq!(
            of_cargo.rust_version.map(|version| version.to_string()),
            release.rust_version.clone()
        );
        let of_tame = tame_index::IndexKrate::from_slice(&bytes).unwrap();
        prop_assert_eq!(of_tame.versions.len(), 1);
        prop_assert_eq!(of_tame.versions[0].dependencies().len(), release.dependencies.len());
        let of_crates_index = crates_index::Crate::from_slice(&bytes).unwrap();
        prop_assert_eq!(of_crates_index.versions().len(), 1);
        prop_assert_eq!(
            of_crates_index.versions()[0].dependencies().len(),
            release.dependencies.len()
        );
    }
}
