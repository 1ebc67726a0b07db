//! Git objects in memory: their ids and their compressed bytes.

use std::io::{self, Read, Write};

use bytes::{Bytes, BytesMut};
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use gix::objs::Kind;
use thiserror::Error;

use crate::domain::{BlobId, CommitId, TreeId};

/// The head of a gzip file without name and time, as of RFC 1952.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// Bytes around the deflate stream in a zlib stream: two before it, four behind it (RFC 1950).
const ZLIB_HEAD_BYTES: usize = 2;
const ZLIB_TAIL_BYTES: usize = 4;

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
const SHELF_BYTES: usize = 1024 * 1024;

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
#[derive(Debug, Default)]
pub(super) struct Shelf(BytesMut);

impl Body {
    /// Compresses the bytes of a file.
    pub fn new(bytes: &[u8]) -> Result<Self, Collision> {
        Ok(Self::with_object(bytes)?.0)
    }

    /// Compresses the bytes of a file, also for a pack: its entry and the gzip body share one deflate stream.
    pub(super) fn with_object(bytes: &[u8]) -> Result<(Self, PackObject), Collision> {
        let id = id_of(Kind::Blob, bytes)?;
        let object = PackObject::with_id(Kind::Blob, id, bytes, Compression::default());
        let body = Self {
            blob: BlobId::from(object.id),
            gzip: Bytes::from(gzip(&object.zlib, bytes)),
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

    /// The bytes.
    pub fn inflate(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size);
        flate2::read::GzDecoder::new(&self.gzip[..])
            .read_to_end(&mut bytes)
            .expect(
                "we compressed it: now, or before we wrote it to a file whose checksum is right",
            );
        bytes
    }
}

impl Shelf {
    /// Compresses the bytes of the blob `id`.
    pub(super) fn compress(&mut self, id: BlobId, bytes: &[u8]) -> Body {
        let zlib = zlib(bytes, Compression::default());
        self.put(id, &gzip(&zlib, bytes), bytes.len())
    }

    /// Copies the gzip form of the blob `id`, which was compressed before and has `size` bytes.
    pub(super) fn put(&mut self, id: BlobId, gzip: &[u8], size: usize) -> Body {
        if self.0.capacity() < gzip.len() {
            self.0 = BytesMut::with_capacity(SHELF_BYTES.max(gzip.len()));
        }
        self.0.extend_from_slice(gzip);
        Body {
            blob: id,
            gzip: self.0.split().freeze(),
            size,
        }
    }
}

impl PackObject {
    pub(super) fn tree(id: TreeId, bytes: &[u8]) -> Self {
        Self::with_id(Kind::Tree, *id.as_bytes(), bytes, Compression::fast())
    }

    pub(super) fn commit(id: CommitId, bytes: &[u8]) -> Self {
        Self::with_id(Kind::Commit, *id.as_bytes(), bytes, Compression::fast())
    }

    fn with_id(kind: Kind, id: [u8; 20], bytes: &[u8], level: Compression) -> Self {
        Self {
            kind,
            id,
            size: bytes.len(),
            zlib: zlib(bytes, level),
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

/// The gzip form of bytes of which there is the zlib form.
fn gzip(zlib: &[u8], bytes: &[u8]) -> Vec<u8> {
    let deflated = &zlib[ZLIB_HEAD_BYTES..zlib.len() - ZLIB_TAIL_BYTES];
    let mut crc = Crc::new();
    crc.update(bytes);
    let mut gzip = Vec::with_capacity(GZIP_HEAD.len() + deflated.len() + 8);
    gzip.extend(GZIP_HEAD);
    gzip.extend(deflated);
    gzip.extend(crc.sum().to_le_bytes());
    gzip.extend(crc.amount().to_le_bytes());
    gzip
}

fn zlib(bytes: &[u8], level: Compression) -> Vec<u8> {
    let write = || -> io::Result<Vec<u8>> {
        let mut encoder = ZlibEncoder::new(Vec::with_capacity(bytes.len() / 2 + 64), level);
        encoder.write_all(bytes)?;
        encoder.finish()
    };
    write().expect("compressing into memory does not fail")
}
