//! The index repository on a forge, made or adopted: the repository itself, who may do what there, and what it tells.
//!
//! Every step looks first and changes only what is otherwise, so it may be run again at any time, also after it
//! stopped in the middle.

mod owner;
mod protection;
mod reviewers;
mod robot;
mod told;
mod wanted;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use getrandom::fill;
use reqwest::Method;
use serde_json::{Value, json};

pub use owner::Owner;
pub use protection::{Allowed, reviewing};
pub use reviewers::{lacking, team_named};
use told::{Outcome, is_so};
pub use told::{SetupFault, Step};
use wanted::{BRANCH, EVENTS, IDENTITY_FILE, differing, keys, settings, tells_all};
pub use wanted::{is_told, otherwise_set};

use crate::disk;
use crate::domain::{Login, PublicUrl, RegistryName, RepositoryPath};
use crate::forge::ForgeFault;
use crate::webhook::check_secret;

/// What shall be.
#[derive(Debug)]
pub struct Plan {
    /// The index repository.
    pub repository: RepositoryPath,
    /// The account of the server.
    pub robot: Login,
    /// The team that reviews changes of owners and policy; if none is named, the one that does already. Without one,
    /// whoever may write may merge.
    pub reviewers: Option<String>,
    /// Whether only those see it who are let in.
    pub is_private: bool,
    /// Where people reach the server.
    pub public_url: PublicUrl,
    /// Where the forge reaches it.
    pub told_at: PublicUrl,
    /// The registry's name.
    pub name: RegistryName,
    /// The file with the secret of the webhook; made if it is not there.
    pub secret_file: PathBuf,
    /// Whether nothing is changed, only told.
    pub is_dry: bool,
}

impl Plan {
    /// Carries it out; `tell` hears of each step. From then on it names the team that reviews.
    pub async fn carry_out(
        &mut self,
        forge: &Owner,
        tell: &mut dyn FnMut(&Step),
    ) -> Result<(), SetupFault> {
        known_secret(&self.secret_file)?;
        self.robot_must_be_an_account(forge).await?;
        let found = self.repository(forge, tell).await?;
        self.must_hold_nothing_else(forge, &found).await?;
        self.keep_reviewers(forge, &found).await?;
        self.reviewers_must_be_able(forge).await?;
        self.settings(forge, &found, tell).await?;
        self.robot_may_write(forge, &found, tell).await?;
        self.reviewers_see_it(forge, &found, tell).await?;
        self.protection(forge, &found, tell).await?;
        self.webhook(forge, &found, tell).await
    }

    fn api(&self, more: &str) -> String {
        format!("/repos/{}{more}", self.repository)
    }

    /// What is to be changed is changed, unless this is only a rehearsal.
    async fn change(
        &self,
        forge: &Owner,
        what: &str,
        (method, path, body): (Method, &str, Value),
        tell: &mut dyn FnMut(&Step),
    ) -> Result<Value, SetupFault> {
        let answer = match self.is_dry {
            true => Value::Null,
            false => forge.write(method, path, &body).await?,
        };
        tell(&self.changed(what));
        Ok(answer)
    }

    /// A step in which something was changed, or would be if this were no rehearsal.
    fn changed(&self, what: &str) -> Step {
        Step {
            what: what.to_owned(),
            outcome: match self.is_dry {
                true => Outcome::WouldBe,
                false => Outcome::Done,
            },
        }
    }

    async fn repository(
        &self,
        forge: &Owner,
        tell: &mut dyn FnMut(&Step),
    ) -> Result<Value, SetupFault> {
        let what = format!("the repository {}", self.repository);
        if let Some(found) = forge.read(&self.api("")).await? {
            tell(&is_so(&what));
            return Ok(found);
        }
        let owner = self.repository.owner();
        let is_own = forge.read("/user").await?.is_some_and(|user| {
            user["login"]
                .as_str()
                .is_some_and(|login| login.eq_ignore_ascii_case(owner))
        });
        let path = match is_own {
            true => "/user/repos".to_owned(),
            false if forge.read(&format!("/orgs/{owner}")).await?.is_some() => {
                format!("/orgs/{owner}/repos")
            }
            false => return Err(SetupFault::NotOurs(self.repository.clone())),
        };
        let wanted = json!({
            "name": self.repository.name(),
            "private": self.is_private,
            "default_branch": BRANCH,
        });
        self.change(forge, &what, (Method::POST, &path, wanted), tell)
            .await
    }

