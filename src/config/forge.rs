//! The section `[forge]`, complete.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::validate::{SECS_MAX, refuse, within};
use super::{ConfigFault, RawForge};
use crate::domain::{PublicUrl, RepositoryPath};

/// The variable that holds the robot's token where no file does.
pub const TOKEN_VARIABLE: &str = "SIDECARGO_FORGE_TOKEN";
/// The longest number of an application, in bytes; a forge gives a UUID.
const CLIENT_ID_BYTES_MAX: usize = 200;
/// Who is away for longer than a month may well have left.
const UNREACHABLE_SECS_MAX: u64 = 30 * SECS_MAX;
/// The shortest name of a file that may be a secret instead, in bytes; no secret is shorter.
const SECRET_BYTES_MIN: usize = 16;

/// The forge and the index repository there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForgeConfig {
    /// Its base URL, at which this server reaches it.
    pub url: PublicUrl,
    /// Its base URL as it calls itself (ROOT_URL): with it the forge signs, and people name its repositories.
    pub issuer: PublicUrl,
    /// The index repository.
    pub repository: RepositoryPath,
    /// The file that holds the robot's token, read for each use: another token needs no restart. Without one the
    /// variable [`TOKEN_VARIABLE`] holds it.
    pub token_file: Option<PathBuf>,
    /// The file that holds the secret with which the forge signs what it tells; without one it is not listened to.
    pub webhook_secret_file: Option<PathBuf>,
    /// The number of this registry as an application there: what an id_token of a person must be for.
    pub client_id: Option<String>,
    /// The team whose members approve and merge; only `sidecargo doctor` has to know.
    pub reviewers: Option<String>,
    /// Where the forge reaches this server, if not at `public_url`; only `sidecargo doctor` has to know.
    pub told_at: Option<PublicUrl>,
    /// How often it is looked whether somebody else moved the branch, in seconds.
    pub poll_secs: u64,
    /// How long those who could read may go on while the forge cannot be asked, in seconds.
    pub unreachable_secs: u64,
}

impl ForgeConfig {
    /// The index repository as this server clones it.
    pub fn clone_url(&self) -> String {
        format!("{}/{}.git", self.url, self.repository)
    }

    /// The same as people do.
    pub fn clone_url_of_people(&self) -> String {
        format!("{}/{}.git", self.issuer, self.repository)
    }
}

/// What holds of the section; a relative file starts at `folder`.
pub(super) fn complete(raw: RawForge, folder: &Path) -> Result<Option<ForgeConfig>, ConfigFault> {
    within("forge.poll_secs", raw.poll_secs, 1, SECS_MAX)?;
    within(
        "forge.unreachable_secs",
        raw.unreachable_secs,
        0,
        UNREACHABLE_SECS_MAX,
    )?;
    let is_word = |id: &String| {
        (1..=CLIENT_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
    };
    if raw.client_id.as_ref().is_some_and(|id| !is_word(id)) {
        let reason = "it must be one word of printable ASCII, as the forge shows it";
        return refuse("forge.client_id", reason.to_owned());
    }
    let is_nowhere = |file: &PathBuf| file.as_os_str().is_empty();
    if raw.token_file.as_ref().is_some_and(is_nowhere) {
        let reason = "it is empty, it must name a file with a token of the forge";
        return refuse("forge.token_file", reason.to_owned());
    }
    for (key, file) in [
        ("forge.token_file", &raw.token_file),
        ("forge.webhook_secret_file", &raw.webhook_secret_file),
    ] {
        if file.as_ref().is_some_and(|file| is_secret(file, folder)) {
            let reason = "no file has that name, which looks like a secret itself and is not shown: write the secret into a file, and name that; before a name that only looks so write `./`";
            return refuse(key, reason.to_owned());
        }
    }
    let set = first_set(&raw);
    let missing = |key, has| refuse(key, format!("it is missing, but `{has}` is there"));
    match (raw.url, raw.repository) {
        (Some(url), Some(repository)) => Ok(Some(ForgeConfig {
            issuer: raw.issuer.unwrap_or_else(|| url.clone()),
            url,
            repository,
            token_file: raw.token_file.map(|file| folder.join(file)),
            webhook_secret_file: raw.webhook_secret_file.map(|file| folder.join(file)),
            client_id: raw.client_id,
            reviewers: raw.reviewers,
            told_at: raw.told_at,
            poll_secs: raw.poll_secs,
            unreachable_secs: raw.unreachable_secs,
        })),
        (Some(_), None) => missing("forge.repository", "forge.url"),
        (None, Some(_)) => missing("forge.url", "forge.repository"),
        (None, None) => match set {
            Some(key) => missing("forge.url", key),
            None => Ok(None),
        },
    }
}

/// A key of the section whose value is none that holds without a forge as well.
fn first_set(raw: &RawForge) -> Option<&'static str> {
    let default = RawForge::default();
    let keys = [
        ("forge.token_file", raw.token_file.is_some()),
        (
            "forge.webhook_secret_file",
            raw.webhook_secret_file.is_some(),
        ),
        ("forge.client_id", raw.client_id.is_some()),
        ("forge.issuer", raw.issuer.is_some()),
        ("forge.reviewers", raw.reviewers.is_some()),
        ("forge.told_at", raw.told_at.is_some()),
        ("forge.poll_secs", raw.poll_secs != default.poll_secs),
        (
            "forge.unreachable_secs",
            raw.unreachable_secs != default.unreachable_secs,
        ),
    ];
    keys.into_iter()
        .find_map(|(key, is_set)| is_set.then_some(key))
}

/// Whether somebody may have written the secret itself in the place of its file: the name of one is shown and logged.
fn is_secret(file: &Path, folder: &Path) -> bool {
    let name = file.as_os_str().as_encoded_bytes();
    let is_bare = !name.iter().any(|byte| b"/.".contains(byte));
    let is_long = name.len() >= SECRET_BYTES_MIN && name.iter().any(u8::is_ascii_digit);
    is_bare && is_long && !folder.join(file).exists()
}
