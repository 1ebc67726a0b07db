//! What somebody may do who shows the forge no token: by themselves, by a team, as everybody.

use super::*;

const DAVE: &str = "d000000000000000000000000000000000000001";
const CAROL: &str = "d000000000000000000000000000000000000002";
const FRANK: &str = "d000000000000000000000000000000000000003";

/// The people of the organisation, by what they may do: with the code, and with something else.
const READERS: u64 = 4;
const WRITERS: u64 = 5;
const TRIAGE: u64 = 6;

/// As [`world`], with teams that are open to both repositories.
fn teams(world: &mut World) {
    let all = &["read:user", "read:repository", "read:organization"];
    for (token, login, id) in [
        (DAVE, "dave", 10),
        (CAROL, "carol", 11),
        (FRANK, "frank", 12),
    ] {
        world.users.push(User::new(login, id));
        world.tokens.insert(token, Token::of_user(id, all));
    }
    let team =
        |id, name, member, units| Team::new(id, "acme", name, &[member]).open(units, &[1, 12]);
    world.teams.extend([
        team(
            READERS,
            "Readers",
            10,
            &[("repo.code", "read"), ("repo.issues", "write")],
        ),
        team(
            WRITERS,
            "Writers",
            12,
            &[("repo.code", "write"), ("repo.wiki", "read")],
        ),
        team(TRIAGE, "Triage", 11, &[("repo.issues", "write")]),
    ]);
}

async fn bench_of_teams() -> Bench {
    let bench = bench(forgetful()).await;
    teams(&mut bench.double.world());
    bench
}

impl Bench {
    fn id_token(&self, login: &str, id: u64) -> String {
        let claims = changed(self.person(), "sub", json!(id.to_string()));
        let claims = changed(claims, "preferred_username", json!(login));
        self.people.sign(&claims)
    }

    fn join(&self, team: u64, user: u64) {
        let mut world = self.double.world();
        let team = world.teams.iter_mut().find(|it| it.id == team);
        team.unwrap().members.push(user);
    }
}

#[tokio::test]
async fn what_a_team_may_do_with_code_its_members_may() {
    for is_forgejo in [false, true] {
        let bench = bench_of_teams().await;
        bench.double.world().is_forgejo = is_forgejo;
        for (login, id, reads, writes) in [
            ("dave", 10, true, false),
            ("frank", 12, true, true),
            // Forgejo says of her that she may write to the repository, for she may write to its issues.
            ("carol", 11, false, false),
            ("alice", 7, true, false),
            ("bob", 8, true, true),
            ("eve", 9, false, false),
            ("robot", 1, true, true),
        ] {
            let told = if reads {
                Ok(())
            } else {
                Err(GateFault::MayNotRead)
            };
            assert_eq!(bench.reads_as(login, id).await, told, "{login}");
            let token = bench.id_token(login, id);
            assert_eq!(bench.reads(&token).await, told, "{login}");
            let may = bench.may(&token, SERDES, Can::Publish).await;
            assert_eq!(may, writes, "{login}");
        }
    }
}

#[tokio::test]
async fn another_account_of_the_name_has_no_right_by_a_team() {
    let bench = bench_of_teams().await;
    assert_eq!(bench.reads_as("dave", 10).await, Ok(()));
    let other = bench.reads_as("dave", 99).await;
    assert_eq!(other, Err(GateFault::MayNotRead));
}

#[tokio::test]
async fn what_settles_most_is_asked_first() {
    let bench = bench_of_teams().await;
    let questions = async |login: &str, id| {
        let before = bench.double.world().asked.len();
        let _ = bench.reads_as(login, id).await;
        let asked = bench.double.world().asked[before..].to_vec();
        let last = |path: String| path.rsplit('/').next().unwrap().to_owned();
        asked.into_iter().map(last).collect::<Vec<_>>()
    };
    assert_eq!(questions("robot", 1).await, ["crates", "permission"]);
    let collaborator = ["crates", "permission", "alice"];
    assert_eq!(questions("alice", 7).await, collaborator);
    let member = ["crates", "permission", "teams", "dave"];
    assert_eq!(questions("dave", 10).await, member);
    let nobody = ["crates", "permission", "teams", "eve", "eve", "teams"];
    assert_eq!(questions("eve", 9).await, nobody);
    bench.double.world().repositories[0].is_private = false;
    assert_eq!(
        questions("eve", 9).await,
        ["crates", "permission", "crates"]
    );
}

#[tokio::test]
async fn who_is_in_a_team_that_our_own_account_does_not_see_is_not_known() {
    let bench = bench_of_teams().await;
    // It administers the repositories as a collaborator.
    bench.double.world().teams[0].members.clear();
    let hidden = Err(GateFault::HiddenTeam);
    // Outside of the organisation it is told nothing of anybody.
    for (login, id) in [("dave", 10), ("frank", 12), ("eve", 9)] {
        assert_eq!(bench.reads_as(login, id).await, hidden, "{login}");
    }
    assert_eq!(bench.reads_as("alice", 7).await, Ok(()));
    bench.join(READERS, 1);
    assert_eq!(bench.reads_as("dave", 10).await, Ok(()));
    // Of the other team it is still told nothing; but who is not in the organisation is in none.
    for (login, id) in [("frank", 12), ("carol", 11)] {
        assert_eq!(bench.reads_as(login, id).await, hidden, "{login}");
    }
    assert_eq!(bench.reads_as("eve", 9).await, Err(GateFault::MayNotRead));
    let frank = bench.id_token("frank", 12);
    assert!(!bench.may(&frank, SERDES, Can::Publish).await);
    bench.join(WRITERS, 1);
    assert_eq!(bench.reads_as("frank", 12).await, Ok(()));
    assert!(bench.may(&frank, SERDES, Can::Publish).await);
    let carol = bench.reads_as("carol", 11).await;
    assert_eq!(carol, Err(GateFault::MayNotRead));
    // A token that may not look into organisations.
    let scopes = &["write:repository", "read:user"];
    bench.double.world().tokens.get_mut(ROBOT).unwrap().scopes = scopes;
    assert_eq!(bench.reads_as("dave", 10).await, hidden);
    assert_eq!(bench.reads_as("alice", 7).await, Ok(()));
}

