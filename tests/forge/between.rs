//! A proxy between the registry and the forge that makes the trouble which a forge does not make by itself.

use std::collections::{HashMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use crate::common::http::{connect, impatient};
use crate::common::watch::eventually;

/// What is asked of the forge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Where the branch is.
    Look,
    /// What is new there.
    Fetch,
    /// That the branch is moved.
    Push,
    /// Which pull requests are open.
    List,
    /// Anything else.
    Other,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The connection ends, and the forge hears nothing.
    CutBefore,
    /// The forge hears half of it.
    CutMidway,
    /// The forge hears it, and its answer is lost.
    CutAfter,
    /// Half of the forge's answer comes.
    CutAnswer,
    /// This status is answered in the forge's place.
    Answer(u16),
    /// The forge hears it, and this status is answered in its place.
    AnswerAfter(u16),
    /// A request with more bytes than this is answered with 413.
    AtMost(usize),
    /// It waits until it is let go, and then nobody may be there who wants the answer.
    Hold,
}

/// A proxy on a port of its own; it ends when it is dropped.
pub struct Between {
    /// Where it listens.
    pub port: u16,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    forge: u16,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    once: HashMap<Step, VecDeque<Trouble>>,
    always: HashMap<Step, Trouble>,
    seen: HashMap<Step, usize>,
    held: usize,
    lets_go: bool,
    is_over: bool,
}

struct Message {
    /// The first line and the headers that are passed on.
    head: String,
    body: Vec<u8>,
}

impl Between {
    /// Starts one before the forge on this port.
    pub fn start(forge: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            forge,
            ..State::default()
        });
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || {
            for client in listener.incoming() {
                if shared.inner.lock().unwrap().is_over {
                    return;
                }
                let state = Arc::clone(&shared);
                // A connection that breaks is told of by whoever wanted it.
                thread::spawn(move || state.serve(&impatient(client?)?));
            }
        });
        Self {
            port,
            state,
            thread: Some(thread),
        }
    }

    /// Under which URL it stands for the forge.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What becomes of the next requests of this kind, one after the other.
    pub fn next(&self, step: Step, trouble: &[Trouble]) {
        let mut inner = self.state.inner.lock().unwrap();
        inner.lets_go = false;
        inner.once.entry(step).or_default().extend(trouble);
    }

    /// What becomes of all requests of this kind from now on.
    pub fn always(&self, step: Step, trouble: Option<Trouble>) {
        let mut inner = self.state.inner.lock().unwrap();
        match trouble {
            Some(trouble) => inner.always.insert(step, trouble),
            None => inner.always.remove(&step),
        };
    }

    /// Waits until so many requests are held.
    #[track_caller]
    pub fn wait_until_held(&self, count: usize) {
        eventually("requests are held", || (self.held() >= count).then_some(()));
    }

    /// How many requests are held, or are just being answered.
    pub fn held(&self) -> usize {
        self.state.inner.lock().unwrap().held
    }

    /// Lets go what is held.
    pub fn let_go(&self) {
        self.state.inner.lock().unwrap().lets_go = true;
        self.state.changed.notify_all();
    }

    /// How many requests of this kind have come.
    pub fn seen(&self, step: Step) -> usize {
        let inner = self.state.inner.lock().unwrap();
        inner.seen.get(&step).copied().unwrap_or_default()
    }

    /// Waits until the forge has answered all that was held, whoever hears it.
    #[track_caller]
    pub fn wait_until_none_is_held(&self) {
        eventually("nothing is held", || (self.held() == 0).then_some(()));
    }
}

