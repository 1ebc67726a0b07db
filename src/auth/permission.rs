//! Whether a grant covers an action.

use std::fmt::Display;

use thiserror::Error;

use super::{CredentialsFault, GateFault, TokenFault};
use crate::domain::{Can, Cksum, CrateName, CrateScope, CrateVersion, Grant, first_of};

/// How many crates a refusal lists.
const LISTED_MAX: usize = 10;

/// Why a caller is turned away: the first two are answered with 401, the third with 403, the last as it says.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthFault {
    /// The request carries no token.
    #[error(transparent)]
    Credentials(#[from] CredentialsFault),
    /// The token is not good.
    #[error(transparent)]
    Token(#[from] TokenFault),
    /// The token is good, but not for this.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// The forge has something against the token, or cannot be asked.
    #[error(transparent)]
    Gate(#[from] GateFault),
}

/// What a good token does not cover.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotPermitted {
    /// The action, on whatever crate.
    #[error("this token may not `{can}`; it allows {}", listed(allowed))]
    Action { can: Can, allowed: Vec<Can> },
    /// The crate.
    #[error(
        "this token may not `{can}` the crate `{krate}`; it is limited to {}",
        listed(limited_to)
    )]
    Crate {
        can: Can,
        krate: CrateName,
        limited_to: Vec<CrateScope>,
    },
    /// The version.
    #[error("this token is for the version {only} alone, not for {version}")]
    Version {
        version: CrateVersion,
        only: CrateVersion,
    },
    /// The file.
    #[error("this token is for the file with the SHA-256 {only} alone; this one has {cksum}")]
    File { cksum: Cksum, only: Cksum },
}

impl Grant {
    /// Whether the token covers the action where no crate is concerned.
    pub fn require(&self, can: Can) -> Result<(), NotPermitted> {
        if self.scopes.allows(can) {
            return Ok(());
        }
        Err(NotPermitted::Action {
            can,
            allowed: self.scopes.can.clone(),
        })
    }

    /// Whether the token covers the action on `krate`.
    pub fn require_on(&self, can: Can, krate: &CrateName) -> Result<(), NotPermitted> {
        self.require(can)?;
        if self.scopes.allows_on(can, krate) {
            return Ok(());
        }
        Err(NotPermitted::Crate {
            can,
            krate: krate.clone(),
            limited_to: self.scopes.crates.clone(),
        })
    }

    /// Whether the token covers this version of its crate, and the file if one is concerned.
    pub fn require_release(
        &self,
        version: &CrateVersion,
        cksum: Option<&Cksum>,
    ) -> Result<(), NotPermitted> {
        if let Some(only) = &self.only.version
            && only != version
        {
            let (version, only) = (version.clone(), only.clone());
            return Err(NotPermitted::Version { version, only });
        }
        match (self.only.cksum, cksum) {
            (Some(only), Some(&cksum)) if only != cksum => Err(NotPermitted::File { cksum, only }),
            _ => Ok(()),
        }
    }
}

fn listed(items: &[impl Display]) -> String {
    match items {
        [] => "nothing".to_owned(),
        items => first_of(items.iter().map(|item| format!("`{item}`")), LISTED_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Actor, Only, Scopes};

    fn grant(can: &[Can], crates: &[&str]) -> Grant {
        Grant {
            bearer: Actor::Local("alice".parse().unwrap()),
            only: Only::default(),
            token_id: [0; 16].into(),
            scopes: Scopes {
                can: can.to_vec(),
                crates: crates.iter().map(|text| text.parse().unwrap()).collect(),
            },
        }
    }

    fn name(text: &str) -> CrateName {
        text.parse().unwrap()
    }

    #[test]
    fn an_action_outside_the_token_is_refused_with_what_it_allows() {
        let grant = grant(&[Can::Read, Can::Publish], &["*"]);
        assert_eq!(grant.require(Can::Read), Ok(()));
        assert_eq!(grant.require_on(Can::Publish, &name("serde")), Ok(()));
        for fault in [
            grant.require(Can::Yank).unwrap_err(),
            grant.require_on(Can::Yank, &name("serde")).unwrap_err(),
        ] {
            assert_eq!(
                fault.to_string(),
                "this token may not `yank`; it allows `read`, `publish`"
            );
        }
    }

    #[test]
    fn a_crate_outside_the_token_is_refused_with_what_it_is_limited_to() {
        let grant = grant(&[Can::Publish], &["acme_*", "Serde-JSON"]);
        for krate in ["acme-http", "ACME_http", "serde_json"] {
            assert_eq!(
                grant.require_on(Can::Publish, &name(krate)),
                Ok(()),
                "{krate}"
            );
        }
        assert_eq!(
            grant
                .require_on(Can::Publish, &name("acme"))
                .unwrap_err()
                .to_string(),
            "this token may not `publish` the crate `acme`; it is limited to `acme_*`, `Serde-JSON`"
        );
    }

    #[test]
    fn a_token_of_one_release_is_for_no_other_version_or_file() {
        let [ours, other]: [Cksum; 2] = [[1; 32].into(), [2; 32].into()];
        let version = |text: &str| -> CrateVersion { text.parse().unwrap() };
        let mut grant = grant(&[Can::Publish], &["a"]);
        let any = grant.require_release(&version("7.0.0"), Some(&other));
        assert_eq!(any, Ok(()));
        grant.only.version = Some(version("1.0.0+linux"));
        grant.only.cksum = Some(ours);
        let ask = |text: &str, cksum| grant.require_release(&version(text), cksum);
        assert_eq!(ask("1.0.0+linux", Some(&ours)), Ok(()));
        assert_eq!(ask("1.0.0+linux", None), Ok(()), "no file is concerned");
        for text in ["1.0.0", "1.0.0+mac", "1.0.1"] {
            let fault = ask(text, Some(&ours)).unwrap_err().to_string();
            let told = format!("this token is for the version 1.0.0+linux alone, not for {text}");
            assert_eq!(fault, told);
        }
        let fault = ask("1.0.0+linux", Some(&other)).unwrap_err();
        assert!(matches!(fault, NotPermitted::File { only, .. } if only == ours));
    }

    #[test]
    fn an_empty_token_allows_nothing_and_says_so() {
        assert_eq!(
            grant(&[], &["*"])
                .require(Can::Read)
                .unwrap_err()
                .to_string(),
            "this token may not `read`; it allows nothing"
        );
        assert_eq!(
            grant(&[Can::Own], &[])
                .require_on(Can::Own, &name("serde"))
                .unwrap_err()
                .to_string(),
            "this token may not `own` the crate `serde`; it is limited to nothing"
        );
    }

    #[test]
    fn a_long_list_of_crates_is_cut_short() {
        let names: Vec<String> = (0..12).map(|i| format!("krate{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let text = grant(&[Can::Yank], &names).require_on(Can::Yank, &name("serde"));
        let text = text.unwrap_err().to_string();
        assert!(text.ends_with("`krate9` and 2 more"), "{text}");
    }
}
