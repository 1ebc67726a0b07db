//! The log: one subscriber, whose lines one thread writes to standard error.
//!
//! Whoever logs waits for nobody who takes the log: not for a terminal that was stopped, not for a program that reads
//! slowly, not for a disk that hangs. What finds no room is left out, and a line says how much that was.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{mem, thread};

use rustix::event::{PollFd, PollFlags, poll};
use thiserror::Error;
use tracing::{Dispatch, Level, Metadata, Subscriber, dispatcher, enabled, error, field, warn};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::{LogConfig, LogFilter, LogFormat};

/// The most bytes of lines that wait to be written.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// How long the end of the process, or a panic, waits until they are.
const FLUSH_WAIT: Duration = Duration::from_secs(1);

/// The lines of this process.
static LINES: Lines = Lines::new();

/// Why there is no log.
#[derive(Debug, Error)]
pub enum TelemetryFault {
    /// The process has a log already.
    #[error("the log was started twice")]
    Started(#[from] tracing::subscriber::SetGlobalDefaultError),
    /// The system gives no thread.
    #[error("there is no thread for the log")]
    Thread(#[source] io::Error),
}

/// The log of this process; when it is dropped, what was logged is written.
#[must_use]
#[derive(Debug)]
pub struct Log(());

impl Log {
    /// Waits until what was logged is written, but not for long if nobody takes it.
    pub fn flush() {
        LINES.flush(FLUSH_WAIT);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        Self::flush();
    }
}

/// Starts the log of this process.
///
/// # Errors
/// No thread, or a second call.
pub fn start(config: &LogConfig) -> Result<Log, TelemetryFault> {
    // Colours are for people: a file or a journal would keep the escape codes.
    let is_coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing::subscriber::set_global_default(subscriber(config, is_coloured, || &LINES))?;
    // The thread that writes tells by itself of what found no room.
    let always = LogConfig {
        filter: LogFilter::default(),
        ..config.clone()
    };
    let told = Dispatch::new(subscriber(&always, is_coloured, || Stderr));
    let tell = move |count| {
        dispatcher::with_default(&told, || {
            warn!(
                count,
                "lines of the log are left out here: they came faster than they were taken"
            );
        });
    };
    let mut taken = Vec::new();
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            loop {
                LINES.write_next(&mut taken, &mut Stderr, &tell);
            }
        })
        .map_err(TelemetryFault::Thread)?;
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let is_told = enabled!(Level::ERROR);
        if is_told {
            tell_of(panic);
        }
        // Nor does a panic wait for whoever takes nothing.
        if LINES.flush(FLUSH_WAIT) && !is_told {
            print(panic);
        }
    }));
    Ok(Log(()))
}

/// One line, as all others are, for whoever reads the log line by line.
fn tell_of(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let has_backtrace = backtrace.status() == BacktraceStatus::Captured;
    error!(
        thread = thread::current().name(),
        place = panic.location().map(field::display),
        panic = panic.payload_as_str(),
        backtrace = has_backtrace.then(|| backtrace.to_string()),
        "a thread panicked"
    );
}

/// Lines on their way from those who log to the one thread that writes.
struct Lines {
    waiting: Mutex<Waiting>,
    /// There is something to write, or there is nothing more.
    changed: Condvar,
}

struct Waiting {
    /// Whole lines, in their order.
    bytes: Vec<u8>,
    /// How many lines found no room after these.
    left_out: usize,
    /// Whether all is written and the thread that writes waits for more.
    is_idle: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.left_out == 0
    }
}

