//! Tokens of ours that speak for guests, over a real socket: a double of the forge signs what they are made from.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::serve::ServeLimits;
use super::*;
use crate::app::App;
use crate::auth::{Gate, Holds, IssuerNames, Spent};
use crate::config::{Arguments, Config, Environment};
use crate::domain::{Cksum, Secret, Visibility};
use crate::forge::double::*;
use crate::forge::{Forge, ForgeLimits, KeyPatience, Robot};
use crate::publish::tarball_builder::Tarball;

mod workflow_tests;

const ROBOT: &str = "f000000000000000000000000000000000000001";
const ALICE: &str = "a000000000000000000000000000000000000001";
const CLIENT: &str = "11111111-2222-3333-4444-555555555555";
const TOKENS: &str = "api/v1/trusted_publishing/tokens";
const COMMIT: &str = "abababababababababababababababababababab";

struct Bench {
    double: ForgeDouble,
    people: SigningKey,
    jobs: SigningKey,
    root: String,
    http: Client,
    server: JoinHandle<()>,
    folder: TempDir,
}

fn world() -> World {
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
        ]
        .into(),
        repositories: vec![
            Repository::new(1, "acme/crates", false, &[(1, "admin"), (7, "read")]),
            Repository::new(12, "acme/serde", true, &[(1, "admin")]),
        ],
        teams: vec![
            Team::new(2, "acme", "Owners", &[1]),
            Team::new(3, "acme", "core", &[7, 8]),
        ],
        ..World::gitea()
    }
}

fn gate(double: &ForgeDouble, audience: String) -> Arc<Gate> {
    let robot = Robot::Token(Secret::new(ROBOT.to_owned()));
    let url = double.url();
    let names = IssuerNames {
        root: url.clone(),
        client_id: Some(CLIENT.to_owned()),
        audience,
    };
    let forge = Forge::new(&url.parse().unwrap(), robot, ForgeLimits::default());
    let index = "acme/crates".parse().unwrap();
    let holds = Holds {
        good: Duration::ZERO,
        bad: Duration::ZERO,
        patience: Duration::from_secs(3600),
        ..Holds::with_unreachable(Duration::from_secs(3600))
    };
    let patience = KeyPatience::default();
    Arc::new(Gate::new(Arc::new(forge), index, names, holds, patience))
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

/// A crate file, and its checksum.
fn crate_file(name: &str, version: &str, about: &str) -> (Vec<u8>, String) {
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n\
         description = \"{about}\"\nlicense = \"MIT\"\n"
    );
    let file = Tarball::of_crate(name, version, &manifest).finish();
    let cksum = Cksum::from(<[u8; 32]>::from(Sha256::digest(&file)));
    (file, cksum.to_string())
}

impl Bench {
    async fn start(visibility: Visibility) -> Self {
        let (people, jobs) = (SigningKey::new("people"), SigningKey::new("jobs"));
        let mut world = world();
        world.repositories[0].is_private = visibility == Visibility::Private;
        world.keys = vec![people.jwk()];
        world.job_keys = vec![jobs.jwk()];
        let double = ForgeDouble::start(world).await;
        let folder = tempfile::tempdir().unwrap();
        let (root, server) = Self::serve(&folder, visibility, &double).await;
        let http = Client::builder().no_proxy().build().unwrap();
        Self {
            double,
            people,
            jobs,
            root,
            http,
            server,
            folder,
        }
    }

