//! `sidecargo doctor`

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use sidecargo::doctor::{self, Finding, Verdict};
use sidecargo::domain::Secret;

use super::{init, serve};

/// Looks at a running set-up and says what to mend; 1 is the exit code if there is something. Nothing is changed.
///
/// With a token of an owner of the index repository in SIDECARGO_OWNER_TOKEN it looks at the rules and the webhook on
/// the forge too.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    serve: serve::Serve,
}

impl Doctor {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.serve.config()?;
        let owner = init::owner_token().map(Secret::new);
        let mut out = std::io::stdout();
        let mut is_good = true;
        let mut tell = |finding: Finding| {
            is_good &= !matches!(finding.verdict, Verdict::Mend(_));
            // Nobody may be reading; the exit code tells all the same.
            let _ = writeln!(out, "{finding}");
        };
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(doctor::examine(&config, owner, &mut tell));
        Ok(match is_good {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}
