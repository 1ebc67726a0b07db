//! What an operator decides of the registry and the index records: a change of it is a commit.

use std::io;

use crate::domain::{Capability, PublicUrl, RegistryName, Visibility};

use super::registry_files::Identity;

/// The settings that stand in the index too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The first segment of the registry's paths; it never changes.
    pub name: RegistryName,
    /// Where people reach it.
    pub public_url: PublicUrl,
    /// Who may read.
    pub visibility: Visibility,
    /// Whether a registry that is there keeps the visibility that it has: then that is changed while it is served.
    pub keeps_visibility: bool,
    /// Whether a secret in the URL is enough to download; only of a private registry.
    pub capability_downloads: bool,
}

impl Settings {
    /// The settings that the index has: with them nothing changes.
    pub fn recorded(identity: &Identity) -> Self {
        Self {
            name: identity.name.clone(),
            public_url: identity.public_url.clone(),
            visibility: identity.visibility,
            keeps_visibility: false,
            capability_downloads: identity.capability.is_some(),
        }
    }

    /// The capability that goes with these settings in a registry of this visibility: the one at hand if there is one, else a new one.
    ///
    /// One that is not wanted any more is dropped: what a public index has shown must never open a private one.
    pub(super) fn capability(
        &self,
        visibility: Visibility,
        known: Option<&Capability>,
    ) -> io::Result<Option<Capability>> {
        if visibility == Visibility::Public || !self.capability_downloads {
            return Ok(None);
        }
        known.cloned().map_or_else(random_capability, Ok).map(Some)
    }
}

impl Identity {
    /// The identity as the settings want it, with the capability that goes with them.
    pub(super) fn configured(&self, settings: &Settings) -> io::Result<Self> {
        let known = self
            .capability
            .as_ref()
            .filter(|_| self.visibility == Visibility::Private);
        let visibility = match settings.keeps_visibility {
            true => self.visibility,
            false => settings.visibility,
        };
        let capability = settings.capability(visibility, known)?;
        let moved = match self.public_url == settings.public_url {
            true => self.clone(),
            false => self.moved_to(&settings.public_url),
        };
        Ok(Self {
            visibility,
            capability,
            ..moved
        })
    }

    /// What is different in `next`, in words for the subject of a commit; none of them is a secret.
    pub(super) fn changes_to(&self, next: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if self.public_url != next.public_url {
            changes.push(format!("move to {}", next.public_url));
        }
        if self.visibility != next.visibility {
            changes.push(format!("make the registry {}", next.visibility));
        }
        let capability = match (&self.capability, &next.capability) {
            (None, Some(_)) => Some("switch capability downloads on"),
            (Some(_), None) => Some("switch capability downloads off"),
            (Some(old), Some(new)) if old != new => Some("rotate the capability of downloads"),
            _ => None,
        };
        changes.extend(capability.map(str::to_owned));
        changes
    }
}

/// 128 bits from the system.
pub fn random_capability() -> io::Result<Capability> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::from)?;
    Ok(Capability::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            id: [1; 16].into(),
            name: RegistryName::default(),
            public_url: "http://localhost:1".parse().unwrap(),
            former_urls: vec![],
            blob_store: [2; 16].into(),
            visibility: Visibility::Public,
            capability: None,
        }
    }

    fn with(identity: &Identity, visibility: Visibility, capability_downloads: bool) -> Identity {
        let settings = Settings {
            visibility,
            capability_downloads,
            ..Settings::recorded(identity)
        };
        identity.configured(&settings).unwrap()
    }

    #[test]
    fn every_address_that_a_registry_had_stays_known_once() {
        let url = |port: u16| format!("http://localhost:{port}").parse().unwrap();
        let mut identity = identity();
        for port in [2, 3, 1] {
            identity = identity.moved_to(&url(port));
        }
        assert_eq!(identity.public_url, url(1));
        assert_eq!(identity.former_urls, [url(2), url(3)]);
    }

    #[test]
    fn recorded_settings_change_nothing() {
        let open = with(&identity(), Visibility::Private, true);
        for identity in [identity(), open] {
            let same = identity.configured(&Settings::recorded(&identity)).unwrap();
            assert_eq!(same, identity);
            assert!(identity.changes_to(&same).is_empty());
        }
    }

    #[test]
    fn a_capability_does_not_outlive_its_being_wanted() {
        let first = with(&identity(), Visibility::Private, true);
        let known = first.capability.clone().unwrap();
        assert_eq!(
            identity().changes_to(&first),
            [
                "make the registry private",
                "switch capability downloads on"
            ]
        );
        assert!(
            !identity()
                .changes_to(&first)
                .concat()
                .contains(&known.expose())
        );
        for between in [
            with(&first, Visibility::Private, false),
            with(&first, Visibility::Public, false),
            with(&first, Visibility::Public, true),
        ] {
            assert_eq!(between.capability, None);
            assert!(
                first
                    .changes_to(&between)
                    .contains(&"switch capability downloads off".to_owned())
            );
            let again = with(&between, Visibility::Private, true).capability;
            assert!(again.is_some_and(|again| again != known));
        }
    }

    #[test]
    fn a_capability_that_stood_in_a_public_index_is_not_used() {
        let shown = Identity {
            capability: Some([3; 16].into()),
            ..identity()
        };
        let private = with(&shown, Visibility::Private, true);
        assert!(private.capability.is_some());
        assert_eq!(
            shown.changes_to(&private),
            [
                "make the registry private",
                "rotate the capability of downloads"
            ]
        );
        assert_ne!(private.capability, shown.capability);
    }
}
