mod right_tests;

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::poll;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::super::Wish;
use super::*;
use crate::domain::{
    Actor, Can, Grant, Only, Owner, OwnerName, Owners, Proof, Scopes, Standing, TextFault,
};
use crate::forge::double::*;
use crate::forge::{ForgeLimits, IndexRepository, Kind, Robot};

const ROBOT: &str = "f000000000000000000000000000000000000001";
const ALICE: &str = "a000000000000000000000000000000000000001";
/// Alice's, for reading alone.
const READER: &str = "a000000000000000000000000000000000000002";
/// Alice's, that does not tell her name.
const NAMELESS: &str = "a000000000000000000000000000000000000003";
const BOB: &str = "b000000000000000000000000000000000000001";
/// Of a stranger who may write to a repository of their own, and does not see the index.
const EVE: &str = "e000000000000000000000000000000000000001";
const JOB: &str = "c000000000000000000000000000000000000001";
const CLIENT: &str = "11111111-2222-3333-4444-555555555555";
const REGISTRY: &str = "https://crates.example";
/// The owners of a crate that belongs to a repository.
const SERDES: &str = "users = []\nrepository = { name = \"acme/serde\", id = 12 }";

/// A moment to which the times in tokens belong.
fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + secs).unwrap()
}

fn secret(text: impl Into<String>) -> Secret {
    Secret::new(text.into())
}

fn peer() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

fn world() -> World {
    let bobs = &["read:user", "write:repository", "read:organization"];
    let of_index = &[(1, "admin"), (7, "read"), (8, "read")];
    World {
        users: vec![
            User::new("robot", 1),
            User::new("alice", 7),
            User::new("bob", 8),
            User::new("eve", 9),
        ],
        tokens: [
            (ROBOT, Token::of_user(1, &["all"])),
            (ALICE, Token::of_user(7, &["all"])),
            (READER, Token::of_user(7, &["read:user", "read:repository"])),
            (NAMELESS, Token::of_user(7, &["write:repository"])),
            (BOB, Token::of_user(8, bobs)),
            (EVE, Token::of_user(9, &["all"])),
            (JOB, Token::of_job(7, 12)),
        ]
        .into(),
        repositories: vec![
            Repository::new(1, "acme/crates", true, of_index),
            Repository::new(12, "acme/serde", true, &[(1, "admin"), (8, "write")]),
        ],
        teams: vec![
            Team::new(2, "acme", "Owners", &[1]),
            Team::new(3, "acme", "Platform", &[8]),
        ],
        tasks: vec![task("push")],
        ..World::gitea()
    }
}

fn task(event: &str) -> Value {
    json!({"id": 7, "repository": "acme/serde", "run_number": 4, "event": event,
        "workflow_id": "release.yml", "head_sha": "ab".repeat(20)})
}

/// A gate before a forge, with keys of both issuers.
struct Bench {
    double: ForgeDouble,
    people: SigningKey,
    jobs: SigningKey,
    gate: Arc<Gate>,
}

fn holds() -> Holds {
    Holds {
        good: Duration::from_secs(3600),
        bad: Duration::from_secs(3600),
        unreachable: Duration::from_secs(7200),
        pause: Duration::ZERO,
        patience: Duration::from_secs(3600),
        late: Duration::ZERO,
    }
}

/// Everything is asked for anew.
fn forgetful() -> Holds {
    Holds {
        good: Duration::ZERO,
        bad: Duration::ZERO,
        ..holds()
    }
}

async fn bench(holds: Holds) -> Bench {
    bench_with(holds, |forge| forge).await
}

async fn bench_with(holds: Holds, knowing: impl FnOnce(Forge) -> Forge) -> Bench {
    let (people, jobs) = (SigningKey::new("people"), SigningKey::new("jobs"));
    let mut world = world();
    world.keys = vec![people.jwk()];
    world.job_keys = vec![jobs.jwk()];
    let double = ForgeDouble::start(world).await;
    let url = double.url();
    let robot = Robot::Token(secret(ROBOT));
    let forge = Forge::new(&url.parse().unwrap(), robot, ForgeLimits::default());
    let names = IssuerNames {
        root: url,
        client_id: Some(CLIENT.to_owned()),
        audience: REGISTRY.to_owned(),
    };
    let forge = Arc::new(knowing(forge));
    let index = "acme/crates".parse().unwrap();
    let gate = Arc::new(Gate::new(
        forge,
        index,
        names,
        holds,
        KeyPatience::default(),
    ));
    Bench {
        double,
        people,
        jobs,
        gate,
    }
}

fn owners(text: &str) -> Owners {
    Owners::parse(text).unwrap()
}

impl Bench {
    async fn reads(&self, token: &str) -> Result<(), GateFault> {
        self.gate.may_read(&secret(token), peer(), at(0)).await
    }

    /// With a token of ours that speaks for a person of the forge.
    async fn reads_as(&self, login: &str, id: u64) -> Result<(), GateFault> {
        let login = login.parse().unwrap();
        let guest = Guest {
            who: Who::Person(Person { login, id }),
            proof: GuestProof::Minted([0; 16].into()),
        };
        self.gate.may_read_as(&guest, at(0)).await
    }

    /// Lets the forge answer nothing before it is given a permit for each question.
    fn hold(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.double.world().trouble = Trouble::Held(Arc::clone(&gate));
        gate
    }

    /// Waits for the ends of all questions that go on beside.
    async fn are_answered(&self) {
        let all: Vec<_> = self.gate.remembered.beside().values().cloned().collect();
        for mut told in all {
            let _ = told.wait_for(Option::is_some).await;
        }
    }

    /// How often a look at a token came to be one at the forge, one at what is remembered, at what is stale, and none.
    fn looks(&self) -> [u64; 4] {
        let looked = self.gate.looked();
        let series = prometheus::core::Collector::collect(looked);
        assert_eq!(
            series[0].get_metric().len(),
            4,
            "all are there from the start"
        );
        ["asked", "remembered", "outlasted", "held_off"]
            .map(|look| looked.with_label_values(&[look]).get())
    }

    /// What a token comes to on a crate with these owners.
    async fn stands(
        &self,
        token: &str,
        owners: Option<&Owners>,
        can: Can,
    ) -> Result<Standing, GateFault> {
        let sources = "acme/serde".parse().unwrap();
        let guest = self.gate.guest(&secret(token), peer(), at(0)).await?;
        let wish = Wish {
            can,
            owners,
            creators: None,
            sources: Some(&sources),
        };
        self.gate.standing(&guest, &wish).await
    }

    /// Whether a token may publish, yank or own a crate with these owners.
    async fn may(&self, token: &str, file: &str, can: Can) -> bool {
        let owners = owners(file);
        match self.stands(token, Some(&owners), can).await {
            Ok(standing) => owners.admit(&standing, can),
            Err(_) => false,
        }
    }

    fn person(&self) -> Value {
        json!({"iss": self.double.url(), "sub": "7", "aud": [CLIENT], "iat": at(0).as_second(),
            "exp": at(3600).as_second(), "name": "alice", "preferred_username": "alice",
            "groups": ["acme", "acme:platform"]})
    }

