//! A day's work in a short time, with a thousand connections beside it that want nothing: at its end nothing has
//! failed, and the server holds what it held before.
//!
//! Each round of each worker is a fixed piece of work. Whatever is read is compared with what was acknowledged before.

mod crowd;
mod model;
mod people;
mod process;
mod slow;
mod work;
mod world;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use crowd::{Patience, Size};
use people::{Fetcher, Petra};
use process::Held;
use slow::Kind;
use work::{Publisher, Reader};
use world::World;

use crate::common::git;
use crate::common::person;
use crate::common::registry::{Registry, files_below};
use crate::common::tools;
use crate::common::upload::{Release, noise};

/// What went well, or a sentence about what did not.
type Outcome<T = ()> = Result<T, String>;

/// The variable that asks for twenty minutes, if it is 1.
const LONG: &str = "SIDECARGO_TEST_LONG";
/// More than the kernel holds for a reader that takes nothing: of a clone, and of a file.
const CLONE_BYTES: usize = 24 << 20;
const FILE_BYTES: usize = 10 << 20;
/// Those who work at the same time, beside one person who pushes.
const PUBLISHERS: usize = 3;
const READERS: usize = 3;
const FETCHERS: usize = 2;
/// How many operations there are between two restarts under load.
const BETWEEN_RESTARTS: u32 = 300;

/// When a load ends.
#[derive(Clone, Copy)]
enum Until {
    /// Each worker has done so many rounds.
    Rounds(usize),
    /// So much time is over, and each round that was begun is done.
    Over(Duration),
    /// The server was started again so often.
    Restarts(usize),
}

/// A registry with those who use it.
struct Load {
    registry: Registry,
    world: World,
    publishers: Vec<Publisher>,
    readers: Vec<Reader>,
    fetchers: Vec<Fetcher>,
    petra: Petra,
    token: String,
    settings: String,
}

impl Load {
    fn begin(visibility: &str) -> Self {
        let settings = format!("visibility = \"{visibility}\"\n");
        let mut registry = Registry::start_with(&config(&settings, Patience::Endless));
        registry.stop();
        person::commit_file(&registry, "README.md", &noise(1, CLONE_BYTES));
        registry.start_again();
        let reader =
            (visibility == "private").then(|| registry.token_with("reader", &["--can", "read"]));
        let large = format!("//! {}\n", noise(2, FILE_BYTES));
        let large = Release::with_source("large", "1.0.0", &large);
        let world = World::of(&registry, reader, large);
        let token = registry.token("alice");
        work::publish(&world, &world.large, &token).unwrap();
        let petra = Petra::new(&registry, &world, registry.token("petra")).unwrap();
        let publisher = |number| Publisher::new(number, registry.token(&format!("user{number}")));
        Self {
            publishers: (0..PUBLISHERS).map(publisher).collect(),
            readers: (0..READERS).map(Reader::new).collect(),
            fetchers: (0..FETCHERS).map(Fetcher::new).collect(),
            petra,
            token,
            settings,
            world,
            registry,
        }
    }

    /// Starts the server again, with so much patience from now on.
    fn restart(&mut self, patience: Patience) {
        let config = config(&self.settings, patience);
        self.world.restart(&mut self.registry, |registry| {
            registry.start_again_with(&config)
        });
    }

    /// Lets everybody work, and the others hold their connections.
    fn run(&mut self, size: Size, patience: Patience, until: Until) {
        let (world, registry) = (&self.world, &mut self.registry);
        let token = &self.token;
        let is_over = AtomicBool::new(false);
        let workers_end = AtomicBool::new(false);
        let began = Instant::now();
        let goes_on = |round: usize| {
            let is_done = match until {
                Until::Rounds(rounds) => round >= rounds,
                Until::Over(time) => began.elapsed() >= time,
                Until::Restarts(_) => workers_end.load(Ordering::SeqCst),
            };
            !is_done && !world.is_failing()
        };
        thread::scope(|scope| {
            let (tell, told) = channel();
            let _fails = FailOnPanic(world);
            let end = SetOnDrop(&is_over);
            scope.spawn(|| world.watch_pauses(&is_over));
            let crowd = scope.spawn(|| {
                let _fails = FailOnPanic(world);
                crowd::hold(world, size, patience, token, tell, &is_over);
            });
            let _ = told.recv();
            let goes_on = &goes_on;
            let mut workers = Vec::new();
            for it in &mut self.publishers {
                workers.push(scope.spawn(move || rounds(world, goes_on, || it.round(world))));
            }
            for it in &mut self.readers {
                workers.push(scope.spawn(move || rounds(world, goes_on, || it.round(world))));
            }
            for it in &mut self.fetchers {
                workers.push(scope.spawn(move || rounds(world, goes_on, || it.round(world))));
            }
            let petra = &mut self.petra;
            workers.push(scope.spawn(move || rounds(world, goes_on, || petra.round(world))));
            let workers_end = SetOnDrop(&workers_end);
            if let Until::Restarts(count) = until {
                for _ in 0..count {
                    let target = world.counted_all() + BETWEEN_RESTARTS;
                    while world.counted_all() < target && !world.is_failing() {
                        thread::sleep(Duration::from_millis(10));
                    }
                    world.restart(registry, Registry::start_again);
                }
            }
            drop(workers_end);
            for worker in workers {
                worker.join().unwrap();
            }
            drop(end);
            crowd.join().unwrap();
        });
        world.has_no_faults();
    }

