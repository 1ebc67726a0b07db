//! Developers who log in by the forge: real cargos, the program that Cargo runs for a token, and somebody at a browser.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use super::api::{done, number, text};
use super::gitea::{Gitea, Settings};
use super::scene::{Repository, User, Visibility};
use super::sign_in::claims;
use crate::common::cargos::{Sandbox, View};
use crate::common::git::git;
use crate::common::http::request;
use crate::common::project::Project;
use crate::common::ran::{Ran, run};
use crate::common::registry::Registry;
use crate::common::upload::Release;
use crate::common::watch::eventually;

/// The program that Cargo runs.
const PROVIDER: &str = env!("CARGO_BIN_EXE_cargo-credential-sidecargo");
/// What stands for a browser: it tells the test which address it was given.
const BROWSER: &str = "#!/bin/sh\nprintf %s \"$1\" >\"$0.part\" && mv \"$0.part\" \"$0.url\"\n";

/// A Gitea whose refresh tokens are good once, for all tests here.
fn forge() -> Option<&'static Gitea> {
    static FORGE: OnceLock<Option<Gitea>> = OnceLock::new();
    let settings = Settings {
        refreshes_once: true,
        ..Settings::default()
    };
    FORGE.get_or_init(|| Gitea::start_with(settings)).as_ref()
}

/// A private registry on the forge, whose people sign in there.
struct Scene {
    forge: &'static Gitea,
    registry: Registry,
    index: Repository,
    application: i64,
    alice: User,
    _secret: TempDir,
}

/// A developer's machine.
struct Machine {
    cargo: Sandbox,
    browser: PathBuf,
}

impl Scene {
    fn start(forge: &'static Gitea) -> Self {
        let owner = forge.user("olga");
        let (robot, alice) = (forge.user("robot"), forge.user("alice"));
        let index = forge.empty_repository(&owner.login, "crates", Visibility::Private);
        forge.collaborate(&index, &robot, "admin");
        forge.collaborate(&index, &alice, "read");
        let wanted = json!({
            "name": forge.fresh_name("crates"),
            "redirect_uris": ["http://127.0.0.1"],
            "confidential_client": false,
        });
        let path = "/user/applications/oauth2";
        let application = done(forge.admin().send("POST", path, &wanted), 201);
        let secret = TempDir::new().unwrap();
        let file = secret.path().join("token");
        let scopes = ["write:repository", "read:organization", "read:user"];
        fs::write(&file, forge.token(&robot, &scopes).text).unwrap();
        let config = format!(
            "visibility = \"private\"\n[forge]\nurl = \"{}\"\nrepository = \"{}/crates\"\n\
             token_file = \"{}\"\nclient_id = \"{}\"\npoll_secs = 1\n",
            forge.url(),
            index.owner,
            file.display(),
            text(&application, "client_id"),
        );
        Self {
            forge,
            registry: Registry::start_with(&config),
            index,
            application: number(&application, "id"),
            alice,
            _secret: secret,
        }
    }

    fn machine(&self) -> Machine {
        let cargo = Sandbox::stable(&self.registry, View::Sparse);
        cargo.configure(&format!(
            "[registry]\nglobal-credential-providers = [{PROVIDER:?}]\n"
        ));
        let browser = cargo.work().join("browser");
        fs::write(&browser, BROWSER).unwrap();
        fs::set_permissions(&browser, fs::Permissions::from_mode(0o700)).unwrap();
        Machine { cargo, browser }
    }

    /// A machine on which alice has logged in; gives the address that her browser was opened at, too.
    fn logged_in(&self) -> (Machine, Url) {
        let machine = self.machine();
        let url = thread::scope(|scope| {
            let login = scope.spawn(|| machine.cargo(&["login", "--registry", "crates"]));
            let url = machine.opened();
            let page = self.forge.browse(&self.alice, &url);
            let ran = login.join().unwrap().succeeds();
            assert!(page.text().contains("You are signed in"), "{page:?}");
            assert!(
                ran.stderr.contains(&url),
                "who has no browser opens it: {ran}"
            );
            assert!(ran.stderr.contains("You are signed in at"), "{ran}");
            assert!(!ran.stderr.contains(&machine.refresh_token()), "{ran}");
            url
        });
        (machine, Url::parse(&url).unwrap())
    }

    /// A publish with a token as Cargo would send it.
    fn publish(&self, release: &Release, token: &str) -> (u16, String) {
        let reply = release.publish(self.registry.port, token);
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        (reply.status, text)
    }
}

