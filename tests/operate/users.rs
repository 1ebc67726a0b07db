//! Other users of the machine than the server's: who push, run a command, or leave what it may not touch.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Resource, getrlimit};
use tempfile::TempDir;

use crate::common::git::git;
use crate::common::http::{get, request};
use crate::common::person::Person;
use crate::common::ran::{Ran, run};
use crate::common::registry::{Registry, program};
use crate::common::tools;
use crate::common::upload::Release;
use crate::common::watch::eventually;
use crate::operate::ready::wait_for;

const LINES: &str = "fo/o-/foo-bar";
/// The server's user, which is nobody's on this machine, and its group.
const SERVER: u32 = 10_001;
/// That of a server which is alone with its user.
const ALONE: u32 = 10_003;
/// A developer in the server's group.
const DEVELOPER: u32 = 10_002;
/// Git heeds this on its command line alone, and would not touch what is another user's.
const SAFE: &str = "safe.directory=*";

/// A registry whose server is a user of its own, and a clone in which root works.
struct Shared {
    registry: Registry,
    server: u32,
    person: Person,
    token: String,
    setpriv: String,
    /// The program where every user reaches it.
    program: TempDir,
    umask: String,
}

impl Shared {
    /// With `foo-bar` 1.0.0; `None` after the test was reported as skipped.
    fn new() -> Option<Self> {
        Self::served_by(SERVER)
    }

    fn served_by(server: u32) -> Option<Self> {
        let setpriv = tools::setpriv()?.to_str().unwrap().to_owned();
        // It never looks after its branch by itself, so nothing is set right before it is looked at.
        let mut registry = Registry::start_with("[index]\npoll_secs = 86400\n");
        let token = registry.token("alice");
        let release = Release::new("foo-bar", "1.0.0");
        release.publish(registry.port, &token).succeeds();
        let person = Person::of(&registry);
        registry.stop();
        let data = registry.data();
        set_mode(data.parent().unwrap(), 0o755);
        give_to(server, &data);
        let program = format!("git -c {SAFE} upload-pack");
        person.git(&["config", "remote.origin.uploadpack", &program]);
        let mut shared = Self {
            registry,
            server,
            person,
            token,
            setpriv,
            program: program_for_all(),
            umask: "0022".to_owned(),
        };
        shared.start();
        Some(shared)
    }

    /// Starts the server.
    fn start(&mut self) {
        let copy = self.program.path().join("sidecargo");
        let mut words = self.as_user(self.server);
        // The first word is the program where it was built, which not every user may reach.
        let script = format!("umask {}; shift; exec \"$0\" \"$@\"", self.umask);
        words.extend(["sh", "-c", &script].map(str::to_owned));
        words.push(copy.to_str().unwrap().to_owned());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.registry.start_again_under(&words);
    }

    fn start_anew(&mut self) {
        self.registry.knows_its_files();
        self.registry.stop();
        self.start();
    }

    /// As systemd does it with such a umask, and such a mode of the data folder.
    fn start_as(&mut self, (umask, mode): (String, u32)) {
        self.umask = umask;
        set_mode(&self.registry.data(), mode);
        self.start_anew();
    }

    /// What runs a program as a user in the server's group.
    fn as_user(&self, user: u32) -> Vec<String> {
        as_user(&self.setpriv, user)
    }

    fn publishes(&self, version: &str) {
        let release = Release::new("foo-bar", version);
        release.publish(self.registry.port, &self.token).succeeds();
    }

    /// Yanks, or takes that back, and pushes; `words` run the program that takes it in.
    #[must_use]
    fn push(&self, words: &[String]) -> Ran {
        self.change();
        let program = format!(
            "--receive-pack={} git -c {SAFE} receive-pack",
            words.join(" ")
        );
        let words = ["push", &program, "origin", "HEAD:main"];
        git(&self.person.path(), &words)
    }

    /// Yanks, or takes that back.
    fn change(&self) {
        self.person.catch_up();
        let lines = self.person.read(LINES);
        let (before, after) = ("\"yanked\":false", "\"yanked\":true");
        let lines = match lines.contains(before) {
            true => lines.replace(before, after),
            false => lines.replace(after, before),
        };
        self.person.write(LINES, &lines).commit("by hand");
    }

