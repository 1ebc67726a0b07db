//! What is looked at on the forge.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;

use super::{Finding, Tell, Verdict, WORDS_MAX, find};
use crate::app::Data;
use crate::config::{Config, ForgeConfig};
use crate::domain::{Secret, Visibility, harmless};
use crate::forge::{Forge, ForgeFault, ForgeLimits, IssuerFault, IssuerKeys, KeyPatience, Kind};
use crate::forge::{IndexRepository, Robot, Showing};
use crate::index::UpstreamFault;
use crate::setup::is_told;
use crate::webhook::check_secret;

/// How far the clocks may be from each other, in seconds; tokens that the forge signs allow for a minute.
const SKEW_SECS_MAX: u64 = 30;
/// Where the forge says how it signs.
const DISCOVERY: &str = ".well-known/openid-configuration";

/// Everything that the questions need.
pub(super) struct Examined<'a> {
    pub(super) forge: Forge,
    pub(super) settings: &'a ForgeConfig,
    pub(super) data: &'a Path,
    /// The address at which the forge has to tell of events.
    webhook: String,
    pub(super) owner: Option<Secret>,
}

pub(super) type Seen = Result<String, String>;

impl<'a> Examined<'a> {
    pub(super) fn new(
        config: &'a Config,
        settings: &'a ForgeConfig,
        owner: Option<Secret>,
    ) -> Self {
        let public_url = config.public_url(config.listen);
        let told_at = settings.told_at.as_ref().unwrap_or(&public_url);
        Self {
            forge: Forge::new(&settings.url, Robot::of(settings), ForgeLimits::default())
                .shown_at(&settings.url, &settings.issuer),
            settings,
            data: &config.data,
            webhook: format!("{}/webhook", told_at.registry_root(&config.name)),
            owner,
        }
    }

    pub(super) async fn examine(&self, tell: Tell<'_>) {
        let version = self.version().await;
        let is_reached = version.is_ok();
        tell(find("forge", version));
        if !is_reached {
            return;
        }
        tell(find("clock", self.clock().await));
        tell(find("secrets", self.secrets()));
        let robot = match self.forge.robot_token() {
            Ok(robot) => robot,
            Err(fault) => return tell(find("robot", Err(fault.to_string()))),
        };
        let repository = match self.repository(&robot).await {
            Ok(repository) => repository,
            Err(mend) => return tell(find("index repository", Err(mend))),
        };
        let sound = match sound(&repository) {
            Ok(good) => Ok(self.shown(&repository, good).await),
            mend => mend,
        };
        tell(find("index repository", sound));
        tell(find("robot", self.may_push(&repository, &robot).await));
        tell(find(
            "robot's view of people",
            self.sees_people(&robot).await,
        ));
        match self.snapshot() {
            Ok(snapshot) => {
                tell(find("owners", self.numbered(&snapshot)));
                self.names(&snapshot).await.map(&mut *tell);
                self.teams(&snapshot, &robot).await.map(&mut *tell);
                self.rights(&snapshot, &robot).await.map(&mut *tell);
            }
            Err(fault) => tell(find("owners", Err(fault))),
        }
        // Of what has no branch yet nothing of it is to be seen.
        if repository["empty"] != true {
            self.branch(&repository, &robot, tell).await;
        }
        self.webhook(tell).await;
        tell(self.sign_in().await);
    }

    pub(super) fn api(&self, more: &str) -> String {
        format!("/repos/{}{more}", self.settings.repository)
    }

    pub(super) async fn look(&self, path: &str, token: &Secret) -> Result<Value, ForgeFault> {
        let found = self.forge.look(path, Showing::Token(token)).await?;
        found.ok_or(ForgeFault::NotFound)
    }

    async fn version(&self) -> Seen {
        let url = &self.settings.url;
        match self.forge.kind().await {
            Ok(Kind::Gitea(major, minor)) => Ok(format!("Gitea {major}.{minor} at {url}")),
            Ok(Kind::Forgejo(major, minor)) => Ok(format!("Forgejo {major}.{minor} at {url}")),
            Err(fault) => Err(format!("{fault}: look at `forge.url`, and at the forge")),
        }
    }

