//! A registry whose index is on a real forge, and those who have to do with it there.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::api::{base64, done};
use super::gitea::Gitea;
use super::scene::{Repository, User, Visibility};
use crate::common::cargos::{Sandbox, View};
use crate::common::git;
use crate::common::http::{Reply, get};
use crate::common::project::Project;
use crate::common::ran::Ran;
use crate::common::registry::Registry;
use crate::common::watch::eventually;

/// What proves that an event is the forge's.
pub const HOOK_SECRET: &str = "the forge says it, nobody else";
/// What the README tells a developer to give a token.
pub const DEVELOPER: [&str; 3] = ["write:repository", "read:user", "read:organization"];

/// What a test may want otherwise.
#[derive(Clone)]
pub struct Wanted {
    /// Who reads the index repository.
    pub visibility: Visibility,
    /// Whether it belongs to an organisation.
    pub is_organisations: bool,
    /// How often the server looks at the branch.
    pub poll_secs: u64,
    /// What the server's own account may do there.
    pub robot: &'static str,
    /// What its token may do.
    pub scopes: &'static [&'static str],
    /// Keys that stand before the sections.
    pub keys: String,
    /// Further keys of the section `[forge]`.
    pub of_forge: String,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            visibility: Visibility::Public,
            is_organisations: false,
            poll_secs: 1,
            robot: "write",
            scopes: &["write:repository"],
            keys: String::new(),
            of_forge: String::new(),
        }
    }
}

impl Wanted {
    /// A registry that only those read who read its repository.
    pub fn private() -> Self {
        Self {
            visibility: Visibility::Private,
            keys: "visibility = \"private\"\n".to_owned(),
            ..Self::default()
        }
    }

    /// One whose server may ask about those who show it no token, and that is this application of the forge.
    pub fn signs_in(self, client_id: &str) -> Self {
        Self {
            robot: "admin",
            scopes: &["write:repository", "read:user", "read:organization"],
            of_forge: format!("client_id = \"{client_id}\"\n"),
            ..self
        }
    }
}

/// A registry whose index is on the forge, and who has to do with it there.
pub struct Beside<'forge> {
    pub forge: &'forge Gitea,
    /// Whose repository it is, unless it is an organisation's.
    pub owner: User,
    /// The server's own account.
    pub robot: User,
    pub repository: Repository,
    pub registry: Registry,
    /// What the registry is configured with.
    pub config: String,
    /// The folder with the files `token` and `hook`.
    pub secret: TempDir,
}

impl<'forge> Beside<'forge> {
    #[track_caller]
    pub fn start(forge: &'forge Gitea) -> Self {
        Self::start_as(forge, &Wanted::default())
    }

    #[track_caller]
    pub fn start_and_look_each(forge: &'forge Gitea, poll_secs: u64) -> Self {
        let wanted = Wanted {
            poll_secs,
            ..Wanted::default()
        };
        Self::start_as(forge, &wanted)
    }

    #[track_caller]
    pub fn start_as(forge: &'forge Gitea, wanted: &Wanted) -> Self {
        let owner = forge.user("olga");
        let robot = forge.user("robot");
        let holder = match wanted.is_organisations {
            true => forge.organisation("acme"),
            false => owner.login.clone(),
        };
        let repository = forge.empty_repository(&holder, "crates", wanted.visibility);
        forge.collaborate(&repository, &robot, wanted.robot);
        let secret = TempDir::new().unwrap();
        let file = secret.path().join("token");
        let token = forge.token(&robot, wanted.scopes).text;
        fs::write(&file, &token).unwrap();
        let hook = secret.path().join("hook");
        fs::write(&hook, HOOK_SECRET).unwrap();
        let config = format!(
            "{}[forge]\nurl = \"{}\"\nrepository = \"{}/crates\"\ntoken_file = \"{}\"\n\
             webhook_secret_file = \"{}\"\npoll_secs = {}\n{}",
            wanted.keys,
            forge.url(),
            holder,
            file.display(),
            hook.display(),
            wanted.poll_secs,
            wanted.of_forge,
        );
        let registry = Registry::start_with(&config);
        registry.look_for(&token);
        eventually("the forge has looked at the first push", || {
            let shown = forge.admin().read(&repository.api());
            (shown["empty"] == false).then_some(())
        });
        Self {
            registry,
            config,
            forge,
            owner,
            robot,
            repository,
            secret,
        }
    }