#[tokio::test]
async fn of_very_many_teams_some_are_asked_about() {
    let bench = bench_of_teams().await;
    {
        let mut world = bench.double.world();
        let more = (100..160)
            .map(|id| Team::new(id, "acme", "More", &[]).open(&[("repo.code", "read")], &[1]));
        let mut more: Vec<Team> = more.collect();
        more[59].members.push(11);
        world.teams.extend(more);
    }
    assert_eq!(bench.reads_as("dave", 10).await, Ok(()));
    let carol = bench.reads_as("carol", 11).await;
    assert_eq!(carol, Err(GateFault::HiddenTeam));
    assert_eq!(bench.reads_as("eve", 9).await, Err(GateFault::MayNotRead));
    // One question that was a yes, and of the two others fifty each.
    assert_eq!(bench.double.asked("/api/v1/teams/"), 1 + 50 + 50);
}

/// What is answered is what the forge shows the person itself, or that it is not known.
#[tokio::test]
async fn nobody_reads_who_may_not_nor_the_other_way_round() {
    let people = [
        (ALICE, "alice", 7),
        (DAVE, "dave", 10),
        (CAROL, "carol", 11),
        (FRANK, "frank", 12),
        (EVE, "eve", 9),
    ];
    let (mut known, mut unknown) = (0, 0);
    for case in 0..8 {
        let [is_forgejo, is_internal, is_restricted] = [1, 2, 4].map(|bit| case & bit != 0);
        let bench = bench_of_teams().await;
        {
            let mut world = bench.double.world();
            world.is_forgejo = is_forgejo;
            world.repositories[0].is_internal = is_internal;
            world.repositories[0].is_private = !is_internal;
            for user in &mut world.users {
                user.is_restricted = is_restricted;
            }
            // Frank is in the organisation, and in no team that has to do with it.
            world.teams[3].repositories = vec![12];
        }
        for (token, login, id) in people {
            let shown = bench.reads(token).await;
            let told = bench.reads_as(login, id).await;
            if told == Err(GateFault::HiddenTeam) {
                let is_carol = login == "carol" && is_forgejo && is_internal;
                assert!(is_carol, "{login} in {case}");
                unknown += 1;
            } else {
                assert_eq!(told, shown, "{login} in {case}");
                known += 1;
            }
        }
    }
    // Whether she is restricted.
    assert_eq!((known, unknown), (38, 2));
}

#[tokio::test]
async fn a_repository_of_an_account_has_no_teams() {
    let bench = bench(forgetful()).await;
    bench.double.world().teams.clear();
    assert_eq!(bench.reads_as("alice", 7).await, Ok(()));
    assert_eq!(bench.reads_as("eve", 9).await, Err(GateFault::MayNotRead));
    let bob = bench.id_token("bob", 8);
    assert!(bench.may(&bob, SERDES, Can::Publish).await);
    let alice = bench.id_token("alice", 7);
    assert!(!bench.may(&alice, SERDES, Can::Publish).await);
}

#[tokio::test]
async fn a_forge_that_fails_in_the_midst_has_said_neither() {
    for (login, id) in [("alice", 7), ("dave", 10), ("carol", 11), ("eve", 9)] {
        let bench = bench_of_teams().await;
        let _ = bench.reads_as(login, id).await;
        let asked: Vec<String> = bench.double.world().asked.clone();
        assert!(asked.len() >= 3, "{asked:?}");
        for path in asked {
            let path: &'static str = path.leak();
            for status in [500, 502, 503, 418] {
                let bench = bench_of_teams().await;
                bench.double.world().broken = Some((path, status));
                let told = bench.reads_as(login, id).await;
                let is_so = matches!(told, Err(GateFault::Forge(_)));
                assert!(is_so, "{login}, {path}, {status}: {told:?}");
            }
        }
    }
    // So it is with who pushes.
    let bench = bench_of_teams().await;
    let frank = bench.id_token("frank", 12);
    let owners = owners(SERDES);
    for path in [
        "/api/v1/repositories/12",
        "/api/v1/repos/acme/serde/collaborators/frank/permission",
        "/api/v1/repos/acme/serde/teams",
    ] {
        bench.double.world().broken = Some((path, 502));
        let told = bench.stands(&frank, Some(&owners), Can::Publish).await;
        assert!(matches!(told, Err(GateFault::Forge(_))), "{path}: {told:?}");
    }
    bench.double.world().broken = None;
    assert!(bench.may(&frank, SERDES, Can::Publish).await);
}

#[tokio::test]
async fn a_repository_whose_code_is_switched_off_is_read_by_nobody() {
    let bench = bench_of_teams().await;
    // So our own account is shown that, though it administers: here, as nobody else does.
    bench.double.world().repositories[0].has_code = false;
    for (login, id) in [("robot", 1), ("alice", 7), ("dave", 10)] {
        let told = bench.reads_as(login, id).await;
        assert_eq!(told, Err(GateFault::MayNotRead), "{login}");
    }
}
