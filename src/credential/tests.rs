use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const INDEX: &str = "sparse+https://crates.example/crates/index/";
const PASTED: &str = "hunter2-which-was-pasted";

/// A server that answers what a test says for each path, and keeps what it was sent.
struct Double {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<HashMap<String, (u16, Value)>>>,
}

impl Double {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let answers: Arc<Mutex<HashMap<String, (u16, Value)>>> = Arc::default();
        let (heard, known) = (Arc::clone(&asked), Arc::clone(&answers));
        // It ends with the process, like the port that it waits at.
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer_one(stream.unwrap(), &heard, &known);
            }
        });
        Self {
            url,
            asked,
            answers,
        }
    }

    fn says(&self, path: &str, status: u16, answer: Value) {
        let mut answers = self.answers.lock().unwrap();
        answers.insert(path.to_owned(), (status, answer));
    }

    /// The requests, each with its body.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer_one(
    mut stream: TcpStream,
    asked: &Mutex<Vec<String>>,
    answers: &Mutex<HashMap<String, (u16, Value)>>,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line).unwrap();
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).unwrap() == 0 || header == "\r\n" {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    asked.lock().unwrap().push(format!("{path} {body}"));
    let known = answers.lock().unwrap().get(&path).cloned();
    let (status, answer) = known.unwrap_or((404, json!({})));
    let answer = answer.to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        answer.len()
    );
    stream
        .write_all(format!("{head}{answer}").as_bytes())
        .unwrap();
}

fn settings() -> (Settings, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        folder: Some(folder.path().join("sidecargo")),
        browser: None,
    };
    (settings, folder)
}

/// What is answered to some lines.
fn told(settings: &Settings, lines: &str) -> Vec<Value> {
    let mut told = Vec::new();
    serve(settings, lines.as_bytes(), &mut told).unwrap();
    let told = String::from_utf8(told).unwrap();
    let mut lines = told.lines().map(|line| serde_json::from_str(line).unwrap());
    assert_eq!(lines.next(), Some(json!({"v": [1]})));
    lines.collect()
}