impl Machine {
    fn cargo(&self, words: &[&str]) -> Ran {
        self.cargo_in(&self.cargo.work(), words)
    }

    fn cargo_in(&self, folder: &Path, words: &[&str]) -> Ran {
        let browser = self.browser.to_str().unwrap();
        self.cargo
            .cargo_with_env(folder, words, &[("BROWSER", browser)])
    }

    fn publish(&self, name: &str, version: &str) -> Ran {
        let folder = Project::library(name, version, "hello").write(&self.cargo.work());
        let words = ["publish", "--registry", "crates", "--no-verify"];
        self.cargo_in(&folder, &words)
    }

    /// The address at which the browser is opened next.
    fn opened(&self) -> String {
        let url = self.browser.with_extension("url");
        let opened = eventually("a browser that is opened", || fs::read_to_string(&url).ok());
        fs::remove_file(url).unwrap();
        opened
    }

    fn sessions(&self) -> PathBuf {
        self.cargo.cargo_home().join("sidecargo")
    }

    /// The file with the session, if there is one.
    fn session(&self) -> Option<PathBuf> {
        let files = fs::read_dir(self.sessions()).ok()?;
        let mut paths = files.map(|file| file.unwrap().path());
        paths.find(|path| path.extension().is_some_and(|it| it == "json"))
    }

    fn refresh_token(&self) -> String {
        let text = fs::read_to_string(self.session().expect("there is a session")).unwrap();
        let session: Value = serde_json::from_str(&text).unwrap();
        text_of(&session["signed-in"]["refresh_token"])
    }

    /// What the program answers to a question.
    fn ask(&self, index: &str, question: Value) -> Value {
        let mut asked = json!({"v": 1, "registry": {"index-url": index, "name": "crates"}});
        let question = question.as_object().unwrap().clone();
        asked.as_object_mut().unwrap().extend(question);
        let mut command = Command::new(PROVIDER);
        command
            .arg("--cargo-plugin")
            .env_clear()
            .env("CARGO_HOME", self.cargo.cargo_home());
        let ran = run(&mut command, format!("{asked}\n").as_bytes()).succeeds();
        let mut lines = ran.stdout.lines();
        assert_eq!(lines.next(), Some("{\"v\":[1]}"));
        serde_json::from_str(lines.next().unwrap()).unwrap()
    }
}

/// What stands in an address that the browser was given.
fn asked(url: &Url, name: &str) -> String {
    let mut pairs = url.query_pairs();
    pairs.find(|(key, _)| key == name).unwrap().1.into_owned()
}

fn text_of(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value}"))
        .to_owned()
}

#[test]
fn a_developer_logs_in_publishes_yanks_reads_and_logs_out() {
    let Some(forge) = forge() else { return };
    let scene = Scene::start(forge);
    let (machine, url) = scene.logged_in();
    let page = request("GET", "/crates/me").send(scene.registry.port);
    assert!(
        page.text()
            .contains("credential-provider = [&quot;cargo-credential-sidecargo")
    );
    assert!(page.text().contains(&format!("sign in at {}", forge.url())));
    let asked = |name: &str| asked(&url, name);
    assert_eq!(asked("scope"), "openid profile groups read:user");
    assert_eq!(asked("code_challenge_method"), "S256");
    assert!(asked("redirect_uri").starts_with("http://127.0.0.1:"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&machine.sessions()), 0o700);
    assert_eq!(mode(&machine.session().unwrap()), 0o600);

    machine.publish("greeter", "0.1.0").succeeds();
    machine.publish("greeter", "0.1.1").succeeds();
    let yank = ["yank", "--registry", "crates", "greeter@0.1.1"];
    machine.cargo(&yank).succeeds();
    let list = ["owner", "--registry", "crates", "--list", "greeter"];
    machine.cargo(&list).succeeds().prints(&scene.alice.login);
    let bob = forge.user("bob");
    let add = [
        "owner",
        "--registry",
        "crates",
        "--add",
        &bob.login,
        "greeter",
    ];
    machine.cargo(&add).succeeds();
    let program = Project::program("hello", "greeter::greeting();");
    let program = program
        .depends_on("greeter", "0.1")
        .write(&machine.cargo.work());
    machine.cargo_in(&program, &["check"]).succeeds();

    // The forge's history says who, by which number, and the registry proves it.
    let log = [
        "log",
        "--format=%an %s %(trailers:key=Authenticated-via)",
        "main",
    ];
    let log = git(&scene.registry.repository(), &log).stdout;
    let published = format!("{} publish greeter 0.1.0", scene.alice.login);
    assert!(log.contains(&published), "{log}");
    assert!(
        log.contains(&format!(" of user {}", scene.alice.id)),
        "{log}"
    );
    scene.registry.run(&["verify"]).succeeds();

    machine
        .cargo(&["logout", "--registry", "crates"])
        .succeeds();
    assert_eq!(machine.session(), None);
    machine
        .publish("greeter", "0.1.2")
        .fails_with("no token found for `crates`");
}