impl State {
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        let Some(request) = read(client)? else {
            return Ok(());
        };
        let step = request.step();
        match self.trouble_of(step) {
            None => self.pass(&request, client),
            Some(Trouble::CutBefore) => client.shutdown(Shutdown::Both),
            Some(Trouble::CutMidway) => {
                let mut forge = connect(self.forge)?;
                let bytes = request.bytes();
                forge.write_all(&bytes[..bytes.len() - request.body.len() / 2])?;
                forge.shutdown(Shutdown::Both)?;
                client.shutdown(Shutdown::Both)
            }
            Some(Trouble::CutAfter) => {
                self.ask(&request)?;
                client.shutdown(Shutdown::Both)
            }
            Some(Trouble::CutAnswer) => {
                let answer = self.ask(&request)?;
                { client }.write_all(&answer[..answer.len() / 2])?;
                client.shutdown(Shutdown::Both)
            }
            Some(Trouble::Answer(status)) => answer(client, status),
            Some(Trouble::AnswerAfter(status)) => {
                self.ask(&request)?;
                answer(client, status)
            }
            Some(Trouble::AtMost(bytes)) if request.body.len() > bytes => answer(client, 413),
            Some(Trouble::AtMost(_)) => self.pass(&request, client),
            Some(Trouble::Hold) => {
                let mut inner = self.inner.lock().unwrap();
                inner.held += 1;
                let is_held = |inner: &mut Inner| !inner.lets_go && !inner.is_over;
                drop(self.changed.wait_while(inner, is_held).unwrap());
                let passed = self.pass(&request, client);
                self.inner.lock().unwrap().held -= 1;
                passed
            }
        }
    }

    fn trouble_of(&self, step: Step) -> Option<Trouble> {
        let mut inner = self.inner.lock().unwrap();
        *inner.seen.entry(step).or_default() += 1;
        let next = inner.once.get_mut(&step).and_then(VecDeque::pop_front);
        next.or_else(|| inner.always.get(&step).copied())
    }

    fn pass(&self, request: &Message, mut client: &TcpStream) -> io::Result<()> {
        client.write_all(&self.ask(request)?)?;
        client.shutdown(Shutdown::Write)
    }

    /// The whole answer of the forge: one request a connection, so its end is the end of the answer.
    fn ask(&self, request: &Message) -> io::Result<Vec<u8>> {
        let mut forge = connect(self.forge)?;
        forge.write_all(&request.bytes())?;
        let mut answer = Vec::new();
        forge.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

impl Message {
    fn step(&self) -> Step {
        let path = self.head.split(' ').nth(1).unwrap_or_default();
        let is_look = || self.body.windows(15).any(|word| word == b"command=ls-refs");
        match () {
            () if path.ends_with("/git-receive-pack") => Step::Push,
            () if path.ends_with("/git-upload-pack") && is_look() => Step::Look,
            () if path.ends_with("/git-upload-pack") => Step::Fetch,
            () if path.contains("/pulls?") => Step::List,
            () => Step::Other,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let length = self.body.len();
        let end = format!("Connection: close\r\nContent-Length: {length}\r\n\r\n");
        [self.head.as_bytes(), end.as_bytes(), &self.body].concat()
    }
}

/// One request; none if the connection ends before it.
fn read(client: &TcpStream) -> io::Result<Option<Message>> {
    let mut reader = BufReader::new(client);
    let (mut head, mut length, mut is_chunked) = (String::new(), 0, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let (name, value) = line.trim_end().split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or_default(),
            "transfer-encoding" => is_chunked = true,
            "connection" => {}
            _ if line.trim_end().is_empty() => break,
            _ => head.push_str(&line),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    while is_chunked {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk)?;
        body.extend_from_slice(&chunk[..length]);
        is_chunked = length > 0;
    }
    Ok(Some(Message { head, body }))
}

fn answer(mut client: &TcpStream, status: u16) -> io::Result<()> {
    let text = "a proxy says so\n";
    let length = text.len();
    let head = format!("HTTP/1.1 {status} No\r\nContent-Type: text/plain\r\n");
    let rest = format!("Connection: close\r\nContent-Length: {length}\r\n\r\n{text}");
    client.write_all(format!("{head}{rest}").as_bytes())?;
    client.shutdown(Shutdown::Write)
}

impl Drop for Between {
    fn drop(&mut self) {
        self.state.inner.lock().unwrap().is_over = true;
        self.state.changed.notify_all();
        // The last connection wakes it.
        let waking = TcpStream::connect(("127.0.0.1", self.port));
        if let (Ok(_), Some(thread)) = (waking, self.thread.take()) {
            let _ = thread.join();
        }
    }
}
