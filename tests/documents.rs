//! What SECURITY.md and OPERATIONS.md promise, kept true.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::architecture::sources;
use crate::checks::is_test;

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// What stands between backquotes in a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn every_claim_of_security_has_its_tests_and_they_exist() {
    let text = document("SECURITY.md");
    let claims = text.split_once("## What holds").unwrap().1;
    let claims = claims.split_once("## Out of scope").unwrap().0;
    let mut count = 0;
    for claim in claims.lines().filter(|line| line.starts_with("- ")) {
        let tests: Vec<&str> = quoted(claim).filter(|it| it.contains("::")).collect();
        assert!(!tests.is_empty(), "no test shows this: {claim}");
        for test in tests {
            assert!(is_test(test), "there is no test `{test}`");
        }
        count += 1;
    }
    assert!(count > 20, "the claims are where this test looks");
    let elsewhere = text.lines().flat_map(quoted).filter(|it| it.contains("::"));
    for test in elsewhere {
        assert!(is_test(test), "there is no test `{test}`");
    }
}

#[test]
fn operations_explains_every_error_of_the_log_and_no_other() {
    let text = document("OPERATIONS.md");
    let table = text.split_once("| error | what to do |").unwrap().1;
    let table = table.split_once("\n\n").unwrap().0;
    let explained: BTreeSet<&str> = table
        .lines()
        .skip(2)
        .flat_map(|line| quoted(line.split('|').nth(1).unwrap()))
        .collect();
    let mut logged = BTreeSet::new();
    let sources = sources();
    for source in sources.iter().filter(|source| !source.is_test()) {
        for call in source.product().split("error!(").skip(1) {
            // The message is the last text of the call.
            let call = call.split_once(");").map_or(call, |(call, _)| call);
            let call = call.split_once("\")").map_or(call, |(call, _)| call);
            let message = call.trim_end().trim_end_matches(['"', ',', ')']).trim_end();
            logged.insert(message.rsplit('"').next().unwrap().to_owned());
        }
    }
    let logged: BTreeSet<&str> = logged.iter().map(String::as_str).collect();
    assert_eq!(logged, explained);
}

#[test]
fn operations_names_only_metrics_that_there_are() {
    let text = document("OPERATIONS.md");
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = text.split(|c| !is_of_a_name(c)).filter(|word| {
        ["sidecargo_", "process_"]
            .iter()
            .any(|start| word.starts_with(start))
    });
    let sources = sources();
    let mut count = 0;
    for name in names {
        let stated = format!("\"{name}\"");
        let is_there = sources
            .iter()
            .any(|source| source.product().contains(&stated));
        assert!(is_there, "there is no metric `{name}`");
        count += 1;
    }
    assert!(count > 5, "the names are where this test looks");
}

#[test]
fn the_table_of_speed_is_that_of_the_samples() {
    let samples: Vec<serde_json::Value> =
        serde_json::from_str(&document("benches/samples.json")).unwrap();
    let readme = document("README.md");
    let (_, table) = readme.split_once("| path | here | baseline |").unwrap();
    let lines: Vec<&str> = table
        .split("\n\n")
        .next()
        .unwrap()
        .lines()
        .skip(2)
        .collect();
    assert_eq!(lines.len(), samples.len());
    for (line, sample) in lines.iter().zip(&samples) {
        let median = |side: &str| {
            let samples = sample[side].as_array().unwrap().iter();
            let mut samples: Vec<f64> = samples.map(|it| it.as_f64().unwrap()).collect();
            samples.sort_by(f64::total_cmp);
            samples[samples.len() / 2]
        };
        let ratio = sample["ratio"].as_f64().unwrap();
        let found = median("ours") / median("theirs");
        let is_of_medians = |found: f64| (found / ratio - 1.0).abs() < 1e-9;
        assert!(is_of_medians(found) || is_of_medians(1.0 / found), "{line}");
        let (sign, bound) = sample["goal"].as_str().unwrap().split_once(' ').unwrap();
        let bound: f64 = bound.parse().unwrap();
        let is_reached = match sign {
            "≤" => ratio <= bound,
            _ => ratio >= bound,
        };
        let word = |key: &str| sample[key].as_str().unwrap();
        let mark = if is_reached { "" } else { " **missed**" };
        let expected = format!(
            "| {} | {} {} | {}: {} | {ratio:.2} × | {} ×{mark} |",
            word("path"),
            three_digits(median("ours")),
            word("unit"),
            word("baseline"),
            three_digits(median("theirs")),
            word("goal"),
        );
        assert_eq!(*line, expected);
    }
}

