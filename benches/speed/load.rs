//! Many reads at once, by `wrk`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::run::text_of;
use crate::server::pinned;

/// The core on which the load is made; the servers have the other.
pub const LOAD_CORE: usize = 1;
/// The core of the server that is measured.
pub const SERVER_CORE: usize = 0;

/// An answer without a body is smaller, any other is larger: by this a 304 is told from a 200, which `wrk` does not do.
const WHOLE_BYTES_MIN: f64 = 300.0;

/// What is asked for, again and again.
pub struct Load<'a> {
    /// Addresses, each with the tag that is known already, if one is.
    pub targets: &'a [(String, Option<String>)],
    pub headers: &'a [(&'a str, &'a str)],
    pub connections: usize,
    pub secs: u64,
}

/// How it went.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    pub requests: f64,
    /// The median time of an answer, in microseconds.
    pub p50_us: f64,
}

impl Load<'_> {
    /// Asks the server on `port`; an answer that is none of the good ones is a fault.
    pub fn run(&self, port: u16) -> anyhow::Result<Answered> {
        let folder = tempfile::tempdir()?;
        let script = folder.path().join("requests.lua");
        let targets = folder.path().join("targets");
        fs::write(&script, include_str!("requests.lua"))?;
        fs::write(&targets, self.lines())?;
        let said = text_of(self.command(port, &script, &targets))?;
        let line = said.lines().find_map(|line| line.strip_prefix("SUMMARY "));
        let line = line.with_context(|| format!("wrk said:\n{said}"))?;
        let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [requests, faults, p50_us, bytes] = numbers[..] else {
            anyhow::bail!("wrk said `{line}`");
        };
        ensure!(faults == 0.0, "{faults} of {requests} requests failed");
        let is_known = self.targets.iter().all(|(_, tag)| tag.is_some());
        ensure!(
            is_known == (bytes / requests < WHOLE_BYTES_MIN),
            "{requests} answers of {bytes} bytes are not those that were asked for"
        );
        Ok(Answered { requests, p50_us })
    }

    fn lines(&self) -> String {
        let line = |(path, tag): &(String, Option<String>)| match tag {
            Some(tag) => format!("{path}\t{tag}\n"),
            None => format!("{path}\n"),
        };
        self.targets.iter().map(line).collect()
    }

    fn command(&self, port: u16, script: &Path, targets: &Path) -> Command {
        let mut command = pinned(Some(LOAD_CORE), "wrk");
        command
            .args(["--threads", "1", "--timeout", "20s"])
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", self.secs)])
            .arg("--script")
            .arg(script)
            .arg(format!("http://127.0.0.1:{port}"))
            .arg("--")
            .arg(targets);
        for (name, value) in self.headers {
            command.arg(format!("{name}: {value}"));
        }
        command
    }
}
