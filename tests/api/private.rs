//! What a private registry shows to those without a token that may read: nothing.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::common::git;
use crate::common::http::{Reply, Request, get, request};
use crate::common::registry::Registry;
use crate::common::upload::Release;
use crate::common::watch::eventually;

const PRIVATE: &str = "visibility = \"private\"\n";
const PUBLIC: &str = "visibility = \"public\"\n";
const WITH_CAPABILITY: &str = "visibility = \"private\"\ncapability_downloads = true\n";

/// How a route asks for a token.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Asks {
    AsCargo,
    AsGit,
    /// It is for those who have none.
    Never,
    /// A path that is wrong leads nowhere.
    NotFound,
}

/// Every handler of the table of routes, a request that reaches it, and how it asks for a token.
const ROUTES: [(&str, &str, &str, Asks); 23] = {
    use Asks::{AsCargo, AsGit, Never, NotFound};
    [
        ("sparse::index_file", "GET", "index/kr/at/krate", AsCargo),
        (
            "download::download",
            "GET",
            "dl/krate/1.0.0/download",
            AsCargo,
        ),
        (
            "download::download_by_capability",
            "GET",
            "dl/00112233445566778899aabbccddeeff/krate/1.0.0/CKSUM",
            NotFound,
        ),
        (
            "git::info_refs",
            "GET",
            "git/info/refs?service=git-upload-pack",
            AsGit,
        ),
        ("git::upload_pack", "POST", "git/git-upload-pack", AsGit),
        ("git::receive_pack", "POST", "git/git-receive-pack", AsGit),
        ("api::publish", "PUT", "api/v1/crates/new", AsCargo),
        (
            "api::yank",
            "DELETE",
            "api/v1/crates/krate/1.0.0/yank",
            AsCargo,
        ),
        (
            "api::unyank",
            "PUT",
            "api/v1/crates/krate/1.0.0/unyank",
            AsCargo,
        ),
        (
            "api::list_owners",
            "GET",
            "api/v1/crates/krate/owners",
            AsCargo,
        ),
        (
            "api::add_owners",
            "PUT",
            "api/v1/crates/krate/owners",
            AsCargo,
        ),
        (
            "api::remove_owners",
            "DELETE",
            "api/v1/crates/krate/owners",
            AsCargo,
        ),
        ("api::search", "GET", "api/v1/crates?q=krate", AsCargo),
        // Without a forge there is nothing to exchange, and nobody to sign in at.
        (
            "api::exchange",
            "POST",
            "api/v1/trusted_publishing/tokens",
            NotFound,
        ),
        (
            "api::give_back",
            "DELETE",
            "api/v1/trusted_publishing/tokens",
            AsCargo,
        ),
        ("webhook::event", "POST", "webhook", NotFound),
        ("browse::crates", "GET", "", AsGit),
        ("browse::of_repository", "GET", "repositories/7", AsGit),
        ("login::login", "GET", "login", NotFound),
        ("pages::me", "GET", "me", Never),
        ("pages::health", "GET", "/healthz", Never),
        ("pages::ready", "GET", "/readyz", Never),
        ("pages::metrics", "GET", "/metrics", AsCargo),
    ]
};

fn address(path: &str, release: &Release) -> String {
    let path = path.replace("CKSUM", &release.cksum());
    match path.starts_with('/') {
        true => path,
        false => format!("/crates/{path}"),
    }
}

/// A private registry with a crate of alice, and her token.
fn registry_with_a_crate(config: &str) -> (Registry, Release, String) {
    let registry = Registry::start_with(config);
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    release.publish(registry.port, &token).succeeds();
    (registry, release, token)
}

#[test]
fn the_table_here_has_every_route() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/routes.rs");
    let source = fs::read_to_string(source).unwrap();
    let handlers: Vec<&str> = source
        .split(".then(")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(handler, _)| handler))
        .filter(|handler| handler.contains("::"))
        .collect();
    let known: Vec<&str> = ROUTES.iter().map(|(handler, ..)| *handler).collect();
    assert_eq!(handlers, known);
}

