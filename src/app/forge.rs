//! What a registry needs whose index is on a forge.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::{AppFault, Data};
use crate::auth::{Gate, Holds, IssuerNames};
use crate::config::{Config, ForgeConfig};
use crate::disk;
use crate::domain::{ForgePaths, PublicUrl, Visibility};
use crate::forge::{Forge, ForgeFault, ForgeLimits, IndexRepository, KeyPatience, Robot};
use crate::index::{Branch, Index, IsTaken, Settings, TokenFault, Upstream, UpstreamFault};
use crate::visibility::{AtForge, Mark, Watch};

/// How long it is waited for the word that the name of the index repository was not taken.
const TAKEN_TIME: Duration = Duration::from_secs(2);

/// How long it then holds what it said last, that the name is still that of the right repository.
const SAME_HOLDS: Duration = Duration::from_secs(60);

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
    let upstream = upstream.map_err(client_fault)?;
    let upstream = upstream.below(ForgePaths::new(&forge.url, &forge.issuer));
    let upstream = upstream.unless_taken(is_taken(Arc::clone(client), SAME_HOLDS));
    let client = Arc::clone(client);
    Ok(Branch::Forge(
        upstream.proving(Arc::new(move || client.prove_index())),
    ))
}

/// Asks the forge whether another repository has the name of the index repository by now; while it does not say so, that
/// it had not holds for a time.
fn is_taken(client: Arc<Forge>, holds: Duration) -> IsTaken {
    let same = Arc::new(Mutex::new(None::<Instant>));
    Arc::new(move || {
        let (client, same) = (Arc::clone(&client), Arc::clone(&same));
        Box::pin(async move {
            let same = || same.lock().unwrap_or_else(PoisonError::into_inner);
            let why = match timeout(TAKEN_TIME, client.is_index_taken()).await {
                Ok(Ok(is_taken)) => {
                    *same() = (!is_taken).then(Instant::now);
                    return Ok(is_taken);
                }
                // Git hears the same, and says it.
                Ok(Err(ForgeFault::Unauthenticated | ForgeFault::Forbidden(_))) => {
                    return Ok(false);
                }
                Ok(Err(fault)) => untold(fault),
                Err(_elapsed) => UpstreamFault::Unreachable("its API does not answer".to_owned()),
            };
            // Git may be served while the API is not.
            match *same() {
                Some(told) if told.elapsed() < holds => Ok(false),
                _ => Err(why),
            }
        })
    })
}

/// What the fault of a question to the API is where git would have been asked.
fn untold(fault: ForgeFault) -> UpstreamFault {
    match fault {
        ForgeFault::Unreachable(reason) => UpstreamFault::Unreachable(reason),
        ForgeFault::Busy { .. } => UpstreamFault::Busy(StatusCode::TOO_MANY_REQUESTS),
        // It names the file, which is for the operator alone.
        ForgeFault::Robot(reason) => UpstreamFault::Token(TokenFault(reason)),
        fault => UpstreamFault::Odd(fault.to_string()),
    }
}

/// The forge of the configuration; it knows which repository the index is in by its number, once it has seen it.
pub(super) fn client(config: &ForgeConfig, data: &Data<'_>) -> Result<Arc<Forge>, AppFault> {
    let index = IndexRepository::open(config.repository.clone(), data.forge_repository());
    let index = index.map_err(AppFault::ForgeRepository)?;
    let index = match data.place().git_dir.exists() {
        true => index.beside_an_index(),
        false => index,
    };
    let forge = Forge::new(&config.url, Robot::of(config), ForgeLimits::default());
    let forge = forge.shown_at(&config.url, &config.issuer);
    Ok(Arc::new(forge.with_index(index)))
}

