//! The request of a fetch: read, inflated and checked before a process sees it.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;

use std::io::{self, Write};

use bytes::{Buf, Bytes};
use flate2::write::GzDecoder;
use futures_util::stream::Fuse;
use futures_util::{Stream, StreamExt};

use super::{FetchFault, GitProtocol};

/// The largest request, inflated, in bytes: git names at most some ten thousand commits of 50 bytes in one.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How a request body is packed; git packs those above 1 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyCoding {
    /// As it is.
    Identity,
    /// `Content-Encoding: gzip`.
    Gzip,
}

/// A request that is being read: inflated, of at most so many bytes.
pub(super) struct Reading<S> {
    body: Fuse<S>,
    /// What came and was not taken yet.
    chunk: Bytes,
    taken: Taken,
}

/// What was read so far.
enum Taken {
    Identity(Bounded),
    Gzip(Box<GzDecoder<Bounded>>),
}

/// A buffer that takes no more than its limit.
struct Bounded {
    bytes: Vec<u8>,
    bytes_max: usize,
    is_over: bool,
}

impl<S, E> Reading<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<FetchFault>,
{
    pub(super) fn begin(body: S, coding: BodyCoding, bytes_max: usize) -> Self {
        let bounded = Bounded {
            bytes: Vec::new(),
            bytes_max,
            is_over: false,
        };
        let taken = match coding {
            BodyCoding::Identity => Taken::Identity(bounded),
            BodyCoding::Gzip => Taken::Gzip(GzDecoder::new(bounded).into()),
        };
        Self {
            body: body.fuse(),
            chunk: Bytes::new(),
            taken,
        }
    }

    /// Reads until there are more than so many bytes, though not many more; false if the body ends before.
    ///
    /// # Errors
    /// `TooLarge`, `Malformed` when it is no gzip stream, or the error of the body.
    pub(super) async fn has_more_than(&mut self, bytes: usize) -> Result<bool, FetchFault> {
        while self.taken.bounded().bytes.len() <= bytes {
            if self.chunk.is_empty() {
                match self.body.next().await {
                    Some(chunk) => self.chunk = chunk.map_err(Into::into)?,
                    None => return Ok(false),
                }
            } else {
                let count = self.taken.take(&self.chunk)?;
                self.chunk.advance(count);
            }
        }
        Ok(true)
    }

    /// The whole request.
    ///
    /// # Errors
    /// As those of [`Reading::has_more_than`]; `Malformed` also when the gzip stream does not end with the body.
    pub(super) async fn whole(mut self) -> Result<Bytes, FetchFault> {
        self.has_more_than(usize::MAX).await?;
        self.taken.whole()
    }
}

impl Taken {
    fn bounded(&self) -> &Bounded {
        match self {
            Self::Identity(bounded) => bounded,
            Self::Gzip(decoder) => decoder.get_ref(),
        }
    }

