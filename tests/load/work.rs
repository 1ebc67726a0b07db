//! Those who publish and those who read, each a round at a time.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Outcome;
use super::model::agree;
use super::world::World;
use crate::common::http::{Reply, request};
use crate::common::upload::{Release, frame, noise};

/// Versions of a crate before the next crate is begun.
const VERSIONS: usize = 40;
/// Uploads in a round.
const UPLOADS: usize = 10;
/// How much source a larger crate has, and one in ten of those.
const LARGER_BYTES: usize = 200 << 10;
const LARGEST_BYTES: usize = 3 << 20;
/// Index files and downloads in a round.
const READS: usize = 40;
const DOWNLOADS: usize = 10;

/// Numbers without any order, the same ones each time.
pub struct Random(u64);

impl Random {
    pub fn new(seed: usize) -> Self {
        Self(seed as u64 + 1)
    }

    pub fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize
    }
}

/// The path of a crate's index file.
pub fn index_path(name: &str) -> String {
    format!("/crates/index/{}/{}/{name}", &name[..2], &name[2..4])
}

/// Somebody who publishes crates, yanks versions and changes owners.
pub struct Publisher {
    number: usize,
    token: String,
    published: usize,
    random: Random,
}

impl Publisher {
    pub fn new(number: usize, token: String) -> Self {
        Self {
            number,
            token,
            published: 0,
            random: Random::new(number),
        }
    }

    pub fn round(&mut self, world: &World) -> Outcome {
        for _ in 0..UPLOADS {
            self.publish(world)?;
            self.published += 1;
        }
        self.yank(world)?;
        self.change_owners(world)?;
        self.be_refused(world)
    }

    fn publish(&self, world: &World) -> Outcome {
        let (number, published) = (self.number, self.published);
        let name = format!("load-{number}-{}", published / VERSIONS);
        let version = format!("1.{published}.0");
        let bytes = match published {
            n if n % 100 == 99 => LARGEST_BYTES,
            n if n % 10 == 9 => LARGER_BYTES,
            _ => 200,
        };
        let seed = (number * 1_000_000 + published) as u64;
        let source = format!("//! {}\n", noise(seed, bytes));
        publish(
            world,
            &Release::with_source(&name, &version, &source),
            &self.token,
        )
    }

    /// Yanks one of its versions, or takes that back.
    fn yank(&mut self, world: &World) -> Outcome {
        let crates = self.published.div_ceil(VERSIONS);
        let name = format!("load-{}-{}", self.number, self.random.next() % crates);
        let versions = world.model.of(&name);
        let at = self.random.next() % versions.len();
        let (version, known) = versions.iter().nth(at).expect("there are so many");
        let is_yanked = known.yanked.expect("nobody else yanks it");
        let (method, what) = match is_yanked {
            true => ("PUT", "unyank"),
            false => ("DELETE", "yank"),
        };
        let path = format!("/crates/api/v1/crates/{name}/{version}/{what}");
        world.model.begin_to_yank(&name, version);
        let turn = world.turn.read().unwrap();
        world.ask(what, &request(method, path).token(&self.token), &[200])?;
        drop(turn);
        world.model.has_yanked(&name, version, !is_yanked);
        Ok(())
    }

    fn change_owners(&self, world: &World) -> Outcome {
        let path = format!("/crates/api/v1/crates/load-{}-0/owners", self.number);
        let body = json!({"users": ["friend"]}).to_string();
        for (method, is_owner) in [("PUT", true), ("DELETE", false)] {
            let change = request(method, &path).token(&self.token).body(body.clone());
            let turn = world.turn.read().unwrap();
            world.ask("change of owners", &change, &[200])?;
            drop(turn);
            let listed = world.ask("list of owners", &world.get(&path), &[200])?;
            if listed.text().contains("\"friend\"") != is_owner {
                return Err(format!("owners after {method}: {}", listed.text()));
            }
        }
        Ok(())
    }

    /// Uploads what may not be there, so that the server has something to clean up.
    fn be_refused(&mut self, world: &World) -> Outcome {
        let upload = |token: &str, body| {
            request("PUT", "/crates/api/v1/crates/new")
                .token(token)
                .body(body)
        };
        let name = format!("load-{}-0", self.number);
        let again = Release::new(&name, "1.0.0");
        let broken = Release::new(&name, "9.9.9").body();
        let broken = [&broken[..broken.len() - 9], b"no archive"].concat();
        for (body, token, status) in [
            (again.body(), &*self.token, 409),
            (broken, &self.token, 400),
            (frame(b"{}", b"no archive"), &self.token, 400),
            (again.body(), "no.good.token", 401),
        ] {
            world.ask("refused upload", &upload(token, body), &[status])?;
        }
        Ok(())
    }
}

