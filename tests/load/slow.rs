//! Clients that are as slow as they can be, each a little step at a time.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::Outcome;
use super::crowd::Patience;
use super::work::index_path;
use super::world::{LOOK_AGAIN, PAUSED, World};
use crate::common::git::git;
use crate::common::http::{Reply, connect, parse};
use crate::common::upload::Release;

/// Steps in which a slow head or body comes.
const STEPS: usize = 60;
/// Steps after which one that stalls does nothing more.
const STEPS_OF_STALLED: usize = 10;
/// Steps after which a slow reader has enough and leaves.
const STEPS_OF_READER: usize = 300;
/// What a slow reader takes in a step, and what it takes of an answer at once that is small.
const TAKEN_BYTES: usize = 512;
/// Index files that are asked for at once, so that their answers fill what the kernel holds.
const ASKED_AT_ONCE: usize = 200;

/// What a slow client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It sends the head of a request a few bytes at a time.
    Head,
    /// It uploads a crate so.
    Upload,
    /// It takes a large file so.
    Download,
    /// It takes index files so.
    IndexFiles,
    /// It takes a clone so.
    Clone,
}

impl Kind {
    fn done(self) -> &'static str {
        match self {
            Self::Head => "slow head that was answered",
            Self::Upload => "slow upload that was answered",
            Self::Download => "slow download, whole or left",
            Self::IndexFiles => "slow reader of index files, whole or left",
            Self::Clone => "slow clone, whole or left",
        }
    }

    fn cut_off(self) -> &'static str {
        match self {
            Self::Head => "slow head that was cut off",
            Self::Upload => "slow upload that was cut off",
            Self::Download => "slow download that was cut off",
            Self::IndexFiles => "slow reader of index files that was cut off",
            Self::Clone => "slow clone that was cut off",
        }
    }
}

/// A client that begins again whenever it is done or cut off.
pub struct Client {
    kind: Kind,
    number: usize,
    token: String,
    /// Whether it stops in the middle, until somebody ends it.
    stalls: bool,
    /// The connection, if there is one.
    line: Option<Line>,
    uploads: usize,
    upload: Release,
}

/// One connection.
struct Line {
    stream: TcpStream,
    era: usize,
    began: Instant,
    bytes: Vec<u8>,
    /// How much of it goes out in a step.
    pace: usize,
    sent: usize,
    got: Vec<u8>,
    steps: usize,
}

/// How a connection ended.
enum End {
    /// The server sent all and closed, or closed without a word.
    Closed,
    Broken(std::io::Error),
}

impl Client {
    pub fn new(world: &World, kind: Kind, number: usize, token: &str) -> Self {
        // Names go on where those of an earlier crowd ended.
        let uploads = world.model.of(&upload_name(number)).len();
        Self {
            kind,
            number,
            token: token.to_owned(),
            stalls: number.is_multiple_of(2),
            line: None,
            uploads,
            upload: upload(number, uploads),
        }
    }

    /// Makes a step.
    pub fn pass(&mut self, world: &World, patience: Patience) -> Outcome {
        let Some(line) = &mut self.line else {
            return self.connect(world);
        };
        // Somebody pushes alone, and would lose against it.
        if self.kind == Kind::Upload && line.is_all_but_sent() && world.turn.try_read().is_err() {
            return Ok(());
        }
        line.steps += 1;
        if self.stalls && line.steps > STEPS_OF_STALLED && self.kind.reads() {
            // It would not see that it was cut off: what the kernel has for it comes first.
            return match line.steps > STEPS_OF_READER {
                true => self.drain(world, patience),
                false => Ok(()),
            };
        }
        let is_stalled = self.stalls && line.steps > STEPS_OF_STALLED;
        let end = match line.step(is_stalled, TAKEN_BYTES) {
            Ok(None) => None,
            Ok(Some(end)) => Some(end),
            Err(fault) => Some(End::Broken(fault)),
        };
        if let Some(end) = end {
            return self.ended(world, patience, end);
        }
        self.judge_what_came(world)
    }

