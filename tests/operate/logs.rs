//! The log: request ids in every line of a request, JSON where it is wanted.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::git::git;
use crate::common::http::{exchange_bytes, get, request};
use crate::common::metrics::Metrics;
use crate::common::ran::run;
use crate::common::registry::{Registry, program};
use crate::common::upload::Release;

/// The lines of the log whose request has this id.
fn of_request<'a>(lines: &'a [Value], id: &str) -> Vec<&'a Value> {
    let has_id = |line: &&Value| line["span"]["request_id"] == id;
    lines.iter().filter(has_id).collect()
}

#[test]
fn a_log_of_json_parses_line_by_line_and_leads_from_the_answer_to_the_commit() {
    let mut registry = Registry::start_with("[log]\nformat = \"json\"\n");
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    let published = release.publish(registry.port, &token).succeeds();
    let refused = get("/crates/\"quoted\"").header("User-Agent", "a \"b\"\tc");
    let refused = refused.send(registry.port);
    let yank = request("DELETE", "/crates/api/v1/crates/krate/1.0.0/yank").token(&token);
    let yanked = yank.send(registry.port).succeeds();
    let unreadable = exchange_bytes(registry.port, b"no http at all\r\n\r\n").unwrap();
    let requests = Metrics::of(&registry);
    registry.stop();

    let log = registry.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|fault| panic!("{fault}: {line}")))
        .collect();
    for line in &lines {
        for key in ["timestamp", "level", "target", "message"] {
            assert!(line[key].is_string(), "no {key}: {line}");
        }
    }
    let trailers = "--format=%H %(trailers:key=Request-id,valueonly,separator=)";
    let history = git(&registry.repository(), &["log", trailers, "main"]).succeeds();
    for reply in [&published, &yanked] {
        let id = reply.header("x-request-id").unwrap();
        let commit = history.stdout.lines().find(|line| line.ends_with(id));
        let commit = commit.unwrap_or_else(|| panic!("no commit of {id}: {history}"));
        let (commit, _) = commit.split_once(' ').unwrap();
        let of_it = of_request(&lines, id);
        assert!(
            of_it.iter().any(|line| line["commit.id"] == commit),
            "{of_it:?}"
        );
        let answered = of_it
            .iter()
            .find(|line| line["message"] == "answered")
            .unwrap();
        assert_eq!(answered["status"], 200);
        assert_eq!(answered["span"]["principal"], "alice");
    }
    let of_refused = of_request(&lines, refused.header("x-request-id").unwrap());
    assert_eq!(of_refused[0]["status"], 404);
    let of_client = &of_refused[0]["span"];
    assert_eq!(of_client["path"], "/crates/\"quoted\"", "{of_client}");
    assert_eq!(of_client["user_agent"], "a \"b\"\tc", "{of_client}");
    // What is no request at all is answered by one who does not know the routes, and told all the same.
    let of_unreadable = of_request(&lines, unreadable.header("x-request-id").unwrap());
    assert_eq!(of_unreadable[0]["status"], 400);
    let series = "sidecargo_http_requests_total{route=\"none\",status=\"400\"}";
    assert_eq!(requests.get(series), 1.0);
}

#[test]
fn each_line_of_a_request_names_it_in_a_log_for_people_too() {
    let registry = Registry::start();
    let token = registry.token("alice");
    let release = Release::new("krate", "1.0.0");
    let reply = release.publish(registry.port, &token).succeeds();
    let id = reply.header("x-request-id").unwrap();
    let log = registry.log();
    let (of_group, lines): (Vec<&str>, Vec<&str>) = log
        .lines()
        .filter(|line| line.contains(id))
        .partition(|line| line.contains(&format!("group{{request_ids=\"{id}\"}}")));
    assert!(
        of_group.iter().any(|line| line.contains("the tip moved")),
        "{of_group:#?}"
    );
    for words in ["the index has the change", "answered"] {
        assert!(lines.iter().any(|line| line.contains(words)), "{lines:#?}");
    }
    assert!(
        lines.iter().all(|line| line.contains("principal=alice")),
        "{lines:#?}"
    );
    // Each request has its own, whatever the client says.
    let forged = get("/healthz")
        .header("X-Request-Id", id)
        .send(registry.port);
    assert_ne!(forged.header("x-request-id"), Some(id));
}

#[test]
fn what_is_logged_by_a_server_that_refuses_to_start_comes_before_its_refusal() {
    let folder = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n 200; exec \"$0\" \"$@\""])
        .arg(program())
        .args([
            "serve",
            "--listen",
            &taken.local_addr().unwrap().to_string(),
        ])
        .current_dir(folder.path());
    let refused = run(&mut limited, b"").fails_with("cannot be listened on");
    let lines: Vec<&str> = refused.stderr.lines().collect();
    let (refusal, logged) = lines.split_last().unwrap();
    assert!(refusal.starts_with("sidecargo: `listen`"), "{refused}");
    let is_told = |line: &&str| line.contains("few files may be open");
    assert!(logged.iter().any(is_told), "{refused}");
}

#[test]
fn a_start_that_fails_says_so_in_json_too() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("sidecargo.toml");
    let said = |log: &str| {
        fs::write(
            &file,
            format!("data = \"d\"\n[log]\nformat = \"json\"\n{log}"),
        )
        .unwrap();
        let mut command = Command::new(program());
        command.args(["serve", "--listen", &address, "--config"]);
        run(command.arg(&file), b"").ends_with_code(1).stderr
    };
    let json = said("");
    let last: Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "ERROR", "{json}");
    let reason = last["cause"].as_str().unwrap();
    let sentence = format!("`listen`: {address} cannot be listened on: ");
    assert!(reason.starts_with(&sentence), "{json}");
    // What nobody wants in the log is said all the same.
    let plain = said("filter = \"off\"\n");
    assert!(
        plain.starts_with(&format!("sidecargo: {sentence}")),
        "{plain}"
    );
}
