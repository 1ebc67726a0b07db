//! What all who work on the registry share: where it is, what it has acknowledged, and what was counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::Outcome;
use super::model::Model;
use crate::common::git::git;
use crate::common::http::{Reply, Request, get};
use crate::common::ran::Ran;
use crate::common::registry::Registry;
use crate::common::tools::say;
use crate::common::upload::Release;

/// The pause before something is tried again.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// This process did not run for so long: what the server cut off meanwhile, it cut off rightly.
const PAUSE: Duration = Duration::from_millis(500);
/// What a refusal by the 503 that ARCHITECTURE.md has for a push that holds git's lock on the tip says.
const LOCKED: &str = "main.lock is there";

/// What is counted of answers by 503 or 408 that have a reason.
pub const PAUSED: &str = "was paused itself (408, 503)";
pub const WAITED: &str = "waited for a push (503)";

/// How often something was done, and how long it took.
#[derive(Default, Clone)]
struct Count {
    count: u32,
    all: Duration,
    slowest: Duration,
}

/// What is shared.
pub struct World {
    pub port: u16,
    pub repository: PathBuf,
    pub model: Model,
    /// Whoever writes by a request holds it with others; a person whose push loses too often takes it alone.
    pub turn: RwLock<()>,
    /// Whoever pushes holds it: the server is not ended in the middle, for what git has on the disk then is git's.
    pub pushing: Mutex<()>,
    /// A file that takes a slow reader long.
    pub large: Release,
    git_index: String,
    /// The token of those who read, where reading needs one.
    reader: Option<String>,
    /// Odd while the server is started again.
    restarts: AtomicUsize,
    /// When this process last ran on after a pause.
    paused: Mutex<Option<Instant>>,
    counts: Mutex<BTreeMap<&'static str, Count>>,
    faults: Mutex<Vec<String>>,
    is_failing: AtomicBool,
}

impl World {
    pub fn of(registry: &Registry, reader: Option<String>, large: Release) -> Self {
        Self {
            port: registry.port,
            repository: registry.repository(),
            model: Model::default(),
            turn: RwLock::default(),
            pushing: Mutex::default(),
            large,
            git_index: registry.git_index(),
            reader,
            restarts: AtomicUsize::new(0),
            paused: Mutex::default(),
            counts: Mutex::default(),
            faults: Mutex::default(),
            is_failing: AtomicBool::new(false),
        }
    }

    /// A request of somebody who reads.
    pub fn get(&self, path: &str) -> Request {
        match &self.reader {
            Some(token) => get(path).token(token),
            None => get(path),
        }
    }

    /// The header that goes with what somebody who reads writes by hand.
    pub fn authorization(&self) -> String {
        let header = |token| format!("Authorization: {token}\r\n");
        self.reader.as_ref().map(header).unwrap_or_default()
    }

    /// Sends a request until it has an answer; its status must be one of `wanted`.
    ///
    /// It is sent again only if the server was started again meanwhile, or says why it shall be.
    ///
    /// # Errors
    /// Another answer, or none.
    pub fn ask(&self, what: &'static str, request: &Request, wanted: &[u16]) -> Outcome<Reply> {
        loop {
            self.goes_on()?;
            let (era, began) = (self.era(), Instant::now());
            match request.try_send(self.port) {
                Ok(reply) if wanted.contains(&reply.status) => {
                    self.count(what, began.elapsed());
                    return Ok(reply);
                }
                Ok(reply) if reply.status == 503 && reply.refusal().contains(LOCKED) => {
                    self.count(WAITED, began.elapsed());
                }
                // Its time was over: too slow an upload, or a server that was stopped too.
                Ok(reply) if [408, 503].contains(&reply.status) && self.has_paused_since(began) => {
                    self.count(PAUSED, began.elapsed());
                }
                Ok(reply) => {
                    let body = String::from_utf8_lossy(&reply.body);
                    return Err(format!("{what}: {} {body}", reply.status));
                }
                Err(_) if self.has_restarted_since(era) => {
                    self.count("met a restart", began.elapsed());
                    thread::sleep(LOOK_AGAIN);
                }
                Err(_) if self.has_paused_since(began) => {
                    self.count("was paused itself (cut off)", began.elapsed());
                }
                Err(fault) => return Err(format!("{what}: {fault}")),
            }
        }
    }