#[test]
fn nothing_is_read_without_a_token_that_may_read() {
    let (registry, release, token) = registry_with_a_crate(WITH_CAPABILITY);
    let tip = git::tip(&registry.repository());
    let elsewhere = Registry::start().token("alice");
    let unreadable = registry.token_with("alice", &["--can", "publish,yank,own"]);
    let (head, _) = token.rsplit_once('.').unwrap();
    let tokens = [
        None,
        Some(elsewhere),
        Some(format!("{head}.{}", "A".repeat(86))),
        Some("Bearer ".to_owned()),
        Some(format!("Basic {}", STANDARD.encode("alice:wrong"))),
    ];
    for (handler, method, path, asks) in ROUTES {
        let path = address(path, &release);
        let with = |token: Option<&str>| match token {
            Some(token) => request(method, &path).token(token),
            None => request(method, &path),
        };
        for token in &tokens {
            is_asked(handler, &with(token.as_deref()).send(registry.port), asks);
        }
        let is_read = method == "GET" && asks != Asks::Never && asks != Asks::NotFound;
        if is_read || handler.starts_with("git::") {
            let refused = with(Some(&unreadable)).send(registry.port);
            assert_eq!(refused.status, 403, "{handler}");
            assert!(refused.refusal().contains("may not `read`"), "{handler}");
        }
        let known = with(None).header("If-None-Match", "*").send(registry.port);
        is_asked(handler, &known, asks);
        if method == "GET" && !handler.starts_with("git::") {
            let head = request("HEAD", &path).send(registry.port);
            assert_eq!(head.status, status(asks), "HEAD for {handler}");
        }
    }
    // What is not there is refused in the same way, and so is what asks for the settings of Cargo.
    for path in [
        "index/config.json",
        "index/no/ne/none",
        "dl/none/1.0.0/download",
    ] {
        let reply = get(address(path, &release)).send(registry.port);
        is_asked(path, &reply, Asks::AsCargo);
    }
    assert_eq!(
        git::tip(&registry.repository()),
        tip,
        "something was changed"
    );
}

fn status(asks: Asks) -> u16 {
    match asks {
        Asks::AsCargo | Asks::AsGit => 401,
        Asks::Never => 200,
        Asks::NotFound => 404,
    }
}

#[track_caller]
fn is_asked(handler: &str, reply: &Reply, asks: Asks) {
    assert_eq!(reply.status, status(asks), "{handler}: {reply:?}");
    let challenge = reply.header("www-authenticate").unwrap_or_default();
    match asks {
        Asks::AsCargo => {
            assert!(challenge.starts_with("Cargo login_url=\"http://localhost:"));
            assert!(
                challenge.ends_with("/crates/me\""),
                "{handler}: {challenge}"
            );
        }
        Asks::AsGit => assert_eq!(challenge, "Basic realm=\"crates\"", "{handler}"),
        Asks::Never | Asks::NotFound => assert_eq!(challenge, "", "{handler}"),
    }
    if asks != Asks::Never {
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert!(!reply.refusal().is_empty());
    }
}

#[test]
fn whoever_may_read_reads_and_no_shared_cache_keeps_it() {
    let (registry, release, _) = registry_with_a_crate(PRIVATE);
    // Limited in every other way: reading is of the whole registry.
    let reader = registry.token_with("bob", &["--can", "read", "--crates", "other"]);
    let basic = format!("Basic {}", STANDARD.encode(format!("anybody:{reader}")));
    for authorization in [&reader, &format!("Bearer {reader}"), &basic] {
        for (handler, method, path, asks) in ROUTES {
            if method != "GET" || asks == Asks::NotFound {
                continue;
            }
            let reply = get(address(path, &release))
                .token(authorization)
                .send(registry.port);
            // No crate here belongs to a repository.
            let found = if handler == "browse::of_repository" {
                404
            } else {
                200
            };
            assert_eq!(reply.status, found, "{handler}: {reply:?}");
            let caching = reply.header("cache-control").unwrap_or_default();
            assert!(caching.starts_with("private, "), "{handler}: {caching}");
            assert!(!caching.contains("public"), "{handler}: {caching}");
        }
    }
    let tag = get("/crates/index/kr/at/krate").token(&reader);
    let tag = tag.send(registry.port).succeeds();
    let tag = tag.header("etag").unwrap();
    let known = get("/crates/index/kr/at/krate")
        .token(&reader)
        .header("If-None-Match", tag)
        .send(registry.port);
    assert_eq!(known.status, 304);
    assert_eq!(known.header("cache-control"), Some("private, no-cache"));
    let refused = release.publish(registry.port, &reader);
    assert_eq!(refused.status, 403, "{}", refused.refusal());
}

