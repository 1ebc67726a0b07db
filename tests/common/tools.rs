//! Programs that not every machine has.
//!
//! `tests/run` fetches them and says by environment variables where they are.
//! A test whose program is missing is skipped with one loud line; where `CI` is `true` it fails instead.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that names Debian 12's own cargo.
const OLD_CARGO: &str = "SIDECARGO_TEST_OLD_CARGO";
/// The variable that names a nightly cargo other than that of the nightly toolchain.
const NIGHTLY_CARGO: &str = "SIDECARGO_TEST_NIGHTLY_CARGO";
/// The variable that names a folder with Gitea and what it serves.
const GITEA: &str = "SIDECARGO_TEST_GITEA";
/// The variables that name another forge for the tests that share one, and a token of its administrator for everything.
const FORGE: &str = "SIDECARGO_TEST_FORGE";
const FORGE_TOKEN: &str = "SIDECARGO_TEST_FORGE_TOKEN";
/// The variable that names the file in which skipped tests are counted.
const SKIPS: &str = "SIDECARGO_TEST_SKIPS";

/// Debian 12's own cargo, or `None` after the calling test was reported as skipped.
pub fn old_cargo() -> Option<PathBuf> {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/debian-cargo/cargo");
    let path = env::var_os(OLD_CARGO).map_or(unpacked, PathBuf::from);
    found(path, "Debian 12's cargo is missing; `tests/run` fetches it")
}

/// A nightly cargo, or `None` after the calling test was reported as skipped.
///
/// What only nightly can do is no promise of Cargo, so it is never demanded.
pub fn nightly_cargo() -> Option<PathBuf> {
    if let Some(path) = env::var_os(NIGHTLY_CARGO) {
        return found(path.into(), "there is no cargo where the variable says");
    }
    let mut which = Command::new("rustup");
    which.args(["which", "--toolchain", "nightly", "cargo"]);
    let path = which.output().ok().filter(|found| found.status.success());
    let path = path.map(|found| PathBuf::from(String::from_utf8_lossy(&found.stdout).trim()));
    if path.is_none() {
        report_skip("there is no nightly toolchain; `rustup toolchain install nightly` fetches it");
    }
    path
}

/// A nightly cargo that knows the unstable `flag`, or `None` after the calling test was reported as skipped.
pub fn nightly_cargo_with(flag: &str) -> Option<PathBuf> {
    let path = nightly_cargo()?;
    let flags = Command::new(&path).arg("-Zhelp").output().unwrap().stdout;
    if !String::from_utf8_lossy(&flags).contains(&format!("-Z {flag} ")) {
        report_skip(&format!("the nightly cargo does not know `-Z{flag}` yet"));
        return None;
    }
    Some(path)
}

/// The folder with the program `gitea` and the folder `static` of its pages, or `None` after the calling test was
/// reported as skipped.
pub fn gitea() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/gitea");
    let folder = env::var_os(GITEA).map_or(built, PathBuf::from);
    let why = "Gitea is missing; `tests/run` builds it where there is Go 1.21 or newer";
    found(folder.join("static/templates/home.tmpl"), why)?;
    found(folder.join("gitea"), why)?;
    Some(folder)
}

/// The forge that the environment names, and its administrator's token.
pub fn other_forge() -> Option<(String, String)> {
    let url = env::var(FORGE).ok()?;
    let token = env::var(FORGE_TOKEN);
    let token = token.unwrap_or_else(|_| panic!("{FORGE} is set, so {FORGE_TOKEN} must be too"));
    Some((url, token))
}

/// `strace`, or `None` after the calling test was reported as skipped.
pub fn strace() -> Option<PathBuf> {
    on_path("strace")
}

/// As [`strace`], for a process that runs already: some systems let nobody but root follow one.
pub fn strace_of_running() -> Option<PathBuf> {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    let is_free = scope.map_or(true, |scope| scope.trim_end() == "0");
    if !is_free && !rustix::process::geteuid().is_root() {
        skip("`strace` may not follow a process that runs; see ptrace_scope in ptrace(2)");
        return None;
    }
    strace()
}

/// `setpriv`, which runs programs as other users, or `None` after the calling test was reported as skipped.
pub fn setpriv() -> Option<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        skip("only root can run programs as other users");
        return None;
    }
    on_path("setpriv")
}

/// `ssh-keygen`, with which git verifies signatures, or `None` after the calling test was reported as skipped.
pub fn ssh_keygen() -> Option<PathBuf> {
    on_path("ssh-keygen")
}

/// `nginx`, or `None` after the calling test was reported as skipped.
pub fn nginx() -> Option<PathBuf> {
    let installed = Path::new("/usr/sbin/nginx");
    match installed.is_file() {
        true => Some(installed.to_owned()),
        false => on_path("nginx"),
    }
}

/// The library that gives a process another clock, or `None` after the calling test was reported as skipped.
pub fn faketime() -> Option<PathBuf> {
    let library = |folder: std::fs::DirEntry| folder.path().join("faketime/libfaketime.so.1");
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten();
    let mut places = folders.flatten().map(library);
    let place = places.find(|place| place.is_file()).unwrap_or_default();
    found(place, "libfaketime is not in a folder of /usr/lib")
}

/// `openssl`, which makes certificates, or `None` after the calling test was reported as skipped.
pub fn openssl() -> Option<PathBuf> {
    on_path("openssl")
}

/// A program by its name, or `None` after the calling test was reported as skipped.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let path = env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .unwrap_or_default();
    found(path, &format!("`{program}` is not on the PATH"))
}

fn found(path: PathBuf, otherwise: &str) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path);
    }
    skip(otherwise);
    None
}

/// Reports the calling test as skipped.
pub fn skip(reason: &str) {
    let is_ci = env::var("CI").is_ok_and(|value| value == "true");
    assert!(!is_ci, "nothing is skipped where CI is true: {reason}");
    report_skip(reason);
}

/// Prints past the test harness, which swallows what a passing test prints.
pub fn say(text: &str) {
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

/// Says aloud that the test of this thread did not run.
fn report_skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!(
        "SKIPPED {}: {reason}\n",
        thread.name().unwrap_or("a test without a name")
    );
    say(&line);
    if let Some(path) = env::var_os(SKIPS) {
        let mut file = OpenOptions::new().append(true).create(true).open(path);
        file.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }
}
