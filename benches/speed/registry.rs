//! Registries of any size, made once by git and copied for each use.
//!
//! They are what years of publishing leave: eight versions to a crate on average, one line each, files of owners, all
//! in one pack. The newest `.crate` file of each crate is there; the files of the others would only fill the disk, as
//! nobody reads them. The commit that brings all lines is git's own and bears no signature: nothing that is measured
//! looks at it.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};
use sidecargo::domain::{CrateName, IndexLine, IndexPath};

use crate::chance::Chance;
use crate::release::Release;
use crate::run::{run, text_of};
use crate::server::{Server, Settings};

/// Who owns every crate, beside somebody else.
pub const OWNER: &str = "bench";
/// The most versions of a crate; the fewest is one.
const VERSIONS_MAX: u64 = 15;
/// How many versions the first crate of every registry has.
pub const MANY_VERSIONS: u64 = 2_000;
/// How many people own the crates.
const PEOPLE: u64 = 200;

/// A crate of a registry that was made.
#[derive(Debug, Clone)]
pub struct Krate {
    pub name: String,
    /// How many versions it has: `0.1.0`, `0.2.0` and so on.
    pub versions: u64,
}

impl Krate {
    /// The path of its index file.
    pub fn path(&self) -> String {
        let name: CrateName = self.name.parse().expect("names are made of letters");
        IndexPath::of(&name).to_string()
    }

    fn newest(&self) -> Release {
        Release::small(&self.name, &version(self.versions))
    }
}

/// The crates of a registry of this size, always the same.
pub fn crates(count: usize) -> Vec<Krate> {
    let mut chance = Chance::new(1);
    let mut seen = HashSet::new();
    let mut crates = Vec::with_capacity(count);
    while crates.len() < count {
        let name = chance.name();
        if seen.insert(name.clone()) {
            let versions = match crates.is_empty() {
                true => MANY_VERSIONS,
                false => 1 + chance.below(VERSIONS_MAX),
            };
            crates.push(Krate { name, versions });
        }
    }
    crates
}

/// A data folder of its own with `count` crates.
pub fn copy(work: &Path, count: usize) -> anyhow::Result<tempfile::TempDir> {
    let made = ensure_made(work, count)?;
    let copy = tempfile::Builder::new()
        .prefix(&format!("registry-{count}-"))
        .tempdir_in(work)?;
    for entry in fs::read_dir(&made)? {
        let entry = entry?;
        // Files of crates are never changed, so a second name is as good as a second file.
        let how = match entry.file_name() == "blobs" {
            true => "-al",
            false => "-a",
        };
        run(Command::new("cp")
            .arg(how)
            .arg(entry.path())
            .arg(copy.path()))?;
    }
    Ok(copy)
}

fn ensure_made(work: &Path, count: usize) -> anyhow::Result<PathBuf> {
    let made = work.join(format!("made-{count}"));
    if !made.exists() {
        eprintln!("making a registry of {count} crates, once");
        let unfinished = work.join(format!("unfinished-{count}"));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        make(&unfinished, count).with_context(|| format!("a registry of {count} crates"))?;
        fs::rename(unfinished, &made)?;
    }
    Ok(made)
}

fn make(data: &Path, count: usize) -> anyhow::Result<()> {
    Server::start(data, &Settings::default())?.stop()?;
    let git_dir = data.join("index.git");
    let first = text_of(git(&git_dir, &["rev-parse", "refs/heads/main"]))?;
    // Whole objects, as the server writes them; the deltas are left to the repack, which any server does too.
    let mut import = git(
        &git_dir,
        &["fast-import", "--quiet", "--force", "--depth=0"],
    )
    .stdin(Stdio::piped())
    .spawn()?;
    let mut stream = BufWriter::new(import.stdin.take().context("a pipe")?);
    write!(
        stream,
        "commit refs/heads/main\ncommitter Nobody <> 1700000000 +0000\ndata 0\nfrom {first}\n"
    )?;
    let crates = crates(count);
    let mut chance = Chance::new(2);
    for krate in &crates {
        let newest = krate.newest();
        keep(data, &newest)?;
        let lines = lines(krate, &newest, &crates, &mut chance)?;
        put(&mut stream, &krate.path(), &lines)?;
        let owners = owners(&mut chance);
        let path = format!("owners/{}.toml", krate.path());
        put(&mut stream, &path, owners.as_bytes())?;
    }
    writeln!(stream, "done")?;
    stream.flush()?;
    drop(stream);
    ensure!(import.wait()?.success(), "git fast-import failed");
    // What was imported is good.
    let tip = text_of(git(&git_dir, &["rev-parse", "refs/heads/main"]))?;
    fs::write(git_dir.join("sidecargo-shown"), tip + "\n")?;
    run(&mut git(
        &git_dir,
        &["repack", "-a", "-d", "-q", "--write-bitmap-index"],
    ))?;
    // The catalog reads every file once; what it found is kept in the folder.
    let server = Server::start(data, &Settings::default())?;
    server.settle()?;
    server.stop()
}

/// Git on the repository at `git_dir`, with no settings but its own.
pub fn git(git_dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .arg("--git-dir")
        .arg(git_dir)
        .args(words);
    command
}

fn put(stream: &mut impl Write, path: &str, bytes: &[u8]) -> anyhow::Result<()> {
    write!(stream, "M 100644 inline {path}\ndata {}\n", bytes.len())?;
    stream.write_all(bytes)?;
    writeln!(stream)?;
    Ok(())
}

fn keep(data: &Path, release: &Release) -> anyhow::Result<()> {
    let cksum = release.cksum();
    let path = data.join("blobs").join(&cksum[..2]).join(&cksum);
    Ok(fs::write(path, &release.crate_file)?)
}

fn lines(
    krate: &Krate,
    newest: &Release,
    crates: &[Krate],
    chance: &mut Chance,
) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for number in 1..=krate.versions {
        let vers = version(number);
        let cksum = match number == krate.versions {
            true => newest.cksum(),
            false => hex(&Sha256::digest(format!("{} {vers}", krate.name))),
        };
        let dependencies = (0..chance.below(4)).map(|_| {
            let other = &crates[chance.below(crates.len() as u64) as usize];
            json!({
                "name": other.name, "req": "^0.1", "features": [], "optional": false,
                "default_features": true, "target": null, "kind": "normal",
                "registry": null, "package": null,
            })
        });
        let line = json!({
            "name": krate.name, "vers": vers, "deps": dependencies.collect::<Vec<_>>(), "cksum": cksum,
            "features": {}, "yanked": number < krate.versions && chance.below(50) == 0, "links": null,
            "pubtime": "2024-01-01T00:00:00Z",
        });
        bytes.extend(IndexLine::parse(line.to_string().as_bytes())?.to_bytes());
    }
    Ok(bytes)
}

fn owners(chance: &mut Chance) -> String {
    let person = chance.below(PEOPLE);
    format!("users = [{{ login = \"{OWNER}\" }}, {{ login = \"person-{person}\" }}]\n")
}

/// The version with this number, counted from one.
pub fn version(number: u64) -> String {
    format!("0.{number}.0")
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("memory takes all");
        text
    })
}