/// Publishes `release` and remembers that it is there.
pub fn publish(world: &World, release: &Release, token: &str) -> Outcome {
    let is_large = release.crate_file.len() > LARGER_BYTES / 2;
    let what = if is_large {
        "larger publish"
    } else {
        "publish"
    };
    let turn = world.turn.read().unwrap();
    world.model.begin(release);
    world.ask(what, &release.request(token), &[200])?;
    world.model.acknowledge(release);
    drop(turn);
    Ok(())
}

/// Somebody who reads the sparse index, downloads, and searches.
pub struct Reader {
    random: Random,
    /// Index files that it has: tag and text.
    cache: BTreeMap<String, (String, String)>,
}

impl Reader {
    pub fn new(number: usize) -> Self {
        Self {
            random: Random::new(1000 + number),
            cache: BTreeMap::new(),
        }
    }

    pub fn round(&mut self, world: &World) -> Outcome {
        for _ in 0..READS {
            self.read(world)?;
        }
        for _ in 0..DOWNLOADS {
            let (name, version) = self.pick(world);
            download(world, &name, &version)?;
        }
        let (name, _) = self.pick(world);
        let path = format!("/crates/api/v1/crates?q={name}");
        let found = world.ask("search", &world.get(&path), &[200])?;
        if !found.text().contains(&format!("\"{name}\"")) {
            return Err(format!("{name} is not found: {}", found.text()));
        }
        let path = index_path(&format!("none-{}", self.random.next()));
        world.ask("index file that is not there", &world.get(&path), &[404])?;
        let path = "/crates/index/config.json";
        world.ask("config.json", &world.get(path), &[200])?;
        Ok(())
    }

    /// An acknowledged version: a new one as often as any.
    fn pick(&mut self, world: &World) -> (String, String) {
        let random = self.random.next();
        let back = self.random.next() % 6;
        world.model.pick(random, (back < 3).then_some(back))
    }

    fn read(&mut self, world: &World) -> Outcome {
        let (name, _) = self.pick(world);
        let before = world.model.of(&name);
        let is_packed = self.random.next().is_multiple_of(2);
        let text = self.text_of(world, &name, is_packed)?;
        agree(&name, &text, &before, &world.model.of(&name))
    }

    /// The text of an index file, from the server or as it was if the server says so.
    fn text_of(&mut self, world: &World, name: &str, is_packed: bool) -> Outcome<String> {
        let mut request = world.get(&index_path(name));
        if is_packed {
            request = request.header("Accept-Encoding", "gzip");
        }
        let Some((tag, text)) = self.cache.get(name) else {
            return self.keep(name, &world.ask("index file", &request, &[200])?);
        };
        let known = request.header("If-None-Match", tag);
        let reply = world.ask("index file that may be known", &known, &[200, 304])?;
        match reply.status {
            304 => Ok(text.clone()),
            _ => self.keep(name, &reply),
        }
    }

    fn keep(&mut self, name: &str, reply: &Reply) -> Outcome<String> {
        let mut text = String::new();
        let read = match reply.header("content-encoding") {
            Some("gzip") => GzDecoder::new(&reply.body[..]).read_to_string(&mut text),
            _ => (&reply.body[..]).read_to_string(&mut text),
        };
        read.map_err(|fault| format!("{name}: {fault}"))?;
        let tag = reply.header("etag").ok_or("an index file has no tag")?;
        if self.cache.len() > 100 {
            self.cache.clear();
        }
        self.cache
            .insert(name.to_owned(), (tag.to_owned(), text.clone()));
        Ok(text)
    }
}

/// Downloads a version and compares its bytes.
pub fn download(world: &World, name: &str, version: &str) -> Outcome {
    let cksum = &world.model.of(name)[version].cksum;
    let path = format!("/crates/dl/{name}/{version}/download");
    let reply = world.ask("download", &world.get(&path), &[200])?;
    let digest = Sha256::digest(&reply.body);
    let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    match found == *cksum {
        true => Ok(()),
        false => Err(format!("{name} {version} has {found}, not {cksum}")),
    }
}
