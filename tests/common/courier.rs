//! A proxy before a registry that can put another body in the place of what Cargo uploads.
//!
//! So the real Cargo prints the answer to an upload that it would never make.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::http::{connect, impatient};

/// A proxy that passes everything on as it is, but for one upload if it was told so.
pub struct Courier {
    listener: TcpListener,
    /// The body that goes in the place of the next upload's.
    other: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Courier {
    /// Takes a free port; connections wait until [`Courier::serve`].
    pub fn new() -> Self {
        Self {
            listener: TcpListener::bind(("127.0.0.1", 0)).unwrap(),
            other: Arc::default(),
        }
    }

    /// The base URL under which it stands for the registry.
    pub fn url(&self) -> String {
        let address = self.listener.local_addr().unwrap();
        // `localhost`, as the registry itself is called.
        format!("http://localhost:{}", address.port())
    }

    /// Passes requests on to the registry on `port`, in threads that end with the tests.
    pub fn serve(&self, port: u16) {
        let listener = self.listener.try_clone().unwrap();
        let other = Arc::clone(&self.other);
        thread::spawn(move || {
            for client in listener.incoming() {
                let other = Arc::clone(&other);
                // A client that breaks off says so itself.
                thread::spawn(move || carry(impatient(client?)?, port, &other));
            }
        });
    }

    /// Sends `body` in the place of what is uploaded while `during` runs, which must be one upload.
    #[track_caller]
    pub fn with<T>(&self, body: Vec<u8>, during: impl FnOnce() -> T) -> T {
        *self.other.lock().unwrap() = Some(body);
        let done = during();
        let left = self.other.lock().unwrap().take();
        assert!(left.is_none(), "nothing was uploaded");
        done
    }
}

/// Carries one request to the registry, and its answer back to the end of the connection.
fn carry(mut client: TcpStream, port: u16, other: &Mutex<Option<Vec<u8>>>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let (name, value) = line.trim_end().split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or_default(),
            "connection" => {}
            _ if line.trim_end().is_empty() => break,
            _ => head.push_str(&line),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if head.starts_with("PUT /crates/api/v1/crates/new ") {
        body = other.lock().unwrap().take().unwrap_or(body);
    }
    let mut registry = connect(port)?;
    // One request a connection: so its end is the end of the answer.
    let rest = format!(
        "Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    registry.write_all(&[head.as_bytes(), rest.as_bytes(), &body].concat())?;
    io::copy(&mut registry, &mut client).map(drop)
}
