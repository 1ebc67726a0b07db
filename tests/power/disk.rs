//! A disk whose power may go: it knows what was flushed, and what was not.
//!
//! The worst is assumed that POSIX allows. A flush of a file keeps its bytes and not its name; a name is kept by a flush
//! of its folder and by nothing else; until then each change of a folder may or may not be there, whatever came after
//! it, and a file may have lost any of its bytes.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use super::calls::Step;

/// What a disk writes whole.
const SECTOR: usize = 512;
/// The data folder itself, which is there for good.
const ROOT: usize = 0;

type Names = BTreeMap<String, usize>;

/// A folder with all below it.
pub struct Disk {
    nodes: Vec<Node>,
    /// By their numbers.
    flushes_under_way: HashMap<usize, Flush>,
}

enum Node {
    File(File),
    Folder(Folder),
}

#[derive(Default)]
struct File {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Where the next write goes.
    place: usize,
    changes: u64,
    durable_changes: u64,
}

#[derive(Default)]
struct Folder {
    now: Names,
    durable: Names,
    /// What was done since the last flush, each with its number.
    pending: Vec<(u64, Change)>,
    changes: u64,
}

#[derive(Clone)]
enum Change {
    Put(String, usize),
    Remove(String),
    /// In one folder no rename is seen half done.
    Rename(String, String, usize),
    /// Nor is an exchange: two names, each with the file that it has from then on.
    Exchange([(String, usize); 2]),
}

/// What one flush makes durable when it ends.
struct Flush {
    node: usize,
    changes: u64,
    contents: Contents,
}

enum Contents {
    Bytes(Vec<u8>),
    Names(Names),
}

/// What became of that which was not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is lost.
    Lost,
    /// Names are there, bytes are lost.
    Emptied,
    /// Names are there, bytes are zeros.
    Zeroed,
    /// Names are there, bytes up to the end of some sector.
    Torn(u64),
    /// Of each folder some changes, of each file any of the above, as this seed has it.
    Mixed(u64),
    /// It is there: nothing but the processes died.
    Kept,
}

/// Files and folders by their paths, `None` being a folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Tree(pub BTreeMap<String, Option<Vec<u8>>>);

impl Disk {
    /// With an empty data folder.
    pub fn new() -> Self {
        Self {
            nodes: vec![Node::Folder(Folder::default())],
            flushes_under_way: HashMap::new(),
        }
    }

    /// Does what the step says.
    ///
    /// # Panics
    /// If it cannot be done here.
    pub fn take(&mut self, step: &Step) {
        match step {
            Step::Open { path, truncates } => self.open(path, *truncates),
            Step::Seek { path, to } => {
                if let Some(Node::File(file)) = self.find(path).map(|node| &mut self.nodes[node]) {
                    file.place = *to;
                }
            }
            Step::Write { path, bytes } => self.file(path).write(bytes),
            Step::Rename { from, to } => self.rename(from, to),
            Step::Exchange { one, other } => {
                let (here, there) = (self.at(one), self.at(other));
                let names = [(name_of(one), there), (name_of(other), here)];
                self.place_of(one).0.change(Change::Exchange(names));
            }
            Step::Link { from, to } => {
                let node = self.at(from);
                let (folder, name) = self.place_of(to);
                folder.change(Change::Put(name, node));
            }
            Step::Unlink(path) => {
                if !is_socket(path) {
                    let (folder, name) = self.place_of(path);
                    folder.change(Change::Remove(name));
                }
            }
            Step::MakeFolder(path) if path == Path::new("") => {}
            Step::MakeFolder(path) => self.make(path, Node::Folder(Folder::default())),
            Step::SyncBegun { path, number } => self.begin_flush(path, *number),
            Step::SyncEnded { number } => self.end_flush(*number),
            Step::Said(_) => {}
        }
    }

    /// What is found when the power is back.
    pub fn after(&self, fate: Fate) -> Tree {
        let mut tree = Tree::default();
        self.collect(ROOT, "", fate, &mut tree);
        tree
    }