    fn job(&self) -> Value {
        json!({"iss": format!("{}/api/actions", self.double.url()), "aud": REGISTRY,
            "sub": "repo:acme/serde:ref:refs/tags/v1", "iat": at(0).as_second(), "nbf": at(0).as_second(),
            "exp": at(3600).as_second(), "event_name": "push", "repository": "acme/serde",
            "repository_id": "12", "workflow": "release.yml", "run_id": "4", "sha": "ab".repeat(20),
            "ref": "refs/tags/v1", "ref_type": "tag"})
    }

    async fn guest_of(&self, token: &str, now: i64) -> Result<Guest, IdTokenFault> {
        match self.gate.guest(&secret(token), peer(), at(now)).await {
            Ok(guest) => Ok(guest),
            Err(GateFault::IdToken(fault)) => Err(fault),
            Err(fault) => panic!("{fault}"),
        }
    }

    /// What a person's token comes to with another value of a claim.
    async fn with(&self, claim: &str, value: Value) -> Result<Guest, IdTokenFault> {
        let claims = changed(self.person(), claim, value);
        self.guest_of(&self.people.sign(&claims), 0).await
    }

    async fn job_with(&self, claim: &str, value: Value) -> Result<Guest, IdTokenFault> {
        let claims = changed(self.job(), claim, value);
        self.guest_of(&self.jobs.sign(&claims), 0).await
    }
}

fn changed(mut claims: Value, claim: &str, value: Value) -> Value {
    let map = claims.as_object_mut().unwrap();
    match value {
        Value::Null => map.remove(claim),
        value => map.insert(claim.to_owned(), value),
    };
    claims
}

mod reading {
    use super::*;

    #[tokio::test]
    async fn who_reads_the_index_on_the_forge_reads_the_registry() {
        let bench = bench(holds()).await;
        for token in [ALICE, READER, BOB, NAMELESS] {
            assert_eq!(bench.reads(token).await, Ok(()), "{token}");
        }
        assert_eq!(bench.reads(EVE).await, Err(GateFault::MayNotRead));
        assert_eq!(bench.reads(JOB).await, Err(GateFault::MayNotRead));
        assert_eq!(bench.reads(&"0".repeat(40)).await, Err(GateFault::Unknown));
        // The repository is shown, its code is not.
        bench.double.world().repositories[0]
            .rights
            .push((9, "none"));
        let other = super::bench(holds()).await;
        other.double.world().repositories[0]
            .rights
            .push((9, "none"));
        assert_eq!(other.reads(EVE).await, Err(GateFault::MayNotRead));
    }

    #[tokio::test]
    async fn a_good_token_and_a_bad_one_are_asked_about_once() {
        let bench = bench(holds()).await;
        for _ in 0..3 {
            bench.reads(ALICE).await.unwrap();
            bench.reads(EVE).await.unwrap_err();
        }
        assert_eq!(bench.double.asked("/api/v1/repos/acme/crates"), 2);
        assert_eq!(bench.double.asked("/"), 2);
        assert_eq!(bench.looks(), [2, 4, 0, 0]);
    }

    #[tokio::test]
    async fn who_has_a_token_of_ours_reads_as_long_as_the_forge_lets_them() {
        let bench = bench(holds()).await;
        for _ in 0..3 {
            assert_eq!(bench.reads_as("alice", 7).await, Ok(()));
            let eve = bench.reads_as("eve", 9).await;
            assert_eq!(eve, Err(GateFault::MayNotRead));
        }
        for login in ["alice", "eve"] {
            let asked = format!("/api/v1/repos/acme/crates/collaborators/{login}/permission");
            assert_eq!(bench.double.asked(&asked), 1);
        }
        assert_eq!(bench.reads_as("bob", 8).await, Ok(()));
        assert_eq!(bench.gate.remembered(), 2);
        // No token has the place of a person, whatever its text is.
        assert!(bench.reads("person 7").await.is_err());
        // What our own account is not told is a fault of the set-up, unless all may read.
        let stranger = super::bench(holds()).await;
        stranger.double.world().repositories[0].rights.clear();
        stranger.double.world().teams.clear();
        let fault = stranger.reads_as("alice", 7).await;
        assert!(matches!(fault, Err(GateFault::Forge(_))), "{fault:?}");
        stranger.double.world().repositories[0].is_private = false;
        assert_eq!(stranger.reads_as("alice", 7).await, Ok(()));
    }

    #[tokio::test]
    async fn who_has_a_token_of_ours_reads_on_while_the_forge_is_away() {
        let bench = bench(forgetful()).await;
        bench.reads_as("alice", 7).await.unwrap();
        bench.double.world().trouble = Trouble::Status(502);
        assert_eq!(bench.reads_as("alice", 7).await, Ok(()));
        let new = bench.reads_as("bob", 8).await;
        assert!(matches!(new, Err(GateFault::Forge(_))), "{new:?}");
        assert_eq!(bench.looks(), [3, 0, 1, 0]);
    }

    #[tokio::test]
    async fn many_with_one_token_are_one_question() {
        let bench = bench(holds()).await;
        let gate = bench.hold();
        let opened = async {
            gate.add_permits(1);
        };
        let all = join_all((0..50).map(|_| bench.reads(ALICE)));
        let (all, ()) = tokio::join!(all, opened);
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(bench.double.asked("/"), 1);
        assert!(format!("{:?}", bench.gate).starts_with("Gate"));
    }

    #[tokio::test]
    async fn what_was_answered_is_asked_again_when_its_time_is_over() {
        let bench = bench(forgetful()).await;
        bench.reads(ALICE).await.unwrap();
        bench.double.world().repositories[0].rights.clear();
        assert_eq!(bench.reads(ALICE).await, Err(GateFault::MayNotRead));
        bench.double.world().repositories[0]
            .rights
            .push((7, "read"));
        assert_eq!(bench.reads(ALICE).await, Ok(()));
        assert_eq!(bench.double.asked("/"), 3);
    }

    #[tokio::test]
    async fn who_could_read_goes_on_while_the_forge_is_away() {
        let bench = bench(forgetful()).await;
        bench.reads(ALICE).await.unwrap();
        for trouble in [Trouble::Status(502), Trouble::Busy("0")] {
            bench.double.world().trouble = trouble;
            assert_eq!(bench.reads(ALICE).await, Ok(()));
            let new = bench.reads(BOB).await.unwrap_err();
            assert!(matches!(new, GateFault::Forge(_)), "{new}");
            let write = bench.stands(ALICE, None, Can::Publish).await.unwrap_err();
            assert!(matches!(write, GateFault::Forge(_)), "{write}");
        }
        // It is back, and it says no.
        bench.double.world().trouble = Trouble::None;
        bench.double.world().users[1].is_blocked = true;
        assert!(matches!(
            bench.reads(ALICE).await,
            Err(GateFault::Refused(_))
        ));
        bench.double.world().trouble = Trouble::Status(502);
        assert!(matches!(bench.reads(ALICE).await, Err(GateFault::Forge(_))));
    }

    #[tokio::test]
    async fn who_could_read_does_not_wait_for_a_forge_that_just_failed() {
        let patient = Holds {
            pause: Duration::from_secs(3600),
            ..forgetful()
        };
        let bench = bench(patient).await;
        bench.reads(ALICE).await.unwrap();
        bench.double.world().trouble = Trouble::Status(502);
        for _ in 0..5 {
            assert_eq!(bench.reads(ALICE).await, Ok(()));
        }
        assert_eq!(bench.double.asked("/"), 2);
    }