    /// Runs git as somebody who reads, with the address of the index as the last word but those of `more`.
    ///
    /// # Errors
    /// It fails, and not because the server was started again.
    pub fn git(&self, what: &'static str, folder: &Path, words: &[&str], more: &[&str]) -> Outcome {
        let header = self.reader.as_ref().map_or_else(String::new, |token| {
            let pair = BASE64_STANDARD.encode(format!("reader:{token}"));
            format!("http.extraHeader=Authorization: Basic {pair}")
        });
        let mut all = vec!["-c", "gc.auto=0", "-c", "maintenance.auto=false"];
        if !header.is_empty() {
            all.extend(["-c", &header]);
        }
        all.extend(words);
        all.push(&self.git_index);
        all.extend(more);
        loop {
            self.goes_on()?;
            let (era, began) = (self.era(), Instant::now());
            let ran: Ran = git(folder, &all);
            if ran.is_success() {
                self.count(what, began.elapsed());
                return Ok(());
            }
            let is_excused = self.has_restarted_since(era) || self.has_paused_since(began);
            if !is_excused {
                return Err(format!("{what}: {}", ran.stderr));
            }
            self.count("met a restart", began.elapsed());
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Which start of the server this is.
    pub fn era(&self) -> usize {
        self.restarts.load(Ordering::SeqCst)
    }

    /// Whether the server may have been away since `era` was read.
    pub fn has_restarted_since(&self, era: usize) -> bool {
        !era.is_multiple_of(2) || self.era() != era
    }

    /// Ends the server and lets it be started again by `start`.
    pub fn restart(&self, registry: &mut Registry, start: impl FnOnce(&mut Registry)) {
        self.restarts.fetch_add(1, Ordering::SeqCst);
        let began = Instant::now();
        let pushing = self.pushing.lock().unwrap();
        registry.stop();
        drop(pushing);
        start(registry);
        self.count("restart", began.elapsed());
        self.restarts.fetch_add(1, Ordering::SeqCst);
    }

    /// Looks whether this process runs, until `is_over`.
    pub fn watch_pauses(&self, is_over: &AtomicBool) {
        while !is_over.load(Ordering::SeqCst) {
            let slept = Instant::now();
            thread::sleep(LOOK_AGAIN);
            if slept.elapsed() > PAUSE {
                *self.paused.lock().unwrap() = Some(Instant::now());
            }
        }
    }

    pub fn has_paused_since(&self, began: Instant) -> bool {
        // A pause that is over may not have been seen yet.
        thread::sleep(2 * LOOK_AGAIN);
        self.paused.lock().unwrap().is_some_and(|end| end > began)
    }

    pub fn count(&self, what: &'static str, took: Duration) {
        let mut counts = self.counts.lock().unwrap();
        let count = counts.entry(what).or_default();
        count.count += 1;
        count.all += took;
        count.slowest = count.slowest.max(took);
    }

    /// How often it was done.
    pub fn counted(&self, what: &str) -> u32 {
        let counts = self.counts.lock().unwrap();
        counts.get(what).map_or(0, |count| count.count)
    }

    /// How often anything was done.
    pub fn counted_all(&self) -> u32 {
        let counts = self.counts.lock().unwrap();
        counts.values().map(|count| count.count).sum()
    }

    /// Remembers what went wrong, which ends the load.
    pub fn note(&self, outcome: Outcome) {
        // What ends because something has failed already tells nothing.
        if let Err(fault) = outcome
            && !self.is_failing()
        {
            say(&format!("a fault under load: {fault}\n"));
            self.faults.lock().unwrap().push(fault);
            self.fail();
        }
    }

    pub fn fail(&self) {
        self.is_failing.store(true, Ordering::SeqCst);
    }

    fn goes_on(&self) -> Outcome {
        match self.is_failing() {
            true => Err("somebody else has failed".to_owned()),
            false => Ok(()),
        }
    }

    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::SeqCst)
    }

    /// Panics if anything went wrong.
    #[track_caller]
    pub fn has_no_faults(&self) {
        let faults = self.faults.lock().unwrap();
        assert!(faults.is_empty(), "{faults:#?}");
    }

    /// What was done, a line each.
    pub fn report(&self) -> String {
        let counts = self.counts.lock().unwrap();
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        let lines = counts.iter().map(|(what, count)| {
            let mean = millis(count.all / count.count);
            let slowest = millis(count.slowest);
            let count = count.count;
            format!("{count:8} {what}: {mean:.1} ms each, the slowest {slowest:.0} ms\n")
        });
        lines.collect()
    }
}