    fn collect(&self, node: usize, path: &str, fate: Fate, tree: &mut Tree) {
        match &self.nodes[node] {
            Node::File(file) => {
                tree.0.insert(path.to_owned(), Some(file.after(fate, node)));
            }
            Node::Folder(folder) => {
                if node != ROOT {
                    tree.0.insert(path.to_owned(), None);
                }
                for (name, below) in folder.after(fate, node) {
                    let path = match path {
                        "" => name,
                        _ => format!("{path}/{name}"),
                    };
                    self.collect(below, &path, fate, tree);
                }
            }
        }
    }

    fn open(&mut self, path: &Path, truncates: bool) {
        if self.find(path).is_none() {
            self.make(path, Node::File(File::default()));
        }
        let file = self.file(path);
        file.place = 0;
        if truncates && !file.now.is_empty() {
            file.now.clear();
            file.changes += 1;
        }
    }

    fn make(&mut self, path: &Path, node: Node) {
        let id = self.nodes.len();
        self.nodes.push(node);
        let (folder, name) = self.place_of(path);
        folder.change(Change::Put(name, id));
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        if is_socket(from) {
            return;
        }
        let node = self.at(from);
        if from.parent() == to.parent() {
            let (folder, name) = self.place_of(to);
            folder.change(Change::Rename(name_of(from), name, node));
        } else {
            let (folder, name) = self.place_of(to);
            folder.change(Change::Put(name, node));
            let (folder, name) = self.place_of(from);
            folder.change(Change::Remove(name));
        }
    }

    fn begin_flush(&mut self, path: &Path, number: usize) {
        let node = self.at(path);
        let (changes, contents) = match &self.nodes[node] {
            Node::File(file) => (file.changes, Contents::Bytes(file.now.clone())),
            Node::Folder(folder) => (folder.changes, Contents::Names(folder.now.clone())),
        };
        let flush = Flush {
            node,
            changes,
            contents,
        };
        self.flushes_under_way.insert(number, flush);
    }

    fn end_flush(&mut self, number: usize) {
        let flush = self.flushes_under_way.remove(&number);
        // One of which the beginning was taken out of the steps flushes nothing.
        let Some(flush) = flush else { return };
        match (&mut self.nodes[flush.node], flush.contents) {
            (Node::File(file), Contents::Bytes(bytes)) if flush.changes >= file.durable_changes => {
                file.durable = bytes;
                file.durable_changes = flush.changes;
            }
            (Node::Folder(folder), Contents::Names(names)) => {
                let count = folder.pending.len();
                folder.pending.retain(|(number, _)| *number > flush.changes);
                // An earlier one that ends later changes nothing.
                if folder.pending.len() < count {
                    folder.durable = names;
                }
            }
            _ => {}
        }
    }

    fn find(&self, path: &Path) -> Option<usize> {
        path.iter()
            .try_fold(ROOT, |node, name| match &self.nodes[node] {
                Node::Folder(folder) => folder.now.get(name.to_str().unwrap()).copied(),
                Node::File(_) => None,
            })
    }

    fn at(&self, path: &Path) -> usize {
        self.find(path)
            .unwrap_or_else(|| panic!("the trace never showed {}", path.display()))
    }

    fn file(&mut self, path: &Path) -> &mut File {
        let node = self.at(path);
        match &mut self.nodes[node] {
            Node::File(file) => file,
            Node::Folder(_) => panic!("{} is a folder", path.display()),
        }
    }

    /// The folder in which `path` lies, and its name there.
    fn place_of(&mut self, path: &Path) -> (&mut Folder, String) {
        let node = self.at(path.parent().unwrap());
        match &mut self.nodes[node] {
            Node::Folder(folder) => (folder, name_of(path)),
            Node::File(_) => panic!("{} lies in a file", path.display()),
        }
    }
}

impl File {
    fn write(&mut self, bytes: &[u8]) {
        let end = self.place + bytes.len();
        self.now.resize(self.now.len().max(end), 0);
        self.now[self.place..end].copy_from_slice(bytes);
        self.place = end;
        self.changes += 1;
    }