#[test]
fn a_token_for_a_publish_is_for_that_crate_version_and_file_alone() {
    let Some(forge) = forge() else { return };
    let scene = Scene::start(forge);
    let (machine, _) = scene.logged_in();
    let release = Release::new("bound", "1.0.0");
    let index = scene.registry.sparse_index();
    let question = json!({"kind": "get", "operation": "publish", "name": "bound", "vers": "1.0.0",
        "cksum": release.cksum()});
    let answer = machine.ask(&index, question.clone());
    let got = &answer["Ok"];
    assert_eq!(
        (&got["kind"], &got["cache"]),
        (&json!("get"), &json!("never"))
    );
    assert_eq!(got["operation_independent"], false);
    let token = text_of(&got["token"]);
    let told = claims(&token);
    let life = told["exp"].as_i64().unwrap() - told["iat"].as_i64().unwrap();
    assert!((1..=900).contains(&life), "{told}");
    for (other, why) in [
        (Release::new("other", "1.0.0"), "limited to `bound`"),
        (
            Release::new("bound", "1.0.1"),
            "for the version 1.0.0 alone",
        ),
        (
            Release::with_source("bound", "1.0.0", "// another file"),
            "for the file with the SHA-256",
        ),
    ] {
        let (status, text) = scene.publish(&other, &token);
        assert_eq!(status, 403, "{text}");
        assert!(text.contains(why), "{text}");
    }
    let reads = request("GET", "/crates/index/config.json").token(&token);
    assert_eq!(reads.send(scene.registry.port).status, 403);
    let (status, text) = scene.publish(&release, &token);
    assert_eq!(status, 200, "{text}");
    // Each operation has a token of its own; one that reads is kept until it ends.
    let again = machine.ask(&index, question);
    assert_ne!(claims(&text_of(&again["Ok"]["token"]))["jti"], told["jti"]);
    let read = machine.ask(&index, json!({"kind": "get", "operation": "read"}));
    let told = claims(&text_of(&read["Ok"]["token"]));
    assert_eq!(read["Ok"]["cache"], "expires");
    assert_eq!(read["Ok"]["expiration"], told["exp"]);
    assert_eq!(told["can"], json!(["read"]));
    // What the forge does not let them read any more is not read.
    let token = text_of(&read["Ok"]["token"]);
    let reads = || {
        let reads = request("GET", "/crates/index/config.json").token(&token);
        reads.send(scene.registry.port).status
    };
    assert_eq!(reads(), 200);
    let path = format!("{}/collaborators/{}", scene.index.api(), scene.alice.login);
    let gone = forge.admin().send("DELETE", &path, &Value::Null);
    assert_eq!(gone.status, 204);
    let unread = machine.ask(&index, json!({"kind": "get", "operation": "read"}));
    assert!(
        unread["Ok"]["token"].is_string(),
        "a token is not a right: {unread}"
    );
    let (status, text) = scene.publish(&Release::new("fresh", "1.0.0"), &{
        let cksum = Release::new("fresh", "1.0.0").cksum();
        let question = json!({"kind": "get", "operation": "publish", "name": "fresh",
            "vers": "1.0.0", "cksum": cksum});
        text_of(&machine.ask(&index, question)["Ok"]["token"])
    });
    assert_eq!(status, 403, "{text}");
}

