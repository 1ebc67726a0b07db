//! What is fuzzed: one function from bytes for each reader of what strangers send.
//!
//! Each stands beside its reader and judges it by more than that it does not panic. libFuzzer runs these very functions
//! (`fuzz/`), and the tests run them on the files in `fuzz/corpus/`. In no other build are they there.

#[cfg(test)]
mod tests;

pub use crate::auth::token;
pub use crate::domain::index_line;
pub use crate::fetch::git_request;
pub use crate::index::rule;
pub use crate::publish::{frame, manifest, tarball};

/// How the reader judged the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It took it for what it should be; for what, if there are several such things.
    Accepted(String),
    /// It refused it, for this.
    Refused(String),
}

/// A function that panics if the reader does with these bytes what it must not.
pub type Target = fn(&[u8]) -> Verdict;

/// All of them, each with the name of its file in `fuzz/fuzz_targets/` and of its folder in `fuzz/corpus/`.
pub const TARGETS: [(&str, Target); 7] = [
    ("frame", frame),
    ("git_request", git_request),
    ("index_line", index_line),
    ("manifest", manifest),
    ("rule", rule),
    ("tarball", tarball),
    ("token", token),
];

/// Chunks of `size` bytes, as a body may come.
pub(crate) fn chunks(
    bytes: &[u8],
    size: usize,
) -> impl futures_util::Stream<Item = Result<bytes::Bytes, std::io::Error>> {
    let chunks = bytes.chunks(size.max(1));
    futures_util::stream::iter(chunks.map(|chunk| Ok(bytes::Bytes::copy_from_slice(chunk))))
}

/// The output of a future that waits for nothing.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let output = futures_util::FutureExt::now_or_never(future);
    output.expect("what it reads is in memory")
}

/// A gzip member whose blocks are stored and not deflated: a fuzzer's time is not for packing.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    const BLOCK_BYTES_MAX: usize = 65_535;
    let mut member = HEAD.to_vec();
    let mut blocks = bytes.chunks(BLOCK_BYTES_MAX).peekable();
    while let Some(block) = blocks.next() {
        member.push(u8::from(blocks.peek().is_none()));
        let length = u16::try_from(block.len()).expect("a block is bounded");
        member.extend(length.to_le_bytes());
        member.extend((!length).to_le_bytes());
        member.extend(block);
    }
    if bytes.is_empty() {
        member.extend([1, 0, 0, 255, 255]);
    }
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    member.extend(crc.sum().to_le_bytes());
    member.extend(crc.amount().to_le_bytes());
    member
}

/// Checks sentences about what a stranger sent: few, not long, and nothing in them that turns a terminal or a log.
pub(crate) fn check_sentences<S: AsRef<str>>(sentences: &[S]) {
    const COUNT_MAX: usize = 64;
    const BYTES_MAX: usize = 8 * 1024;
    assert!(sentences.len() <= COUNT_MAX, "{} faults", sentences.len());
    for sentence in sentences {
        let sentence = sentence.as_ref();
        assert!(!sentence.is_empty(), "a refusal without a word");
        assert!(sentence.len() <= BYTES_MAX, "{} bytes", sentence.len());
        let misleading = sentence.chars().find(|c| crate::domain::is_misleading(*c));
        assert_eq!(misleading, None, "{}", sentence.escape_debug());
    }
}
