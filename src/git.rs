//! The git program, with nothing of ours or of the user's around it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Where the program is.
///
/// The library searches the `PATH` of a command in a copy of this process, and to make that takes as long as git itself
/// for a small fetch: all its memory is mapped once more. A program with a path is started without one.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = env::split_paths(&path).map(|folder| folder.join("git"));
    let found = places.find(|place| place.is_absolute() && place.is_file());
    // If there is none, to start it says so.
    found.unwrap_or_else(|| PathBuf::from("git"))
});

/// `git` on the repository at `git_dir`, not started yet; its arguments are still to come.
///
/// The process gets no variable of ours but `PATH`, and no configuration but the repository's own.
pub fn command(git_dir: &Path) -> Command {
    let mut command = Command::new(&*PROGRAM);
    command.env_clear();
    if let Some(path) = env::var_os("PATH") {
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
