//! A server whose clock is set back and forth while it runs.

use std::fs;
use std::process::Command;

use super::wait_until;
use crate::common::cargos::{Sandbox, View};
use crate::common::git;
use crate::common::http::get;
use crate::common::person::{Person, Receive};
use crate::common::project::{Project, locked_version};
use crate::common::ran::run;
use crate::common::registry::{Registry, program};
use crate::common::tools;
use crate::common::upload::Release;

/// What the clock of the server shows beside that of everybody else, as `libfaketime` has it; in order.
const JUMPS: [&str; 5] = ["+0", "+30d", "+0", "-20s", "+1d"];
/// Clocks by which a token of today is not good.
const FAR: [(&str, &str); 2] = [("-10y", "check the clocks"), ("+10y", "expired")];

#[test]
fn a_clock_outside_of_every_calendar_is_named_and_nothing_is_made_by_it() {
    let Some(faketime) = tools::faketime() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for jump in ["+8000y", "-70y"] {
        for words in [
            &["token", "create", "alice"][..],
            &["serve", "--listen", "127.0.0.1:0"],
        ] {
            let mut command = Command::new(program());
            command
                .args(words)
                .arg("--data")
                .arg(&data)
                .env("LD_PRELOAD", &faketime)
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("FAKETIME", jump);
            run(&mut command, b"").fails_with("the clock of this machine is not between");
            assert!(!data.exists());
        }
    }
}

#[test]
fn a_clock_that_jumps_under_a_server_hurts_nothing_and_its_effect_is_over_with_it() {
    let Some(faketime) = tools::faketime() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    let set = |jump: &str| {
        let spare = folder.path().join("spare");
        fs::write(&spare, jump).unwrap();
        fs::rename(&spare, &clock).unwrap();
    };
    set("+0");
    let variables = [
        format!("LD_PRELOAD={}", faketime.display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        // Nobody sets that one.
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    let variables = variables.each_ref().map(String::as_str);
    let registry = Registry::start_under(&[&["env"], &variables[..]].concat());
    let token = registry.token("alice");
    let publish = |version: &str| Release::new("krate", version).publish(registry.port, &token);
    let cargos = [View::Sparse, View::Git].map(|view| Sandbox::stable(&registry, view));
    let is_read = |version: &str| {
        for cargo in &cargos {
            let hello = Project::program("hello", "").depends_on("krate", "1");
            let hello = hello.write(&cargo.work());
            cargo.cargo(&hello, &["update"]).succeeds();
            assert_eq!(locked_version(&hello, "krate"), version);
        }
    };
    for (number, jump) in JUMPS.into_iter().enumerate() {
        set(jump);
        let version = format!("1.{number}.0");
        publish(&version).succeeds();
        is_read(&version);
    }
    // The line and its commit say what the clock said.
    let times = git::git(&registry.repository(), &["log", "--format=%ct", "main"]);
    let mut times = times
        .stdout
        .lines()
        .map(|time| time.parse::<i64>().unwrap());
    let (newest, before) = (times.next().unwrap(), times.next().unwrap());
    assert!(newest - before > 86_000, "{newest} after {before}");

    for (jump, word) in FAR {
        set(jump);
        let refused = publish("2.0.0");
        assert_eq!(refused.status, 401, "{refused:?}");
        let why = refused.refusal();
        assert!(why.contains(word), "{why}");
        is_read("1.4.0");
        // What somebody pushes is followed by another clock than that of the wall.
        let person = Person::of(&registry);
        let path = "kr/at/krate";
        let (from, to) = match word {
            "check the clocks" => ("\"yanked\":false", "\"yanked\":true"),
            _ => ("\"yanked\":true", "\"yanked\":false"),
        };
        let text = person.read(path).replacen(from, to, 1);
        person.write(path, &text).commit("One of them");
        person.push("HEAD:main", Receive::Packed).succeeds();
        wait_until("the push is served", || {
            let file = get("/crates/index/kr/at/krate").send(registry.port);
            file.succeeds().text() == text
        });
    }
    set("+0");
    publish("1.5.0").succeeds();
    is_read("1.5.0");
    registry.run(&["verify"]).succeeds();
    git::assert_sound(&registry.repository());
}
