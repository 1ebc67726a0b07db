//! People who signed in and have their rights by a team of the organisation, which the registry finds out by itself.

use serde_json::{Value, json};

use super::beside::{Beside, DEVELOPER, Wanted, publish};
use super::gitea::Gitea;
use super::scene::{Repository, Team, User, Visibility};
use super::teams::link;
use crate::common::http::{Reply, request};
use crate::common::upload::Release;

const SCOPE: &str = "openid profile groups";

/// A private registry of an organisation, with a crate that belongs to a repository there.
struct Scene<'forge> {
    beside: Beside<'forge>,
    client: String,
    sources: Repository,
}

impl<'forge> Scene<'forge> {
    #[track_caller]
    fn set(forge: &'forge Gitea) -> Self {
        let client = forge.application();
        let wanted = Wanted {
            is_organisations: true,
            ..Wanted::private().signs_in(&client)
        };
        let beside = Beside::start_as(forge, &wanted);
        let sources = forge.repository(&beside.repository.owner, "greeter", Visibility::Private);
        forge.collaborate(&sources, &beside.robot, "admin");
        // Whoever made the crate is a collaborator of the index, and no member of anything.
        let olga = &beside.owner;
        forge.collaborate(&beside.repository, olga, "read");
        let token = beside.token(olga, &DEVELOPER);
        publish(&beside.developer(&token), "0.1.0").succeeds();
        link(&beside, &sources);
        Self {
            beside,
            client,
            sources,
        }
    }

    /// A team with these rights on the index repository and on that of the crate.
    #[track_caller]
    fn team(&self, name: &str, units: &Value) -> Team {
        let forge = self.beside.forge;
        let team = forge.team_with(&self.beside.repository.owner, name, units);
        for repository in [&self.beside.repository, &self.sources] {
            forge.open_to(&team, repository);
        }
        team
    }

    /// What somebody gets who signs in: what the forge signed, and what the registry makes of it.
    #[track_caller]
    fn tokens(&self, user: &User, can: &[&str]) -> [String; 2] {
        let jwt = self.beside.forge.sign_in(user, &self.client, SCOPE).id;
        let asked = json!({ "jwt": jwt, "can": can });
        let reply = request("POST", "/crates/api/v1/trusted_publishing/tokens")
            .header("Content-Type", "application/json")
            .body(asked.to_string())
            .send(self.beside.registry.port);
        assert_eq!(reply.status, 200, "{reply:?}");
        let made = reply.json()["token"].as_str().unwrap().to_owned();
        for token in [&jwt, &made] {
            self.beside.registry.look_for(token);
        }
        [jwt, made]
    }

    fn upload(&self, version: &str, token: &str) -> Reply {
        Release::new("greeter", version).publish(self.beside.registry.port, token)
    }
}

#[test]
fn members_who_sign_in_read_and_publish_by_their_team() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    let beside = &scene.beside;
    let writers = json!({ "repo.code": "write", "repo.pulls": "write", "repo.wiki": "read" });
    let writers = scene.team("Platform", &writers);
    let readers = scene.team("Readers", &json!({ "repo.code": "read" }));
    let [alice, rita] = ["alice", "rita"].map(|word| forge.user(word));
    for (team, members) in [
        (&writers, [&alice, &beside.robot]),
        (&readers, [&rita, &beside.robot]),
    ] {
        for member in members {
            forge.join(team, member);
        }
    }
    for (index, token) in scene
        .tokens(&alice, &["read", "publish"])
        .iter()
        .enumerate()
    {
        assert_eq!(beside.read(token).status, 200);
        let person = beside.developer(token);
        publish(&person, &format!("0.2.{index}")).succeeds();
    }
    let newest = beside.newest();
    assert!(
        newest.starts_with(&format!("{}\n", alice.login)),
        "{newest}"
    );
    for token in &scene.tokens(&rita, &["read", "publish"]) {
        assert_eq!(beside.read(token).status, 200);
        let refused = scene.upload("0.3.0", token);
        assert_eq!(refused.status, 403, "{refused:?}");
        let said = refused.refusal();
        assert!(said.contains("is not an owner of the crate"), "{said}");
    }
    // Whoever leaves writes nothing from then on.
    let tokens = scene.tokens(&alice, &["read", "publish"]);
    forge.leave(&writers, &alice);
    for token in &tokens {
        let refused = scene.upload("0.3.0", token);
        assert_eq!(refused.status, 403, "{refused:?}");
    }
    beside.tip();
}

#[test]
fn members_of_a_team_without_a_right_to_code_neither_read_nor_publish() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    let beside = &scene.beside;
    let triage = scene.team(
        "Triage",
        &json!({ "repo.issues": "write", "repo.wiki": "write" }),
    );
    let (mallory, eve) = (forge.user("mallory"), forge.user("eve"));
    forge.join(&triage, &mallory);
    for user in [&mallory, &eve] {
        for token in &scene.tokens(user, &["read", "publish"]) {
            for reply in [beside.read(token), scene.upload("6.6.6", token)] {
                assert_eq!(reply.status, 403, "{reply:?}");
                let said = reply.refusal();
                assert!(said.contains("may not read the index repository"), "{said}");
            }
        }
    }
    assert!(
        beside.newest().starts_with("root-of-all\n"),
        "nothing came after the link"
    );
}

#[test]
fn a_team_that_the_registry_is_not_told_of_is_told_in_words() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    let beside = &scene.beside;
    let writers = scene.team("Platform", &json!({ "repo.code": "write" }));
    let alice = forge.user("alice");
    forge.join(&writers, &alice);
    let [_, token] = scene.tokens(&alice, &["read", "publish"]);
    let others = forge.team_with(
        &writers.organisation,
        "Robots",
        &json!({ "repo.wiki": "read" }),
    );
    // First it is in no team of the organisation, then in another one.
    for team in [&others, &writers] {
        for reply in [beside.read(&token), scene.upload("0.2.0", &token)] {
            assert_eq!(reply.status, 503, "{reply:?}");
            let said = reply.refusal();
            assert!(said.contains("is not known: it may be by a team"), "{said}");
        }
        forge.join(team, &beside.robot);
    }
    let log = beside.registry.log();
    assert!(
        log.contains("is not told who is in all of the teams"),
        "{log}"
    );
    assert!(log.contains("Platform"), "{log}");
    // What was found of her is remembered for some seconds, but not for what she gets now.
    let [token, _] = scene.tokens(&alice, &["read", "publish"]);
    assert_eq!(beside.read(&token).status, 200);
    assert_eq!(scene.upload("0.2.0", &token).status, 200);
}