    /// Takes some of the bytes. At a time, a decoder inflates as much as it has memory for.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, FetchFault> {
        let taken = match self {
            Self::Identity(bounded) => bounded.write(bytes),
            Self::Gzip(decoder) => decoder.write(bytes),
        };
        match taken {
            Ok(0) | Err(_) => Err(self.fault()),
            Ok(count) => Ok(count),
        }
    }

    fn whole(mut self) -> Result<Bytes, FetchFault> {
        if let Self::Gzip(decoder) = &mut self
            && decoder.try_finish().is_err()
        {
            return Err(self.fault());
        }
        let bounded = match self {
            Self::Identity(bounded) => bounded,
            Self::Gzip(decoder) => decoder.finish().map_err(|_| NOT_GZIP)?,
        };
        Ok(bounded.bytes.into())
    }

    /// Why no more was taken.
    fn fault(&self) -> FetchFault {
        match self.bounded() {
            Bounded {
                bytes_max,
                is_over: true,
                ..
            } => FetchFault::TooLarge {
                bytes_max: *bytes_max as u64,
            },
            _ => NOT_GZIP,
        }
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.bytes_max - self.bytes.len() {
            self.is_over = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Checks what is cheap to check: whole pkt-lines, and a first one that a fetch of `protocol` starts with.
///
/// See <https://git-scm.com/docs/gitprotocol-common> and <https://git-scm.com/docs/gitprotocol-v2>.
pub(super) fn check(request: &[u8], protocol: GitProtocol) -> Result<(), FetchFault> {
    let start: &[u8] = match protocol {
        GitProtocol::V0 | GitProtocol::V1 => b"want ",
        GitProtocol::V2 => b"command=",
    };
    let mut rest = request;
    let mut is_first = true;
    while !rest.is_empty() {
        let (line, after) = split_line(rest).map_err(FetchFault::Malformed)?;
        match line {
            // A flush first: the client wants nothing.
            Line::Special if is_first && !request.starts_with(b"0000") => {
                return Err(FetchFault::Malformed("it starts with a delimiter"));
            }
            Line::Text(text) if is_first && !text.starts_with(start) => {
                let reason = "it starts with neither `want` (version 0) nor `command=` (version 2)";
                return Err(FetchFault::Malformed(reason));
            }
            Line::Special | Line::Text(_) => {}
        }
        is_first = false;
        rest = after;
    }
    if is_first {
        return Err(FetchFault::Malformed("it is empty"));
    }
    Ok(())
}

/// Whether the whole request, which was checked, asks for `commit` and all that belongs to it: nothing else is wanted,
/// and the client names nothing that it has.
pub(super) fn is_clone_of(request: &[u8], protocol: GitProtocol, commit: &str) -> bool {
    let mut rest = request;
    let (mut is_fetch, mut is_wanted, mut is_done) = (protocol != GitProtocol::V2, false, false);
    while !rest.is_empty() {
        let Ok((line, after)) = split_line(rest) else {
            return false;
        };
        rest = after;
        let Line::Text(text) = line else {
            continue;
        };
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        if let Some(want) = text.strip_prefix(b"want ") {
            // In the older versions, what the client can do follows the first.
            let id = want.split(|byte| *byte == b' ').next();
            if id != Some(commit.as_bytes()) {
                return false;
            }
            is_wanted = true;
        } else if text.starts_with(b"have ") {
            return false;
        } else if let Some(command) = text.strip_prefix(b"command=") {
            is_fetch = command == b"fetch";
        } else if text == b"done" {
            is_done = true;
        }
    }
    is_fetch && is_wanted && is_done
}

enum Line<'a> {
    /// Flush, delimiter or response end.
    Special,
    Text(&'a [u8]),
}

fn split_line(bytes: &[u8]) -> Result<(Line<'_>, &[u8]), &'static str> {
    let (digits, rest) = bytes
        .split_at_checked(4)
        .ok_or("it ends inside the length of a pkt-line")?;
    let not_a_length = "the length of a pkt-line is not four hex digits";
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(not_a_length);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| not_a_length)?;
    let length = usize::from_str_radix(digits, 16).map_err(|_| not_a_length)?;
    match length {
        0..=2 => Ok((Line::Special, rest)),
        3 => Err("a pkt-line has the length 3, which no line has"),
        _ if length > 65_520 => Err("a pkt-line is longer than 65520 bytes"),
        _ => {
            let (text, rest) = rest
                .split_at_checked(length - 4)
                .ok_or("a pkt-line claims more bytes than there are")?;
            Ok((Line::Text(text), rest))
        }
    }
}

const NOT_GZIP: FetchFault = FetchFault::Malformed("it is not one whole gzip stream");

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures_util::stream;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn inflated(packed: &[u8], bytes_max: usize) -> Result<Bytes, FetchFault> {
        let chunks = packed
            .chunks(7)
            .map(|chunk| Ok::<_, FetchFault>(Bytes::copy_from_slice(chunk)));
        let chunks = stream::iter(chunks.collect::<Vec<_>>());
        Reading::begin(chunks, BodyCoding::Gzip, bytes_max)
            .whole()
            .await
    }

    #[test]
    fn whole_requests_of_each_version_pass() {
        let want = b"0032want 0123456789012345678901234567890123456789\n00000009done\n";
        check(want, GitProtocol::V0).unwrap();
        check(b"0014command=ls-refs\n00010009peel\n0000", GitProtocol::V2).unwrap();
        check(b"0000", GitProtocol::V0).unwrap();
    }

    #[test]
    fn lies_are_refused() {
        for (request, protocol) in [
            (&b""[..], GitProtocol::V0),
            (b"00", GitProtocol::V0),
            (b"0001", GitProtocol::V2),
            (b"0003", GitProtocol::V0),
            (b"+032want ", GitProtocol::V0),
            (b"zzzzwant ", GitProtocol::V0),
            (b"0032want 0123", GitProtocol::V0),
            (b"fff1want 0123", GitProtocol::V0),
            (b"0009have\n", GitProtocol::V0),
            (b"0009want\n", GitProtocol::V2),
            (b"000bwant 1\n0", GitProtocol::V0),
            (b"GET / HTTP/1.1\r\n", GitProtocol::V0),
        ] {
            let checked = check(request, protocol);
            assert!(
                matches!(checked, Err(FetchFault::Malformed(_))),
                "{} {checked:?}",
                request.escape_ascii()
            );
        }
    }

    #[test]
    fn a_clone_wants_the_commit_alone_and_has_nothing() {
        let id = "0123456789012345678901234567890123456789";
        let lines = |lines: &[&str]| {
            let line = |line: &&str| match *line {
                "0000" | "0001" => (*line).to_owned(),
                text => format!("{:04x}{text}", text.len() + 4),
            };
            lines.iter().map(line).collect::<String>()
        };
        let (want, have) = (format!("want {id}\n"), format!("have {id}\n"));
        let able = format!("want {id} side-band-64k agent=git/2.1\n");
        let other = want.replace('0', "f");
        let is_clone =
            |parts: &[&str], protocol| is_clone_of(lines(parts).as_bytes(), protocol, id);
        for (parts, protocol) in [
            (&[&*able, "0000", "done\n"][..], GitProtocol::V0),
            (&[&able, &want, "0000", "done"], GitProtocol::V1),
            (&[&want, "deepen 1", "0000", "done\n"], GitProtocol::V0),
            (
                &["command=fetch", "agent=x", "0001", &want, "done\n", "0000"],
                GitProtocol::V2,
            ),
        ] {
            assert!(is_clone(parts, protocol), "{parts:?}");
        }
        for (parts, protocol) in [
            (&[&*able, "0000", &have, "done\n"][..], GitProtocol::V0),
            (&[&able, &other, "0000", "done\n"], GitProtocol::V0),
            (&[&other, "0000", "done\n"], GitProtocol::V0),
            (&[&want, "0000"], GitProtocol::V0),
            (&["0000"], GitProtocol::V0),
            (
                &["command=fetch", "0001", &want, &have, "done\n", "0000"],
                GitProtocol::V2,
            ),
            (&["command=fetch", "0001", &want, "0000"], GitProtocol::V2),
            (
                &["command=fetch", "0001", "done\n", "0000"],
                GitProtocol::V2,
            ),
            (
                &["command=ls-refs", "0001", &want, "done\n", "0000"],
                GitProtocol::V2,
            ),
            (
                &["command=fetch", "0001", &other, &want, "done", "0000"],
                GitProtocol::V2,
            ),
        ] {
            assert!(!is_clone(parts, protocol), "{parts:?}");
        }
        assert!(!is_clone_of(b"0009done\n00", GitProtocol::V0, id));
    }

    #[tokio::test]
    async fn gzip_is_inflated_up_to_the_limit() {
        let packed = gzip(&[b'a'; 100_000]);
        assert_eq!(
            inflated(&packed, 100_000).await.unwrap(),
            [b'a'; 100_000][..]
        );
        let over = inflated(&packed, 99_999).await;
        assert!(matches!(
            over,
            Err(FetchFault::TooLarge { bytes_max: 99_999 })
        ));
    }

    #[tokio::test]
    async fn broken_gzip_is_refused() {
        let packed = gzip(b"0000");
        let cut = &packed[..packed.len() - 1];
        let trailing = [&packed[..], b"x"].concat();
        let mut flipped = packed.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for wrong in [&b"0000"[..], b"", cut, &trailing, &flipped] {
            let refused = inflated(wrong, 100).await;
            assert!(
                matches!(refused, Err(FetchFault::Malformed(_))),
                "{refused:?}"
            );
        }
    }
}