    fn after(&self, fate: Fate, node: usize) -> Vec<u8> {
        if self.changes == self.durable_changes {
            return self.durable.clone();
        }
        let zeroed = || {
            let mut bytes = self.durable.clone();
            bytes.resize(self.now.len(), 0);
            bytes
        };
        match fate {
            Fate::Lost | Fate::Emptied => self.durable.clone(),
            Fate::Zeroed => zeroed(),
            Fate::Kept => self.now.clone(),
            Fate::Torn(seed) => {
                let sectors = self.now.len().div_ceil(SECTOR);
                let kept = dice(seed, node, self.changes) as usize % (sectors + 1) * SECTOR;
                self.now[..kept.min(self.now.len())].to_vec()
            }
            Fate::Mixed(seed) => {
                let fates = [Fate::Lost, Fate::Zeroed, Fate::Torn(seed), Fate::Kept];
                let chosen = dice(!seed, node, self.changes) as usize % fates.len();
                self.after(fates[chosen], node)
            }
        }
    }
}

impl Folder {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.changes += 1;
        self.pending.push((self.changes, change));
    }

    fn after(&self, fate: Fate, node: usize) -> Names {
        match fate {
            Fate::Lost => self.durable.clone(),
            Fate::Mixed(seed) => {
                let mut names = self.durable.clone();
                for (number, change) in &self.pending {
                    if dice(seed, node, *number).is_multiple_of(2) {
                        change.apply(&mut names);
                    }
                }
                names
            }
            Fate::Emptied | Fate::Zeroed | Fate::Torn(_) | Fate::Kept => self.now.clone(),
        }
    }
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Put(name, node) => {
                names.insert(name.clone(), *node);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Exchange(exchanged) => names.extend(exchanged.iter().cloned()),
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl Tree {
    /// Makes all of it in `folder`, which is there.
    pub fn write(&self, folder: &Path) {
        for (path, contents) in &self.0 {
            let path = folder.join(path);
            match contents {
                None => fs::create_dir(path).unwrap(),
                Some(bytes) => fs::write(path, bytes).unwrap(),
            }
        }
    }

    /// All that is in `folder`.
    pub fn of(folder: &Path) -> Self {
        let mut tree = Self::default();
        tree.add(folder, "");
        tree
    }

    fn add(&mut self, folder: &Path, below: &str) {
        for entry in fs::read_dir(folder.join(below)).unwrap() {
            let entry = entry.unwrap();
            let path = Path::new(below).join(entry.file_name());
            let path = path.to_str().unwrap();
            if entry.file_type().unwrap().is_dir() {
                self.0.insert(path.to_owned(), None);
                self.add(folder, path);
            } else if !is_socket(Path::new(path)) {
                let bytes = fs::read(entry.path()).unwrap();
                self.0.insert(path.to_owned(), Some(bytes));
            }
        }
    }

    /// How it comes to an empty data folder to stay.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut paths = vec![PathBuf::new()];
        for (path, contents) in &self.0 {
            let path = PathBuf::from(path);
            paths.push(path.clone());
            let Some(bytes) = contents else {
                steps.push(Step::MakeFolder(path));
                continue;
            };
            let truncates = false;
            steps.push(Step::Open {
                path: path.clone(),
                truncates,
            });
            let bytes = bytes.clone();
            steps.push(Step::Write { path, bytes });
        }
        for (number, path) in paths.into_iter().enumerate() {
            steps.push(Step::SyncBegun { path, number });
            steps.push(Step::SyncEnded { number });
        }
        steps
    }

    /// A number that only an equal tree has.
    pub fn fingerprint(&self) -> u64 {
        hashed(self)
    }
}

/// A number that looks like chance and is always the same.
pub fn dice(seed: u64, node: usize, change: u64) -> u64 {
    hashed(&(seed, node, change))
}

fn hashed(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Sockets are made by other calls, and hold nothing.
fn is_socket(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "sock")
}

#[cfg(test)]
mod tests;