    async fn clock(&self) -> Seen {
        let there = self.forge.time().await.map_err(|fault| fault.to_string())?;
        let skew = Timestamp::now()
            .duration_since(there)
            .unsigned_abs()
            .as_secs();
        match skew {
            0..=SKEW_SECS_MAX => Ok(format!("{skew} seconds from that of the forge")),
            _ => Err(format!(
                "{skew} seconds from that of the forge: let both machines follow a time server"
            )),
        }
    }

    /// Whether not everybody on this machine has what proves who we are to the forge, and the forge to us.
    fn secrets(&self) -> Seen {
        let files = [
            ("forge.token_file", &self.settings.token_file),
            (
                "forge.webhook_secret_file",
                &self.settings.webhook_secret_file,
            ),
        ];
        let mut count = 0;
        for (key, file) in files {
            let Some(path) = file else { continue };
            // One that is not there is told of where it is used.
            let Ok(metadata) = fs::metadata(path) else {
                continue;
            };
            if metadata.permissions().mode() & 0o007 != 0 {
                return Err(format!(
                    "everybody on this machine may read or write `{}` (`{key}`): `chmod 600` it, and if anybody may have done so, make another in its place",
                    path.display()
                ));
            }
            count += 1;
        }
        Ok(format!("{count} files, not for everybody"))
    }

    async fn repository(&self, robot: &Secret) -> Result<Value, String> {
        let path = &self.settings.repository;
        let seen = self.look(&self.api(""), robot).await.map_err(|fault| match fault {
            ForgeFault::NotFound => format!(
                "the forge has no `{path}`, or does not show it to the server's account: look at `forge.repository`, or let `sidecargo init` make it"
            ),
            fault => format!("{fault}: look at the server's token (`forge.token_file`)"),
        })?;
        let known = IndexRepository::open(path.clone(), Data::new(self.data).forge_repository());
        let known = known.map_err(|fault| fault.to_string())?;
        match known.is_another(seen["id"].as_u64()) {
            true => Err(UpstreamFault::Taken.to_string()),
            false => Ok(seen),
        }
    }

    /// A public one may be shown to nobody all the same who has not signed in; then nobody reads without a token.
    async fn shown(&self, repository: &Value, good: String) -> String {
        let seen = self.forge.visibility(&self.settings.repository).await;
        match (seen_by(repository), seen) {
            (Visibility::Public, Ok(Visibility::Private)) => format!(
                "{good} at the forge, which shows it only to those who have signed in (`REQUIRE_SIGNIN_VIEW`, or its owner is not public), so nobody reads the registry without a token"
            ),
            _ => good,
        }
    }

    async fn may_push(&self, repository: &Value, robot: &Secret) -> Seen {
        if repository["permissions"]["push"] != true {
            return Err(
                "it may not write to the index repository: make it a collaborator with `write`"
                    .to_owned(),
            );
        }
        let is_closed = repository["private"] == true || repository["internal"] == true;
        let asks_for_people = self.settings.client_id.is_some() && is_closed;
        if asks_for_people && repository["permissions"]["admin"] != true {
            return Err(
                "it must administer a private index repository to find out whether those who sign in (`forge.client_id`) may read it: make it a collaborator with `admin`"
                    .to_owned(),
            );
        }
        let path = &self.settings.repository;
        match self.forge.may_token_write(path, robot).await {
            Ok(()) => Ok("it may write to the index repository, and so may its token".to_owned()),
            Err(fault) => Err(format!(
                "its token may not write: make one with the scope `write:repository` ({fault})"
            )),
        }
    }

    pub(super) async fn login(&self, robot: &Secret) -> Result<String, ForgeFault> {
        let account = self.look("/user", robot).await?;
        Ok(account["login"].as_str().unwrap_or_default().to_owned())
    }

