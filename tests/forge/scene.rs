//! What a test finds at the forge: people, teams and repositories, made by the administrator.

use serde_json::{Value, json};

use super::api::{done, number, text};
use super::gitea::{ADMIN, Gitea, PASSWORD};

/// An account.
#[derive(Debug, Clone)]
pub struct User {
    pub login: String,
    pub id: i64,
}

/// A personal access token.
#[derive(Debug, Clone)]
pub struct Token {
    pub id: i64,
    pub text: String,
}

/// A team of an organisation.
#[derive(Debug, Clone)]
pub struct Team {
    pub organisation: String,
    pub name: String,
    pub id: i64,
}

/// A repository.
#[derive(Debug, Clone)]
pub struct Repository {
    pub owner: String,
    pub name: String,
    pub id: i64,
}

/// Who sees a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    Public,
    Private,
}

impl Repository {
    /// Its path in the API.
    pub fn api(&self) -> String {
        format!("/repos/{}/{}", self.owner, self.name)
    }

    /// Where git finds it.
    pub fn url(&self, forge: &Gitea) -> String {
        format!("{}/{}/{}.git", forge.url(), self.owner, self.name)
    }
}

impl Gitea {
    /// Makes an account whose name begins with `word`.
    #[track_caller]
    pub fn user(&self, word: &str) -> User {
        let login = self.fresh_name(word);
        self.sign_up(&login, &login)
    }

    /// Makes an account of this name, which must be free.
    #[track_caller]
    pub fn account(&self, login: &str) -> User {
        // Whoever had the name before may still have the address.
        self.sign_up(login, &self.fresh_name("mail"))
    }

    #[track_caller]
    fn sign_up(&self, login: &str, mail: &str) -> User {
        let wanted = json!({
            "username": login,
            "email": format!("{mail}@localhost.test"),
            "password": PASSWORD,
            "must_change_password": false,
        });
        let made = done(self.admin().send("POST", "/admin/users", &wanted), 201);
        User {
            login: login.to_owned(),
            id: number(&made, "id"),
        }
    }

    /// Lets an account sign in no more, or again.
    #[track_caller]
    pub fn block(&self, user: &User, is_blocked: bool) {
        let path = format!("/admin/users/{}", user.login);
        let wanted =
            json!({ "login_name": user.login, "source_id": 0, "prohibit_login": is_blocked });
        done(self.admin().send("PATCH", &path, &wanted), 200);
    }

    /// Shows the profile of an account so far: `public`, `limited`, `private`.
    #[track_caller]
    pub fn show_profile(&self, user: &User, visibility: &str) {
        let path = format!("/admin/users/{}", user.login);
        let change = json!({ "login_name": user.login, "source_id": 0, "visibility": visibility });
        done(self.admin().send("PATCH", &path, &change), 200);
    }

    /// Gives an account another name.
    #[track_caller]
    pub fn rename_user(&self, user: &User, word: &str) -> User {
        let login = self.fresh_name(word);
        let path = format!("/admin/users/{}/rename", user.login);
        let wanted = json!({ "new_username": login });
        let renamed = self.admin().send("POST", &path, &wanted);
        assert_eq!(renamed.status, 204, "{renamed:?}");
        User { login, ..*user }
    }

    /// Removes an account.
    #[track_caller]
    pub fn delete_user(&self, user: &User) {
        self.admin_removes(&format!("/admin/users/{}", user.login));
    }

    /// Makes a token with these scopes.
    #[track_caller]
    pub fn token(&self, user: &User, scopes: &[&str]) -> Token {
        let wanted = json!({ "name": self.fresh_name("token"), "scopes": scopes });
        let caller = self.with_password(&user.login, PASSWORD);
        let made = done(caller.send("POST", &tokens_of(user), &wanted), 201);
        Token {
            id: number(&made, "id"),
            text: text(&made, "sha1"),
        }
    }

    /// Takes a token back.
    #[track_caller]
    pub fn delete_token(&self, user: &User, token: &Token) {
        let path = format!("{}/{}", tokens_of(user), token.id);
        let caller = self.with_password(&user.login, PASSWORD);
        let removed = caller.send("DELETE", &path, &Value::Null);
        assert_eq!(removed.status, 204, "{removed:?}");
    }

    /// Makes an organisation of the administrator whose name begins with `word`; gives its name.
    #[track_caller]
    pub fn organisation(&self, word: &str) -> String {
        let name = self.fresh_name(word);
        let wanted = json!({ "username": name });
        done(self.admin().send("POST", "/orgs", &wanted), 201);
        name
    }

    /// Makes a team that may do this with code and pull requests, such as `write`.
    #[track_caller]
    pub fn team(&self, organisation: &str, name: &str, right: &str) -> Team {
        let units = json!({ "repo.code": right, "repo.pulls": right });
        self.team_with(organisation, name, &units)
    }

    /// Makes a team that may do this with these parts of a repository.
    #[track_caller]
    pub fn team_with(&self, organisation: &str, name: &str, units: &Value) -> Team {
        let wanted = json!({ "name": name, "permission": "read", "units_map": units });
        let path = format!("/orgs/{organisation}/teams");
        let made = done(self.admin().send("POST", &path, &wanted), 201);
        Team {
            organisation: organisation.to_owned(),
            name: name.to_owned(),
            id: number(&made, "id"),
        }
    }

