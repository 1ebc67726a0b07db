//! Byte ranges of a download (RFC 9110, 14).

use std::fmt;

/// A part of a file; an empty one only of an empty file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    start: u64,
    /// Behind the last byte.
    end: u64,
}

/// What a `Range` header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All of it: also if the header has a form that need not be understood, such as several ranges.
    Whole,
    /// This part.
    Part(ByteRange),
    /// Bytes that the file does not have.
    Nothing,
}

impl ByteRange {
    /// A whole file.
    pub fn whole(size: u64) -> Self {
        Self {
            start: 0,
            end: size,
        }
    }

    /// Where it starts.
    pub fn start(self) -> u64 {
        self.start
    }

    /// How many bytes it has.
    pub fn length(self) -> u64 {
        self.end - self.start
    }

    /// What is left after `count` bytes of it.
    pub fn after(self, count: u64) -> Self {
        Self {
            start: self.end.min(self.start.saturating_add(count)),
            end: self.end,
        }
    }
}

/// As `Content-Range` has it, without the size: `bytes 0-99`.
impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}", self.start, self.end.saturating_sub(1))
    }
}

impl Wanted {
    /// Reads a `Range` header for a file of `size` bytes.
    pub fn parse(header: &str, size: u64) -> Self {
        let Some((first, last)) = header
            .strip_prefix("bytes=")
            .and_then(|spec| spec.split_once('-'))
        else {
            return Self::Whole;
        };
        let (start, end) = match (number(first), number(last)) {
            (Some(start), Some(last)) if start <= last => (start, size.min(last.saturating_add(1))),
            (Some(start), None) if last.is_empty() => (start, size),
            // The last so many bytes.
            (None, Some(count)) if first.is_empty() && count > 0 => {
                (size.saturating_sub(count), size)
            }
            (None, Some(0)) if first.is_empty() => return Self::Nothing,
            _ => return Self::Whole,
        };
        match start < end {
            true => Self::Part(ByteRange { start, end }),
            false => Self::Nothing,
        }
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start: u64, end: u64) -> Wanted {
        Wanted::Part(ByteRange { start, end })
    }

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let cases = [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-5", part(2, 6)),
            ("bytes=2-", part(2, 10)),
            ("bytes=2-99999999999999999999", Wanted::Whole),
            ("bytes=2-18446744073709551615", part(2, 10)),
            ("bytes=-3", part(7, 10)),
            ("bytes=-30", part(0, 10)),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=10-20", Wanted::Nothing),
            ("bytes=5-2", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
            ("", Wanted::Whole),
        ];
        for (header, wanted) in cases {
            assert_eq!(Wanted::parse(header, 10), wanted, "{header}");
        }
        assert_eq!(Wanted::parse("bytes=0-", 0), Wanted::Nothing);
    }
}
