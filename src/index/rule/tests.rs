use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use super::super::tests::{change, open, place, publish, yank};
use super::super::{Basis, Ground, Index, load, refs};
use super::*;
use crate::domain::{IndexLine, Login};

/// An index with `a-b 1.0.0`, `a-b 1.1.0` (yanked) and `c 1.0.0`, all of alice.
static INDEX: LazyLock<Snapshot> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let index: Index = open(folder.path(), "http://localhost:1").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    for action in [
        publish("a-b", "1.0.0", 1),
        publish("a-b", "1.1.0", 2),
        yank("a-b", "1.1.0", true),
        publish("c", "1.0.0", 3),
    ] {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        runtime
            .block_on(index.submit(change("alice", action), deadline))
            .unwrap();
    }
    drop(index);
    let git_dir = place(folder.path()).git_dir;
    let tip = refs::read(&git_dir, refs::TIP).unwrap().unwrap();
    Arc::unwrap_or_clone(load::load(&git_dir, tip).unwrap().snapshot)
});

const A_B: &str = "3/a/a-b";

fn lines_of(name: &str) -> String {
    let krate = INDEX.find(&name.parse().unwrap()).unwrap();
    String::from_utf8(krate.body.inflate()).unwrap()
}

fn line(name: &str, version: &str, cksum: u8) -> String {
    let super::super::Action::Publish { line, .. } = publish(name, version, cksum) else {
        unreachable!("it publishes")
    };
    text(&line)
}

fn text(line: &IndexLine) -> String {
    String::from_utf8(line.to_bytes()).unwrap()
}

fn owners() -> String {
    Owners::first("bob".parse::<Login>().unwrap()).to_string()
}

/// The judgement on files with these texts; the `.crate` file with the checksum 99… is not there.
fn judge(by: By, files: &[(&str, &str)]) -> Result<Step, Violation> {
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| FileChange::new((*path).to_owned(), text.as_bytes().to_vec()).unwrap())
        .collect();
    step(&INDEX, &files, by, &|cksum| {
        *cksum != Cksum::from([0x99; 32])
    })
}

#[track_caller]
fn refused(by: By, files: &[(&str, &str)], sentence: &str) {
    let violation = judge(by, files).map(|_| ()).unwrap_err();
    assert_eq!(violation.to_string(), sentence);
}

/// Whoever made the commit.
#[track_caller]
fn refused_to_all(files: &[(&str, &str)], sentence: &str) {
    refused(By::People, files, sentence);
    refused(By::Registry, files, sentence);
}

#[test]
fn anybody_may_yank_and_unyank() {
    let flipped = lines_of("a-b")
        .replace("\"yanked\":false", "\"yanked\":?")
        .replace("\"yanked\":true", "\"yanked\":false")
        .replace("\"yanked\":?", "\"yanked\":true");
    for by in [By::People, By::Registry] {
        let step = judge(by, &[(A_B, &flipped)]).unwrap();
        let commit = CommitId::from([7; 20]);
        let after = step.apply(&INDEX, commit);
        assert_eq!(after.commit(), commit);
        assert_eq!(after.reworked() == commit, by == By::People);
        let krate = after.find(&"a-b".parse().unwrap()).unwrap();
        let yanked: Vec<bool> = krate
            .releases()
            .iter()
            .map(|release| release.yanked)
            .collect();
        assert_eq!(yanked, [true, false]);
        assert_eq!(krate.body.inflate(), flipped.as_bytes());
        let changed: Vec<_> = after.changed_since(INDEX.commit()).unwrap().collect();
        assert_eq!(changed, [&"a-b".parse::<CrateName>().unwrap()]);
    }
}

#[test]
fn anybody_may_change_owners_policy_and_what_is_to_read() {
    let policy = include_str!("../../../index-template/policy.toml");
    let files = [
        ("owners/3/a/a-b.toml", owners()),
        ("policy.toml", format!("{policy}\n# reviewed\n")),
        ("README.md", "hello".to_owned()),
        (".gitattributes", String::new()),
    ];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    let after = judge(By::People, &files).unwrap();
    let after = after.apply(&INDEX, CommitId::from([7; 20]));
    let krate = after.find(&"a-b".parse().unwrap()).unwrap();
    assert!(krate.owners.includes(&"bob".parse().unwrap()));
    assert!(!krate.owners.includes(&"alice".parse().unwrap()));
    assert_eq!(krate.releases().len(), 2);
}