    /// What is not an index never becomes one, and no server would serve it.
    async fn must_hold_nothing_else(&self, forge: &Owner, found: &Value) -> Result<(), SetupFault> {
        if found.is_null() || found["empty"] == true {
            return Ok(());
        }
        let path = self.api(&format!("/contents/{IDENTITY_FILE}?ref={BRANCH}"));
        match forge.read(&path).await? {
            Some(_) => Ok(()),
            None => Err(SetupFault::NoIndex(self.repository.clone())),
        }
    }

    /// Pull requests, no way to merge them that leaves more than one commit, and nothing that belongs to other
    /// repositories.
    ///
    /// All of it is sent if something is otherwise: where pull requests are off, a forge shows no way to merge, and has
    /// them all once they are on.
    async fn settings(
        &self,
        forge: &Owner,
        found: &Value,
        tell: &mut dyn FnMut(&Step),
    ) -> Result<(), SetupFault> {
        let url = self.public_url.registry_root(&self.name);
        let mut wanted = settings(found);
        wanted["description"] = format!("The index of the Cargo registry `{}`", self.name).into();
        wanted["website"] = format!("{url}/me").into();
        self.visibility(forge, found, tell).await?;
        let what =
            "its settings: pull requests, squash as the only way to merge, no issues, no wiki";
        match differing(&wanted, found) {
            None => tell(&is_so(what)),
            Some(_) => {
                if !self.is_dry {
                    forge.write(Method::PATCH, &self.api(""), &wanted).await?;
                    self.must_have(forge, &wanted).await?;
                }
                tell(&self.changed(what));
            }
        }
        let what = "its topics: cargo, crates, rust";
        let topics = forge.read(&self.api("/topics")).await?;
        let topics = topics.and_then(|found| found["topics"].as_array().cloned());
        // Whoever adopts a repository keeps those that it has.
        let mut wanted = topics.unwrap_or_default();
        let had = wanted.len();
        for topic in ["cargo", "crates", "rust"] {
            if !wanted.contains(&topic.into()) {
                wanted.push(topic.into());
            }
        }
        if wanted.len() == had {
            tell(&is_so(what));
            return Ok(());
        }
        let path = self.api("/topics");
        let call = (Method::PUT, &*path, json!({ "topics": wanted }));
        self.change(forge, what, call, tell).await.map(drop)
    }

    /// Whether the repository has these settings now.
    async fn must_have(&self, forge: &Owner, wanted: &Value) -> Result<(), SetupFault> {
        let found = forge.read(&self.api("")).await?;
        match keys(differing(wanted, &found.unwrap_or_default())) {
            strayed if strayed.is_empty() => Ok(()),
            strayed => Err(SetupFault::NotKept(strayed.join(", "))),
        }
    }

    /// A step of its own for an adopted repository: that everybody sees it, or no longer, must not go by unnoticed.
    async fn visibility(
        &self,
        forge: &Owner,
        found: &Value,
        tell: &mut dyn FnMut(&Step),
    ) -> Result<(), SetupFault> {
        if found.is_null() || found["private"] == self.is_private {
            return Ok(());
        }
        let what = match self.is_private {
            true => {
                "made private: only those see it who are let in (`--public` would leave it public)"
            }
            false => "made public: everybody sees it (without `--public` it would stay private)",
        };
        let change = json!({ "private": self.is_private });
        let call = (Method::PATCH, &*self.api(""), change);
        let made = self.change(forge, what, call, tell).await;
        made.map(drop).map_err(|fault| match fault {
            SetupFault::Forge {
                fault: ForgeFault::Odd(said),
                ..
            } if !self.is_private => SetupFault::StaysPrivate(self.repository.clone(), said),
            fault => fault,
        })
    }

