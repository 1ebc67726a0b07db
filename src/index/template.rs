//! A new index repository: complete and durable before it has its name.

use std::fs;
use std::io;
use std::path::Path;

use gix::bstr::BStr;
use jiff::Timestamp;
use thiserror::Error;
use tracing::warn;

use crate::disk;
use crate::domain::{RegistryId, StoreId};

use super::edit::Edit;
use super::message::{Draft, Message};
use super::object::{PackObject, commit_id};
use super::registry_files::{
    ALLOWED_SIGNERS, CONFIG_JSON, Identity, POLICY_TOML, REGISTRY_TOML, REVOKED_TOML,
};
use super::settings::Settings;
use super::signature::SigningKey;
use super::tree::Trees;
use super::{pack, refs};

/// Files that every index starts with, and that belong to people.
const TEMPLATE: [(&str, &str); 4] = [
    ("README.md", include_str!("../../index-template/README.md")),
    (
        ".gitattributes",
        include_str!("../../index-template/.gitattributes"),
    ),
    (
        POLICY_TOML,
        include_str!("../../index-template/policy.toml"),
    ),
    (
        REVOKED_TOML,
        include_str!("../../index-template/revoked.toml"),
    ),
];

/// Nothing but our own code writes here, and what it writes is durable; clients may ask for what they are shown.
///
/// What people push stays a pack, which is merged with the others: nothing ever removes single objects.
const GIT_CONFIG: &str = "\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
\tfsync = all
[gc]
\tauto = 0
[maintenance]
\tauto = false
[receive]
\tautogc = false
\tdenyDeletes = true
\tdenyNonFastForwards = true
\thideRefs = refs/namespaces
[uploadpack]
\tallowFilter = false
[transfer]
\tfsckObjects = true
\tunpackLimit = 1
";