    /// Lets everybody work, once to warm up and then for long; what is held at the end is what was held between.
    fn run_and_compare(&mut self, size: Size, patience: Patience, until: Until) -> [Held; 2] {
        self.run(size, patience, Until::Rounds(WARM_ROUNDS));
        let before = Held::at_rest(&self.registry, &self.world, None);
        let kinds_before = process::kinds(self.registry.pid());
        self.run(size, patience, until);
        let after = Held::at_rest(&self.registry, &self.world, Some(&before));
        tools::say(&format!("load: before: {before}\nload: after: {after}\n"));
        let kinds = process::kinds(self.registry.pid());
        assert!(
            after.descriptors <= before.descriptors,
            "{kinds_before:?} became {kinds:?}"
        );
        assert!(after.threads <= before.threads, "{before} became {after}");
        [before, after]
    }
}

/// The most memory that a version takes for good, in bytes: its part of a compressed index file, 56 bytes beside that,
/// and its part of what a crate has, with the entry for searches. Measured are 60.
const VERSION_BYTES: usize = 256;
/// Memory that may be in use or not at a look, in KiB: what each thread keeps at hand of what it gave back counts, and
/// falls only while it works. Measured are 250. A load of a minute moves a hundred times as much.
const UNEVEN_KIB: usize = 1024;
/// What the system may count beyond that, in KiB: pages of which a part is in use are not given back. After a thousand
/// connections they differ by forty MiB from look to look. Only here it would be seen if code in C lost memory.
const FRAGMENTED_KIB: usize = 64 * 1024;
/// Rounds of a load before the server is looked at for the first time.
const WARM_ROUNDS: usize = 2;

/// Works round by round; what goes wrong ends everybody's work.
fn rounds(
    world: &World,
    goes_on: &(impl Fn(usize) -> bool + Sync),
    mut round: impl FnMut() -> Outcome,
) {
    let _fails = FailOnPanic(world);
    for number in 0.. {
        if !goes_on(number) {
            break;
        }
        world.note(round());
    }
}

/// Sets a flag also when an assertion fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Ends everybody's work when an assertion fails.
struct FailOnPanic<'a>(&'a World);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail();
        }
    }
}

fn config(settings: &str, patience: Patience) -> String {
    let secs = match patience {
        Patience::Endless => 24 * 60 * 60,
        Patience::Short => 4,
    };
    format!(
        "{settings}\n[http]\nconnections_max = 2000\nheader_secs = {secs}\nbody_idle_secs = {secs}\n\
         body_total_secs = 86400\nresponse_idle_secs = {secs}\nshutdown_secs = 20\n\n\
         [fetch]\nchildren_max = 64\nper_address_max = 64\nstall_secs = {secs}\ntotal_secs = 86400\n\n\
         [log]\nfilter = \"warn,sidecargo::cli=info\"\n"
    )
}

/// Raises this process's limit of open files: it has the other end of each connection.
fn can_open(files: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= files) {
        return true;
    }
    let current = Some(files);
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).is_ok()
}

/// Reads everything that was ever acknowledged, in both views.
fn everything_is_served(load: &Load) {
    let world = &load.world;
    let all = world.model.all();
    let folder = TempDir::new().unwrap();
    let words = ["clone", "--quiet", "--bare"];
    world
        .git("git clone", folder.path(), &words, &["all"])
        .unwrap();
    let is_there = |name: &&String| all[*name].values().any(|known| known.is_acknowledged);
    let names: Vec<String> = all.keys().filter(is_there).cloned().collect();
    let texts = people::index_files(&folder.path().join("all"), &names).unwrap();
    for (name, text) in names.iter().zip(texts) {
        let versions = &all[name];
        model::agree(name, &text, versions, versions).unwrap();
        let sparse = world
            .get(&work::index_path(name))
            .send(world.port)
            .succeeds();
        assert!(sparse.text() == text, "{name} differs between the views");
        for (version, _) in versions.iter().filter(|(_, known)| known.is_acknowledged) {
            work::download(world, name, version).unwrap();
        }
    }
}