    async fn serve(
        folder: &TempDir,
        visibility: Visibility,
        double: &ForgeDouble,
    ) -> (String, JoinHandle<()>) {
        let arguments = Arguments {
            data: Some(folder.path().join("data")),
            visibility: Some(visibility),
            ..Arguments::default()
        };
        let config = Config::load(&arguments, &Environment::default(), folder.path()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let limits = ServeLimits::from(&config.http);
        let mut app = App::open(config, address).unwrap();
        app.gate = Some(gate(double, format!("http://{address}")));
        let routes = routes(Arc::new(app));
        let server = tokio::spawn(serve(listener, routes, limits, std::future::pending()));
        (format!("http://{address}/crates"), server)
    }

    /// Its address, as the forge is told for whom an id-token shall be.
    fn registry(&self) -> &str {
        self.root.strip_suffix("/crates").unwrap()
    }

    fn job(&self) -> Value {
        json!({"iss": format!("{}/api/actions", self.double.url()), "aud": self.registry(), "jti": "1",
            "sub": "repo:acme/serde:ref:refs/tags/v1", "iat": now(), "nbf": now(), "exp": now() + 3600,
            "event_name": "push", "repository": "acme/serde", "repository_id": "12",
            "workflow": "release.yml", "run_id": "4", "sha": COMMIT})
    }

    fn person(&self, login: &str, id: u64) -> String {
        self.people.sign(
            &json!({"iss": self.double.url(), "sub": id.to_string(), "aud": [CLIENT],
            "iat": now(), "exp": now() + 3600, "preferred_username": login}),
        )
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Vec<u8>,
    ) -> (StatusCode, String) {
        let request = self.http.request(method, format!("{}/{path}", self.root));
        let request = match token {
            "" => request,
            token => request.bearer_auth(token),
        };
        let answer = request.body(body).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    async fn exchange(&self, asked: &Value) -> (StatusCode, String) {
        let body = asked.to_string().into_bytes();
        self.ask(Method::POST, TOKENS, "", body).await
    }

    /// The token that is got so.
    async fn token(&self, asked: &Value) -> String {
        let (status, text) = self.exchange(asked).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer.as_object().unwrap().len(), 1, "{text}");
        answer["token"].as_str().unwrap().to_owned()
    }

    async fn publish(&self, name: &str, version: &str, token: &str) -> (StatusCode, String) {
        let (file, _) = crate_file(name, version, "A crate of a test");
        self.upload(name, version, file, token).await
    }

    async fn upload(
        &self,
        name: &str,
        version: &str,
        file: Vec<u8>,
        token: &str,
    ) -> (StatusCode, String) {
        let metadata = json!({"name": name, "vers": version}).to_string();
        let mut body = Vec::new();
        for part in [metadata.as_bytes(), &file] {
            body.extend_from_slice(&u32::try_from(part.len()).unwrap().to_le_bytes());
            body.extend_from_slice(part);
        }
        self.ask(Method::PUT, "api/v1/crates/new", token, body)
            .await
    }

    /// A crate that the repository of the job has made.
    async fn job_creates(&self, name: &str) {
        let mut claims = self.job();
        claims["jti"] = json!(format!("creates {name}"));
        let (status, text) = self.publish(name, "0.0.1", &self.jobs.sign(&claims)).await;
        assert_eq!(status, StatusCode::OK, "{text}");
    }

    /// The newest commit as git shows it.
    fn newest(&self) -> String {
        let repository = self.folder.path().join("data/index.git");
        let shown = Command::new("git")
            .arg("-C")
            .arg(repository)
            .args(["log", "-1", "--format=%an%n%B", "refs/heads/main"])
            .output()
            .unwrap();
        String::from_utf8(shown.stdout).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_id_token_is_exchanged_for_one_of_its_crates_and_the_commit_names_the_run() {
    let bench = Bench::start(Visibility::Public).await;
    bench.job_creates("a").await;
    assert_eq!(bench.publish("b", "1.0.0", ALICE).await.0, StatusCode::OK);
    let token = bench
        .token(&json!({"jwt": bench.jobs.sign(&bench.job())}))
        .await;
    let told = claims(&token);
    assert_eq!(
        (&told["can"], &told["crates"]),
        (&json!(["publish"]), &json!(["a"]))
    );
    assert_eq!(
        told["exp"].as_i64().unwrap() - told["iat"].as_i64().unwrap(),
        900
    );

    let (status, text) = bench.publish("a", "1.0.0", &token).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let commit = bench.newest();
    let id = told["jti"].as_str().unwrap();
    for line in [
        "acme/serde",
        "publish a 1.0.0",
        "Published-by: acme/serde",
        &format!("Authenticated-via: job token {id} of repository 12"),
        "CI-workflow: release.yml",
        "CI-run: 4",
        &format!("CI-commit: {COMMIT}"),
    ] {
        assert!(
            commit.lines().any(|found| found == line),
            "{line}: {commit}"
        );
    }
    // Crates of others, and other things than publishing, are not its.
    for name in ["b", "c"] {
        let (status, text) = bench.publish(name, "1.0.1", &token).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(text.contains("limited to `a`"), "{text}");
    }
    let yank = "api/v1/crates/a/1.0.0/yank";
    let (status, text) = bench.ask(Method::DELETE, yank, &token, vec![]).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(
        text.contains("may not `yank`; it allows `publish`"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_of_a_job_is_exchanged_once_however_it_is_signed() {
    let mut bench = Bench::start(Visibility::Public).await;
    bench.job_creates("a").await;
    let mut without_id = bench.job();
    without_id.as_object_mut().unwrap().remove("jti");
    for claims in [bench.job(), without_id] {
        let first = bench.jobs.sign(&claims);
        bench.token(&json!({"jwt": first, "crates": ["a"]})).await;
        // The same again, with another signature that is as good.
        let second = bench.jobs.sign(&claims);
        assert_ne!(first, second);
        for jwt in [&first, &second] {
            let (status, text) = bench.exchange(&json!({"jwt": jwt})).await;
            assert_eq!(status, StatusCode::FORBIDDEN);
            assert!(
                text.contains("(its claim `jti`) was exchanged before"),
                "{text}"
            );
            // Nor is it good by itself, for more than it was exchanged for.
            let (status, text) = bench.publish("b", "1.0.0", jwt).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED);
            assert!(text.contains("good for nothing else"), "{text}");
        }
    }
    // Nor after a restart, which has no memory but the disk.
    bench.server.abort();
    let _ = (&mut bench.server).await;
    let (root, server) = Bench::serve(&bench.folder, Visibility::Public, &bench.double).await;
    (bench.root, bench.server) = (root, server);
    let jwt = bench.jobs.sign(&bench.job());
    let (status, text) = bench.exchange(&json!({"jwt": jwt})).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{text}");
    // What was refused is not spent: it may be asked again for less.
    let mut claims = bench.job();
    claims["jti"] = json!("2");
    let jwt = bench.jobs.sign(&claims);
    let refused = bench.exchange(&json!({"jwt": jwt, "can": ["yank"]})).await;
    assert_eq!(refused.0, StatusCode::FORBIDDEN);
    bench.token(&json!({"jwt": jwt})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_that_another_server_exchanged_is_good_for_nothing_here() {
    let bench = Bench::start(Visibility::Public).await;
    bench.job_creates("a").await;
    let jwt = bench.jobs.sign(&bench.job());
    let now = Timestamp::now();
    // What another server does that shares the folder.
    let vouched = gate(&bench.double, bench.registry().to_owned());
    let vouched = { vouched.vouched(&Secret::new(jwt.clone()), now).await }.unwrap();
    let theirs = Spent::open(bench.folder.path().join("data/spent"), now).unwrap();
    theirs.spend(vouched.once, vouched.until, now).unwrap();
    let (status, text) = bench.publish("b", "1.0.0", &jwt).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(text.contains("good for nothing else"), "{text}");
    let (status, text) = bench.exchange(&json!({"jwt": jwt, "crates": ["a"]})).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("was exchanged before"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_which_claim_did_not_match() {
    let bench = Bench::start(Visibility::Public).await;
    bench.job_creates("a").await;
    let with = |claim: &str, value: Value| {
        let mut claims = bench.job();
        claims[claim] = value;
        json!({"jwt": bench.jobs.sign(&claims)})
    };
    let unauthorized = StatusCode::UNAUTHORIZED;
    for (claim, value, status) in [
        (
            "iss",
            json!("https://evil.example/api/actions"),
            unauthorized,
        ),
        ("aud", json!("https://other.example"), unauthorized),
        ("exp", json!(now() - 120), unauthorized),
        ("iat", json!(now() - 700), unauthorized),
        ("nbf", json!(now() + 120), unauthorized),
        ("event_name", json!("pull_request"), unauthorized),
        ("repository", json!("nothing"), unauthorized),
        ("workflow", json!(7), unauthorized),
        ("sha", Value::Null, unauthorized),
        ("jti", json!(7), unauthorized),
        ("repository_id", json!("13"), StatusCode::FORBIDDEN),
    ] {
        let (answered, text) = bench.exchange(&with(claim, value)).await;
        assert_eq!(answered, status, "{claim}: {text}");
        assert!(text.contains(&format!("`{claim}`")), "{claim}: {text}");
    }
    assert_eq!(bench.publish("b", "1.0.0", ALICE).await.0, StatusCode::OK);
    let mut asked = with("jti", json!("9"));
    asked["crates"] = json!(["a", "b"]);
    let (status, text) = bench.exchange(&asked).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let told = "the crate `b` does not belong to the repository 12, which the claim `repository_id` names (`acme/serde`)";
    assert!(text.contains(told), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_without_a_crate_names_the_one_that_it_creates() {
    let bench = Bench::start(Visibility::Public).await;
    let jwt = bench.jobs.sign(&bench.job());
    let (status, text) = bench.exchange(&json!({"jwt": jwt})).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(
        text.contains("no crate belongs to the repository 12"),
        "{text}"
    );
    let (status, text) = bench.exchange(&json!({"jwt": jwt, "crates": ["*"]})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("`*` stands for several"), "{text}");
    let token = bench.token(&json!({"jwt": jwt, "crates": ["fresh"]})).await;
    let (status, text) = bench.publish("other", "1.0.0", &token).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{text}");
    let (status, text) = bench.publish("fresh", "1.0.0", &token).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    // Now it belongs to the repository.
    let mut claims = bench.job();
    claims["jti"] = json!("2");
    let token = bench.token(&json!({"jwt": bench.jobs.sign(&claims)})).await;
    assert_eq!(
        bench.publish("fresh", "1.0.1", &token).await.0,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_registry_tells_no_job_which_crates_there_are() {
    let bench = Bench::start(Visibility::Private).await;
    let (status, text) = bench.publish("theirs", "1.0.0", ALICE).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let jwt = bench.jobs.sign(&bench.job());
    let mut told = Vec::new();
    for name in ["theirs", "nobodys"] {
        let (status, text) = bench.exchange(&json!({"jwt": jwt, "crates": [name]})).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        told.push(text.replace(name, "NAME"));
    }
    assert_eq!(told[0], told[1]);
    let (status, text) = bench.exchange(&json!({"jwt": ALICE})).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_given_back_is_good_no_more() {
    let bench = Bench::start(Visibility::Public).await;
    bench.job_creates("a").await;
    let token = bench
        .token(&json!({"jwt": bench.jobs.sign(&bench.job())}))
        .await;
    let give_back = async |token: &str| bench.ask(Method::DELETE, TOKENS, token, vec![]).await;
    assert_eq!(give_back("").await.0, StatusCode::UNAUTHORIZED);
    let (status, text) = give_back(ALICE).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("got by an exchange"), "{text}");
    assert_eq!(
        give_back(&token).await,
        (StatusCode::NO_CONTENT, String::new())
    );
    for (status, text) in [
        bench.publish("a", "1.0.0", &token).await,
        give_back(&token).await,
    ] {
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert!(text.contains("was given back"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_made_from_an_id_token_outlives_it() {
    let bench = Bench::start(Visibility::Public).await;
    bench.job_creates("a").await;
    let end = now() + 120;
    let mut job = bench.job();
    job["exp"] = json!(end);
    let token = bench.token(&json!({"jwt": bench.jobs.sign(&job)})).await;
    assert_eq!(claims(&token)["exp"], end);
    // One whose end is a moment ago, within what clocks may differ, is no source of a token.
    job["exp"] = json!(now() - 5);
    job["jti"] = json!("2");
    let (status, text) = bench.exchange(&json!({"jwt": bench.jobs.sign(&job)})).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(text.contains("claim `exp`"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_token_is_for_what_it_was_asked_for_alone() {
    let bench = Bench::start(Visibility::Public).await;
    let jwt = bench.person("alice", 7);
    let (status, text) = bench.exchange(&json!({"jwt": jwt})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("say what the token shall allow"), "{text}");
    let (file, cksum) = crate_file("a", "1.0.0", "A crate of a test");
    let asked =
        json!({"jwt": jwt, "can": ["publish"], "crates": ["a"], "vers": "1.0.0", "cksum": cksum});
    let token = bench.token(&asked).await;
    let (other, _) = crate_file("a", "1.0.0", "Another crate");
    for (name, version, file, told) in [
        ("b", "1.0.0", file.clone(), "limited to `a`"),
        (
            "a",
            "1.0.1",
            file.clone(),
            "for the version 1.0.0 alone, not for 1.0.1",
        ),
        (
            "a",
            "1.0.0",
            other,
            &*format!("for the file with the SHA-256 {cksum} alone"),
        ),
    ] {
        let (status, text) = bench.upload(name, version, file, &token).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(text.contains(told), "{text}");
    }
    let (status, text) = bench.upload("a", "1.0.0", file, &token).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let id = claims(&token)["jti"].as_str().unwrap().to_owned();
    let commit = bench.newest();
    let via = format!("Authenticated-via: token {id} of user 7");
    assert!(
        commit.starts_with("alice\n") && commit.contains(&via),
        "{commit}"
    );
    let owners = bench
        .ask(Method::GET, "api/v1/crates/a/owners", "", vec![])
        .await;
    let owners: Value = serde_json::from_str(&owners.1).unwrap();
    assert_eq!(owners["users"][0]["id"], 7, "{owners}");

    let yank = |version: &str| format!("api/v1/crates/a/{version}/yank");
    let asked = json!({"jwt": jwt, "can": ["yank"], "crates": ["a"], "vers": "1.0.1"});
    let token = bench.token(&asked).await;
    let (status, text) = bench
        .ask(Method::DELETE, &yank("1.0.0"), &token, vec![])
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("for the version 1.0.1 alone"), "{text}");
    // What would be no limit is refused.
    for (key, value, told) in [
        ("crates", json!(["a", "b"]), "that one alone"),
        ("crates", json!(["a*"]), "that one alone"),
        (
            "can",
            json!(["publish", "own"]),
            "`publish` or `yank` alone",
        ),
        ("cksum", json!(cksum), "may `publish` alone"),
        ("can", json!([]), "at least one action"),
        ("crates", json!([]), "at least one crate"),
        ("can", json!(["write"]), "`write` is not an action"),
    ] {
        let mut asked = asked.clone();
        asked[key] = value;
        let (status, text) = bench.exchange(&asked).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(text.contains(told), "{text}");
    }
    let (status, text) = bench.exchange(&json!({"jwt": [jwt]})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(!text.contains(&jwt), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_index_that_all_may_read_it_is_asked_who_is_there_alone() {
    for (visibility, status) in [
        (Visibility::Public, StatusCode::OK),
        // Our own account does not administer it, so nothing is known of anybody.
        (Visibility::Private, StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let bench = Bench::start(visibility).await;
        bench.double.world().repositories[0].rights[0] = (1, "write");
        bench.double.world().teams[0].members.clear();
        let asked = json!({"jwt": bench.person("alice", 7), "can": ["publish"]});
        let token = bench.token(&asked).await;
        let (answered, text) = bench.publish("a", "1.0.0", &token).await;
        assert_eq!(answered, status, "{text}");
        if visibility == Visibility::Private {
            continue;
        }
        // First she is deleted, then somebody else takes her name.
        bench.double.world().users.retain(|user| user.id != 7);
        for _ in 0..2 {
            for token in [&token, &bench.person("alice", 7)] {
                let (answered, text) = bench.publish("a", "1.0.1", token).await;
                assert_eq!(answered, StatusCode::FORBIDDEN, "{text}");
            }
            bench.double.world().users.push(User::new("alice", 10));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_may_do_is_asked_when_the_token_is_used() {
    let bench = Bench::start(Visibility::Private).await;
    let all = async |login: &str, id| {
        let can = ["read", "publish", "yank", "own"];
        let jwt = bench.person(login, id);
        bench.token(&json!({"jwt": jwt, "can": can})).await
    };
    let (alice, bob) = (all("alice", 7).await, all("bob", 8).await);
    let read = async |token: &str| {
        let path = "index/config.json";
        bench.ask(Method::GET, path, token, vec![]).await.0
    };
    assert_eq!(read(&alice).await, StatusCode::OK);
    assert_eq!(read(&bob).await, StatusCode::FORBIDDEN);
    bench.double.world().repositories[0]
        .rights
        .push((8, "read"));
    assert_eq!(read(&bob).await, StatusCode::OK);

    assert_eq!(bench.publish("a", "1.0.0", &alice).await.0, StatusCode::OK);
    let (status, text) = bench.publish("a", "1.0.1", &bob).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("`bob` is not an owner"), "{text}");
    let team = json!({"users": ["acme:core"]}).to_string().into_bytes();
    bench.double.world().teams[1].members.push(1);
    let owners = "api/v1/crates/a/owners";
    let (status, text) = bench.ask(Method::PUT, owners, &alice, team).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let (status, text) = bench.publish("a", "1.0.1", &bob).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    bench.double.world().teams[1].members.retain(|id| *id != 8);
    assert_eq!(
        bench.publish("a", "1.0.2", &bob).await.0,
        StatusCode::FORBIDDEN
    );
    // Whoever is blocked or was taken off the index does nothing more, though she owns the crate.
    let refused = async || {
        let (status, text) = bench.publish("a", "1.0.2", &alice).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{text}");
        let (status, text) = bench.publish("a", "1.0.2", &bench.person("alice", 7)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{text}");
    };
    let block = |is_blocked| {
        let mut world = bench.double.world();
        let user = world.users.iter_mut().find(|user| user.id == 7);
        user.unwrap().is_blocked = is_blocked;
    };
    block(true);
    refused().await;
    block(false);
    let rights = bench.double.world().repositories[0].rights.clone();
    let without_hers = rights.iter().copied().filter(|(id, _)| *id != 7);
    bench.double.world().repositories[0].rights = without_hers.collect();
    refused().await;
    bench.double.world().repositories[0].rights = rights;
    assert_eq!(bench.publish("a", "1.0.2", &alice).await.0, StatusCode::OK);
    // A name is nothing: whoever has hers now has another number.
    let impostor = all("alice", 9).await;
    {
        let mut world = bench.double.world();
        let hers = world.users.iter_mut().find(|user| user.id == 7).unwrap();
        let of_name = User { id: 9, ..*hers };
        hers.login = "renamed";
        world.users.push(of_name);
        world.repositories[0].rights.push((9, "read"));
    }
    let (status, text) = bench.publish("a", "1.0.2", &impostor).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("alice (number 9)"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signed_in_and_pushes_is_told_what_our_own_account_needs_to_see_that() {
    let bench = Bench::start(Visibility::Public).await;
    bench.job_creates("a").await;
    let alice = bench.person("alice", 7);
    bench.double.world().repositories[1].rights = vec![(1, "write"), (7, "write")];
    bench.double.world().teams[0].members.clear();
    let (status, text) = bench.publish("a", "1.0.0", &alice).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{text}");
    let told = "only if the registry's own account at the forge administers it";
    assert!(text.contains(told), "{text}");
    bench.double.world().repositories[1].rights[0] = (1, "admin");
    let (status, text) = bench.publish("a", "1.0.0", &alice).await;
    assert_eq!(status, StatusCode::OK, "{text}");
}
