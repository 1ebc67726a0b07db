//! What the writer does before anybody can ask it for a change.

use tracing::{info, warn};

use crate::domain::{RegistryName, StoreId};

use super::OpenFault;
use super::edit::Edit;
use super::registry_files::RegistryFiles;
use super::settings::Settings;
use super::signature::{KeyFault, SigningKey};
use super::writer::Writer;

impl Writer {
    /// Catches up with the branch, makes sure that this is our registry, and brings the settings into the index.
    pub(super) fn begin(&mut self, settings: &Settings) -> Result<(), OpenFault> {
        // What hinders it is in the log; the last good commit is served.
        let is_standing = self.catch_up().is_ok();
        let registry = self.tip.snapshot.registry();
        check(registry, &settings.name, self.blobs.id(), &self.key)?;
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
            warn!("they come into force at a start once the branch is good again");
            return Ok(());
        }
        self.write_own(edit).map_err(OpenFault::Configure)
    }
}

fn check(
    registry: &RegistryFiles,
    name: &RegistryName,
    store: StoreId,
    key: &SigningKey,
) -> Result<(), OpenFault> {
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
    match registry.trusts(&key.signer().map_err(KeyFault::from)?) {
        true => Ok(()),
        false => Err(OpenFault::ForeignKey),
    }
}