#[test]
fn other_owners_of_a_crate_are_told_from_a_publish() {
    let commit = CommitId::from([7; 20]);
    let owners = owners();
    let step = judge(By::Registry, &[("owners/3/a/a-b.toml", &owners)]).unwrap();
    let after = step.apply(&INDEX, commit);
    assert_eq!(after.reworked(), commit);
    assert_eq!(after.by_people(), INDEX.by_people());
    // A merge together with its revert.
    let step = judge(By::People, &[]).unwrap();
    let after = step.apply(&INDEX, commit);
    assert_eq!([after.reworked(), after.by_people()], [commit; 2]);
}

/// An index whose branch broke no rule.
fn ground(index: &Snapshot) -> Ground {
    Ground {
        snapshot: Arc::new(index.clone()),
        strayed: None,
    }
}

#[test]
fn nothing_that_is_judged_holds_once_the_branch_breaks_a_rule() {
    let good = ground(&INDEX);
    let strayed = |byte| Ground {
        strayed: Some([byte; 20].into()),
        ..good.clone()
    };
    let policy = BTreeSet::from(["policy.toml".to_owned()]);
    for files in [Some(policy), Some(BTreeSet::new()), None] {
        for on in [good.clone(), strayed(1), strayed(2)] {
            let basis = Basis::new(&on, files.clone());
            let held = [&good, &strayed(1), &strayed(2)].map(|other| basis.holds(other));
            let same = [None, Some([1; 20].into()), Some([2; 20].into())];
            assert_eq!(held, same.map(|strayed| strayed == on.strayed));
        }
    }
}

#[test]
fn what_is_judged_of_some_owners_holds_while_nobody_changes_these() {
    let other = CommitId::from([7; 20]);
    let basis = |files: &[&str]| {
        let files = files.iter().map(|path| (*path).to_owned()).collect();
        Basis::new(&ground(&INDEX), Some(files))
    };
    let of = [
        basis(&[]),
        basis(&["owners/1/c.toml", "owners/README"]),
        basis(&["owners/1/c.toml", "owners/3/a/a-b.toml"]),
        basis(&["owners/1/d.toml"]),
        Basis::whole(&ground(&INDEX)),
    ];
    let shared = |number: usize| of.each_ref().map(|basis| basis.shares(&of[number]));
    assert_eq!(shared(0), [false, false, false, false, true]);
    assert_eq!(shared(1), [false, true, true, false, true]);
    let policies = [
        basis(&["policy.toml"]),
        basis(&["owners/1/d.toml", "policy.toml"]),
    ];
    assert!(policies[0].shares(&policies[1]) && !policies[0].shares(&of[2]));
    let held = |by, files: &[(&str, &str)]| {
        let after = judge(by, files).unwrap().apply(&INDEX, other);
        of.each_ref().map(|basis| {
            assert!(basis.holds(&ground(&INDEX)));
            basis.holds(&ground(&after))
        })
    };
    let more = lines_of("c") + &line("c", "1.1.0", 4);
    assert_eq!(held(By::Registry, &[("1/c", &more)]), [true; 5]);
    assert_eq!(held(By::People, &[]), [false; 5]);
    // The same ones as before, too.
    for owners in [
        owners(),
        Owners::first("alice".parse::<Login>().unwrap()).to_string(),
    ] {
        let held = held(By::Registry, &[("owners/3/a/a-b.toml", &owners)]);
        assert_eq!(held, [true, true, false, true, false]);
    }
    let fresh = [
        ("1/d", line("d", "1.0.0", 4)),
        ("owners/1/d.toml", owners()),
    ];
    let fresh = fresh.each_ref().map(|(path, text)| (*path, text.as_str()));
    assert_eq!(held(By::Registry, &fresh), [true, true, true, false, true]);
}

#[test]
fn only_the_registry_adds_lines() {
    let more = lines_of("c") + &line("c", "1.1.0", 4);
    let after = judge(By::Registry, &[("1/c", &more)]).unwrap();
    let after = after.apply(&INDEX, CommitId::from([7; 20]));
    let krate = after.find(&"c".parse().unwrap()).unwrap();
    assert_eq!(krate.releases().len(), 2);
    let sentence = "`1/c` has a line for version `1.1.0` that the registry did not write; publish it with Cargo instead";
    refused(By::People, &[("1/c", &more)], sentence);
    let at_the_front = line("c", "1.1.0", 4) + &lines_of("c");
    refused(By::People, &[("1/c", &at_the_front)], sentence);

    let fresh = [
        ("1/d", line("d", "1.0.0", 4)),
        ("owners/1/d.toml", owners()),
    ];
    let fresh = fresh.each_ref().map(|(path, text)| (*path, text.as_str()));
    let after = judge(By::Registry, &fresh).unwrap();
    let after = after.apply(&INDEX, CommitId::from([7; 20]));
    assert!(after.find(&"d".parse().unwrap()).is_some());
    assert_eq!(after.reworked(), INDEX.reworked());
    refused(
        By::People,
        &fresh,
        "`1/d` has a line for version `1.0.0` that the registry did not write; publish it with Cargo instead",
    );
}

