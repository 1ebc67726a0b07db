//! Something between Cargo and the registry that sometimes answers in its place, as proxies do.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::http::{connect, impatient};

/// A relay on a port of its own; it ends when it is dropped.
pub struct Relay {
    /// Where it listens.
    pub port: u16,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    target: Mutex<u16>,
    trouble: Mutex<Vec<Trouble>>,
    is_over: AtomicBool,
}

/// The answers that requests for one path get before the registry is asked.
struct Trouble {
    path: String,
    heads: VecDeque<String>,
}

impl Relay {
    /// Starts one; whom it relays to is said later, because the registry's URL has its port.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.is_over.load(Ordering::SeqCst) {
                    return;
                }
                // A client that has gone wants no answer. One request at a time is enough.
                let client = stream.and_then(impatient);
                let _ = client.and_then(|client| shared.serve(&client));
            }
        });
        Self {
            port,
            state,
            thread: Some(thread),
        }
    }

    /// Relays to the server on this port.
    pub fn relay_to(&self, port: u16) {
        *self.state.target.lock().unwrap() = port;
    }

    /// Answers the next requests whose path is or ends with `path` itself, with these status lines and headers.
    pub fn answer_first(&self, path: &str, heads: &[&str]) {
        let trouble = Trouble {
            path: path.to_owned(),
            heads: heads.iter().copied().map(str::to_owned).collect(),
        };
        self.state.trouble.lock().unwrap().push(trouble);
    }

    /// How many of the answers were not asked for.
    pub fn answers_left(&self) -> usize {
        let trouble = self.state.trouble.lock().unwrap();
        trouble.iter().map(|trouble| trouble.heads.len()).sum()
    }
}

impl State {
    /// Serves one request of a client that sends no body.
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(client);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let path = head.split(' ').nth(1).unwrap_or_default();
        if let Some(answer) = self.trouble_at(path) {
            let answer = format!("{answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return { client }.write_all(answer.as_bytes());
        }
        let mut server = connect(*self.target.lock().unwrap())?;
        let (first, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
        let kept = rest.lines().filter(|line| {
            let line = line.to_ascii_lowercase();
            !line.starts_with("connection:") && !line.is_empty()
        });
        let mut asked = format!("{first}\r\nConnection: close\r\n");
        for line in kept {
            asked.push_str(line);
            asked.push_str("\r\n");
        }
        server.write_all(format!("{asked}\r\n").as_bytes())?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        { client }.write_all(&answer)?;
        client.shutdown(Shutdown::Write)
    }

    fn trouble_at(&self, path: &str) -> Option<String> {
        let mut trouble = self.trouble.lock().unwrap();
        let here = trouble.iter_mut().find(|it| path.ends_with(&it.path))?;
        here.heads.pop_front()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        // The last connection wakes it.
        let waking = TcpStream::connect(("127.0.0.1", self.port));
        if let (Ok(_), Some(thread)) = (waking, self.thread.take()) {
            let _ = thread.join();
        }
    }
}
