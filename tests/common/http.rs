//! An HTTP/1.1 client that sends exactly what it is told, also what no honest client sends.
//!
//! One connection carries one request, so nothing is ever sent twice behind a test's back.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// How long a server may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A request that can be sent several times.
#[derive(Clone)]
pub struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body as sent: gzip stays gzip.
    pub body: Vec<u8>,
}

/// A request of which the server has all but the last byte.
pub struct Begun {
    stream: TcpStream,
    last: u8,
}

/// A request without headers of its own and without a body.
pub fn request(method: &'static str, path: impl Into<String>) -> Request {
    Request {
        method,
        path: path.into(),
        headers: Vec::new(),
        body: None,
    }
}

/// A `GET` request.
pub fn get(path: impl Into<String>) -> Request {
    request("GET", path)
}

impl Request {
    /// With one more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With the token as Cargo sends it.
    pub fn token(self, token: &str) -> Self {
        self.header("Authorization", token)
    }

    /// With a body and its length.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sends it to the server on `port` and reads the answer.
    ///
    /// # Errors
    /// The connection is refused, breaks, or ends before the answer does.
    pub fn try_send(&self, port: u16) -> io::Result<Reply> {
        exchange(port, &self.bytes(port), self.method)
    }

    /// Sends it from another address of this machine, and reads the answer, which must come.
    #[track_caller]
    pub fn send_from(&self, from: Ipv4Addr, port: u16) -> Reply {
        let stream = connect_from(from, port).unwrap();
        finish(stream, &self.bytes(port), self.method)
            .unwrap_or_else(|error| panic!("no answer to {} {}: {error}", self.method, self.path))
    }

    /// Sends all but the last byte.
    pub fn begin(&self, port: u16) -> Begun {
        let mut bytes = self.bytes(port);
        let last = bytes.pop().expect("a request is not empty");
        let mut stream = connect(port).unwrap();
        stream.write_all(&bytes).unwrap();
        Begun { stream, last }
    }

    fn bytes(&self, port: u16) -> Vec<u8> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n",
            self.method, self.path
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// Sends it and reads the answer, which must come.
    #[track_caller]
    pub fn send(&self, port: u16) -> Reply {
        self.try_send(port)
            .unwrap_or_else(|error| panic!("no answer to {} {}: {error}", self.method, self.path))
    }
}

/// Sends `bytes`, whatever they are, and reads the answer.
///
/// # Errors
/// As [`Request::try_send`].
pub fn exchange_bytes(port: u16, bytes: &[u8]) -> io::Result<Reply> {
    exchange(port, bytes, "GET")
}

/// Sends `bytes` on a connection that stays, and reads the answer.
///
/// # Errors
/// The connection breaks, or ends before the answer does.
pub fn ask_on(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<Reply> {
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    let mut some = [0; 4096];
    loop {
        if let Some(reply) = parse(&answer, "GET") {
            return Ok(reply);
        }
        match stream.read(&mut some) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => answer.extend_from_slice(&some[..count]),
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
            Err(fault) => return Err(fault),
        }
    }
}

/// Sends `bytes` and is gone, as a client that was killed.
pub fn send_and_leave(port: u16, bytes: &[u8]) {
    connect(port).unwrap().write_all(bytes).unwrap();
}

/// Connects to the server on `port`.
///
/// # Errors
/// The connection is refused or breaks.
pub fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            // The tests were stopped and went on.
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
            connected => break connected?,
        }
    };
    stream.set_nodelay(true)?;
    impatient(stream)
}

/// Makes reads and writes fail whose peer is silent for too long: what waits for ever would hold up all tests.
///
/// # Errors
/// The stream is closed.
pub fn impatient(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    Ok(stream)
}

/// As [`connect`], from an address of this machine that begins with 127.
///
/// # Errors
/// As [`connect`].
pub fn connect_from(from: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let connected = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
        connected.into_std()
    })?;
    stream.set_nonblocking(false)?;
    impatient(stream)
}

fn exchange(port: u16, bytes: &[u8], method: &str) -> io::Result<Reply> {
    finish(connect(port)?, bytes, method)
}

fn finish(mut stream: TcpStream, bytes: &[u8], method: &str) -> io::Result<Reply> {
    // A server may answer and stop reading before everything was sent: the answer counts.
    let sent = stream.write_all(bytes);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    match parse(&answer, method) {
        Some(reply) => Ok(reply),
        None => {
            sent?;
            read?;
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// The answer in `bytes`, if it is all there.
pub fn parse(bytes: &[u8], method: &str) -> Option<Reply> {
    let head_len = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..head_len]).ok()?;
    let body = &bytes[head_len + 4..];
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    if status == 100 {
        return parse(body, method);
    }
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut reply = Reply {
        status,
        headers,
        body: Vec::new(),
    };
    if method == "HEAD" || status == 304 {
        return body.is_empty().then_some(reply);
    }
    reply.body = match reply.header("content-length") {
        Some(length) if reply.header("transfer-encoding").is_none() => {
            let length: usize = length.parse().ok()?;
            (body.len() == length).then(|| body.to_vec())?
        }
        Some(_) => return None,
        None if reply.header("transfer-encoding") == Some("chunked") => unchunk(body)?,
        None => body.to_vec(),
    };
    Some(reply)
}

fn unchunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line_len = bytes.windows(2).position(|two| two == b"\r\n")?;
        let digits = std::str::from_utf8(&bytes[..line_len]).ok()?;
        let length = usize::from_str_radix(digits, 16).ok()?;
        bytes = &bytes[line_len + 2..];
        if length == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(bytes.get(..length)?);
        bytes = bytes.get(length + 2..)?;
    }
}

impl Begun {
    /// Sends the last byte and reads the answer, which must come.
    pub fn finish(self) -> Reply {
        finish(self.stream, &[self.last], "PUT").unwrap()
    }
}

impl Reply {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    /// Every value of a header, by its name in lower case.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON: {error}: {self:?}"))
    }

    /// Panics unless this is a success as Cargo of every age understands it: exactly 200.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// The sentences of a refusal; panics unless the answer is Cargo's error envelope with at least one.
    #[track_caller]
    pub fn refusal(&self) -> String {
        assert!(self.status >= 400, "this should be refused: {self:?}");
        let json = self.json();
        let errors = json["errors"].as_array().unwrap_or_else(|| {
            panic!("no list of errors: {json}");
        });
        let details: Vec<&str> = errors
            .iter()
            .map(|error| error["detail"].as_str().expect("a detail is a text"))
            .collect();
        assert!(!details.is_empty(), "no error in {json}");
        for detail in &details {
            assert!(
                detail.split_whitespace().count() >= 3,
                "not a sentence: {detail:?}"
            );
        }
        details.join("\n")
    }
}
