//! What holds for every step that the rule allows, fed by a fuzzer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::Value;

use super::super::crates::Crates;
use super::super::recent::Recent;
use super::*;
use crate::domain::{Features, IndexLine, PubTime, excerpt};
use crate::fuzzing::{Verdict, check_sentences};

/// The first byte of the checksums of `.crate` files that are not there.
const NOWHERE: u8 = 0x99;

/// An index with `a-b 1.0.0`, `a-b 1.1.0` (yanked), `c 1.0.0` and `Serde_JSON 1.0.0+x`, all of alice.
static INDEX: LazyLock<Snapshot> = LazyLock::new(|| {
    let owners = Arc::new(Owners::first("alice".parse().expect("a login")));
    let mut crates = Crates::default();
    for (name, versions) in [
        ("a-b", &["1.0.0", "1.1.0"][..]),
        ("c", &["1.0.0"]),
        ("Serde_JSON", &["1.0.0+x"]),
    ] {
        let name: CrateName = name.parse().expect("a name");
        let lines = versions.iter().flat_map(|version| {
            let mut line = line(name.clone(), version, 1).expect("a version");
            line.yanked = *version == "1.1.0";
            line.to_bytes()
        });
        let bytes: Vec<u8> = lines.collect();
        let body = Body::new(&bytes).expect("no collision");
        let krate = Crate::read(&bytes, body, Arc::clone(&owners)).expect("lines");
        crates.insert(Arc::new(krate.expect("a line")));
    }
    let identity: Identity = toml::from_str(
        "id = \"07070707070707070707070707070707\"\nname = \"crates\"\n\
         public_url = \"http://localhost:1\"\nblob_store = \"08080808080808080808080808080808\"\n",
    )
    .expect("an identity");
    let registry = RegistryFiles {
        config_json: Body::new(&identity.config_json()).expect("no collision"),
        identity,
        policy: Policy::default(),
        allowed_signers: Bytes::from_static(b"registry ssh-ed25519 AAAA\n"),
        revoked: Arc::default(),
    };
    Snapshot {
        commit: CommitId::from([0; 20]),
        crates,
        registry: Arc::new(registry),
        recent: Recent::default(),
        reworked: CommitId::from([0; 20]),
        by_people: CommitId::from([0; 20]),
    }
});

/// Takes the bytes as steps of an index, parted by lines of `---`.
///
/// The first line of a step says by an `r` that the registry makes it, else it is people's. A line with `=` names a
/// file, and the lines that follow are its text. In the file of a crate a line with `<` and a number is the line that
/// has that number in the state before, with `!` the same with `yanked` turned, and with `>` or `?` a version and
/// perhaps a name it is a new line, with a `.crate` file that is there or not.
pub fn rule(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Refused("not UTF-8".to_owned());
    };
    let mut state = Snapshot::clone(&INDEX);
    let mut allowed = Vec::new();
    for (number, told) in (1..=8).zip(text.split("---\n")) {
        let (who, rest) = told.split_once('\n').unwrap_or((told, ""));
        let by = match who.contains('r') {
            true => By::Registry,
            false => By::People,
        };
        let Some(files) = files(rest, &state) else {
            break;
        };
        let commit = CommitId::from([number; 20]);
        match judge(&state, &files, by, commit) {
            Ok((next, words)) => {
                state = next;
                allowed.push(words);
            }
            Err(violation) => return Verdict::Refused(format!("step {number}: {violation}")),
        }
    }
    match allowed.is_empty() {
        true => Verdict::Refused("no step can be told".to_owned()),
        false => Verdict::Accepted(allowed.join("; ")),
    }
}

