//! The built program, serving a registry in a temporary folder.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::http::get;
use super::ran::{Ran, run};
use super::secrets::Secrets;

/// How long a start or a graceful end may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two looks at something that is about to happen.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// What the log says before the address.
const LISTENING: &str = "listening on http://127.0.0.1:";

/// A registry named `crates` that nobody else uses.
pub struct Registry {
    folder: TempDir,
    /// Where in it the data lies.
    below: PathBuf,
    /// The port on which it listens, the same after a restart.
    pub port: u16,
    server: Option<Child>,
    /// Files of the data folder that were there before the first request.
    first_files: BTreeSet<PathBuf>,
    /// What may stand nowhere but where it belongs: every token that was made for it, every key that it has had.
    secrets: Mutex<Secrets>,
}

/// How a registry is started, where a test wants more than one thing otherwise.
#[derive(Default, Clone, Copy)]
pub struct Start<'a> {
    /// The text of its configuration file.
    pub config: &'a str,
    /// A program that runs it, as [`Registry::start_under`] has it.
    pub runner: &'a [&'a str],
    /// A folder with `keys` and `blobs` that it shares with others.
    pub shared: Option<&'a Path>,
}

impl Registry {
    /// Starts one so.
    pub fn start_so(start: Start<'_>) -> Self {
        let mut registry = Self::not_started("data");
        fs::write(registry.config_path(), start.config).unwrap();
        if let Some(shared) = start.shared {
            fs::create_dir(registry.data()).unwrap();
            for folder in ["keys", "blobs"] {
                symlink(shared.join(folder), registry.data().join(folder)).unwrap();
            }
        }
        registry.launch(start.runner);
        registry.first_files = registry.files();
        registry
    }

    /// Starts an empty registry.
    pub fn start() -> Self {
        Self::start_under(&[])
    }

    /// Starts an empty registry with its data at `below` in a temporary folder.
    pub fn start_at(below: &str) -> Self {
        let mut registry = Self::not_started(below);
        registry.launch(&[]);
        registry.first_files = registry.files();
        registry
    }

    /// Starts an empty registry under a program that runs others, such as `strace` with its arguments.
    ///
    /// The program must leave the server as our own child.
    pub fn start_under(runner: &[&str]) -> Self {
        let mut registry = Self::not_started("data");
        registry.launch(runner);
        registry.first_files = registry.files();
        registry
    }

    /// Starts an empty registry, and at the same time another command of the program on the same data.
    pub fn start_beside(words: &[&str]) -> (Self, Ran) {
        let mut registry = Self::not_started("data");
        let mut command = Command::new(program());
        command.args(words).arg("--data").arg(registry.data());
        let beside = std::thread::spawn(move || run(&mut command, b""));
        registry.launch(&[]);
        let ran = beside.join().unwrap();
        registry.first_files = registry.files();
        (registry, ran)
    }

    /// Starts an empty registry with this text as its configuration file.
    pub fn start_with(config: &str) -> Self {
        let mut registry = Self::not_started("data");
        fs::write(registry.config_path(), config).unwrap();
        registry.launch(&[]);
        registry.first_files = registry.files();
        registry
    }

