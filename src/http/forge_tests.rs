//! Requests with tokens of the forge, over a real socket, and a double of the forge behind.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::serve::ServeLimits;
use super::*;
use crate::app::App;
use crate::auth::{Gate, Holds, IssuerNames};
use crate::config::{Arguments, Config, Environment};
use crate::domain::{Secret, Visibility};
use crate::forge::double::*;
use crate::forge::{Forge, ForgeFault, ForgeLimits, KeyPatience, Robot};
use crate::publish::tarball_builder::Tarball;
use crate::visibility::{AtForge, Mark, Watch};

const ALICE: &str = "a000000000000000000000000000000000000001";
const READER: &str = "a000000000000000000000000000000000000002";
const BOB: &str = "b000000000000000000000000000000000000001";
const EVE: &str = "e000000000000000000000000000000000000001";

struct Bench {
    double: ForgeDouble,
    root: String,
    http: Client,
    app: Arc<App>,
    server: JoinHandle<()>,
    _folder: TempDir,
}

fn world() -> World {
    let of_index = &[(7, "admin"), (8, "read")];
    World {
        users: vec![
            User::new("alice", 7),
            User::new("bob", 8),
            User::new("eve", 9),
        ],
        tokens: [
            (ALICE, Token::of_user(7, &["all"])),
            (READER, Token::of_user(7, &["read:user", "read:repository"])),
            (BOB, Token::of_user(8, &["all"])),
            (EVE, Token::of_user(9, &["all"])),
        ]
        .into(),
        repositories: vec![Repository::new(1, "acme/crates", true, of_index)],
        teams: vec![Team::new(3, "acme", "core", &[7])],
        ..World::gitea()
    }
}

fn gate(double: &ForgeDouble) -> Arc<Gate> {
    let robot = Robot::Token(Secret::new(ALICE.to_owned()));
    let url = double.url();
    let names = IssuerNames {
        root: url.clone(),
        client_id: None,
        audience: "http://localhost".to_owned(),
    };
    let forge = Forge::new(&url.parse().unwrap(), robot, ForgeLimits::default());
    let index = "acme/crates".parse().unwrap();
    let holds = Holds::with_unreachable(Duration::from_secs(3600));
    let patience = KeyPatience::default();
    Arc::new(Gate::new(Arc::new(forge), index, names, holds, patience))
}

/// What follows the double, which it has not heard yet.
fn watch(double: &ForgeDouble, data: &Path) -> Watch {
    let url = double.url().parse().unwrap();
    let forge = Forge::new(&url, Robot::None, ForgeLimits::default());
    let index = "acme/crates".parse().unwrap();
    let at_forge = AtForge {
        forge: Arc::new(forge),
        index,
        mark: Arc::new(Mark::at(data.join("closed"))),
    };
    let away = Err(ForgeFault::Unreachable("not yet".to_owned()));
    Watch::of_forge(at_forge, Duration::from_secs(3600), true, &away)
}

impl Bench {
    /// A private registry whose people are those of a forge.
    async fn start() -> Self {
        Self::start_as(Visibility::Private).await
    }

    async fn start_as(visibility: Visibility) -> Self {
        let double = ForgeDouble::start(world()).await;
        let folder = tempfile::tempdir().unwrap();
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
        app.gate = Some(gate(&double));
        app.watch = Some(watch(&double, &app.config.data));
        let app = Arc::new(app);
        let routes = routes(Arc::clone(&app));
        let server = tokio::spawn(serve(listener, routes, limits, std::future::pending()));
        Self {
            double,
            root: format!("http://{address}/crates"),
            http: Client::builder().no_proxy().build().unwrap(),
            app,
            server,
            _folder: folder,
        }
    }

    /// Lets the server ask who may read, and reads without a token.
    async fn look(&self, now: Instant) -> StatusCode {
        let watch = self.app.watch.as_ref().unwrap();
        watch.look(&self.app.index, now).await;
        self.read("index/config.json", "").await.0
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
            token => request.header("authorization", token),
        };
        let answer = request.body(body).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    async fn read(&self, path: &str, token: &str) -> (StatusCode, String) {
        self.ask(Method::GET, path, token, Vec::new()).await
    }

    async fn publish(&self, version: &str, token: &str) -> (StatusCode, String) {
        let manifest = format!(
            "[package]\nname = \"a\"\nversion = \"{version}\"\nedition = \"2021\"\n\
             description = \"A crate of a test\"\nlicense = \"MIT\"\n"
        );
        let crate_file = Tarball::of_crate("a", version, &manifest).finish();
        let metadata = json!({"name": "a", "vers": version}).to_string();
        let mut body = Vec::new();
        for part in [metadata.as_bytes(), &crate_file] {
            body.extend_from_slice(&u32::try_from(part.len()).unwrap().to_le_bytes());
            body.extend_from_slice(part);
        }
        self.ask(Method::PUT, "api/v1/crates/new", token, body)
            .await
    }