#[test]
fn restarts_change_who_may_read_by_commits() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    release.publish(registry.port, &token).succeeds();
    let config_json = |registry: &Registry| {
        let reply = get("/crates/index/config.json").token(&token);
        reply.send(registry.port).succeeds().json()
    };
    let root = format!("http://localhost:{}/crates", registry.port);
    let public = serde_json::json!({ "dl": format!("{root}/dl"), "api": root });
    assert_eq!(config_json(&registry), public);

    registry.stop();
    registry.start_again_with(PRIVATE);
    let private = serde_json::json!({
        "dl": format!("{root}/dl"), "api": root, "auth-required": true
    });
    assert_eq!(config_json(&registry), private);
    let anonymous = get("/crates/index/kr/at/krate").send(registry.port);
    assert_eq!(anonymous.status, 401);

    registry.stop();
    registry.start_again_with(WITH_CAPABILITY);
    let with_capability = config_json(&registry);
    let capability = capability_of(&with_capability);
    assert_eq!(with_capability["auth-required"], true);
    let before = git::tip(&registry.repository());
    registry.stop();
    registry.start_again();
    assert_eq!(git::tip(&registry.repository()), before, "nothing is new");
    assert_eq!(config_json(&registry), with_capability);

    registry.stop();
    registry.start_again_with(PUBLIC);
    assert_eq!(config_json(&registry), public);
    get("/crates/index/kr/at/krate")
        .send(registry.port)
        .succeeds();

    // What the public index shows of former times opens nothing.
    registry.stop();
    registry.start_again_with(WITH_CAPABILITY);
    assert_ne!(capability_of(&config_json(&registry)), capability);
    assert_eq!(
        subjects(&registry)[..4],
        [
            "make the registry private, switch capability downloads on",
            "make the registry public, switch capability downloads off",
            "switch capability downloads on",
            "make the registry private",
        ]
    );
}

#[test]
fn what_the_configuration_hides_is_hidden_before_the_index_says_so() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    release.publish(registry.port, &token).succeeds();
    let public = get("/crates/index/config.json").send(registry.port);
    let tag = public.header("etag").unwrap();
    registry.stop();
    let repository = registry.repository();
    let git = |words: &[&str]| {
        let who = ["-c", "user.name=Bob", "-c", "user.email=bob@example.com"];
        let ran = git::git(&repository, &[&who, words].concat());
        ran.succeeds().stdout.trim().to_owned()
    };
    let good = git::tip(&repository);
    let empty = git(&["hash-object", "-t", "tree", "-w", "/dev/null"]);
    let bad = git(&["commit-tree", "-m", "nothing", "-p", &good, &empty]);
    git(&["update-ref", "refs/heads/main", &bad]);
    registry.knows_its_files();

    registry.start_again_with(PRIVATE);
    let anonymous = |path: &str| get(path).send(registry.port).status;
    let says_private = || {
        let shown = git(&["show", "refs/namespaces/served/refs/heads/main:config.json"]);
        shown.contains("\"auth-required\":true")
    };
    for path in [
        "/crates/index/config.json",
        "/crates/index/kr/at/krate",
        "/crates/dl/krate/1.0.0/download",
        "/crates/git/info/refs?service=git-upload-pack",
    ] {
        assert_eq!(anonymous(path), 401, "{path}");
    }
    assert!(!says_private());
    // The sparse index does, or Cargo would send its token for nothing but that; whoever knows it from before gets it anew.
    let known = get("/crates/index/config.json").token(&token);
    let config = known.header("If-None-Match", tag).send(registry.port);
    assert_eq!(config.succeeds().json()["auth-required"], true);
    let examined = || {
        let path = registry.config_path();
        let words = ["doctor", "--config", path.to_str().unwrap()];
        let ran = registry.run(&words);
        let mut lines = ran.stdout.lines();
        let line = lines.find(|line| line.contains("who may read: "));
        line.unwrap_or_else(|| panic!("{ran}")).to_owned()
    };
    let said = examined();
    let is_told = said.starts_with("mend") && said.contains("the configuration says `private`");
    assert!(is_told, "{said}");

    git(&["update-ref", "refs/heads/main", &good]);
    eventually("the index says so", || says_private().then_some(()));
    assert_eq!(subjects(&registry)[0], "make the registry private");
    assert!(examined().starts_with("good"), "{}", examined());
}

#[test]
fn a_registry_is_opened_only_by_a_configuration_that_says_so() {
    let mut registry = Registry::start_with(PRIVATE);
    let mark = registry.data().join("closed");
    let anonymous = |registry: &Registry| {
        let config = get("/crates/index/config.json");
        config.send(registry.port).status
    };
    let mut start = |config: &str, status: u16| {
        registry.stop();
        registry.start_again_with(config);
        assert_eq!(anonymous(&registry), status, "{config:?}");
        subjects(&registry)
    };
    let private = start("", 401);
    assert_eq!(private.len(), 1, "nothing is new: {private:?}");
    start(PUBLIC, 200);
    assert_eq!(start("", 200).len(), 2);
    // So a forge leaves one that it had hidden, if the index could not be told.
    fs::write(&mark, "").unwrap();
    for _ in 0..2 {
        assert_eq!(start("", 401)[0], "make the registry private");
        assert!(mark.exists());
    }
    assert_eq!(start(PUBLIC, 200)[0], "make the registry public");
    assert!(!mark.exists());
}