    /// Takes all that is left, as fast as it comes, and is done.
    fn drain(&mut self, world: &World, patience: Patience) -> Outcome {
        let line = self.line.as_mut().expect("it is connected");
        for _ in 0..100 {
            match line.step(false, 1 << 20) {
                Ok(None) => {}
                Ok(Some(end)) => return self.ended(world, patience, end),
                Err(fault) => return self.ended(world, patience, End::Broken(fault)),
            }
        }
        self.judge_what_came(world)?;
        self.line = None;
        world.count(self.kind.done(), Duration::ZERO);
        Ok(())
    }

    /// Ends without a word to the server, unless its upload is all there: that is done whether it stays or not.
    pub fn leave(mut self, world: &World, patience: Patience) -> Outcome {
        while self.kind == Kind::Upload
            && let Some(line) = &self.line
            && line.sent == line.bytes.len()
        {
            self.pass(world, patience)?;
            thread::sleep(LOOK_AGAIN);
        }
        match self.line.is_some() {
            true => self.judge_what_came(world),
            false => Ok(()),
        }
    }

    fn connect(&mut self, world: &World) -> Outcome {
        let era = world.era();
        let stream = match connect(world.port) {
            Ok(stream) => stream,
            Err(_) if world.has_restarted_since(era) => return Ok(()),
            Err(fault) => return Err(format!("a slow client cannot connect: {fault}")),
        };
        stream
            .set_nonblocking(true)
            .map_err(|fault| fault.to_string())?;
        if self.kind == Kind::Upload {
            world.model.begin(&self.upload);
        }
        let bytes = self.request(world)?;
        let pace = match self.kind.reads() {
            true => bytes.len(),
            false => bytes.len().div_ceil(STEPS),
        };
        self.line = Some(Line {
            stream,
            era,
            began: Instant::now(),
            bytes,
            pace,
            sent: 0,
            got: Vec::new(),
            steps: 0,
        });
        Ok(())
    }

    /// All that it sends.
    fn request(&self, world: &World) -> Outcome<Vec<u8>> {
        let more = format!("Host: a\r\n{}", world.authorization());
        let (name, _) = world.model.pick(self.number, None);
        let path = index_path(&name);
        let bytes = match self.kind {
            Kind::Head => {
                let padding = "x".repeat(2000);
                format!("GET {path} HTTP/1.1\r\nX-Padding: {padding}\r\n{more}\r\n").into_bytes()
            }
            Kind::Upload => {
                let body = self.upload.body();
                let head = format!(
                    "PUT /crates/api/v1/crates/new HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n\
                     Content-Length: {}\r\n\r\n",
                    self.token,
                    body.len()
                );
                [head.as_bytes(), &body].concat()
            }
            Kind::Download => {
                let path = world.large.download_path();
                format!("GET {path} HTTP/1.1\r\n{more}\r\n").into_bytes()
            }
            Kind::IndexFiles => format!("GET {path} HTTP/1.1\r\n{more}\r\n")
                .repeat(ASKED_AT_ONCE)
                .into_bytes(),
            Kind::Clone => {
                let served = "refs/namespaces/served/refs/heads/main";
                let tip = git(&world.repository, &["rev-parse", served]);
                let body = format!("0032want {}\n00000009done\n", tip.stdout.trim());
                let length = body.len();
                format!(
                    "POST /crates/git/git-upload-pack HTTP/1.1\r\n{more}Content-Length: {length}\r\n\r\n{body}"
                )
                .into_bytes()
            }
        };
        Ok(bytes)
    }

