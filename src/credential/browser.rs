//! A browser, if there is one; nobody needs it who can open the address by hand.

use std::process::{Command, Stdio};

/// What opens an address where no variable names a program.
const OPENERS: [&str; 2] = ["xdg-open", "open"];

/// Opens the address with the first program that can be run: those of `BROWSER`, or the system's own.
///
/// The address holds no secret: what the browser brings back is worth nothing without what stays here.
pub fn open(url: &str, browser: Option<&str>) {
    let named = browser.into_iter().flat_map(|named| named.split(':'));
    let mut programs = named.filter(|program| !program.trim().is_empty());
    let is_open = match browser.is_some_and(|named| !named.trim().is_empty()) {
        true => programs.any(|program| run(program, url)),
        false => OPENERS.iter().any(|program| run(program, url)),
    };
    if !is_open {
        eprintln!("No browser could be opened; open the address above in one on this machine.");
    }
}

/// Runs a program with the address in the place of `%s`, or behind its words; whether it could be started.
fn run(program: &str, url: &str) -> bool {
    let mut words: Vec<String> = program
        .split_whitespace()
        .map(|word| word.replace("%s", url))
        .collect();
    if !program.contains("%s") {
        words.push(url.to_owned());
    }
    // Standard output is Cargo's.
    let started = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    started.is_ok()
}