    #[tokio::test]
    async fn who_could_read_goes_on_while_the_forge_hangs_until_it_says_no() {
        let impatient = Holds {
            bad: Duration::from_secs(3600),
            patience: Duration::from_millis(1),
            ..forgetful()
        };
        let bench = bench(impatient).await;
        bench.reads(ALICE).await.unwrap();
        bench.reads_as("alice", 7).await.unwrap();
        for (is_blocked, answered) in [(false, 2), (true, 4)] {
            let gate = bench.hold();
            for _ in 0..3 {
                assert_eq!(bench.reads(ALICE).await, Ok(()));
                assert_eq!(bench.reads_as("alice", 7).await, Ok(()));
            }
            assert_eq!(bench.looks()[0], answered);
            bench.double.world().users[1].is_blocked = is_blocked;
            gate.add_permits(10);
            bench.are_answered().await;
        }
        for _ in 0..3 {
            let fault = bench.reads(ALICE).await;
            assert!(matches!(fault, Err(GateFault::Refused(_))), "{fault:?}");
        }
        // Of the token one, and of the person three, or two once she is blocked.
        let asked = bench.double.asked("/");
        assert_eq!(asked, (1 + 3) * 2 + 1 + 2, "one after the other");
        assert!(bench.gate.remembered.beside().is_empty());
        assert_eq!(bench.looks(), [6, 3, 12, 0]);
    }

    /// Alice and Bob could read a while ago, and a moment ago the forge failed.
    async fn of_a_forge_that_was_late() -> Bench {
        let once_late = Holds {
            bad: Duration::from_secs(3600),
            late: Duration::from_secs(3600),
            patience: Duration::from_secs(60),
            ..forgetful()
        };
        let bench = bench(once_late).await;
        for token in [ALICE, BOB] {
            bench.reads(token).await.unwrap();
        }
        bench.double.world().trouble = Trouble::Status(502);
        assert_eq!(bench.reads(ALICE).await, Ok(()));
        bench
    }

    #[tokio::test]
    async fn an_answer_in_time_is_waited_for_again() {
        let bench = of_a_forge_that_was_late().await;
        bench.double.world().trouble = Trouble::None;
        bench.double.world().repositories[0].rights.clear();
        assert_eq!(bench.reads(ALICE).await, Ok(()), "it is not waited for");
        bench.are_answered().await;
        for token in [ALICE, BOB] {
            assert_eq!(bench.reads(token).await, Err(GateFault::MayNotRead));
        }
    }

    #[tokio::test]
    async fn who_could_read_is_asked_about_beside_if_the_forge_was_late_a_moment_ago() {
        let bench = of_a_forge_that_was_late().await;
        let gate = bench.hold();
        for token in [ALICE, BOB, ALICE, BOB] {
            assert_eq!(bench.reads(token).await, Ok(()));
        }
        assert_eq!(bench.looks(), [3, 0, 5, 0], "nothing more is answered");
        bench.double.world().repositories[0].rights.clear();
        gate.add_permits(2);
        bench.are_answered().await;
        for token in [ALICE, BOB] {
            assert_eq!(bench.reads(token).await, Err(GateFault::MayNotRead));
        }
        assert_eq!(bench.double.asked("/"), 5);
    }

    #[tokio::test]
    async fn nor_does_anybody_else_whoever_met_it() {
        let patient = || Holds {
            pause: Duration::from_secs(3600),
            ..forgetful()
        };
        let bench = bench(patient()).await;
        bench.reads(ALICE).await.unwrap();
        bench.double.world().trouble = Trouble::Status(502);
        let write = bench.stands(ALICE, None, Can::Publish).await;
        write.unwrap_err();
        let asked = bench.double.asked("/");
        assert_eq!(bench.reads(ALICE).await, Ok(()));
        assert_eq!(bench.double.asked("/"), asked);

        let bench = super::bench(patient()).await;
        bench.reads_as("alice", 7).await.unwrap();
        bench.double.world().trouble = Trouble::Status(502);
        assert_eq!(bench.reads_as("alice", 7).await, Ok(()));
        let asked = bench.double.asked("/");
        assert_eq!(bench.reads_as("alice", 7).await, Ok(()));
        assert_eq!(bench.double.asked("/"), asked);
    }

    #[tokio::test]
    async fn what_is_odd_about_one_token_lets_nobody_else_read_on() {
        let patient = Holds {
            pause: Duration::from_secs(3600),
            ..forgetful()
        };
        let bench = bench(patient).await;
        bench.reads(ALICE).await.unwrap();
        bench.double.world().trouble = Trouble::Html;
        let odd = bench.reads(BOB).await.unwrap_err();
        assert!(matches!(odd, GateFault::Forge(_)), "{odd}");
        let odd = bench.stands(BOB, None, Can::Publish).await.unwrap_err();
        assert!(matches!(odd, GateFault::Forge(_)), "{odd}");
        bench.double.world().trouble = Trouble::None;
        bench.double.world().users[1].is_blocked = true;
        assert!(matches!(
            bench.reads(ALICE).await,
            Err(GateFault::Refused(_))
        ));
    }

    #[tokio::test]
    async fn a_forge_that_is_there_and_says_neither_yes_nor_no_lets_nobody_read_on() {
        let bench = bench(forgetful()).await;
        bench.reads(ALICE).await.unwrap();
        for trouble in [Trouble::Html, Trouble::Status(418), Trouble::Huge] {
            bench.double.world().trouble = trouble;
            let odd = bench.reads(ALICE).await;
            assert!(matches!(odd, Err(GateFault::Forge(_))), "{odd:?}");
        }
        // While it is away, who could read reads on.
        for trouble in [Trouble::Status(502), Trouble::None] {
            bench.double.world().trouble = trouble;
            assert_eq!(bench.reads(ALICE).await, Ok(()));
        }
    }

    #[tokio::test]
    async fn nor_if_it_takes_its_time_to_say_neither() {
        let bench = of_a_forge_that_was_late().await;
        bench.double.world().trouble = Trouble::Html;
        assert_eq!(bench.reads(ALICE).await, Ok(()), "it is not waited for");
        bench.are_answered().await;
        for _ in 0..2 {
            let odd = bench.reads(ALICE).await;
            assert!(matches!(odd, Err(GateFault::Forge(_))), "{odd:?}");
        }
        bench.double.world().trouble = Trouble::Status(502);
        for _ in 0..2 {
            assert_eq!(bench.reads(ALICE).await, Ok(()));
            bench.are_answered().await;
        }
        // It was away, so what it says next is not waited for.
        let _answers = bench.hold();
        assert_eq!(poll!(pin!(bench.reads(ALICE))), Poll::Ready(Ok(())));
    }

    #[tokio::test]
    async fn a_yes_does_not_hold_for_ever() {
        let short = Holds {
            unreachable: Duration::ZERO,
            ..forgetful()
        };
        let bench = bench(short).await;
        bench.reads(ALICE).await.unwrap();
        bench.double.world().trouble = Trouble::Status(502);
        assert!(matches!(bench.reads(ALICE).await, Err(GateFault::Forge(_))));
    }

