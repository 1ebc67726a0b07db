//! What a token allows its bearer to do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::hash::{Cksum, TokenId};
use super::name::CrateName;
use super::principal::Actor;
use super::version::CrateVersion;

/// One kind of action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Can {
    /// Read the index and download.
    Read,
    /// Publish versions.
    Publish,
    /// Yank and unyank versions.
    Yank,
    /// Change owners.
    Own,
}

/// Crates on which a token may act: an exact name, or every name with a prefix (`acme-*`, `*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrateScope {
    /// One crate; spelling does not matter.
    Exact(CrateName),
    /// All crates whose canonical name starts with this canonical text.
    Prefix(String),
}

/// The actions and crates of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes {
    /// What may be done.
    pub can: Vec<Can>,
    /// To which crates; empty is none.
    pub crates: Vec<CrateScope>,
}

/// A caller who has proved who they are, and what their token lets them do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// For whom the token speaks: a name that the operator gave, or a guest from the forge.
    pub bearer: Actor,
    /// The id of the token, for the record; not a secret.
    pub token_id: TokenId,
    /// What it allows.
    pub scopes: Scopes,
    /// The one release that it is for, if it is for one.
    pub only: Only,
}

/// The release that a token is for; what is not said is not limited.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Only {
    /// Its version, build metadata included.
    pub version: Option<CrateVersion>,
    /// The SHA-256 of its `.crate` file.
    pub cksum: Option<Cksum>,
}

/// The text is not an action or not a pattern of crates.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScopeFault {
    /// Not one of the four actions.
    #[error("`{0}` is not an action; there are `read`, `publish`, `yank` and `own`")]
    Can(String),
    /// Neither a crate name nor a prefix with `*`.
    #[error("`{0}` is neither the name of a crate nor a prefix followed by `*`")]
    Crates(String),
}

impl Can {
    /// Every action.
    pub const ALL: [Self; 4] = [Self::Read, Self::Publish, Self::Yank, Self::Own];

    /// The word for it in tokens and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Yank => "yank",
            Self::Own => "own",
        }
    }
}

impl CrateScope {
    /// Every crate.
    pub fn all() -> Self {
        Self::Prefix(String::new())
    }

    /// Whether the scope includes `name`.
    pub fn includes(&self, name: &CrateName) -> bool {
        let canonical = name.canonical();
        match self {
            Self::Exact(exact) => exact.canonical() == canonical,
            Self::Prefix(prefix) => canonical.as_str().starts_with(prefix),
        }
    }
}

impl Scopes {
    /// Everything on every crate.
    pub fn all() -> Self {
        Self {
            can: Can::ALL.to_vec(),
            crates: vec![CrateScope::all()],
        }
    }

    /// Whether the action is one of the token's, on whichever crates.
    pub fn allows(&self, can: Can) -> bool {
        self.can.contains(&can)
    }

    /// Whether the action is allowed on `name`.
    pub fn allows_on(&self, can: Can, name: &CrateName) -> bool {
        self.allows(can) && self.crates.iter().any(|scope| scope.includes(name))
    }
}

impl FromStr for Can {
    type Err = ScopeFault;

    fn from_str(text: &str) -> Result<Self, ScopeFault> {
        Self::ALL
            .into_iter()
            .find(|can| can.as_str() == text)
            .ok_or_else(|| ScopeFault::Can(super::excerpt(text)))
    }
}

impl fmt::Display for Can {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CrateScope {
    type Err = ScopeFault;

    fn from_str(text: &str) -> Result<Self, ScopeFault> {
        let fault = || ScopeFault::Crates(super::excerpt(text));
        match text.strip_suffix('*') {
            Some("") => Ok(Self::all()),
            // A prefix of a name is itself a name.
            Some(prefix) => match prefix.parse::<CrateName>() {
                Ok(name) => Ok(Self::Prefix(name.canonical().as_str().to_owned())),
                Err(_) => Err(fault()),
            },
            None => text.parse().map(Self::Exact).map_err(|_| fault()),
        }
    }
}

impl fmt::Display for CrateScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl Serialize for CrateScope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CrateScope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::from_text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::*;

    fn scope(text: &str) -> CrateScope {
        text.parse().unwrap()
    }

