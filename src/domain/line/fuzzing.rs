//! What holds for every index line that is read, fed by a fuzzer.

use serde_json::Value;

use super::{IndexFile, IndexLine};
use crate::fuzzing::{Verdict, check_sentences};

/// Reads the bytes as one line, and as a file of lines.
pub fn index_line(bytes: &[u8]) -> Verdict {
    check_file(bytes);
    let line = match IndexLine::parse(bytes) {
        Ok(line) => line,
        Err(fault) => {
            check_sentences(&[fault.to_string()]);
            return Verdict::Refused(fault.to_string());
        }
    };
    let written = line.to_bytes();
    assert_eq!(
        written.iter().position(|b| *b == b'\n'),
        Some(written.len() - 1)
    );
    let again = IndexLine::parse(&written).expect("what is written can be read");
    assert_eq!(again, line);
    assert_eq!(again.to_bytes(), written, "there is one spelling");
    for spelling in [bytes, &written] {
        let head = IndexFile::new(spelling).heads().next();
        let head = head.expect("a line").expect("a line has a head");
        assert_eq!(
            (&head.name, &head.vers, &head.cksum, head.yanked),
            (&line.name, &line.vers, &line.cksum, line.yanked)
        );
        check_with_another_reader(spelling, &line);
    }
    Verdict::Accepted(String::new())
}

/// A reader of JSON that knows nothing of lines finds the same in it, if it can read all that is not looked at here.
fn check_with_another_reader(spelling: &[u8], line: &IndexLine) {
    let Ok(value) = serde_json::from_slice::<Value>(spelling) else {
        return;
    };
    assert_eq!(value["name"], line.name.as_str());
    assert_eq!(value["vers"], line.vers.to_string());
    assert_eq!(value["yanked"].as_bool().unwrap_or_default(), line.yanked);
    assert_eq!(value["links"].as_str(), line.links.as_deref());
    assert_eq!(value["rust_version"].as_str(), line.rust_version.as_deref());
    let dependencies = value["deps"].as_array().map(Vec::len);
    assert_eq!(dependencies, Some(line.deps.len()));
}

/// A version of a file is yanked and unyanked without harm to the other lines.
fn check_file(bytes: &[u8]) {
    let file = IndexFile::new(bytes);
    assert_eq!(file.lines().collect::<Vec<_>>().concat(), bytes);
    let heads: Result<Vec<_>, _> = file.heads().collect();
    let Ok(heads) = heads else { return };
    let Some(meant) = heads.last() else { return };
    let key = meant.vers.key();
    let Ok(yanked) = file.with_yanked(&key, !meant.yanked) else {
        // Only the line that is changed is read whole.
        let is_unreadable = |line| IndexLine::parse(line).is_err();
        assert!(file.lines().any(is_unreadable));
        return;
    };
    let yanked = yanked.expect("the version is there");
    let after = IndexFile::new(&yanked);
    assert_eq!(after.lines().count(), heads.len());
    for (at, before) in heads.iter().enumerate() {
        let head = after.heads().nth(at).expect("a line");
        let head = head.expect("it could be read before");
        assert_eq!(head.vers, before.vers);
        match before.vers.key() == key {
            true => assert_ne!(head.yanked, meant.yanked),
            false => assert_eq!(after.lines().nth(at), file.lines().nth(at)),
        }
    }
}