    #[tokio::test]
    async fn a_storm_of_unknown_tokens_is_not_passed_on_and_known_ones_work() {
        let bench = bench(Holds {
            bad: Duration::from_secs(3600),
            ..forgetful()
        })
        .await;
        bench.reads(ALICE).await.unwrap();
        let start = Instant::now();
        let made_up: Vec<String> = (0..300).map(|number| format!("{number:040x}")).collect();
        let storm = join_all(made_up.iter().map(|token| bench.reads(token))).await;
        let is_refused = |answer: &&Result<_, _>| matches!(answer, Err(GateFault::TooMany { .. }));
        assert_eq!(storm.iter().filter(is_refused).count(), 280);
        assert_eq!(bench.double.asked("/"), 21);
        assert_eq!(bench.reads(ALICE).await, Ok(()));
        assert_eq!(bench.double.asked("/"), 22);
        bench.stands(ALICE, None, Can::Publish).await.unwrap();
        let signed = bench.people.sign(&bench.person());
        bench.reads(&signed).await.unwrap();
        bench.stands(&signed, None, Can::Publish).await.unwrap();
        let strangers = &bench.gate.strangers;
        assert!(
            strangers.look(peer(), start).is_err(),
            "no good one makes room for unknown ones"
        );
        // Another address is another's.
        let other = "192.0.2.2".parse().unwrap();
        let read = bench.gate.may_read(&secret(BOB), other, at(0)).await;
        assert_eq!(read, Ok(()));
    }

    /// As on a public registry, which nobody asks about reading.
    #[tokio::test]
    async fn who_wrote_a_moment_ago_writes_on_in_a_storm_until_the_forge_says_no() {
        let bench = bench(Holds {
            bad: Duration::from_secs(3600),
            ..forgetful()
        })
        .await;
        bench.stands(ALICE, None, Can::Publish).await.unwrap();
        let made_up = (0..25).map(|number| secret(format!("{number:040x}")));
        let mut answers = Vec::new();
        for token in made_up {
            answers.push(bench.gate.guest(&token, peer(), at(0)).await.unwrap_err());
        }
        assert_eq!(answers[19], GateFault::Unknown);
        assert!(matches!(answers[20], GateFault::TooMany { .. }));
        for _ in 0..3 {
            bench.stands(ALICE, None, Can::Publish).await.unwrap();
        }
        let new = bench.stands(BOB, None, Can::Publish).await;
        assert!(matches!(new, Err(GateFault::TooMany { .. })), "{new:?}");
        let asked = bench.double.asked("/");
        bench.double.world().tokens.remove(ALICE);
        for _ in 0..3 {
            let gone = bench.stands(ALICE, None, Can::Publish).await;
            assert_eq!(gone, Err(GateFault::Unknown));
        }
        assert_eq!(bench.double.asked("/"), asked + 1);
        assert!(
            !bench
                .gate
                .remembered
                .is_seen(&Remembered::hash(&secret(ALICE)))
        );
    }

    #[tokio::test]
    async fn a_token_of_ours_speaks_for_a_guest_if_the_forge_knows_them() {
        let bench = bench(holds()).await;
        let job = secret(bench.jobs.sign(&bench.job()));
        let job = bench.gate.vouched(&job, at(0)).await.unwrap().bearer;
        let login = || "alice".parse().unwrap();
        let person = Person {
            login: login(),
            id: 7,
        };
        for (bearer, name) in [
            (Actor::Local(login()), None),
            (Actor::Person(person), Some("alice")),
            (job, Some("acme/serde")),
        ] {
            let grant = Grant {
                bearer,
                token_id: [0; 16].into(),
                scopes: Scopes::all(),
                only: Only::default(),
            };
            let guest = Guest::behind(&grant).map(|guest| guest.to_string());
            assert_eq!(guest.as_deref(), name);
        }
    }

    #[test]
    fn what_a_key_of_ours_signed_is_not_shown_to_the_forge() {
        let key = "A".repeat(43).parse().unwrap();
        for fault in [
            TokenFault::TooLong,
            TokenFault::NotOurs,
            TokenFault::Algorithm,
            TokenFault::UnknownKey(key),
        ] {
            assert!(Gate::may_know(&fault), "{fault}");
        }
        for fault in [
            TokenFault::Signature,
            TokenFault::OtherRegistry,
            TokenFault::MissingClaim("exp"),
            TokenFault::ClaimForm("exp"),
            TokenFault::UnknownClaim,
            TokenFault::Expired(at(0)),
            TokenFault::Revoked([0; 16].into()),
            TokenFault::NotYetValid(at(0)),
        ] {
            assert!(!Gate::may_know(&fault), "{fault}");
        }
    }

    #[tokio::test]
    async fn a_persons_id_token_reads_if_they_may_until_it_ends() {
        let bench = bench(holds()).await;
        let token = secret(bench.people.sign(&bench.person()));
        let read = async |now| bench.gate.may_read(&token, peer(), at(now)).await;
        assert_eq!(read(3000).await, Ok(()), "it may be old for a read");
        assert_eq!(read(3500).await, Ok(()));
        // Her right, and whether it is her own.
        assert_eq!(bench.double.asked("/api/v1/repos/acme/crates/collab"), 2);
        let over = read(3660).await.unwrap_err();
        assert!(matches!(over, GateFault::IdToken(IdTokenFault::Expired(_))));
        let eve = changed(bench.person(), "sub", json!("9"));
        let eve = changed(eve, "preferred_username", json!("eve"));
        let eve = bench.reads(&bench.people.sign(&eve)).await;
        assert_eq!(eve, Err(GateFault::MayNotRead));
        // The name is that of another account by now.
        let renamed = changed(bench.person(), "sub", json!("99"));
        let renamed = bench.reads(&bench.people.sign(&renamed)).await;
        assert_eq!(renamed, Err(GateFault::MayNotRead));
    }

    #[tokio::test]
    async fn a_jobs_id_token_reads_what_everybody_may() {
        let bench = bench(forgetful()).await;
        let token = bench.jobs.sign(&bench.job());
        assert_eq!(bench.reads(&token).await, Err(GateFault::JobMayNotRead));
        bench.double.world().repositories[0].is_private = false;
        assert_eq!(bench.reads(&token).await, Ok(()));
    }
}

mod signed {
    use super::*;

    #[tokio::test]
    async fn a_good_one_says_who() {
        let bench = bench(holds()).await;
        let guest = bench.guest_of(&bench.people.sign(&bench.person()), 0).await;
        let guest = guest.unwrap();
        assert!(matches!(&guest.who, Who::Person(person) if person.id == 7));
        assert!(matches!(&guest.proof, GuestProof::Signed { groups, .. } if groups.len() == 2));
        let token = bench.jobs.sign(&bench.job());
        let guest = bench.guest_of(&token, 0).await.unwrap();
        assert_eq!(guest.to_string(), "acme/serde");
        assert!(matches!(guest.who, Who::Job(job) if job.repository_id == 12));
        for claim in ["groups", "name"] {
            bench.with(claim, Value::Null).await.unwrap();
        }
        bench.with("aud", json!(CLIENT)).await.unwrap();
    }