/// What lets the index say who may read, if that can be decided while it is served: by the forge, unless the registry is
/// private in any case. The forge is asked once now: what it says of a registry that is just made holds, and so does that
/// one is to be private.
pub(super) fn watch(
    config: &Config,
    client: Option<&Arc<Forge>>,
    data: &Data<'_>,
    settings: &mut Settings,
) -> Option<Watch> {
    let capability_downloads = settings.capability_downloads;
    if config.forge.is_none() {
        heed_mark(config.visibility, &data.closed(), settings);
    }
    if settings.visibility == Visibility::Private {
        let of_forge = config.forge.as_ref().map(|forge| forge.poll_secs);
        let poll = Duration::from_secs(of_forge.unwrap_or(config.index.poll_secs));
        return Some(Watch::of_configuration(poll, capability_downloads));
    }
    let (forge, client) = (config.forge.as_ref()?, client?);
    let asked = client.visibility(&forge.repository);
    let first = Handle::current().block_on(asked);
    if let Err(reason) = &first {
        warn!(%reason, "it is not known who may read the index repository on the forge; what was known last holds");
    }
    let at_forge = AtForge {
        forge: Arc::clone(client),
        index: forge.repository.clone(),
        mark: Arc::new(Mark::at(data.closed())),
    };
    let poll = Duration::from_secs(forge.poll_secs);
    let watch = Watch::of_forge(at_forge, poll, capability_downloads, &first);
    settings.visibility = first.as_ref().copied().unwrap_or(Visibility::Private);
    settings.keeps_visibility = first != Ok(Visibility::Private);
    if data.has_lost_index() {
        watch.close();
    }
    // Before the index is opened, for that takes the forge, too, and the process may not live to see it: until then the
    // index may become anything, and what is there now may not be durable.
    watch.mark();
    Some(watch)
}

/// What a forge that the registry had once said last holds without it, too, until the configuration says that everybody
/// may read: nobody else can.
fn heed_mark(said: Option<Visibility>, mark: &Path, settings: &mut Settings) {
    match said {
        // One that may be there is one.
        None if mark.try_exists().unwrap_or(true) => {
            settings.visibility = Visibility::Private;
            settings.keeps_visibility = false;
        }
        _ => {}
    }
}

/// Leaves the mark as it is needed beside the index that was opened; a start that is refused takes none away.
pub(super) fn settle_mark(config: &Config, watch: Option<&Watch>, data: &Data<'_>, index: &Index) {
    if let Some(watch) = watch {
        watch.mark_beside(index);
    }
    let is_opened = config.forge.is_none() && config.visibility == Some(Visibility::Public);
    if is_opened && let Err(cause) = disk::if_there(fs::remove_file(data.closed())) {
        warn!(%cause, "a mark that is no longer needed was not removed");
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;
    use crate::forge::double::{ForgeDouble, Repository, Token, Trouble, User, World};

    const ROBOT: &str = "a000000000000000000000000000000000000001";

    #[tokio::test]
    async fn while_nobody_tells_whose_the_name_is_the_last_word_holds_for_a_minute() {
        let double = ForgeDouble::start(World {
            users: vec![User::new("robot", 1)],
            tokens: [(ROBOT, Token::of_user(1, &["all"]))].into(),
            repositories: vec![Repository::new(7, "acme/crates", true, &[(1, "admin")])],
            ..World::gitea()
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("number");
        let robot = Robot::Token(Secret::new(ROBOT.to_owned()));
        let forge = Forge::new(
            &double.url().parse().unwrap(),
            robot,
            ForgeLimits::default(),
        );
        let index = IndexRepository::open("acme/crates".parse().unwrap(), file).unwrap();
        let forge = Arc::new(forge.with_index(index));
        let patient = is_taken(Arc::clone(&forge), SAME_HOLDS);
        let forgetful = is_taken(forge, Duration::ZERO);

        // Nobody has said it yet.
        double.world().trouble = Trouble::Status(502);
        patient().await.unwrap_err();
        double.world().trouble = Trouble::None;
        for is_taken in [&patient, &forgetful] {
            assert_eq!(is_taken().await, Ok(false));
        }
        double.world().trouble = Trouble::Status(502);
        assert_eq!(patient().await, Ok(false));
        let why = forgetful().await.unwrap_err();
        let is_down = matches!(&why, UpstreamFault::Unreachable(reason) if reason.contains("502"));
        assert!(is_down, "{why}");
        double.world().trouble = Trouble::Status(429);
        let why = forgetful().await.unwrap_err();
        assert!(matches!(why, UpstreamFault::Busy(_)), "{why}");

        double.world().trouble = Trouble::None;
        double.world().repositories[0].id = 8;
        assert_eq!(patient().await, Ok(true));
        double.world().trouble = Trouble::Status(502);
        patient().await.unwrap_err();
    }
}
