//! A developer's machine on which nothing is set up yet: what is pasted there is all that holds.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::cargos::compiler;
use super::ran::{Ran, run};

/// A home, one cargo, git, and a folder to work in.
pub struct Machine {
    folder: TempDir,
}

impl Machine {
    /// With the cargo that runs the tests.
    pub fn stable() -> Self {
        Self::with(Path::new(env!("CARGO")))
    }

    /// With this cargo.
    pub fn with(program: &Path) -> Self {
        let machine = Self {
            folder: TempDir::new().unwrap(),
        };
        for name in ["home/.cargo", "bin", "work"] {
            fs::create_dir_all(machine.path(name)).unwrap();
        }
        symlink(program, machine.path("bin/cargo")).unwrap();
        machine
    }

    /// The folder for packages.
    pub fn work(&self) -> PathBuf {
        self.path("work")
    }

    /// Writes a snippet to the settings of Cargo, as the only ones.
    pub fn paste_settings(&self, snippet: &str) {
        fs::write(self.path("home/.cargo/config.toml"), snippet).unwrap();
    }

    /// Runs shell commands in the folder for packages; whoever asks for a user name or a password gets `answer`, and
    /// so does each that reads its input.
    #[must_use]
    pub fn shell(&self, commands: &str, answer: &str) -> Ran {
        // Git asks a program where there is no terminal.
        let askpass = self.path("bin/askpass");
        fs::write(&askpass, "#!/bin/sh\nprintf '%s\\n' \"$ANSWER\"\n").unwrap();
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = self.command(Path::new("sh"), &self.work());
        command
            .args(["-ec", commands])
            .env("GIT_ASKPASS", askpass)
            .env("ANSWER", answer);
        run(&mut command, format!("{answer}\n").as_bytes())
    }

    /// Stores the token for Cargo's registry `name`.
    #[track_caller]
    pub fn login(&self, name: &str, token: &str) {
        let command = format!("cargo login --registry {name}");
        self.shell(&command, token).succeeds();
    }

    /// Runs cargo in `folder`.
    #[must_use]
    pub fn cargo(&self, folder: &Path, arguments: &[&str]) -> Ran {
        let mut command = self.command(&self.path("bin/cargo"), folder);
        command.args(arguments);
        run(&mut command, b"")
    }

    /// Publishes the package in `folder`.
    #[must_use]
    pub fn publish(&self, folder: &Path) -> Ran {
        self.cargo(folder, &["publish", "--registry", "crates"])
    }

    fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut path = vec![self.path("bin")];
        path.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        let mut command = Command::new(program);
        // Nothing of the machine's own settings, tokens and proxies reaches this cargo and this git.
        command
            .env_clear()
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("HOME", self.path("home"))
            .env("CARGO_TARGET_DIR", self.path("target"))
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("RUSTC", compiler())
            .current_dir(folder);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
