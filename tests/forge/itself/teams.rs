//! What a team may, and who is told of it.

use serde_json::Value;

use super::{assert_hidden, rights};
use crate::forge::api::done;
use crate::forge::gitea::Gitea;
use crate::forge::scene::Visibility;

const SCOPES: [&str; 3] = ["read:user", "read:organization", "read:repository"];

fn named<'json>(teams: &'json Value, name: &str) -> &'json Value {
    let teams = teams.as_array().expect("a list of teams");
    let found = teams.iter().find(|team| team["name"] == name);
    found.unwrap_or_else(|| panic!("no team {name}: {teams:?}"))
}

#[test]
fn a_member_has_the_rights_of_the_team_until_the_end() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = forge.organisation("acme");
    let (alice, bob) = (forge.user("alice"), forge.user("bob"));
    let library = forge.repository(&acme, "library", Visibility::Private);
    let writers = forge.team(&acme, "Platform", "write");
    let readers = forge.team(&acme, "Readers", "read");
    for team in [&writers, &readers] {
        forge.open_to(team, &library);
    }
    let of = |user| forge.with_token(&forge.token(user, &SCOPES).text);
    let (of_alice, of_bob) = (of(&alice), of(&bob));
    assert_hidden(&of_alice, &library);
    forge.join(&writers, &alice);
    forge.join(&readers, &bob);
    assert_eq!(rights(&of_alice, &library), (true, true));
    assert_eq!(rights(&of_bob, &library), (true, false));
    forge.leave(&writers, &alice);
    assert_hidden(&of_alice, &library);
}

#[test]
fn teams_are_known_to_members_of_the_organisation_alone() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = forge.organisation("Acme");
    let team = forge.team(&acme, "Platform", "write");
    let (alice, bob) = (forge.user("alice"), forge.user("bob"));
    forge.join(&team, &alice);
    let of = |user| forge.with_token(&forge.token(user, &SCOPES).text);
    let (of_alice, of_bob) = (of(&alice), of(&bob));
    let all = of_alice.read(&format!("/orgs/{acme}/teams"));
    assert_eq!(named(&all, &team.name)["id"], team.id);
    assert_eq!(named(&all, "Owners")["permission"], "owner");
    let own = of_alice.read("/user/teams");
    assert_eq!(
        named(&own, &team.name)["organization"]["name"],
        team.organisation
    );
    assert_eq!(named(&own, &team.name)["units_map"]["repo.code"], "write");
    let found = of_alice.read(&format!("/orgs/{acme}/teams/search?q=platform"));
    assert_eq!(named(&found["data"], &team.name)["id"], team.id);
    let refused = done(of_bob.get(&format!("/orgs/{acme}/teams")), 403);
    assert_eq!(refused["message"], "Must be an organization member");
    let member = format!("/teams/{}/members/{}", team.id, alice.login);
    assert_eq!(of_alice.read(&member)["id"], alice.id);
    assert_eq!(of_bob.get(&member).status, 404);
}
