//! What clients were told that is done, and whether a folder still has it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use sidecargo::app::{self, App};
use sidecargo::audit;
use sidecargo::auth::AuthFault;
use sidecargo::config::{Arguments, Config, Environment};
use sidecargo::index::{Crate, Release as Line};
use tempfile::TempDir;

use super::disk::Tree;
use crate::common::git;
use crate::common::upload::Release;

/// What gets its name only when it is whole, beside the packs.
const NAMED: [&str; 3] = ["pack", "bitmap", "rev"];

/// Something that was acknowledged.
#[derive(Clone)]
pub enum Fact {
    /// A release was published.
    Published(Release),
    /// A release was yanked.
    Yanked(Release),
    /// Somebody owns the crate of a release.
    Owns(String, Release),
    /// A token was made.
    TokenMade { id: String },
    /// A token is good, and nobody ever revokes it.
    TokenGood { token: String },
    /// A token was revoked.
    TokenRevoked { id: String, token: String },
}

/// Panics nowhere: tells the first thing that is wrong with `tree` as the folder of a registry which was reached on
/// `bound` and had acknowledged `facts`.
pub fn examine(tree: &Tree, facts: &[Fact], bound: SocketAddr) -> Result<(), String> {
    let folder = scratch();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    tree.write(&data);
    nothing_is_torn(&data.join("index.git"))?;
    has_all(&data, facts, bound)?;
    let faults = git::faults_of(&data.join("index.git"));
    if !faults.is_empty() {
        return Err(format!("git finds faults: {faults:#?}"));
    }
    leftovers_are_gone(&data)?;
    verified(&data)
}

/// As [`examine`], where somebody else may have left what is not whole: the registry starts and has all of its own.
pub fn serves(tree: &Tree, facts: &[Fact], bound: SocketAddr) -> Result<(), String> {
    let folder = scratch();
    tree.write(folder.path());
    has_all(folder.path(), facts, bound)
}

fn has_all(data: &Path, facts: &[Fact], bound: SocketAddr) -> Result<(), String> {
    let arguments = Arguments {
        data: Some(data.to_owned()),
        ..Arguments::default()
    };
    let config = Config::load(&arguments, &Environment::default(), data).unwrap();
    let app = App::open(config, bound)
        .map_err(|fault| format!("it does not start: {}", chain(&fault)))?;
    facts.iter().try_for_each(|fact| holds(fact, &app))?;
    every_line_has_its_file(&app)
}

/// A start heals a torn tip, and git does without a bitmap or a graph, but no power cut may need that; only the index of
/// a pack may have to be made again.
fn nothing_is_torn(repository: &Path) -> Result<(), String> {
    let torn = |path: &Path| Err(format!("this is torn: {}", path.display()));
    let tip = repository.join("refs/heads/main");
    let is_id = |text: &str| text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if tip.exists() && !std::fs::read_to_string(&tip).is_ok_and(|text| is_id(text.trim_end())) {
        return torn(&tip);
    }
    let packs = std::fs::read_dir(repository.join("objects/pack"));
    let paths = packs
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    let graph = repository.join("objects/info/commit-graph");
    let is_named = |path: &PathBuf| {
        path.extension()
            .is_some_and(|kind| NAMED.iter().any(|it| kind == *it))
    };
    for path in paths
        .filter(is_named)
        .chain(graph.exists().then_some(graph))
    {
        let bytes = std::fs::read(&path).unwrap();
        let has = |part| path.with_extension(part).exists();
        // A pack is written in its place; it has an index and no mark once it counts.
        let is_begun = !has("idx") && (has("keep") || bytes.is_empty());
        if !is_begun && !ends_with_its_checksum(&bytes) {
            return torn(&path);
        }
    }
    Ok(())
}

/// As all files of git do that hold more than one object.
fn ends_with_its_checksum(bytes: &[u8]) -> bool {
    let Some((content, checksum)) = bytes.split_last_chunk::<20>() else {
        return false;
    };
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(content);
    hasher.try_finalize().unwrap().as_slice() == checksum
}

/// The registry's own proof of all that it holds.
fn verified(data: &Path) -> Result<(), String> {
    let report = audit::verify(data, None, &mut |_| {}).map_err(|fault| fault.to_string())?;
    match report.faults.first() {
        None => Ok(()),
        Some(fault) => Err(format!("it does not verify: {fault:?}")),
    }
}

