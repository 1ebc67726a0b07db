//! Whether the branch of the index is guarded as it must be, and who may merge to it.

use serde_json::Value;

use super::forge::{Examined, Seen, seen_by};
use super::{Finding, Tell, Verdict, WORDS_MAX, find};
use crate::domain::{Secret, harmless};
use crate::forge::{ForgeFault, Showing};
use crate::setup::{Allowed, lacking, otherwise_set, reviewing, team_named};

impl Examined<'_> {
    /// Its newest commit, and who may change it.
    pub(super) async fn branch(&self, repository: &Value, robot: &Secret, tell: Tell<'_>) {
        match self.look(&self.api("/branches/main"), robot).await {
            Ok(branch) => {
                tell(self.is_verified(robot).await);
                self.protection(&branch, repository, robot, tell).await;
            }
            // Nothing else can be said of it then.
            Err(ForgeFault::NotFound) => {
                let mend = "the repository has no `main`, in which the index is: put it back, as the server says";
                tell(find("branch", Err(mend.to_owned())));
            }
            Err(fault) => tell(find("branch", Err(fault.to_string()))),
        }
    }

    async fn protection(&self, branch: &Value, repository: &Value, robot: &Secret, tell: Tell<'_>) {
        let what = "protection of the branch";
        if branch["protected"] != true {
            let mend = "`main` is not protected, so whoever may write can rewrite it: `sidecargo init` protects it";
            return tell(find(what, Err(mend.to_owned())));
        }
        if branch["user_can_push"] != true {
            let mend =
                "it does not let the server push: put its account on the list of those who may";
            return tell(find(what, Err(mend.to_owned())));
        }
        let Some(owner) = &self.owner else {
            let how = "`main` is protected and the server may push; with a token of an owner in SIDECARGO_OWNER_TOKEN the rules are looked at too";
            return tell(Finding {
                what,
                verdict: Verdict::Unknown(how.to_owned()),
            });
        };
        let login = self.login(robot).await.ok();
        let allowed = Allowed {
            robot: login.as_deref(),
            reviewers: self.settings.reviewers.as_deref().map(Some),
        };
        let rules = self.look(&self.api("/branch_protections"), owner).await;
        let teams = { rules.as_ref() }.map_or_else(|_| Vec::new(), |rules| reviewing(rules));
        let reviewers = teams.first().map(|team| (*team).to_owned());
        let otherwise = |rules: &Value| allowed.otherwise(rules);
        tell(find(what, as_it_must_be(rules, otherwise)));
        if let Some(team) = reviewers {
            tell(find(
                "reviewers",
                self.may_merge(&team, repository, owner).await,
            ));
        }
        let settings = self.look(&self.api(""), owner).await;
        tell(find(
            "settings of the repository",
            as_it_must_be(settings, otherwise_set),
        ));
    }

    /// Whether the members of the team can do what it is on the lists for.
    async fn may_merge(&self, team: &str, repository: &Value, owner: &Secret) -> Seen {
        let organisation = self.settings.repository.owner();
        let path = format!("/orgs/{organisation}/teams");
        let teams = self.forge.look_through(&path, Showing::Token(owner)).await;
        let teams = teams.map_err(|fault| format!("{fault}: is the token that of an owner?"))?;
        let name = harmless(team, WORDS_MAX);
        match teams
            .as_ref()
            .and_then(|teams| team_named(teams, team))
            .map(|team| lacking(team, seen_by(repository)))
        {
            Some(None) => Ok(format!("the members of `{name}` may approve and merge")),
            Some(Some(right)) => Err(format!(
                "the members of `{name}` cannot approve and merge, for the team lacks the right {right}: give it that right (the page of `{organisation}`, Teams, Settings)"
            )),
            None => Err(format!(
                "`{organisation}` has no team `{name}` that this token may see"
            )),
        }
    }
}

fn as_it_must_be(
    found: Result<Value, ForgeFault>,
    otherwise: impl Fn(&Value) -> Vec<String>,
) -> Seen {
    let found = found.map_err(|fault| format!("{fault}: is the token that of an owner?"))?;
    let strayed = otherwise(&found);
    match strayed.is_empty() {
        true => Ok("as `sidecargo init` makes it".to_owned()),
        false => Err(format!(
            "otherwise than `sidecargo init` makes it, so run that again: {}",
            strayed.join(", ")
        )),
    }
}
