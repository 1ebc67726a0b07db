//! Several servers with the same keys and the same store race on one forge, and are killed meanwhile.
//!
//! What was acknowledged is there, once and for all of them; the history is one line; each one's own proof holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::RecvTimeoutError::Disconnected;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::api::text;
use super::between::{Between, Step, Trouble};
use super::gitea::Gitea;
use super::scene::Visibility;
use crate::common::git::{self, git};
use crate::common::http::{get, request};
use crate::common::registry::{Registry, Start};
use crate::common::upload::Release;
use crate::common::watch::eventually;

/// The variable that asks for many rounds, if it is 1.
const LONG: &str = "SIDECARGO_TEST_LONG";
const ROUNDS_LONG: usize = 40;
/// Who publish at the same time, and how often in a round.
const CLIENTS: usize = 6;
const UPLOADS: usize = 3;
/// How often a publish is tried whose outcome is not known.
const TRIES_MAX: usize = 20;
/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How often they want the same name and version in a round.
const CONTESTS: usize = 1;

/// One of the servers, with something between it and the forge.
struct Sidecar {
    registry: Registry,
    between: Between,
}

struct Fleet {
    sidecars: Vec<Sidecar>,
    repository: PathBuf,
    token: String,
    _folder: TempDir,
    /// Every version that is in the index, with the checksum of its file.
    published: BTreeMap<(String, String), String>,
}

/// When the victim of a round dies.
#[derive(Debug, Clone, Copy)]
enum Death {
    /// Once so many uploads were answered.
    After(usize),
    /// While a push of it is on its way, which comes to the forge before it is there again.
    InFlight,
    /// The same, but the push comes after the others have gone on.
    Overtaken,
}

/// What became of the uploads of a round.
#[derive(Default)]
struct Seen {
    acknowledged: Vec<Release>,
    /// Not known, or not done.
    open: Vec<Release>,
}

impl Fleet {
    /// Starts so many at the same time: on an empty repository, with nothing in the folders that they share.
    fn start(forge: &Gitea, count: usize) -> Self {
        Self::start_and_look_each(forge, count, 1)
    }

    fn start_and_look_each(forge: &Gitea, count: usize, poll_secs: u64) -> Self {
        let (owner, robot) = (forge.user("olga"), forge.user("robot"));
        let repository = forge.empty_repository(&owner.login, "crates", Visibility::Public);
        forge.collaborate(&repository, &robot, "write");
        let folder = TempDir::new().unwrap();
        let token_file = folder.path().join("token");
        fs::write(&token_file, forge.token(&robot, &["write:repository"]).text).unwrap();
        for shared in ["keys", "blobs"] {
            fs::create_dir(folder.path().join(shared)).unwrap();
        }
        let start = || {
            let between = Between::start(forge.port);
            let config = format!(
                "public_url = \"http://localhost:1\"\n[forge]\nurl = \"{}\"\n\
                 repository = \"{}/crates\"\ntoken_file = \"{}\"\npoll_secs = {poll_secs}\n",
                between.url(),
                owner.login,
                token_file.display(),
            );
            let registry = Registry::start_so(Start {
                config: &config,
                shared: Some(folder.path()),
                ..Start::default()
            });
            Sidecar { registry, between }
        };
        let sidecars: Vec<Sidecar> = thread::scope(|scope| {
            let starts: Vec<_> = (0..count).map(|_| scope.spawn(start)).collect();
            { starts.into_iter() }
                .map(|start| start.join().unwrap())
                .collect()
        });
        let git_dir = format!("data/gitea-repositories/{}/crates.git", owner.login);
        Self {
            token: sidecars[0].registry.token("alice"),
            sidecars,
            repository: forge.folder().join(git_dir),
            _folder: folder,
            published: BTreeMap::new(),
        }
    }