    /// Owners are looked up with the server's token when the one who names them shows none.
    async fn sees_people(&self, robot: &Secret) -> Seen {
        let login = self.login(robot).await.map_err(|fault| {
            format!("its token does not show accounts: give it the scope `read:user` too ({fault})")
        })?;
        let owner = self.settings.repository.owner();
        if self.look(&format!("/orgs/{owner}"), robot).await.is_err() {
            return Ok(format!(
                "it is `{login}`; `{owner}` is no organisation that it sees"
            ));
        }
        match self
            .look(&format!("/orgs/{owner}/teams?limit=1"), robot)
            .await
        {
            Ok(_) => Ok(format!("it is `{login}`, and sees the teams of `{owner}`")),
            Err(fault) => Err(format!(
                "`{login}` does not see the teams of `{owner}`: take it into one of them, and give its token the scope `read:organization` ({fault})"
            )),
        }
    }

    async fn webhook(&self, tell: Tell<'_>) {
        let what = "webhook";
        if let Err(fault) = check_secret(self.settings.webhook_secret_file.as_deref()) {
            return tell(find(what, Err(fault.to_string())));
        }
        let Some(owner) = &self.owner else {
            let how = "its secret is there; with a token of an owner in SIDECARGO_OWNER_TOKEN it is looked at whether the forge tells of events";
            return tell(Finding {
                what,
                verdict: Verdict::Unknown(how.to_owned()),
            });
        };
        let showing = Showing::Token(owner);
        let hooks = self.forge.look_through(&self.api("/hooks"), showing).await;
        let hooks = hooks.and_then(|hooks| hooks.ok_or(ForgeFault::NotFound));
        let hooks = hooks.map_err(|fault| fault.to_string());
        let seen = hooks.and_then(|hooks| match is_told(&hooks, &self.webhook) {
            true => Ok(format!(
                "the forge tells {}; it does not say with which secret, but its page of the webhook shows deliveries: one answered with 401 had another",
                self.webhook
            )),
            false => Err(format!(
                "the forge does not tell {} of pushes and pull requests: `sidecargo init` sees to it; if that is not where the forge reaches this server, set `forge.told_at`",
                self.webhook
            )),
        });
        tell(find(what, seen));
    }

    /// Whether people can come with what the forge signs for them.
    async fn sign_in(&self) -> Finding {
        let what = "sign-in";
        if self.settings.client_id.is_none() {
            let how =
                "`forge.client_id` is not configured, so people come with access tokens alone";
            return Finding {
                what,
                verdict: Verdict::Unknown(how.to_owned()),
            };
        }
        let issuer = self.settings.issuer.to_string();
        let keys = IssuerKeys::new(issuer.clone(), issuer, DISCOVERY, KeyPatience::default());
        match keys.check(&self.forge).await {
            Ok(()) => find(what, Ok("the forge signs with a key".to_owned())),
            Err(fault @ (IssuerFault::Forge(_) | IssuerFault::SignsNothing)) => find(
                what,
                Err(format!("the forge does not tell its keys: {fault}")),
            ),
            Err(fault) => find(what, Err(fault.to_string())),
        }
    }
}

/// Whether the repository is one that an index can be in.
fn sound(repository: &Value) -> Seen {
    let name = harmless(
        repository["full_name"].as_str().unwrap_or_default(),
        WORDS_MAX,
    );
    if repository["empty"] == true {
        return Err(format!(
            "{name} is empty, as the forge shows it: start `sidecargo serve`, which puts the first commit there; if it did just now, the forge is still looking at that, so ask again in some seconds"
        ));
    }
    if repository["archived"] == true {
        return Err(format!(
            "{name} is archived, so nobody writes: take that back"
        ));
    }
    if repository["default_branch"] != "main" {
        return Err(format!(
            "the default branch of {name} is not `main`: make it that one"
        ));
    }
    let seen = match seen_by(repository) {
        Visibility::Private => "private",
        Visibility::Public => "public",
    };
    Ok(format!("{name}, {seen}"))
}

pub(super) fn seen_by(repository: &Value) -> Visibility {
    match repository["private"] == true {
        true => Visibility::Private,
        false => Visibility::Public,
    }
}
