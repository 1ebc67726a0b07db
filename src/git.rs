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

/// Major and minor number, by what `git --version` says; `None` if it says something else.
pub fn version(said: &str) -> Option<(u32, u32)> {
    let numbers = said.strip_prefix("git version ")?;
    let mut numbers = numbers.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

/// What a server cannot do with git of this version, and which one it needs.
pub fn lack(version: (u32, u32), has_forge: bool) -> Option<&'static str> {
    // For `upload-pack --http-backend-info-refs`.
    if version < (2, 34) {
        return Some(
            "it cannot answer clients of the git index: install 2.34 or newer, with a forge 2.38",
        );
    }
    // For `merge-tree --write-tree`.
    let cannot_merge = has_forge && version < (2, 38);
    cannot_merge.then_some(
        "it cannot try what a merge would be, so no pull request is judged: install 2.38 or newer",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_every_system_writes_it() {
        for (said, expected) in [
            ("git version 2.39.5", Some((2, 39))),
            ("git version 2.39.5 (Apple Git-154)", Some((2, 39))),
            ("git version 2.45.1.windows.1", Some((2, 45))),
            ("git version 2.38.0-rc1", Some((2, 38))),
            ("git version 2.50.GIT", Some((2, 50))),
            ("git version 3.0", Some((3, 0))),
            ("git version 2", None),
            ("git version unknown", None),
            ("git version 2.99999999999", None),
            ("hub version 2.39.5", None),
            ("", None),
        ] {
            assert_eq!(version(said), expected, "{said}");
        }
    }

    #[test]
    fn what_an_older_git_lacks_depends_on_the_forge() {
        let lacks = |version, has_forge| lack(version, has_forge).unwrap_or("nothing");
        for (version, alone, with_forge) in [
            ((1, 99), "clients", "clients"),
            ((2, 33), "clients", "clients"),
            ((2, 34), "nothing", "pull request"),
            ((2, 37), "nothing", "pull request"),
            ((2, 38), "nothing", "nothing"),
            ((3, 0), "nothing", "nothing"),
        ] {
            assert!(lacks(version, false).contains(alone), "{version:?}");
            assert!(lacks(version, true).contains(with_forge), "{version:?}");
        }
    }
}