/// The repository could not be made.
#[derive(Debug, Error)]
pub enum InitFault {
    /// A file or folder could not be written.
    #[error("the index repository was not made")]
    Io(#[from] io::Error),
    /// The first commit could not be signed.
    #[error("the first commit was not signed")]
    Sign(#[from] ssh_key::Error),
}

/// Makes the repository of a new registry at `git_dir`, with its first commit.
pub(super) fn create(
    git_dir: &Path,
    settings: &Settings,
    blob_store: StoreId,
    key: &SigningKey,
) -> Result<(), InitFault> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(io::Error::from)?;
    let identity = Identity {
        id: RegistryId::from(id),
        name: settings.name.clone(),
        public_url: settings.public_url.clone(),
        former_urls: Vec::new(),
        blob_store,
        visibility: settings.visibility,
        capability: settings.capability(settings.visibility, None)?,
    };
    let unfinished = git_dir.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    lay_out(&unfinished)?;
    first_commit(&unfinished, &identity, key)?;
    fs::rename(&unfinished, git_dir)?;
    disk::sync_folder(
        git_dir
            .parent()
            .expect("the repository lies in the data folder"),
    )?;
    Ok(())
}

/// Folders without which git finds no repository, although nothing need be in them.
const FOLDERS: [&str; 3] = ["objects/info", "refs/heads", "refs/tags"];

/// Makes a repository without a commit.
pub(super) fn lay_out(git_dir: &Path) -> io::Result<()> {
    for folder in FOLDERS.into_iter().chain(["objects/pack"]) {
        disk::create_folder(&git_dir.join(folder))?;
    }
    let served = git_dir.join(refs::SERVED);
    disk::create_folder(served.parent().expect("the ref lies in a folder"))?;
    for (path, text) in fixed_files() {
        disk::replace(&git_dir.join(path), text.as_bytes())?;
    }
    Ok(())
}

/// Files that never change, without which git finds no repository here or no branch in it.
fn fixed_files() -> [(&'static str, String); 3] {
    [
        ("config", GIT_CONFIG.to_owned()),
        (refs::SERVED_HEAD, refs::served_head()),
        ("HEAD", format!("ref: {}\n", refs::TIP)),
    ]
}

/// Makes again what of the repository never changes and is gone, torn or zeroed; what somebody has added to the settings
/// stays.
pub(super) fn mend_layout(git_dir: &Path) -> io::Result<()> {
    for folder in FOLDERS.map(|folder| git_dir.join(folder)) {
        if !folder.exists() {
            warn!(folder = %folder.display(), "a folder of the index repository was gone and is made again");
            disk::create_folder(&folder)?;
        }
    }
    for (path, text) in fixed_files() {
        let found = match fs::read(git_dir.join(path)) {
            Ok(bytes) => bytes,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(fault) => return Err(disk::about(&git_dir.join(path))(fault)),
        };
        let is_whole = match path {
            "config" => has_lines(&found, &text) && is_readable(&found),
            _ => found == text.as_bytes(),
        };
        if is_whole {
            continue;
        }
        let completed = (path == "config").then(|| completed(&found)).flatten();
        match completed {
            Some(_) => warn!("settings of the index repository were missing and are added"),
            None => warn!(
                path,
                "a file of the index repository was damaged and is written again"
            ),
        }
        let file = git_dir.join(path);
        disk::create_folder(file.parent().expect("it lies in the repository"))?;
        disk::replace(&file, &completed.unwrap_or(text.into_bytes()))?;
    }
    Ok(())
}

/// Settings with those of ours that they lack, which hold because they come last; `None` if all that is there are pieces
/// of ours, or it cannot be read.
fn completed(found: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(found);
    let is_ours = |line: &str| { GIT_CONFIG.lines() }.any(|it| it.trim().starts_with(line.trim()));
    if text.lines().all(is_ours) || !is_readable(found) {
        return None;
    }
    let mut completed = found.to_vec();
    let mut section = "";
    for line in GIT_CONFIG.lines() {
        if line.starts_with('[') {
            section = line;
        } else if !has_lines(found, line) {
            completed.extend(format!("\n{section}\n{line}\n").bytes());
        }
    }
    Some(completed)
}

fn has_lines(found: &[u8], wanted: &str) -> bool {
    let found = String::from_utf8_lossy(found);
    let has_line = |line: &str| found.lines().any(|other| other.trim() == line.trim());
    wanted.lines().all(has_line)
}

/// Whether git can read these settings.
fn is_readable(found: &[u8]) -> bool {
    !found.contains(&0) && gix::config::File::try_from(BStr::new(found)).is_ok()
}

fn first_commit(git_dir: &Path, identity: &Identity, key: &SigningKey) -> Result<(), InitFault> {
    let mut files: Vec<(&str, Vec<u8>)> = TEMPLATE
        .iter()
        .map(|(path, text)| (*path, text.as_bytes().to_vec()))
        .collect();
    files.push((CONFIG_JSON, identity.config_json()));
    files.push((REGISTRY_TOML, identity.to_toml().into_bytes()));
    files.push((
        ALLOWED_SIGNERS,
        format!("{}\n", key.signer()?.line()).into_bytes(),
    ));
    let mut first = Edit::of_registry(Message::new(format!(
        "found the registry {}",
        identity.name
    )));
    for (path, bytes) in files {
        first = first.with_own(path, bytes);
    }
    let Edit {
        author,
        message,
        files,
        mut objects,
    } = first;
    let ids: Vec<_> = files
        .iter()
        .map(|file| (file.path.as_str(), file.body.blob()))
        .collect();
    let (tree, rewritten) = Trees::default().put(&ids);
    objects.extend(
        rewritten
            .iter()
            .map(|new| PackObject::tree(new.id, new.tree.as_bytes())),
    );
    let draft = Draft {
        tree,
        parent: None,
        author: &author,
        time: Timestamp::now(),
        message: &message,
    };
    let bytes = draft.sign(|bytes| key.sign(bytes))?;
    let commit = commit_id(&bytes);
    objects.push(PackObject::commit(commit, &bytes));
    let _kept = pack::write(&git_dir.join("objects/pack"), &objects)?;
    refs::move_tip(git_dir, None, commit).map_err(io::Error::other)?;
    refs::show(git_dir, commit)?;
    Ok(())
}