    /// `words` run the program that reads the repository.
    #[must_use]
    fn clone_as(&self, words: &[String]) -> Ran {
        let folder = TempDir::new().unwrap();
        let program = format!(
            "--upload-pack={} git -c {SAFE} upload-pack",
            words.join(" ")
        );
        let repository = self.registry.repository();
        let words = ["clone", "--no-local", &program];
        let rest = [repository.to_str().unwrap(), "clone"];
        git(folder.path(), &[&words[..], &rest].concat())
    }

    /// As root.
    fn update_ref(&self, name: &str, commit: &str) {
        let words = ["-c", SAFE, "update-ref", name, commit];
        git(&self.registry.repository(), &words).succeeds();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.registry.repository().join(name)
    }

    fn owner(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().uid()
    }
}

impl Drop for Shared {
    /// What looks at the registry at its end is root, of whom git wants to know whose it is.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.registry.knows_its_files();
            self.registry.stop();
        }
        give_to(0, &self.registry.data());
    }
}

/// A folder with the program that every user reaches.
fn program_for_all() -> TempDir {
    let folder = TempDir::new().unwrap();
    let copy = folder.path().join("sidecargo");
    fs::hard_link(program(), &copy)
        .or_else(|_| fs::copy(program(), &copy).map(drop))
        .unwrap();
    set_mode(folder.path(), 0o755);
    folder
}

fn as_user(setpriv: &str, user: u32) -> Vec<String> {
    let (user, group) = (format!("--reuid={user}"), format!("--regid={SERVER}"));
    let words = [setpriv, &user, &group, "--clear-groups"];
    words.map(str::to_owned).to_vec()
}

