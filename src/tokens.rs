//! The record of the tokens that were made: what each allows and until when, never its text.
//!
//! One file a token, `tokens/<id>.toml`, written before the token is shown to anybody and never changed. Whether a
//! token was revoked stands in the index alone.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::disk;
use crate::domain::{Can, CrateScope, Login, PlainText, TokenId};

/// The longest file that is read as a record, in bytes: one that names as many crates as a token may has 8,000.
const RECORD_BYTES_MAX: u64 = 64 * 1024;

/// The folder of records.
#[derive(Debug, Clone)]
pub struct TokenRecords {
    folder: PathBuf,
}

/// What is known of one token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// Whose it is.
    pub user: Login,
    /// What it allows.
    pub can: Vec<Can>,
    /// On which crates.
    pub crates: Vec<CrateScope>,
    /// From when on it is good.
    pub issued: Timestamp,
    /// From when on it is no longer good.
    pub expires: Timestamp,
    /// The id of the key that signed it; older records have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PlainText>,
}

/// A record cannot be read or written.
#[derive(Debug, Error)]
pub enum RecordFault {
    /// The system says no.
    #[error("the record of a token, `{}`, cannot be read or written", path.display())]
    Io {
        /// The file, or the folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not a record.
    #[error(
        "`{}` is not the record of a token: {reason}; move it away, its token can be revoked by its id all the same",
        path.display()
    )]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl TokenRecords {
    /// The records in `folder`, which need not exist yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Records a new token: durable when this returns.
    pub fn add(&self, id: TokenId, record: &TokenRecord) -> Result<(), RecordFault> {
        let path = self.path(id);
        let text = toml::to_string(record).expect("a record has only texts and lists of texts");
        disk::create_private_folder(&self.folder)
            .and_then(|()| disk::create_private(&path, text.as_bytes()))
            .map_err(|source| RecordFault::Io { path, source })
    }

    /// The record of one token; `None` if it was made elsewhere, or before there were records.
    pub fn find(&self, id: TokenId) -> Result<Option<TokenRecord>, RecordFault> {
        let path = self.path(id);
        match read_bounded(&path) {
            Ok(text) => toml::from_str(&text)
                .map(Some)
                .map_err(|error| RecordFault::Form {
                    path,
                    reason: error.message().to_owned(),
                }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(RecordFault::Io { path, source }),
        }
    }

    /// All records, the oldest token first.
    pub fn all(&self) -> Result<Vec<(TokenId, TokenRecord)>, RecordFault> {
        let ids = self.ids().map_err(|source| RecordFault::Io {
            path: self.folder.clone(),
            source,
        })?;
        let mut records = Vec::with_capacity(ids.len());
        for id in ids {
            // Gone since it was listed: somebody tidied up.
            if let Some(record) = self.find(id)? {
                records.push((id, record));
            }
        }
        records.sort_by_key(|(id, record)| (record.issued, *id));
        Ok(records)
    }

    fn ids(&self) -> io::Result<Vec<TokenId>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".toml"));
            ids.extend(id.and_then(|id| id.parse::<TokenId>().ok()));
        }
        Ok(ids)
    }

    fn path(&self, id: TokenId) -> PathBuf {
        self.folder.join(format!("{id}.toml"))
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?
        .take(RECORD_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if read as u64 > RECORD_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(secs: i64) -> TokenRecord {
        TokenRecord {
            user: "alice".parse().unwrap(),
            can: vec![Can::Publish, Can::Yank],
            crates: vec!["acme*".parse().unwrap(), "tool".parse().unwrap()],
            issued: Timestamp::from_second(1_790_000_000 + secs).unwrap(),
            expires: Timestamp::from_second(1_790_009_999).unwrap(),
            key: None,
        }
    }

    fn id(number: u8) -> TokenId {
        TokenId::from([number; 16])
    }

    #[test]
    fn records_are_found_and_listed_by_age() {
        let folder = tempfile::tempdir().unwrap();
        let records = TokenRecords::new(folder.path().join("tokens"));
        assert_eq!(records.all().unwrap(), []);
        assert_eq!(records.find(id(1)).unwrap(), None);
        for (number, secs) in [(1, 20), (2, 0), (3, 10)] {
            records.add(id(number), &record(secs)).unwrap();
        }
        fs::write(folder.path().join("tokens/tmp_0"), "half").unwrap();
        assert_eq!(records.find(id(3)).unwrap(), Some(record(10)));
        let listed = [(id(2), record(0)), (id(3), record(10)), (id(1), record(20))];
        assert_eq!(records.all().unwrap(), listed);
        let text = fs::read_to_string(records.path(id(2))).unwrap();
        assert_eq!(
            text,
            "user = \"alice\"\ncan = [\"publish\", \"yank\"]\ncrates = [\"acme*\", \"tool\"]\n\
             issued = \"2026-09-21T14:13:20Z\"\nexpires = \"2026-09-21T16:59:59Z\"\n"
        );
        assert!(
            records.add(id(1), &record(0)).is_err(),
            "an id is used once"
        );
    }

    #[test]
    fn what_is_no_record_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let records = TokenRecords::new(folder.path().to_owned());
        for broken in ["", "user = 1", &"#".repeat(70_000), "\u{0}"] {
            fs::write(records.path(id(1)), broken).unwrap();
            let fault = records.all().unwrap_err();
            assert!(fault.to_string().contains(&id(1).to_string()), "{fault}");
        }
    }
}
