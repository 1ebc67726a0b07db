//! What git answers over HTTP: refs, and the report of a push.

use gix_packetline::decode::{Stream, streaming};
use gix_packetline::{BandRef, PacketLineRef};

use crate::domain::{CommitId, harmless};

/// What is repeated of the forge's words, in characters.
pub(super) const WORDS_MAX: usize = 400;

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Report {
    /// The ref is moved.
    Moved,
    /// It is not, and this is said about it.
    Refused(String),
}

/// The commit of the ref `name` in an answer to `ls-refs`; `Some(None)` if there is no such ref.
///
/// `None` if that is no answer to it (`gitprotocol-v2`, ls-refs).
pub(super) fn commit_of(answer: &[u8], name: &str) -> Option<Option<CommitId>> {
    let (mut found, mut is_over) = (None, false);
    for line in lines(answer) {
        match line? {
            PacketLineRef::Data(line) => {
                let text = std::str::from_utf8(line).ok()?.trim_end();
                let (id, rest) = text.split_once(' ')?;
                let id = id.parse().ok()?;
                if rest.split(' ').next() == Some(name) {
                    found = Some(id);
                }
            }
            PacketLineRef::Flush => is_over = true,
            _ => return None,
        }
    }
    is_over.then_some(found)
}

/// The report about the one ref `name` in an answer of `git-receive-pack` with side bands; `None` if there is none.
///
/// What a hook says comes on a band of its own, before the report (`gitprotocol-pack`, report-status).
pub(super) fn of_push(answer: &[u8], name: &str) -> Option<Report> {
    let (mut report, mut said) = (Vec::new(), String::new());
    for line in lines(answer) {
        let line = line?;
        let PacketLineRef::Data(_) = line else {
            continue;
        };
        match line.decode_band().ok()? {
            BandRef::Data(bytes) => report.extend_from_slice(bytes),
            BandRef::Progress(bytes) | BandRef::Error(bytes) => {
                said.push_str(&String::from_utf8_lossy(bytes));
            }
        }
    }
    for line in lines(&report) {
        let PacketLineRef::Data(line) = line? else {
            continue;
        };
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        if text == format!("ok {name}") {
            return Some(Report::Moved);
        }
        let reason = match text.strip_prefix("unpack ") {
            Some("ok") => continue,
            Some(reason) => reason,
            None => text.strip_prefix(&format!("ng {name} "))?,
        };
        return Some(Report::Refused(words(&format!("{said} {reason}"))));
    }
    None
}

/// Somebody else's words in one line.
pub(super) fn words(text: &str) -> String {
    let parts: Vec<&str> = text.split_whitespace().collect();
    harmless(&parts.join(" "), WORDS_MAX)
}

/// The same without paths of the forge's disk, which are no matter of whoever publishes.
pub(super) fn without_paths(words: &str) -> String {
    let is_path = |word: &str| word.trim_start_matches(['\'', '"', '(']).starts_with('/');
    let shown = words.split(' ').map(|word| match is_path(word) {
        true => "…",
        false => word,
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn lines(mut bytes: &[u8]) -> impl Iterator<Item = Option<PacketLineRef<'_>>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        match streaming(bytes) {
            Ok(Stream::Complete {
                line,
                bytes_consumed,
            }) => {
                bytes = &bytes[bytes_consumed..];
                Some(Some(line))
            }
            // One that is cut or is none ends it, and is told.
            Ok(Stream::Incomplete { .. }) | Err(_) => {
                bytes = &[];
                Some(None)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "refs/heads/main";

    fn packet(text: &str) -> String {
        format!("{:04x}{text}", text.len() + 4)
    }

    fn banded(band: char, text: &str) -> String {
        packet(&format!("{band}{text}"))
    }

    #[test]
    fn a_ref_is_found_among_others_or_known_to_be_missing() {
        let id = "1".repeat(40);
        let other = packet(&format!("{} refs/heads/main2\n", "2".repeat(40)));
        let ours = packet(&format!("{id} {NAME}\n"));
        let found = format!("{other}{ours}0000");
        assert_eq!(
            commit_of(found.as_bytes(), NAME),
            Some(Some(id.parse().unwrap()))
        );
        assert_eq!(
            commit_of(format!("{other}0000").as_bytes(), NAME),
            Some(None)
        );
        assert_eq!(commit_of(b"0000", NAME), Some(None));
        for odd in [
            String::new(),
            ours.clone(),
            "<html>".to_owned(),
            format!("{ours}00"),
            format!("{}0000", packet("ERR no\n")),
            format!("{}0000", packet(&format!("12 {NAME}\n"))),
        ] {
            assert_eq!(commit_of(odd.as_bytes(), NAME), None, "{odd:?}");
        }
    }

    #[test]
    fn paths_of_the_forge_are_not_repeated() {
        for (said, shown) in [
            (
                "cannot lock ref 'refs/heads/main': Unable to create '/data/a.git/./refs/heads/main.lock': File exists.",
                "cannot lock ref 'refs/heads/main': Unable to create … File exists.",
            ),
            ("in /data/a (or \"/data/b\")", "in … (or …"),
            (
                "see https://forge/acme/crates, n/a",
                "see https://forge/acme/crates, n/a",
            ),
        ] {
            assert_eq!(without_paths(said), shown);
        }
    }

    #[test]
    fn a_push_is_moved_only_if_the_report_says_so() {
        let report = |lines: &[&str]| {
            let inner: String = lines.iter().map(|line| packet(line)).collect();
            banded('\u{1}', &format!("{inner}0000")) + "0000"
        };
        let moved = report(&["unpack ok\n", "ok refs/heads/main\n"]);
        assert_eq!(of_push(moved.as_bytes(), NAME), Some(Report::Moved));
        let said = banded('\u{2}', "error: Not allowed to push\nto main\u{1b}[31m\n")
            + &report(&[
                "unpack ok\n",
                "ng refs/heads/main pre-receive hook declined\n",
            ]);
        let Some(Report::Refused(words)) = of_push(said.as_bytes(), NAME) else {
            panic!("{said:?}");
        };
        assert!(
            words.starts_with("error: Not allowed to push to main"),
            "{words}"
        );
        assert!(words.ends_with("pre-receive hook declined") && !words.contains('\u{1b}'));
        let unpack = report(&[
            "unpack index-pack abnormal exit\n",
            "ng refs/heads/main unpacker error\n",
        ]);
        assert_eq!(
            of_push(unpack.as_bytes(), NAME),
            Some(Report::Refused("index-pack abnormal exit".to_owned()))
        );
        for odd in [
            String::new(),
            "0000".to_owned(),
            report(&["unpack ok\n"]),
            report(&["unpack ok\n", "ok refs/heads/other\n"]),
            report(&["ok refs/heads/mainly\n"]),
            moved[..moved.len() / 2].to_owned(),
            packet("ok refs/heads/main\n"),
            "<html>".to_owned(),
        ] {
            assert_eq!(of_push(odd.as_bytes(), NAME), None, "{odd:?}");
        }
    }
}
