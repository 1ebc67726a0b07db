use proptest::prelude::*;

use super::super::arbitrary;
use super::*;

fn url(text: &str) -> RegistryUrl {
    text.parse().unwrap()
}

fn own(bases: &[&str]) -> OwnUrls {
    let bases: Vec<PublicUrl> = bases.iter().map(|base| base.parse().unwrap()).collect();
    OwnUrls::new(&RegistryName::default(), &bases)
}

proptest! {
    #[test]
    fn an_accepted_public_url_is_written_as_it_is_read(text in url_like()) {
        if let Ok(url) = text.parse::<PublicUrl>() {
            prop_assert!(!url.as_str().ends_with('/'));
            prop_assert_eq!(url.to_string(), url.as_str());
            prop_assert_eq!(url.as_str().parse::<PublicUrl>().unwrap(), url);
        }
    }

    #[test]
    fn an_accepted_registry_url_is_kept_and_is_itself(text in url_like()) {
        if let Ok(url) = text.parse::<RegistryUrl>() {
            prop_assert_eq!(url.as_str(), &text);
            prop_assert_eq!(url.to_string(), text.clone());
            prop_assert_eq!(url.is_sparse(), text.starts_with("sparse+"));
            prop_assert!(url.is_same_registry(&url));
            prop_assert!(!text.contains(|c: char| c.is_control() || c.is_whitespace()));
            prop_assert!(!own(&["http://localhost:8642"]).contains(&url));
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in prop_oneof![arbitrary::text(), url_like()]) {
        let _ = canonical(&text);
        let faults = [
            text.parse::<RegistryUrl>().err(),
            text.parse::<PublicUrl>().err(),
            text.parse::<RegistryName>().err(),
        ];
        for fault in faults.into_iter().flatten() {
            prop_assert!(!fault.to_string().contains(char::is_control), "{}", fault);
        }
    }

    #[test]
    fn a_registry_name_is_one_safe_segment(text in arbitrary::text()) {
        if let Ok(name) = text.parse::<RegistryName>() {
            prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
        }
    }

    #[test]
    fn every_spelling_of_an_own_url_is_own(
        base in "https?://[a-z]{1,5}(:[1-9][0-9]{3})?(/[a-z]{1,4}){0,2}",
        is_sparse in any::<bool>(),
        ending in "(\\.git)?/{0,2}",
    ) {
        let base: PublicUrl = base.parse().unwrap();
        let name = RegistryName::default();
        let urls = OwnUrls::new(&name, [&base]);
        let text = if is_sparse { base.sparse_index(&name) } else { base.git_index(&name) };
        prop_assert!(urls.contains(&url(&text)));
        let respelled = format!("{}{ending}", text.trim_end_matches('/'));
        prop_assert!(urls.contains(&url(&respelled)), "{}", respelled);
    }
}

/// Texts that are nearly URLs.
fn url_like() -> impl Strategy<Value = String> {
    let start = "(sparse\\+)?(https?|ssh|file|ftp|HTTP):/{0,3}";
    let host = "[a-zA-Z]{0,4}(@[a-z]{1,3}|:[0-9]{1,6}|é|%41|\\[::1\\])?";
    (start, host, arbitrary::text()).prop_map(|(start, host, rest)| format!("{start}{host}/{rest}"))
}

#[test]
fn the_addresses_of_a_registry_follow_from_its_public_url() {
    let base: PublicUrl = "http://Localhost:80/sub/".parse().unwrap();
    let name = RegistryName::default();
    assert_eq!(base.as_str(), "http://localhost/sub");
    assert_eq!(base.to_string(), base.as_str());
    assert_eq!(base.git_index(&name), "http://localhost/sub/crates/git");
    assert_eq!(
        base.sparse_index(&name),
        "sparse+http://localhost/sub/crates/index/"
    );
    assert_eq!(base.registry_root(&name), "http://localhost/sub/crates");
}

#[test]
fn own_urls_are_known_in_every_spelling() {
    let urls = own(&["https://crates.example", "http://localhost:8642"]);
    for text in [
        "https://crates.example/crates/git",
        "https://crates.example/crates/git/",
        "https://crates.example/crates/git.git",
        "https://crates.example/crates/git.git/",
        "https://CRATES.Example/crates/git",
        "HTTPS://crates.example:443/crates/git",
        "https://crates.example/./x/../crates/git",
        "sparse+https://crates.example/crates/index/",
        "sparse+https://crates.example/crates/index",
        "sparse+https://CRATES.example:443/crates/index/",
        "http://localhost:8642/crates/git",
        "sparse+http://localhost:8642/crates/index/",
    ] {
        assert!(urls.contains(&url(text)), "{text}");
    }
}

#[test]
fn a_repository_with_the_index_is_own_in_every_spelling() {
    let none = OwnUrls::new(&"crates".parse().unwrap(), &[]);
    let own = none.and_repository("https://git.example.com/acme/crates.git");
    for (url, is_own) in [
        ("https://git.example.com/acme/crates.git", true),
        ("https://GIT.example.com:443/acme/crates/", true),
        ("https://git.example.com/acme/other.git", false),
    ] {
        assert_eq!(own.contains(&url.parse().unwrap()), is_own, "{url}");
    }
}

#[test]
fn own_urls_of_two_kinds_are_own_together() {
    let (public, local) = ("https://crates.example", "http://127.0.0.1:8642");
    let both = own(&[public]).and(&own(&[local]));
    for base in [public, local] {
        assert!(both.contains(&url(&format!("sparse+{base}/crates/index/"))));
    }
    assert!(!both.contains(&url("sparse+https://other.example/crates/index/")));
}

#[test]
fn look_alikes_are_foreign() {
    let urls = own(&["https://crates.example"]);
    for text in [
        "http://crates.example/crates/git",
        "https://crates.example:8443/crates/git",
        "https://crates.example.evil/crates/git",
        "https://evil.crates.example/crates/git",
        "https://crates.example@evil/crates/git",
        "https://user@crates.example/crates/git",
        "https://crates-example/crates/git",
        "https://crates.example/Crates/git",
        "https://crates.example/crates/GIT",
        "https://crates.example/crates/gitx",
        "https://crates.example/crates/git/x",
        "https://crates.example/crates",
        "https://crates.example/other/git",
        "https://crates.example/crates/%67it",
        "https://crates.example//crates/git",
        "https://crates.examp1e/crates/git",
        "https://crates.ехample/crates/git",
        "ssh://crates.example/crates/git",
        "file:///crates/git",
        PUBLIC_REGISTRY,
    ] {
        assert!(!urls.contains(&url(text)), "{text}");
    }
    assert!(!OwnUrls::default().contains(&url("https://crates.example/crates/git")));
}

#[test]
fn two_spellings_are_one_registry() {
    let public = RegistryUrl::public_registry();
    assert!(public.is_same_registry(&url("https://GitHub.com/rust-lang/crates.io-index.git/")));
    assert!(!public.is_same_registry(&url("https://github.com/rust-lang/crates.io-index2")));
}

#[test]
fn urls_that_hide_something_are_refused() {
    for text in [
        "https://user:secret@host/x",
        "https://:secret@host/x",
        "https://host/x?y",
        "https://host/x#y",
        "https://host/x?",
        "https://host/x#",
    ] {
        assert_eq!(text.parse::<RegistryUrl>(), Err(UrlFault::Extra), "{text}");
        assert_eq!(text.parse::<PublicUrl>(), Err(UrlFault::Extra), "{text}");
    }
    assert_eq!(
        "https://user@host".parse::<PublicUrl>(),
        Err(UrlFault::Extra)
    );
    assert!("ssh://git@host/index".parse::<RegistryUrl>().is_ok());
    for text in [
        "https://host/a\nb",
        "https://host/a b",
        " https://host",
        "https://host\t",
        "https://ho\r\nst/",
        "https://host/\u{2028}",
        "https://ho\u{ad}st/",
        "https://ho\u{200d}st/",
        "https://ho\u{feff}st/",
        "https://host/\u{202e}",
    ] {
        assert!(
            matches!(text.parse::<RegistryUrl>(), Err(UrlFault::Syntax { .. })),
            "{text:?}"
        );
        assert!(
            matches!(text.parse::<PublicUrl>(), Err(UrlFault::Syntax { .. })),
            "{text:?}"
        );
    }
}

#[test]
fn other_schemes_are_refused() {
    for text in [
        "ftp://host/x",
        "javascript:alert(1)",
        "data:,x",
        "sparse+sparse+https://host/",
        "git+https://host/x",
    ] {
        assert!(
            matches!(text.parse::<RegistryUrl>(), Err(UrlFault::Scheme(_))),
            "{text}"
        );
    }
    for text in ["ssh://git@host/x", "file:///x", "sparse+https://host/"] {
        assert!(
            matches!(text.parse::<PublicUrl>(), Err(UrlFault::Scheme(_))),
            "{text}"
        );
    }
    assert_eq!(
        "example".parse::<PublicUrl>().unwrap_err().to_string(),
        "`example` must start with `https://` or `http://`"
    );
}

#[test]
fn a_url_has_at_most_512_bytes_in_every_form() {
    let of_length = |length: usize| format!("https://host/{}", "a".repeat(length - 13));
    assert!(of_length(512).parse::<RegistryUrl>().is_ok());
    assert_eq!(
        of_length(513).parse::<RegistryUrl>(),
        Err(UrlFault::TooLong)
    );
    let escaped = format!("https://host/{}", "é".repeat(200));
    assert_eq!(escaped.parse::<PublicUrl>(), Err(UrlFault::TooLong));
}

#[test]
fn registry_names_have_1_to_32_characters() {
    for text in ["crates", "a", "a-1", &"a".repeat(32)] {
        assert_eq!(text.parse::<RegistryName>().unwrap().as_str(), text);
        let read: RegistryName = serde_json::from_str(&format!("{text:?}")).unwrap();
        assert_eq!(read.as_str(), text);
    }
    for text in [
        "",
        "1a",
        "-a",
        "A",
        "a_b",
        "a/b",
        "..",
        "ä",
        &"a".repeat(33),
    ] {
        assert_eq!(
            text.parse::<RegistryName>().unwrap_err().to_string(),
            format!(
                "`{text}` is not a registry name; 1 to 32 lower-case ASCII letters, digits and `-` are allowed, \
                 with a letter first"
            )
        );
    }
}