#[test]
fn no_line_is_dropped() {
    let text = lines_of("a-b");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    refused_to_all(
        &[(A_B, lines[0])],
        "`3/a/a-b` has lost the line of version `1.1.0`; put it back, and yank the version if nobody shall use it",
    );
    let first = "`3/a/a-b` has lost the line of version `1.0.0`; put it back, and yank the version if nobody shall use it";
    refused_to_all(&[(A_B, lines[1])], first);
    refused_to_all(&[(A_B, "")], first);
}

#[test]
fn no_line_is_rewritten() {
    let text = lines_of("a-b");
    let sentence = "`3/a/a-b` has another line for version `1.0.0`; of a line only `yanked` may change, and nothing of its form";
    let other_checksum = text.replacen("0101", "0202", 1);
    let other_form = text.replacen(":", ": ", 1);
    let carriage_return = text.replacen('\n', "\r\n", 1);
    let two_changes = text
        .replacen("\"yanked\":false", "\"yanked\":true", 1)
        .replacen("0101", "0202", 1);
    for text in [other_checksum, other_form, carriage_return, two_changes] {
        refused_to_all(&[(A_B, &text)], sentence);
    }
}

#[test]
fn no_line_is_moved() {
    let text = lines_of("a-b");
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    lines.reverse();
    refused_to_all(
        &[(A_B, &lines.concat())],
        "`3/a/a-b` has the line of version `1.1.0` in another place; lines stay where they are, and new ones come at the end",
    );
}

#[test]
fn a_line_has_one_form() {
    let loose = lines_of("c") + &line("c", "1.1.0", 4).replacen(":", ": ", 1);
    let unended = lines_of("c") + line("c", "1.1.0", 4).trim_end();
    for text in [loose, unended] {
        refused_to_all(
            &[("1/c", &text)],
            "`1/c`, line 2, is not written in the one form that lines have",
        );
    }
    let nonsense = lines_of("c") + "nonsense\n";
    let violation = judge(By::Registry, &[("1/c", &nonsense)])
        .map(|_| ())
        .unwrap_err();
    assert!(
        violation
            .to_string()
            .starts_with("`1/c`, line 2, cannot be read: "),
        "{violation}"
    );
}

#[test]
fn no_reason_turns_a_terminal_or_fills_a_log() {
    let strange = "\u{1b}[2J\u{202e}".to_owned() + &"x".repeat(10_000);
    let escaped = strange.replace('\u{1b}', "\\u001b");
    let kind = format!("\"kind\":\"{escaped}\"");
    let line = line("c", "1.1.0", 4).replace("\"kind\":\"normal\"", &kind);
    let lines = lines_of("c") + &line;
    let policy = format!("\"{escaped}\" = 1\n");
    for (path, text) in [("1/c", &lines), ("policy.toml", &policy)] {
        let violation = judge(By::People, &[(path, text)]).unwrap_err();
        let text = violation.to_string();
        assert!(text.contains("\\u{1b}[2J\\u{202e}xx"), "{text}");
        assert!(text.len() < 1000, "{}", text.len());
    }
}

#[test]
fn a_version_has_one_line() {
    let again = lines_of("c") + &line("c", "1.0.0+other", 4);
    let twice = lines_of("c") + &line("c", "1.1.0", 4) + &line("c", "1.1.0+b", 5);
    let sentence = "`1/c` has two lines for version `1.0.0+other`, build metadata left aside";
    refused(By::Registry, &[("1/c", &again)], sentence);
    let sentence = "`1/c` has two lines for version `1.1.0+b`, build metadata left aside";
    refused(By::Registry, &[("1/c", &twice)], sentence);
}

#[test]
fn a_line_stands_in_the_file_of_its_crate() {
    let other = lines_of("c") + &line("d", "1.1.0", 4);
    let sentence = "`1/c` has a line of the crate `d`";
    refused(By::Registry, &[("1/c", &other)], sentence);
    let spelled = lines_of("c") + &line("C", "1.1.0", 4);
    let sentence = "`1/c` has a line of the crate `C`";
    refused(By::Registry, &[("1/c", &spelled)], sentence);
}

#[test]
fn a_line_has_its_crate_file() {
    let text = lines_of("c") + &line("c", "1.1.0", 0x99);
    refused(
        By::Registry,
        &[("1/c", &text)],
        &format!(
            "`1/c` has a line for version `1.1.0`, but its `.crate` file with the checksum {} is not there",
            "99".repeat(32)
        ),
    );
}