    #[tokio::test]
    async fn a_token_is_known_again_by_its_id_or_by_what_was_signed() {
        let bench = bench(holds()).await;
        let once = async |iat: i64, jti: Value| {
            let claims = changed(bench.person(), "iat", json!(at(iat).as_second()));
            let token = bench.people.sign(&changed(claims, "jti", jti));
            let vouched = bench.gate.vouched(&secret(token), at(0)).await;
            vouched.unwrap().once
        };
        assert_eq!(once(0, Value::Null).await, once(0, Value::Null).await);
        assert_ne!(once(0, Value::Null).await, once(-1, Value::Null).await);
        assert_eq!(once(0, json!("a")).await, once(-1, json!("a")).await);
        assert_ne!(once(0, json!("a")).await, once(0, json!("b")).await);
    }

    #[tokio::test]
    async fn a_person_is_in_a_thousand_groups_at_most() {
        let bench = bench(holds()).await;
        let groups = |count| json!(vec!["acme"; count]);
        bench.with("groups", groups(1_000)).await.unwrap();
        let fault = bench.with("groups", groups(1_001)).await.unwrap_err();
        assert_eq!(fault, IdTokenFault::Claim("groups"));
    }

    #[tokio::test]
    async fn a_token_of_another_application_or_issuer_is_refused() {
        let bench = bench(holds()).await;
        for audience in [
            json!(["another"]),
            json!([CLIENT, "another"]),
            json!([]),
            json!(""),
        ] {
            let fault = bench.with("aud", audience).await.unwrap_err();
            assert_eq!(fault, IdTokenFault::OtherAudience(CLIENT.to_owned()));
        }
        for issuer in ["https://evil.example", "", "http://127.0.0.1"] {
            let fault = bench.with("iss", json!(issuer)).await.unwrap_err();
            assert_eq!(fault, IdTokenFault::OtherIssuer);
        }
        let fault = bench.with("iss", Value::Null).await.unwrap_err();
        assert_eq!(fault, IdTokenFault::Foreign);
        // Each issuer signs with its own key, and says for whom.
        let fault = bench.guest_of(&bench.jobs.sign(&bench.person()), 0).await;
        assert!(matches!(
            fault,
            Err(IdTokenFault::Issuer(IssuerFault::UnknownKey))
        ));
        let fault = bench.job_with("aud", json!(CLIENT)).await.unwrap_err();
        assert_eq!(fault, IdTokenFault::OtherAudience(REGISTRY.to_owned()));
    }

    #[tokio::test]
    async fn tokens_for_the_forges_own_api_are_refused_with_a_hint() {
        let bench = bench(holds()).await;
        for (kind, word) in [(0, "access"), (1, "refresh")] {
            let claims =
                json!({"gnt": 1, "tt": kind, "iat": at(0).as_second(), "exp": at(60).as_second()});
            let token = bench.people.sign(&claims);
            let fault = bench.guest_of(&token, 0).await.unwrap_err();
            assert_eq!(fault, IdTokenFault::OAuth(word));
            assert!(
                fault
                    .to_string()
                    .contains("use an id_token or an access token")
            );
            let read = bench.reads(&token).await.unwrap_err();
            assert_eq!(read, GateFault::IdToken(IdTokenFault::OAuth(word)));
        }
        // Dressed as the other kind.
        for (claim, value) in [("gnt", json!(1)), ("tt", json!(0)), ("tt", json!(1))] {
            let fault = bench.with(claim, value).await.unwrap_err();
            assert!(matches!(fault, IdTokenFault::OAuth(_)), "{fault}");
        }
        assert_eq!(bench.double.asked("/"), 0, "nothing was shown to anybody");
    }

    #[tokio::test]
    async fn signatures_and_algorithms_cannot_be_chosen() {
        let bench = bench(holds()).await;
        let claims = bench.person();
        let header = |alg: &str| json!({"alg": alg, "kid": "people", "typ": "JWT"});
        let forged = sign_with_secret(&bench.people.public, &header("HS256"), &claims);
        let fault = bench.guest_of(&forged, 0).await.unwrap_err();
        assert_eq!(fault, IdTokenFault::Symmetric);
        let other = SigningKey::new("people");
        for token in [
            other.sign(&claims),
            sign_with_secret(&bench.people.public, &header("ES256"), &claims),
            bench.people.sign_as(&header("RS256"), &claims),
            bench.people.sign_as(&header("none"), &claims),
            bench.people.sign_as(&header("ES384"), &claims),
        ] {
            let fault = bench.guest_of(&token, 0).await.unwrap_err();
            assert_eq!(fault, IdTokenFault::Signature);
        }
        let good = bench.people.sign(&claims);
        let (rest, _) = good.rsplit_once('.').unwrap();
        let fault = bench.guest_of(&format!("{rest}."), 0).await.unwrap_err();
        assert_eq!(fault, IdTokenFault::Signature);
        for header in [
            json!({"alg": "ES256", "typ": "JWT"}),
            json!({"alg": "ES256", "kid": "people", "typ": "at+jwt"}),
            json!({"alg": "ES256", "kid": "people", "crit": ["exp"]}),
            json!({"kid": "people"}),
        ] {
            let token = bench.people.sign_as(&header, &claims);
            let fault = bench.guest_of(&token, 0).await.unwrap_err();
            assert_eq!(fault, IdTokenFault::Foreign, "{header}");
        }
        for text in ["", "a", "a.b", "a.b.c", "....", "ä.ä.ä"] {
            let fault = bench.guest_of(text, 0).await.unwrap_err();
            assert_eq!(fault, IdTokenFault::Foreign, "{text}");
        }
    }

    #[tokio::test]
    async fn times_are_kept_with_a_minute_of_patience() {
        let bench = bench(holds()).await;
        let token = bench.people.sign(&bench.person());
        let age = async |secs| bench.guest_of(&token, secs).await.map(|_| ());
        assert_eq!(age(-60).await, Ok(()));
        assert_eq!(age(-61).await, Err(IdTokenFault::NotYetValid(at(0))));
        assert_eq!(age(600).await, Ok(()));
        assert_eq!(age(601).await, Err(IdTokenFault::TooOld(at(0))));
        assert_eq!(age(3660).await, Err(IdTokenFault::Expired(at(3600))));
        let later = json!(at(61).as_second());
        let fault = bench.with("nbf", later).await.unwrap_err();
        assert_eq!(fault, IdTokenFault::NotYetValid(at(61)));
    }

    #[tokio::test]
    async fn claims_of_another_form_are_refused() {
        let bench = bench(holds()).await;
        for (claim, values) in [
            (
                "sub",
                vec![
                    Value::Null,
                    json!(7),
                    json!("0"),
                    json!("07"),
                    json!("+7"),
                    json!("-2"),
                    json!("alice"),
                ],
            ),
            (
                "preferred_username",
                vec![Value::Null, json!("a b"), json!("a\n"), json!(7)],
            ),
            ("exp", vec![Value::Null, json!("soon"), json!(1.5)]),
            ("iat", vec![Value::Null, json!(i64::MAX)]),
            ("nbf", vec![json!("now")]),
            ("aud", vec![Value::Null, json!(1)]),
            ("groups", vec![json!("acme"), json!([1])]),
        ] {
            for value in values {
                let fault = bench.with(claim, value.clone()).await.unwrap_err();
                assert_eq!(fault, IdTokenFault::Claim(claim), "{value}");
            }
        }
        for (claim, value) in [
            ("repository", json!("acme")),
            ("repository_id", json!(12)),
            ("workflow", json!(7)),
            ("run_id", Value::Null),
            ("sha", json!("<>")),
            ("event_name", Value::Null),
        ] {
            let fault = bench.job_with(claim, value).await.unwrap_err();
            assert_eq!(fault, IdTokenFault::Claim(claim));
        }
    }