    /// Everybody publishes while one dies and is started again; then all that must hold is looked at.
    fn round(&mut self, round: usize, death: Death) {
        println!("round {round}: {death:?}");
        let victim = round % self.sidecars.len();
        let ports: Vec<u16> = { self.sidecars.iter() }
            .map(|sidecar| sidecar.registry.port)
            .collect();
        let token = self.token.clone();
        let (tell, told) = channel();
        if let Death::InFlight | Death::Overtaken = death {
            self.sidecars[victim]
                .between
                .next(Step::Push, &[Trouble::Hold]);
        }
        let seen = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (ports, token, tell) = (&ports, &token, tell.clone());
                    scope.spawn(move || work(round, client, ports, token, &tell))
                })
                .collect();
            drop(tell);
            self.sidecars[victim].die(death, &told);
            let seen = clients.into_iter().map(|client| client.join().unwrap());
            seen.collect::<Vec<Seen>>()
        });
        let mut open = Vec::new();
        for seen in seen {
            for release in seen.acknowledged {
                let cksum = release.cksum();
                let before = self.published.insert(key(&release), cksum);
                assert_eq!(before, None, "{:?} is acknowledged twice", key(&release));
            }
            open.extend(seen.open);
        }
        self.settle(open);
        self.check();
    }

    /// What is not known is looked for, and made again where it is not there.
    fn settle(&mut self, open: Vec<Release>) {
        self.wait_for_one_tip();
        let there = self.lines();
        for (number, release) in open.into_iter().enumerate() {
            match there.get(&key(&release)) {
                Some(cksum) if *cksum == release.cksum() => {
                    self.published.insert(key(&release), cksum.clone());
                }
                // A contest that somebody else has won.
                Some(_) => {}
                None => {
                    let sidecar = number % self.sidecars.len();
                    let status = self.publish_surely(sidecar, &release, &self.token);
                    match self.published.get(&key(&release)) {
                        None => {
                            self.published.insert(key(&release), release.cksum());
                        }
                        // Another of its contest was made again before.
                        Some(_) => assert_eq!(status, 409),
                    }
                }
            }
        }
    }

    /// Publishes until it is known what became of it: a forge on a busy machine may be slower than is waited for.
    #[track_caller]
    fn publish_surely(&self, sidecar: usize, release: &Release, token: &str) -> u16 {
        let port = self.sidecars[sidecar].registry.port;
        for _ in 0..TRIES_MAX {
            let reply = release.publish(port, token);
            if reply.status != 503 {
                assert!([200, 409].contains(&reply.status), "{reply:?}");
                let is_ours = self.lines().get(&key(release)) == Some(&release.cksum());
                return if is_ours { 200 } else { 409 };
            }
        }
        panic!("{:?} is not taken", key(release));
    }

    /// All are where the forge is.
    fn wait_for_one_tip(&self) {
        let tip = git::tip(&self.repository);
        for sidecar in &self.sidecars {
            eventually("all serve the same tip", || {
                let served = git(
                    &sidecar.registry.repository(),
                    &["rev-parse", "refs/namespaces/served/refs/heads/main"],
                );
                (served.succeeds().stdout.trim() == tip).then_some(())
            });
        }
        assert_eq!(git::tip(&self.repository), tip);
    }

    /// Each version of the forge's index with its checksum; none is there twice.
    fn lines(&self) -> BTreeMap<(String, String), String> {
        let listed = git(&self.repository, &["ls-tree", "-r", "--name-only", "main"]).succeeds();
        let is_index = |path: &&str| path.starts_with("cr/at/") || path.starts_with("co/nt/");
        let mut lines = BTreeMap::new();
        for path in listed.stdout.lines().filter(is_index) {
            let file = git(&self.repository, &["show", &format!("main:{path}")]).succeeds();
            for line in file.stdout.lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                let key = (text(&line, "name"), text(&line, "vers"));
                let before = lines.insert(key, text(&line, "cksum"));
                assert_eq!(before, None, "{line}");
            }
        }
        lines
    }

    /// Nothing is lost, nothing came from nowhere, and the history is one line that each one's own proof accepts.
    fn check(&self) {
        self.wait_for_one_tip();
        assert_eq!(self.lines(), self.published);
        let merges = ["rev-list", "--count", "--min-parents=2", "main"];
        let merges = git(&self.repository, &merges).succeeds();
        assert_eq!(merges.stdout.trim(), "0");
        let log = git(&self.repository, &["log", "--format=%s", "main"]).succeeds();
        let mut subjects: Vec<&str> = { log.stdout.lines() }
            .filter(|subject| subject.starts_with("publish "))
            .collect();
        let count = subjects.len();
        assert_eq!(count, self.published.len());
        subjects.sort_unstable();
        subjects.dedup();
        assert_eq!(subjects.len(), count, "a version was published twice");
        git::assert_sound(&self.repository);
        for sidecar in &self.sidecars {
            let report = sidecargo::audit::verify(&sidecar.registry.data(), None, &mut |_| {});
            let faults = report.unwrap().faults;
            assert!(faults.is_empty(), "{faults:?}");
            for name in names() {
                let path = format!("/crates/index/{}/{}/{name}", &name[..2], &name[2..4]);
                let reply = get(path).send(sidecar.registry.port);
                let lines = match reply.status {
                    404 => 0,
                    _ => reply.succeeds().text().lines().count(),
                };
                let expected = self.published.keys().filter(|(known, _)| *known == name);
                assert_eq!(lines, expected.count(), "{name}");
            }
        }
    }
}

