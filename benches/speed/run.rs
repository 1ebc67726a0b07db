//! Other programs, run to their end.

use std::process::Command;

use anyhow::{Context, ensure};

/// Runs a program that must succeed.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

/// What a program that must succeed prints, without the last line feed.
pub fn text_of(mut command: Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {errors}",
        output.status
    );
    let text = String::from_utf8(output.stdout)?;
    Ok(text.trim_end_matches('\n').to_owned())
}