fn ask(settings: &Settings, index: &str, question: &Value) -> Value {
    let mut asked = json!({"v": 1, "registry": {"index-url": index, "name": "crates"}, "args": []});
    let question = question.as_object().unwrap().clone();
    asked.as_object_mut().unwrap().extend(question);
    let mut answers = told(settings, &format!("{asked}\n"));
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

fn keep(settings: &Settings, index: &str, session: &Session) {
    let registry = registry_of(index).unwrap();
    let store = Store::new(settings.folder.as_deref(), &registry).unwrap();
    store.keep(session).unwrap();
}

fn registry_of(index: &str) -> Result<Registry, Fault> {
    Registry::of_index(&protocol::Asking {
        index_url: index.to_owned(),
        name: None,
    })
}

fn signed_in(forge: &str) -> Session {
    Session::SignedIn {
        forge: forge.to_owned(),
        client_id: "the-client".to_owned(),
        token_endpoint: format!("{forge}/token"),
        refresh_token: "hunter2-which-refreshes".to_owned(),
    }
}

fn jwt(claims: &Value) -> String {
    format!(
        "head.{}.sign",
        BASE64_URL_SAFE_NO_PAD.encode(claims.to_string())
    )
}

#[test]
fn both_indexes_of_a_registry_are_understood_and_no_other_url() {
    for (index, root) in [
        (INDEX, "https://crates.example/crates"),
        (
            "sparse+http://localhost:8642/a/b/index",
            "http://localhost:8642/a/b",
        ),
        (
            "https://crates.example/crates/git",
            "https://crates.example/crates",
        ),
        (
            "https://crates.example/crates/git/",
            "https://crates.example/crates",
        ),
    ] {
        assert_eq!(registry_of(index).unwrap().root(), root, "{index}");
    }
    for other in [
        "sparse+https://index.crates.io/",
        "https://github.com/rust-lang/crates.io-index",
        "sparse+ssh://crates.example/crates/index/",
        "file:///home/alice/crates/git",
        "",
    ] {
        let (settings, _folder) = settings();
        let answer = ask(
            &settings,
            other,
            &json!({"kind": "get", "operation": "read"}),
        );
        assert_eq!(
            answer,
            json!({"Err": {"kind": "url-not-supported"}}),
            "{other}"
        );
    }
}

/// Whether somebody waits for the one lock below this folder, as the kernel tells.
fn is_waited_for(folder: &Path) -> bool {
    let files = fs::read_dir(folder).unwrap();
    let mut files = files.map(|file| file.unwrap());
    let lock = files.find(|file| file.path().extension().is_some_and(|it| it == "lock"));
    let inode = format!(
        ":{} ",
        lock.expect("a turn has a lock").metadata().unwrap().ino()
    );
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let mut locks = locks.lines();
    locks.any(|line| line.contains("->") && line.contains(&inode))
}

#[test]
fn a_logout_outlives_a_refresh_that_was_under_way() {
    let (settings, _folder) = settings();
    let session = signed_in("https://git.example");
    keep(&settings, INDEX, &session);
    let store = Store::new(settings.folder.as_deref(), &registry_of(INDEX).unwrap()).unwrap();
    let turn = store.turn().unwrap();
    let left = thread::scope(|scope| {
        let logout = scope.spawn(|| ask(&settings, INDEX, &json!({"kind": "logout"})));
        while !logout.is_finished() && !is_waited_for(settings.folder.as_deref().unwrap()) {
            thread::yield_now();
        }
        store.keep(&session).unwrap();
        drop(turn);
        logout.join().unwrap()
    });
    assert_eq!(left, json!({"Ok": {"kind": "logout"}}));
    assert!(store.session().unwrap().is_none());
}

#[test]
fn a_pasted_token_is_kept_for_its_registry_until_logout() {
    let (settings, folder) = settings();
    let read = json!({"kind": "get", "operation": "read"});
    let none = json!({"Err": {"kind": "not-found"}});
    assert_eq!(ask(&settings, INDEX, &read), none);
    assert_eq!(ask(&settings, INDEX, &json!({"kind": "logout"})), none);
    let login = json!({"kind": "login", "token": PASTED, "login-url": "https://x.example/me"});
    assert_eq!(
        ask(&settings, INDEX, &login),
        json!({"Ok": {"kind": "login"}})
    );
    let got = json!({"Ok": {"kind": "get", "token": PASTED, "cache": "session",
        "operation_independent": true}});
    assert_eq!(ask(&settings, INDEX, &read), got);
    // Both indexes are one registry, and another name is another.
    assert_eq!(
        ask(&settings, "https://crates.example/crates/git", &read),
        got
    );
    assert_eq!(
        ask(&settings, "https://crates.example/other/git", &read),
        none
    );
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let sessions = folder.path().join("sidecargo");
    assert_eq!(mode(&sessions), 0o700);
    for file in fs::read_dir(&sessions).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    let logout = ask(&settings, INDEX, &json!({"kind": "logout"}));
    assert_eq!(logout, json!({"Ok": {"kind": "logout"}}));
    assert_eq!(ask(&settings, INDEX, &read), none);
}

#[test]
fn each_operation_asks_for_what_it_needs_and_no_more() {
    let (settings, _folder) = settings();
    let (registry, forge) = (Double::start(), Double::start());
    let index = format!("{}/crates/git", registry.url);
    keep(&settings, &index, &signed_in(&forge.url));
    forge.says(
        "/token",
        200,
        json!({"id_token": "an-id-token", "refresh_token": "hunter2-the-next"}),
    );
    let token = jwt(&json!({"exp": 1_790_000_000}));
    registry.says(
        "/crates/api/v1/trusted_publishing/tokens",
        200,
        json!({ "token": token }),
    );
    let cksum = "ab".repeat(32);
    for (operation, wanted) in [
        (json!({"operation": "read"}), json!({"can": ["read"]})),
        (
            json!({"operation": "publish", "name": "a", "vers": "1.0.0", "cksum": cksum}),
            json!({"can": ["publish"], "crates": ["a"], "vers": "1.0.0", "cksum": cksum}),
        ),
        (
            json!({"operation": "yank", "name": "a", "vers": "1.0.0"}),
            json!({"can": ["yank"], "crates": ["a"], "vers": "1.0.0"}),
        ),
        (
            json!({"operation": "unyank", "name": "a", "vers": "1.0.0"}),
            json!({"can": ["yank"], "crates": ["a"], "vers": "1.0.0"}),
        ),
        (
            json!({"operation": "owners", "name": "a"}),
            json!({"can": ["read", "own"], "crates": ["a"]}),
        ),
    ] {
        let mut question = operation.clone();
        question["kind"] = "get".into();
        let answer = ask(&settings, &index, &question);
        assert_eq!(answer["Ok"]["token"], token, "{answer}");
        assert_eq!(answer["Ok"]["operation_independent"], false);
        let is_read = operation["operation"] == "read";
        let cache = if is_read { "expires" } else { "never" };
        assert_eq!(answer["Ok"]["cache"], cache);
        let expiration = is_read.then_some(1_790_000_000);
        assert_eq!(
            answer["Ok"].get("expiration").and_then(Value::as_i64),
            expiration
        );
        let asked = registry.asked().pop().unwrap();
        let (_, body) = asked.split_once(' ').unwrap();
        let mut body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            body.as_object_mut().unwrap().remove("jwt"),
            Some(json!("an-id-token"))
        );
        assert_eq!(body, wanted);
    }
    let unknown = ask(
        &settings,
        &index,
        &json!({"kind": "get", "operation": "new-thing"}),
    );
    let not_supported = json!({"Err": {"kind": "operation-not-supported"}});
    assert_eq!(unknown, not_supported);
    assert_eq!(
        ask(&settings, &index, &json!({"kind": "new-kind"})),
        not_supported
    );
    // The first was good once.
    let sent: Vec<String> = forge.asked();
    assert!(
        sent[0].ends_with("refresh_token=hunter2-which-refreshes"),
        "{sent:?}"
    );
    assert!(
        sent[1..]
            .iter()
            .all(|it| it.ends_with("refresh_token=hunter2-the-next")),
        "{sent:?}"
    );
}

