//! Whether a commit of the registry says what it does.

use crate::domain::{Cksum, IndexLine};
use crate::index::history::Judged;
use crate::index::message::Said;
use crate::index::registry_files::{ALLOWED_SIGNERS, REVOKED_TOML};
use crate::index::rule::LineStep;

/// Checks subject and trailers against the files that differ.
pub(super) fn check(judged: &Judged<'_>) -> Result<(), String> {
    let said = Said::of(&judged.commit.bytes);
    match judged.step.crates.as_slice() {
        [] => registry_files(judged, &said),
        [(krate, steps)] => {
            let name = krate.name.as_str();
            trailer(&said, "Crate", name)?;
            said_by_somebody(&said)?;
            match steps.as_slice() {
                [LineStep::Added(line)] => published(judged, &said, line),
                [LineStep::Yanked { version, yanked }] => {
                    let verb = if *yanked { "yank" } else { "unyank" };
                    subject(&said, &format!("{verb} {name} {version}"))?;
                    trailer(&said, "Version", &version.to_string())
                }
                [] => {
                    let before = judged.before.find(&krate.name);
                    let difference =
                        before.map(|before| krate.owners.difference(&before.owners).to_string());
                    subject(
                        &said,
                        &format!("own {name}{}", difference.unwrap_or_default()),
                    )
                }
                _ => Err("a commit of the registry changes more than one line".to_owned()),
            }
        }
        _ => Err("a commit of the registry changes more than one crate".to_owned()),
    }
}

fn published(judged: &Judged<'_>, said: &Said, line: &IndexLine) -> Result<(), String> {
    subject(said, &format!("publish {} {}", line.name, line.vers))?;
    trailer(said, "Version", &line.vers.to_string())?;
    trailer(said, "Cksum", &Cksum::to_string(&line.cksum))?;
    let author = judged.commit.author_name().unwrap_or_default();
    trailer(said, "Published-by", &author)
}

fn registry_files(judged: &Judged<'_>, said: &Said) -> Result<(), String> {
    if said.trailer("Crate").is_some() {
        return Err("its message names a crate, but it changes none".to_owned());
    }
    for file in judged.files {
        let (key, is_named_in) = match file.path.as_str() {
            REVOKED_TOML => ("Token", file.bytes.as_slice()),
            ALLOWED_SIGNERS => ("Signing-key", &[][..]),
            _ => continue,
        };
        let value = said
            .trailer(key)
            .ok_or_else(|| format!("its message has no `{key}`, but it changes `{}`", file.path))?;
        let text = String::from_utf8_lossy(is_named_in);
        if !text.is_empty() && !text.contains(value) {
            return Err(format!(
                "its message says `{key}: {value}`, which `{}` does not have",
                file.path
            ));
        }
    }
    Ok(())
}

fn said_by_somebody(said: &Said) -> Result<(), String> {
    for key in ["Authenticated-via", "Request-id"] {
        said.trailer(key)
            .ok_or_else(|| format!("its message has no `{key}`"))?;
    }
    Ok(())
}

fn subject(said: &Said, expected: &str) -> Result<(), String> {
    match said.subject() == expected {
        true => Ok(()),
        false => Err(format!(
            "its subject is `{}`, but what it does is `{expected}`",
            said.subject()
        )),
    }
}

fn trailer(said: &Said, key: &str, expected: &str) -> Result<(), String> {
    match said.trailer(key) {
        Some(value) if value == expected => Ok(()),
        Some(value) => Err(format!(
            "its message says `{key}: {value}`, but what it does is of `{expected}`"
        )),
        None => Err(format!("its message has no `{key}`")),
    }
}
