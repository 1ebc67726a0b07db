//! Those who hold connections and hardly use them: many that idle, some that give or take their bytes very slowly.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use super::Outcome;
use super::slow::{Client, Kind};
use super::world::World;
use crate::common::http::{ask_on, connect};

/// The pause between two looks at all of them.
const PASS: Duration = Duration::from_millis(20);

/// How many there are of each kind.
#[derive(Clone, Copy)]
pub struct Size {
    pub idle: usize,
    pub slow: [(Kind, usize); 5],
}

/// Whether the server's patience ends in this load.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// No time limit is reached, so nothing is cut off.
    Endless,
    /// What idles or stalls is cut off.
    Short,
}

/// A connection that idles.
struct Idle {
    /// None while there is none.
    stream: Option<TcpStream>,
    era: usize,
    /// Whether it has had an answer.
    is_used: bool,
}

/// Holds all connections, tells when they are there, and holds them until `is_over`.
pub fn hold(
    world: &World,
    size: Size,
    patience: Patience,
    token: &str,
    tell: Sender<()>,
    is_over: &AtomicBool,
) {
    let mut idle: Vec<Idle> = (0..size.idle).map(Idle::new).collect();
    let mut slow = Vec::new();
    for (kind, count) in size.slow {
        slow.extend((0..count).map(|number| Client::new(world, kind, number, token)));
    }
    let mut passes = 0_usize;
    while !is_over.load(Ordering::SeqCst) && !world.is_failing() {
        for idle in &mut idle {
            world.note(idle.pass(world, patience));
        }
        for client in &mut slow {
            world.note(client.pass(world, patience));
        }
        passes += 1;
        if passes == 1 {
            // If nobody waits for it, the load has failed already.
            let _ = tell.send(());
        }
        thread::sleep(PASS);
    }
    for client in slow {
        world.note(client.leave(world, patience));
    }
    // In case there was no pass.
    let _ = tell.send(());
}

impl Idle {
    fn new(number: usize) -> Self {
        Self {
            stream: None,
            era: 0,
            is_used: number.is_multiple_of(2),
        }
    }

    /// Looks whether it is still there, and connects it if it is not.
    fn pass(&mut self, world: &World, patience: Patience) -> Outcome {
        if let Some(stream) = &mut self.stream {
            match stream.read(&mut [0; 1]) {
                Err(fault) if fault.kind() == ErrorKind::WouldBlock => return Ok(()),
                Ok(more) if more > 0 => return Err("an idle connection is spoken to".to_owned()),
                _ if world.has_restarted_since(self.era) => {}
                _ if patience == Patience::Short => {
                    world.count("idle connection was cut off", Duration::ZERO);
                }
                ended => return Err(format!("an idle connection ended: {ended:?}")),
            }
            self.stream = None;
        }
        self.era = world.era();
        match self.connect(world) {
            Ok(stream) => {
                world.count("idle connection", Duration::ZERO);
                self.stream = Some(stream);
                Ok(())
            }
            Err(_) if world.has_restarted_since(self.era) => Ok(()),
            Err(fault) => Err(format!("an idle connection cannot be made: {fault}")),
        }
    }

    fn connect(&self, world: &World) -> std::io::Result<TcpStream> {
        let mut stream = connect(world.port)?;
        if self.is_used {
            let head = format!(
                "GET /crates/index/config.json HTTP/1.1\r\nHost: a\r\n{}\r\n",
                world.authorization()
            );
            let reply = ask_on(&mut stream, head.as_bytes())?;
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}