impl Lines {
    const fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                bytes: Vec::new(),
                left_out: 0,
                is_idle: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Never held while anything is written.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        match waiting.bytes.len() + line.len() <= WAITING_BYTES_MAX {
            true => waiting.bytes.extend_from_slice(line),
            false => waiting.left_out += 1,
        }
        if mem::take(&mut waiting.is_idle) {
            drop(waiting);
            self.changed.notify_all();
        }
    }

    /// Waits for lines and writes all that there are, by way of `taken`, an empty buffer; then tells how many found no
    /// room after them.
    fn write_next(&self, taken: &mut Vec<u8>, out: &mut impl Write, tell: impl FnOnce(usize)) {
        let mut waiting = self.lock();
        if waiting.is_empty() {
            waiting.is_idle = true;
            self.changed.notify_all();
            let is_empty = |waiting: &mut Waiting| waiting.is_empty();
            waiting = (self.changed.wait_while(waiting, is_empty))
                .unwrap_or_else(PoisonError::into_inner);
        }
        mem::swap(&mut waiting.bytes, taken);
        let left_out = mem::take(&mut waiting.left_out);
        drop(waiting);
        // Nobody reads it any more, or the disk is full: it is served on.
        let _ = out.write_all(taken);
        taken.clear();
        if left_out > 0 {
            tell(left_out);
        }
    }

    /// Waits so long until all is written; false if it is not.
    fn flush(&self, patience: Duration) -> bool {
        let is_busy = |waiting: &mut Waiting| !waiting.is_idle;
        let waited = (self.changed).wait_timeout_while(self.lock(), patience, is_busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard error, which is waited for also where somebody who shares it has made it one that does not wait.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None)?;
        stderr.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn subscriber<W>(
    config: &LogConfig,
    is_coloured: bool,
    writer: W,
) -> impl Subscriber + Send + Sync + use<W>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // The web framework traces each segment of each path, and one may be a secret: no setting makes it speak.
    let is_discreet = |metadata: &Metadata<'_>| !metadata.target().starts_with("warp");
    // A log that cannot be written, such as on a full disk, must not end the process that serves.
    let layer = fmt::layer().with_writer(writer).log_internal_errors(false);
    let layer = match config.format {
        LogFormat::Human => layer.with_ansi(is_coloured).boxed(),
        // There are two kinds of spans, the request and the group of changes, and none is in another: the fields stand in
        // `span`, those of the event beside it. The list of spans would leave out that of an event whose parent is
        // named, as the last line of a request does.
        LogFormat::Json => layer
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(layer)
        .with(config.filter.layer())
        .with(filter_fn(is_discreet))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use tracing::{debug, info, info_span};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn config(filter: &str) -> LogConfig {
        LogConfig {
            filter: filter.parse().unwrap(),
            format: LogFormat::Human,
        }
    }

    /// Takes seven bytes at a time, and while it does somebody logs.
    struct Slow<'a> {
        lines: &'a Lines,
        logged_meanwhile: Vec<u8>,
        taken: Vec<u8>,
    }

    impl io::Write for Slow<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Whoever logs finds the way free.
            self.lines.push(&std::mem::take(&mut self.logged_meanwhile));
            let count = bytes.len().min(7);
            self.taken.extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_whole_and_in_their_order_however_slowly_they_are_taken() {
        let lines = Lines::new();
        let long = format!("{}\n", "x".repeat(10_000));
        let mut out = Slow {
            lines: &lines,
            logged_meanwhile: b"meanwhile\n".to_vec(),
            taken: Vec::new(),
        };
        lines.push(b"first\n");
        lines.push(long.as_bytes());
        assert!(!lines.flush(Duration::ZERO));
        let mut taken = Vec::new();
        for _ in 0..2 {
            lines.write_next(&mut taken, &mut out, |count| panic!("{count} left out"));
        }
        let text = String::from_utf8(out.taken).unwrap();
        assert_eq!(text, format!("first\n{long}meanwhile\n"));
    }

    #[test]
    fn lines_without_room_are_left_out_and_counted_where_they_are_missing() {
        let lines = Lines::new();
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        let fit = WAITING_BYTES_MAX / line.len();
        for _ in 0..fit + 3 {
            lines.push(&line);
        }
        let (mut taken, mut out, told) = (Vec::new(), Vec::new(), Cell::new(0));
        lines.write_next(&mut taken, &mut out, |count| told.set(count));
        assert!(out == line.repeat(fit));
        assert_eq!(told.take(), 3);
        lines.push(b"later\n");
        out.clear();
        lines.write_next(&mut taken, &mut out, |count| told.set(count));
        assert_eq!((out.as_slice(), told.get()), (&b"later\n"[..], 0));
    }

    #[test]
    fn the_end_waits_until_all_is_written() {
        let lines = Lines::new();
        let mut out = Vec::new();
        lines.push(b"first\n");
        thread::scope(|scope| {
            let writing = scope.spawn(|| {
                let mut taken = Vec::new();
                for _ in 0..2 {
                    lines.write_next(&mut taken, &mut out, drop);
                }
            });
            assert!(lines.flush(Duration::from_secs(60)));
            // All is written: this thread waits for one line more.
            assert!(!writing.is_finished());
            lines.push(b"last\n");
        });
        assert_eq!(out, b"first\nlast\n");
    }

    #[test]
    fn the_filter_decides_and_a_line_has_its_span_but_no_escape_codes() {
        let written = Written::default();
        let sink = written.clone();
        let subscriber = subscriber(&config("info"), false, move || sink.clone());
        tracing::subscriber::with_default(subscriber, || {
            let _entered = info_span!("request", path = "/a\x1b[31m\n").entered();
            debug!("quiet");
            info!(status = 200, "answered");
            warn!("loud");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().collect::<Vec<_>>();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].contains("INFO request{path=\"/a\\u{1b}[31m\\n\"}"),
            "{text}"
        );
        assert!(lines[0].ends_with("answered status=200"), "{text}");
        assert!(
            lines[1].contains("WARN") && lines[1].ends_with("loud"),
            "{text}"
        );
        assert!(!text.contains('\x1b'), "{text}");
    }

    #[test]
    fn a_line_of_json_has_the_fields_of_its_event_and_of_its_request() {
        let written = Written::default();
        let sink = written.clone();
        let config = LogConfig {
            format: LogFormat::Json,
            ..config("info")
        };
        let subscriber = subscriber(&config, true, move || sink.clone());
        tracing::subscriber::with_default(subscriber, || {
            let _entered = info_span!("request", request_id = "0123", path = "/\"\x1b\n").entered();
            debug!("quiet");
            info!(status = 200, "answered");
            warn!(cause = "line\nbreak", "loud \x1b[31m");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(!text.contains('\x1b'), "{text}");
        for line in &lines {
            assert_eq!(line["span"]["request_id"], "0123", "{line}");
            assert_eq!(line["span"]["path"], "/\"\x1b\n", "{line}");
        }
        assert_eq!(lines[0]["message"], "answered");
        assert_eq!(lines[0]["status"], 200);
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[1]["cause"], "line\nbreak");
    }

    #[test]
    fn a_panic_is_one_line_of_json_too() {
        let written = Written::default();
        let sink = written.clone();
        let config = LogConfig {
            format: LogFormat::Json,
            ..config("info")
        };
        let subscriber = subscriber(&config, false, move || sink.clone());
        let print = Arc::new(panic::take_hook());
        let (own, other) = (thread::current().id(), Arc::clone(&print));
        panic::set_hook(Box::new(move |panic| match thread::current().id() == own {
            true => tell_of(panic),
            false => other(panic),
        }));
        tracing::subscriber::with_default(subscriber, || {
            let number = 7;
            panic::catch_unwind(|| panic!("fault\n{number}")).unwrap_err();
        });
        panic::set_hook(Box::new(move |panic| print(panic)));
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["message"], "a thread panicked");
        assert_eq!(line["panic"], "fault\n7");
        assert!(
            line["place"]
                .as_str()
                .unwrap()
                .starts_with("src/telemetry.rs:"),
            "{line}"
        );
        assert_eq!(line["thread"], thread::current().name().unwrap());
    }

    #[test]
    fn the_web_framework_is_silent_whatever_the_filter_says() {
        let written = Written::default();
        for filter in ["trace", "warp::filters::path=trace", "[request]=trace"] {
            let sink = written.clone();
            let subscriber = subscriber(&config(filter), false, move || sink.clone());
            tracing::subscriber::with_default(subscriber, || {
                let _entered = info_span!("request").entered();
                tracing::trace!(target: "warp::filters::path", "a segment");
            });
        }
        assert_eq!(*written.0.lock().unwrap(), b"");
    }
}
