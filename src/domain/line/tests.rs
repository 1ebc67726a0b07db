use proptest::collection::vec;
use proptest::prelude::*;

use super::super::arbitrary;
use super::super::dependency::DependencyKind;
use super::*;

const CKSUM: &str =
    "\"cksum\":\"0000000000000000000000000000000000000000000000000000000000000000\"";

/// A line with nothing but what it needs, then `rest`.
fn bare(version: &str, rest: &str) -> String {
    format!("{{\"name\":\"a\",\"vers\":\"{version}\",\"deps\":[],{CKSUM}{rest}}}\n")
}

/// A canonical line.
fn full(version: &str, rest: &str) -> String {
    bare(
        version,
        &format!(",\"features\":{{}},\"yanked\":false,\"links\":null{rest}"),
    )
}

fn parse(text: &str) -> IndexLine {
    IndexLine::parse(text.as_bytes()).unwrap()
}

fn refusal(text: &str) -> String {
    IndexLine::parse(text.as_bytes()).unwrap_err().to_string()
}

fn text_of(line: &IndexLine) -> String {
    String::from_utf8(line.to_bytes()).unwrap()
}

fn new(deps: Vec<Dependency>, features: Features) -> IndexLine {
    let pubtime = "2026-11-22T10:00:00Z".parse().unwrap();
    let cksum = Cksum::from([7; 32]);
    IndexLine::new(
        "a".parse().unwrap(),
        "1.0.0".parse().unwrap(),
        deps,
        features,
        cksum,
        pubtime,
    )
}

fn key(version: &str) -> VersionKey {
    version.parse::<CrateVersion>().unwrap().key()
}

/// Lines of one crate whose versions differ.
fn file_lines() -> impl Strategy<Value = Vec<IndexLine>> {
    vec(arbitrary::line(), 1..5).prop_map(|mut lines| {
        for (n, line) in lines.iter_mut().enumerate() {
            let build = if n % 2 == 0 { "" } else { "+build" };
            line.vers = format!("{n}.0.0{build}").parse().unwrap();
        }
        lines
    })
}

