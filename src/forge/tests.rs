use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Semaphore;

use super::double::*;
use super::*;
use crate::domain::{RepositoryPath, Secret, Visibility};

const ALICE: &str = "a000000000000000000000000000000000000001";
const READER: &str = "a000000000000000000000000000000000000002";
const BOB: &str = "b000000000000000000000000000000000000001";
const JOB: &str = "c000000000000000000000000000000000000001";

fn world() -> World {
    World {
        users: vec![User::new("alice", 2), User::new("bob", 3)],
        tokens: [
            (ALICE, Token::of_user(2, &["all"])),
            (READER, Token::of_user(2, &["read:user", "read:repository"])),
            (BOB, Token::of_user(3, &["write:repository"])),
            (JOB, Token::of_job(7, 2)),
        ]
        .into(),
        repositories: vec![
            double::Repository::new(1, "acme/index", true, &[(2, "admin"), (3, "read")]),
            double::Repository::new(2, "alice/src", false, &[(2, "write")]),
        ],
        teams: vec![
            double::Team::new(5, "Acme", "Owners", &[2]),
            double::Team::new(6, "Acme", "Platform", &[2]),
        ],
        tasks: vec![
            json!({"id": 7, "repository": "alice/src", "run_number": 4, "event": "push",
                "workflow_id": "a.yml", "head_sha": "ab".repeat(20)}),
        ],
        ..World::gitea()
    }
}

fn forge(double: &ForgeDouble) -> Forge {
    forge_within(double, ForgeLimits::default())
}