    /// Looks at what it has, and begins anew if that is all.
    fn judge_what_came(&mut self, world: &World) -> Outcome {
        let kind = self.kind;
        let line = self.line.as_ref().expect("it is connected");
        let took = line.began.elapsed();
        let is_all = match kind {
            Kind::Head => match line.answer() {
                Some(reply) if reply.status == 200 => true,
                Some(reply) if reply.status == 408 => {
                    world.count(kind.cut_off(), took);
                    self.line = None;
                    return Ok(());
                }
                Some(reply) => return Err(format!("a slow head is answered {reply:?}")),
                None => false,
            },
            Kind::Upload => match line.answer() {
                Some(reply) if reply.status == 200 => {
                    world.model.acknowledge(&self.upload);
                    self.uploads += 1;
                    self.upload = upload(self.number, self.uploads);
                    true
                }
                Some(reply) if reply.status == 408 => {
                    world.count(kind.cut_off(), took);
                    self.line = None;
                    return Ok(());
                }
                // Its time was over.
                Some(reply) if reply.status == 503 && world.has_paused_since(line.began) => {
                    world.count(PAUSED, took);
                    self.line = None;
                    return Ok(());
                }
                Some(reply) => return Err(format!("a slow upload is answered {reply:?}")),
                None => false,
            },
            Kind::Download => self.has_right_bytes(world)?,
            Kind::IndexFiles | Kind::Clone => {
                let is_good = b"HTTP/1.1 200 OK\r\n"
                    .iter()
                    .zip(&line.got)
                    .all(|(a, b)| a == b);
                if !is_good {
                    let got = String::from_utf8_lossy(&line.got[..line.got.len().min(500)]);
                    return Err(format!("{kind:?} got {got}"));
                }
                false
            }
        };
        if is_all || (kind.reads() && line.steps > STEPS_OF_READER) {
            world.count(kind.done(), took);
            self.line = None;
        }
        Ok(())
    }

    /// Whether a download is at its end; what there is of it must be right.
    fn has_right_bytes(&self, world: &World) -> Outcome<bool> {
        let line = self.line.as_ref().expect("it is connected");
        let Some(head) = line.got.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(false);
        };
        let body = &line.got[head + 4..];
        if !line.got.starts_with(b"HTTP/1.1 200 OK\r\n")
            || !world.large.crate_file.starts_with(body)
        {
            return Err("a slow download has other bytes".to_owned());
        }
        Ok(body.len() == world.large.crate_file.len())
    }

    /// The connection has ended: rightly so if the server was ended or its patience was.
    fn ended(&mut self, world: &World, patience: Patience, end: End) -> Outcome {
        self.judge_what_came(world)?;
        let Some(line) = self.line.take() else {
            return Ok(());
        };
        if world.has_restarted_since(line.era) {
            world.count("slow client that met a restart", line.began.elapsed());
        } else if patience == Patience::Short {
            world.count(self.kind.cut_off(), line.began.elapsed());
        } else {
            let why = match end {
                End::Closed => "closed".to_owned(),
                End::Broken(fault) => fault.to_string(),
            };
            let (kind, steps) = (self.kind, line.steps);
            return Err(format!("{kind:?} was cut off after {steps} steps: {why}"));
        }
        Ok(())
    }
}

impl Kind {
    /// Whether it is slow in reading.
    fn reads(self) -> bool {
        matches!(self, Self::Download | Self::IndexFiles | Self::Clone)
    }
}

impl Line {
    /// Sends a little, unless it stalls, and takes a little.
    fn step(&mut self, is_stalled: bool, take: usize) -> std::io::Result<Option<End>> {
        let rest = &self.bytes[self.sent..];
        if !rest.is_empty() && !is_stalled {
            match self.stream.write(&rest[..self.pace.min(rest.len())]) {
                Ok(sent) => self.sent += sent,
                Err(fault) if fault.kind() == ErrorKind::WouldBlock => {}
                Err(fault) => return Err(fault),
            }
        }
        let mut some = vec![0; take];
        match self.stream.read(&mut some) {
            Ok(0) => Ok(Some(End::Closed)),
            Ok(count) => {
                self.got.extend_from_slice(&some[..count]);
                Ok(None)
            }
            Err(fault) if fault.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Whether the next step sends the rest.
    fn is_all_but_sent(&self) -> bool {
        let left = self.bytes.len() - self.sent;
        0 < left && left <= self.pace
    }

    /// The answer, if it is whole.
    fn answer(&self) -> Option<Reply> {
        parse(&self.got, "GET")
    }
}

fn upload_name(number: usize) -> String {
    format!("slow-{number}")
}

fn upload(number: usize, patch: usize) -> Release {
    Release::new(&upload_name(number), &format!("1.0.{patch}"))
}
