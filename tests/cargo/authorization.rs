//! Which requests real cargos make to a private registry, with which authorization, and what they show of it.

use std::path::PathBuf;

use crate::common::cargos::{Sandbox, View};
use crate::common::http::{get, request};
use crate::common::person;
use crate::common::project::Project;
use crate::common::registry::Registry;
use crate::common::upload::Release;

const PRIVATE: &str = "visibility = \"private\"\n";
/// What makes Cargo send a token with reads.
const PROVIDER: &str = "[registry]\nglobal-credential-providers = [\"cargo:token\"]\n";

#[test]
fn only_the_very_first_request_goes_without_a_token() {
    let registry = Registry::start_with(PRIVATE);
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    release.publish(registry.port, &token).succeeds();
    let cargo = Sandbox::stable(&registry, View::Sparse);
    cargo.configure(PROVIDER);
    cargo.login(&token);
    cargo.forget_downloads();
    let hello = user(&cargo, "krate");

    let before = registry.log().len();
    cargo.cargo(&hello, &["fetch"]).succeeds();
    let config = "GET /crates/index/config.json";
    let line = "GET /crates/index/kr/at/krate";
    assert_eq!(
        requests(&registry, before),
        [
            format!("{config} 401"),
            format!("{config} 200"),
            format!("{line} 200"),
            "GET /crates/dl/krate/1.0.0/download 200".to_owned(),
        ]
    );

    // The next session has learnt from `auth-required`.
    let before = registry.log().len();
    cargo.cargo(&hello, &["update"]).succeeds();
    let asked = requests(&registry, before);
    assert!(!asked.is_empty() && asked.len() <= 2, "{asked:?}");
    assert_eq!(asked.last(), Some(&format!("{line} 304")));
    assert!(asked.iter().all(|it| !it.ends_with("401")), "{asked:?}");
}

#[test]
fn without_a_provider_cargo_says_which_setting_is_missing_after_one_request() {
    let registry = Registry::start_with(PRIVATE);
    let cargo = Sandbox::stable(&registry, View::Sparse);
    // Even with a token: Cargo reads with it only if it is told where from.
    let token = registry.token("alice");
    let env = [("CARGO_REGISTRIES_CRATES_TOKEN", token.as_str())];
    let before = registry.log().len();
    cargo
        .cargo_with_env(&user(&cargo, "krate"), &["fetch"], &env)
        .fails_with("authenticated registries require a credential-provider to be configured");
    let asked = requests(&registry, before);
    assert_eq!(asked, ["GET /crates/index/config.json 401"]);
}

#[test]
fn cargo_shows_where_tokens_come_from() {
    for config in ["", PRIVATE] {
        let registry = Registry::start_with(config);
        let page = format!("http://localhost:{}/crates/me", registry.port);
        let cargo = Sandbox::stable(&registry, View::Sparse);
        cargo.configure(PROVIDER);
        let login = ["login", "--registry", "crates"];
        // Nothing is pasted.
        let asked = cargo.cargo(&cargo.work(), &login);
        let said = format!("{}{}", asked.stdout, asked.stderr);
        let wanted = format!("please paste the token found on {page} below");
        assert!(said.contains(&wanted), "{asked}");
        assert!(!asked.is_success(), "{asked}");

        let folder = Project::library("krate", "1.0.0", "").write(&cargo.work());
        let publish = ["publish", "--registry", "crates", "--no-verify"];
        cargo
            .cargo(&folder, &publish)
            .fails_with("no token found for `crates`");
        get("/crates/me").send(registry.port).succeeds();
    }
}