    #[tokio::test]
    async fn a_job_of_a_pull_request_is_refused() {
        let bench = bench(holds()).await;
        for event in ["pull_request", "pull_request_target", "pull_request_sync"] {
            let fault = bench
                .job_with("event_name", json!(event))
                .await
                .unwrap_err();
            assert_eq!(fault, IdTokenFault::PullRequest);
        }
        bench
            .job_with("event_name", json!("workflow_dispatch"))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_job_of_which_an_older_forge_tells_nothing_hears_of_id_tokens() {
        let bench = bench(holds()).await;
        {
            let mut world = bench.double.world();
            world.is_forgejo = true;
            world.version = "15.0.3+gitea-1.22.0";
        }
        let fault = bench.gate.guest(&secret(JOB), peer(), at(0)).await;
        assert_eq!(fault.unwrap_err(), GateFault::NamelessJob);
        let guest = bench.guest_of(&bench.jobs.sign(&bench.job()), 0).await;
        assert!(matches!(guest.unwrap().who, Who::Job(_)));
    }

    #[tokio::test]
    async fn an_older_forge_leaves_the_number_of_the_repository_to_be_asked() {
        let bench = bench(holds()).await;
        let guest = bench.job_with("repository_id", Value::Null).await.unwrap();
        assert!(matches!(guest.who, Who::Job(job) if job.repository_id == 12));
        let claims = changed(bench.job(), "repository_id", Value::Null);
        let claims = changed(claims, "repository", json!("acme/unseen"));
        let unseen = secret(bench.jobs.sign(&claims));
        let fault = bench.gate.guest(&unseen, peer(), at(0)).await.unwrap_err();
        let hidden = GateFault::HiddenRepository("acme/unseen".parse().unwrap());
        assert_eq!(fault, hidden);
    }

    #[tokio::test]
    async fn without_a_number_of_ours_nobodys_token_is_for_us() {
        let mut bench = bench(holds()).await;
        Arc::get_mut(&mut bench.gate).unwrap().issuers.client_id = None;
        let fault = bench.guest_of(&bench.people.sign(&bench.person()), 0).await;
        assert_eq!(fault.unwrap_err(), IdTokenFault::NoClient);
    }
}

mod writing {
    use super::*;

    const ALICES: &str = "users = [{ login = \"alice\", id = 7 }]";
    const TEAMS: &str = "users = []\nteams = [{ name = \"acme:platform\", id = 3 }]";

    #[tokio::test]
    async fn an_owner_writes_with_a_token_that_may_write() {
        let bench = bench(holds()).await;
        for can in [Can::Publish, Can::Yank, Can::Own] {
            assert!(bench.may(ALICE, ALICES, can).await, "{can}");
            assert!(!bench.may(BOB, ALICES, can).await, "{can}");
        }
        let owners = owners(ALICES);
        let fault = bench.stands(READER, Some(&owners), Can::Publish).await;
        assert!(matches!(fault, Err(GateFault::ReadOnly(_))));
        let fault = bench.stands(NAMELESS, Some(&owners), Can::Publish).await;
        assert!(matches!(fault, Err(GateFault::NoName(words)) if words.contains("read:user")));
        let fault = bench.stands("no token", Some(&owners), Can::Publish).await;
        assert_eq!(fault, Err(IdTokenFault::Foreign.into()));
    }

    #[tokio::test]
    async fn a_write_asks_again_whatever_is_remembered() {
        let bench = bench(holds()).await;
        bench.reads(ALICE).await.unwrap();
        assert!(bench.may(ALICE, ALICES, Can::Publish).await);
        bench.double.world().users[1].is_blocked = true;
        let owners = owners(ALICES);
        let fault = bench
            .stands(ALICE, Some(&owners), Can::Publish)
            .await
            .unwrap_err();
        assert!(
            matches!(&fault, GateFault::Refused(words) if words.contains("prohibited")),
            "{fault}"
        );
        assert_eq!(
            bench.reads(ALICE).await,
            Ok(()),
            "what may be read is not asked yet"
        );
    }

    #[tokio::test]
    async fn who_took_the_name_of_an_owner_is_another() {
        let bench = bench(holds()).await;
        bench.double.world().users[1].login = "old";
        bench.double.world().users[3].login = "alice";
        bench.double.world().repositories[0]
            .rights
            .push((9, "read"));
        assert!(!bench.may(EVE, ALICES, Can::Publish).await);
        assert!(
            bench.may(ALICE, ALICES, Can::Publish).await,
            "under another name"
        );
        let forged = changed(bench.person(), "sub", json!("9"));
        assert!(
            !bench
                .may(&bench.people.sign(&forged), ALICES, Can::Publish)
                .await
        );
    }

    #[tokio::test]
    async fn a_new_crate_needs_the_right_to_read_the_index() {
        let bench = bench(holds()).await;
        let standing = bench.stands(ALICE, None, Can::Publish).await.unwrap();
        assert_eq!(
            standing.authenticated_via().as_str(),
            "forge token of user 7"
        );
        let fault = bench.stands(EVE, None, Can::Publish).await.unwrap_err();
        assert_eq!(fault, GateFault::MayNotRead);
        let fault = bench.stands(READER, None, Can::Publish).await.unwrap_err();
        assert!(matches!(fault, GateFault::ReadOnly(_)));
        let token = bench.people.sign(&bench.person());
        let standing = bench.stands(&token, None, Can::Publish).await.unwrap();
        assert_eq!(standing.authenticated_via().as_str(), "id-token of user 7");
    }

    #[tokio::test]
    async fn a_token_that_is_limited_to_what_is_public_is_told_so() {
        let bench = bench(holds()).await;
        let scopes = &["public-only", "write:repository", "read:user"];
        {
            let mut world = bench.double.world();
            world.version = "1.27.0";
            // Such a token is shown nothing of a private repository.
            world.tokens.insert(EVE, Token::of_user(9, scopes));
        }
        let fault = bench.stands(EVE, None, Can::Publish).await.unwrap_err();
        assert_eq!(fault, GateFault::PublicOnly);
    }

    #[tokio::test]
    async fn of_whom_the_policy_names_the_forge_is_asked_too() {
        let bench = bench(holds()).await;
        for (file, may) in [(TEAMS, true), (ALICES, false)] {
            let creators = owners(file);
            let wish = Wish {
                can: Can::Publish,
                owners: None,
                creators: Some(&creators),
                sources: None,
            };
            let guest = bench.gate.guest(&secret(BOB), peer(), at(0)).await.unwrap();
            let standing = bench.gate.standing(&guest, &wish).await.unwrap();
            assert_eq!(creators.admit(&standing, Can::Publish), may, "{file}");
        }
    }

