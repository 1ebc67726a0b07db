//! Whether a commit of the registry says what it does, and does nothing else.

use crate::domain::{IndexLine, IndexPath, TokenId};
use crate::index::history::Judged;
use crate::index::message::Said;
use crate::index::registry_files::{
    ALLOWED_SIGNERS, CONFIG_JSON, REGISTRY_TOML, REVOKED_TOML, RegistryFiles,
};
use crate::index::rule::LineStep;
use crate::index::signature::Signer;
use crate::index::snapshot::Crate;

/// What every change that a person asks the registry for says of its request.
const REQUEST: [&str; 2] = ["Authenticated-via", "Request-id"];
/// What a change that a job of the forge's CI asks for says between the two.
const JOB: [&str; 3] = ["CI-workflow", "CI-run", "CI-commit"];

/// Checks subject and trailers against the files that differ.
pub(super) fn check(judged: &Judged<'_>) -> Result<(), String> {
    let commit = Commit {
        said: Said::of(&judged.commit.bytes),
        judged,
    };
    if judged.commit.parents.len() != 1 {
        return Err("a commit of the registry has one parent".to_owned());
    }
    match judged.step.crates.as_slice() {
        [] => commit.of_registry_files(),
        [(krate, steps)] => commit.of_crate(krate, steps),
        _ => Err("a commit of the registry changes more than one crate".to_owned()),
    }
}

struct Commit<'a> {
    said: Said,
    judged: &'a Judged<'a>,
}

impl Commit<'_> {
    fn of_crate(&self, krate: &Crate, steps: &[LineStep]) -> Result<(), String> {
        let name = krate.name.as_str();
        let path = IndexPath::of(&krate.name);
        self.trailer("Crate", name)?;
        match steps {
            [LineStep::Added(line)] => self.published(krate, line),
            [LineStep::Yanked { version, yanked }] => {
                let verb = if *yanked { "yank" } else { "unyank" };
                self.subject(&format!("{verb} {name} {version}"))?;
                self.keys(&["Crate", "Version"], &REQUEST)?;
                self.trailer("Version", &version.to_string())?;
                self.files(&[path.as_str()])
            }
            [] => {
                let before = self.judged.before.find(&krate.name);
                let difference = before.map(|before| krate.owners.difference(&before.owners));
                self.subject(&format!("own {name}{}", difference.unwrap_or_default()))?;
                self.keys(&["Crate"], &REQUEST)?;
                self.files(&[&path.owners_file()])
            }
            _ => Err("a commit of the registry changes more than one line".to_owned()),
        }
    }

    fn published(&self, krate: &Crate, line: &IndexLine) -> Result<(), String> {
        self.subject(&format!("publish {} {}", line.name, line.vers))?;
        let first = ["Crate", "Version", "Cksum", "Published-by"];
        let from_sources = ["Source-commit", REQUEST[0], REQUEST[1]];
        self.keys(&first, &REQUEST)
            .or_else(|_| self.keys(&first, &from_sources))?;
        self.trailer("Version", &line.vers.to_string())?;
        self.trailer("Cksum", &line.cksum.to_string())?;
        let author = self.judged.commit.author_name().unwrap_or_default();
        self.trailer("Published-by", &author)?;
        let path = IndexPath::of(&krate.name);
        if self.judged.before.find(&krate.name).is_some() {
            return self.files(&[path.as_str()]);
        }
        self.files(&[path.as_str(), &path.owners_file()])?;
        match krate.owners.are_first_of(&author) {
            true => Ok(()),
            false => Err(format!(
                "the crate is new, but its owner is not `{author}`, who published it"
            )),
        }
    }

    fn of_registry_files(&self) -> Result<(), String> {
        let before = self.judged.before.registry();
        let Some(after) = self.judged.step.registry.as_deref() else {
            return Err("a commit of the registry changes nothing".to_owned());
        };
        let mut paths = self.judged.files.iter().map(|file| file.path.as_str());
        if paths.all(|path| [CONFIG_JSON, REGISTRY_TOML].contains(&path)) {
            return self.configured(before, after);
        }
        if before.revoked != after.revoked {
            return self.revoked(before, after);
        }
        self.trusted(before, after)
    }

    fn configured(&self, before: &RegistryFiles, after: &RegistryFiles) -> Result<(), String> {
        let changes = before.identity.changes_to(&after.identity);
        if changes.is_empty() || after.config_json.inflate() != after.identity.config_json() {
            return Err("`config.json` and `registry.toml` do not agree".to_owned());
        }
        self.subject(&changes.join(", "))?;
        self.keys(&[], &[])
    }

    fn revoked(&self, before: &RegistryFiles, after: &RegistryFiles) -> Result<(), String> {
        self.files(&[REVOKED_TOML])?;
        let fresh = after.revoked.iter().map(|(id, _)| id);
        let mut fresh = fresh.filter(|id| !before.revoked.contains(id));
        let (Some(id), None) = (fresh.next().map(TokenId::to_string), fresh.next()) else {
            return Err("a commit of the registry revokes one token".to_owned());
        };
        self.subject(&format!("revoke token {id}"))?;
        self.keys(&["Token"], &[])?;
        self.trailer("Token", &id)
    }

    fn trusted(&self, before: &RegistryFiles, after: &RegistryFiles) -> Result<(), String> {
        self.files(&[ALLOWED_SIGNERS])?;
        let added = after
            .allowed_signers
            .strip_prefix(before.allowed_signers.trim_ascii_end())
            .and_then(|added| std::str::from_utf8(added.trim_ascii()).ok())
            .and_then(Signer::of_line);
        let Some(signer) = added else {
            return Err("a commit of the registry adds one key to `allowed_signers`".to_owned());
        };
        self.subject("add signing key")?;
        self.keys(&["Signing-key"], &[])?;
        self.trailer("Signing-key", signer.fingerprint())
    }

    fn subject(&self, expected: &str) -> Result<(), String> {
        match self.said.subject() == expected {
            true => Ok(()),
            false => Err(format!(
                "its subject is `{}`, but what it does is `{expected}`",
                self.said.subject()
            )),
        }
    }

    fn trailer(&self, key: &str, expected: &str) -> Result<(), String> {
        match self.said.trailer(key) {
            Some(value) if value == expected => Ok(()),
            Some(value) => Err(format!(
                "its message says `{key}: {value}`, but what it does is of `{expected}`"
            )),
            None => Err(format!("its message has no `{key}`")),
        }
    }

    /// Its trailers must be these, each once; a job may say what it is before the end of the request.
    fn keys(&self, first: &[&str], then: &[&str]) -> Result<(), String> {
        let found = self.said.keys();
        let expected = [first, then].concat();
        let mut of_job = expected.clone();
        if let Some(at) = of_job.iter().position(|key| *key == REQUEST[1]) {
            of_job.splice(at..at, JOB);
        }
        if let Some(missing) = expected.iter().find(|key| !found.contains(*key)) {
            return Err(format!("its message has no `{missing}`"));
        }
        match found == expected || found == of_job {
            true => Ok(()),
            false => Err(format!(
                "the trailers of its message are {}, not {}",
                found.join(", "),
                expected.join(", ")
            )),
        }
    }

    /// It must change these files and no others.
    fn files(&self, expected: &[&str]) -> Result<(), String> {
        let files = &self.judged.files;
        let mut paths = files.iter().map(|file| file.path.as_str());
        match paths.find(|path| !expected.contains(path)) {
            Some(path) => Err(format!(
                "its message says nothing of `{path}`, which it changes"
            )),
            None => Ok(()),
        }
    }
}
