//! Downloads: `/R/dl/{crate}/{version}/download`

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use tokio::task::spawn_blocking;
use tracing::error;
use warp::Reply;
use warp::http::header::{self, HeaderValue};
use warp::http::{HeaderName, StatusCode};

use super::context::Response;
use super::error::ApiError;
use super::range::{ByteRange, Wanted};
use super::request::{Request, VersionPath};
use crate::blobs::Blobs;
use crate::domain::Cksum;

/// How much of a file is read at a time, in bytes.
const CHUNK_BYTES: u64 = 256 * 1024;

/// Answers with a `.crate` file, or a range of it.
pub async fn download(path: VersionPath, request: Request) -> Result<Response, ApiError> {
    // What cannot be a crate's version is not here either: a download that fails is a 404 to every client.
    let nothing = || ApiError::not_found("there is no such crate version to download");
    let (name, version) = path.parse().map_err(|_| nothing())?;
    let snapshot = request.app.index.snapshot();
    let cksum = snapshot
        .find(&name)
        .filter(|krate| krate.name == name)
        .and_then(|krate| krate.release(&version.key()))
        .filter(|release| release.version == version)
        .map(|release| release.cksum)
        .ok_or_else(nothing)?;
    let etag = format!("\"{cksum}\"");
    if request.header(header::IF_NONE_MATCH) == Some(&etag) {
        return Ok(with_headers(
            Response::default(),
            StatusCode::NOT_MODIFIED,
            &etag,
        ));
    }
    let (file, size) = open(&request.app.blobs, cksum).await?;
    let is_same = request
        .header(header::IF_RANGE)
        .is_none_or(|known| known == etag);
    let wanted = request.header(header::RANGE).filter(|_| is_same);
    match wanted.map_or(Wanted::Whole, |range| Wanted::parse(range, size)) {
        Wanted::Whole => {
            let range = ByteRange::whole(size);
            Ok(with_headers(send(file, range), StatusCode::OK, &etag))
        }
        Wanted::Part(range) => {
            let mut response = send(file, range);
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

async fn open(blobs: &Arc<Blobs>, cksum: Cksum) -> Result<(File, u64), ApiError> {
    let blobs = Arc::clone(blobs);
    let opened = spawn_blocking(move || {
        let file = blobs.read(&cksum)?;
        let size = file.metadata()?.len();
        Ok::<_, io::Error>((file, size))
    });
    opened
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(|cause| {
            error!(blob.cksum = %cksum, %cause, "a file that the index names cannot be read");
            ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("the file with the checksum {cksum} cannot be read: {cause}"),
            )
        })
}

/// The range of the file as a body of chunks; a small one is read before the answer begins.
fn send(file: File, range: ByteRange) -> Response {
    let chunks = stream::try_unfold((file, range), |(mut file, range)| async move {
        if range.length() == 0 {
            return Ok::<_, io::Error>(None);
        }
        let read = spawn_blocking(move || {
            let mut chunk = vec![0; range.length().min(CHUNK_BYTES) as usize];
            file.seek(SeekFrom::Start(range.start()))?;
            file.read_exact(&mut chunk)?;
            Ok::<_, io::Error>((Bytes::from(chunk), file))
        });
        let (chunk, file) = read.await.map_err(io::Error::other)??;
        let rest = range.after(chunk.len() as u64);
        Ok(Some((chunk, (file, rest))))
    });
    let mut response = warp::reply::stream(chunks).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(range.length()));
    response
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
