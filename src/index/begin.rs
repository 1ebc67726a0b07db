//! What the writer does before anybody can ask it for a change.

use std::time::Instant;

use tracing::{info, warn};

use crate::domain::{RegistryName, StoreId};

use super::OpenFault;
use super::edit::Edit;
use super::registry_files::RegistryFiles;
use super::settings::Settings;
use super::signature::{KeyFault, SigningKey};
use super::writer::Writer;

/// How often it is tried to bring the settings into an index on a forge.
const ATTEMPTS: usize = 3;

impl Writer {
    /// Catches up with the branch, makes sure that this is our registry, and brings the settings into the index.
    pub(super) fn begin(&mut self, settings: &Settings) -> Result<(), OpenFault> {
        for attempt in 1..=ATTEMPTS {
            match self.begin_once(settings) {
                // Another server may have written the same: it is looked again.
                Err(OpenFault::Configure(reason)) if self.upstream.is_some() => {
                    warn!(
                        reason,
                        attempt, "the settings were not written to the index"
                    );
                    self.look_due = Instant::now();
                }
                done => return done,
            }
        }
        warn!(
            "they come into force at a start once the forge takes them; but that the registry is private is in force now"
        );
        Ok(())
    }

    fn begin_once(&mut self, settings: &Settings) -> Result<(), OpenFault> {
        // What hinders it is in the log; the last good commit is served.
        let is_standing = self.catch_up().is_ok();
        let registry = self.tip.snapshot.registry();
        check(registry, &settings.name, self.blobs.id())?;
        if !registry.trusts(&self.key.signer().map_err(KeyFault::from)?) {
            return Err(OpenFault::ForeignKey(SigningKey::path(&self.keys)));
        }
        self.promote_next_key()?;
        let snapshot = &self.tip.snapshot;
        let mut identity = snapshot
            .registry()
            .identity
            .configured(settings)
            .map_err(OpenFault::Random)?;
        if snapshot.crates.is_empty() {
            // Nobody can have come to depend on a URL under which nothing was ever published.
            identity.former_urls.clear();
        }
        let Some(edit) = Edit::configure(snapshot, &identity) else {
            return Ok(());
        };
        info!(
            change = edit.message.subject,
            "the settings differ from those of the index"
        );
        if !is_standing {
            warn!(
                "they come into force at a start once the branch is good again; but that the registry is private is in force now"
            );
            return Ok(());
        }
        self.write_own(edit).map_err(OpenFault::Configure)
    }

    /// Signs with the key that was prepared, if the tip trusts it: the last step of a rotation, also of one that a
    /// killed process left unfinished.
    pub(super) fn promote_next_key(&mut self) -> Result<(), KeyFault> {
        let Some(next) = SigningKey::next(&self.keys)? else {
            return Ok(());
        };
        let signer = next.signer()?;
        if self.tip.snapshot.registry.trusts(&signer) {
            SigningKey::promote_next(&self.keys)?;
            self.key = next;
            info!(key = signer.fingerprint(), "a new key signs");
        }
        Ok(())
    }
}

fn check(registry: &RegistryFiles, name: &RegistryName, store: StoreId) -> Result<(), OpenFault> {
    let identity = &registry.identity;
    if identity.name != *name {
        return Err(OpenFault::Name {
            configured: name.clone(),
            found: identity.name.clone(),
        });
    }
    if identity.blob_store != store {
        return Err(OpenFault::Store {
            found: store,
            expected: identity.blob_store,
        });
    }
    Ok(())
}