/// A figure as `benches/run` prints it.
fn three_digits(figure: f64) -> String {
    let decimals = match figure {
        ..0.1 => 4,
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{figure:.decimals$}")
}

/// nginx lets a location that sets one header inherit none.
#[test]
fn the_proxy_tells_of_each_client_in_each_location() {
    let proxy = document("packaging/proxy.conf");
    let locations: Vec<&str> = proxy.split("location ").skip(1).collect();
    assert_eq!(locations.len(), 2);
    for location in locations {
        for header in [
            "Host $http_host",
            "X-Forwarded-Proto $scheme",
            "X-Forwarded-For $remote_addr",
        ] {
            let set = format!("proxy_set_header {header};");
            assert!(location.contains(&set), "{set} in {location}");
        }
    }
}

/// A request that is sent into a connection while the server closes it is lost.
#[test]
fn the_proxy_closes_what_idles_before_the_server_does() {
    let proxy = document("packaging/proxy.conf");
    let upstream = proxy.split("upstream sidecargo {").nth(1).unwrap();
    let block = upstream.split('}').next().unwrap();
    let secs = between(block, "keepalive_timeout ", "s;");
    let example = document("sidecargo.example.toml");
    let header_secs = between(&example, "\nheader_secs = ", "\n");
    assert!(2 * secs <= header_secs, "{secs} {header_secs}");
}

/// The number that stands there.
fn between(text: &str, before: &str, after: &str) -> u64 {
    let rest = text.split(before).nth(1).unwrap();
    rest.split(after).next().unwrap().parse().unwrap()
}

#[test]
fn the_unit_is_one_that_systemd_understands() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/sidecargo.service");
    let text = fs::read_to_string(&unit).unwrap();
    for setting in [
        "Type=notify",
        "User=sidecargo",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "StateDirectory=sidecargo",
        "OOMPolicy=continue",
    ] {
        assert!(text.lines().any(|line| line == setting), "{setting}");
    }
    // The program and the user of the unit, as far as they are on this machine.
    let folder = tempfile::TempDir::new().unwrap();
    let here = folder.path().join("sidecargo.service");
    let program = crate::common::registry::program();
    let text = text.replace("/usr/local/bin/sidecargo", program.to_str().unwrap());
    let text = text
        .replace("User=sidecargo", "User=root")
        .replace("Group=sidecargo", "Group=root");
    fs::write(&here, text).unwrap();
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(&here)
        .output();
    let Ok(verified) = verified else {
        crate::common::tools::skip("there is no systemd-analyze");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "{said}");
}

/// Runs what step 3 of the ten minutes runs in the container, with `init` in place of `sidecargo`.
fn third_of_the_ten_minutes(etc: &Path, init: &str) -> bool {
    let text = document("packaging/TEN-MINUTES.md");
    let (_, step) = text.split_once("## 3. ").unwrap();
    let script = step.split('\'').nth(1).unwrap();
    let script = script.replace("/etc/sidecargo", etc.to_str().unwrap());
    let ran = Command::new("sh")
        .args(["-c", &format!("sidecargo() {{ {init}; }}\n{script}")])
        .status();
    ran.unwrap().success()
}

#[test]
fn the_ten_minutes_write_a_configuration_that_holds_wherever_the_data_is() {
    let folder = tempfile::TempDir::new().unwrap();
    let etc = folder.path().join("etc");
    fs::create_dir(&etc).unwrap();
    let init = "echo '[forge]'; echo 'url = \"http://forge:3000\"'; echo 'repository = \"olga/crates\"'; \
        echo 'token_file = \"forge-token\"'";
    assert!(third_of_the_ten_minutes(&etc, init));
    let file = etc.join("sidecargo.toml");
    let written = fs::read_to_string(&file).unwrap();
    let shown = Command::new(crate::common::registry::program())
        .args(["config", "show"])
        .env("SIDECARGO_CONFIG", &file)
        .env("SIDECARGO_DATA", folder.path().join("data"))
        .current_dir("/")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&shown.stderr);
    assert!(shown.status.success(), "{said}");
    let shown = String::from_utf8(shown.stdout).unwrap();
    let token = etc.join("forge-token");
    for setting in [
        "issuer = \"http://localhost:8080\"".to_owned(),
        format!("token_file = \"{}\"", token.display()),
    ] {
        assert!(shown.contains(&setting), "{setting} in {shown}");
    }
    // What was good stays where the forge could not be asked again.
    assert!(!third_of_the_ten_minutes(&etc, "return 1"));
    assert_eq!(fs::read_to_string(&file).unwrap(), written);
}

#[test]
fn the_ten_minutes_are_lines_that_a_shell_understands() {
    let text = document("packaging/TEN-MINUTES.md");
    let blocks: Vec<&str> = text.split("```sh\n").skip(1).collect();
    assert!(blocks.len() > 5, "the blocks are where this test looks");
    for block in blocks {
        let lines = block.split("```").next().unwrap();
        let understood = Command::new("sh").args(["-n", "-c", lines]).status();
        assert!(understood.unwrap().success(), "{lines}");
    }
}
