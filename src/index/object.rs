//! Git objects in memory: their ids and their compressed bytes.

use std::cell::RefCell;
use std::io::Read;
use std::iter;
use std::thread::LocalKey;

use bytes::{Buf, Bytes, BytesMut};
use flate2::bufread::GzDecoder;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use gix::objs::Kind;
use thiserror::Error;

use crate::domain::{BlobId, CommitId, TreeId};

/// The head of a gzip file without name and time, as of RFC 1952.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// Bytes around the deflate stream in a zlib stream: two before it, four behind it (RFC 1950).
const ZLIB_HEAD_BYTES: usize = 2;
const ZLIB_TAIL_BYTES: usize = 4;

/// How much of a body is inflated at a time for who takes it in pieces.
const PIECE_BYTES: usize = 64 * 1024;

/// An object to be put into a pack.
#[derive(Debug)]
pub(super) struct PackObject {
    pub(super) kind: Kind,
    pub(super) id: [u8; 20],
    /// The size before compression.
    pub(super) size: usize,
    pub(super) zlib: Vec<u8>,
}

/// How many bytes of bodies lie in one piece of memory.
const SHELF_BYTES: usize = 1 << 20;

/// Bytes that somebody made so that others have the same SHA-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a file of the index would hold bytes that were made to collide under SHA-1, by which git names them; change the texts of the manifest"
)]
pub struct Collision;

/// The bytes of a file of the index, compressed once for the pack and for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    blob: BlobId,
    gzip: Bytes,
    size: usize,
}

/// Room for many bodies side by side: an allocation for each would leave holes between them.
///
/// A piece of memory is given back when the last body in it is no longer served.
#[derive(Debug)]
pub(super) struct Shelf {
    room: BytesMut,
    deflater: Deflater,
}

thread_local! {
    // Of the writer's objects, files are sent to many as they are here. Folders are mostly ids, which no compression
    // makes shorter; all but a few become deltas when packs are merged.
    static WELL: RefCell<Deflater> = RefCell::new(Deflater::new(Compression::default()));
    static FAST: RefCell<Deflater> = RefCell::new(Deflater::new(Compression::fast()));
    static NOT: RefCell<Deflater> = RefCell::new(Deflater::new(Compression::none()));
}

/// Compresses with memory that is asked for once. It is much: to clear it takes longer than to compress a line, and for
/// each file anew it would leave holes, since what stays for long settles in it.
#[derive(Debug)]
struct Deflater {
    state: Compress,
    zlib: Vec<u8>,
}

impl Body {
    /// Compresses the bytes of a file.
    pub fn new(bytes: &[u8]) -> Result<Self, Collision> {
        Ok(Self::with_object(bytes)?.0)
    }

    /// Compresses the bytes of a file, also for a pack: its entry and the gzip body share one deflate stream.
    pub(super) fn with_object(bytes: &[u8]) -> Result<(Self, PackObject), Collision> {
        let id = id_of(Kind::Blob, bytes)?;
        let object = PackObject::with_id(Kind::Blob, id, bytes, &WELL);
        let body = Self {
            blob: BlobId::from(object.id),
            gzip: Bytes::from(gzip(&object.zlib, &gzip_tail(bytes)).concat()),
            size: bytes.len(),
        };
        Ok((body, object))
    }

    /// The id of the git blob with these bytes.
    pub fn blob(&self) -> BlobId {
        self.blob
    }

    /// The bytes in gzip form.
    pub fn gzip(&self) -> &Bytes {
        &self.gzip
    }

    /// How many bytes there are before compression.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The bytes.
    pub fn inflate(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size);
        inflate(&mut GzDecoder::new(&self.gzip[..]), &mut bytes);
        bytes
    }

    /// The bytes one piece after the other, each inflated when it is asked for.
    pub fn pieces(&self) -> impl Iterator<Item = Bytes> + Send + Sync + use<> {
        let mut inflating = GzDecoder::new(self.gzip.clone().reader());
        iter::from_fn(move || {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            inflate(&mut inflating.by_ref().take(PIECE_BYTES as u64), &mut piece);
            (!piece.is_empty()).then(|| piece.into())
        })
    }
}

fn inflate(inflating: &mut impl Read, bytes: &mut Vec<u8>) {
    inflating
        .read_to_end(bytes)
        .expect("we compressed it: now, or before we wrote it to a file whose checksum is right");
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            room: BytesMut::new(),
            deflater: Deflater::new(Compression::default()),
        }
    }
}

impl Shelf {
    /// Compresses the bytes of the blob `id`.
    pub(super) fn compress(&mut self, id: BlobId, bytes: &[u8]) -> Body {
        let zlib = self.deflater.deflate(bytes);
        Body {
            blob: id,
            gzip: lay(&mut self.room, &gzip(zlib, &gzip_tail(bytes))),
            size: bytes.len(),
        }
    }

    /// Copies the gzip form of the blob `id`, which was compressed before and has `size` bytes.
    pub(super) fn put(&mut self, id: BlobId, gzip: &[u8], size: usize) -> Body {
        Body {
            blob: id,
            gzip: lay(&mut self.room, &[gzip]),
            size,
        }
    }
}

/// Copies the parts one behind the other.
fn lay(room: &mut BytesMut, parts: &[&[u8]]) -> Bytes {
    let length = parts.iter().map(|part| part.len()).sum();
    if room.capacity() < length {
        *room = BytesMut::with_capacity(SHELF_BYTES.max(length));
    }
    parts.iter().for_each(|part| room.extend_from_slice(part));
    room.split().freeze()
}