/// The registry, with its server ended, has nothing wrong with it and nothing too much.
fn is_sound(mut load: Load) {
    load.registry.stop();
    load.registry.run(&["verify"]).succeeds();
    git::assert_sound(&load.registry.repository());
    // Of the packs' folder all: what a pack has while it is written is not there after the end. The spare files are there
    // for good.
    let data = load.registry.data();
    let temporary = |path: &&PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        let is_empty = || fs::metadata(data.join(path)).is_ok_and(|file| file.len() == 0);
        let is_spare = name.starts_with("sidecargo-spare.");
        let ends = [".lock", ".keep", ".next"]
            .iter()
            .any(|end| name.ends_with(end));
        !is_spare && (ends || name.contains("tmp") || name.ends_with(".pack") && is_empty())
    };
    let files = files_below(&data);
    let left: Vec<_> = files.iter().filter(temporary).collect();
    assert!(left.is_empty(), "{left:#?}");
    let log = load.registry.log();
    let odd = |line: &&str| {
        let is_trouble =
            line.contains(" WARN ") || line.contains("ERROR") || line.contains("panicked");
        is_trouble && !EXPECTED.iter().any(|expected| line.contains(expected))
    };
    let odd: Vec<&str> = log.lines().filter(odd).take(20).collect();
    assert!(odd.is_empty(), "{odd:#?}");
}

/// What the log warns of because of clients that are as slow as these.
const EXPECTED: [&str; 3] = [
    "a fetch ended: its client took too long",
    "requests still ran at the deadline and are cut",
    "a `git upload-pack` failed",
];

fn holds(visibility: &str) {
    let is_long = std::env::var(LONG).is_ok_and(|value| value == "1");
    if !can_open(4000) {
        tools::skip("this process may not open enough files; raise `ulimit -Hn`");
        return;
    }
    // Two loads of this size at once would be another test.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = is_long.then(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner));
    let began = Instant::now();
    let mut load = Load::begin(visibility);
    match is_long {
        true => long(&mut load),
        false => short(&mut load),
    }
    everything_is_served(&load);
    let took = began.elapsed().as_secs();
    let versions = load.world.model.count();
    println!("{versions} versions in {took} s\n{}", load.world.report());
    if is_long {
        tools::say(&format!(
            "load, {visibility}: {versions} versions in {took} s\n{}",
            load.world.report()
        ));
    }
    is_sound(load);
}

/// A few rounds of everything, with a few connections.
fn short(load: &mut Load) {
    let size = Size {
        idle: 100,
        slow: [
            (Kind::Head, 4),
            (Kind::Upload, 4),
            (Kind::Download, 4),
            (Kind::IndexFiles, 4),
            (Kind::Clone, 2),
        ],
    };
    let held = load.run_and_compare(size, Patience::Endless, Until::Rounds(4));
    assert_no_more_memory(&held);
    // Slow ones would hold up each end of the server for as long as it may take.
    let idle = Size {
        slow: size.slow.map(|(kind, _)| (kind, 0)),
        ..size
    };
    load.run(idle, Patience::Endless, Until::Restarts(2));
    load.restart(Patience::Short);
    load.run(size, Patience::Short, Until::Rounds(2));
}

/// Twenty minutes with all connections.
fn long(load: &mut Load) {
    let size = Size {
        idle: 1000,
        slow: [
            (Kind::Head, 24),
            (Kind::Upload, 24),
            (Kind::Download, 24),
            (Kind::IndexFiles, 20),
            (Kind::Clone, 8),
        ],
    };
    let minutes = |count: u64| Until::Over(Duration::from_secs(60 * count));
    assert_no_more_memory(&load.run_and_compare(size, Patience::Endless, minutes(4)));
    load.run(size, Patience::Endless, Until::Restarts(3));
    load.restart(Patience::Short);
    assert_no_more_memory(&load.run_and_compare(size, Patience::Short, minutes(4)));
    load.restart(Patience::Endless);
    let held = load.run_and_compare(size, Patience::Endless, minutes(11));
    assert_no_more_memory(&held);
    load.restart(Patience::Endless);
    load.run(size, Patience::Endless, Until::Rounds(WARM_ROUNDS));
    // One that has just begun with the same index needs no less.
    let anew = Held::at_rest(&load.registry, &load.world, None);
    tools::say(&format!("load: anew: {anew}\n"));
    assert_no_more_memory(&[anew, held[1]]);
}

/// Panics if the second has more memory than the first but for what the index has grown by.
#[track_caller]
fn assert_no_more_memory([before, after]: &[Held; 2]) {
    let grown = after.versions.saturating_sub(before.versions) * VERSION_BYTES / 1024;
    let cached = after.cached.saturating_sub(before.cached);
    // A file of 200 KiB lies in a buffer of 256.
    let most = before.allocated + grown + cached / 2 + UNEVEN_KIB;
    assert!(after.allocated <= most, "{before} became {after}");
    let most = before.anonymous + grown + cached * 3 / 2 + FRAGMENTED_KIB;
    assert!(after.anonymous <= most, "{before} became {after}");
}

#[test]
fn a_public_registry_holds_nothing_of_its_load() {
    holds("public");
}

#[test]
fn a_private_registry_holds_nothing_of_its_load() {
    holds("private");
}
