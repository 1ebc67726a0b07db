use proptest::prelude::*;

use super::super::arbitrary;
use super::*;

fn name(text: &str) -> CrateName {
    text.parse().unwrap()
}

fn refusal(text: &str) -> String {
    text.parse::<CrateName>().unwrap_err().to_string()
}

proptest! {
    #[test]
    fn canonical_form_is_a_name_and_its_own_canonical_form(name in arbitrary::crate_name()) {
        let canonical = name.canonical();
        let again: CrateName = canonical.as_str().parse().unwrap();
        prop_assert_eq!(again.canonical(), canonical.clone());
        prop_assert!(!canonical.as_str().contains(|c: char| c == '-' || c.is_ascii_uppercase()));
    }

    #[test]
    fn twins_by_case_and_hyphen_share_the_canonical_form(name in arbitrary::crate_name()) {
        for twin in [
            name.as_str().to_ascii_uppercase(),
            name.as_str().to_ascii_lowercase(),
            name.as_str().replace('-', "_"),
            name.as_str().replace('_', "-"),
        ] {
            let twin: CrateName = twin.parse().unwrap();
            prop_assert_eq!(twin.canonical(), name.canonical());
            prop_assert!(twin.is_twin_of(&name));
        }
    }

    #[test]
    fn any_text_is_judged_by_the_same_rule(text in arbitrary::text()) {
        let is_name = (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        match text.parse::<CrateName>() {
            Ok(name) => {
                prop_assert!(is_name);
                prop_assert_eq!(name.to_string(), text.clone());
                prop_assert!(text.parse::<DependencyName>().is_ok());
            }
            Err(fault) => {
                prop_assert!(!is_name);
                prop_assert!(!fault.to_string().contains(char::is_control), "{}", fault);
            }
        }
    }
}

#[test]
fn different_names_stay_different() {
    assert_ne!(name("ab").canonical(), name("a_b").canonical());
    assert!(!name("ab").is_twin_of(&name("a_b")));
    assert_ne!(name("a-b"), name("a_b"), "the spelling is kept");
    assert_eq!(name("Foo-Bar").as_str(), "Foo-Bar");
    assert_eq!(name("Foo-Bar").canonical().as_str(), "foo_bar");
}

#[test]
fn a_name_has_at_most_64_bytes() {
    assert!("a".repeat(64).parse::<CrateName>().is_ok());
    assert!("a".repeat(65).parse::<CrateName>().is_err());
    assert!("_".repeat(64).parse::<DependencyName>().is_ok());
    assert!("_".repeat(65).parse::<DependencyName>().is_err());
}

#[test]
fn each_refusal_is_a_sentence_that_says_what_would_be_right() {
    assert_eq!(refusal(""), "a crate name must not be empty");
    assert_eq!(
        refusal(&"x".repeat(65)),
        format!(
            "the crate name `{}…` is longer than 64 characters",
            "x".repeat(32)
        )
    );
    assert_eq!(
        refusal("1up"),
        "the crate name `1up` must start with an ASCII letter, not with `1`"
    );
    assert_eq!(
        refusal("_x"),
        "the crate name `_x` must start with an ASCII letter, not with `_`"
    );
    assert_eq!(
        refusal("größe"),
        "the crate name `größe` contains `ö`; only ASCII letters, digits, `-` and `_` are allowed"
    );
    assert_eq!(
        refusal("a\nb"),
        r"the crate name `a\nb` contains `\n`; only ASCII letters, digits, `-` and `_` are allowed"
    );
    assert_eq!(
        refusal("ёж"),
        "the crate name `ёж` must start with an ASCII letter, not with `ё`"
    );
}

#[test]
fn letters_that_fold_to_ascii_are_no_ascii() {
    // The Kelvin sign and the long s become `k` and `s` when Unicode folds case.
    for text in [
        "\u{212a}elvin",
        "a\u{17f}",
        "ａ",
        "a.b",
        "a/b",
        "..",
        "a b",
        "a\0",
    ] {
        assert!(text.parse::<CrateName>().is_err(), "{text:?}");
        assert!(text.parse::<DependencyName>().is_err(), "{text:?}");
    }
}

#[test]
fn an_alias_may_start_with_an_underscore_and_a_crate_may_not() {
    assert_eq!("_x".parse::<DependencyName>().unwrap().as_str(), "_x");
    assert!("_x".parse::<CrateName>().is_err());
    assert!("1x".parse::<DependencyName>().is_err());
}

#[test]
fn names_of_the_toolchain_are_reserved_in_every_spelling() {
    for text in [
        "std",
        "STD",
        "proc-macro",
        "Proc_Macro",
        "rustc",
        "test",
        "compiler-builtins",
    ] {
        assert_eq!(name(text).reserved(), Some(Reserved::Toolchain), "{text}");
    }
    for folded in TOOLCHAIN_NAMES {
        assert_eq!(
            name(folded).canonical().as_str(),
            folded,
            "the table is canonical"
        );
    }
}

#[test]
fn devices_of_windows_are_reserved() {
    let numbered = (0..=9).flat_map(|n| [format!("com{n}"), format!("LPT{n}")]);
    let plain = ["con", "prn", "aux", "nul", "NUL", "Con"].map(str::to_owned);
    for text in numbered.chain(plain) {
        assert_eq!(
            name(&text).reserved(),
            Some(Reserved::WindowsDevice),
            "{text}"
        );
    }
    for text in [
        "com", "com10", "comx", "lpt", "console", "nul-1", "serde", "stdx", "auxv",
    ] {
        assert_eq!(name(text).reserved(), None, "{text}");
    }
    assert_eq!(
        Reserved::WindowsDevice.to_string(),
        "is the name of a device on Windows"
    );
    assert_eq!(
        Reserved::Toolchain.to_string(),
        "is reserved for the Rust toolchain"
    );
}

#[test]
fn serde_goes_through_the_same_door() {
    assert_eq!(
        serde_json::to_string(&name("Foo-Bar")).unwrap(),
        r#""Foo-Bar""#
    );
    assert_eq!(
        serde_json::from_str::<CrateName>(r#""Foo-Bar""#).unwrap(),
        name("Foo-Bar")
    );
    let fault = serde_json::from_str::<CrateName>(r#""a/b""#).unwrap_err();
    assert!(
        fault
            .to_string()
            .starts_with("the crate name `a/b` contains `/`"),
        "{fault}"
    );
    assert!(serde_json::from_str::<DependencyName>(r#""""#).is_err());
}