#[test]
fn no_crate_has_a_twin() {
    let twin = [
        ("3/a/a_b", line("a_b", "1.0.0", 4)),
        ("owners/3/a/a_b.toml", owners()),
    ];
    let twin = twin.each_ref().map(|(path, text)| (*path, text.as_str()));
    let sentence = "`3/a/a_b` is the file of a crate that differs from `a-b` only in `-` and `_`";
    refused_to_all(&twin, sentence);

    let two = [
        ("3/x/x-y", line("x-y", "1.0.0", 4)),
        ("owners/3/x/x-y.toml", owners()),
        ("3/x/x_y", line("x_y", "1.0.0", 4)),
        ("owners/3/x/x_y.toml", owners()),
    ];
    let two = two.each_ref().map(|(path, text)| (*path, text.as_str()));
    let sentence = "`3/x/x_y` is the file of a crate that differs from `x-y` only in `-` and `_`";
    refused(By::Registry, &two, sentence);
}

#[test]
fn crates_and_owners_belong_together() {
    refused(
        By::Registry,
        &[("1/d", &line("d", "1.0.0", 4))],
        "the crate `d` is new but has no file of owners",
    );
    refused(
        By::Registry,
        &[("1/d", ""), ("owners/1/d.toml", &owners())],
        "`1/d` has no lines",
    );
    refused_to_all(
        &[("owners/1/d.toml", &owners())],
        "`owners/1/d.toml` names the owners of a crate that is not in the index; take it out",
    );
}

#[test]
fn files_that_people_write_must_be_readable() {
    for (path, text) in [
        ("owners/1/c.toml", "users = 7"),
        ("owners/1/c.toml", "users = []"),
        ("policy.toml", "no_such_key = 1"),
        ("policy.toml", "\u{1}"),
    ] {
        let violation = judge(By::People, &[(path, text)]).map(|_| ()).unwrap_err();
        let said = violation.to_string();
        assert!(
            said.starts_with(&format!("`{path}` cannot be used: ")),
            "{said}"
        );
    }
}

#[test]
fn the_registrys_files_are_its_own() {
    for path in [
        "config.json",
        "registry.toml",
        "allowed_signers",
        "revoked.toml",
    ] {
        let sentence = format!(
            "`{path}` was changed, which only the registry itself may do; put it back as it was"
        );
        refused(By::People, &[(path, "")], &sentence);
    }
    assert!(
        judge(
            By::Registry,
            &[("config.json", "{}"), ("revoked.toml", "tokens = []\n")]
        )
        .is_ok()
    );
}

#[test]
fn the_registry_stays_itself() {
    let mut identity = INDEX.registry().identity.clone();
    identity.public_url = "http://elsewhere:1".parse().unwrap();
    assert!(judge(By::Registry, &[("registry.toml", &identity.to_toml())]).is_ok());
    identity.id = [9; 16].into();
    refused(
        By::Registry,
        &[("registry.toml", &identity.to_toml())],
        "`registry.toml` names another registry; `id`, `name` and `blob_store` never change",
    );
}

#[test]
fn what_no_index_has_is_foreign() {
    for path in [
        "LICENSE",
        "1/C",
        "a-b",
        "3/b/a-b",
        "owners/1/c",
        "owners/c.toml",
        "owners/1/C.toml",
        "se/rd/../serde",
        "",
    ] {
        let sentence = format!("`{path}` does not belong into an index; take it out");
        refused_to_all(&[(path, "x")], &sentence);
    }
}

#[test]
fn a_violation_names_the_file_that_it_is_about() {
    let path = "1/x".to_owned();
    for violation in [
        Violation::Foreign(path.clone()),
        Violation::Removed(path.clone()),
        Violation::Line {
            path: path.clone(),
            fault: LineViolation::Empty,
        },
    ] {
        assert_eq!(violation.path(), Some("1/x"), "{violation}");
    }
    assert_eq!(Violation::OtherRegistry.path(), Some("registry.toml"));
    // The fault is that there is none.
    assert_eq!(Violation::NoOwners("x".parse().unwrap()).path(), None);
}

#[test]
fn a_line_without_its_blob_is_not_cured_by_a_revert() {
    let cure = |fault| {
        let path = "1/a".to_owned();
        Violation::Line { path, fault }.cure()
    };
    let version: crate::domain::CrateVersion = "1.0.0".parse().unwrap();
    let cksum = crate::domain::Cksum::from([1; 32]);
    let no_blob = LineViolation::NoBlob {
        version: version.clone(),
        cksum,
    };
    assert!(cure(no_blob).starts_with("publish the very same file again"));
    assert_eq!(cure(LineViolation::Dropped(version)), "revert it");
}