    #[tokio::test]
    async fn of_fifty_teams_it_is_asked_who_is_in_there() {
        let bench = bench(holds()).await;
        // A token that does not tell its teams.
        let scopes = &["read:user", "write:repository"];
        bench.double.world().tokens.get_mut(BOB).unwrap().scopes = scopes;
        for (place, may) in [(1, true), (21, true), (50, true), (51, false)] {
            let teams = (1..=51).map(|number| match number == place {
                true => Team::new(100 + number, "acme", "His", &[8]),
                false => Team::new(100 + number, "acme", "Another", &[]),
            });
            bench.double.world().teams.truncate(1);
            bench.double.world().teams.extend(teams);
            let teams: Vec<String> = (1..=51)
                .map(|number| format!("{{ name = \"acme:t{number}\", id = {} }}", 100 + number))
                .collect();
            let owners = format!("users = []\nteams = [{}]", teams.join(", "));
            assert_eq!(bench.may(BOB, &owners, Can::Publish).await, may, "{place}");
            // Those that a signed token names come first.
            let bob = changed(bench.person(), "sub", json!("8"));
            let bob = changed(bob, "preferred_username", json!("bob"));
            let bob = changed(bob, "groups", json!(["acme", format!("acme:t{place}")]));
            let token = bench.people.sign(&bob);
            assert!(bench.may(&token, &owners, Can::Publish).await, "{place}");
        }
    }

    #[tokio::test]
    async fn members_of_an_owning_team_publish() {
        let bench = bench(holds()).await;
        assert!(bench.may(BOB, TEAMS, Can::Publish).await);
        assert!(bench.may(BOB, TEAMS, Can::Yank).await);
        assert!(!bench.may(BOB, TEAMS, Can::Own).await);
        assert!(!bench.may(ALICE, TEAMS, Can::Publish).await);
        // A token that does not tell its teams: our own account is in the organisation.
        let scopes = &["read:user", "write:repository"];
        bench.double.world().tokens.get_mut(BOB).unwrap().scopes = scopes;
        assert!(bench.may(BOB, TEAMS, Can::Publish).await);
        // A signed one need not name the team: what it was called when the owners were written is not what it is now.
        let bob = changed(bench.person(), "sub", json!("8"));
        let bob = changed(bob, "preferred_username", json!("bob"));
        assert!(
            bench
                .may(&bench.people.sign(&bob), TEAMS, Can::Publish)
                .await
        );
        let without = changed(bob, "groups", json!(["acme"]));
        assert!(
            bench
                .may(&bench.people.sign(&without), TEAMS, Can::Publish)
                .await
        );
        assert!(
            !bench
                .may(&bench.people.sign(&bench.person()), TEAMS, Can::Publish)
                .await
        );
    }

    #[tokio::test]
    async fn who_pushes_to_the_repository_publishes() {
        let bench = bench(holds()).await;
        assert!(bench.may(BOB, SERDES, Can::Publish).await);
        assert!(!bench.may(BOB, SERDES, Can::Own).await);
        assert!(!bench.may(ALICE, SERDES, Can::Publish).await);
        assert!(!bench.may(EVE, SERDES, Can::Publish).await);
        let bob = changed(bench.person(), "sub", json!("8"));
        let bob = changed(bob, "preferred_username", json!("bob"));
        assert!(
            bench
                .may(&bench.people.sign(&bob), SERDES, Can::Publish)
                .await
        );
        assert!(
            !bench
                .may(&bench.people.sign(&bench.person()), SERDES, Can::Publish)
                .await
        );
        // The right is there and the scope is not.
        let scopes = &["read:user", "read:repository"];
        bench.double.world().tokens.get_mut(BOB).unwrap().scopes = scopes;
        assert!(!bench.may(BOB, SERDES, Can::Publish).await);
        // The scope is there and the right is not: a public repository shows everybody the first step of a push.
        bench.double.world().repositories[1].is_private = false;
        assert!(!bench.may(EVE, SERDES, Can::Publish).await);
    }

    #[tokio::test]
    async fn who_does_not_see_the_index_writes_nothing_whatever_they_own() {
        for version in ["1.26.0", "1.27.0"] {
            let bench = bench(holds()).await;
            bench.double.world().version = version;
            bench.double.world().repositories[1]
                .rights
                .push((9, "write"));
            for file in [SERDES, "users = [{ login = \"eve\", id = 9 }]"] {
                let fault = bench.stands(EVE, Some(&owners(file)), Can::Publish).await;
                assert_eq!(fault, Err(GateFault::MayNotRead), "{version}: {file}");
            }
        }
    }

    #[tokio::test]
    async fn of_an_owner_no_more_is_asked() {
        let bench = bench(holds()).await;
        let file = format!("{ALICES}\n{}", SERDES.replace("users = []\n", ""));
        let file = format!("{file}\n{}", TEAMS.replace("users = []\n", ""));
        assert!(bench.may(ALICE, &file, Can::Publish).await);
        assert_eq!(bench.double.asked("/api/v1/user/teams"), 0);
        assert_eq!(bench.double.asked("/api/v1/repositories"), 0);
        assert!(bench.may(BOB, &file, Can::Publish).await);
        assert_eq!(bench.double.asked("/api/v1/user/teams"), 1);
        assert_eq!(bench.double.asked("/api/v1/repositories"), 0);
    }

    #[tokio::test]
    async fn an_archived_repository_lets_nobody_publish() {
        let bench = bench(holds()).await;
        let bob = changed(bench.person(), "sub", json!("8"));
        let bob = changed(bob, "preferred_username", json!("bob"));
        let signed_in = bench.people.sign(&bob);
        assert!(bench.may(&signed_in, SERDES, Can::Publish).await);
        bench.double.world().repositories[1].is_archived = true;
        for token in [BOB, JOB, &signed_in] {
            assert!(!bench.may(token, SERDES, Can::Publish).await, "{token}");
        }
        // That of the index is the reason, not the token.
        bench.double.world().repositories[0].is_archived = true;
        let fault = bench.stands(ALICE, None, Can::Publish).await;
        assert_eq!(fault, Err(GateFault::Archived));
    }

    #[tokio::test]
    async fn a_newer_forge_tells_what_a_token_is_limited_to() {
        let bench = bench(holds()).await;
        bench.double.world().version = "1.27.0";
        assert_eq!(bench.gate.forge.kind().await, Ok(Kind::Gitea(1, 27)));
        assert!(bench.may(ALICE, ALICES, Can::Publish).await);
        assert_eq!(bench.double.asked("/acme/crates.git"), 0);
        assert!(!bench.may(READER, ALICES, Can::Publish).await);
    }

    #[tokio::test]
    async fn a_job_publishes_for_its_own_repository_and_does_nothing_else() {
        let bench = bench(holds()).await;
        let owners = owners(SERDES);
        let signed = bench.jobs.sign(&bench.job());
        for (token, via) in [(JOB, "forge token"), (&*signed, "id-token")] {
            let standing = bench
                .stands(token, Some(&owners), Can::Publish)
                .await
                .unwrap();
            assert!(owners.admit(&standing, Can::Publish));
            let said = standing.authenticated_via();
            assert_eq!(said.as_str(), format!("job {via} of repository 12"));
            let Actor::Job(job) = standing.actor else {
                panic!("a job")
            };
            assert_eq!(
                (job.workflow.as_str(), job.run.as_str()),
                ("release.yml", "4")
            );
            for can in [Can::Yank, Can::Own] {
                let fault = bench.stands(token, Some(&owners), can).await.unwrap_err();
                assert_eq!(fault, GateFault::JobsPublish);
            }
            assert!(!bench.may(token, ALICES, Can::Publish).await, "{via}");
            let other = "users = []\nrepository = { name = \"acme/serde\", id = 1 }";
            assert!(!bench.may(token, other, Can::Publish).await, "{via}");
        }
    }

