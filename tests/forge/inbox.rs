//! Somebody whom the forge tells what happens.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use serde_json::Value;

use crate::common::http::impatient;
use crate::common::watch::eventually;

/// One delivery.
#[derive(Debug, Clone)]
pub struct Delivery {
    headers: Vec<(String, String)>,
    /// What was signed.
    pub body: Vec<u8>,
}

/// Takes deliveries on a port of its own; it ends when it is dropped.
pub struct Inbox {
    port: u16,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Inbox {
    /// Opens one.
    pub fn open() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let deliveries: Arc<Mutex<Vec<Delivery>>> = Arc::default();
        let is_over: Arc<AtomicBool> = Arc::default();
        let (into, until) = (Arc::clone(&deliveries), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if until.load(Ordering::SeqCst) {
                    return;
                }
                let client = stream.and_then(impatient);
                if let Ok(delivery) = client.and_then(|client| take(&client)) {
                    into.lock().unwrap().push(delivery);
                }
            }
        });
        Self {
            port,
            deliveries,
            is_over,
            thread: Some(thread),
        }
    }

    /// Where deliveries go.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/inbox", self.port)
    }

    /// Waits for a delivery of this event.
    #[track_caller]
    pub fn wait_for(&self, event: &str) -> Delivery {
        eventually(&format!("a delivery of `{event}`"), || {
            let deliveries = self.deliveries.lock().unwrap();
            let is_of = |it: &&Delivery| it.header("x-gitea-event") == Some(event);
            deliveries.iter().find(is_of).cloned()
        })
    }
}

impl Delivery {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(known, _)| known == name);
        header.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // The last connection wakes it.
        let waking = TcpStream::connect(("127.0.0.1", self.port));
        if let (Ok(_), Some(thread)) = (waking, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// Takes one request and thanks for it.
fn take(stream: &TcpStream) -> io::Result<Delivery> {
    let mut reader = BufReader::new(stream);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let mut delivery = Delivery {
        headers,
        body: Vec::new(),
    };
    let length = delivery.header("content-length").unwrap_or_default();
    delivery.body = vec![0; length.parse().unwrap_or_default()];
    reader.read_exact(&mut delivery.body)?;
    { stream }.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(delivery)
}