#[test]
fn many_at_once_use_one_sign_in_although_each_refresh_token_is_good_once() {
    let Some(forge) = forge() else { return };
    let scene = Scene::start(forge);
    let (machine, _) = scene.logged_in();
    let before = machine.refresh_token();
    let index = scene.registry.sparse_index();
    thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| machine.ask(&index, json!({"kind": "get", "operation": "read"})))
            })
            .collect();
        for asking in asking {
            let answer = asking.join().unwrap();
            assert!(answer["Ok"]["token"].is_string(), "{answer}");
        }
    });
    assert_ne!(machine.refresh_token(), before);
    thread::scope(|scope| {
        let cargos = ["one", "two"].map(|name| {
            let machine = &machine;
            scope.spawn(move || machine.publish(name, "1.0.0"))
        });
        for cargo in cargos {
            cargo.join().unwrap().succeeds();
        }
    });
    let mode = fs::metadata(machine.session().unwrap()).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_sign_in_that_is_over_says_so_and_how_to_begin_another() {
    let Some(forge) = forge() else { return };
    let scene = Scene::start(forge);
    let (machine, _) = scene.logged_in();
    let session = machine.session().unwrap();
    let first = fs::read(&session).unwrap();
    let index = scene.registry.sparse_index();
    machine.ask(&index, json!({"kind": "get", "operation": "read"}));
    // A refresh token that was used before: somebody has copied it, or brought an old file back.
    let newest = fs::read(&session).unwrap();
    fs::write(&session, first).unwrap();
    machine
        .publish("greeter", "0.1.0")
        .fails_with("does not know your sign-in any more")
        .fails_with("run `cargo login --registry crates` again");
    fs::write(&session, newest).unwrap();
    let path = format!("/user/applications/oauth2/{}", scene.application);
    let gone = forge.admin().send("DELETE", &path, &Value::Null);
    assert_eq!(gone.status, 204);
    machine
        .publish("greeter", "0.1.0")
        .fails_with("does not know your sign-in any more");
    // What others can read is not used.
    fs::set_permissions(&session, fs::Permissions::from_mode(0o644)).unwrap();
    machine
        .publish("greeter", "0.1.0")
        .fails_with("others on this machine may read");
}

#[test]
fn a_token_that_is_pasted_serves_too() {
    let Some(forge) = forge() else { return };
    let scene = Scene::start(forge);
    let machine = scene.machine();
    let scopes = ["read:user", "write:repository"];
    // She may write there, as a token must show that changes something.
    forge.collaborate(&scene.index, &scene.alice, "write");
    machine
        .cargo
        .login(&forge.token(&scene.alice, &scopes).text);
    machine.publish("pasted", "1.0.0").succeeds();
    machine
        .cargo(&["logout", "--registry", "crates"])
        .succeeds();
    assert_eq!(machine.session(), None);
}

#[test]
fn whoever_does_not_agree_is_not_signed_in() {
    let Some(forge) = forge() else { return };
    let scene = Scene::start(forge);
    let machine = scene.machine();
    thread::scope(|scope| {
        let login = scope.spawn(|| machine.cargo(&["login", "--registry", "crates"]));
        let url = Url::parse(&machine.opened()).unwrap();
        let asked = |name: &str| asked(&url, name);
        let redirect = Url::parse(&asked("redirect_uri")).unwrap();
        let port = redirect.port().unwrap();
        let bring = |query: &str| request("GET", format!("/?{query}")).send(port);
        // Another page of the browser knows the port, but not the question.
        for query in [
            "code=stolen",
            "code=stolen&state=guess",
            "error=no&state=",
            "",
        ] {
            assert_eq!(bring(query).status, 404, "{query}");
        }
        let state = asked("state");
        let page = bring(&format!(
            "error=access_denied&error_description=she+said+%3Cno%3E&state={state}"
        ));
        assert!(page.text().contains("she said &lt;no&gt;"), "{page:?}");
        login
            .join()
            .unwrap()
            .fails_with("did not sign you in: she said <no>");
    });
    assert_eq!(machine.session(), None);
    // A code that the forge did not give.
    thread::scope(|scope| {
        let login = scope.spawn(|| machine.cargo(&["login", "--registry", "crates"]));
        let url = Url::parse(&machine.opened()).unwrap();
        let asked = |name: &str| asked(&url, name);
        let redirect = Url::parse(&asked("redirect_uri")).unwrap();
        let query = format!("/?code=invented&state={}", asked("state"));
        request("GET", query).send(redirect.port().unwrap());
        login.join().unwrap().fails_with("did not sign you in");
    });
    assert_eq!(machine.session(), None);
}

#[test]
fn a_registry_without_a_sign_in_says_how_else() {
    let registry = Registry::start();
    let cargo = Sandbox::stable(&registry, View::Sparse);
    cargo.configure(&format!(
        "[registry]\nglobal-credential-providers = [{PROVIDER:?}]\n"
    ));
    cargo
        .cargo(&cargo.work(), &["login", "--registry", "crates"])
        .fails_with("nobody signs in at this registry through a forge")
        .fails_with("cargo login --registry crates < token");
    cargo.login(&registry.token("alice"));
    let folder = Project::library("pasted", "1.0.0", "hello").write(&cargo.work());
    cargo.publish(&folder).succeeds();
    // By hand it says what it is.
    run(&mut Command::new(PROVIDER), b"").fails_with("is run by Cargo");
}