    fn name(text: &str) -> CrateName {
        text.parse().unwrap()
    }

    proptest! {
        #[test]
        fn a_scope_reads_back(name in arbitrary::crate_name(), is_prefix in any::<bool>()) {
            let text = if is_prefix { format!("{name}*") } else { name.to_string() };
            let scope = scope(&text);
            prop_assert_eq!(scope.to_string().parse::<CrateScope>().unwrap(), scope.clone());
            let json = serde_json::to_string(&scope).unwrap();
            prop_assert_eq!(serde_json::from_str::<CrateScope>(&json).unwrap(), scope.clone());
            prop_assert!(scope.includes(&name));
        }

        #[test]
        fn spelling_does_not_matter(name in arbitrary::crate_name(), other in arbitrary::crate_name()) {
            let twin: CrateName = name.as_str().to_ascii_uppercase().replace('_', "-").parse().unwrap();
            let [exact, prefix] = ["", "*"].map(|end| scope(&format!("{name}{end}")));
            let twin_prefix = scope(&format!("{twin}*"));
            prop_assert!(exact.includes(&twin) && prefix.includes(&twin) && twin_prefix.includes(&name));
            prop_assert_eq!(exact.includes(&other), name.canonical() == other.canonical());
            prop_assert!(scope("*").includes(&other));
        }

        #[test]
        fn no_text_makes_it_panic(text in arbitrary::text()) {
            for fault in [text.parse::<CrateScope>().err(), text.parse::<Can>().err()].into_iter().flatten() {
                prop_assert!(!fault.to_string().contains(char::is_control), "{}", fault);
            }
        }
    }

    #[test]
    fn a_prefix_includes_what_starts_with_it() {
        let acme = scope("Acme-*");
        for included in ["acme-core", "acme_core", "ACME-x"] {
            assert!(acme.includes(&name(included)), "{included}");
        }
        for other in ["acme", "acmecore", "my-acme-core", "a"] {
            assert!(!acme.includes(&name(other)), "{other}");
        }
        assert_eq!(acme.to_string(), "acme_*");
        assert!(!scope("serde").includes(&name("serde_json")));
        assert!(scope("serde*").includes(&name("serde_json")));
        assert_eq!(CrateScope::all().to_string(), "*");
    }

    #[test]
    fn other_patterns_are_refused() {
        for text in [
            "", "**", "a**", "*a", "a*b", "1*", "-*", "a b", "a/*", "ä*", ".*", "a?",
        ] {
            let fault = text.parse::<CrateScope>().unwrap_err().to_string();
            assert_eq!(
                fault,
                format!("`{text}` is neither the name of a crate nor a prefix followed by `*`")
            );
        }
        assert!("a".repeat(65).parse::<CrateScope>().is_err());
        assert!(
            format!("{}*", "a".repeat(65))
                .parse::<CrateScope>()
                .is_err()
        );
    }

    #[test]
    fn actions_have_one_word_each() {
        for can in Can::ALL {
            assert_eq!(can.as_str().parse::<Can>(), Ok(can));
            assert_eq!(serde_json::to_string(&can).unwrap(), format!("\"{can}\""));
        }
        for text in ["", "Read", "write", "read ", "*"] {
            assert_eq!(
                text.parse::<Can>().unwrap_err().to_string(),
                format!("`{text}` is not an action; there are `read`, `publish`, `yank` and `own`")
            );
        }
    }

    #[test]
    fn action_and_crate_must_both_be_allowed() {
        let scopes = Scopes {
            can: vec![Can::Publish],
            crates: vec![scope("a"), scope("b-*")],
        };
        assert!(scopes.allows_on(Can::Publish, &name("A")));
        assert!(scopes.allows_on(Can::Publish, &name("b_c")));
        assert!(!scopes.allows_on(Can::Publish, &name("c")));
        assert!(!scopes.allows_on(Can::Yank, &name("a")));
        assert!(!scopes.allows(Can::Read));
        let nowhere = Scopes {
            crates: vec![],
            ..Scopes::all()
        };
        assert!(
            Can::ALL
                .iter()
                .all(|can| !nowhere.allows_on(*can, &name("a")))
        );
        assert!(
            Can::ALL
                .iter()
                .all(|can| Scopes::all().allows_on(*can, &name("a")))
        );
    }
}
