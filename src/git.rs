//! The git program, with nothing of ours or of the user's around it.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// `git` on the repository at `git_dir`, not started yet; its arguments are still to come.
///
/// The process gets no variable of ours but `PATH`, and no configuration but the repository's own.
pub fn command(git_dir: &Path) -> Command {
    let mut command = Command::new("git");
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    // The command line is the only place besides the user's own files where git heeds `safe.directory`.
    let mut safe_directory = OsString::from("safe.directory=");
    safe_directory.push(git_dir);
    command
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_DIR", git_dir)
        .arg("-c")
        .arg(safe_directory);
    command
}
