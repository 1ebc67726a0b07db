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
    /// It is not.
    Refused {
        /// What is said about it.
        words: String,
        /// What that is about.
        about: About,
    },
}

/// What the words of a refusal are about, as far as they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// Who pushes and where, whatever is pushed.
    Pusher,
    /// What git or the forge could not do, whatever was pushed.
    Forge,
    /// Perhaps what was pushed.
    Commits,
}

/// Who speaks, before its words; all of these in small letters.
const SPEAKERS: [&str; 4] = ["error: ", "fatal: ", "forgejo: ", "gitea: "];
/// How the forges begin what they say about the pusher.
const OF_THE_PUSHER: [&str; 3] = [
    "not allowed to push to protected branch ",
    "user permission denied for writing",
    // Every commit is signed by the same key.
    "branch main is protected from unverified commit ",
];
/// How git and the forges begin what they say about themselves.
const OF_THE_FORGE: [&str; 4] = [
    "cannot lock ref ",
    "failed to update ref",
    "unable to create temporary ",
    // A forge's hook that gets no answer from the forge, or none that it understands.
    "internal server ",
];
/// How such a line of git's can end.
const DISK_IS_FULL: &str = "no space left on device";

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
        let all = format!("{said}\n{reason}");
        return Some(Report::Refused {
            words: words(&all),
            about: about(&all),
        });
    }
    None
}

/// What is said in these lines.
///
/// Only what a line begins or ends with counts: a hook may print what it judges, so any word can be a crate's name.
fn about(said: &str) -> About {
    let of_line = |line: &str| {
        let line = line.trim().to_ascii_lowercase();
        let spoken = SPEAKERS.iter().find_map(|name| line.strip_prefix(name));
        let words = spoken.unwrap_or(&line);
        let begins = |known: &[&str]| known.iter().any(|known| words.starts_with(known));
        match () {
            () if begins(&OF_THE_PUSHER) => Some(About::Pusher),
            () if begins(&OF_THE_FORGE) || words.ends_with(DISK_IS_FULL) => Some(About::Forge),
            () => None,
        }
    };
    // What git tells of how far it is ends with `\r`.
    said.split(['\r', '\n'])
        .find_map(of_line)
        .unwrap_or(About::Commits)
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
    fn what_a_hook_repeats_of_a_commit_is_not_taken_for_words_of_the_forge() {
        for said in [
            "error:\nerror: Not allowed to push to protected branch main\nerror:\n",
            "Forgejo: Not allowed to push to protected branch main\n",
            "Gitea: User permission denied for writing.\n",
            "error: branch main is protected from unverified commit 1234\n",
        ] {
            assert_eq!(about(said), About::Pusher, "{said}");
        }
        for said in [
            "error: cannot lock ref 'refs/heads/main': Unable to create '/a/main.lock': File exists.\n",
            "\nfailed to update ref",
            "\nunable to create temporary object directory",
            "Unpacking objects:  33% (1/3)\rfatal: write error: No space left on device\n",
            "Forgejo: Internal Server Connection Error\n",
            "error: Internal Server Error (no message for end users)\n",
        ] {
            assert_eq!(about(said), About::Forge, "{said}");
        }
        for said in [
            "publish archived-logs 1.0.0\nnot allowed by the naming policy\npre-receive hook declined",
            "error: bob may not publish internal-server: permission denied\n",
            "publish a 1.0.0: the cfg `no space left on device` is not known\n",
            "error: branch main is protected from changing file ar/ch/archived\n",
            "crates of a protected branch are not published here\n",
        ] {
            assert_eq!(about(said), About::Commits, "{said}");
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
        let Some(Report::Refused { words, about }) = of_push(said.as_bytes(), NAME) else {
            panic!("{said:?}");
        };
        assert_eq!(about, About::Commits);
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
            Some(Report::Refused {
                words: "index-pack abnormal exit".to_owned(),
                about: About::Commits
            })
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
