//! What the people who run a registry decided: the file `policy.toml`.

use serde::Deserialize;
use thiserror::Error;

use super::document::read_document;
use super::limits::{LimitFault, Limits};
use super::name::CrateName;
use super::owners::Creators;
use super::rate::RateLimits;
use super::registry::RegistryUrl;
use super::requirements::Requirements;

/// The largest policy file that is read, in bytes.
const POLICY_BYTES_MAX: usize = 256 * 1024;

/// Rules that a reviewed commit can change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Who may publish under a name that no crate has yet.
    pub create: Creators,
    /// Names that nobody may take, beyond those that no registry gives away.
    pub reserved: Vec<CrateName>,
    /// Other registries whose crates may be depended on.
    pub dependencies_from: Vec<RegistryUrl>,
    /// What crates must have.
    pub require: Requirements,
    /// How often one person may publish and yank.
    pub rates: RateLimits,
    /// Bounds on uploads.
    pub limits: Limits,
}

/// The file is not a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyFault {
    /// Larger than [`POLICY_BYTES_MAX`].
    #[error("it is larger than {POLICY_BYTES_MAX} bytes")]
    TooLarge,
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("{0}")]
    Syntax(String),
    /// A limit that bounds nothing or admits nothing.
    #[error(transparent)]
    Limit(#[from] LimitFault),
}

impl Policy {
    /// Whether both find the same of every manifest and file.
    pub fn judges_manifests_as(&self, other: &Self) -> bool {
        let of = |policy: &Self| {
            let require = Requirements {
                // Judged by the index itself.
                known_dependencies: false,
                ..policy.require.clone()
            };
            (
                policy.dependencies_from.clone(),
                require,
                policy.limits.clone(),
            )
        };
        of(self) == of(other)
    }

