//! The servers that are measured: Sidecargo, and nginx beside it. Each runs on loopback, on a free port.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::client::Client;
use crate::run::text_of;

/// How long a server may take to begin or to end.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// The pause between two looks at a server that begins or ends.
pub const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How many ticks `/proc` counts in a second: so on every Linux of today.
const TICKS_PER_SEC: f64 = 100.0;

/// How a server is started.
#[derive(Clone, Default)]
pub struct Settings {
    /// The one core that it may use; else all of them.
    pub core: Option<usize>,
    /// Whether nobody reads without a token.
    pub is_private: bool,
    /// Further settings, as a file has them.
    pub more: String,
}

/// A running Sidecargo.
pub struct Server {
    process: Child,
    data: PathBuf,
    pub port: u16,
    /// From the start of the process until both protocols answered.
    pub ready_after: Duration,
}

impl Server {
    /// Starts it on a data folder and waits until it serves both protocols.
    pub fn start(data: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = pinned(settings.core, env!("CARGO_BIN_EXE_sidecargo"));
        command
            .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--data"])
            .arg(data)
            // Neither server writes a line for each request: what is compared is how they answer.
            .env("SIDECARGO_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if !settings.more.is_empty() {
            let file = data.join("bench.toml");
            fs::write(&file, &settings.more)?;
            command.arg("--config").arg(file);
        }
        if settings.is_private {
            command.args(["--visibility", "private"]);
        }
        let started = Instant::now();
        let mut server = Self {
            process: command.spawn()?,
            data: data.to_owned(),
            port,
            ready_after: Duration::ZERO,
        };
        server.wait_until_ready(started)?;
        server.ready_after = started.elapsed();
        Ok(server)
    }

    fn wait_until_ready(&mut self, started: Instant) -> anyhow::Result<()> {
        loop {
            let is_answered = |path: &str| {
                let mut client = Client::connect(self.port)?;
                let status = client.get(path, &[])?.status;
                // A private registry asks for a token, and only once it is open.
                anyhow::Ok(matches!(status, 200 | 401))
            };
            let git = "/crates/git/info/refs?service=git-upload-pack";
            if is_answered("/crates/index/config.json").unwrap_or(false)
                && is_answered(git).unwrap_or(false)
            {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("the server ended with {status}");
            }
            ensure!(started.elapsed() < PATIENCE, "the server does not begin");
            sleep(LOOK_AGAIN);
        }
    }

    /// Waits until it has done what it does after a start.
    pub fn settle(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let unread = self.metric("sidecargo_catalog_unread")?;
            if unread == 0.0 && self.metric("sidecargo_catalog_crates")? > 0.0 {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "the catalog is not made");
            sleep(Duration::from_millis(50));
        }
    }

    /// A number of `/metrics`, which anybody may read of a public registry.
    pub fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let reply = Client::connect(self.port)?.get("/metrics", &[])?;
        let text = String::from_utf8(reply.body)?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .with_context(|| format!("`{name}` in /metrics"))?;
        Ok(line.parse()?)
    }

    /// A token of `user` that may do everything.
    pub fn token(&self, user: &str) -> anyhow::Result<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidecargo"));
        command.args(["token", "create", user, "--data"]);
        command.arg(&self.data);
        text_of(command)
    }

    pub fn cpu(&self) -> anyhow::Result<Cpu> {
        Cpu::of(self.process.id())
    }

    /// Memory that it holds, in bytes.
    pub fn memory(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kilobytes.context("VmRSS")?.trim().parse::<u64>()? * 1024)
    }

    pub fn stop(mut self) -> anyhow::Result<()> {
        terminate(&mut self.process)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, or something went wrong.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A running nginx that serves a folder of files, each with its compressed form beside it.
pub struct Nginx {
    process: Child,
    _folder: tempfile::TempDir,
    pub port: u16,
}

impl Nginx {
    /// Starts it with the committed configuration.
    pub fn start(root: &Path, core: Option<usize>) -> anyhow::Result<Self> {
        let port = free_port()?;
        let folder = tempfile::tempdir()?;
        let config = include_str!("nginx.conf")
            .replace("{port}", &port.to_string())
            .replace("{root}", &root.display().to_string())
            .replace("{folder}", &folder.path().display().to_string());
        let path = folder.path().join("nginx.conf");
        fs::write(&path, config)?;
        let mut command = pinned(core, "nginx");
        if geteuid().is_root() {
            // Else it would become a user that may not enter the folder.
            command.args(["-g", "user root;"]);
        }
        let process = command
            .arg("-c")
            .arg(&path)
            .arg("-p")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stderr(File::create(folder.path().join("stderr"))?)
            .spawn()
            .context("nginx; on Debian, the package nginx-light has it")?;
        let nginx = Self {
            process,
            _folder: folder,
            port,
        };
        let started = Instant::now();
        while Client::connect(port).is_err() {
            ensure!(started.elapsed() < PATIENCE, "nginx does not begin");
            sleep(LOOK_AGAIN);
        }
        Ok(nginx)
    }

    /// The CPU time of its one worker.
    pub fn cpu(&self) -> anyhow::Result<Cpu> {
        let master = self.process.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
        Cpu::of(children.trim().parse().context("the worker of nginx")?)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if terminate(&mut self.process).is_err() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// CPU time that a process has used, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
    /// By itself.
    pub own: f64,
    /// By its children that have ended.
    pub children: f64,
}

impl Cpu {
    pub fn of_this_process() -> anyhow::Result<Self> {
        Self::of(std::process::id())
    }

    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, fields) = stat.rsplit_once(") ").context("the name in /proc")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        // proc(5) counts from one, and two fields come before these.
        let ticks = |number: usize| anyhow::Ok(fields[number - 3].parse::<f64>()?);
        Ok(Self {
            own: (ticks(14)? + ticks(15)?) / TICKS_PER_SEC,
            children: (ticks(16)? + ticks(17)?) / TICKS_PER_SEC,
        })
    }

    pub fn all(self) -> f64 {
        self.own + self.children
    }
}

pub fn terminate(process: &mut Child) -> anyhow::Result<()> {
    kill_process(Pid::from_child(process), Signal::TERM)?;
    let started = Instant::now();
    while process.try_wait()?.is_none() {
        ensure!(started.elapsed() < PATIENCE, "the server does not end");
        sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// The program, bound to a core if one is named.
pub fn pinned(core: Option<usize>, program: &str) -> Command {
    let Some(core) = core else {
        return Command::new(program);
    };
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string(), program]);
    command
}

pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