/// The state after the step, and what the step did in words, if it is allowed.
fn judge(
    on: &Snapshot,
    files: &[FileChange],
    by: By,
    commit: CommitId,
) -> Result<(Snapshot, String), Violation> {
    let found = step(on, files, by, &has_blob);
    let again = step(on, files, by, &has_blob);
    let (allowed, again) = match (found, again) {
        (Ok(found), Ok(again)) => (found, again),
        (Err(violation), Err(again)) => {
            assert_eq!(violation, again);
            check_sentences(&[violation.to_string()]);
            return Err(violation);
        }
        (found, again) => panic!("{found:?} and then {again:?}"),
    };
    let steps = |step: &Step| {
        step.crates
            .iter()
            .map(|(_, steps)| steps.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(steps(&allowed), steps(&again));
    let told: BTreeMap<String, Vec<LineStep>> = allowed
        .crates
        .iter()
        .map(|(krate, steps)| (canonical(krate), steps.clone()))
        .collect();
    assert_eq!(told.len(), allowed.crates.len(), "a crate is named once");
    let words = format!(
        "{} files, {} crates, {} lines",
        files.len(),
        told.len(),
        told.values().map(Vec::len).sum::<usize>()
    );
    let next = allowed.apply(on, commit);

    check_registry(on, &next, files, by);
    let names: BTreeSet<_> = next.crates().map(canonical).collect();
    assert_eq!(names.len(), next.crate_count(), "no two are twins");
    for krate in on.crates() {
        assert!(next.find(&krate.name).is_some(), "{} is gone", krate.name);
    }
    for krate in next.crates() {
        let before = on.find(&krate.name);
        match told.get(&canonical(krate)) {
            Some(steps) => check_crate(before.map(Arc::as_ref), krate, steps, by),
            None => assert!(before.is_some_and(|before| Arc::ptr_eq(before, krate))),
        }
    }
    // Nothing differs any more, so nothing happens.
    let idle = step(&next, files, by, &has_blob).expect("what is there may stay");
    assert!(idle.crates.iter().all(|(_, steps)| steps.is_empty()));
    Ok((next, words))
}

fn canonical(krate: &Arc<Crate>) -> String {
    krate.name.canonical().as_str().to_owned()
}

fn has_blob(cksum: &Cksum) -> bool {
    cksum.as_bytes()[0] != NOWHERE
}

/// People touch nothing of the registry, and nobody makes another one of it.
fn check_registry(on: &Snapshot, next: &Snapshot, files: &[FileChange], by: By) {
    let (before, after) = (on.registry(), next.registry());
    assert_eq!(before.identity.id, after.identity.id);
    assert_eq!(before.identity.name, after.identity.name);
    assert_eq!(before.identity.blob_store, after.identity.blob_store);
    if by == By::People {
        assert_eq!(before.identity, after.identity);
        assert_eq!(before.config_json, after.config_json);
        assert_eq!(before.allowed_signers, after.allowed_signers);
        assert_eq!(before.revoked, after.revoked);
    }
    let touches = |path: &str| files.iter().any(|file| file.path == path);
    assert!(touches(POLICY_TOML) || before.policy == after.policy);
    assert!(files.iter().all(|file| has_place(&file.path)));
    after
        .policy
        .limits
        .check()
        .expect("a policy has sound limits");
}

/// Lines stay but for `yanked`; new ones come at the end, and from the registry alone.
fn check_crate(before: Option<&Crate>, after: &Crate, steps: &[LineStep], by: By) {
    let old = before.map(|krate| krate.body.inflate()).unwrap_or_default();
    let new = after.body.inflate();
    assert_eq!(after.body, Body::new(&new).expect("no collision"));
    let (old, new_lines) = (IndexFile::new(&old), IndexFile::new(&new));
    let (mut old, mut turned, mut added) = (old.lines(), 0, 0);
    let mut keys = BTreeSet::new();
    for line in new_lines.lines() {
        let read = IndexLine::parse(line).expect("a line");
        assert_eq!(read.to_bytes(), line);
        assert_eq!(read.name, after.name);
        assert!(
            keys.insert(read.vers.key().to_string()),
            "{} twice",
            read.vers
        );
        match old.next() {
            Some(same) if same == line => {}
            Some(other) => {
                assert_eq!(without_yanked(other), without_yanked(line));
                turned += 1;
            }
            None => {
                assert!(by == By::Registry && has_blob(&read.cksum));
                added += 1;
            }
        }
    }
    assert_eq!(old.next(), None, "no line is dropped");
    assert!(!keys.is_empty());
    let is_added = |step: &&LineStep| matches!(step, LineStep::Added(_));
    assert_eq!(steps.iter().filter(is_added).count(), added);
    assert_eq!(steps.len(), turned + added);
    assert!(before.is_none_or(|before| before.name == after.name));
    assert!(before.is_some() || by == By::Registry);

    // What is served after the step is what a start would read.
    let read = Crate::read(&new, after.body.clone(), Arc::clone(&after.owners));
    let read = read.expect("lines").expect("a line");
    assert_eq!(read.releases(), after.releases());
}

fn without_yanked(line: &[u8]) -> Value {
    let mut value: Value = serde_json::from_slice(line).expect("a line is JSON");
    value["yanked"] = Value::Null;
    value
}

/// The files of a step, each once; `None` if they cannot be told.
fn files(text: &str, on: &Snapshot) -> Option<Vec<FileChange>> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut current = None;
    for line in text.split_inclusive('\n') {
        if let Some(path) = line.strip_prefix('=') {
            let path = shown(path.trim_end_matches('\n'));
            files.insert(path.clone(), Vec::new());
            current = Some(path);
        } else if let Some(file) = current
            .as_ref()
            .and_then(|path| Some((path, files.get_mut(path)?)))
        {
            let (path, bytes) = file;
            match told_line(path, line, on) {
                Some(told) => bytes.extend(told),
                None => bytes.extend(line.as_bytes()),
            }
        }
    }
    let made = files
        .into_iter()
        .map(|(path, bytes)| FileChange::new(path, bytes));
    made.collect::<Result<_, _>>().ok()
}

/// The path as whoever reads a tree hands it over.
fn shown(path: &str) -> String {
    let names: Vec<String> = path.split('/').map(excerpt).collect();
    names.join("/")
}

/// The line of an index file that a line of the input stands for.
fn told_line(path: &str, told: &str, on: &Snapshot) -> Option<Vec<u8>> {
    let name = IndexPath::crate_at(path)?;
    let krate = on.find(&name);
    let (sign, rest) = told.trim_end_matches('\n').split_at_checked(1)?;
    let old = |number: &str| {
        let number: usize = number.parse().ok()?;
        let bytes = krate?.body.inflate();
        let line = IndexFile::new(&bytes).lines().nth(number.checked_sub(1)?)?;
        Some(line.to_vec())
    };
    let new = |first_byte| {
        let (version, other) = rest.split_once(' ').unwrap_or((rest, ""));
        let spelled = krate.map_or(&name, |krate| &krate.name);
        let name = other.parse().unwrap_or_else(|_| spelled.clone());
        Some(line(name, version, first_byte)?.to_bytes())
    };
    match sign {
        "<" => old(rest),
        "!" => {
            let mut line = IndexLine::parse(&old(rest)?).expect("it is in the index");
            line.yanked = !line.yanked;
            Some(line.to_bytes())
        }
        ">" => new(1),
        "?" => new(NOWHERE),
        _ => None,
    }
}

fn line(name: CrateName, version: &str, first_byte: u8) -> Option<IndexLine> {
    let pubtime = PubTime::from_moment(jiff::Timestamp::UNIX_EPOCH);
    let mut cksum = [7; 32];
    cksum[0] = first_byte;
    Some(IndexLine::new(
        name,
        version.parse().ok()?,
        Vec::new(),
        Features::new(),
        Cksum::from(cksum),
        pubtime,
    ))
}