    /// Reads the file; keys that are missing have their defaults.
    pub fn parse(text: &str) -> Result<Self, PolicyFault> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyFault::TooLarge);
        }
        let policy: Self =
            read_document(text).map_err(|fault| PolicyFault::Syntax(fault.to_string()))?;
        policy.limits.check()?;
        Ok(policy)
    }

    /// Whether the registry keeps this name for itself.
    pub fn reserves(&self, name: &CrateName) -> bool {
        self.reserved
            .iter()
            .any(|reserved| reserved.is_twin_of(name))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            create: Creators::Everyone,
            reserved: Vec::new(),
            dependencies_from: vec![RegistryUrl::public_registry()],
            require: Requirements::default(),
            rates: RateLimits::default(),
            limits: Limits::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::super::owners::Owners;
    use super::*;

    proptest! {
        #[test]
        fn a_reserved_name_is_reserved_in_every_spelling(name in arbitrary::crate_name()) {
            let text = format!("reserved = [\"{name}\"]");
            let policy = Policy::parse(&text).unwrap();
            let twin = name.as_str().to_ascii_uppercase().replace('-', "_");
            prop_assert!(policy.reserves(&name) && policy.reserves(&twin.parse().unwrap()));
            prop_assert!(!Policy::default().reserves(&name));
        }

        #[test]
        fn no_text_makes_it_panic(text in arbitrary::text()) {
            let _ = Policy::parse(&text);
            let _ = Policy::parse(&format!("create = [\"{text}\"]"));
        }
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        assert_eq!(Policy::parse("").unwrap(), Policy::default());
        assert_eq!(Policy::default().create, Creators::Everyone);
        assert_eq!(
            Policy::default().dependencies_from,
            [RegistryUrl::public_registry()]
        );
        let strict = Policy::parse("dependencies_from = []\nlimits.entries_max = 7").unwrap();
        assert_eq!(strict.dependencies_from, []);
        assert_eq!(strict.limits.entries_max, 7);
    }

    #[test]
    fn rules_are_switched_one_by_one() {
        let policy =
            Policy::parse("require.license = true\nrates.yanks = { burst = 100, per_hour = 60 }")
                .unwrap();
        assert!(policy.require.license && policy.require.known_dependencies);
        assert!(!policy.require.description && !policy.require.web_urls);
        let yanks = policy.rates.yanks.unwrap();
        assert_eq!(yanks.interval(), std::time::Duration::from_secs(60));
        assert_eq!(policy.rates.new_crates, None);
    }

    #[test]
    fn a_manifest_is_judged_anew_only_by_what_can_be_seen_in_it() {
        let is_same = |text| Policy::default().judges_manifests_as(&Policy::parse(text).unwrap());
        for text in [
            "create = []",
            "reserved = [\"a\"]",
            "require.known_dependencies = false",
            "rates.yanks = { burst = 1, per_hour = 60 }",
        ] {
            assert!(is_same(text), "{text}");
        }
        for text in [
            "dependencies_from = []",
            "require.license = true",
            "limits.entries_max = 7",
        ] {
            assert!(!is_same(text), "{text}");
        }
    }

    #[test]
    fn creators_are_everyone_or_those_named_as_owners_are() {
        let named = |text: &str| Policy::parse(text).unwrap().create.named().cloned();
        assert_eq!(named("create = \"everyone\""), None);
        assert_eq!(named("create = []"), Some(Owners::default()));
        let owners = "users = [{ login = \"alice\", id = 7 }, { login = \"bob\" }]
teams = [{ name = \"acme:platform\", id = 3 }]
repository = { name = \"acme/serde\", id = 12 }
";
        let table = named(&format!("reserved = []\n[create]\n{owners}"));
        assert_eq!(table, Some(Owners::parse(owners).unwrap()));
        let names = Owners::parse("users = [{ login = \"alice\" }, { login = \"bob\" }]");
        assert_eq!(named("create = [\"alice\", \"bob\"]"), names.ok());
        let fault = Policy::parse("create = [\"acme:platform\"]").unwrap_err();
        assert!(
            fault.to_string().starts_with("`create` is neither"),
            "{fault}"
        );
    }

    #[test]
    fn other_files_are_refused() {
        for text in [
            "create = \"nobody\"",
            "create = [\"a b\"]",
            "create = true",
            "create = [\"acme:platform\"]",
            "create = { users = [\"alice\"] }",
            "create = { team = [] }",
            "create = { teams = [{ name = \"acme:platform\" }] }",
            "creators = []",
            "reserved = [\"a/b\"]",
            "dependencies_from = [\"javascript:x\"]",
            "limits.entries = 7",
            "require.readme = true",
            "require.license = \"MIT\"",
            "rates.new_crates = { burst = 0, per_hour = 1 }",
            "rates.new_crates = { burst = 1 }",
            "rates.reads = { burst = 1, per_hour = 1 }",
            "create = []\ncreate = []",
        ] {
            assert!(
                matches!(Policy::parse(text), Err(PolicyFault::Syntax(_))),
                "{text}"
            );
        }
        let largest = format!("#{}", "x".repeat(POLICY_BYTES_MAX - 1));
        assert_eq!(Policy::parse(&largest), Ok(Policy::default()));
        let huge = format!("#{}", "x".repeat(POLICY_BYTES_MAX));
        assert_eq!(Policy::parse(&huge), Err(PolicyFault::TooLarge));
        let deep = format!("reserved = {}", "[".repeat(POLICY_BYTES_MAX - 100));
        assert!(matches!(Policy::parse(&deep), Err(PolicyFault::Syntax(_))));
    }

    #[test]
    fn the_template_says_the_defaults() {
        let template = include_str!("../../index-template/policy.toml");
        assert_eq!(Policy::parse(template).unwrap(), Policy::default());
    }

    #[test]
    fn a_limit_that_bounds_or_admits_nothing_is_refused() {
        for (text, key) in [
            ("[limits]\nentries_max = 0", "`limits.entries_max`"),
            (
                "[limits]\nunpacked_bytes_max = 5",
                "`limits.crate_bytes_max`",
            ),
            (
                "[limits]\ncrate_bytes_max = 4294967296",
                "`limits.crate_bytes_max`",
            ),
        ] {
            let fault = Policy::parse(text).unwrap_err().to_string();
            assert!(fault.contains(key), "{text}: {fault}");
        }
    }
}