fn give_to(user: u32, folder: &Path) {
    let owner = format!("{user}:{user}");
    run(Command::new("chown").arg("-R").arg(owner).arg(folder), b"").succeeds();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_another_user_moved_is_moved_on_by_the_server() {
    let Some(mut shared) = Shared::new() else {
        return;
    };
    let served = "refs/namespaces/served/refs/heads/main";
    shared.push(&[]).succeeds();
    // The server has taken it up at once, and goes on with both files by turns.
    assert_eq!(shared.owner("refs/heads/sidecargo-spare.lock"), 0);
    for version in ["1.1.0", "1.2.0", "1.3.0"] {
        shared.publishes(version);
    }
    // The command that a refusal names, and others that people try.
    shared.person.catch_up();
    let good = shared.person.git(&["rev-parse", "HEAD"]);
    let before = shared.person.git(&["rev-parse", "HEAD^"]);
    for name in ["refs/heads/main", served] {
        shared.update_ref(name, &before);
        shared.update_ref(name, &good);
        assert_eq!(shared.owner(name), 0);
    }
    for name in ["sidecargo-shown", "sidecargo-pushed"] {
        chown(shared.path(name), Some(0), Some(0)).unwrap();
    }
    for version in ["2.0.0", "2.1.0", "2.2.0"] {
        shared.publishes(version);
    }
    for name in ["refs/heads/main", served, "sidecargo-shown"] {
        assert_eq!(shared.owner(name), SERVER, "{name}");
    }
    let by_server = shared.as_user(SERVER);
    shared.push(&by_server).succeeds();
    assert_eq!(shared.owner("sidecargo-pushed"), SERVER);
    shared.push(&[]).succeeds();
    shared.start_anew();
    shared.publishes("3.0.0");
    shared.registry.run(&["verify"]).succeeds();
}

/// What the unit of systemd, or something put into it, says: the umask, and the mode of the data folder at each start.
fn said_in(unit: &str) -> (String, u32) {
    let said = |key: &str| {
        let mut lines = unit.lines().filter_map(|line| line.strip_prefix(key));
        lines.next().unwrap().to_owned()
    };
    let mode = u32::from_str_radix(&said("StateDirectoryMode="), 8).unwrap();
    (said("UMask="), mode)
}

/// What OPERATIONS.md says in this language about pushes of another user.
fn documented(language: &str) -> String {
    let text = read_source("OPERATIONS.md");
    let (_, section) = text.split_once("\n## Push as another user\n").unwrap();
    let (_, block) = section.split_once(&format!("```{language}\n")).unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

fn read_source(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn a_developer_in_the_servers_group_pushes_and_reads_once_the_unit_lets_them() {
    let Some(mut shared) = Shared::new() else {
        return;
    };
    let data = shared.registry.data();
    let by_developer = shared.as_user(DEVELOPER);
    let opened = documented("sh").replace("DATA", data.to_str().unwrap());
    let open = || run(Command::new("sh").args(["-ec", &opened]), b"").succeeds();
    shared.start_as(said_in(&read_source("packaging/sidecargo.service")));
    open();
    shared.clone_as(&by_developer).succeeds();
    shared.push(&by_developer).succeeds();
    shared.publishes("1.1.0");
    // What the server made since then is closed.
    let cloned = shared.clone_as(&by_developer);
    assert!(!cloned.is_success(), "{cloned}");
    shared.start_as(said_in(&documented("ini")));
    open();
    for version in ["1.2.0", "1.3.0", "1.4.0"] {
        shared.push(&by_developer).succeeds();
        assert_eq!(shared.owner("refs/heads/main"), DEVELOPER);
        assert_eq!(shared.owner("sidecargo-pushed"), DEVELOPER);
        shared.publishes(version);
        shared.clone_as(&by_developer).succeeds();
    }
    shared.start_as(said_in(&documented("ini")));
    shared.push(&by_developer).succeeds();
    shared.publishes("1.5.0");
    shared.clone_as(&by_developer).succeeds();
}

#[test]
fn a_push_that_cannot_be_made_durable_changes_nothing_and_names_what_is_closed() {
    let Some(shared) = Shared::new() else {
        return;
    };
    let opened = documented("sh").replace("DATA", shared.registry.data().to_str().unwrap());
    run(Command::new("sh").args(["-ec", &opened]), b"").succeeds();
    set_mode(&shared.registry.repository(), 0o755);
    let by_developer = shared.as_user(DEVELOPER);
    let tip = || fs::read_to_string(shared.path("refs/heads/main")).unwrap();
    let before = tip();
    let said = format!(
        "cannot be made durable: {}: Permission denied (os error 13); nothing was changed: let whoever pushes write to the folder {},",
        shared.path("sidecargo-pushed").display(),
        shared.registry.repository().display()
    );
    shared.push(&by_developer).fails_with(&said);
    assert_eq!(tip(), before);
    set_mode(&shared.registry.repository(), 0o775);
    shared.push(&by_developer).succeeds();
}

#[test]
fn keys_and_records_are_their_owners_alone_whatever_the_umask() {
    let Some(mut shared) = Shared::new() else {
        return;
    };
    let data = shared.registry.data();
    shared.start_as(("0000".to_owned(), 0o755));
    shared.registry.run(&["key", "rotate"]).succeeds();
    let by_server = shared.as_user(SERVER);
    let mut command = Command::new(&by_server[0]);
    command.args(&by_server[1..]);
    command.args([
        "sh",
        "-c",
        "umask 0000; exec \"$0\" token create bob --data \"$1\"",
    ]);
    command.arg(shared.program.path().join("sidecargo"));
    run(command.arg(&data), b"").succeeds();
    let closed = ["keys", "tokens", "control.sock"].map(|name| data.join(name));
    let mut find = Command::new("find");
    let open = run(find.args(&closed).args(["-perm", "/077"]), b"").succeeds();
    assert_eq!(open.stdout, "");
}

#[test]
fn a_developer_whose_key_runs_one_program_pushes_and_reaches_nothing_else() {
    let Some(shared) = Shared::new() else {
        return;
    };
    // What sshd does for a key with this command, but for the network: whatever it is asked for, it runs that.
    let ssh = shared.program.path().join("ssh");
    let user = shared.as_user(SERVER).join(" ");
    let repository = shared.registry.repository();
    let script = format!(
        "#!/bin/sh\nexec env -i HOME=/ PATH=\"$PATH\" {user} git-receive-pack {}\n",
        repository.display()
    );
    fs::write(&ssh, script).unwrap();
    set_mode(&ssh, 0o755);
    let push_to = |path: &Path, words: &[&str]| {
        let url = format!("ssh://registry{}", path.display());
        let command = format!("core.sshCommand={}", ssh.display());
        let by = ["-c", &command, "-c", "ssh.variant=simple", "push"];
        git(
            &shared.person.path(),
            &[&by, words, &[&*url, "HEAD:main"]].concat(),
        )
    };
    let push = |words: &[&str]| push_to(&repository, words);
    for _ in 0..2 {
        shared.change();
        // It is served at once, though the server never looks by itself.
        push(&[]).succeeds();
        assert_eq!(shared.owner("refs/heads/main"), SERVER);
        let tip = shared.person.git(&["rev-parse", "HEAD"]);
        let shown = fs::read_to_string(shared.path("sidecargo-shown")).unwrap();
        assert_eq!(shown.trim_end(), tip);
    }
    shared.person.catch_up();
    shared.person.write(LINES, "").commit("a line less");
    push(&[]).fails_with("foo-bar");
    push(&["--receive-pack=git -c core.hooksPath=/dev/null receive-pack"]).fails_with("foo-bar");
    // A backup has no hooks.
    let backup = shared.program.path().join("backup");
    let words = ["backup", backup.to_str().unwrap()];
    shared.registry.run(&words).succeeds();
    give_to(SERVER, &backup);
    push_to(&backup.join("index.git"), &[]).fails_with("foo-bar");
    let words = ["verify", "--data", backup.to_str().unwrap()];
    run(Command::new(program()).args(words), b"").succeeds();
    shared.publishes("1.1.0");
}

#[test]
fn what_a_push_left_closed_is_to_be_opened_and_not_taken_back() {
    let Some(mut shared) = Shared::new() else {
        return;
    };
    let closed = ["umask 077;".to_owned()];
    let pushed = shared.push(&closed).succeeds();
    let repository = shared.registry.repository();
    let advice = format!(
        "Permission denied (os error 13); nothing of it is lost: give what is in {} to the server's user (`chown -R`)",
        repository.display()
    );
    let is_told = |said: &str| {
        assert!(said.contains(&advice), "{said}");
        assert!(!said.contains("update-ref"), "{said}");
    };
    is_told(&pushed.stderr);
    is_told(&wait_for(&shared.registry, 503));
    // The branch alone is not all that came.
    chown(shared.path("refs/heads/main"), Some(SERVER), Some(SERVER)).unwrap();
    let packs = shared.path("objects/pack").display().to_string();
    let refusal = |shared: &Shared| {
        let release = Release::new("foo-bar", "1.1.0");
        let refused = release.publish(shared.registry.port, &shared.token);
        assert_eq!(refused.status, 503, "{refused:?}");
        refused.refusal()
    };
    for _ in 0..2 {
        let said = refusal(&shared);
        is_told(&said);
        assert!(said.contains(&packs), "{said}");
        shared.start_anew();
    }
    give_to(SERVER, &repository);
    let deadline = Instant::now() + Duration::from_secs(60);
    let release = Release::new("foo-bar", "1.1.0");
    while release.publish(shared.registry.port, &shared.token).status != 200 {
        assert!(Instant::now() < deadline, "it is open for a minute");
        std::thread::sleep(Duration::from_millis(100));
    }
    wait_for(&shared.registry, 200);
    let lines = get(format!("/crates/index/{LINES}")).send(shared.registry.port);
    assert!(lines.succeeds().text().contains("\"yanked\":true"));
}

#[test]
fn what_another_user_left_or_has_under_way_hinders_no_start() {
    let Some(mut shared) = Shared::new() else {
        return;
    };
    // A push that is under way, one that was killed, and single objects.
    let files = [
        ("objects/tmp_objdir-incoming-a", "tmp_pack_a", 0o700),
        ("objects/tmp_objdir-incoming-b", "tmp_pack_b", 0o755),
        ("objects/tmp_apart-other", "pack-c.pack", 0o755),
        ("objects/aa", "tmp_obj_d", 0o755),
        ("objects/bb", "0123456789", 0o700),
    ];
    for (folder, name, mode) in files {
        let folder = shared.path(folder);
        fs::create_dir(&folder).unwrap();
        let file = File::create(folder.join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        set_mode(&folder, mode);
    }
    shared.push(&[]).succeeds();
    set_mode(&shared.path("sidecargo-pushed"), 0o600);
    shared.start_anew();
    let log = shared.registry.log();
    for (folder, ..) in files {
        let path = format!("path={}", shared.path(folder).display());
        let mut lines = log.lines();
        let told = lines.any(|line| line.contains("WARN") && line.contains(&path));
        assert!(told, "{folder}: {log}");
    }
    assert!(
        log.contains("index.git/sidecargo-pushed: Permission denied"),
        "{log}"
    );
    shared.publishes("1.1.0");
    // What is to be read is another matter: that is named.
    chown(shared.path("objects/pack"), Some(0), Some(0)).unwrap();
    let refused = Release::new("foo-bar", "1.2.0").publish(shared.registry.port, &shared.token);
    assert_eq!(refused.status, 503, "{refused:?}");
    chown(shared.path("objects/pack"), Some(SERVER), Some(SERVER)).unwrap();
    shared.publishes("1.2.0");
}

#[test]
fn root_leaves_nothing_in_the_registry_of_the_servers_user() {
    let Some(mut shared) = Shared::new() else {
        return;
    };
    let data = shared.registry.data();
    let refused = refusal_of_root(&data);
    let create = ["token", "create", "bob"];
    let revoke = ["token", "revoke", "00000000000000000000000000000001"];
    let rotate = ["key", "rotate"];
    let by_root = |shared: &Shared, words: &[&str]| shared.registry.run(words);
    by_root(&shared, &create).fails_with(&refused);
    // What the server does itself, root may ask it for.
    by_root(&shared, &revoke).succeeds();
    shared.registry.stop();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    for words in [&create[..], &revoke, &rotate, &serve] {
        by_root(&shared, words).fails_with(&refused);
    }
    let by_server = shared.as_user(SERVER);
    let copy = shared.program.path().join("sidecargo");
    for words in [&create[..], &revoke, &rotate] {
        let mut command = Command::new(&by_server[0]);
        command.args(&by_server[1..]).arg(&copy).args(words);
        run(command.arg("--data").arg(&data), b"").succeeds();
    }
    let of_root = run(Command::new("find").arg(&data).args(["-user", "0"]), b"").succeeds();
    assert_eq!(of_root.stdout, "");
    shared.start();
    shared.registry.knows_its_files();
}

fn refusal_of_root(data: &Path) -> String {
    format!(
        "the data folder {0} is that of user {SERVER}, whose server could not read what root writes there; run this as that user (`sudo -u '#{SERVER}' sidecargo …`, a container with `--user {SERVER}`), or if root shall run the server from now on give it all to root: `chown -R root {0}`",
        data.display()
    )
}

#[test]
fn root_begins_no_registry_in_a_folder_of_another_user() {
    let Some(setpriv) = tools::setpriv() else {
        return;
    };
    let folder = program_for_all();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    give_to(SERVER, &data);
    set_mode(&data, 0o700);
    let create = ["token", "create", "alice", "--data"];
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data"];
    for words in [&create[..], &serve] {
        let mut by_root = Command::new(program());
        run(by_root.args(words).arg(&data), b"").fails_with(&refusal_of_root(&data));
        assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
    }
    let by_server = |words: &[&str]| {
        let runner = as_user(setpriv.to_str().unwrap(), SERVER);
        let mut command = Command::new(&runner[0]);
        command.args(&runner[1..]);
        command.arg(folder.path().join("sidecargo"));
        run(command.args(words).arg(&data), b"")
    };
    // As root left it before it was refused.
    File::create(data.join("lock")).unwrap();
    for words in [&create[..], &serve] {
        let told = by_server(words);
        told.fails_with(&format!(
            "the data folder {0} cannot be used; run this as the user who owns it, and let that user own all that is in it (`chown -R`): {0}/lock: Permission denied",
            data.display()
        ));
    }
    give_to(SERVER, &data);
    by_server(&create).succeeds();
    // One that begins where nothing is, root may run.
    let mut by_root = Command::new(program());
    let begun = folder.path().join("begun");
    run(by_root.args(create).arg(begun), b"").succeeds();
}

#[test]
fn a_file_that_the_server_may_not_read_is_named_and_no_restore_advised() {
    let Some(mut shared) = Shared::new() else {
        return;
    };
    shared.registry.stop();
    let words = ["sh", "-c", "ls objects/pack/*.pack | head -1"];
    let found = run(
        Command::new(words[0])
            .args(&words[1..])
            .current_dir(shared.registry.repository()),
        b"",
    );
    let pack = found.succeeds().stdout.trim_end().to_owned();
    let fails_with = |closed: &str, sentence: &str| {
        let by_server = shared.as_user(SERVER);
        let mut command = Command::new(&by_server[0]);
        command.args(&by_server[1..]);
        command.arg(shared.program.path().join("sidecargo"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]);
        let mode = fs::metadata(shared.path(closed)).unwrap().permissions();
        chown(shared.path(closed), Some(0), Some(0)).unwrap();
        set_mode(&shared.path(closed), 0o600);
        let ran = run(command.arg(shared.registry.data()), b"");
        chown(shared.path(closed), Some(SERVER), Some(SERVER)).unwrap();
        fs::set_permissions(shared.path(closed), mode).unwrap();
        let ran = ran.fails_with(sentence);
        assert!(!ran.stderr.contains("restore"), "{ran}");
    };
    let path = |name: &str| shared.path(name).display().to_string();
    let sentence = format!(
        "`{}`: it may not be read: Permission denied (os error 13); nothing of it is lost: give it to the server's user (`chown`); once that is done, start again",
        path(&pack)
    );
    fails_with(&pack, &sentence);
    for name in ["config", "refs/heads/main", "objects/pack"] {
        fails_with(name, &format!("{}: Permission denied", path(name)));
    }
    shared.start();
    shared.publishes("1.1.0");
}

#[test]
fn root_backs_up_and_restores_a_registry_of_the_servers_user() {
    let Some(mut shared) = Shared::new() else {
        return;
    };
    let scratch = TempDir::new().unwrap();
    // As no shell and no git would have it without quotes.
    let scratch = scratch.path().join("it's \"$HOME\"\n = `back` up");
    let path = |name: &str| scratch.join(name).to_str().unwrap().to_owned();
    let (backup, restored) = (path("backup"), path("restored"));
    let ran = shared.registry.run(&["backup", &backup]).succeeds();
    assert!(
        ran.stdout.contains("crate files: 1, copied now: 1"),
        "{ran}"
    );
    shared.publishes("1.1.0");
    shared.registry.run(&["backup", &backup]).succeeds();
    // Such a backup is in the hands of the server's user where its own timer makes it.
    give_to(SERVER, Path::new(&backup));
    for data in [&restored, &path("again")] {
        let words = ["restore", &backup, "--data", data];
        let ran = run(Command::new(program()).args(words), b"").succeeds();
        assert!(
            ran.stdout.contains("crate files: 2, copied now: 2"),
            "{ran}"
        );
        // And so is what is restored, once it was given to it.
        give_to(SERVER, Path::new(data));
        let words = ["backup", &path("backup of it"), "--data", data];
        run(Command::new(program()).args(words), b"").succeeds();
        let words = ["verify", "--data", data];
        run(Command::new(program()).args(words), b"").succeeds();
    }
    shared.registry.knows_its_files();
    shared.start_anew();
}

/// How many tasks of a user there are, by which the kernel limits them.
fn tasks_of(user: u32) -> u64 {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let is_its = |folder: &PathBuf| fs::metadata(folder).is_ok_and(|found| found.uid() == user);
    let folders = processes.map(|process| process.path().join("task"));
    let tasks = folders
        .filter(is_its)
        .filter_map(|folder| fs::read_dir(folder).ok());
    tasks.map(Iterator::count).sum::<usize>() as u64
}

#[test]
fn a_moment_without_processes_or_threads_ends_no_writer() {
    let Some(shared) = Shared::served_by(ALONE) else {
        return;
    };
    let limit = |tasks: Option<u64>| {
        // Of a process of another user not even root may change it everywhere.
        let mut words = shared.as_user(ALONE);
        let soft = tasks.map_or("unlimited".to_owned(), |tasks| tasks.to_string());
        words.extend(["prlimit".to_owned(), format!("--nproc={soft}:")]);
        words.push(format!("--pid={}", shared.registry.pid()));
        run(Command::new(&words[0]).args(&words[1..]), b"").succeeds();
    };
    let found = getrlimit(Resource::Nproc).current;
    for free in 0..4 {
        // The hooks would tell the server before there is a limit.
        shared.change();
        let program =
            format!("--receive-pack=git -c {SAFE} -c core.hooksPath=/dev/null receive-pack");
        git(
            &shared.person.path(),
            &["push", &program, "origin", "HEAD:main"],
        )
        .succeeds();
        limit(Some(tasks_of(ALONE) + free));
        // The commit is copied for it, by a program to whom two threads listen.
        let path = "/crates/api/v1/crates/foo-bar/1.0.0/yank";
        let asked = request("DELETE", path).token(&shared.token);
        let _ = asked.send(shared.registry.port);
        limit(found);
        get("/healthz").send(shared.registry.port).succeeds();
    }
    let release = Release::new("foo-bar", "1.1.0");
    eventually("it is written again", || {
        let reply = release.publish(shared.registry.port, &shared.token);
        (reply.status == 200).then_some(())
    });
}