fn subjects(registry: &Registry) -> Vec<String> {
    let arguments = ["log", "--format=%s", "refs/heads/main"];
    let log = git::git(&registry.repository(), &arguments).succeeds();
    log.stdout.lines().map(str::to_owned).collect()
}

fn capability_of(config_json: &serde_json::Value) -> String {
    let (_, capability) = config_json["dl"]
        .as_str()
        .unwrap()
        .split_once("/dl/")
        .unwrap();
    let (capability, rest) = capability.split_once('/').unwrap();
    assert_eq!(rest, "{crate}/{version}/{sha256-checksum}");
    assert_eq!(capability.len(), 32);
    capability.to_owned()
}

#[test]
fn a_capability_opens_what_the_index_names_until_it_is_rotated() {
    let (mut registry, release, token) = registry_with_a_crate(WITH_CAPABILITY);
    let capability = |registry: &Registry| {
        let reply = get("/crates/index/config.json").token(&token);
        capability_of(&reply.send(registry.port).succeeds().json())
    };
    let first = capability(&registry);
    let cksum = release.cksum();
    let good = format!("/crates/dl/{first}/krate/1.0.0/{cksum}");
    let reply = get(&good).send(registry.port).succeeds();
    assert!(reply.body == release.crate_file);
    let caching = reply.header("cache-control").unwrap();
    assert!(caching.starts_with("private, max-age="), "{caching}");
    let part = get(&good).header("Range", "bytes=0-9").send(registry.port);
    assert_eq!((part.status, part.body.len()), (206, 10));
    assert_eq!(request("HEAD", &good).send(registry.port).status, 200);
    // With a token the ordinary address works as well.
    let ordinary = get(release.download_path()).token(&token);
    assert!(ordinary.send(registry.port).succeeds().body == release.crate_file);

    let flipped = |text: &str| {
        let last = if text.ends_with('0') { "1" } else { "0" };
        format!("{}{last}", &text[..text.len() - 1])
    };
    for path in [
        good.replace(&first, &flipped(&first)),
        good.replace(&first, &first.to_uppercase()),
        good.replace(&first, &first[..31]),
        good.replace(&cksum, &flipped(&cksum)),
        good.replace(&cksum, "download"),
        good.replace("1.0.0", "1.0.1"),
        good.replace("krate", "none"),
        good.replace("krate", "Krate"),
        good.replace("krate", "%ff"),
    ] {
        if path == good {
            // A capability may happen to be all digits.
            continue;
        }
        // A token does not help: the address is wrong.
        for request in [get(&path), get(&path).token(&token)] {
            assert_eq!(request.send(registry.port).status, 404, "{path}");
        }
    }

    // A running server serves the new secret at once.
    let rotated = registry.run(&["downloads", "rotate"]).succeeds();
    let second = capability(&registry);
    assert_ne!(first, second);
    assert_eq!(get(&good).send(registry.port).status, 404);
    let anew = good.replace(&first, &second);
    assert!(get(&anew).send(registry.port).succeeds().body == release.crate_file);
    assert_eq!(subjects(&registry)[0], "rotate the capability of downloads");

    registry.stop();
    registry.start_again_with(PRIVATE);
    assert_eq!(get(&anew).send(registry.port).status, 404);
    for said in [registry.log(), rotated.to_string()] {
        for secret in [&first, &second, &token] {
            assert!(!said.contains(&**secret), "a secret is shown in:\n{said}");
        }
    }
}

#[test]
fn only_what_is_there_can_be_rotated() {
    let mut registry = Registry::start_with(PRIVATE);
    let before = git::tip(&registry.repository());
    let refuses = |registry: &Registry| {
        let refused = registry.run(&["downloads", "rotate"]);
        refused.fails_with("capability_downloads");
        assert_eq!(git::tip(&registry.repository()), before);
    };
    refuses(&registry);
    registry.stop();
    refuses(&registry);
}

#[test]
fn refusals_of_a_public_registry_say_where_tokens_come_from() {
    let registry = Registry::start();
    for (handler, method, path, asks) in ROUTES {
        let reply = request(method, address(path, &Release::new("krate", "1.0.0")));
        let reply = reply.send(registry.port);
        if method == "GET" {
            assert_ne!(reply.status, 401, "{handler}");
        } else if asks == Asks::AsCargo {
            is_asked(handler, &reply, asks);
        }
    }
}

/// Sent with a body that is never read: the answer comes first.
#[test]
fn a_fetch_without_a_token_is_refused_before_its_body() {
    let (registry, _, _) = registry_with_a_crate(PRIVATE);
    let fetch: Request = request("POST", "/crates/git/git-upload-pack").body(vec![b'0'; 4096]);
    is_asked("a fetch", &fetch.send(registry.port), Asks::AsGit);
}
