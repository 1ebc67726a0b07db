//! Real cargos, each in a home of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::ran::{Ran, run};
use super::registry::Registry;

/// The two ways in which Cargo can read an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Over the sparse protocol.
    Sparse,
    /// Over git.
    Git,
}

/// A developer's machine: one cargo, a home that knows nothing but the registry `crates`, a folder to work in.
pub struct Sandbox {
    folder: TempDir,
    program: PathBuf,
}

impl Sandbox {
    /// With the cargo that runs the tests.
    pub fn stable(registry: &Registry, view: View) -> Self {
        Self::new(PathBuf::from(env!("CARGO")), registry, view)
    }

    /// With the cargo that runs the tests and the index at a URL.
    pub fn stable_at(index: &str) -> Self {
        Self::with_index(PathBuf::from(env!("CARGO")), index)
    }

    /// With an old cargo, which can read the index only over git.
    pub fn old(program: PathBuf, registry: &Registry) -> Self {
        Self::new(program, registry, View::Git)
    }

    fn new(program: PathBuf, registry: &Registry, view: View) -> Self {
        let index = match view {
            View::Sparse => registry.sparse_index(),
            View::Git => registry.git_index(),
        };
        Self::with_index(program, &index)
    }

    fn with_index(program: PathBuf, index: &str) -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["home", "cargo-home", "nowhere", "work"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        // The public registry leads to an empty folder: a test that needs it fails without asking the network.
        let config = format!(
            "[registries.crates]\nindex = {index:?}\n\
             [source.crates-io]\nreplace-with = \"nowhere\"\n\
             [source.nowhere]\ndirectory = {:?}\n",
            folder.path().join("nowhere")
        );
        fs::write(folder.path().join("cargo-home/config.toml"), config).unwrap();
        Self { folder, program }
    }

    /// With the nightly cargo.
    pub fn nightly(program: PathBuf, registry: &Registry, view: View) -> Self {
        Self::new(program, registry, view)
    }

    /// Adds lines to the settings of this machine's user.
    pub fn configure(&self, lines: &str) {
        let path = self.folder.path().join("cargo-home/config.toml");
        let known = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{known}{lines}")).unwrap();
    }

    /// Forgets all that was downloaded: the index and every crate.
    pub fn forget_downloads(&self) {
        fs::remove_dir_all(self.folder.path().join("cargo-home/registry")).unwrap();
    }

    /// A folder in which each folder is a crate of the public registry.
    pub fn public_crates(&self) -> PathBuf {
        self.folder.path().join("nowhere")
    }

    /// The folder in which cargo builds and packs.
    pub fn target(&self) -> PathBuf {
        self.folder.path().join("target")
    }

    /// The folder for packages.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Runs cargo in `folder`.
    #[must_use]
    pub fn cargo(&self, folder: &Path, arguments: &[&str]) -> Ran {
        self.cargo_with_input(folder, arguments, "")
    }

    /// Runs cargo in `folder` with more variables in its environment.
    #[must_use]
    pub fn cargo_with_env(&self, folder: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Ran {
        let mut command = self.command(folder, arguments);
        run(command.envs(env.iter().copied()), b"")
    }

    /// Stores `token` as a developer does: pasted to `cargo login`.
    #[track_caller]
    pub fn login(&self, token: &str) {
        let arguments = ["login", "--registry", "crates"];
        self.cargo_with_input(&self.work(), &arguments, &format!("{token}\n"))
            .succeeds();
    }

    /// Publishes the package in `folder`.
    #[must_use]
    pub fn publish(&self, folder: &Path) -> Ran {
        self.cargo(folder, &["publish", "--registry", "crates"])
    }

    /// Throws the lock file of the package in `folder` away and makes a new one.
    #[track_caller]
    pub fn lock_anew(&self, folder: &Path) {
        fs::remove_file(folder.join("Cargo.lock")).unwrap();
        self.cargo(folder, &["generate-lockfile"]).succeeds();
    }

    /// The folder of this machine's user in which Cargo keeps what it knows.
    pub fn cargo_home(&self) -> PathBuf {
        self.folder.path().join("cargo-home")
    }

    fn cargo_with_input(&self, folder: &Path, arguments: &[&str], input: &str) -> Ran {
        run(&mut self.command(folder, arguments), input.as_bytes())
    }

    fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        // Nothing of the machine's own settings, tokens and proxies reaches this cargo.
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path().join("home"))
            .env("CARGO_HOME", self.folder.path().join("cargo-home"))
            .env("CARGO_TARGET_DIR", self.target())
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("RUSTC", compiler())
            .current_dir(folder)
            .args(arguments);
        command
    }
}

/// The compiler of the toolchain that runs the tests: old cargos get it too.
pub fn compiler() -> PathBuf {
    let beside = Path::new(env!("CARGO")).with_file_name("rustc");
    if beside.is_file() {
        beside
    } else {
        PathBuf::from("rustc")
    }
}
