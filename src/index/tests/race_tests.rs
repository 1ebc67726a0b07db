//! People and git change the same crates at the same time; every answer must have its place in the history.
//!
//! The history gives the order. A model that knows nothing of groups, packs and refs then says what each change must
//! have been answered at its place, and what each commit must have made of the one before.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;

/// How many people ask at the same time.
const ACTORS: usize = 4;
const USERS: [&str; 3] = ["alice", "bob", "carol"];
const NAMES: [&str; 3] = ["a-b", "a_b", "c"];
const VERSIONS: [&str; 9] = [
    "1.0.0",
    "1.0.0+other",
    "1.0.1",
    "1.1.0",
    "1.2.0-alpha",
    "2.0.0",
    "2.0.1",
    "3.0.0",
    "3.0.0+x",
];

/// What a person asks the registry for, by places in the lists above.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Publish { version: usize, file: u8 },
    Yank { version: usize, yanked: bool },
    Own { user: usize },
    Disown { user: usize },
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    by: usize,
    name: usize,
    wish: Wish,
}

/// What somebody does with git.
#[derive(Debug, Clone, Copy)]
enum Push {
    /// Turns `yanked` of the first line of the crate.
    Flip { name: usize },
    /// Makes one user the only owner.
    Give { name: usize, user: usize },
    /// Takes all lines of the crate away, and gives them back with the next push.
    Wreck { name: usize },
}

/// A crate as the model knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    name: String,
    /// Checksum and whether yanked, by version.
    versions: BTreeMap<String, (Cksum, bool)>,
    owners: BTreeSet<String>,
}

/// All crates by their canonical names.
type Model = BTreeMap<String, Known>;

/// How a change ends.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Changed(Model),
    Unchanged,
    Refused(&'static str),
}

fn canonical(name: &str) -> String {
    name.replace('_', "-")
}

fn without_build(version: &str) -> &str {
    version.split('+').next().unwrap()
}

/// The `.crate` file number `file`.
fn crate_file(file: u8) -> [u8; 1] {
    [file]
}

fn cksum(file: u8) -> Cksum {
    Cksum::from(<[u8; 32]>::from(Sha256::digest(crate_file(file))))
}

impl Asked {
    fn action(self) -> Action {
        let name = NAMES[self.name].parse().unwrap();
        match self.wish {
            Wish::Publish { version, file } => {
                let action = publish(NAMES[self.name], VERSIONS[version], 0);
                let Action::Publish { mut line, .. } = action else {
                    unreachable!("it publishes")
                };
                line.cksum = cksum(file);
                Action::Publish {
                    line,
                    source_commit: None,
                    policy: Arc::default(),
                }
            }
            Wish::Yank { version, yanked } => yank(NAMES[self.name], VERSIONS[version], yanked),
            Wish::Own { user } => Action::AddOwners {
                name,
                owners: vec![USERS[user].parse().unwrap()],
            },
            Wish::Disown { user } => Action::RemoveOwners {
                name,
                owners: vec![USERS[user].parse().unwrap()],
            },
        }
    }

    /// What the model answers.
    fn on(self, before: &Model) -> End {
        let (by, name) = (USERS[self.by].to_owned(), NAMES[self.name]);
        let mut after = before.clone();
        let krate = after.get_mut(&canonical(name));
        let krate = match (krate, self.wish) {
            (None, Wish::Publish { version, file }) => {
                let known = Known {
                    name: name.to_owned(),
                    versions: [(VERSIONS[version].to_owned(), (cksum(file), false))].into(),
                    owners: [by].into(),
                };
                after.insert(canonical(name), known);
                return End::Changed(after);
            }
            (None, _) => return End::Refused("no such crate"),
            (Some(krate), Wish::Publish { .. }) if krate.name != name => {
                return End::Refused("spelled otherwise");
            }
            (Some(krate), _) => krate,
        };
        if !krate.owners.contains(&by) {
            return End::Refused("not an owner");
        }
        match self.wish {
            Wish::Publish { version, file } => {
                let version = VERSIONS[version];
                let taken = krate
                    .versions
                    .iter()
                    .find(|(known, _)| without_build(known) == without_build(version));
                match taken {
                    Some((known, (sum, _))) if known == version && *sum == cksum(file) => {
                        return End::Refused("same version");
                    }
                    Some(_) => return End::Refused("version taken"),
                    None => krate
                        .versions
                        .insert(version.to_owned(), (cksum(file), false)),
                };
            }
            Wish::Yank { version, yanked } => {
                let wanted = VERSIONS[version];
                let found = krate
                    .versions
                    .iter_mut()
                    .find(|(known, _)| *known == wanted || without_build(known) == wanted);
                match found {
                    None => return End::Refused("no such version"),
                    Some((_, (_, known))) if *known == yanked => return End::Unchanged,
                    Some((_, (_, known))) => *known = yanked,
                }
            }
            Wish::Own { user } => {
                if !krate.owners.insert(USERS[user].to_owned()) {
                    return End::Unchanged;
                }
            }
            Wish::Disown { user } => {
                if !krate.owners.remove(USERS[user]) || krate.owners.is_empty() {
                    return End::Refused("owners");
                }
            }
        }
        End::Changed(after)
    }
}

