//! The forge: a Gitea, set up as the tests set theirs up, with a user who owns what is measured.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::client::{Client, Reply, request};
use crate::run::text_of;
use crate::server::{Cpu, LOOK_AGAIN, PATIENCE, free_port, terminate};

/// Who owns the repositories and packages, and pushes.
pub const USER: &str = "olga";

/// A running Gitea.
pub struct Gitea {
    /// None while it is down.
    process: Option<Child>,
    tools: PathBuf,
    folder: tempfile::TempDir,
    pub port: u16,
    /// A token of the user that may do everything.
    pub token: String,
}

impl Gitea {
    /// Starts it in a folder on the disk that is measured.
    pub fn start(work: &Path) -> anyhow::Result<Self> {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/gitea");
        let mut gitea = Self {
            process: None,
            folder: tempfile::Builder::new().prefix("gitea-").tempdir_in(work)?,
            port: free_port()?,
            token: String::new(),
            tools,
        };
        fs::write(gitea.config(), gitea.config_text()?)?;
        gitea.start_again()?;
        let said = text_of(gitea.command(&[
            "admin",
            "user",
            "create",
            "--admin",
            "--username",
            USER,
            "--email",
            "olga@localhost.test",
            "--password",
            "correct-horse",
            "--must-change-password=false",
            "--access-token",
            "--access-token-scopes",
            "all",
        ]))?;
        let is_token =
            |word: &&str| word.len() == 40 && word.bytes().all(|b| b.is_ascii_hexdigit());
        let token = said.split_whitespace().find(is_token);
        token.context("a token")?.clone_into(&mut gitea.token);
        Ok(gitea)
    }

    /// Starts it after [`Gitea::stop`], on the same port and folder.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let log = File::create(self.folder.path().join("log"))?;
        let process = self
            .command(&["web"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("Gitea; `tests/forge/build` makes it")?;
        self.process = Some(process);
        let started = Instant::now();
        let is_up =
            || anyhow::Ok(Client::connect(self.port)?.get("/api/healthz", &[])?.status == 200);
        while !is_up().unwrap_or(false) {
            ensure!(started.elapsed() < PATIENCE, "Gitea does not begin");
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Ends it.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        match self.process.take() {
            Some(mut process) => terminate(&mut process),
            None => Ok(()),
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn cpu(&self) -> anyhow::Result<Cpu> {
        Cpu::of(self.process.as_ref().context("it runs")?.id())
    }

    /// Makes a repository of the user; an empty one, or one with a first commit.
    pub fn repository(&self, name: &str, has_commit: bool) -> anyhow::Result<()> {
        let wanted = json!({ "name": name, "auto_init": has_commit, "default_branch": "main" });
        let made = self.api("POST", "/api/v1/user/repos", &wanted)?;
        ensure!(made.status == 201, "no repository: {}", made.status);
        Ok(())
    }

    /// Where git finds a repository of the user, with the token in it: these last as long as the folder.
    pub fn clone_url(&self, name: &str) -> String {
        format!(
            "http://{USER}:{}@127.0.0.1:{}/{USER}/{name}.git",
            self.token, self.port
        )
    }

    fn api(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Reply> {
        let authorization = format!("token {}", self.token);
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
        ];
        let bytes = request(method, path, &headers, body.to_string().as_bytes());
        Client::connect(self.port)?.send(&bytes)
    }

    fn command(&self, words: &[&str]) -> Command {
        let folder = self.folder.path();
        let mut command = Command::new(self.tools.join("gitea"));
        command
            .arg("--config")
            .arg(self.config())
            .args(words)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            .env("GITEA_WORK_DIR", folder)
            .env("GITEA_CUSTOM", folder.join("custom"))
            .env("GITEA_I_AM_BEING_UNSAFE_RUNNING_AS_ROOT", "true")
            .current_dir(folder);
        command
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("app.ini")
    }

    fn config_text(&self) -> anyhow::Result<String> {
        let pages = self.tools.join("static").canonicalize();
        let pages = pages.context("Gitea; `tests/forge/build` makes it")?;
        Ok(include_str!("../../tests/forge/app.ini")
            .replace("{folder}", &self.folder.path().display().to_string())
            .replace("{pages}", &pages.display().to_string())
            .replace("{port}", &self.port.to_string())
            // Nobody else reaches it, and it is gone in a few minutes.
            .replace("{secret}", &"s".repeat(43))
            .replace("{host}", "127.0.0.1")
            .replace("{refreshes_once}", "false")
            .replace("{signing}", "ES256")
            .replace("{signer_name}", "Registry")
            .replace("{signer_email}", "registry@localhost.test")
            .replace("{trusted_keys}", ""))
    }
}

impl Drop for Gitea {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