fn holds(fact: &Fact, app: &App) -> Result<(), String> {
    let told = |what: String, is_so: bool| match is_so {
        true => Ok(()),
        false => Err(format!("it was acknowledged and is lost: {what}")),
    };
    match fact {
        Fact::Published(release) => {
            let cksum = release.cksum();
            let is_there =
                line_of(app, release).is_some_and(|line| line.cksum.to_string() == cksum);
            let is_whole = app.blobs.is_intact(&cksum.parse().unwrap());
            let what = format!("publish {} {}", release.name, release.version);
            told(format!("the line of {what}"), is_there)?;
            told(format!("the file of {what}"), is_whole.is_ok_and(|it| it))
        }
        Fact::Yanked(release) => {
            let is_yanked = line_of(app, release).is_some_and(|line| line.yanked);
            told(
                format!("yank {} {}", release.name, release.version),
                is_yanked,
            )
        }
        Fact::Owns(login, release) => {
            let owner = login.parse().unwrap();
            let krate = crate_of(app, &release.name);
            let is_owner = krate.is_some_and(|krate| krate.owners.includes(&owner));
            told(format!("{login} owns {}", release.name), is_owner)
        }
        Fact::TokenMade { id } => {
            let record = app::token_records(&app.config).find(id.parse().unwrap());
            told(
                format!("the record of the token {id}"),
                record.is_ok_and(|it| it.is_some()),
            )
        }
        Fact::TokenGood { token } => {
            let entered = app.authenticate(Some(token.as_bytes()));
            told(
                format!("a token: {:?}", entered.as_ref().err()),
                entered.is_ok(),
            )
        }
        Fact::TokenRevoked { token, .. } => match app.authenticate(Some(token.as_bytes())) {
            Err(AuthFault::Token(fault)) if fault.to_string().contains("was revoked") => Ok(()),
            other => told(format!("the token is revoked, not {other:?}"), false),
        },
    }
}

fn crate_of(app: &App, name: &str) -> Option<std::sync::Arc<Crate>> {
    app.index.snapshot().find(&name.parse().unwrap()).cloned()
}

fn line_of(app: &App, release: &Release) -> Option<Line> {
    let is_it = |line: &&Line| line.version.to_string() == release.version;
    let krate = crate_of(app, &release.name)?;
    krate.releases().iter().find(is_it).cloned()
}

fn every_line_has_its_file(app: &App) -> Result<(), String> {
    for krate in app.index.snapshot().crates() {
        for line in krate.releases() {
            if !app.blobs.is_intact(&line.cksum).is_ok_and(|it| it) {
                return Err(format!(
                    "a line without a file: {} {}",
                    krate.name, line.version
                ));
            }
        }
    }
    Ok(())
}

/// What was not finished must not pile up in the folders that readers look through.
fn leftovers_are_gone(data: &Path) -> Result<(), String> {
    let names = |folder: &str| -> HashSet<PathBuf> {
        let entries = std::fs::read_dir(data.join(folder)).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let left = |path: &&PathBuf| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("tmp_")
    };
    for folder in [
        "blobs/incoming",
        "index.git/objects/pack",
        "index.git/refs/heads",
    ] {
        if let Some(path) = names(folder).iter().find(left) {
            return Err(format!("this was left: {}", path.display()));
        }
    }
    let packs = names("index.git/objects/pack");
    let has = |path: &PathBuf, part: &str| packs.contains(&path.with_extension(part));
    // One that was merged stays for a while.
    let is_of_whole = |path: &PathBuf| {
        let is_done = !has(path, "keep") && !has(path, "next");
        is_done && (has(path, "merged") || has(path, "pack") && has(path, "idx"))
    };
    let mut named = packs
        .iter()
        .filter(|path| path.extension().is_none_or(|it| it != "mark"));
    match named.find(|path| !is_of_whole(path)) {
        Some(path) => Err(format!("this was left: {}", path.display())),
        None => Ok(()),
    }
}

/// A temporary folder, in memory where the system has that: what is examined needs no disk.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| TempDir::new().unwrap())
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
