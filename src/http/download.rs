//! Downloads: `/R/dl/{crate}/{version}/download`, and `/R/dl/{capability}/{crate}/{version}/{checksum}` for clients of a
//! private registry that send no token.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream};
use rustix::buffer::spare_capacity;
use rustix::io::pread;
use tokio::task::spawn_blocking;
use tracing::{Span, error};
use warp::Reply;
use warp::http::header::{self, HeaderValue};
use warp::http::{HeaderName, StatusCode};

use super::access::Challenge;
use super::context::Response;
use super::error::ApiError;
use super::range::{ByteRange, Wanted};
use super::request::{CapabilityPath, Request, VersionPath};
use crate::blobs::{Blobs, Content};
use crate::domain::{Capability, Cksum};
use crate::index::Snapshot;

/// How much of a file is read at a time, in bytes: each time wakes a thread, and each client that waits holds as much.
const CHUNK_BYTES: u64 = 512 * 1024;

/// Answers with a `.crate` file, or a range of it, to whoever may read the index.
pub async fn download(path: VersionPath, request: Request) -> Result<Response, ApiError> {
    let snapshot = request.read(Challenge::Cargo).await?;
    let cksum = cksum_of(&snapshot, &path).ok_or_else(nothing)?;
    send_file(&request, cksum).await
}

/// Answers as [`download`] to whoever knows the secret of the private index and the checksum in it.
///
/// Whatever is wrong, there is nothing at that address, as if it were none.
pub async fn download_by_capability(
    path: CapabilityPath,
    request: Request,
) -> Result<Response, ApiError> {
    let snapshot = request.app.index.snapshot();
    let capability = snapshot.registry().identity.download_capability();
    let is_known = |shown: Capability| capability.is_some_and(|capability| *capability == shown);
    if !path.capability.parse().is_ok_and(is_known) {
        return Err(nothing());
    }
    let cksum = cksum_of(&snapshot, &path.version)
        .filter(|cksum| path.cksum.parse() == Ok(*cksum))
        .ok_or_else(nothing)?;
    send_file(&request, cksum).await
}

fn nothing() -> ApiError {
    ApiError::not_found("there is no such crate version to download")
}

/// What cannot be a crate's version is not there either: a download that fails is a 404 to every client.
fn cksum_of(snapshot: &Snapshot, path: &VersionPath) -> Option<Cksum> {
    let (name, version) = path.parse().ok()?;
    let krate = snapshot.find(&name).filter(|krate| krate.name == name)?;
    let release = krate.release(&version.key())?;
    (release.version == version).then_some(release.cksum)
}

async fn send_file(request: &Request, cksum: Cksum) -> Result<Response, ApiError> {
    let etag = format!("\"{cksum}\"");
    if request.has_current(&etag) {
        return Ok(with_headers(
            Response::default(),
            StatusCode::NOT_MODIFIED,
            &etag,
        ));
    }
    let content = content_of(&request.app.blobs, cksum).await?;
    let path = request.app.blobs.path(&cksum);
    let size = match &content {
        Content::Memory(bytes) => bytes.len() as u64,
        Content::File(_, size) => *size,
    };
    let is_same = request
        .header(header::IF_RANGE)
        .is_none_or(|known| known == etag);
    let wanted = request.header(header::RANGE).filter(|_| is_same);
    match wanted.map_or(Wanted::Whole, |range| Wanted::parse(range, size)) {
        Wanted::Whole => {
            let range = ByteRange::whole(size);
            let response = send(content, range, path);
            Ok(with_headers(response, StatusCode::OK, &etag))
        }
        Wanted::Part(range) => {
            let mut response = send(content, range, path);
            set(
                &mut response,
                header::CONTENT_RANGE,
                &format!("{range}/{size}"),
            );
            Ok(with_headers(response, StatusCode::PARTIAL_CONTENT, &etag))
        }
        Wanted::Nothing => {
            let detail = format!("the range lies outside of the {size} bytes of this file");
            let error = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, detail);
            let mut response = error.into_response();
            set(
                &mut response,
                header::CONTENT_RANGE,
                &format!("bytes */{size}"),
            );
            Ok(response)
        }
    }
}

async fn content_of(blobs: &Arc<Blobs>, cksum: Cksum) -> Result<Content, ApiError> {
    if let Some(bytes) = blobs.remembered(&cksum) {
        return Ok(Content::Memory(bytes));
    }
    let path = blobs.path(&cksum);
    let blobs = Arc::clone(blobs);
    spawn_blocking(move || blobs.content(&cksum))
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(|cause| {
            cannot_read(&path, &cause);
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, unread(cksum, &cause))
        })
}

/// What a client is told, who is not to know where the data folder is.
fn unread(cksum: Cksum, cause: &io::Error) -> String {
    let hex = cksum.to_string();
    let cure = match cause.kind() {
        io::ErrorKind::PermissionDenied => "nothing of it is lost: give it to the server's user",
        _ => "it comes back from a backup, or if its owner publishes the very same file again",
    };
    let folder = &hex[..2];
    format!("the file `blobs/{folder}/{hex}` cannot be read: {cause}; {cure}")
}

fn cannot_read(path: &Path, cause: &io::Error) {
    error!(path = %path.display(), %cause, "a file that the index names cannot be read");
}

/// The range of what a file holds.
fn send(content: Content, range: ByteRange, path: PathBuf) -> Response {
    let mut response = match content {
        Content::Memory(bytes) => {
            let start = range.start() as usize;
            let part = bytes.slice(start..start + range.length() as usize);
            Response::new(part.into())
        }
        Content::File(file, _) => {
            // The client has its status already: only the log tells why the connection ends.
            let span = Span::current();
            let tell = move |cause: &io::Error| span.in_scope(|| cannot_read(&path, cause));
            warp::reply::stream(chunks(file, range).inspect_err(tell)).into_response()
        }
    };
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(range.length()));
    response
}

/// The range of a file, some of it at a time.
fn chunks(file: File, range: ByteRange) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((file, range), |(file, range)| async move {
        if range.length() == 0 {
            return Ok::<_, io::Error>(None);
        }
        let read = spawn_blocking(move || {
            let chunk = read_at(&file, range.start(), range.length().min(CHUNK_BYTES))?;
            Ok::<_, io::Error>((Bytes::from(chunk), file))
        });
        let (chunk, file) = read.await.map_err(io::Error::other)??;
        let rest = range.after(chunk.len() as u64);
        Ok(Some((chunk, (file, rest))))
    })
}

/// So many bytes of a file, without writing zeros where they will be first.
fn read_at(file: &File, start: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length as usize);
    while (bytes.len() as u64) < length {
        let at = start + bytes.len() as u64;
        if pread(file, spare_capacity(&mut bytes), at)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    bytes.truncate(length as usize);
    Ok(bytes)
}

fn with_headers(mut response: Response, status: StatusCode, etag: &str) -> Response {
    *response.status_mut() = status;
    set(&mut response, header::ETAG, etag);
    set(&mut response, header::CONTENT_TYPE, "application/gzip");
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    // Proxies must not unpack it: Cargo checks the bytes.
    let caching = "public, max-age=31536000, immutable, no-transform";
    set(&mut response, header::CACHE_CONTROL, caching);
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("the values are plain ASCII");
    response.headers_mut().insert(name, value);
}
