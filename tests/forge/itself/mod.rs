//! What the real forge does, as far as we build on it: a newer one that does otherwise is noticed here.

mod double;
mod jobs;
mod moved;
mod process;
mod pushes;
mod requests;
mod rights;
mod sign_in;
mod teams;

use serde_json::{Value, json};

use super::api::{Caller, done};
use super::gitea::Gitea;
use super::scene::{Repository, User, Visibility};

/// The scopes with which a robot works.
const ROBOT: [&str; 2] = ["read:user", "write:repository"];

/// A private repository with its owner and a robot who may write to it.
struct Scene {
    owner: User,
    owner_token: String,
    robot: User,
    robot_token: String,
    repository: Repository,
}

impl Scene {
    #[track_caller]
    fn set(forge: &Gitea) -> Self {
        let owner = forge.user("olga");
        let robot = forge.user("robot");
        let repository = forge.repository(&owner.login, "index", Visibility::Private);
        forge.collaborate(&repository, &robot, "write");
        Self {
            owner_token: forge.token(&owner, &["all"]).text,
            robot_token: forge.token(&robot, &ROBOT).text,
            owner,
            robot,
            repository,
        }
    }

    /// Lets nobody but the robot push to `main`.
    #[track_caller]
    fn protect(&self, forge: &Gitea) -> Value {
        let rule = json!({
            "enable_push": true,
            "enable_push_whitelist": true,
            "push_whitelist_usernames": [self.robot.login],
        });
        forge.protect(&self.repository, rule)
    }
}

/// What a caller may do with a repository, as the forge says it: `pull` and `push`.
#[track_caller]
fn rights(caller: &Caller<'_>, repository: &Repository) -> (bool, bool) {
    let rights = &caller.read(&repository.api())["permissions"];
    let has = |name: &str| rights[name].as_bool().expect("a right is yes or no");
    (has("pull"), has("push"))
}

/// Panics unless the caller may not know of a repository.
#[track_caller]
fn assert_hidden(caller: &Caller<'_>, repository: &Repository) {
    let said = done(caller.get(&repository.api()), 404);
    assert_eq!(said["message"], "not found", "{said}");
}

#[test]
fn it_is_the_version_that_the_pins_name() {
    let Some(forge) = Gitea::pinned() else { return };
    let version = forge.anonymous().read("/version");
    let pins = include_str!("../go.mod");
    let pin = format!(
        "code.gitea.io/gitea v{} ",
        version["version"].as_str().unwrap()
    );
    assert!(pins.contains(&pin), "{version}");
}