    #[tokio::test]
    async fn a_jobs_first_publish_makes_its_repository_the_owner() {
        let bench = bench(holds()).await;
        let fault = bench.stands(JOB, None, Can::Publish).await.unwrap_err();
        assert_eq!(fault, GateFault::MayNotRead, "the index is private");
        bench.double.world().repositories[0].is_private = false;
        for token in [JOB.to_owned(), bench.jobs.sign(&bench.job())] {
            let standing = bench.stands(&token, None, Can::Publish).await.unwrap();
            assert_eq!(
                Owners::first_of(&standing.actor).to_string(),
                format!("{SERDES}\n")
            );
        }
        // Another repository's job that names this one.
        bench.double.world().tokens.get_mut(JOB).unwrap().of = Holder::Job {
            task: 7,
            repository: 1,
        };
        let fault = bench.stands(JOB, None, Can::Publish).await.unwrap_err();
        assert_eq!(fault, GateFault::OtherRepository);
    }

    #[tokio::test]
    async fn the_token_of_a_job_of_a_pull_request_is_refused() {
        let bench = bench(holds()).await;
        let owners = owners(SERDES);
        for event in ["pull_request", "pull_request_target"] {
            bench.double.world().tasks = vec![task(event)];
            let fault = bench
                .stands(JOB, Some(&owners), Can::Publish)
                .await
                .unwrap_err();
            assert_eq!(fault, IdTokenFault::PullRequest.into());
        }
        // A job that the forge does not list may be one.
        bench.double.world().tasks.clear();
        let fault = bench
            .stands(JOB, Some(&owners), Can::Publish)
            .await
            .unwrap_err();
        assert_eq!(fault, GateFault::HiddenRun);
    }

    #[tokio::test]
    async fn a_workflow_that_no_commit_can_name_is_refused_and_its_name_is_the_reason() {
        let bench = bench(holds()).await;
        let owners = owners(SERDES);
        for (name, found) in [("rel<e>.yml", '<'), ("a\u{202e}.yml", '\u{202e}')] {
            bench.double.world().tasks[0]["workflow_id"] = json!(name);
            let fault = bench
                .stands(JOB, Some(&owners), Can::Publish)
                .await
                .unwrap_err();
            let odd = GateFault::OddWorkflow(TextFault::Character(found));
            assert_eq!(fault, odd);
            let claims = changed(bench.job(), "workflow", json!(name));
            let token = secret(bench.jobs.sign(&claims));
            let fault = bench.gate.vouched(&token, at(0)).await.unwrap_err();
            assert_eq!(fault, odd);
        }
    }

    #[tokio::test]
    async fn a_forge_that_tells_runs_needs_no_hint() {
        let bench = bench(holds()).await;
        let run = |trigger: &str| {
            json!({"index_in_repo": 9, "workflow_id": "b.yml", "commit_sha": "cd".repeat(20), "event": "push",
                "trigger_event": trigger, "is_fork_pull_request": false,
                "repository": {"id": 12, "full_name": "acme/serde", "private": true, "archived": false}})
        };
        {
            let mut world = bench.double.world();
            world.is_forgejo = true;
            world.version = "16.0.0+gitea-1.22.0";
            world.run = run("push");
        }
        let guest = bench.gate.guest(&secret(JOB), peer(), at(0)).await.unwrap();
        let owners = owners(SERDES);
        let wish = Wish {
            can: Can::Publish,
            owners: Some(&owners),
            creators: None,
            sources: None,
        };
        let standing = bench.gate.standing(&guest, &wish).await.unwrap();
        assert!(owners.admit(&standing, Can::Publish));
        assert_eq!(standing.proof, Proof::ForgeToken);
        bench.double.world().repositories[1].is_archived = true;
        let fault = bench.gate.standing(&guest, &wish).await.unwrap_err();
        assert_eq!(fault, GateFault::OtherRepository, "nobody writes there now");
        bench.double.world().run = run("pull_request");
        let fault = bench
            .gate
            .guest(&secret(JOB), peer(), at(0))
            .await
            .unwrap_err();
        assert_eq!(fault, IdTokenFault::PullRequest.into());
    }

    #[tokio::test]
    async fn owners_are_looked_up_and_what_is_not_there_is_said() {
        let bench = bench(holds()).await;
        let names = |texts: &[&str]| -> Vec<OwnerName> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let guest = bench.gate.guest(&secret(BOB), peer(), at(0)).await.unwrap();
        let found = bench
            .gate
            .owners(Some(&guest), &names(&["ALICE", "acme:platform"]))
            .await;
        let ids: Vec<u64> = found
            .unwrap()
            .iter()
            .map(|owner| match owner {
                Owner::User { id, .. } => id.unwrap(),
                Owner::Team { id, .. } => *id,
            })
            .collect();
        assert_eq!(ids, [7, 3]);
        for (name, sentence) in [
            ("carol", "no user `carol`"),
            ("acme:nosuch", "no team `acme:nosuch`"),
            ("nowhere:core", "no team `nowhere:core`"),
        ] {
            let fault = bench.gate.owners(None, &names(&[name])).await.unwrap_err();
            assert!(fault.to_string().contains(sentence), "{fault}");
        }
        // The forge shows organisations among its users.
        bench.double.world().users[3].login = "acme";
        let fault = bench.gate.owners(None, &names(&["acme"])).await;
        let organisation = GateFault::Organisation("acme".parse().unwrap());
        assert_eq!(fault, Err(organisation));
        // Who asks needs no account of the registry for it.
        bench.double.world().tokens.remove(ROBOT);
        let alice = names(&["alice"]);
        bench.gate.owners(None, &alice).await.unwrap_err();
        bench.gate.owners(Some(&guest), &alice).await.unwrap();
    }

    #[tokio::test]
    async fn no_token_is_seen_anywhere() {
        let bench = bench(holds()).await;
        let guest = bench
            .gate
            .guest(&secret(ALICE), peer(), at(0))
            .await
            .unwrap();
        let seen = format!("{guest:?} {guest} {:?}", bench.gate);
        assert!(!seen.contains(ALICE) && !seen.contains(ROBOT), "{seen}");
        assert!(seen.contains("Remembered") && seen.contains("Strangers"));
        for token in [
            READER,
            NAMELESS,
            EVE,
            "0123456789012345678901234567890123456789",
        ] {
            let fault = bench.stands(token, None, Can::Publish).await.unwrap_err();
            let seen = format!("{fault} {fault:?}");
            assert!(!seen.contains(token), "{seen}");
        }
    }
}

#[tokio::test]
async fn nobody_reads_as_long_as_it_is_not_known_whose_rights_they_have() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("number");
    std::fs::write(&file, "1\n").unwrap();
    let index = IndexRepository::open("acme/crates".parse().unwrap(), file).unwrap();
    let bench = bench_with(forgetful(), |forge| forge.with_index(index)).await;
    bench.reads_as("alice", 7).await.unwrap();
    // Another repository took the name.
    bench.double.world().repositories[0].id = 99;
    let fault = bench.reads_as("alice", 7).await;
    assert_eq!(fault, Err(GateFault::MayNotRead));
    bench.double.world().broken = Some(("/api/v1/repos/acme/crates", 502));
    let fault = bench.reads_as("bob", 8).await.unwrap_err();
    assert!(fault.is_away(), "{fault}");
}