proptest! {
    #[test]
    fn a_line_reads_back(line in arbitrary::line()) {
        prop_assert_eq!(IndexLine::parse(&line.to_bytes()).unwrap(), line);
    }

    #[test]
    fn canonical_bytes_are_written_as_they_were(line in arbitrary::line()) {
        let bytes = line.to_bytes();
        prop_assert_eq!(IndexLine::parse(&bytes).unwrap().to_bytes(), bytes.clone());
        prop_assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        prop_assert_eq!(bytes.last(), Some(&b'\n'));
        let without_end = &bytes[..bytes.len() - 1];
        prop_assert_eq!(IndexLine::parse(without_end).unwrap(), line);
    }

    #[test]
    fn defaults_are_always_written(line in arbitrary::line()) {
        let value: serde_json::Value = serde_json::from_slice(&line.to_bytes()).unwrap();
        for key in ["name", "vers", "deps", "cksum", "features", "yanked", "links"] {
            prop_assert!(value.get(key).is_some(), "{}", key);
        }
        for dependency in value["deps"].as_array().unwrap() {
            for key in ["name", "req", "features", "optional", "default_features", "target", "kind"] {
                prop_assert!(dependency.get(key).is_some(), "{}", key);
            }
        }
    }

    #[test]
    fn the_order_in_which_dependencies_are_given_does_not_matter(
        (given, shuffled) in vec(arbitrary::dependency(), 0..6)
            .prop_flat_map(|deps| (Just(deps.clone()), Just(deps).prop_shuffle())),
    ) {
        prop_assert_eq!(
            new(given, Features::new()).to_bytes(),
            new(shuffled, Features::new()).to_bytes()
        );
    }

    #[test]
    fn the_order_in_which_features_are_given_does_not_matter(features in arbitrary::features()) {
        let backwards: Features = features.clone().into_iter().rev().collect();
        prop_assert_eq!(new(vec![], features).to_bytes(), new(vec![], backwards).to_bytes());
    }

    #[test]
    fn the_format_is_2_exactly_when_there_are_features2(features in arbitrary::features()) {
        let line = new(vec![], features.clone());
        prop_assert_eq!(line.v, line.features2.as_ref().map(|_| 2));
        prop_assert!(line.features2.as_ref().is_none_or(|features2| !features2.is_empty()));
        let mut union = line.features.clone();
        union.extend(line.features2.clone().unwrap_or_default());
        prop_assert_eq!(union, features);
        let text = text_of(&line);
        prop_assert_eq!(text.contains(r#","v":2}"#), text.contains(r#","features2":{"#));
    }

    #[test]
    fn a_file_is_its_lines(lines in file_lines()) {
        let mut bytes = Vec::new();
        for line in &lines {
            bytes = IndexFile::new(&bytes).with(line);
        }
        let file = IndexFile::new(&bytes);
        prop_assert_eq!(file.lines().collect::<Vec<_>>().concat(), bytes.clone());
        let heads: Vec<LineHead> = file.heads().map(Result::unwrap).collect();
        prop_assert_eq!(heads.len(), lines.len());
        for ((head, line), raw) in heads.iter().zip(&lines).zip(file.lines()) {
            prop_assert_eq!(raw, line.to_bytes());
            prop_assert_eq!(
                (&head.name, &head.vers, &head.cksum, head.yanked),
                (&line.name, &line.vers, &line.cksum, line.yanked)
            );
        }
    }

    #[test]
    fn a_yank_changes_one_flag_of_one_line(
        lines in file_lines(),
        at in any::<prop::sample::Index>(),
        yanked in any::<bool>(),
    ) {
        let at = at.index(lines.len());
        let bytes = lines.iter().flat_map(IndexLine::to_bytes).collect::<Vec<_>>();
        let version = key(&format!("{at}.0.0"));
        let once = IndexFile::new(&bytes).with_yanked(&version, yanked).unwrap().unwrap();
        for (n, (raw, line)) in IndexFile::new(&once).lines().zip(&lines).enumerate() {
            let yanked = if n == at { yanked } else { line.yanked };
            prop_assert_eq!(raw, IndexLine { yanked, ..line.clone() }.to_bytes());
        }
        let twice = IndexFile::new(&once).with_yanked(&version, yanked).unwrap().unwrap();
        prop_assert_eq!(&twice, &once);
        let back = IndexFile::new(&once).with_yanked(&version, lines[at].yanked).unwrap().unwrap();
        prop_assert_eq!(back, bytes);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..60), text in arbitrary::text()) {
        for bytes in [bytes, text.clone().into_bytes(), bare("1.0.0", &text).into_bytes()] {
            if let Ok(line) = IndexLine::parse(&bytes) {
                prop_assert_eq!(IndexLine::parse(&line.to_bytes()).unwrap(), line);
            }
            let file = IndexFile::new(&bytes);
            let _ = file.heads().count();
            let _ = file.with_yanked(&key("1.0.0"), true);
        }
    }

    #[test]
    fn what_is_read_has_one_canonical_form(line in arbitrary::line(), blanks in " {0,2}") {
        // Any spelling of the same keys, here with blanks and from back to front, comes to the same bytes.
        let text = text_of(&IndexLine { unknown: Unknown::default(), ..line.clone() });
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        let entries: Vec<String> = object
            .iter()
            .filter(|(key, _)| *key != "deps")
            .rev()
            .map(|(key, value)| format!("{blanks}\"{key}\":{blanks}{value}"))
            .collect();
        let deps = serde_json::to_string(&line.deps).unwrap();
        let respelled = format!("{{{},\"deps\":{deps}}}", entries.join(","));
        prop_assert_eq!(text_of(&parse(&respelled)), text);
    }
}

#[test]
fn the_bytes_of_a_new_line() {
    let dependency = |text: &str| serde_json::from_str::<Dependency>(text).unwrap();
    let deps = vec![
        dependency(r#"{"name":"log","req":"0.4","kind":"dev"}"#),
        dependency(
            r#"{"name":"tls","req":"=1.2.3","package":"Rust-TLS","optional":true,"target":"cfg(unix)"}"#,
        ),
        dependency(
            r#"{"name":"log","req":"0.4","registry":"https://host/index","default_features":false,"features":["std"]}"#,
        ),
    ];
    let features = [
        ("default", vec!["std"]),
        ("std", vec![]),
        ("tls", vec!["dep:tls", "std"]),
    ];
    let features = features
        .into_iter()
        .map(|(name, values)| {
            (
                name.to_owned(),
                values.into_iter().map(str::to_owned).collect(),
            )
        })
        .collect();
    let mut line = new(deps, features);
    line.rust_version = Some("1.60".to_owned());
    let expected = [
        r#"{"name":"a","vers":"1.0.0","deps":["#,
        r#"{"name":"log","req":"^0.4","features":["std"],"optional":false,"default_features":false,"target":null,"kind":"normal","registry":"https://host/index"},"#,
        r#"{"name":"log","req":"^0.4","features":[],"optional":false,"default_features":true,"target":null,"kind":"dev"},"#,
        r#"{"name":"tls","req":"=1.2.3","features":[],"optional":true,"default_features":true,"target":"cfg(unix)","kind":"normal","package":"Rust-TLS"}"#,
        r#"],"cksum":"0707070707070707070707070707070707070707070707070707070707070707","#,
        r#""features":{"default":["std"],"std":[]},"features2":{"tls":["dep:tls","std"]},"#,
        r#""yanked":false,"links":null,"rust_version":"1.60","pubtime":"2026-11-22T10:00:00Z","v":2}"#,
        "\n",
    ];
    assert_eq!(text_of(&line), expected.concat());
}

#[test]
fn unknown_keys_keep_every_byte_of_their_values() {
    let raw =
        r#","x":{ "b" : [1.0e10, 12345678901234567890123,-0.0 ],"a":"\u00e9\/","a":null},"w":1E+2"#;
    let text = full("1.0.0", raw);
    assert_eq!(text_of(&parse(&text)), text);

    let dependency = r#"{"name":"b","req":"^1","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal","public":false,"artifact":[ "bin" ],"n":12345678901234567890123.10}"#;
    let text = text.replace("\"deps\":[]", &format!("\"deps\":[{dependency}]"));
    assert_eq!(text_of(&parse(&text)), text);
}

#[test]
fn unknown_keys_keep_their_order_and_come_last() {
    let given = bare("1.0.0", r#","zeta":1,"yanked":true,"alpha":2"#);
    let written =
        full("1.0.0", r#","zeta":1,"alpha":2"#).replace("\"yanked\":false", "\"yanked\":true");
    assert_eq!(text_of(&parse(&given)), written);
    assert_ne!(
        parse(&given),
        parse(&given.replace("\"zeta\":1", "\"zeta\":1.0"))
    );
}

#[test]
fn a_key_twice_is_refused_wherever_it_is() {
    let sentence = |rest: &str| refusal(&full("1.0.0", rest));
    assert!(
        sentence(r#","yanked":true"#)
            .starts_with("not an index line: the key `yanked` appears twice")
    );
    assert!(sentence(r#","x":1,"x":1"#).contains("the key `x` appears twice"));
    assert!(sentence(r#","\u0079anked":true"#).contains("the key `yanked` appears twice"));
    let deps = |dependency: &str| {
        full("1.0.0", "").replace("\"deps\":[]", &format!("\"deps\":[{dependency}]"))
    };
    let twice = refusal(&deps(r#"{"name":"b","req":"1","req":"2"}"#));
    assert!(
        twice.contains("`deps`: the key `req` appears twice"),
        "{twice}"
    );
    for features in ["features", "features2"] {
        let twice = refusal(&bare(
            "1.0.0",
            &format!(r#","{features}":{{"f":[],"f":["g"]}}"#),
        ));
        assert!(
            twice.contains(&format!("`{features}`: the key `f` appears twice")),
            "{twice}"
        );
    }
}

#[test]
fn what_a_line_leaves_out_is_the_default() {
    for rest in [
        "",
        r#","features":null,"features2":null,"yanked":null,"links":null,"rust_version":null,"pubtime":null,"v":null"#,
    ] {
        assert_eq!(text_of(&parse(&bare("1.0.0", rest))), full("1.0.0", ""));
    }
    let short = r#"{"name":"b","req":"1"}"#;
    let nulls = r#"{"name":"b","req":"1","features":null,"optional":null,"default_features":null,"target":null,"kind":null,"registry":null,"package":null}"#;
    let written = r#"{"name":"b","req":"^1","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal"}"#;
    for dependency in [short, nulls] {
        let text = bare("1.0.0", "").replace("\"deps\":[]", &format!("\"deps\":[{dependency}]"));
        assert!(text_of(&parse(&text)).contains(&format!("\"deps\":[{written}]")));
    }
}

#[test]
fn what_a_line_must_have_is_named() {
    for key in ["name", "vers", "deps", "cksum"] {
        let text = full("1.0.0", "").replace(&format!("\"{key}\":"), "\"other\":");
        assert!(
            refusal(&text).contains(&format!("missing field `{key}`")),
            "{text}"
        );
    }
}

#[test]
fn wrong_values_are_refused_with_their_key() {
    for (key, value) in [
        ("features", "[]"),
        ("features", r#"{"f":"g"}"#),
        ("features", r#"{"f":[1]}"#),
        ("features2", "1"),
        ("yanked", "\"true\""),
        ("links", "1"),
        ("rust_version", "1.6"),
        ("pubtime", "\"2026-11-22T10:00:00+00:00\""),
        ("pubtime", "0"),
        ("v", "-1"),
        ("v", "2.0"),
        ("v", "4294967296"),
    ] {
        let fault = refusal(&bare("1.0.0", &format!(",\"{key}\":{value}")));
        assert!(fault.contains(&format!("`{key}`: ")), "{fault}");
    }
    for broken in [
        full("1.0", ""),
        full("1.0.0", "").replace("\"name\":\"a\"", "\"name\":\"a/b\""),
        full("1.0.0", "").replace("\"deps\":[]", "\"deps\":{}"),
        full("1.0.0", "").replace("\"deps\":[]", "\"deps\":[[]]"),
        full("1.0.0", "").replace("\"deps\":[]", r#""deps":[{"name":"b","req":"one"}]"#),
        full("1.0.0", "").replace(
            "\"deps\":[]",
            r#""deps":[{"name":"b","req":"1","kind":"odd"}]"#,
        ),
        full("1.0.0", "").replace(
            "\"deps\":[]",
            r#""deps":[{"name":"b","req":"1","registry":"javascript:x"}]"#,
        ),
        full("1.0.0", "").replace("000\"", "00A\""),
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        "{".to_owned(),
        "\n".to_owned(),
        format!("{} {{}}", full("1.0.0", "").trim_end()),
    ] {
        assert!(IndexLine::parse(broken.as_bytes()).is_err(), "{broken}");
    }
}

#[test]
fn a_line_is_one_line() {
    for inner in ["\n", "\r\n"] {
        let text = full("1.0.0", &format!(",\"x\":[1,{inner}2]"));
        assert!(refusal(&text).contains("it contains a line feed"));
        assert!(
            IndexLine::parse(
                full("1.0.0", "")
                    .replacen(',', &format!(",{inner}"), 1)
                    .as_bytes()
            )
            .is_err()
        );
    }
    assert!(IndexLine::parse(format!("{}\n", full("1.0.0", "")).as_bytes()).is_err());
    let escaped = full("1.0.0", r#","x":"a\nb""#);
    assert_eq!(text_of(&parse(&escaped)), escaped);
}

#[test]
fn depth_costs_no_stack() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let text = full("1.0.0", &format!(",\"x\":{}", deep(100_000)));
    assert_eq!(text_of(&parse(&text)), text);
    assert_eq!(
        IndexFile::new(text.as_bytes())
            .heads()
            .filter(Result::is_ok)
            .count(),
        1
    );
    for key in ["deps", "features", "yanked"] {
        assert!(
            IndexLine::parse(bare("1.0.0", &format!(",\"{key}\":{}", deep(100_000))).as_bytes())
                .is_err()
        );
    }
    assert!(IndexLine::parse("[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn a_yank_finds_a_version_by_its_key() {
    let bytes = [
        full("1.0.0", ""),
        full("1.0.1+build.5", ""),
        full("2.0.0-rc.1", ""),
    ]
    .concat();
    let file = IndexFile::new(bytes.as_bytes());
    let yanked = file.with_yanked(&key("1.0.1"), true).unwrap().unwrap();
    assert_eq!(
        file.with_yanked(&key("1.0.1+other"), true)
            .unwrap()
            .unwrap(),
        yanked
    );
    let expected = [
        full("1.0.0", ""),
        full("1.0.1+build.5", "").replace("\"yanked\":false", "\"yanked\":true"),
        full("2.0.0-rc.1", ""),
    ];
    assert_eq!(String::from_utf8(yanked).unwrap(), expected.concat());
    for missing in ["1.0.2", "2.0.0", "1.0.1-build.5"] {
        assert_eq!(
            file.with_yanked(&key(missing), true).unwrap(),
            None,
            "{missing}"
        );
    }
    assert_eq!(
        IndexFile::new(b"")
            .with_yanked(&key("1.0.0"), true)
            .unwrap(),
        None
    );
}

#[test]
fn other_lines_of_a_file_stay_as_they_are_however_they_are_spelled() {
    let odd = format!("{{ {CKSUM} , \"deps\":[] ,\"vers\":\"1.0.0\",\"name\":\"a\" }}\n");
    let bytes = [odd.clone(), full("1.1.0", "")].concat();
    let file = IndexFile::new(bytes.as_bytes());
    let yanked = file.with_yanked(&key("1.1.0"), true).unwrap().unwrap();
    assert!(yanked.starts_with(odd.as_bytes()));
    // Nor is the meant one touched if it already says so.
    assert_eq!(
        file.with_yanked(&key("1.0.0"), false).unwrap().unwrap(),
        bytes.as_bytes()
    );
}

#[test]
fn a_broken_line_stops_a_yank_and_is_named_among_the_heads() {
    let bytes = [full("1.0.0", ""), "\n".to_owned(), full("1.1.0", "")].concat();
    let file = IndexFile::new(bytes.as_bytes());
    assert!(file.with_yanked(&key("1.0.0"), true).is_err());
    let heads: Vec<bool> = file.heads().map(|head| head.is_ok()).collect();
    assert_eq!(heads, [true, false, true]);
}

#[test]
fn a_head_reads_what_the_line_reads() {
    let head = |rest: &str| {
        IndexFile::new(bare("1.0.0+x", rest).as_bytes())
            .heads()
            .next()
            .unwrap()
    };
    assert!(!head("").unwrap().yanked);
    assert!(!head(",\"yanked\":null").unwrap().yanked);
    assert!(head(",\"yanked\":true").unwrap().yanked);
    assert_eq!(head("").unwrap().vers.to_string(), "1.0.0+x");
    assert!(head(",\"yanked\":1").is_err());
    assert!(head(",\"vers\":\"2.0.0\"").is_err(), "twice");
}

#[test]
fn a_line_is_never_glued_to_one_without_an_end() {
    let first = full("1.0.0", "");
    let line = parse(&full("1.1.0", ""));
    let expected = [first.clone(), full("1.1.0", "")].concat();
    for bytes in [first.as_bytes(), first.trim_end().as_bytes()] {
        assert_eq!(IndexFile::new(bytes).with(&line), expected.as_bytes());
    }
    assert_eq!(IndexFile::new(b"").with(&line), line.to_bytes());
    let unended = IndexFile::new(first.trim_end().as_bytes());
    let yanked = unended.with_yanked(&key("1.0.0"), true).unwrap().unwrap();
    assert!(yanked.ends_with(b"}\n"));
}

#[test]
fn normal_dependencies_come_before_others_of_their_name() {
    let dependency = |name: &str, kind, optional| Dependency {
        kind,
        optional,
        ..serde_json::from_str(&format!(r#"{{"name":"{name}","req":"1"}}"#)).unwrap()
    };
    use DependencyKind::{Build, Dev, Normal};
    let line = new(
        vec![
            dependency("b", Dev, false),
            dependency("b", Normal, true),
            dependency("a-b", Dev, false),
            dependency("b", Build, false),
            dependency("a", Dev, false),
        ],
        Features::new(),
    );
    let order: Vec<_> = line
        .deps
        .iter()
        .map(|dep| (dep.name.as_str(), dep.kind))
        .collect();
    assert_eq!(
        order,
        [
            ("a", Dev),
            ("a-b", Dev),
            ("b", Normal),
            ("b", Build),
            ("b", Dev)
        ]
    );
}