fn kind(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoSuchCrate(_) => "no such crate",
        Refusal::SpelledOtherwise { .. } => "spelled otherwise",
        Refusal::NotAnOwner { .. } => "not an owner",
        Refusal::SameVersion { .. } => "same version",
        Refusal::VersionTaken { .. } => "version taken",
        Refusal::NoSuchVersion { .. } => "no such version",
        Refusal::Owners(_) => "owners",
        other => panic!("{other}"),
    }
}

/// What the model knows of a commit.
fn model_of(snapshot: &Snapshot) -> Model {
    let known = |krate: &Arc<Crate>| {
        let release = |release: &Release| {
            let version = release.version.to_string();
            (version, (release.cksum, release.yanked))
        };
        let known = Known {
            name: krate.name.to_string(),
            versions: krate.releases().iter().map(release).collect(),
            owners: krate.owners.users().map(ToString::to_string).collect(),
        };
        (canonical(krate.name.as_str()), known)
    };
    snapshot.crates().map(known).collect()
}

/// A person with a clone, who commits what is there and pushes it once.
struct Pusher {
    folder: TempDir,
    /// Each commit that got in, with what it was to do.
    pushed: Vec<(String, Push)>,
    /// Those among them that no reader may see.
    bad: Vec<String>,
}

impl Pusher {
    fn of(fixture: &Fixture) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = fixture.folder.path().join("index.git");
        let pusher = Self {
            folder,
            pushed: Vec::new(),
            bad: Vec::new(),
        };
        let words = ["clone", "--quiet", origin.to_str().unwrap(), "."];
        assert!(pusher.git(&words).is_some());
        pusher
    }

    /// The output of git, if it succeeds.
    fn git(&self, words: &[&str]) -> Option<String> {
        let output = Command::new("git")
            .current_dir(self.folder.path())
            .args(["-c", "user.name=admin", "-c", "user.email=admin@localhost"])
            .args(words)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        output.status.success().then(|| said.trim().to_owned())
    }

    /// Commits it on what is there; false if there is nothing to change.
    fn prepare(&self, push: Push) -> bool {
        self.git(&["fetch", "--quiet"]).unwrap();
        self.git(&["reset", "--quiet", "--hard", "origin/main"])
            .unwrap();
        let (Push::Flip { name } | Push::Give { name, .. } | Push::Wreck { name }) = push;
        let path = IndexPath::of(&NAMES[name].parse().unwrap());
        let lines = self.folder.path().join(path.as_str());
        let Ok(text) = fs::read_to_string(&lines) else {
            return false;
        };
        match push {
            Push::Flip { .. } => {
                let (first, rest) = text.split_once('\n').unwrap();
                let is_yanked = first.contains("\"yanked\":true");
                let word = |yanked: bool| format!("\"yanked\":{yanked}");
                let first = first.replace(&word(is_yanked), &word(!is_yanked));
                fs::write(&lines, format!("{first}\n{rest}")).unwrap();
            }
            Push::Give { user, .. } => {
                let owners = Owners::first(USERS[user].parse().unwrap());
                let path = self.folder.path().join(path.owners_file());
                fs::write(path, owners.to_string()).unwrap();
            }
            Push::Wreck { .. } => fs::write(&lines, "").unwrap(),
        }
        let words = [
            "commit",
            "--quiet",
            "--all",
            "--allow-empty",
            "-m",
            "by hand",
        ];
        self.git(&words).is_some()
    }

    /// Pushes what was prepared; it may come too late.
    fn push(&mut self, push: Push) {
        let head = |pusher: &Self| pusher.git(&["rev-parse", "HEAD"]).unwrap();
        let is_in = |pusher: &Self| {
            let words = ["push", "--quiet", "origin", "HEAD:main"];
            pusher.git(&words).is_some()
        };
        if !is_in(self) {
            return;
        }
        if let Push::Wreck { .. } = push {
            self.bad.push(head(self));
            self.git(&["revert", "--no-edit", "HEAD"]).unwrap();
            // The registry holds git's lock for moments only, and writes nothing meanwhile.
            while !is_in(self) {}
        }
        self.pushed.push((head(self), push));
    }
}