impl Deflater {
    fn new(level: Compression) -> Self {
        Self {
            state: Compress::new(level, true),
            zlib: Vec::new(),
        }
    }

    /// The zlib form of the bytes, until the next ones come.
    fn deflate(&mut self, bytes: &[u8]) -> &[u8] {
        self.state.reset();
        self.zlib.clear();
        let mut rest = bytes;
        loop {
            self.zlib.reserve(rest.len() / 2 + 64);
            let before = self.state.total_in();
            let status = self
                .state
                .compress_vec(rest, &mut self.zlib, FlushCompress::Finish)
                .expect("compressing into memory does not fail");
            if status == Status::StreamEnd {
                return &self.zlib;
            }
            rest = &rest[(self.state.total_in() - before) as usize..];
        }
    }
}

impl PackObject {
    pub(super) fn tree(id: TreeId, bytes: &[u8]) -> Self {
        Self::with_id(Kind::Tree, *id.as_bytes(), bytes, &NOT)
    }

    pub(super) fn commit(id: CommitId, bytes: &[u8]) -> Self {
        Self::with_id(Kind::Commit, *id.as_bytes(), bytes, &FAST)
    }

    fn with_id(
        kind: Kind,
        id: [u8; 20],
        bytes: &[u8],
        by: &'static LocalKey<RefCell<Deflater>>,
    ) -> Self {
        Self {
            kind,
            id,
            size: bytes.len(),
            zlib: by.with_borrow_mut(|deflater| deflater.deflate(bytes).to_vec()),
        }
    }
}

/// The id of the tree with these bytes.
pub(super) fn tree_id(bytes: &[u8]) -> TreeId {
    let id = id_of(Kind::Tree, bytes);
    TreeId::from(id.expect("names in ASCII and ids cannot be chosen so that they collide"))
}

/// The id of the commit with these bytes.
pub(super) fn commit_id(bytes: &[u8]) -> CommitId {
    let id = id_of(Kind::Commit, bytes);
    CommitId::from(id.expect("nobody can choose what a commit with our signature holds"))
}

/// The object id, computed with detection of crafted SHA-1 collisions: index lines hold texts of strangers.
pub(super) fn id_of(kind: Kind, bytes: &[u8]) -> Result<[u8; 20], Collision> {
    // Nothing but a collision makes it fail: it only computes.
    let id = gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, bytes).map_err(|_| Collision)?;
    Ok(id.as_slice().try_into().expect("a SHA-1 has 20 bytes"))
}

/// The parts of the gzip form of bytes of which these are the zlib form and the end.
fn gzip<'a>(zlib: &'a [u8], tail: &'a [u8; 8]) -> [&'a [u8]; 3] {
    let deflated = &zlib[ZLIB_HEAD_BYTES..zlib.len() - ZLIB_TAIL_BYTES];
    [&GZIP_HEAD, deflated, tail]
}

/// The end of the gzip form: checksum and length.
fn gzip_tail(bytes: &[u8]) -> [u8; 8] {
    let mut crc = Crc::new();
    crc.update(bytes);
    let (sum, length) = (crc.sum().to_le_bytes(), crc.amount().to_le_bytes());
    let mut tail = [0; 8];
    tail[..4].copy_from_slice(&sum);
    tail[4..].copy_from_slice(&length);
    tail
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_shelf_gives_what_a_body_alone_is(
            files in proptest::collection::vec((any::<Vec<u8>>(), 1usize..2000), 0..8),
        ) {
            let mut shelf = Shelf::default();
            for (bytes, times) in files {
                let bytes = bytes.repeat(times);
                let (alone, object) = Body::with_object(&bytes).unwrap();
                let compressed = shelf.compress(alone.blob(), &bytes);
                prop_assert_eq!(&compressed, &alone);
                let put = shelf.put(alone.blob(), alone.gzip(), alone.size());
                prop_assert_eq!(&put, &alone);
                prop_assert_eq!(compressed.inflate(), bytes.clone());
                prop_assert_eq!(compressed.pieces().collect::<Vec<_>>().concat(), bytes.clone());
                let mut inflated = Vec::new();
                let mut zlib = flate2::read::ZlibDecoder::new(&object.zlib[..]);
                zlib.read_to_end(&mut inflated).unwrap();
                prop_assert_eq!(inflated, bytes);
            }
        }
    }

    #[test]
    fn what_cannot_be_compressed_comes_out_whole() {
        let noise = std::iter::successors(Some(1_u32), |last| {
            let next = last ^ last << 13;
            let next = next ^ next >> 17;
            Some(next ^ next << 5)
        });
        let noise: Vec<u8> = noise.take(1 << 21).map(|number| number as u8).collect();
        let (body, object) = Body::with_object(&noise).unwrap();
        assert!(object.zlib.len() > noise.len());
        assert_eq!(body.inflate(), noise);
        let pieces: Vec<Bytes> = body.pieces().collect();
        assert_eq!(pieces.concat(), noise);
        assert!(pieces.iter().all(|piece| piece.len() == PIECE_BYTES));
    }

    #[test]
    fn a_piece_of_memory_is_filled_to_its_last_byte() {
        let mut shelf = Shelf::default();
        let piece = 1 << 20;
        let bodies = [5, piece - 5, 1, piece + 1].map(|length| {
            let body = shelf.put(BlobId::from([0; 20]), &vec![7; length], 0);
            assert_eq!(body.gzip, vec![7; length]);
            body
        });
        let end_of_first = bodies[0].gzip.as_ptr_range().end;
        assert_eq!(end_of_first, bodies[1].gzip.as_ptr());
    }
}