fn forge_within(double: &ForgeDouble, limits: ForgeLimits) -> Forge {
    let robot = Robot::Token(secret(ALICE));
    Forge::new(&double.url().parse().unwrap(), robot, limits)
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn path(text: &str) -> RepositoryPath {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_token_is_a_persons_or_a_jobs() {
    let double = ForgeDouble::start(world()).await;
    let forge = forge(&double);
    let person = Account::Person {
        login: "alice".parse().unwrap(),
        id: 2,
    };
    assert_eq!(forge.account(&secret(ALICE)).await, Ok(person));
    let job = Account::Job { task: Some(7) };
    assert_eq!(forge.account(&secret(JOB)).await, Ok(job));
    let unknown = forge.account(&secret("nonsense")).await;
    assert_eq!(unknown, Err(ForgeFault::Unauthenticated));
    let narrow = forge.account(&secret(BOB)).await.unwrap_err();
    assert!(
        narrow.to_string().contains("required=[read:user]"),
        "{narrow}"
    );
    double.world().users[0].is_blocked = true;
    let blocked = forge.account(&secret(ALICE)).await.unwrap_err();
    assert!(blocked.to_string().contains("prohibited from signing in"));
    double.world().users.clear();
    let deleted = forge.account(&secret(ALICE)).await;
    assert_eq!(deleted, Err(ForgeFault::Unauthenticated));
}

#[tokio::test]
async fn a_repository_is_seen_by_those_who_may() {
    let double = ForgeDouble::start(world()).await;
    let forge = forge(&double);
    let index = path("acme/index");
    let seen = forge.repository(&index, Showing::Token(&secret(BOB))).await;
    let seen = seen.unwrap();
    assert_eq!((seen.id, seen.is_private), (1, true));
    assert!(seen.rights.pull && !seen.rights.push);
    for showing in [Showing::Nobody, Showing::Token(&secret(JOB))] {
        let unseen = forge.repository(&index, showing).await;
        assert_eq!(unseen, Err(ForgeFault::NotFound));
    }
    let by_id = forge
        .repository_of_id(2, Showing::Token(&secret(JOB)))
        .await;
    let by_id = by_id.unwrap();
    assert!(by_id.rights.push && by_id.path == path("alice/src"));
    assert_eq!(forge.visibility(&index).await, Ok(Visibility::Private));
    let src = path("alice/src");
    assert_eq!(forge.visibility(&src).await, Ok(Visibility::Public));
    double.world().trouble = Trouble::Status(500);
    assert!(forge.visibility(&src).await.unwrap_err().is_passing());
}

#[tokio::test]
async fn what_a_token_may_write_is_seen_by_the_first_step_of_a_push() {
    let double = ForgeDouble::start(world()).await;
    let forge = forge(&double);
    let index = path("acme/index");
    // A mere reader's token passes too: it is the scope that is seen.
    for token in [ALICE, BOB] {
        let seen = forge.may_token_write(&index, &secret(token)).await;
        assert_eq!(seen, Ok(()), "{token}");
    }
    let narrow = forge.may_token_write(&index, &secret(READER)).await;
    assert_eq!(narrow, Err(ForgeFault::Forbidden("Forbidden".to_owned())));
    let foreign = forge.may_token_write(&index, &secret(JOB)).await;
    assert_eq!(foreign, Err(ForgeFault::NotFound));
    let nobodys = forge.may_token_write(&index, &secret("x")).await;
    assert_eq!(nobodys, Err(ForgeFault::Unauthenticated));
    // A page with the status of a success.
    double.world().users[0].is_blocked = true;
    let blocked = forge.may_token_write(&index, &secret(ALICE)).await;
    assert!(matches!(blocked, Err(ForgeFault::Forbidden(words)) if words.contains("blocked")));
    double.world().users[0].is_blocked = false;
    double.world().repositories[0].is_archived = true;
    let archived = forge.may_token_write(&index, &secret(ALICE)).await;
    assert!(matches!(archived, Err(ForgeFault::Forbidden(words)) if words.contains("archived")));
}

#[tokio::test]
async fn a_rename_is_followed_where_a_proxy_shows_the_forge_below_a_path() {
    let double = ForgeDouble::start(world()).await;
    let (url, issuer) = (double.url(), "https://example.com/git");
    let forge = forge(&double).shown_at(&url.parse().unwrap(), &issuer.parse().unwrap());
    let (old, token) = (path("acme/old"), secret(ALICE));
    // As the forge says it, and as a proxy would hand it on that takes the path away.
    for root in ["/git", ""] {
        double.world().redirects = [
            (
                "/api/v1/repos/acme/old",
                format!("{root}/api/v1/repos/acme/index"),
            ),
            (
                "/acme/old.git/info/refs",
                format!("{root}/acme/index/info/refs?service=git-receive-pack"),
            ),
        ]
        .into();
        let renamed = forge.repository(&old, Showing::Token(&token)).await;
        assert_eq!(renamed.unwrap().id, 1);
        assert_eq!(forge.may_token_write(&old, &token).await, Ok(()));
    }
    let elsewhere = "/gits/api/v1/repos/acme/index".to_owned();
    double.world().redirects = [("/api/v1/repos/acme/old", elsewhere)].into();
    assert!(
        forge
            .repository(&old, Showing::Token(&token))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_rename_is_followed_to_this_forge_alone() {
    let double = ForgeDouble::start(world()).await;
    let stranger = ForgeDouble::start(world()).await;
    let forge = forge(&double);
    let old = path("acme/old");
    let follow = async |to: String| {
        double.world().redirects = [("/api/v1/repos/acme/old", to)].into();
        forge.repository(&old, Showing::Token(&secret(ALICE))).await
    };
    let renamed = follow("/api/v1/repos/acme/index".to_owned()).await;
    assert_eq!(renamed.unwrap().id, 1);
    for to in [
        "/api/v1/repos/acme/old".to_owned(),
        "/user/login".to_owned(),
        "/api/v1/repos/acme/index/keys".to_owned(),
        "//evil.example/api/v1/repos/acme/index".to_owned(),
        format!("{}/api/v1/repos/acme/index", stranger.url()),
    ] {
        let fault = follow(to.clone()).await.unwrap_err();
        let words = format!("it answers 301 and sends to `{to}`");
        let is_not_followed = |said: &String| said.starts_with(&words);
        assert!(
            matches!(fault, ForgeFault::Odd(said) if is_not_followed(&said)),
            "{to}"
        );
    }
    assert_eq!(stranger.asked("/"), 0, "no token went elsewhere");
    double.world().redirects = [(
        "/acme/old.git/info/refs",
        "/acme/index/info/refs?service=git-receive-pack".to_owned(),
    )]
    .into();
    assert_eq!(forge.may_token_write(&old, &secret(ALICE)).await, Ok(()));
}

#[tokio::test]
async fn a_few_renames_are_followed_and_each_to_this_forge_alone() {
    let double = ForgeDouble::start(world()).await;
    let stranger = ForgeDouble::start(world()).await;
    let forge = forge(&double);
    let names = ["a", "b", "c", "d", "e"].map(|name| {
        let path: &'static str = format!("/api/v1/repos/acme/{name}").leak();
        path
    });
    let index = "/api/v1/repos/acme/index";
    let ask = async |from: &str| {
        let from = path(&format!("acme/{from}"));
        forge
            .repository(&from, Showing::Token(&secret(ALICE)))
            .await
    };
    let next = names.iter().skip(1).chain([&index]);
    double.world().redirects = { names.iter().zip(next) }
        .map(|(from, to)| (*from, (*to).to_owned()))
        .collect();
    assert_eq!(ask("b").await.unwrap().id, 1);
    let asked = double.world().asked.len();
    let fault = ask("a").await.unwrap_err();
    assert!(matches!(fault, ForgeFault::Odd(_)), "{fault}");
    assert_eq!(double.world().asked.len(), asked + 5);
    let elsewhere = format!("{}{index}", stranger.url());
    double.world().redirects.insert(names[4], elsewhere);
    let fault = ask("b").await.unwrap_err();
    assert!(matches!(fault, ForgeFault::Odd(_)), "{fault}");
    assert_eq!(stranger.asked("/"), 0, "no token went elsewhere");
}

#[tokio::test]
async fn each_trouble_is_told_from_the_others() {
    let double = ForgeDouble::start(world()).await;
    let busy = |retry_after_secs| ForgeFault::Busy { retry_after_secs };
    // For as long as it wants to be left alone, it is not asked.
    let hasty = forge(&double);
    double.world().trouble = Trouble::Busy("17");
    let fault = hasty.account(&secret(ALICE)).await.unwrap_err();
    assert_eq!(fault, busy(17));
    double.world().trouble = Trouble::None;
    let asked = double.world().asked.len();
    let fault = hasty.account(&secret(ALICE)).await.unwrap_err();
    assert!(matches!(fault, ForgeFault::Busy { .. }), "{fault}");
    assert_eq!(double.world().asked.len(), asked);
    let forge = forge(&double);
    let ask = async |trouble: Trouble| {
        double.world().trouble = trouble;
        forge.account(&secret(ALICE)).await.unwrap_err()
    };
    assert_eq!(ask(Trouble::Status(503)).await, busy(5));
    for status in [302, 303] {
        let fault = ask(Trouble::Status(status)).await;
        assert!(matches!(fault, ForgeFault::Forbidden(_)), "{fault}");
    }
    for status in [500, 502, 504] {
        let fault = ask(Trouble::Status(status)).await;
        assert!(matches!(fault, ForgeFault::Unreachable(_)), "{fault}");
    }
    for trouble in [Trouble::Status(418), Trouble::Status(204), Trouble::Html] {
        let fault = ask(trouble).await;
        assert!(matches!(fault, ForgeFault::Odd(_)), "{fault}");
    }
    let long = ask(Trouble::Huge).await;
    assert_eq!(long, ForgeFault::TooLong(1 << 20));
    let address = double.url();
    double.stop().await;
    let fault = forge.account(&secret(ALICE)).await.unwrap_err();
    assert!(matches!(fault, ForgeFault::Unreachable(_)), "{fault}");
    let text = format!("{fault} {fault:?} {forge:?}");
    assert!(!text.contains(ALICE), "{text}");
    assert!(!fault.to_string().contains(&address), "{fault}");
}

#[tokio::test]
async fn a_forge_that_does_not_answer_costs_a_bounded_time_and_eight_places() {
    let mut world = world();
    let gate = Arc::new(Semaphore::new(0));
    world.trouble = Trouble::Held(Arc::clone(&gate));
    let double = ForgeDouble::start(world).await;
    let limits = ForgeLimits {
        total: Duration::from_millis(300),
        turn: Duration::ZERO,
        ..ForgeLimits::default()
    };
    let forge = forge_within(&double, limits);
    let token = secret(ALICE);
    let faults = join_all((0..12).map(|_| forge.account(&token))).await;
    let is_busy = |fault: &&Result<_, _>| matches!(fault, Err(ForgeFault::Busy { .. }));
    assert_eq!(faults.iter().filter(is_busy).count(), 4);
    let is_late = |fault: &&Result<_, _>| matches!(fault, Err(ForgeFault::Unreachable(_)));
    assert_eq!(faults.iter().filter(is_late).count(), 8);
    assert!(double.asked("/api/v1/user") <= 8);
}

#[test]
fn the_forges_words_are_short_and_harmless() {
    let words = |body: &str| match ForgeFault::forbidden(body.as_bytes()) {
        ForgeFault::Forbidden(words) => words,
        other => panic!("{other}"),
    };
    assert_eq!(words(r#"{"message":"no, really"}"#), "no, really");
    assert_eq!(words("Forbidden\nmore"), "Forbidden");
    assert_eq!(words("<html>"), "it does not say why");
    assert_eq!(words(""), "it does not say why");
    let evil = words("{\"message\":\"a\\u001b[31m\\u202eb\\nSet-Cookie: x\"}");
    assert!(!evil.contains(crate::domain::is_misleading), "{evil:?}");
    assert!(words(&"x".repeat(10_000)).len() < 300);
}

#[tokio::test]
async fn the_kind_of_forge_is_asked_once() {
    let double = ForgeDouble::start(world()).await;
    let gitea = forge(&double);
    assert_eq!(gitea.kind().await, Ok(Kind::Gitea(1, 26)));
    assert_eq!(gitea.kind().await, Ok(Kind::Gitea(1, 26)));
    assert_eq!(double.asked("/api/v1/version"), 1);
    double.world().is_forgejo = true;
    double.world().version = "16.0.0+gitea-1.22.0";
    assert_eq!(forge(&double).kind().await, Ok(Kind::Forgejo(16, 0)));
    double.world().version = "nightly";
    assert!(matches!(
        forge(&double).kind().await,
        Err(ForgeFault::Odd(_))
    ));
}

#[tokio::test]
async fn a_jobs_run_is_found_by_the_forge_or_in_its_list() {
    let double = ForgeDouble::start(world()).await;
    let forge = forge(&double);
    let src = path("alice/src");
    let run = forge.run_of_task(&src, 7, &secret(JOB)).await.unwrap();
    assert_eq!(
        (&*run.workflow, run.number, &*run.event),
        ("a.yml", 4, "push")
    );
    let other = forge.run_of_task(&src, 8, &secret(JOB)).await;
    assert_eq!(other, Err(ForgeFault::NotFound));

    double.world().is_forgejo = true;
    let answer = |event: &str, trigger: &str, is_fork: bool| {
        json!({"index_in_repo": 9, "workflow_id": "b.yml", "commit_sha": "cd".repeat(20), "event": event,
            "trigger_event": trigger, "is_fork_pull_request": is_fork,
            "repository": {"id": 2, "full_name": "alice/src", "private": false, "archived": false}})
    };
    for (event, trigger, is_fork, told) in [
        ("push", "push", false, "push"),
        ("push", "pull_request_sync", false, "pull_request"),
        ("pull_request", "pull_request", true, "pull_request"),
    ] {
        double.world().run = answer(event, trigger, is_fork);
        let (repository, run) = forge.own_run(&secret(JOB)).await.unwrap();
        assert_eq!((repository.id, run.number, &*run.event), (2, 9, told));
    }
    let person = forge.own_run(&secret(ALICE)).await.unwrap_err();
    assert!(matches!(person, ForgeFault::Forbidden(_)));
}

#[tokio::test]
async fn teams_and_their_members_are_numbers() {
    let double = ForgeDouble::start(world()).await;
    let forge = forge(&double);
    let (alice, bob) = (secret(ALICE), "bob".parse().unwrap());
    let acme = "acme".parse().unwrap();
    assert_eq!(forge.team(&acme, "platform", &alice).await.unwrap().id, 6);
    let missing = forge.team(&acme, "nosuch", &alice).await;
    assert_eq!(missing, Err(ForgeFault::NotFound));
    let nowhere = forge
        .team(&"nosuch".parse().unwrap(), "platform", &alice)
        .await;
    assert_eq!(nowhere, Err(ForgeFault::NotFound));
    assert_eq!(forge.own_teams(&alice).await, Ok(vec![5, 6]));
    let alices = "alice".parse().unwrap();
    assert_eq!(forge.is_member(6, &alices, 2, &alice).await, Ok(true));
    // Another account under the same name.
    assert_eq!(forge.is_member(6, &alices, 9, &alice).await, Ok(false));
    assert_eq!(forge.is_member(6, &bob, 3, &alice).await, Ok(false));
    let shouted = "BOB".parse().unwrap();
    let found = forge.user_named(&shouted, Showing::Token(&alice)).await;
    let found = found.unwrap();
    assert_eq!((found.login.as_str(), found.id), ("bob", 3));
    let index = path("acme/index");
    let whole = forge.permission_of(&index, &bob, 3, &alice).await;
    assert_eq!(whole, Ok(Some(Permission::Read)));
    assert_eq!(forge.permission_of(&index, &bob, 9, &alice).await, Ok(None));
    assert_eq!(forge.is_collaborator(&index, &bob, &alice).await, Ok(true));
    let sources = path("alice/src");
    assert_eq!(
        forge.is_collaborator(&sources, &bob, &alice).await,
        Ok(false)
    );
    double.world().version = "1.27.0";
    assert!(forge.token_info(&alice).await.unwrap().may_write());
    assert!(!forge.token_info(&secret(READER)).await.unwrap().may_write());
}

#[tokio::test]
async fn the_teams_of_a_repository_are_told_with_what_they_may_do() {
    let double = ForgeDouble::start(world()).await;
    let forge = forge(&double);
    let (alice, index) = (secret(ALICE), path("acme/index"));
    double.world().teams[1] = double::Team::new(6, "Acme", "Platform", &[3])
        .open(&[("repo.code", "read"), ("repo.pulls", "write")], &[1]);
    let told = async || {
        let teams = forge.teams_of_repository(&index, &alice).await.unwrap();
        let told = |team: &super::Team| (team.id, team.code(), team.whole());
        teams.unwrap().iter().map(told).collect::<Vec<_>>()
    };
    let owners = (5, Permission::Admin, Permission::Admin);
    let of_gitea = (6, Permission::Read, Permission::None);
    assert_eq!(told().await, [owners, of_gitea]);
    double.world().is_forgejo = true;
    let of_forgejo = (6, Permission::Read, Permission::Read);
    assert_eq!(told().await, [owners, of_forgejo]);
    assert_eq!(double.asked("/api/v1/repos/acme/index/teams"), 2);
    // One that belongs to no organisation has none, and a refusal is none of that.
    let sources = path("alice/src");
    assert_eq!(forge.teams_of_repository(&sources, &alice).await, Ok(None));
    double.world().broken = Some(("/api/v1/repos/acme/index/teams", 405));
    let fault = forge.teams_of_repository(&index, &alice).await;
    assert!(matches!(fault, Err(ForgeFault::NotFit(_))), "{fault:?}");
}

#[tokio::test]
async fn who_is_in_an_organisation_is_told_to_those_who_are_in_it() {
    let double = ForgeDouble::start(world()).await;
    let forge = forge(&double);
    double
        .world()
        .tokens
        .insert(BOB, Token::of_user(3, &["all"]));
    let (alice, bob) = (secret(ALICE), secret(BOB));
    let [of_alice, of_bob] = ["alice", "bob"].map(|login| login.parse().unwrap());
    for (login, asking, told) in [
        (&of_alice, &alice, Some(true)),
        (&of_bob, &alice, Some(false)),
        (&of_alice, &bob, None),
    ] {
        let is_in = forge.is_in_organisation("acme", login, asking).await;
        assert_eq!(is_in, Ok(told), "{login}");
    }
    assert_eq!(forge.is_shown_teams("acme", &alice).await, Ok(true));
    assert_eq!(forge.is_shown_teams("acme", &bob).await, Ok(false));
    double.world().broken = Some(("/api/v1/orgs/acme/teams", 500));
    let fault = forge.is_shown_teams("acme", &alice).await;
    assert!(
        matches!(fault, Err(ForgeFault::Unreachable(_))),
        "{fault:?}"
    );
}

#[tokio::test]
async fn a_list_is_read_to_its_end_however_short_its_pages() {
    let mut long = world();
    long.teams = (5..12)
        .map(|id| double::Team::new(id, "Acme", "Other", &[2]))
        .collect();
    long.teams
        .push(double::Team::new(12, "Acme", "Platform", &[2]));
    let mut first = long.tasks[0].clone();
    first["id"] = 6.into();
    long.tasks = vec![first.clone(), first.clone(), first, long.tasks[0].clone()];
    long.page_entries = Some(3);
    let double = ForgeDouble::start(long).await;
    let (forge, alice) = (forge(&double), secret(ALICE));
    let (acme, repository) = ("acme".parse().unwrap(), path("alice/src"));
    let teams = "/api/v1/orgs/acme/teams";
    for (hides_totals, asked) in [(false, 3), (true, 4)] {
        double.world().hides_totals = hides_totals;
        double.world().asked.clear();
        let found = forge.team(&acme, "platform", &alice).await;
        assert_eq!(found.unwrap().id, 12);
        assert_eq!(double.asked(teams), asked);
        assert_eq!(forge.own_teams(&alice).await.unwrap().len(), 8);
        let run = forge.run_of_task(&repository, 7, &alice).await;
        assert_eq!(run.unwrap().number, 4);
    }
    let shown = forge.look_through("/orgs/acme/teams", Showing::Token(&alice));
    assert_eq!(shown.await.unwrap().unwrap().as_array().unwrap().len(), 8);
    let none = forge.look_through("/orgs/nosuch/teams", Showing::Token(&alice));
    assert_eq!(none.await, Ok(None));
}

#[tokio::test]
async fn a_list_without_an_end_is_refused() {
    let mut endless = world();
    endless.teams = (5..500)
        .map(|id| double::Team::new(id, "Acme", "Other", &[2]))
        .collect();
    endless.page_entries = Some(1);
    let double = ForgeDouble::start(endless).await;
    let told = forge(&double).own_teams(&secret(ALICE)).await;
    assert!(matches!(told, Err(ForgeFault::Odd(_))), "{told:?}");
    assert_eq!(double.asked("/api/v1/user/teams"), 100);
}

#[tokio::test]
async fn a_pull_request_without_its_branch_hides_no_other() {
    let side = |name: &str, sha: &str| json!({"label": name, "ref": name, "sha": sha});
    let (known, base) = ("ab".repeat(20), side("main", &"cd".repeat(20)));
    let pull_request =
        |number: u64, head| json!({"id": number, "number": number, "head": head, "base": base});
    let mut world = world();
    world.pull_requests = vec![
        pull_request(1, side("gone", "")),
        pull_request(2, json!(null)),
        pull_request(3, side("change", &known)),
    ];
    world.page_entries = Some(1);
    let double = ForgeDouble::start(world).await;
    let open = forge(&double).open_pull_requests(&path("acme/index")).await;
    let told = |open: &PullRequest| {
        (
            open.number,
            open.head.sha.to_string(),
            open.base.name.clone(),
        )
    };
    let open: Vec<_> = open.unwrap().iter().map(told).collect();
    assert_eq!(open, [(3, known, "main".to_owned())]);
}

#[tokio::test]
async fn a_pull_request_that_is_too_long_hides_no_other() {
    let side = |sha: u64| json!({"label": "x", "ref": "x", "sha": format!("{sha:040}")});
    let pull_request =
        |number: u64| json!({"number": number, "head": side(number), "base": side(0)});
    let mut world = world();
    world.pull_requests = (1..=70).map(pull_request).collect();
    let long = "x".repeat(1_200_000);
    let double = ForgeDouble::start(world).await;
    let pulls = "/api/v1/repos/acme/index/pulls";
    for (long_ones, hides_totals, asked) in [
        (vec![], false, 2),
        // One page as a whole, and of the other each.
        (vec![60], false, 2 + 20),
        (vec![2, 3], false, 1 + 70),
        (vec![1, 70], false, 1 + 71),
        (vec![70], true, 2 + 21),
    ] {
        {
            let mut world = double.world();
            world.asked.clear();
            world.hides_totals = hides_totals;
            for (number, pull_request) in (1..).zip(&mut world.pull_requests) {
                let is_long = long_ones.contains(&number);
                pull_request["body"] = json!(if is_long { &long } else { "" });
            }
        }
        let open = forge(&double).open_pull_requests(&path("acme/index")).await;
        let open: Vec<u64> = open.unwrap().iter().map(|open| open.number).collect();
        let others: Vec<u64> = (1..=70).filter(|it| !long_ones.contains(it)).collect();
        assert_eq!(open, others);
        assert_eq!(double.asked(pulls), asked, "{long_ones:?}");
    }
    {
        let mut world = double.world();
        let mut entry = world.pull_requests[1].clone();
        world.pull_requests = vec![entry.clone(); 1000];
        entry["body"] = json!(long);
        world.pull_requests[0] = entry;
        world.asked.clear();
    }
    let open = forge(&double).open_pull_requests(&path("acme/index")).await;
    assert_eq!((open.unwrap().len(), double.asked(pulls)), (499, 1 + 500));
}

mod keys {
    use super::*;

    const PATIENT: KeyPatience = KeyPatience {
        fresh: Duration::from_secs(3600),
        pause: Duration::from_secs(3600),
    };
    const HASTY: KeyPatience = KeyPatience {
        fresh: Duration::ZERO,
        pause: Duration::ZERO,
    };

    async fn with_key(kid: &str) -> (ForgeDouble, SigningKey) {
        let key = SigningKey::new(kid);
        let mut world = world();
        world.keys = vec![key.jwk()];
        (ForgeDouble::start(world).await, key)
    }

    fn keys(double: &ForgeDouble, patience: KeyPatience) -> IssuerKeys {
        IssuerKeys::new(
            double.url(),
            double.url(),
            ".well-known/openid-configuration",
            patience,
        )
    }

    fn parts(token: &str) -> (&[u8], &str) {
        let (message, signature) = token.rsplit_once('.').unwrap();
        (message.as_bytes(), signature)
    }

    #[tokio::test]
    async fn a_key_verifies_what_it_signed_and_with_its_own_algorithm() {
        let (double, signing) = with_key("one").await;
        let (keys, forge) = (keys(&double, PATIENT), forge(&double));
        let key = keys.key("one", &forge).await.unwrap();
        let token = signing.sign(&json!({"a": 1}));
        let (message, signature) = parts(&token);
        assert!(key.verifies("ES256", message, signature));
        for algorithm in ["HS256", "none", "RS256", "es256", "ES384"] {
            assert!(!key.verifies(algorithm, message, signature), "{algorithm}");
        }
        assert!(!key.verifies("ES256", b"another", signature));
        // The public key, used as a secret.
        let header = json!({"alg": "HS256", "kid": "one", "typ": "JWT"});
        let forged = sign_with_secret(&signing.public, &header, &json!({"a": 1}));
        let (message, signature) = parts(&forged);
        for algorithm in ["HS256", "ES256"] {
            assert!(!key.verifies(algorithm, message, signature), "{algorithm}");
        }
    }

    #[tokio::test]
    async fn a_storm_of_unknown_keys_is_one_question() {
        let (double, _) = with_key("one").await;
        let (keys, forge) = (keys(&double, PATIENT), forge(&double));
        keys.key("one", &forge).await.unwrap();
        let names: Vec<String> = (0..100).map(|number| format!("made up {number}")).collect();
        let storm = join_all(names.iter().map(|kid| keys.key(kid, &forge))).await;
        let is_unknown = |result: &Result<_, _>| matches!(result, Err(IssuerFault::UnknownKey));
        assert!(storm.iter().all(is_unknown));
        keys.key("one", &forge).await.unwrap();
        assert_eq!(double.asked("/login/oauth/keys"), 1);
    }

    #[tokio::test]
    async fn a_rotated_key_takes_the_place_of_the_old_one() {
        let (double, _) = with_key("one").await;
        let (keys, forge) = (keys(&double, HASTY), forge(&double));
        keys.key("one", &forge).await.unwrap();
        double.world().keys = vec![SigningKey::new("two").jwk()];
        keys.key("two", &forge).await.unwrap();
        let old = keys.key("one", &forge).await.err();
        assert_eq!(old, Some(IssuerFault::UnknownKey));
    }

    #[tokio::test]
    async fn known_keys_hold_while_the_forge_cannot_be_asked() {
        let (double, _) = with_key("one").await;
        let (keys, forge) = (keys(&double, HASTY), forge(&double));
        keys.key("one", &forge).await.unwrap();
        double.world().trouble = Trouble::Status(502);
        keys.key("one", &forge).await.unwrap();
        let other = keys.key("two", &forge).await.err();
        assert!(matches!(
            other,
            Some(IssuerFault::Forge(ForgeFault::Unreachable(_)))
        ));
    }

    #[tokio::test]
    async fn a_forge_that_has_no_keys_for_it_is_no_forge_that_is_away() {
        for (status, is_away) in [(404, false), (502, true)] {
            let (double, _) = with_key("one").await;
            let (keys, forge) = (keys(&double, PATIENT), forge(&double));
            double.world().trouble = Trouble::Status(status);
            // The second is not asked about, and hears the same.
            for kid in ["one", "two"] {
                let fault = keys.key(kid, &forge).await.err().unwrap();
                match is_away {
                    true => assert!(matches!(fault, IssuerFault::Forge(_)), "{fault}"),
                    false => assert_eq!(fault, IssuerFault::SignsNothing),
                }
            }
            assert_eq!(double.asked("/.well-known/openid-configuration"), 1);
        }
    }

    #[tokio::test]
    async fn another_issuer_and_a_shared_secret_are_refused() {
        let (double, signing) = with_key("one").await;
        let (keys, forge) = (keys(&double, HASTY), forge(&double));
        double.world().issuer = Some("https://elsewhere.example".to_owned());
        let other = keys.key("one", &forge).await.err();
        let elsewhere = "https://elsewhere.example".to_owned();
        assert_eq!(other, Some(IssuerFault::ClaimsAnother(elsewhere)));
        double.world().issuer = None;
        double.world().keys = vec![json!({"alg": "HS256", "kty": "oct", "use": "sig"})];
        let shared = keys.key("one", &forge).await.err();
        assert_eq!(shared, Some(IssuerFault::Symmetric));
        // What is no key for signatures, or names no algorithm of ours, is none.
        let mut unsuited = signing.jwk();
        unsuited["use"] = json!("enc");
        let mut unnamed = signing.jwk();
        unnamed.as_object_mut().unwrap().remove("alg");
        let mut symmetric = signing.jwk();
        symmetric["alg"] = json!("HS256");
        for jwk in [unsuited, unnamed, symmetric, json!(1)] {
            double.world().keys = vec![jwk];
            let none = keys.key("one", &forge).await.err();
            assert_eq!(none, Some(IssuerFault::UnknownKey));
        }
    }
}