    /// A token of somebody with these scopes, which the registry may write nowhere.
    #[track_caller]
    pub fn token(&self, user: &User, scopes: &[&str]) -> String {
        let token = self.forge.token(user, scopes).text;
        self.registry.look_for(&token);
        token
    }

    /// Somebody with a token of the registry.
    pub fn person(&self, view: View) -> Sandbox {
        let sandbox = Sandbox::stable(&self.registry, view);
        sandbox.login(&self.registry.token("alice"));
        sandbox
    }

    /// A developer's machine that shows this token to the sparse index.
    pub fn developer(&self, token: &str) -> Sandbox {
        let sandbox = Sandbox::stable(&self.registry, View::Sparse);
        sandbox.configure("[registry]\nglobal-credential-providers = [\"cargo:token\"]\n");
        sandbox.login(token);
        sandbox
    }

    /// The index repository, as somebody reaches it by git.
    pub fn url_of(&self, user: &User) -> String {
        let token = self.forge.token(user, &["write:repository"]).text;
        let Repository { owner, name, .. } = &self.repository;
        let (login, port) = (&user.login, self.forge.port);
        format!("http://{login}:{token}@127.0.0.1:{port}/{owner}/{name}.git")
    }

    /// The branch on the forge, which must be what clients of the registry see.
    #[track_caller]
    pub fn tip(&self) -> String {
        let tip = self.forge.tip(&self.repository);
        assert_eq!(git::tip(&self.registry.repository()), tip);
        tip
    }

    /// The newest commit: its author, a blank line, and the whole message.
    #[track_caller]
    pub fn newest(&self) -> String {
        let words = ["log", "-1", "--format=%an%n%n%B", "main"];
        git::git(&self.registry.repository(), &words)
            .succeeds()
            .stdout
    }

    /// A file of the index at the newest commit.
    #[track_caller]
    pub fn file(&self, path: &str) -> String {
        let shown = git::git(
            &self.registry.repository(),
            &["show", &format!("main:{path}")],
        );
        shown.succeeds().stdout
    }

    /// Gives a file of the index another text, as somebody who may write to the branch does, and waits until the server
    /// has followed.
    #[track_caller]
    pub fn put(&self, path: &str, text: &str) {
        let file = format!("{}/contents/{path}", self.repository.api());
        let caller = self.forge.token(&self.owner, &["all"]).text;
        let caller = self.forge.with_token(&caller);
        let change = json!({
            "content": base64(text),
            "sha": caller.read(&file)["sha"],
            "message": format!("edit {path}"),
        });
        done(caller.send("PUT", &file, &change), 200);
        eventually("the server has followed", || {
            (self.file(path) == text).then_some(())
        });
    }

    /// Asks the sparse index for its configuration, with this as the `Authorization` header.
    #[track_caller]
    pub fn read(&self, authorization: &str) -> Reply {
        get("/crates/index/config.json")
            .token(authorization)
            .send(self.registry.port)
    }

    /// The sparse index file of the crate `greeter`.
    pub fn lines(&self) -> String {
        let reply = get("/crates/index/gr/ee/greeter").send(self.registry.port);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.text().to_owned()
    }
}

/// Publishes a version of the crate `greeter`.
#[must_use]
pub fn publish(person: &Sandbox, version: &str) -> Ran {
    let project = Project::library("greeter", version, "hello");
    // Whether it builds is not the question.
    let arguments = ["publish", "--no-verify", "--registry", "crates"];
    person.cargo(&project.write(&person.work()), &arguments)
}