    async fn own(&self, method: Method, token: &str, names: &[&str]) -> (StatusCode, String) {
        let body = json!({"users": names}).to_string().into_bytes();
        self.ask(method, "api/v1/crates/a/owners", token, body)
            .await
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_registry_is_read_by_those_who_read_its_repository() {
    let bench = Bench::start().await;
    let config = "index/config.json";
    for token in [ALICE.to_owned(), format!("Bearer {READER}"), BOB.to_owned()] {
        assert_eq!(bench.read(config, &token).await.0, StatusCode::OK);
    }
    assert_eq!(bench.read(config, "").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(bench.double.asked("/"), 3);
    let (status, text) = bench.read(config, EVE).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("may not read the index repository"), "{text}");
    let (status, text) = bench.read(config, &"0".repeat(40)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{text}");
    bench.double.world().trouble = Trouble::Status(502);
    let (status, _) = bench.read(config, &"1".repeat(40)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(bench.read(config, ALICE).await.0, StatusCode::OK);
    bench.double.world().trouble = Trouble::None;
    for number in 0..500 {
        let (status, _) = bench.read(config, &format!("{number:040x}")).await;
        if status == StatusCode::TOO_MANY_REQUESTS {
            return;
        }
    }
    panic!("unknown tokens are asked about for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crate_belongs_to_accounts_of_the_forge() {
    let bench = Bench::start().await;
    let (status, text) = bench.publish("1.0.0", READER).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("may not write on the forge"), "{text}");
    assert_eq!(bench.publish("1.0.0", EVE).await.0, StatusCode::FORBIDDEN);
    let (status, text) = bench.publish("1.0.0", ALICE).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let (status, text) = bench.publish("1.0.1", BOB).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("`bob` is not an owner"), "{text}");
    for (name, sentence) in [("carol", "no user `carol`"), ("acme:nosuch", "no team")] {
        let (status, text) = bench.own(Method::PUT, ALICE, &[name]).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(text.contains(sentence), "{text}");
    }
    let (status, text) = bench.own(Method::PUT, ALICE, &["bob", "acme:core"]).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let (_, text) = bench.read("api/v1/crates/a/owners", BOB).await;
    let owners: Value = serde_json::from_str(&text).unwrap();
    let listed = |index: usize| {
        (
            &owners["users"][index]["login"],
            &owners["users"][index]["id"],
        )
    };
    assert_eq!(listed(1), (&json!("bob"), &json!(8)));
    assert_eq!(listed(2), (&json!("acme:core"), &json!(3)));
    assert_eq!(bench.publish("1.0.1", BOB).await.0, StatusCode::OK);
    let yank = "api/v1/crates/a/1.0.1/yank";
    let (status, _) = bench.ask(Method::DELETE, yank, READER, Vec::new()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, text) = bench.ask(Method::DELETE, yank, ALICE, Vec::new()).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let (status, text) = bench.own(Method::DELETE, BOB, &["alice"]).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert_eq!(
        bench.publish("1.0.2", ALICE).await.0,
        StatusCode::OK,
        "she is in the team"
    );
    let (status, _) = bench.own(Method::PUT, ALICE, &["alice"]).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "which does not own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_as_public_as_its_index_repository() {
    let bench = Bench::start_as(Visibility::Public).await;
    let start = Instant::now();
    let at = |secs| start + Duration::from_secs(secs);
    let show = |is_private| bench.double.world().repositories[0].is_private = is_private;
    let config = async || bench.read("index/config.json", ALICE).await.1;
    show(false);
    assert_eq!(bench.look(at(0)).await, StatusCode::OK);
    assert!(!config().await.contains("auth-required"));
    bench.double.world().trouble = Trouble::Status(502);
    assert_eq!(bench.look(at(1)).await, StatusCode::OK);
    bench.double.world().trouble = Trouble::None;
    show(true);
    assert_eq!(bench.look(at(2)).await, StatusCode::UNAUTHORIZED);
    let private = config().await;
    assert!(private.contains("\"auth-required\":true"), "{private}");
    assert!(private.contains("{sha256-checksum}"), "{private}");
    show(false);
    assert_eq!(bench.look(at(10)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(bench.look(at(69)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(bench.look(at(70)).await, StatusCode::OK);
    assert!(!config().await.contains("auth-required"));
    // What opened downloads once opens none any more.
    show(true);
    assert_eq!(bench.look(at(80)).await, StatusCode::UNAUTHORIZED);
    assert_ne!(config().await, private);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_forge_does_not_tell_for_a_minute_is_private() {
    let bench = Bench::start_as(Visibility::Public).await;
    let start = Instant::now();
    let at = |secs| start + Duration::from_secs(secs);
    bench.double.world().repositories[0].is_private = false;
    let trouble = |trouble| bench.double.world().trouble = trouble;
    for odd in [Trouble::Html, Trouble::Status(418), Trouble::Huge] {
        trouble(odd.clone());
        assert_eq!(bench.look(at(0)).await, StatusCode::OK);
        assert_eq!(bench.look(at(59)).await, StatusCode::OK);
        // It is away, or tells.
        for passing in [Trouble::Status(502), Trouble::None] {
            trouble(passing);
            assert_eq!(bench.look(at(60)).await, StatusCode::OK);
            trouble(odd.clone());
            assert_eq!(bench.look(at(61)).await, StatusCode::OK);
        }
        assert_eq!(bench.look(at(120)).await, StatusCode::OK);
        assert_eq!(bench.look(at(121)).await, StatusCode::UNAUTHORIZED);
        let config = async || bench.read("index/config.json", ALICE).await.1;
        trouble(Trouble::None);
        assert!(config().await.contains("\"auth-required\":true"));
        assert_eq!(bench.look(at(122)).await, StatusCode::UNAUTHORIZED);
        assert_eq!(bench.look(at(181)).await, StatusCode::UNAUTHORIZED);
        assert_eq!(bench.look(at(182)).await, StatusCode::OK);
    }
}

/// The branch of the index has a commit that no rule lets in, so that nothing is written, or has it no more.
fn spoil(bench: &Bench, is_spoilt: bool) {
    let git = |words: &[&str]| {
        let ran = std::process::Command::new("git")
            .current_dir(bench.app.index.git_dir())
            .args(["-c", "user.name=Bob", "-c", "user.email=bob@example.com"])
            .args(words)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    };
    let good = bench.app.index.snapshot().commit().to_string();
    let to = match is_spoilt {
        false => good,
        true => {
            let empty = git(&["hash-object", "-t", "tree", "-w", "/dev/null"]);
            git(&["commit-tree", "-m", "nothing", "-p", &good, &empty])
        }
    };
    git(&["update-ref", "refs/heads/main", &to]);
}

#[tokio::test(flavor = "multi_thread")]
async fn that_it_is_closed_is_written_down_as_long_as_the_index_does_not_say_so() {
    let bench = Bench::start_as(Visibility::Public).await;
    let start = Instant::now();
    let at = |secs| start + Duration::from_secs(secs);
    let show = |is_private| bench.double.world().repositories[0].is_private = is_private;
    let mark = bench.app.config.data.join("closed");
    let again = || watch(&bench.double, &bench.app.config.data).is_closed();
    assert!(!mark.exists() && !again());
    spoil(&bench, true);
    // On a disk that does not take it, it is closed until the end of the process.
    std::fs::create_dir(&mark).unwrap();
    let public = bench.read("index/config.json", ALICE).await.1;
    assert_eq!(bench.look(at(0)).await, StatusCode::UNAUTHORIZED);
    // Cargo is told to send its token, although the index does not say so.
    let closed = bench.read("index/config.json", ALICE).await.1;
    assert!(!public.contains("auth-required") && closed.contains("\"auth-required\":true"));
    let snapshot = bench.app.index.snapshot();
    let tag = |visibility| snapshot.file_as("config.json", visibility).unwrap().blob();
    assert_ne!(tag(Visibility::Public), tag(Visibility::Private));
    std::fs::remove_dir(&mark).unwrap();
    bench.double.world().trouble = Trouble::Status(502);
    assert_eq!(bench.look(at(1)).await, StatusCode::UNAUTHORIZED);
    assert!(mark.exists() && again());
    // Shown again before the index says that it was hidden.
    bench.double.world().trouble = Trouble::None;
    show(false);
    assert_eq!(bench.look(at(2)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(bench.look(at(61)).await, StatusCode::UNAUTHORIZED);
    assert!(mark.exists() && again());
    assert_eq!(bench.look(at(62)).await, StatusCode::OK);
    assert!(!mark.exists() && !again());
    // Hidden again, until the index says so.
    show(true);
    assert_eq!(bench.look(at(63)).await, StatusCode::UNAUTHORIZED);
    assert!(mark.exists() && again());
    spoil(&bench, false);
    assert_eq!(bench.look(at(64)).await, StatusCode::UNAUTHORIZED);
    assert!(!mark.exists());
    let config = bench.read("index/config.json", ALICE).await.1;
    assert!(config.contains("\"auth-required\":true"), "{config}");
}
