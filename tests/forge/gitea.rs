//! A Gitea of its own: a free port, a temporary folder, an administrator.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::common::http::get;
use crate::common::ran::run;
use crate::common::tools;

/// The name of the administrator.
pub const ADMIN: &str = "root-of-all";
/// The password of everybody.
pub const PASSWORD: &str = "correct-horse";

/// The pause between two looks at something that is about to happen.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How many looks something may take: a minute, not counting that in which the tests are stopped.
const LOOKS_MAX: usize = 3000;
/// Ports that the system gives to nobody who does not ask for them by number.
const PORTS: std::ops::Range<u16> = 10_240..32_000;
/// How often another port is tried.
const TRIES_MAX: usize = 20;
/// Ends and removes what the tests leave, when their end closes its input: a test that is killed cleans nothing up.
const GUARD: &str = "trap '' HUP INT TERM; read -r _; kill -KILL \"-$1\"; \
    for _ in 1 2 3 4 5 6 7 8 9; do rm -rf -- \"$2\" && exit; sleep 1; done";

/// How a Gitea signs its tokens.
#[derive(Debug, Clone, Copy)]
pub enum Signing {
    /// With a key on a curve.
    Es256,
    /// With a long key, which takes a second to make.
    Rs256,
    /// With secrets that nobody else can check by.
    Hs256,
}

/// What a test may want otherwise.
#[derive(Clone)]
pub struct Settings {
    /// The host by which it calls itself.
    pub host: &'static str,
    /// How tokens are signed.
    pub signing: Signing,
    /// The name of whoever commits with a trusted key.
    pub signer_name: String,
    /// Their address.
    pub signer_email: String,
    /// The trusted keys, in OpenSSH's format.
    pub trusted_keys: Vec<String>,
    /// Whether a refresh token is good once.
    pub refreshes_once: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: "127.0.0.1",
            signing: Signing::Es256,
            signer_name: "Registry".to_owned(),
            signer_email: "registry@localhost.test".to_owned(),
            trusted_keys: Vec::new(),
            refreshes_once: false,
        }
    }
}

/// A Gitea that ends when it is dropped, or at the latest with the tests.
pub struct Gitea {
    folder: TempDir,
    tools: PathBuf,
    /// The port on which it listens, the same after a restart.
    pub port: u16,
    /// How it is set up; holds from the next start on.
    pub settings: Settings,
    /// A token of the administrator that may do everything.
    pub admin_token: String,
    secrets: String,
    server: Option<Server>,
    names: AtomicUsize,
}

/// The process, and another that ends it when this one is gone.
struct Server {
    gitea: Child,
    guard: Child,
}