#[test]
fn a_refresh_token_goes_where_it_came_from() {
    let (settings, _folder) = settings();
    let (registry, forge, evil) = (Double::start(), Double::start(), Double::start());
    let index = format!("sparse+{}/crates/index/", registry.url);
    keep(&settings, &index, &signed_in(&forge.url));
    registry.says(
        "/crates/login",
        200,
        json!({"forge": evil.url, "client_id": "evil", "scope": "all"}),
    );
    forge.says("/token", 307, json!({}));
    let answer = ask(
        &settings,
        &index,
        &json!({"kind": "get", "operation": "read"}),
    );
    let message = answer["Err"]["message"].as_str().unwrap();
    assert!(message.contains("refuses (307)"), "{message}");
    assert_eq!(forge.asked().len(), 1);
    assert_eq!((evil.asked().len(), registry.asked().len()), (0, 0));
}

#[test]
fn a_forge_that_speaks_of_another_place_is_not_believed() {
    let (settings, _folder) = settings();
    let (registry, forge) = (Double::start(), Double::start());
    let index = format!("{}/crates/git", registry.url);
    registry.says(
        "/crates/login",
        200,
        json!({"forge": forge.url, "client_id": "c", "scope": "s"}),
    );
    let its = |place: &str| format!("{}{place}", forge.url);
    for (issuer, authorization, token) in [
        ("https://evil.example".to_owned(), its("/a"), its("/t")),
        (its("/"), "https://evil.example/a".to_owned(), its("/t")),
        (its(""), its("/a"), format!("{}.evil.example/t", forge.url)),
    ] {
        forge.says(
            "/.well-known/openid-configuration",
            200,
            json!({"issuer": issuer, "authorization_endpoint": authorization, "token_endpoint": token}),
        );
        let answer = ask(&settings, &index, &json!({"kind": "login"}));
        let message = answer["Err"]["message"].as_str().unwrap();
        assert!(message.contains("is of another place"), "{message}");
    }
}

#[test]
fn no_answer_and_no_sentence_holds_a_secret() {
    let (settings, folder) = settings();
    let (registry, forge) = (Double::start(), Double::start());
    let index = format!("{}/crates/git", registry.url);
    keep(&settings, &index, &signed_in(&forge.url));
    let read = json!({"kind": "get", "operation": "read"});
    let hears = || ask(&settings, &index, &read)["Err"].to_string();
    let mut heard = vec![hears()];
    forge.says("/token", 400, json!({"error": "invalid_grant"}));
    heard.push(hears());
    assert!(
        heard[1].contains("invalid_grant") && heard[1].contains("cargo login --registry crates"),
        "{heard:?}"
    );
    forge.says("/token", 200, json!({"id_token": ["hunter2"]}));
    heard.push(hears());
    forge.says("/token", 200, json!({"id_token": "hunter2-says-who"}));
    heard.push(hears());
    let refusal = json!({"errors": [{"detail": "the claim `aud` is another's"}]});
    registry.says("/crates/api/v1/trusted_publishing/tokens", 401, refusal);
    heard.push(hears());
    assert!(
        heard[4].contains("the claim `aud` is another's"),
        "{heard:?}"
    );
    // Questions and files that are broken, in the midst of a secret.
    let broken = format!("{{\"v\":1,\"kind\":\"login\",\"token\":\"{PASTED}\n");
    heard.push(told(&settings, &broken)[0].to_string());
    let sessions = fs::read_dir(folder.path().join("sidecargo")).unwrap();
    let mut sessions = sessions.map(|file| file.unwrap().path());
    let session = sessions
        .find(|path| path.extension().unwrap() == "json")
        .unwrap();
    fs::write(&session, "{\"pasted\":{\"token\":[\"hunter2\"]}}").unwrap();
    heard.push(hears());
    assert!(heard[6].contains("is damaged"), "{heard:?}");
    fs::set_permissions(&session, fs::Permissions::from_mode(0o640)).unwrap();
    heard.push(hears());
    assert!(
        heard[7].contains("others on this machine may read"),
        "{heard:?}"
    );
    for heard in heard {
        assert!(heard.contains("\"kind\":\"other\""), "{heard}");
        assert!(!heard.contains("hunter2"), "{heard}");
    }
}

#[test]
fn questions_without_end_and_homes_that_are_none_are_refused() {
    let (settings, _folder) = settings();
    let long = format!("{}\n", "x".repeat(100_000));
    let answers = told(&settings, &long);
    assert!(
        answers.iter().all(|it| it["Err"]["kind"] == "other"),
        "{answers:?}"
    );
    let homeless = Settings::default();
    let answer = ask(
        &homeless,
        INDEX,
        &json!({"kind": "get", "operation": "read"}),
    );
    let message = answer["Err"]["message"].as_str().unwrap();
    assert!(message.contains("set CARGO_HOME or HOME"), "{message}");
}
