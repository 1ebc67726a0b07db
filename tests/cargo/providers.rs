//! A credential provider that is not Cargo's own: a program that speaks its protocol of JSON lines.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::common::cargos::{Sandbox, View};
use crate::common::http::get;
use crate::common::project::{Project, locked_version};
use crate::common::registry::Registry;

const PRIVATE: &str = "visibility = \"private\"\n";

/// What Cargo runs: it writes down each question and answers what the files beside it say.
const PROGRAM: &str = r#"#!/bin/sh
here=${0%/*}
printf '%s\n' '{"v":[1]}'
while IFS= read -r question; do
    printf '%s\n' "$question" >>"$here/questions"
    case $question in
    *'"kind":"get"'*'"operation":"publish"'*) file=publish ;;
    *'"kind":"get"'*) file=get ;;
    *'"kind":"login"'*) file=login ;;
    *'"kind":"logout"'*) file=logout ;;
    *) file=none ;;
    esac
    if [ -f "$here/$file" ]; then
        cat "$here/$file"
    else
        printf '%s\n' '{"Err":{"kind":"not-found"}}'
    fi
    # What follows Cargo's own questions is up to the program.
    case $file in
    logout) rm -f "$here/get" "$here/publish" ;;
    esac
done
"#;

/// A machine whose only way to a token is the program.
struct Provided {
    registry: Registry,
    cargo: Sandbox,
    folder: PathBuf,
}

impl Provided {
    fn new(config: &str) -> Self {
        let registry = Registry::start_with(config);
        let cargo = Sandbox::stable(&registry, View::Sparse);
        let folder = cargo.work().join("provider");
        fs::create_dir(&folder).unwrap();
        let program = folder.join("cargo-credential-of-tests");
        fs::write(&program, PROGRAM).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        let command = format!("{} --account me", program.display());
        cargo.configure(&format!(
            "[registry]\nglobal-credential-providers = [{command:?}]\n"
        ));
        Self {
            registry,
            cargo,
            folder,
        }
    }

    /// What the program answers from now on.
    fn answers(&self, question: &str, answer: &Value) {
        fs::write(self.folder.join(question), format!("{answer}\n")).unwrap();
    }

    fn gives(&self, question: &str, token: &str, caching: &Value) {
        let mut answer = json!({ "kind": "get", "token": token, "operation_independent": false });
        let caching = caching.as_object().unwrap().clone();
        answer.as_object_mut().unwrap().extend(caching);
        self.answers(question, &json!({ "Ok": answer }));
    }

    /// What Cargo has asked since the last time.
    fn questions(&self) -> Vec<Value> {
        let path = self.folder.join("questions");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        let questions = text.lines().map(|line| serde_json::from_str(line).unwrap());
        questions.collect()
    }

    fn publishes(&self, name: &str, version: &str) -> crate::common::ran::Ran {
        let folder = Project::library(name, version, "").write(&self.cargo.work());
        let words = ["publish", "--registry", "crates", "--no-verify"];
        self.cargo.cargo(&folder, &words)
    }
}

#[test]
fn a_provider_gets_what_it_needs_for_a_token_of_one_publish() {
    let provided = Provided::new(PRIVATE);
    let registry = &provided.registry;
    // One token that reads, and one that publishes this crate and nothing else.
    let reading = registry.token_with("alice", &["--can", "read"]);
    let publishing = registry.token_with("alice", &["--can", "publish", "--crates", "narrow"]);
    provided.gives("get", &reading, &json!({ "cache": "session" }));
    provided.gives("publish", &publishing, &json!({ "cache": "never" }));
    provided.publishes("narrow", "1.0.0").succeeds();

    let line = get("/crates/index/na/rr/narrow").token(&reading);
    let line = line.send(registry.port).succeeds().json();
    let questions = provided.questions();
    let of = |operation: &str| -> Vec<&Value> {
        let is_it = |question: &&Value| question["operation"] == operation;
        questions.iter().filter(is_it).collect()
    };
    let (reads, publishes) = (of("read"), of("publish"));
    assert_eq!(reads.len(), 1, "kept for the session: {questions:?}");
    let asked = reads[0]["registry"].clone();
    assert_eq!(asked["index-url"], registry.sparse_index());
    assert_eq!(asked["name"], "crates");
    let login_url = format!("http://localhost:{}/crates/me", registry.port);
    let headers = asked["headers"].to_string();
    assert!(headers.contains(&login_url), "{headers}");
    assert_eq!(reads[0]["args"], json!(["--account", "me"]));
    assert_eq!(publishes.len(), 1, "{questions:?}");
    assert_eq!(publishes[0]["name"], "narrow");
    assert_eq!(publishes[0]["vers"], "1.0.0");
    assert_eq!(publishes[0]["cksum"], line["cksum"]);

    // The token is not good for another crate, however often the program gives it.
    provided.publishes("other", "1.0.0").fails_with("may not");
    let yank = ["yank", "narrow@1.0.0", "--registry", "crates"];
    provided
        .cargo
        .cargo(&provided.cargo.work(), &yank)
        .fails_with("may not `yank`");
    let kinds: Vec<Value> = provided.questions();
    assert!(
        kinds
            .iter()
            .any(|question| { question["operation"] == "yank" && question["name"] == "narrow" })
    );
}

#[test]
fn a_provider_is_asked_again_once_its_token_has_expired() {
    let provided = Provided::new(PRIVATE);
    let registry = &provided.registry;
    let all = registry.token("alice");
    provided.gives("publish", &all, &json!({ "cache": "never" }));
    provided.gives("get", &all, &json!({ "cache": "session" }));
    provided.publishes("krate", "1.0.0").succeeds();
    let hello = Project::program("hello", "")
        .depends_on("krate", "1")
        .write(&provided.cargo.work());
    let asked_in_a_session = |caching: Value| {
        provided.gives("get", &all, &caching);
        provided.cargo.forget_downloads();
        provided.questions();
        provided.cargo.cargo(&hello, &["fetch"]).succeeds();
        assert_eq!(locked_version(&hello, "krate"), "1.0.0");
        provided.questions().len()
    };
    let far = 32_503_680_000_u64;
    assert_eq!(asked_in_a_session(json!({ "cache": "session" })), 1);
    assert_eq!(
        asked_in_a_session(json!({ "cache": "expires", "expiration": far })),
        1
    );
    let past = json!({ "cache": "expires", "expiration": 1 });
    assert!(asked_in_a_session(past) > 1);
}

#[test]
fn login_and_logout_reach_the_provider() {
    let provided = Provided::new(PRIVATE);
    let (registry, cargo) = (&provided.registry, &provided.cargo);
    let token = registry.token("alice");
    let done = |kind: &str| json!({ "Ok": { "kind": kind } });
    provided.answers("login", &done("login"));
    provided.answers("logout", &done("logout"));
    cargo.login(&token);
    let questions = provided.questions();
    let login = questions
        .iter()
        .find(|question| question["kind"] == "login");
    let login = login.unwrap_or_else(|| panic!("no login: {questions:?}"));
    let login_url = format!("http://localhost:{}/crates/me", registry.port);
    assert_eq!(login["login-url"], login_url);
    // Cargo leaves it to the program to ask for the token.
    provided.gives("get", &token, &json!({ "cache": "session" }));
    provided.gives("publish", &token, &json!({ "cache": "never" }));
    provided.publishes("krate", "1.0.0").succeeds();

    let logout = ["logout", "--registry", "crates"];
    cargo.cargo(&cargo.work(), &logout).succeeds();
    let questions = provided.questions();
    assert_eq!(questions.last().unwrap()["kind"], "logout");
    provided
        .publishes("krate", "1.0.1")
        .fails_with("no token found for `crates`");
    // Nothing of the token was stored by Cargo itself.
    let stored = cargo.work().join("../cargo-home/credentials.toml");
    assert!(!stored.exists());
}

#[test]
fn the_last_provider_is_asked_first_and_the_next_one_if_it_knows_nothing() {
    let provided = Provided::new(PRIVATE);
    let (registry, cargo) = (&provided.registry, &provided.cargo);
    let token = registry.token("alice");
    let program = provided.folder.join("cargo-credential-of-tests");
    let both = format!("[\"cargo:token\", {program:?}]");
    let env = [
        (
            "CARGO_REGISTRIES_BY_ENV_INDEX",
            &registry.sparse_index()[..],
        ),
        ("CARGO_REGISTRIES_BY_ENV_TOKEN", &token),
    ];
    let folder = Project::library("krate", "1.0.0", "").write(&cargo.work());
    let providers = format!("registry.global-credential-providers={both}");
    let words = ["--config", &providers, "publish", "--registry", "by-env"];
    cargo.cargo_with_env(&folder, &words, &env).succeeds();
    let questions = provided.questions();
    assert!(!questions.is_empty(), "the program was not asked");
    assert!(questions.iter().all(|question| question["kind"] == "get"));
}