impl Death {
    /// One by chance.
    fn any() -> Self {
        let mut bytes = [0; 2];
        getrandom::fill(&mut bytes).unwrap();
        match bytes[0] % 4 {
            0 => Self::InFlight,
            1 => Self::Overtaken,
            _ => Self::After(usize::from(bytes[1]) % (CLIENTS * UPLOADS / 2)),
        }
    }
}

impl Sidecar {
    /// Is killed in this way, and started again.
    fn die(&mut self, death: Death, answered: &Receiver<()>) {
        match death {
            Death::After(count) => {
                // All are done if there are fewer.
                let _ = answered.iter().take(count).count();
                self.registry.kill();
            }
            Death::InFlight | Death::Overtaken => {
                // If all are done before, its pushes came to nothing.
                let is_over = || matches!(answered.recv_timeout(LOOK_AGAIN), Err(Disconnected));
                while self.between.held() == 0 && !is_over() {}
                self.registry.kill();
                if let Death::Overtaken = death {
                    self.registry.start_again();
                }
                self.between.let_go();
                self.between.wait_until_none_is_held();
            }
        }
        if !matches!(death, Death::Overtaken) {
            self.registry.start_again();
        }
    }
}

/// Publishes to one server after the other, each time a version of its own or one that all want.
fn work(round: usize, client: usize, ports: &[u16], token: &str, tell: &Sender<()>) -> Seen {
    let mut seen = Seen::default();
    for number in 0..UPLOADS + CONTESTS {
        let release = match number.checked_sub(UPLOADS) {
            None => Release::new(&format!("crate-{client}"), &format!("{round}.{number}.0")),
            Some(contest) => {
                let source = format!("pub const CLIENT: u32 = {client};\n");
                let version = format!("{round}.{contest}.0");
                Release::with_source("contest", &version, &source)
            }
        };
        let port = ports[(client + number) % ports.len()];
        let answer = release.request(token).try_send(port);
        // Nobody may listen any more.
        let _ = tell.send(());
        match answer {
            Ok(reply) if reply.status == 200 => seen.acknowledged.push(release),
            Ok(reply) if reply.status == 409 && number >= UPLOADS => {}
            Ok(reply) => {
                assert_eq!(reply.status, 503, "{reply:?}");
                seen.open.push(release);
            }
            // It is dead, or died meanwhile.
            Err(_) => seen.open.push(release),
        }
    }
    seen
}

fn key(release: &Release) -> (String, String) {
    (release.name.clone(), release.version.clone())
}

