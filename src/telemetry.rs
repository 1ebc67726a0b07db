//! The log: one subscriber, on standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use thiserror::Error;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::config::{LogConfig, LogFormat};

/// How long a line waits for whoever takes the log.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
/// What a pipe that takes anything takes without waiting: `PIPE_BUF` of Linux.
const PIECE_BYTES: usize = 4096;

/// Why there is no log.
#[derive(Debug, Error)]
pub enum TelemetryFault {
    /// The filter is not in the language of tracing's `EnvFilter`.
    #[error("`log.filter` is not valid")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The process has a log already.
    #[error("the log was started twice")]
    Started(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Starts the log of this process.
///
/// # Errors
/// A filter that is not valid, or a second call.
pub fn start(config: &LogConfig) -> Result<(), TelemetryFault> {
    // Colours are for people: a file or a journal would keep the escape codes.
    let is_coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let subscriber = subscriber(config, is_coloured, || Lines)?;
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(())
}

/// Standard error, for lines that are left out while nobody takes them: a terminal that was stopped, or a program that
/// reads no more, must not hold up who is served.
struct Lines;

/// Whether nobody took the last line.
static IS_STUCK: Mutex<bool> = Mutex::new(false);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        let mut is_stuck = IS_STUCK.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in line.chunks(PIECE_BYTES) {
            let patience = match *is_stuck {
                true => Timespec::default(),
                false => PATIENCE,
            };
            let mut asked = [PollFd::new(&stderr, PollFlags::OUT)];
            *is_stuck = poll(&mut asked, Some(&patience))? == 0;
            if *is_stuck {
                break;
            }
            stderr.lock().write_all(piece)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn subscriber<W>(
    config: &LogConfig,
    is_coloured: bool,
    writer: W,
) -> Result<impl Subscriber + Send + Sync, TelemetryFault>
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
    Ok(tracing_subscriber::registry()
        .with(layer)
        .with(EnvFilter::try_new(&config.filter)?)
        .with(filter_fn(is_discreet)))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing::{debug, info, info_span, warn};

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
            filter: filter.to_owned(),
            format: LogFormat::Human,
        }
    }

    #[test]
    fn the_filter_decides_and_a_line_has_its_span_but_no_escape_codes() {
        let written = Written::default();
        let sink = written.clone();
        let subscriber = subscriber(&config("info"), false, move || sink.clone()).unwrap();
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
        let subscriber = subscriber(&config, true, move || sink.clone()).unwrap();
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
    fn the_web_framework_is_silent_whatever_the_filter_says() {
        let written = Written::default();
        for filter in ["trace", "warp::filters::path=trace", "[request]=trace"] {
            let sink = written.clone();
            let subscriber = subscriber(&config(filter), false, move || sink.clone()).unwrap();
            tracing::subscriber::with_default(subscriber, || {
                let _entered = info_span!("request").entered();
                tracing::trace!(target: "warp::filters::path", "a segment");
            });
        }
        assert_eq!(*written.0.lock().unwrap(), b"");
    }

    #[test]
    fn a_wrong_filter_is_refused() {
        let refused = subscriber(&config("sidecargo=loud"), false, io::sink);
        assert!(matches!(refused, Err(TelemetryFault::Filter(_))));
    }
}