impl Push {
    /// What the model makes of it; the first line of a crate is that of the version `first`.
    fn on(self, before: &Model, first: &HashMap<String, String>) -> Model {
        let mut after = before.clone();
        let (Self::Flip { name } | Self::Give { name, .. } | Self::Wreck { name }) = self;
        let name = canonical(NAMES[name]);
        let krate = after.get_mut(&name).unwrap();
        match self {
            Self::Flip { .. } => {
                let (_, yanked) = krate.versions.get_mut(&first[&name]).unwrap();
                *yanked = !*yanked;
            }
            Self::Give { user, .. } => krate.owners = [USERS[user].to_owned()].into(),
            Self::Wreck { .. } => {}
        }
        after
    }
}

type Answers = Vec<(Asked, PlainText, Result<Landed, WriteFault>)>;

/// What happens at the same time: one push, and what each of the people asks for, one after the other.
///
/// The number says how often one looks before: so some are early and some late.
type Round = (Push, Vec<(usize, Vec<Asked>)>);

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().unwrap()
}

/// Lets the registry look after its branch.
fn look(index: &Index, times: usize) {
    let runtime = runtime();
    for _ in 0..times {
        let deadline = Instant::now() + Duration::from_secs(60);
        // While the branch is bad it says so.
        let _ = runtime.block_on(async { index.look(deadline).await });
    }
}

fn ask(index: &Index, who: &str, script: &[Asked]) -> Answers {
    let runtime = runtime();
    let one = |(step, asked): (usize, &Asked)| {
        let request: PlainText = format!("{who}-{step}").parse().unwrap();
        let mut change = change(USERS[asked.by], asked.action());
        change.request_id = request.clone();
        let deadline = Instant::now() + Duration::from_secs(60);
        let answer = runtime.block_on(async { index.submit(change, deadline).await });
        (*asked, request, answer)
    };
    script.iter().enumerate().map(one).collect()
}

/// The states of the history that were good, oldest first, each with its commit and the request behind it.
struct History {
    commits: Vec<(String, Option<String>)>,
    models: Vec<Model>,
}

impl History {
    fn of(fixture: &Fixture, bad: &[String]) -> Self {
        let format = "--format=%H %(trailers:key=Request-id,valueonly,separator=%x2C)";
        let log = fixture.git(&["log", "--first-parent", "--reverse", format, "main"]);
        let commits: Vec<_> = log
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .filter(|(commit, _)| !bad.iter().any(|bad| bad == commit))
            .map(|(commit, request)| {
                let request = (!request.is_empty()).then(|| request.to_owned());
                (commit.to_owned(), request)
            })
            .collect();
        let git_dir = place(fixture.folder.path()).git_dir;
        let model = |(commit, _): &(String, _)| {
            let tip = load::load(&git_dir, commit.parse().unwrap()).unwrap();
            model_of(&tip.snapshot)
        };
        let models = commits.iter().map(model).collect();
        Self { commits, models }
    }

    fn position(&self, commit: &str) -> usize {
        let mut commits = self.commits.iter();
        commits.position(|(known, _)| known == commit).unwrap()
    }

    fn of_request(&self, request: &str) -> Option<usize> {
        let mut commits = self.commits.iter();
        commits.position(|(_, known)| known.as_deref() == Some(request))
    }
}

/// Panics unless each answer of one actor can be explained.
fn explain(history: &History, bad: &[String], answers: &Answers) {
    // The actor has seen this state: what follows cannot be judged on an older one.
    let mut seen = 0;
    for (asked, request, answer) in answers {
        let landed = history.of_request(request.as_str());
        let among = |from: usize, to: usize, end: &End| {
            history.models[from..=to]
                .iter()
                .any(|model| asked.on(model) == *end)
        };
        let last = history.models.len() - 1;
        match answer {
            Ok(Landed { commit }) => {
                let shown = history.position(&commit.to_string());
                match landed {
                    Some(at) => {
                        assert!(seen < at && at <= shown, "{asked:?}");
                        let made = End::Changed(history.models[at].clone());
                        assert_eq!(asked.on(&history.models[at - 1]), made);
                    }
                    None => assert!(among(seen, shown, &End::Unchanged), "{asked:?}"),
                }
                seen = shown;
            }
            Err(WriteFault::Refused(refusal)) => {
                assert_eq!(landed, None, "{asked:?}");
                let end = End::Refused(kind(refusal));
                assert!(among(seen, last, &end), "{asked:?}: {refusal}");
            }
            Err(WriteFault::Unavailable(reason)) => {
                assert_eq!(landed, None, "{asked:?}");
                let is_named = bad.iter().any(|bad| reason.contains(bad));
                assert!(is_named, "{asked:?}: {reason}");
            }
            Err(other) => panic!("{asked:?}: {other}"),
        }
    }
}

