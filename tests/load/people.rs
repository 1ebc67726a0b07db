//! Those who use git: readers that fetch, and a person who pushes.

use std::fmt::Write;
use std::path::PathBuf;

use tempfile::TempDir;

use super::Outcome;
use super::model::agree;
use super::work::{Random, index_path, publish};
use super::world::World;
use crate::common::git::{git, git_that_reads, tip};
use crate::common::http::Request;
use crate::common::person::{Person, Receive};
use crate::common::registry::Registry;
use crate::common::upload::Release;
use crate::common::watch::eventually;

/// Crates that are looked for after a fetch.
const LOOKED_FOR: usize = 6;
/// A fetch that is a clone, as one of so many.
const CLONE_EVERY: usize = 10;
/// How often a push races with the server before it goes alone.
const RACES: usize = 2;
/// Crates that a person yanks by hand, and their versions.
const BY_HAND: usize = 4;
const VERSIONS: usize = 3;
/// The name that a person reserves now and then.
const RESERVED: &str = "load-reserved";
/// What clients of git are shown.
const SERVED: &str = "refs/namespaces/served/refs/heads/main";

/// A clone over HTTP that is brought up to date again and again.
pub struct Fetcher {
    folder: TempDir,
    random: Random,
    rounds: usize,
}

impl Fetcher {
    pub fn new(number: usize) -> Self {
        let folder = TempDir::new().unwrap();
        git(folder.path(), &["init", "--quiet", "--bare", "kept"]).succeeds();
        Self {
            folder,
            random: Random::new(2000 + number),
            rounds: 0,
        }
    }

    pub fn round(&mut self, world: &World) -> Outcome {
        self.rounds += 1;
        let looked_for = (0..LOOKED_FOR).map(|back| {
            let back = (back < LOOKED_FOR / 2).then_some(back);
            world.model.pick(self.random.next(), back).0
        });
        let looked_for: Vec<String> = looked_for.collect();
        let before: Vec<_> = looked_for.iter().map(|name| world.model.of(name)).collect();
        let clone = self.fetch(world)?;
        let texts = index_files(&clone, &looked_for)?;
        for ((name, before), text) in looked_for.iter().zip(&before).zip(&texts) {
            agree(name, text, before, &world.model.of(name))
                .map_err(|fault| format!("over git: {fault}"))?;
        }
        Ok(())
    }

    /// Gets what is new, or all anew; gives where it lies.
    fn fetch(&self, world: &World) -> Outcome<PathBuf> {
        let protocol = match self.rounds.is_multiple_of(3) {
            true => "protocol.version=0",
            false => "protocol.version=2",
        };
        if self.rounds.is_multiple_of(CLONE_EVERY) {
            let again = self.folder.path().join("again");
            // What a clone that met a restart has left git does away with itself.
            let _ = std::fs::remove_dir_all(&again);
            let words = ["-c", protocol, "clone", "--quiet", "--bare"];
            world.git("git clone", self.folder.path(), &words, &["again"])?;
            return Ok(again);
        }
        let kept = self.folder.path().join("kept");
        let words = ["-c", protocol, "fetch", "--quiet"];
        let refs = ["+refs/heads/main:refs/heads/main"];
        world.git("git fetch", &kept, &words, &refs)?;
        Ok(kept)
    }
}

