//! `sidecargo init`

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use sidecargo::domain::{Login, PublicUrl, RegistryName, RepositoryPath, Secret};
use sidecargo::setup::{self, Owner, Plan};

/// The variable that holds the token of whoever sets the repository up.
const TOKEN_VARIABLE: &str = "SIDECARGO_OWNER_TOKEN";

/// Makes or adopts the index repository on a forge, and prints the configuration for it. May be run again.
///
/// The steps are told on the standard error, and the standard output is the configuration alone.
/// It acts with the token in the variable SIDECARGO_OWNER_TOKEN: of somebody who owns the repository or its
/// organisation, with the scopes `write:repository`, `write:organization` and `read:user`; for a repository of the
/// token's own account with `write:user` in place of the last two. The server never needs it.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// The root of the forge, such as https://git.example.com.
    #[arg(long, value_name = "URL")]
    forge: PublicUrl,
    /// The repository, as OWNER/NAME.
    #[arg(long)]
    repository: RepositoryPath,
    /// The account of the server there, which must exist.
    #[arg(long, value_name = "LOGIN", default_value = "sidecargo")]
    robot: Login,
    /// The team of the organisation whose members approve and merge changes of owners and policy; without it, the one
    /// that the branch's rule names stays.
    #[arg(long, value_name = "TEAM")]
    reviewers: Option<String>,
    /// The base URL at which people and the forge will reach the server.
    #[arg(long, value_name = "URL", default_value = "http://localhost:8642")]
    public_url: PublicUrl,
    /// The base URL at which the forge reaches the server, if it is another.
    #[arg(long, value_name = "URL")]
    told_at: Option<PublicUrl>,
    /// The registry's name.
    #[arg(long, default_value_t)]
    name: RegistryName,
    /// Shows the repository to everybody; otherwise only to those who are let in.
    #[arg(long)]
    public: bool,
    /// The file with the secret of the webhook; made if it is not there.
    #[arg(long, value_name = "FILE", default_value = "forge-webhook-secret")]
    secret_file: PathBuf,
    /// Changes nothing, and tells what would be.
    #[arg(long)]
    dry_run: bool,
}

impl Init {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let token = owner_token()
            .with_context(|| format!("there is no token of the owner in {TOKEN_VARIABLE}"))?;
        let forge = Owner::new(&self.forge, Secret::new(token));
        let mut plan = Plan {
            repository: self.repository,
            robot: self.robot,
            reviewers: self.reviewers,
            is_private: !self.public,
            told_at: self.told_at.unwrap_or_else(|| self.public_url.clone()),
            public_url: self.public_url,
            name: self.name,
            secret_file: std::path::absolute(self.secret_file)?,
            is_dry: self.dry_run,
        };
        let mut out: Box<dyn Write> = match plan.is_dry {
            true => Box::new(std::io::stdout()),
            false => Box::new(std::io::stderr()),
        };
        let mut tell = |step: &setup::Step| {
            // Nobody may be reading; the repository is set up all the same.
            let _ = writeln!(out, "{step}");
        };
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(plan.carry_out(&forge, &mut tell))
            .context(
                "the repository is not set up; what was done stays, and this can be run again",
            )?;
        if !plan.is_dry {
            writeln!(std::io::stdout(), "{}", configuration(&self.forge, &plan))?;
        }
        Ok(())
    }
}

/// The token of whoever owns the repository, if one is given.
pub(super) fn owner_token() -> Option<String> {
    let token = std::env::var(TOKEN_VARIABLE).ok()?;
    let token = token.trim();
    (!token.is_empty()).then(|| token.to_owned())
}

/// What the server needs, and what is left to do by hand.
fn configuration(url: &PublicUrl, plan: &Plan) -> String {
    let Plan {
        repository,
        robot,
        public_url,
        name,
        secret_file,
        ..
    } = plan;
    let secret_file = secret_file.display().to_string();
    let mut configuration = format!(
        "# sidecargo.toml. Sign in at {url} as `{robot}`, make a token with the scopes `write:repository`,\n\
         # `read:organization` and `read:user`, and put it into the file `forge-token`, which only the server may read.\n\
         name = \"{name}\"\npublic_url = \"{public_url}\"\n\n\
         [forge]\nurl = \"{url}\"\nrepository = \"{repository}\"\ntoken_file = \"forge-token\"\n\
         webhook_secret_file = {secret_file:?}"
    );
    if let Some(team) = &plan.reviewers {
        configuration += &format!("\nreviewers = {team:?}");
    }
    if plan.told_at != plan.public_url {
        configuration += &format!("\ntold_at = \"{}\"", plan.told_at);
    }
    configuration
}