/// A registry with a version of each crate, of all users, and the `.crate` files that are published.
fn prepared() -> (Fixture, Blobs, Answers) {
    let fixture = Fixture::new();
    let store = blobs(fixture.folder.path());
    for file in 0..3 {
        let mut received = store.incoming().unwrap();
        received.file().write_all(&crate_file(file)).unwrap();
        store.keep(received, &cksum(file)).unwrap();
    }
    let by_alice = |name, wish| Asked { by: 0, name, wish };
    let script: Vec<Asked> = [0, 2]
        .into_iter()
        .flat_map(|name| {
            let first = Wish::Publish {
                version: 0,
                file: 0,
            };
            [first, Wish::Own { user: 1 }, Wish::Own { user: 2 }].map(|wish| by_alice(name, wish))
        })
        .collect();
    let answers = ask(&fixture.index, "first", &script);
    (fixture, store, answers)
}

fn race(rounds: &[Round]) {
    let (fixture, store, first) = prepared();
    let mut pusher = Pusher::of(&fixture);
    let index = &fixture.index;
    let mut answers: Vec<Answers> = vec![Vec::new(); ACTORS];
    for (number, (push, scripts)) in rounds.iter().enumerate() {
        let has_push = pusher.prepare(*push);
        thread::scope(|scope| {
            for (actor, ((looks, script), answers)) in scripts.iter().zip(&mut answers).enumerate()
            {
                let who = format!("{number}-{actor}");
                scope.spawn(move || {
                    look(index, *looks);
                    answers.extend(ask(index, &who, script));
                });
            }
            if has_push {
                pusher.push(*push);
            }
        });
    }
    answers.push(first);
    look(index, 1);

    let history = History::of(&fixture, &pusher.bad);
    for answers in &answers {
        explain(&history, &pusher.bad, answers);
    }
    // Every commit is somebody's, and those of people did what they were to do.
    let mut first = HashMap::new();
    for (at, (commit, request)) in history.commits.iter().enumerate().skip(1) {
        let model = &history.models[at];
        for (name, krate) in model {
            let version = krate.versions.keys().next().unwrap();
            first.entry(name.clone()).or_insert_with(|| version.clone());
        }
        let pushed = pusher.pushed.iter().find(|(known, _)| known == commit);
        match (request, pushed) {
            (Some(request), None) => {
                let mut all = answers.iter().flatten();
                assert!(all.any(|(_, known, answer)| known.as_str() == request && answer.is_ok()));
            }
            (None, Some((_, push))) => {
                assert_eq!(push.on(&history.models[at - 1], &first), *model);
            }
            other => panic!("whose is {commit}? {other:?}"),
        }
    }
    let snapshot = index.snapshot();
    assert_eq!(model_of(&snapshot), *history.models.last().unwrap());
    for krate in snapshot.crates() {
        let path = IndexPath::of(&krate.name);
        let file = fixture.git(&["show", &format!("{}:{path}", refs::SERVED)]);
        assert_eq!(krate.body.inflate(), file.into_bytes());
    }
    let place = place(fixture.folder.path());
    let report = super::verify(&place, &store, None, &mut |_| {}).unwrap();
    assert_eq!(report.faults_found, 0, "{:?}", report.faults);
}

fn asked() -> impl Strategy<Value = Asked> {
    let version = 0..VERSIONS.len();
    let user = 0..USERS.len();
    let wish = prop_oneof![
        5 => (version.clone(), 0..3_u8).prop_map(|(version, file)| Wish::Publish { version, file }),
        5 => (version, any::<bool>()).prop_map(|(version, yanked)| Wish::Yank { version, yanked }),
        2 => user.clone().prop_map(|user| Wish::Own { user }),
        1 => user.clone().prop_map(|user| Wish::Disown { user }),
    ];
    (user, 0..NAMES.len(), wish).prop_map(|(by, name, wish)| Asked { by, name, wish })
}

fn scripts() -> impl Strategy<Value = Vec<(usize, Vec<Asked>)>> {
    let script = prop::collection::vec(asked(), 0..8);
    prop::collection::vec((0..2000_usize, script), ACTORS)
}

fn push() -> impl Strategy<Value = Push> {
    let name = 0..NAMES.len();
    prop_oneof![
        2 => name.clone().prop_map(|name| Push::Flip { name }),
        2 => (name.clone(), 0..USERS.len()).prop_map(|(name, user)| Push::Give { name, user }),
        1 => name.prop_map(|name| Push::Wreck { name }),
    ]
}

fn config() -> ProptestConfig {
    let is_long = std::env::var_os("SIDECARGO_TEST_LONG").is_some_and(|value| value == "1");
    ProptestConfig {
        cases: if is_long { 300 } else { 6 },
        max_shrink_iters: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_answer_has_its_place_in_the_history(
        rounds in prop::collection::vec((push(), scripts()), 1..6),
    ) {
        race(&rounds);
    }
}