    async fn webhook(
        &self,
        forge: &Owner,
        found: &Value,
        tell: &mut dyn FnMut(&Step),
    ) -> Result<(), SetupFault> {
        let url = format!("{}/webhook", self.told_at.registry_root(&self.name));
        let what = format!("a webhook that tells {url}");
        let hooks = match found.is_null() {
            true => None,
            false => forge.read_list(&self.api("/hooks")).await?,
        };
        let hooks = hooks.as_ref().and_then(Value::as_array);
        let ours = hooks.and_then(|hooks| hooks.iter().find(|it| it["config"]["url"] == url));
        // A forge never tells the secret, so it is known to be ours only as long as the file is there.
        let knows_secret = known_secret(&self.secret_file)?.is_some();
        if ours.is_some_and(tells_all) && knows_secret {
            tell(&is_so(&what));
            return Ok(());
        }
        let at = |hook: &Value| self.api(&format!("/hooks/{}", hook["id"]));
        let lost = ours.filter(|_| !knows_secret);
        let what = match lost {
            Some(_) => self.replaced(&url),
            None => what,
        };
        if let Some(hook) = lost.filter(|_| !self.is_dry) {
            let outcome = Outcome::Next;
            let what = what.clone();
            tell(&Step { what, outcome });
            // A forge takes the secret of a new one alone. As long as the old one is there, no file may say that its
            // secret is known, or a run that stops here would leave the two apart for good.
            forge.write(Method::DELETE, &at(hook), &Value::Null).await?;
        }
        let secret = match self.is_dry {
            true => String::new(),
            false => secret(&self.secret_file)?,
        };
        let body = json!({
            "type": "gitea",
            "active": true,
            "branch_filter": "*",
            "events": EVENTS,
            "config": { "url": url, "content_type": "json", "secret": secret },
        });
        let (method, path) = match ours {
            Some(hook) if knows_secret => (Method::PATCH, at(hook)),
            _ => (Method::POST, self.api("/hooks")),
        };
        let call = (method, &*path, body);
        self.change(forge, &what, call, tell).await.map(drop)
    }
}

impl Plan {
    /// What becomes of a webhook whose secret is in no file here, as after a move to another folder or machine.
    fn replaced(&self, url: &str) -> String {
        let file = self.secret_file.display();
        format!(
            "another webhook that tells {url}, in place of the one whose secret is not in `{file}` here: the secret is replaced, and a running server answers the forge 401 until the file that its `forge.webhook_secret_file` names holds what `{file}` holds then (it is read anew for each event)"
        )
    }
}

/// The secret in the file, if there is one.
fn known_secret(path: &Path) -> Result<Option<String>, SetupFault> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(path)(error)),
    };
    match check_secret(Some(path)) {
        Ok(()) => Ok(Some(text.trim().to_owned())),
        Err(_) => Err(SetupFault::ShortSecret(path.to_owned())),
    }
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> SetupFault {
    let path = path.to_owned();
    move |source| SetupFault::Secret {
        path: path.clone(),
        source,
    }
}

/// The secret in the file, or a new one in a new file.
fn secret(path: &Path) -> Result<String, SetupFault> {
    if let Some(known) = known_secret(path)? {
        return Ok(known);
    }
    let fault = unreadable(path);
    let mut bytes = [0; 32];
    fill(&mut bytes).map_err(|cause| fault(cause.into()))?;
    let text = BASE64_URL_SAFE_NO_PAD.encode(bytes);
    disk::create_private(path, format!("{text}\n").as_bytes()).map_err(fault)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let first = secret(&path).unwrap();
        assert_eq!(first.len(), 43);
        assert_eq!(secret(&path).unwrap(), first);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_secret_that_proves_nothing_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for text in ["", "\n", "too short\n"] {
            fs::write(&path, text).unwrap();
            let said = secret(&path).unwrap_err().to_string();
            assert!(said.contains(&path.display().to_string()), "{said}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
