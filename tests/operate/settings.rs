//! `config show`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::common::ran::{Ran, run};
use crate::common::registry::{Registry, program};

fn show(folder: &TempDir, words: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(program());
    command
        .args(["config", "show"])
        .args(words)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(folder.path());
    run(&mut command, b"")
}

fn file(folder: &TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("conf.toml");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn config_show_says_where_each_value_comes_from_and_makes_nothing() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "name = \"acme\"\n[fetch]\nchildren_max = 9\n");
    let variables = [("SIDECARGO_LISTEN", "127.0.0.1:4711")];
    let words = ["--config", path.to_str().unwrap(), "--data", "here"];
    let shown = show(&folder, &words, &variables).succeeds();
    let of = |setting: &str| {
        let line = shown.stdout.lines().find(|line| line.starts_with(setting));
        let line = line.unwrap_or_else(|| panic!("no `{setting}`: {shown}"));
        line.rsplit_once("# ").unwrap().1.to_owned()
    };
    assert_eq!(of("name = \"acme\""), format!("{}:1", path.display()));
    assert_eq!(of("children_max = 9"), format!("{}:3", path.display()));
    assert_eq!(of("listen = \"127.0.0.1:4711\""), "SIDECARGO_LISTEN");
    assert_eq!(of("data = "), "--data");
    assert_eq!(of("poll_secs = 1"), "default");
    assert!(shown.stdout.parse::<toml::Table>().is_ok(), "{shown}");
    assert!(!folder.path().join("here").exists());
}

#[test]
fn config_show_refuses_what_serve_refuses() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "[fetch]\nchildren = 9\n");
    let words = ["--config", path.to_str().unwrap()];
    show(&folder, &words, &[]).fails_with("unknown field `children`");
    show(&folder, &["--listen", "80"], &[])
        .fails_with("'--listen <ADDR>': it must be an IP address");
}

#[test]
fn doctor_takes_the_options_of_serve() {
    let registry = Registry::start();
    let listen = format!("127.0.0.1:{}", registry.port);
    let examined = registry.run(&["doctor", "--listen", &listen]).succeeds();
    let found = format!("ready at http://{listen}");
    assert!(examined.stdout.contains(&found), "{examined}");
    let words = [
        "--visibility",
        "private",
        "--public-url",
        "http://none.invalid",
    ];
    let examined = registry.run(&[&["doctor", "--listen", &listen][..], &words].concat());
    for said in [
        "the configuration says `private`",
        "http://none.invalid is not reached",
    ] {
        assert!(examined.stdout.contains(said), "{examined}");
    }
}

#[test]
fn config_show_says_that_there_is_no_room_for_so_many_connections() {
    let folder = TempDir::new().unwrap();
    let told = |limit: u32| {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -n {limit}; exec \"$0\" config show")])
            .arg(program())
            .current_dir(folder.path());
        let shown = run(&mut command, b"").succeeds().stdout;
        assert!(shown.contains("connections_max = 512"), "{shown}");
        assert!(shown.parse::<toml::Table>().is_ok(), "{shown}");
        let comment = "would run with connections_max = ";
        let (_, room) = shown.split_once(comment)?;
        Some(room.trim_end().to_owned())
    };
    assert_eq!(told(212).as_deref(), Some("12"));
    assert_eq!(told(1800), None);
}
