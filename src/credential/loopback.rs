//! A port of this machine to which the browser brings the answer of the forge.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use url::form_urlencoded;

use super::fault::Fault;

/// How long somebody may take to sign in, and a browser to send its request.
const MINUTES: u64 = 5;
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// The longest head of a request that is read, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The open port.
pub struct Loopback {
    listener: TcpListener,
    port: u16,
}

/// The browser, which waits for what to show.
pub struct Waiting(TcpStream);

/// What the forge answers to the one who asked with this state.
pub enum Brought {
    Code(String),
    Refused(String),
}

impl Loopback {
    /// A port that nobody has, for programs of this machine alone.
    pub async fn open() -> Result<Self, Fault> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .map_err(Fault::Listen)?;
        let port = listener.local_addr().map_err(Fault::Listen)?.port();
        Ok(Self { listener, port })
    }

    /// Where the forge shall send the browser. Its port is of the moment: the forge knows the rest (RFC 8252, 7.3).
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits for the browser with the answer to the question of this state; all else that comes is sent away.
    pub async fn wait(&self, state: &str) -> Result<(Brought, Waiting), Fault> {
        let patience = Duration::from_secs(MINUTES * 60);
        let brought = timeout(patience, async {
            loop {
                let (stream, _) = self.listener.accept().await?;
                if let Some(found) = hear(stream, state).await {
                    return Ok(found);
                }
            }
        });
        match brought.await {
            Ok(brought) => brought.map_err(Fault::Listen),
            Err(_) => Err(Fault::TimedOut { minutes: MINUTES }),
        }
    }
}

async fn hear(mut stream: TcpStream, state: &str) -> Option<(Brought, Waiting)> {
    let head = timeout(REQUEST_TIME, head(&mut stream)).await;
    let head = head.ok()?.ok()?;
    let found = head
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("GET /"))
        .and_then(|line| line.split(' ').next())
        .and_then(|target| target.strip_prefix('?'))
        .and_then(|query| brought(query, state));
    let mut waiting = Waiting(stream);
    match found {
        Some(found) => Some((found, waiting)),
        None => {
            waiting
                .answer(
                    "404 Not Found",
                    "This is not the answer that `cargo login` waits for.",
                )
                .await;
            None
        }
    }
}

/// What a query brings that belongs to our question.
fn brought(query: &str, state: &str) -> Option<Brought> {
    let (mut code, mut ours, mut fault, mut said) = (None, None, None, None);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let place = match &*key {
            "code" => &mut code,
            "state" => &mut ours,
            "error" => &mut fault,
            "error_description" => &mut said,
            _ => continue,
        };
        *place = Some(value.into_owned());
    }
    let is_ours = ours.is_some_and(|ours| is_same(ours.as_bytes(), state.as_bytes()));
    match (is_ours, code, fault) {
        (true, _, Some(fault)) => Some(Brought::Refused(said.unwrap_or(fault))),
        (true, Some(code), None) => Some(Brought::Code(code)),
        _ => None,
    }
}

/// Compared in a time that tells nothing of how much was right.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// The head of a request, or as much of it as is read.
async fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while head.len() < HEAD_BYTES_MAX && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece).await? {
            0 => break,
            read => head.extend_from_slice(&piece[..read]),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

impl Waiting {
    /// Shows a sentence; a browser that is gone misses it.
    pub async fn show(mut self, sentence: &str) {
        self.answer("200 OK", sentence).await;
    }

    async fn answer(&mut self, status: &str, sentence: &str) {
        let sentence = sentence
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>cargo login</title>\n<p>{sentence}</p>\n</html>\n"
        );
        let text = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n{page}",
            page.len()
        );
        let written = async {
            self.0.write_all(text.as_bytes()).await?;
            self.0.shutdown().await
        };
        let _ = timeout(REQUEST_TIME, written).await;
    }
}
