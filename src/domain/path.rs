//! Where a crate's files lie in the index tree.

use std::fmt;

use super::name::CrateName;

/// The path of a crate's file of index lines, such as `se/rd/serde`.
///
/// It follows the rule of the [Cargo book](https://doc.rust-lang.org/cargo/reference/registry-index.html#index-files)
/// and is made of the lower-case name, so names that differ in `-` and `_` have different paths.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexPath(String);

impl IndexPath {
    /// The path for the lines of `name`.
    pub fn of(name: &CrateName) -> Self {
        let lower = name.as_str().to_ascii_lowercase();
        Self(match lower.len() {
            1 => format!("1/{lower}"),
            2 => format!("2/{lower}"),
            3 => format!("3/{}/{lower}", &lower[..1]),
            _ => format!("{}/{}/{lower}", &lower[..2], &lower[2..4]),
        })
    }

    /// The crate name that `path` is for, if `path` is an index path at all.
    ///
    /// The name is in lower case: the index line knows how the crate is spelled.
    pub fn crate_at(path: &str) -> Option<CrateName> {
        let (folders, name) = path.rsplit_once('/')?;
        let name: CrateName = name.parse().ok()?;
        let lower = name.as_str();
        // As `of` has it, and without making it: every read of the index comes through here.
        let is_its_own = !lower.bytes().any(|byte| byte.is_ascii_uppercase())
            && match lower.len() {
                1 => folders == "1",
                2 => folders == "2",
                3 => folders.strip_prefix("3/") == Some(&lower[..1]),
                _ => folders.split_once('/') == Some((&lower[..2], &lower[2..4])),
            };
        is_its_own.then_some(name)
    }

    /// The path as text, with `/` between folders.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of the file that says who owns the crate.
    pub fn owners_file(&self) -> String {
        format!("owners/{}.toml", self.0)
    }
}

impl fmt::Display for IndexPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IndexPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::*;

    fn path(name: &str) -> String {
        IndexPath::of(&name.parse().unwrap()).to_string()
    }

    proptest! {
        #[test]
        fn every_name_has_a_safe_path_that_reads_back(name in arbitrary::crate_name()) {
            let path = IndexPath::of(&name);
            let back = IndexPath::crate_at(path.as_str()).unwrap();
            prop_assert_eq!(back.as_str(), name.as_str().to_ascii_lowercase());
            prop_assert_eq!(IndexPath::of(&back), path.clone());
            for segment in path.as_str().split('/') {
                prop_assert!(!segment.is_empty() && !segment.contains('.'));
                prop_assert!(segment.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_'));
            }
            prop_assert!(path.owners_file().starts_with("owners/"));
            prop_assert_eq!(format!("{path:?}"), format!("`{path}`"));
        }

        #[test]
        fn a_text_is_a_path_only_if_it_is_that_of_its_crate(text in "[a-cA-C0-3./_-]{0,9}|([a-z]{1,2}/){1,2}[a-z]{1,5}") {
            if let Some(name) = IndexPath::crate_at(&text) {
                prop_assert_eq!(IndexPath::of(&name).to_string(), text);
            }
        }

        #[test]
        fn what_is_found_at_a_path_has_that_path(text in "[1-3a-cA-C/-]{1,12}") {
            if let Some(name) = IndexPath::crate_at(&text) {
                prop_assert_eq!(IndexPath::of(&name).to_string(), text);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in arbitrary::text()) {
            let _ = IndexPath::crate_at(&text);
        }
    }

    #[test]
    fn paths_follow_the_length_of_the_name() {
        assert_eq!(path("a"), "1/a");
        assert_eq!(path("ab"), "2/ab");
        assert_eq!(path("abc"), "3/a/abc");
        assert_eq!(path("abcd"), "ab/cd/abcd");
        assert_eq!(path("Serde-JSON"), "se/rd/serde-json");
        let owners = IndexPath::of(&"serde".parse().unwrap()).owners_file();
        assert_eq!(owners, "owners/se/rd/serde.toml");
    }

    #[test]
    fn other_files_are_not_index_paths() {
        for text in [
            "",
            "/",
            "serde",
            "config.json",
            "registry.toml",
            "1/ab",
            "1//a",
            "/1/a",
            "1/a/",
            "se/rd/Serde",
            "SE/RD/serde",
            "se/rd/../serde",
            "./1/a",
            "3/b/abc",
            "owners/se/rd/serde.toml",
        ] {
            assert_eq!(IndexPath::crate_at(text), None, "{text}");
        }
    }

    #[test]
    fn twins_by_hyphen_have_two_paths_and_twins_by_case_one() {
        assert_ne!(path("foo-bar"), path("foo_bar"));
        assert_eq!(path("Foo"), path("foo"));
    }
}