#[test]
fn the_most_talkative_logs_of_both_sides_hold_no_token() {
    for view in [View::Sparse, View::Git] {
        let config = format!("{PRIVATE}[log]\nfilter = \"trace\"\n");
        let registry = Registry::start_with(&config);
        let token = registry.token("alice");
        let cargo = Sandbox::stable(&registry, View::Sparse);
        cargo.configure(PROVIDER);
        cargo.login(&token);
        let helper = format!("!printf 'username=me\\npassword={token}\\n'");
        let store = format!("credential.{}.helper", registry.git_index());
        let index = match view {
            View::Sparse => registry.sparse_index(),
            View::Git => registry.git_index(),
        };
        let env = [
            ("CARGO_REGISTRIES_CRATES_INDEX", index.as_str()),
            ("CARGO_LOG", "trace"),
            ("CARGO_HTTP_DEBUG", "true"),
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", &store),
            ("GIT_CONFIG_VALUE_0", &helper),
            // With it the helper above is git's own business.
            ("CARGO_NET_GIT_FETCH_WITH_CLI", "true"),
            ("CARGO_REGISTRIES_CRATES_TOKEN", &token),
        ];
        let folder = Project::library("krate", "1.0.0", "").write(&cargo.work());
        let publish = ["publish", "--registry", "crates", "--no-verify"];
        let published = cargo.cargo_with_env(&folder, &publish, &env).succeeds();
        let fetch = ["fetch"];
        let fetched = cargo
            .cargo_with_env(&user(&cargo, "krate"), &fetch, &env)
            .succeeds();
        let signature = token.rsplit('.').next().unwrap();
        for said in [&published, &fetched] {
            assert!(said.stderr.contains("[REDACTED]"), "no header was logged");
            assert!(!said.stderr.contains(signature), "Cargo has logged a token");
        }
        let log = registry.log();
        assert!(log.contains("answered status=401"), "{log}");
        assert_eq!(registry.misplaced_secrets(), [""; 0]);
    }
}

#[test]
fn requests_without_a_token_take_nothing_from_those_with_one() {
    let mut registry = Registry::start_with(PRIVATE);
    let token = registry.token("alice");
    registry.stop();
    let policy = include_str!("../../index-template/policy.toml");
    let rates = "[rates]\nnew_crates = { burst = 1, per_hour = 1 }\n\
                 new_versions = { burst = 1, per_hour = 1 }\nyanks = { burst = 1, per_hour = 1 }";
    person::commit_file(&registry, "policy.toml", &policy.replace("[rates]", rates));
    registry.start_again();
    let port = registry.port;
    let release = Release::new("krate", "1.0.0");
    let yank = "/crates/api/v1/crates/krate/1.0.0/yank";
    let probe = |token: Option<&str>| {
        let upload = match token {
            Some(token) => release.request(token),
            None => request("PUT", "/crates/api/v1/crates/new").body("probe"),
        };
        let with = |it: crate::common::http::Request| match token {
            Some(token) => it.token(token),
            None => it,
        };
        for it in [
            with(get("/crates/index/config.json")),
            with(request("DELETE", yank)),
            upload,
        ] {
            assert_eq!(it.send(port).status, 401);
        }
    };
    let (head, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", "A".repeat(86));
    for _ in 0..200 {
        probe(None);
        probe(Some(&forged));
    }
    // Each of these may be done once an hour.
    release.publish(port, &token).succeeds();
    let next = Release::new("krate", "1.0.1");
    next.publish(port, &token).succeeds();
    request("DELETE", yank).token(&token).send(port).succeeds();
    let third = Release::new("krate", "1.0.2").publish(port, &token);
    assert_eq!(third.status, 429, "the limits hold: {}", third.refusal());
}

/// The requests since `before`, each as its method, path and answer.
fn requests(registry: &Registry, before: usize) -> Vec<String> {
    let log = registry.log().split_off(before);
    let part = |line: &str, before: &str, end: char| {
        let (_, rest) = line.split_once(before)?;
        Some(rest.split(end).next()?.to_owned())
    };
    log.lines()
        .filter_map(|line| {
            let status = part(line, "answered status=", ' ')?;
            let (method, path) = (part(line, "method=", ' ')?, part(line, "path=\"", '"')?);
            Some(format!("{method} {path} {status}"))
        })
        .collect()
}

fn user(cargo: &Sandbox, krate: &str) -> PathBuf {
    Project::program("hello", "")
        .depends_on(krate, "1")
        .write(&cargo.work())
}