    fn not_started(below: &str) -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            below: PathBuf::from(below),
            port: 0,
            server: None,
            first_files: BTreeSet::new(),
            secrets: Mutex::default(),
        }
    }

    /// Starts it again on the same data and port, with this text as its configuration file from now on.
    pub fn start_again_with(&mut self, config: &str) {
        fs::write(self.config_path(), config).unwrap();
        self.start_again();
    }

    /// Starts it again on the same data and port.
    pub fn start_again(&mut self) {
        self.start_again_under(&[]);
    }

    /// Starts it again, and does not wait until it serves.
    pub fn begin_again(&mut self) {
        self.begin(&[]);
    }

    /// As [`Registry::start_again`], under a program as [`Registry::start_under`] has it.
    pub fn start_again_under(&mut self, runner: &[&str]) {
        assert!(self.server.is_none(), "it still runs");
        self.launch(runner);
    }

    /// Ends it as an operator does, waits until it is gone, and checks that it leaves no temporary file.
    #[track_caller]
    pub fn stop(&mut self) {
        self.ask_to_stop();
        self.wait_for_end();
    }

    /// The second half of [`Registry::stop`].
    #[track_caller]
    pub fn wait_for_end(&mut self) {
        let mut server = self.server.take().unwrap();
        let status = end_of(&mut server)
            .unwrap_or_else(|| panic!("the server does not end:\n{}", self.log()));
        assert!(status.success(), "it ended with {status}:\n{}", self.log());
        let left: Vec<PathBuf> = self
            .files()
            .difference(&self.first_files)
            .filter(|path| !is_of_the_store(path))
            .cloned()
            .collect();
        assert!(left.is_empty(), "the server left {left:#?}");
    }

    /// Takes no file that is there now for one that the server leaves: the test or git made it.
    pub fn knows_its_files(&mut self) {
        self.first_files.append(&mut self.files());
    }

    /// Asks it to end and does not wait.
    pub fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Starts a second server on the same data, waits for it to give up, and gives what it said.
    #[track_caller]
    pub fn run_rival(&self) -> String {
        self.run_rival_on(&self.data())
    }

    /// The same on another folder, which leads to the same repository.
    #[track_caller]
    pub fn run_rival_on(&self, data: &Path) -> String {
        let path = self.folder.path().join("rival-log");
        let mut rival = Command::new(program())
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&path).unwrap())
            .spawn()
            .unwrap();
        let status = end_of(&mut rival).unwrap_or_else(|| panic!("a rival serves the same data"));
        assert!(!status.success(), "the rival ended with {status}");
        fs::read_to_string(path).unwrap()
    }

    /// Kills it without any warning.
    pub fn kill(&mut self) {
        let mut server = self.server.take().expect("it runs");
        end_by_force(&mut server);
    }

    /// The id of the server's process.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("it runs").id()
    }

    /// The folder with everything that the registry keeps.
    pub fn data(&self) -> PathBuf {
        // Without symbolic links: so the kernel names it too.
        self.folder.path().canonicalize().unwrap().join(&self.below)
    }

    /// The `.crate` file with this SHA-256.
    pub fn blob(&self, cksum: &str) -> PathBuf {
        self.data().join("blobs").join(&cksum[..2]).join(cksum)
    }

    /// The bare repository of the index.
    pub fn repository(&self) -> PathBuf {
        self.data().join("index.git")
    }

    /// Every file of the data folder, by its path in it; without those of the next pack, which has its place before
    /// anything is written, and another one each time.
    pub fn files(&self) -> BTreeSet<PathBuf> {
        let data = self.data();
        let mut files = files_below(&data);
        files.retain(|path| !is_of_next_pack(&data.join(path)));
        files
    }

    /// The sparse index as Cargo's configuration names it.
    pub fn sparse_index(&self) -> String {
        format!("sparse+http://localhost:{}/crates/index/", self.port)
    }

    /// The git index.
    pub fn git_index(&self) -> String {
        // `localhost`: a literal address gives git's credential helper no host.
        format!("http://localhost:{}/crates/git", self.port)
    }

    /// A token of `user` that may do everything.
    #[track_caller]
    pub fn token(&self, user: &str) -> String {
        self.token_with(user, &[])
    }

    /// A token of `user` made with further arguments.
    #[track_caller]
    pub fn token_with(&self, user: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program());
        command
            .args(["token", "create", user, "--data"])
            .arg(self.data())
            .args(arguments);
        let made = run(&mut command, b"").succeeds();
        let token = made.stdout.trim_end_matches('\n').to_owned();
        assert!(
            !token.is_empty() && !token.contains(char::is_whitespace),
            "the token does not stand alone: {made}"
        );
        self.secrets.lock().unwrap().add_token(&token);
        token
    }

    /// Looks, at the end, for this token of somebody else's wherever the server may have written it.
    pub fn look_for(&self, token: &str) {
        self.lock_secrets().add_token(token);
    }

    /// Runs another command of the program on the same data.
    #[must_use]
    pub fn run(&self, words: &[&str]) -> Ran {
        let mut command = Command::new(program());
        command.args(words).arg("--data").arg(self.data());
        run(&mut command, b"")
    }

    /// Everything that the server has logged, restarts included.
    pub fn log(&self) -> String {
        self.wait_for_log();
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// Waits until the thread that writes the log has written all that was logged until now: then it sleeps.
    fn wait_for_log(&self) {
        let Some(server) = &self.server else { return };
        let tasks = PathBuf::from(format!("/proc/{}/task", server.id()));
        let is_writing = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.contains(" (log) ") && !stat.contains(" (log) S ")
        };
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline
            && fs::read_dir(&tasks)
                .is_ok_and(|mut tasks| tasks.any(|task| task.is_ok_and(is_writing)))
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Looks through all that the server and its commands have written: each secret that stands where it may not, by
    /// the place and the kind.
    ///
    /// Keys belong to the folder `keys` alone, capabilities to the index, and tokens to nobody but their users. The
    /// repository is read as git reads it: objects are compressed.
    pub fn misplaced_secrets(&self) -> Vec<String> {
        let mut secrets = self.lock_secrets();
        let folder = self.folder.path();
        let files = files_below(folder);
        // Tests keep copies of whole registries beside them.
        let is_key = |path: &Path| path.parent().is_some_and(|folder| folder.ends_with("keys"));
        for path in files.iter().filter(|path| is_key(path)) {
            secrets.add_key_file(&fs::read(folder.join(path)).unwrap_or_default());
        }
        let objects = self.objects();
        let mut found = Vec::new();
        let mut look = |place: &str, bytes: &[u8], secrets: &Secrets| {
            let kinds = secrets.found_in(bytes).into_iter();
            found.extend(kinds.map(|kind| format!("{kind} in {place}")));
        };
        look("the objects of the index", &objects, &secrets);
        let mut addresses = Secrets::default();
        for capability in capabilities(&objects) {
            addresses.add_capability(&capability);
        }
        for path in files.iter().filter(|path| !is_key(path)) {
            let whole = folder.join(path);
            // Only what is a file: a socket would wait for somebody who speaks.
            if fs::symlink_metadata(&whole).is_ok_and(|metadata| metadata.is_file()) {
                let bytes = fs::read(&whole).unwrap_or_default();
                let place = path.display().to_string();
                look(&place, &bytes, &secrets);
                look(&place, &bytes, &addresses);
            }
        }
        found
    }

    /// Every object of the index with its content, also those that no commit reaches.
    ///
    /// A repository that a test has broken gives what git can still read.
    fn objects(&self) -> Vec<u8> {
        let words = ["cat-file", "--batch-all-objects", "--batch", "--unordered"];
        let listing = Command::new("git")
            .arg("-C")
            .arg(self.repository())
            .args(words)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        listing.map(|listing| listing.stdout).unwrap_or_default()
    }

    fn lock_secrets(&self) -> MutexGuard<'_, Secrets> {
        // A test that failed while it made a token does not end the search.
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the keys that are there now, for a later key may take their place.
    fn remember_keys(&self) {
        let mut secrets = self.lock_secrets();
        let folder = self.data().join("keys");
        for path in files_below(&folder) {
            secrets.add_key_file(&fs::read(folder.join(path)).unwrap_or_default());
        }
    }

    /// Its configuration; where it listens, it is told otherwise.
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("sidecargo.toml")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn launch(&mut self, runner: &[&str]) {
        let logged_before = self.begin(runner);
        let port = self.wait_for("a line with the address", |registry| {
            listening_port(registry.log().get(logged_before..)?)
        });
        assert!(self.port == 0 || self.port == port, "it chose another port");
        self.port = port;
        self.wait_for("a healthy answer", |registry| {
            let reply = get("/healthz").try_send(registry.port).ok()?;
            (reply.status == 200).then_some(())
        });
        self.remember_keys();
    }

    /// Gives how much was logged before.
    fn begin(&mut self, runner: &[&str]) -> usize {
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.log_path())
            .unwrap();
        let logged_before = usize::try_from(log.metadata().unwrap().len()).unwrap();
        self.server = Some(self.spawn(runner, log));
        logged_before
    }

    fn spawn(&self, runner: &[&str], log: File) -> Child {
        let mut words = runner
            .iter()
            .copied()
            .map(PathBuf::from)
            .collect::<Vec<_>>();
        words.extend([program(), "serve".into()]);
        if self.config_path().is_file() {
            words.extend(["--config".into(), self.config_path()]);
        }
        Command::new(&words[0])
            .args(&words[1..])
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .arg("--data")
            .arg(self.data())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Looks until `look` sees something; ends early when the server has ended.
    fn wait_for<T>(&mut self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(seen) = look(self) {
                return seen;
            }
            let ended = self.server.as_mut().expect("it runs").try_wait().unwrap();
            if ended.is_some() || Instant::now() > deadline {
                panic!("no {what}, exit {ended:?}; the log:\n{}", self.log());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.server.as_ref().expect("it runs"));
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Registry {
    /// Ends it and looks for secrets, also when the test has failed or the end does.
    fn drop(&mut self) {
        let is_failing = std::thread::panicking();
        let ended = catch_unwind(AssertUnwindSafe(|| {
            match (self.server.is_some(), is_failing) {
                (true, true) => {
                    self.kill();
                    eprintln!("the server's log:\n{}", self.log());
                }
                (true, false) => self.stop(),
                (false, _) => {}
            }
        }));
        let misplaced = catch_unwind(AssertUnwindSafe(|| self.misplaced_secrets()));
        match &misplaced {
            Ok(misplaced) if misplaced.is_empty() => {}
            Ok(misplaced) => eprintln!("SECRETS: {misplaced:#?}"),
            Err(_) => eprintln!("the search for secrets has failed"),
        }
        // The first failure of a test is its own; a second one would end all tests.
        if is_failing {
            return;
        }
        if let Err(failure) = ended {
            resume_unwind(failure);
        }
        match misplaced {
            Ok(misplaced) => assert!(misplaced.is_empty(), "secrets are where they may not be"),
            Err(failure) => resume_unwind(failure),
        }
    }
}

/// The program under test: the one that was built with the tests, unless a variable names another build.
pub fn program() -> PathBuf {
    std::env::var_os("SIDECARGO_TEST_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_sidecargo").into(), PathBuf::from)
}

/// Waits for a process to end by itself; if it does not, kills it and gives `None`.
pub fn end_of(process: &mut Child) -> Option<ExitStatus> {
    let status = ended(process);
    if status.is_none() {
        end_by_force(process);
    }
    status
}

/// Who follows its calls could keep a process that is dead.
fn end_by_force(process: &mut Child) {
    process.kill().unwrap();
    assert!(ended(process).is_some(), "it was killed and is still there");
}

fn ended(process: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = process.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    None
}

/// The secret segments of all download addresses that a configuration of the index has had.
fn capabilities(objects: &[u8]) -> BTreeSet<String> {
    let is_segment = |text: &str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    memchr::memmem::find_iter(objects, b"/dl/")
        .filter_map(|at| std::str::from_utf8(objects.get(at + 4..at + 36)?).ok())
        .filter(|text| is_segment(text))
        .map(str::to_owned)
        .collect()
}

fn listening_port(log: &str) -> Option<u16> {
    let (_, after) = log.split_once(LISTENING)?;
    let digits_len = after.find(|c: char| !c.is_ascii_digit())?;
    after[..digits_len].parse().ok()
}

/// Every file below `folder`, by its path in it.
pub fn files_below(folder: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                files.insert(entry.path().strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    files
}

fn is_of_next_pack(path: &Path) -> bool {
    let is_empty = || fs::metadata(path).is_ok_and(|file| file.len() == 0);
    match path.extension().and_then(OsStr::to_str) {
        Some("keep" | "next" | "mark") => true,
        Some("pack") => is_empty(),
        _ => false,
    }
}

/// Whether the registry keeps such a file for good: a blob, a pack or its index, a ref, a file that is spare, a token's
/// record, a key, the caches, the graph of commits, where the branch was before a push, what the forge said last, what one of
/// several servers holds.
fn is_of_the_store(path: &Path) -> bool {
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let name = path.file_name().unwrap().to_str().unwrap();
    let made = [
        "cache/catalog",
        "cache/snapshot",
        "index.git/objects/info/commit-graph",
        "index.git/sidecargo-pushed",
        "forge-repository",
        "closed",
        "blobs/lead",
    ];
    if made.iter().any(|made| path == Path::new(made)) {
        return true;
    }
    if path.starts_with("blobs") {
        return is_hex(name, 64);
    }
    if path.starts_with("spent") {
        return name
            .split_once('-')
            .is_some_and(|(mark, _)| is_hex(mark, 64));
    }
    let stem = name.split('.').next().unwrap();
    if stem == "sidecargo-spare" {
        return path.starts_with("index.git");
    }
    if path.starts_with("tokens") {
        return is_hex(stem, 32);
    }
    if path.starts_with("keys") {
        return name.ends_with(".pk8");
    }
    let is_pack = stem.strip_prefix("pack-").is_some_and(|id| is_hex(id, 40));
    (path.starts_with("index.git/objects/pack") && is_pack)
        || (path.starts_with("index.git/refs") && !name.ends_with(".lock"))
}
