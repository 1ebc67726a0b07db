//! What holds for every request of a fetch that is let through to git, fed by a fuzzer.

use bytes::Bytes;

use super::super::{FetchFault, GitProtocol};
use super::{BodyCoding, Reading, check, is_clone_of};
use crate::fuzzing::{Verdict, check_sentences, chunks, gzip, run};

/// The largest request here, inflated, in bytes: small, so that a fuzzer reaches it.
const BYTES_MAX: usize = 2 * 1024;

/// What a request may want or not.
const ID: &str = "0123456789012345678901234567890123456789";

impl From<std::io::Error> for FetchFault {
    fn from(error: std::io::Error) -> Self {
        Self::Interrupted(error.into())
    }
}

/// Reads the bytes as a request; the first line says how they come.
///
/// In it, `1` and `2` are the version of the protocol, `l` makes a pkt-line of each further line, `z` packs them,
/// `g` says that they are packed, and the last byte is the size of the chunks in which they come.
pub fn git_request(bytes: &[u8]) -> Verdict {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (how, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    let says = |letter: u8| how.contains(&letter);
    let protocol = match (says(b'1'), says(b'2')) {
        (_, true) => GitProtocol::V2,
        (true, false) => GitProtocol::V1,
        (false, false) => GitProtocol::V0,
    };
    let request = match says(b'l') {
        true => pkt_lines(rest),
        false => rest.to_vec(),
    };
    let (sent, coding) = match (says(b'z'), says(b'g')) {
        (true, _) => (gzip(&request), BodyCoding::Gzip),
        (false, true) => (request.clone(), BodyCoding::Gzip),
        (false, false) => (request.clone(), BodyCoding::Identity),
    };
    let size = usize::from(how.last().copied().unwrap_or_default());
    let read = |chunks| Reading::begin(chunks, coding, BYTES_MAX).whole();
    let received = run(read(chunks(&sent, size)));
    let at_once = run(read(chunks(&sent, sent.len())));
    let is_known = says(b'z') || coding == BodyCoding::Identity;
    match (&received, &at_once) {
        (Ok(received), Ok(at_once)) => {
            assert_eq!(received, at_once);
            assert!(received.len() <= BYTES_MAX);
            assert!(!is_known || *received == request);
        }
        (Err(fault), Err(_)) => {
            assert!(!is_known || request.len() > BYTES_MAX, "{fault}");
            check_sentences(&[fault.to_string()]);
        }
        _ => panic!("the chunks decide: {received:?} and {at_once:?}"),
    }
    match received {
        Ok(received) => judge(&received, protocol),
        Err(fault) => Verdict::Refused(fault.to_string()),
    }
}

/// What is let through is whole pkt-lines and starts as a fetch does.
fn judge(request: &Bytes, protocol: GitProtocol) -> Verdict {
    if let Err(fault) = check(request, protocol) {
        check_sentences(&[fault.to_string()]);
        return Verdict::Refused(fault.to_string());
    }
    let lines = split(request).expect("whole pkt-lines");
    let start: &[u8] = match protocol {
        GitProtocol::V0 | GitProtocol::V1 => b"want ",
        GitProtocol::V2 => b"command=",
    };
    assert!(match lines.first().expect("a line") {
        None => request.starts_with(b"0000"),
        Some(text) => text.starts_with(start),
    });
    for cut in [1, 2, 4].map(|cut| request.len() - cut) {
        let whole: usize = lines.iter().rev().skip(1).map(length).sum();
        assert!(cut == whole || check(&request[..cut], protocol).is_err());
    }
    let longer = [request, &b"0"[..]].concat();
    assert!(check(&longer, protocol).is_err());
    match check_clone(request, &lines, protocol) {
        true => Verdict::Accepted("a clone".to_owned()),
        false => Verdict::Accepted(String::new()),
    }
}

/// A request is a clone just of the one commit that all its `want` name, and only if it has no `have`, but an end.
fn check_clone(request: &[u8], lines: &[Option<&[u8]>], protocol: GitProtocol) -> bool {
    let texts: Vec<&[u8]> = lines
        .iter()
        .flatten()
        .map(|text| text.strip_suffix(b"\n").unwrap_or(text))
        .collect();
    let behind = |start: &str| -> Vec<&[u8]> {
        let start = start.as_bytes();
        texts
            .iter()
            .filter_map(|text| text.strip_prefix(start))
            .collect()
    };
    let mut wanted: Vec<&[u8]> = behind("want ")
        .iter()
        .map(|want| match want.iter().position(|byte| *byte == b' ') {
            Some(end) => &want[..end],
            None => want,
        })
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    let is_fetch = match behind("command=").last() {
        Some(command) => *command == b"fetch",
        None => protocol != GitProtocol::V2,
    };
    let names_one = wanted.len() == 1 && behind("have ").is_empty();
    let is_clone = is_fetch && names_one && texts.contains(&&b"done"[..]);
    let named = wanted.iter().filter_map(|id| std::str::from_utf8(id).ok());
    for id in named.chain([ID]) {
        for id in [id.to_owned(), format!("{id}0")] {
            let is_this = is_clone && wanted == [id.as_bytes()];
            assert_eq!(is_clone_of(request, protocol, &id), is_this, "of {id}");
        }
    }
    is_clone
}

/// The pkt-lines as another reader finds them: `None` is one without a text.
fn split(mut bytes: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let mut lines = Vec::new();
    while !bytes.is_empty() {
        let mut length = 0;
        for digit in bytes.get(..4)? {
            length = length * 16 + char::from(*digit).to_digit(16)? as usize;
        }
        let text = bytes.get(4..length.max(4))?;
        assert!(length != 3 && length <= 65_520);
        lines.push((length > 3).then_some(text));
        bytes = &bytes[length.max(4)..];
    }
    Some(lines)
}

fn length(line: &Option<&[u8]>) -> usize {
    4 + line.map_or(0, <[u8]>::len)
}

/// A pkt-line of each line; those without a text are written as they are.
fn pkt_lines(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n").unwrap_or(line) {
            special @ (b"0000" | b"0001" | b"0002") => bytes.extend(special),
            _ => {
                bytes.extend(format!("{:04x}", line.len() + 4).into_bytes());
                bytes.extend(line);
            }
        }
    }
    bytes
}
