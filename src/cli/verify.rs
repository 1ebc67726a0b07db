//! `sidecargo verify`

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use sidecargo::audit;
use sidecargo::config::Arguments;
use sidecargo::domain::CommitId;
use sidecargo::index::Report;

use super::{Settings, progress};

/// Proves every commit, signature, line and crate file; 1 is the exit code if one of them is not as it must be, 2 if
/// nothing could be verified.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Only what came after this commit, which is taken for good; of one of people, after the registry's own before it.
    #[arg(long, value_name = "COMMIT")]
    since: Option<String>,
    /// Prints one JSON object: the report, or `errors` if nothing could be verified.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

impl Verify {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let json = self.json;
        let report = self.report();
        let mut out = io::stdout().lock();
        match &report {
            Ok(report) if json => writeln!(out, "{}", serde_json::to_string_pretty(report)?)?,
            Ok(report) => print(&mut out, report)?,
            Err(fault) => {
                // Whoever reads this program's output gets an object in any case.
                if json {
                    let errors = json!({ "errors": [{ "detail": format!("{fault:#}") }] });
                    writeln!(out, "{errors:#}")?;
                }
                eprintln!("sidecargo: {fault:#}");
            }
        }
        Ok(match report {
            Ok(Report {
                faults_found: 0, ..
            }) => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(_) => ExitCode::from(2),
        })
    }

    fn report(self) -> anyhow::Result<Report> {
        let since = self
            .since
            .map(|text| text.parse::<CommitId>())
            .transpose()
            .context("`--since` is not the full id of a commit")?;
        let config = self.settings.load(Arguments::default())?;
        let bar = progress::bar("commits");
        let mut all = 0;
        let report = audit::verify(&config.data, since, &mut |left| {
            all = all.max(left + 1);
            bar.set(all, left);
        });
        bar.clear();
        Ok(report?)
    }
}

fn print(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let mut tip = report.tip.map(|tip| tip.to_string()).unwrap_or_default();
    if let Some(since) = report.since {
        tip += &format!(", after {since}");
    }
    let Report {
        commits,
        signed,
        versions,
        ..
    } = report;
    let Some(first) = report.faults.first() else {
        return writeln!(
            out,
            "the index is as it must be at {tip}; commits: {commits}, signed by the registry: {signed}, versions with their crate files: {versions}"
        );
    };
    writeln!(out, "the index at {tip} is not as it must be")?;
    writeln!(out, "  {}", first.what)?;
    writeln!(out, "  in commit {}; look at it with", first.commit)?;
    writeln!(out, "  {}", first.look)?;
    match report.faults_found - 1 {
        0 => Ok(()),
        others => writeln!(out, "{others} more; `sidecargo verify --json` lists them"),
    }
}