fn names() -> impl Iterator<Item = String> {
    let own = (0..CLIENTS).map(|client| format!("crate-{client}"));
    own.chain(["contest".to_owned()])
}

/// One at a time: each wants the forge for itself.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn two_servers_that_are_killed_lose_nothing_and_do_nothing_twice() {
    race(2, &[Death::After(4), Death::InFlight]);
}

#[test]
fn three_servers_that_are_killed_lose_nothing_and_do_nothing_twice() {
    race(3, &[Death::Overtaken]);
}

/// Lets so many servers race, and die in these ways; where many rounds are asked for, in all ways.
fn race(count: usize, deaths: &[Death]) {
    let Some(forge) = Gitea::shared() else { return };
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut fleet = Fleet::start(forge, count);
    let is_long = std::env::var(LONG).is_ok_and(|value| value == "1");
    let rounds = if is_long { ROUNDS_LONG } else { deaths.len() };
    for round in 0..rounds {
        let death = match deaths.get(round) {
            Some(death) => *death,
            None => Death::any(),
        };
        fleet.round(round, death);
    }
}

#[test]
fn servers_that_share_their_keys_know_the_new_ones_of_each_other() {
    let Some(forge) = Gitea::shared() else { return };
    let fleet = Fleet::start(forge, 2);
    let [first, second] = [0, 1].map(|number| &fleet.sidecars[number].registry);
    let release = |patch: u32| Release::new(&format!("crate-{patch}"), "1.0.0");
    fleet.publish_surely(1, &release(0), &fleet.token);
    first.run(&["key", "rotate"]).succeeds();
    // From whose folder it is made does not matter.
    for (patch, registry) in [(1, first), (2, second)] {
        let new = registry.token("bob");
        let status = fleet.publish_surely(1, &release(patch), &new);
        assert_eq!(status, 200);
    }
    for sidecar in [0, 1] {
        let release = Release::new("crate-0", &format!("1.{sidecar}.1"));
        let status = fleet.publish_surely(sidecar, &release, &fleet.token);
        assert_eq!(status, 200);
    }
    fleet.wait_for_one_tip();
    for registry in [first, second] {
        registry.run(&["verify"]).succeeds();
    }
}

#[test]
fn members_of_a_team_that_became_an_owner_at_one_server_are_let_in_at_once_at_another() {
    let Some(forge) = Gitea::shared() else { return };
    let fleet = Fleet::start_and_look_each(forge, 2, 3600);
    let acme = forge.organisation("acme");
    let team = forge.team(&acme, "Platform", "write");
    let [alice, bob] = ["alice", "bob"].map(|word| {
        let user = forge.user(word);
        forge.join(&team, &user);
        let scopes = ["write:repository", "read:user", "read:organization"];
        let token = forge.token(&user, &scopes).text;
        for sidecar in &fleet.sidecars {
            sidecar.registry.look_for(&token);
        }
        token
    });
    let [here, there] = [0, 1].map(|number: usize| fleet.sidecars[number].registry.port);
    let publish = |name: &str, version: &str, port: u16, token: &str| {
        Release::new(name, version).publish(port, token).succeeds();
    };
    let add_the_team = |name: &str| {
        let path = format!("/crates/api/v1/crates/{name}/owners");
        let body = format!("{{\"users\":[\"{acme}:platform\"]}}");
        let add = request("PUT", &path).token(&alice).body(body);
        add.send(here).succeeds();
    };
    // The other one knows the crate, and not its new owner.
    publish("known", "0.1.0", there, &alice);
    add_the_team("known");
    publish("known", "0.2.0", there, &bob);
    // Nor the crate: that it is there the writer hears when the forge does not take the push.
    publish("new", "0.1.0", here, &alice);
    add_the_team("new");
    publish("new", "0.2.0", there, &bob);
    publish("yanked", "0.1.0", here, &alice);
    add_the_team("yanked");
    let yank = request("DELETE", "/crates/api/v1/crates/yanked/0.1.0/yank").token(&bob);
    yank.send(there).succeeds();
}