/// The index files of crates in a clone.
pub fn index_files(clone: &std::path::Path, names: &[String]) -> Outcome<Vec<String>> {
    let mut asked = String::new();
    for name in names {
        let path = index_path(name);
        let path = path.trim_start_matches("/crates/index/");
        writeln!(asked, "refs/heads/main:{path}").expect("memory takes all");
    }
    let ran = git_that_reads(clone, &["cat-file", "--batch"], &asked);
    if !ran.is_success() {
        return Err(format!("a clone cannot be read: {ran}"));
    }
    let mut rest = &ran.stdout[..];
    let mut texts = Vec::new();
    for name in names {
        let (head, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let size = head.strip_suffix(" missing").map_or_else(
            || head.rsplit(' ').next().and_then(|size| size.parse().ok()),
            |_| None,
        );
        let size: usize = size.ok_or_else(|| format!("git does not have {name}: {head}"))?;
        texts.push(after[..size].to_owned());
        rest = &after[size + 1..];
    }
    Ok(texts)
}

/// Somebody who changes the index by commits while others publish.
pub struct Petra {
    person: Person,
    token: String,
    rounds: usize,
    is_reserved: bool,
}

impl Petra {
    /// With crates of her own.
    ///
    /// # Errors
    /// They cannot be published.
    pub fn new(registry: &Registry, world: &World, token: String) -> Outcome<Self> {
        for n in 0..BY_HAND * VERSIONS {
            let version = format!("1.{}.0", n % VERSIONS);
            publish(
                world,
                &Release::new(&by_hand(n / VERSIONS), &version),
                &token,
            )?;
        }
        let person = Person::of(registry);
        person.git(&["config", "gc.auto", "0"]);
        Ok(Self {
            person,
            token,
            rounds: 0,
            is_reserved: false,
        })
    }

    pub fn round(&mut self, world: &World) -> Outcome {
        self.rounds += 1;
        match self.rounds % 4 {
            0 => self.change_policy(world),
            1 => self.be_refused(world),
            _ => self.yank(world),
        }
    }

    /// Yanks a version by hand, or takes that back.
    fn yank(&self, world: &World) -> Outcome {
        let name = by_hand(self.rounds % BY_HAND);
        let versions = world.model.of(&name);
        let (version, known) = versions
            .iter()
            .nth(self.rounds % VERSIONS)
            .expect("there are so many");
        let was = known.yanked.expect("nobody else yanks it");
        let path = index_path(&name);
        let path = path.trim_start_matches("/crates/index/");
        let edit = |person: &Person| {
            let text = person.read(path);
            let lines = text.lines().map(|line| {
                let is_it = line.contains(&format!("\"vers\":\"{version}\""));
                let (from, to) = (format!("\"yanked\":{was}"), format!("\"yanked\":{}", !was));
                let line = if is_it {
                    line.replace(&from, &to)
                } else {
                    line.to_owned()
                };
                line + "\n"
            });
            person.write(path, &lines.collect::<String>());
        };
        world.model.begin_to_yank(&name, version);
        self.push(world, edit)?;
        world.model.has_yanked(&name, version, !was);
        Ok(())
    }

    /// Reserves a name, or no longer.
    fn change_policy(&mut self, world: &World) -> Outcome {
        let (free, reserved) = (
            "reserved = []".to_owned(),
            format!("reserved = [\"{RESERVED}\"]"),
        );
        let (from, to) = match self.is_reserved {
            true => (reserved, free),
            false => (free, reserved),
        };
        self.push(world, |person| {
            person.replace("policy.toml", &from, &to);
        })?;
        self.is_reserved = !self.is_reserved;
        if self.is_reserved {
            let upload: Request = Release::new(RESERVED, "1.0.0").request(&self.token);
            world.ask("upload of a reserved name", &upload, &[400])?;
        }
        Ok(())
    }

    /// Pushes what nobody may, which the hooks refuse.
    fn be_refused(&self, world: &World) -> Outcome {
        self.person.catch_up();
        self.person.write("config.json", "{}\n");
        self.person.commit("what nobody may do");
        let pushing = world.pushing.lock().unwrap();
        let ran = self.person.push("HEAD:main", Receive::AsSetUp);
        drop(pushing);
        match ran.is_success() {
            true => Err("a forbidden push is let in".to_owned()),
            false => {
                world.count("refused push", std::time::Duration::ZERO);
                Ok(())
            }
        }
    }

    /// Commits what `edit` makes of the tip and pushes it until no publish is faster; waits until it is served.
    fn push(&self, world: &World, edit: impl Fn(&Person)) -> Outcome {
        let began = std::time::Instant::now();
        for race in 0.. {
            let alone = (race >= RACES).then(|| world.turn.write().unwrap());
            self.person.catch_up();
            let base = self.person.git(&["rev-parse", "HEAD"]);
            edit(&self.person);
            let commit = self.person.commit("change by hand");
            let pushing = world.pushing.lock().unwrap();
            let ran = self.person.push("HEAD:main", Receive::AsSetUp);
            drop(pushing);
            if ran.is_success() {
                drop(alone);
                eventually("the push is served", || {
                    let words = ["merge-base", "--is-ancestor", &commit, SERVED];
                    git(&world.repository, &words).is_success().then_some(())
                });
                world.count("foreign commit", began.elapsed());
                return Ok(());
            }
            // One that was sent before the turn was taken may still be faster.
            if tip(&world.repository) == base {
                return Err(format!("a push fails: {ran}"));
            }
            world.count("push that lost a race", began.elapsed());
        }
        Ok(())
    }
}

fn by_hand(number: usize) -> String {
    format!("hand-{number}")
}
