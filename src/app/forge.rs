//! What a registry needs whose index is on a forge.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::warn;

use super::{AppFault, Data};
use crate::auth::{Gate, Holds, IssuerNames};
use crate::config::{Config, ForgeConfig};
use crate::domain::{PublicUrl, Visibility};
use crate::forge::{Forge, ForgeLimits, IndexRepository, KeyPatience, Robot};
use crate::index::{Branch, IsTaken, Settings, Upstream};
use crate::visibility::Watch;

/// How long it is waited for the word that the name of the index repository was not taken.
const TAKEN_TIME: Duration = Duration::from_secs(2);

/// The branch that the configuration names.
pub(super) fn branch(config: &Config, client: Option<&Arc<Forge>>) -> Result<Branch, AppFault> {
    let (Some(forge), Some(client)) = (&config.forge, client) else {
        let poll = Duration::from_secs(config.index.poll_secs);
        return Ok(Branch::Here { poll });
    };
    let poll = Duration::from_secs(forge.poll_secs);
    let robot = Robot::of(forge);
    let authorization = Arc::new(move || robot.authorization().map_err(io::Error::other));
    let upstream = Upstream::new(&forge.clone_url(), authorization, poll);
    let client_fault = |cause| AppFault::Client(io::Error::other(cause));
    let client = Arc::clone(client);
    let is_taken: IsTaken = Arc::new(move || {
        let client = Arc::clone(&client);
        // Not if the forge's API does not say in time: git may be served while that is not. What is pushed goes onto the
        // very commit that is served here or nowhere, and what is fetched is judged.
        Box::pin(async move {
            let told = timeout(TAKEN_TIME, client.is_index_taken()).await;
            matches!(told, Ok(Ok(true)))
        })
    });
    let upstream = upstream.map_err(client_fault)?;
    Ok(Branch::Forge(upstream.unless_taken(is_taken)))
}

/// The forge of the configuration; it knows which repository the index is in by its number, once it has seen it.
pub(super) fn client(config: &ForgeConfig, data: &Data<'_>) -> Result<Arc<Forge>, AppFault> {
    let index = IndexRepository::open(config.repository.clone(), data.forge_repository());
    let index = index.map_err(AppFault::ForgeRepository)?;
    let forge = Forge::new(&config.url, Robot::of(config), ForgeLimits::default());
    Ok(Arc::new(forge.with_index(index)))
}

/// What follows the visibility of the index repository, unless the registry is private in any case. The forge is asked
/// once now: what it says of a registry that is just made holds, and so does that one is to be private.
pub(super) fn watch(
    forge: &ForgeConfig,
    client: &Arc<Forge>,
    settings: &mut Settings,
) -> Option<Watch> {
    if settings.visibility == Visibility::Private {
        return None;
    }
    let asked = client.visibility(&forge.repository);
    let first = Handle::current().block_on(asked);
    if let Err(reason) = &first {
        warn!(%reason, "it is not known who may read the index repository on the forge; what the index says holds");
    }
    let first = first.ok();
    settings.visibility = first.unwrap_or(Visibility::Private);
    settings.keeps_visibility = first != Some(Visibility::Private);
    Some(Watch::new(
        Arc::clone(client),
        forge.repository.clone(),
        Duration::from_secs(forge.poll_secs),
        settings.capability_downloads,
        first,
    ))
}

/// The gate for those whom the forge knows; nothing is asked of it yet.
pub(super) fn gate(forge: &ForgeConfig, client: Arc<Forge>, public_url: &PublicUrl) -> Gate {
    let names = IssuerNames {
        root: forge.issuer.to_string(),
        client_id: forge.client_id.clone(),
        audience: public_url.to_string(),
    };
    let holds = Holds::with_unreachable(Duration::from_secs(forge.unreachable_secs));
    let index = forge.repository.clone();
    let patience = KeyPatience::default();
    Gate::new(client, index, names, holds, patience)
}
