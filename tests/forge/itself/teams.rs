//! What a team may, and who is told of it.

use serde_json::{Value, json};

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

#[test]
fn whoever_is_on_the_lists_and_may_not_write_approves_and_merges_nothing() {
    let Some(forge) = Gitea::shared() else { return };
    let acme = forge.organisation("acme");
    let units = |code: &str| json!({ "repo.code": code, "repo.pulls": "read" });
    for (units, approves, merges) in [
        (json!({ "repo.code": "write" }), false, false),
        (units("read"), true, false),
        (units("write"), true, true),
    ] {
        let index = forge.repository(&acme, &forge.fresh_name("index"), Visibility::Private);
        let team = forge.team_with(&acme, &forge.fresh_name("team"), &units);
        forge.open_to(&team, &index);
        let rule = json!({
            "enable_push": true,
            "enable_push_whitelist": true,
            "enable_merge_whitelist": true,
            "merge_whitelist_teams": [team.name],
            "enable_approvals_whitelist": true,
            "approvals_whitelist_teams": [team.name],
            "required_approvals": 1,
        });
        let kept = forge.protect(&index, rule);
        assert_eq!(kept["merge_whitelist_teams"], json!([team.name]));
        let admin = forge.admin();
        admin.write_file(&index, "change", "file", "text\n");
        let proposed = admin.open_pull_request(&index, "change");
        let rita = forge.user("rita");
        forge.join(&team, &rita);
        let rita = forge.with_token(&forge.token(&rita, &["all"]).text);
        let path = format!("{}/pulls/{proposed}/reviews", index.api());
        let review = json!({ "event": "APPROVED", "body": "good" });
        let approved = rita.send("POST", &path, &review);
        assert_eq!(approved.status, if approves { 200 } else { 404 }, "{units}");
        if approves {
            assert_eq!(approved.json()["official"], true, "{units}");
        }
        let merged = rita.squash(&index, proposed);
        assert_eq!(merged.status == 200, merges, "{units}: {merged:?}");
        if approves && !merges {
            let said = merged.text();
            assert!(said.contains("permission denied for writing"), "{said}");
        }
    }
}