    /// Gives a team another name.
    #[track_caller]
    pub fn rename_team(&self, team: &Team, name: &str) {
        let path = format!("/teams/{}", team.id);
        let wanted = json!({ "name": name });
        done(self.admin().send("PATCH", &path, &wanted), 200);
    }

    /// Takes somebody into a team.
    #[track_caller]
    pub fn join(&self, team: &Team, user: &User) {
        self.admin_puts(
            &format!("/teams/{}/members/{}", team.id, user.login),
            &Value::Null,
        );
    }

    /// Takes somebody out of a team.
    #[track_caller]
    pub fn leave(&self, team: &Team, user: &User) {
        self.admin_removes(&format!("/teams/{}/members/{}", team.id, user.login));
    }

    /// Opens a repository of its organisation to a team.
    #[track_caller]
    pub fn open_to(&self, team: &Team, repository: &Repository) {
        let Repository { owner, name, .. } = repository;
        self.admin_puts(
            &format!("/teams/{}/repos/{owner}/{name}", team.id),
            &Value::Null,
        );
    }

    /// Makes a repository with one commit on `main`, of an account or an organisation.
    #[track_caller]
    pub fn repository(&self, owner: &str, name: &str, visibility: Visibility) -> Repository {
        self.make_repository(owner, name, visibility, true)
    }

    /// Makes one that nothing was ever pushed to.
    #[track_caller]
    pub fn empty_repository(&self, owner: &str, name: &str, visibility: Visibility) -> Repository {
        self.make_repository(owner, name, visibility, false)
    }

    #[track_caller]
    fn make_repository(
        &self,
        owner: &str,
        name: &str,
        visibility: Visibility,
        has_commit: bool,
    ) -> Repository {
        let wanted = json!({
            "name": name,
            "private": visibility == Visibility::Private,
            "auto_init": has_commit,
            "default_branch": "main",
        });
        let path = format!("/admin/users/{owner}/repos");
        let made = done(self.admin().send("POST", &path, &wanted), 201);
        Repository {
            owner: owner.to_owned(),
            name: name.to_owned(),
            id: number(&made, "id"),
        }
    }

    /// Gives a repository another name.
    #[track_caller]
    pub fn rename(&self, repository: &Repository, name: &str) -> Repository {
        self.edit(repository, &json!({ "name": name }));
        Repository {
            name: name.to_owned(),
            ..repository.clone()
        }
    }

    /// Shows a repository to everybody, or hides it.
    #[track_caller]
    pub fn show(&self, repository: &Repository, visibility: Visibility) {
        let is_private = visibility == Visibility::Private;
        self.edit(repository, &json!({ "private": is_private }));
    }

    /// Makes a repository one that nobody writes to, or takes that back.
    #[track_caller]
    pub fn archive(&self, repository: &Repository, is_archived: bool) {
        self.edit(repository, &json!({ "archived": is_archived }));
    }

    #[track_caller]
    fn edit(&self, repository: &Repository, change: &Value) {
        done(self.admin().send("PATCH", &repository.api(), change), 200);
    }

    /// Lets somebody do this with a repository: `read`, `write` or `admin`.
    #[track_caller]
    pub fn collaborate(&self, repository: &Repository, user: &User, permission: &str) {
        let path = format!("{}/collaborators/{}", repository.api(), user.login);
        self.admin_puts(&path, &json!({ "permission": permission }));
    }

    /// Takes somebody off a repository.
    #[track_caller]
    pub fn take_off(&self, repository: &Repository, user: &User) {
        self.admin_removes(&format!(
            "{}/collaborators/{}",
            repository.api(),
            user.login
        ));
    }

    /// Protects `main` by this rule; gives the rule as the forge understands it.
    #[track_caller]
    pub fn protect(&self, repository: &Repository, mut rule: Value) -> Value {
        rule["rule_name"] = "main".into();
        let path = format!("{}/branch_protections", repository.api());
        done(self.admin().send("POST", &path, &rule), 201)
    }

    /// Lets the forge tell a URL about these events, with a secret to prove it by.
    #[track_caller]
    pub fn tell(&self, repository: &Repository, url: &str, secret: &str, events: &[&str]) {
        let config = json!({ "url": url, "content_type": "json", "secret": secret });
        let wanted = json!({ "type": "gitea", "active": true, "events": events, "config": config });
        let path = format!("{}/hooks", repository.api());
        done(self.admin().send("POST", &path, &wanted), 201);
    }

    /// The commit at the tip of `main`.
    #[track_caller]
    pub fn tip(&self, repository: &Repository) -> String {
        let branch = self
            .admin()
            .read(&format!("{}/branches/main", repository.api()));
        text(&branch["commit"], "id")
    }

    #[track_caller]
    fn admin_puts(&self, path: &str, body: &Value) {
        let put = self.admin().send("PUT", path, body);
        assert_eq!(put.status, 204, "{put:?}");
    }

    #[track_caller]
    fn admin_removes(&self, path: &str) {
        let removed = self.admin().send("DELETE", path, &Value::Null);
        assert_eq!(removed.status, 204, "{removed:?}");
    }
}

/// The administrator's own account.
pub fn admin() -> User {
    User {
        login: ADMIN.to_owned(),
        id: 1,
    }
}

fn tokens_of(user: &User) -> String {
    format!("/users/{}/tokens", user.login)
}
