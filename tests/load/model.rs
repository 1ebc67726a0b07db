//! What the registry has acknowledged, and whether an answer agrees with it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::Value;

use super::Outcome;
use crate::common::upload::Release;

/// The versions of a crate, each as far as it is known.
pub type Versions = BTreeMap<String, Known>;

/// What is known of a version.
#[derive(Clone)]
pub struct Known {
    /// The checksum of its file.
    pub cksum: String,
    /// Whether its publish was answered with success: before that it may be there or not.
    pub is_acknowledged: bool,
    /// Whether it is yanked, unless somebody changes that at this moment.
    pub yanked: Option<bool>,
    /// How often somebody began to change that.
    changes: usize,
}

/// All crates, and the versions that were acknowledged in their order.
#[derive(Default)]
pub struct Model {
    crates: Mutex<BTreeMap<String, Versions>>,
    acknowledged: Mutex<Vec<(String, String)>>,
}

impl Model {
    /// From now on the release may be there.
    pub fn begin(&self, release: &Release) {
        let known = Known {
            cksum: release.cksum(),
            is_acknowledged: false,
            yanked: Some(false),
            changes: 0,
        };
        let mut crates = self.crates.lock().unwrap();
        let versions = crates.entry(release.name.clone()).or_default();
        // An upload that was cut off is begun again.
        versions.insert(release.version.clone(), known);
    }

    /// From now on it must be there.
    pub fn acknowledge(&self, release: &Release) {
        self.change(&release.name, &release.version, |known| {
            known.is_acknowledged = true;
        });
        let entry = (release.name.clone(), release.version.clone());
        self.acknowledged.lock().unwrap().push(entry);
    }

    /// From now on it may be yanked or not.
    pub fn begin_to_yank(&self, name: &str, version: &str) {
        self.change(name, version, |known| {
            known.yanked = None;
            known.changes += 1;
        });
    }

    /// From now on it is yanked, or is not.
    pub fn has_yanked(&self, name: &str, version: &str, yanked: bool) {
        self.change(name, version, |known| known.yanked = Some(yanked));
    }

    fn change(&self, name: &str, version: &str, change: impl FnOnce(&mut Known)) {
        let mut crates = self.crates.lock().unwrap();
        change(crates.get_mut(name).unwrap().get_mut(version).unwrap());
    }

    /// The versions of a crate as they are known now.
    pub fn of(&self, name: &str) -> Versions {
        let crates = self.crates.lock().unwrap();
        crates.get(name).cloned().unwrap_or_default()
    }

    /// Every crate.
    pub fn all(&self) -> BTreeMap<String, Versions> {
        self.crates.lock().unwrap().clone()
    }

    /// How many versions were acknowledged.
    pub fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// An acknowledged version: a random one, if `back` is none, or the one that so many came after.
    pub fn pick(&self, random: usize, back: Option<usize>) -> (String, String) {
        let acknowledged = self.acknowledged.lock().unwrap();
        let last = acknowledged.len() - 1;
        let at = back.map_or(random % acknowledged.len(), |back| {
            last.saturating_sub(back)
        });
        acknowledged[at].clone()
    }
}

/// Whether the index file `text` of a crate is one that may be read between `before` and `after`.
///
/// # Errors
/// A line is missing, comes from nowhere, or says something else.
pub fn agree(name: &str, text: &str, before: &Versions, after: &Versions) -> Outcome {
    let mut lines = BTreeMap::new();
    for line in text.lines() {
        let line: Value =
            serde_json::from_str(line).map_err(|fault| format!("{name}: {fault}: {line}"))?;
        let version = line["vers"].as_str().unwrap_or_default().to_owned();
        let known = after.get(&version);
        let known = known.ok_or_else(|| format!("nobody published {name} {version}: {line}"))?;
        if line["name"] != name || line["cksum"] != known.cksum.as_str() {
            return Err(format!("the line of {name} {version} is another: {line}"));
        }
        lines.insert(version, line);
    }
    for (version, known) in before.iter().filter(|(_, known)| known.is_acknowledged) {
        let line = lines.get(version);
        let line = line.ok_or_else(|| format!("the line of {name} {version} is not there"))?;
        let later = &after[version];
        let has_stayed = later.changes == known.changes;
        if let (Some(yanked), true) = (known.yanked, has_stayed)
            && line["yanked"] != yanked
        {
            return Err(format!("{name} {version} should be yanked={yanked}"));
        }
    }
    Ok(())
}

#[test]
fn an_answer_that_lacks_what_was_acknowledged_does_not_agree() {
    let model = Model::default();
    let (first, second) = (Release::new("ab", "1.0.0"), Release::new("ab", "1.0.1"));
    let line = |release: &Release, yanked: bool| {
        let (name, version, cksum) = (&release.name, &release.version, release.cksum());
        serde_json::json!({"name": name, "vers": version, "cksum": cksum, "yanked": yanked})
            .to_string()
    };
    let agrees = |text: &str| {
        let versions = model.of("ab");
        agree("ab", text, &versions, &versions).is_ok()
    };
    let (good, yanked) = (line(&first, false), line(&first, true));
    assert!(!agrees(&good), "nobody has begun it");
    model.begin(&first);
    assert!(agrees("") && agrees(&good));
    model.acknowledge(&first);
    assert!(!agrees("") && agrees(&good) && !agrees(&yanked));
    assert!(!agrees(&good.replace(&first.cksum(), &second.cksum())));
    assert!(!agrees(&format!("{good}\n{}", line(&second, false))));
    let before = model.of("ab");
    model.begin_to_yank("ab", "1.0.0");
    assert!(agrees(&good) && agrees(&yanked));
    model.has_yanked("ab", "1.0.0", true);
    assert!(!agrees(&good) && agrees(&yanked));
    // A reader that began before may see either.
    assert!(agree("ab", &good, &before, &model.of("ab")).is_ok());
}