impl Gitea {
    /// One that all tests of this run may share, or `None` after the calling test was reported as skipped.
    ///
    /// It is the forge that the environment names, if it names one.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Gitea> = OnceLock::new();
        if let Some((url, token)) = tools::other_forge() {
            return Some(SHARED.get_or_init(|| Self::other(&url, token)));
        }
        let tools = tools::gitea()?;
        Some(SHARED.get_or_init(|| Self::launch(tools, Settings::default())))
    }

    /// As [`Gitea::shared`], for what a test can only know of the one that the pins name; of another it is skipped.
    pub fn pinned() -> Option<&'static Self> {
        if tools::other_forge().is_some() {
            tools::skip("the forge that the environment names is another than the pinned one");
            return None;
        }
        Self::shared()
    }

    /// A forge that runs already and was here before.
    fn other(url: &str, admin_token: String) -> Self {
        let port = url.strip_prefix("http://127.0.0.1:");
        let port = port.and_then(|port| port.trim_end_matches('/').parse().ok());
        let mut first = [0; 4];
        getrandom::fill(&mut first).unwrap();
        Self {
            folder: TempDir::new().unwrap(),
            tools: PathBuf::new(),
            port: port.expect("tests reach the forge at http://127.0.0.1 and a port"),
            settings: Settings::default(),
            admin_token,
            secrets: String::new(),
            server: None,
            // What earlier runs have left there has other names.
            names: AtomicUsize::new(u32::from_le_bytes(first) as usize),
        }
    }

    /// One that nobody else uses, or `None` after the calling test was reported as skipped.
    pub fn start() -> Option<Self> {
        Self::start_with(Settings::default())
    }

    /// As [`Gitea::start`], set up otherwise.
    pub fn start_with(settings: Settings) -> Option<Self> {
        Some(Self::launch(tools::gitea()?, settings))
    }

    fn launch(tools: PathBuf, settings: Settings) -> Self {
        let mut gitea = Self {
            folder: TempDir::new().unwrap(),
            tools,
            port: 0,
            settings,
            admin_token: String::new(),
            secrets: secrets(),
            server: None,
            names: AtomicUsize::new(0),
        };
        gitea.take_templates();
        for _ in 0..TRIES_MAX {
            gitea.port = free_port();
            if gitea.try_start() {
                gitea.admin_token = gitea.create_admin();
                return gitea;
            }
        }
        panic!("it does not start; the log:\n{}", gitea.log());
    }

    /// Ends it as an operator does, and waits until it is gone.
    #[track_caller]
    pub fn stop(&mut self) {
        let mut server = self.server.take().expect("it runs");
        signal(&server.gitea, Signal::TERM);
        let is_gone = || server.gitea.try_wait().unwrap().is_some();
        assert!(looks(is_gone), "it does not end:\n{}", self.log());
        server.guard.kill().unwrap();
        server.guard.wait().unwrap();
    }

    /// Starts it again on the same folder and port, by its settings of now.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.server.is_none(), "it still runs");
        assert!(self.try_start(), "it does not start:\n{}", self.log());
    }

    /// Stops its process where it is: whoever connects is let wait.
    pub fn pause(&self) {
        let gitea = &self.server.as_ref().expect("it runs").gitea;
        signal(gitea, Signal::STOP);
        let is_stopped = || states(gitea.id()).all(|state| state == "T");
        assert!(looks(is_stopped), "it does not stop");
    }

    /// Lets it go on after [`Gitea::pause`].
    pub fn resume(&self) {
        signal(&self.server.as_ref().expect("it runs").gitea, Signal::CONT);
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("it runs").gitea.id()
    }

    /// The folder with everything that it keeps.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file with the key that signs tokens; a start without it makes another.
    pub fn signing_key(&self) -> PathBuf {
        self.folder.path().join("data/jwt/private.pem")
    }

    /// Where people find it, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A name that nobody in this Gitea has yet.
    pub fn fresh_name(&self, word: &str) -> String {
        format!("{word}-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Everything that it has logged, restarts included.
    pub fn log(&self) -> String {
        let log = fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Starts it; gives whether it got its port.
    fn try_start(&mut self) -> bool {
        fs::write(self.config(), self.config_text()).unwrap();
        let log = self.folder.path().join("log");
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(log)
            .unwrap();
        let before = log.metadata().unwrap().len();
        let mut server = self.spawn(&log);
        for _ in 0..LOOKS_MAX {
            let is_ready = get("/api/healthz").try_send(self.port);
            let is_ready = is_ready.is_ok_and(|reply| reply.status == 200);
            let ended = server.gitea.try_wait().unwrap();
            if is_ready && ended.is_none() {
                self.server = Some(server);
                return true;
            }
            if let Some(status) = ended {
                server.guard.kill().unwrap();
                server.guard.wait().unwrap();
                let said = text_from(&self.folder.path().join("log"), before);
                let is_taken = said.contains("address already in use");
                assert!(is_taken, "it ended with {status}:\n{said}");
                return false;
            }
            thread::sleep(LOOK_AGAIN);
        }
        self.server = Some(server);
        panic!("it is not ready; the log:\n{}", self.log());
    }

    fn spawn(&self, log: &File) -> Server {
        let gitea = self
            .command(&["web"])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log.try_clone().unwrap())
            .spawn()
            .unwrap();
        // The pipe to it is closed when this process is gone, however it goes.
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard", &gitea.id().to_string()])
            .arg(self.folder.path())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Server { gitea, guard }
    }

    /// Gives it the templates that put the registry into its pages.
    fn take_templates(&self) {
        for (path, text) in [
            (
                "templates/custom/extra_links.tmpl",
                include_str!("../../packaging/forge/templates/custom/extra_links.tmpl"),
            ),
            (
                "templates/custom/extra_tabs.tmpl",
                include_str!("../../packaging/forge/templates/custom/extra_tabs.tmpl"),
            ),
            (
                "templates/custom/footer.tmpl",
                include_str!("../../packaging/forge/templates/custom/footer.tmpl"),
            ),
            (
                "public/assets/sidecargo.js",
                include_str!("../../packaging/forge/public/assets/sidecargo.js"),
            ),
        ] {
            let path = self.folder.path().join("custom").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn create_admin(&self) -> String {
        let mut command = self.command(&["admin", "user", "create", "--admin"]);
        command
            .args(["--username", ADMIN, "--email", "root@localhost.test"])
            .args(["--password", PASSWORD, "--must-change-password=false"])
            .args(["--access-token", "--access-token-name", "all"])
            .args(["--access-token-scopes", "all"]);
        let made = run(&mut command, b"").succeeds();
        let is_token =
            |word: &&str| word.len() == 40 && word.bytes().all(|b| b.is_ascii_hexdigit());
        let token = made.stdout.split_whitespace().find(is_token);
        token
            .unwrap_or_else(|| panic!("no token: {made}"))
            .to_owned()
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
            .env("LC_ALL", "C.UTF-8")
            .env("GITEA_WORK_DIR", folder)
            .env("GITEA_CUSTOM", folder.join("custom"))
            // In a container there is often nobody but root.
            .env("GITEA_I_AM_BEING_UNSAFE_RUNNING_AS_ROOT", "true")
            .current_dir(folder);
        command
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("app.ini")
    }

    fn config_text(&self) -> String {
        let folder = self.folder.path().canonicalize().unwrap();
        let pages = self.tools.join("static").canonicalize().unwrap();
        let signing = match self.settings.signing {
            Signing::Es256 => "ES256",
            Signing::Rs256 => "RS256",
            Signing::Hs256 => "HS256",
        };
        include_str!("app.ini")
            .replace("{folder}", folder.to_str().unwrap())
            .replace("{pages}", pages.to_str().unwrap())
            .replace("{host}", self.settings.host)
            .replace("{port}", &self.port.to_string())
            .replace("{secret}", &self.secrets)
            .replace("{signing}", signing)
            .replace(
                "{refreshes_once}",
                &self.settings.refreshes_once.to_string(),
            )
            .replace("{signer_name}", &self.settings.signer_name)
            .replace("{signer_email}", &self.settings.signer_email)
            .replace("{trusted_keys}", &self.settings.trusted_keys.join(", "))
    }
}

impl Drop for Gitea {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.gitea.kill();
            let _ = server.gitea.wait();
            let _ = server.guard.kill();
            let _ = server.guard.wait();
        }
        if thread::panicking() {
            eprintln!("the forge's log:\n{}", self.log());
        }
    }
}

/// Looks until it is so; gives whether it ever was.
fn looks(mut is_so: impl FnMut() -> bool) -> bool {
    (0..LOOKS_MAX).any(|_| {
        let is_so = is_so();
        if !is_so {
            thread::sleep(LOOK_AGAIN);
        }
        is_so
    })
}

/// What each thread of a process does, by the kernel's letter.
fn states(pid: u32) -> impl Iterator<Item = String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.filter_map(|thread| {
        let stat = fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
        let (_, after_name) = stat.rsplit_once(") ")?;
        Some(after_name.split(' ').next()?.to_owned())
    })
}

fn signal(process: &Child, signal: Signal) {
    kill_process_group(Pid::from_child(process), signal).unwrap();
}

/// A port on which nobody listens, from those that nobody is given by chance.
fn free_port() -> u16 {
    let mut bytes = [0; 2];
    loop {
        getrandom::fill(&mut bytes).unwrap();
        let port = u16::from_le_bytes(bytes);
        if PORTS.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Random bytes in the form in which Gitea wants its secrets.
fn secrets() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// What stands in a file from there on.
fn text_from(path: &Path, start: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(text)
    };
    read().unwrap_or_default()
}
