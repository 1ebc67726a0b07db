//! The list of refs that git has packed away.

use std::fs;
use std::io;
use std::path::Path;

use tracing::warn;

use crate::disk::{self, about};
use crate::domain::CommitId;

/// Its name in the repository.
const NAME: &str = "packed-refs";

/// Where a ref points that git has packed away; `None` if there is no such ref.
pub(super) fn read(git_dir: &Path, name: &str) -> io::Result<Option<CommitId>> {
    let path = git_dir.join(NAME);
    let text = disk::if_there(fs::read_to_string(&path)).map_err(about(&path))?;
    Ok(text
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(_, packed)| *packed == name)
        .and_then(|(id, _)| id.parse().ok()))
}

/// Takes the lines that are none out of `packed-refs`: git reads nothing at all as long as there are any.
pub(in crate::index) fn mend(git_dir: &Path) -> io::Result<()> {
    let path = git_dir.join(NAME);
    let Some(bytes) = disk::if_there(fs::read(&path)).map_err(about(&path))? else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(&bytes);
    let whole: String = text
        .split_inclusive('\n')
        .filter(|line| is_packed_line(line))
        .collect();
    if whole.as_bytes() != bytes {
        warn!(path = %path.display(), "torn lines were taken out of a list of refs");
        disk::replace(&path, whole.as_bytes()).map_err(about(&path))?;
    }
    Ok(())
}

/// Whether it is a heading, a ref with its name, or the commit of a tag.
fn is_packed_line(line: &str) -> bool {
    let Some(line) = line.strip_suffix('\n') else {
        return false;
    };
    let is_id = |text: &str| text.parse::<CommitId>().is_ok();
    match (line.strip_prefix('^'), line.split_once(' ')) {
        (Some(id), _) => is_id(id),
        (None, Some(("#", _))) => true,
        (None, Some((id, name))) => {
            is_id(id) && name.starts_with("refs/") && !name.contains(char::is_control)
        }
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::refs::TIP;

    #[test]
    fn only_whole_lines_of_a_list_of_refs_are_kept() {
        let commit = CommitId::from([7; 20]);
        for line in [
            "# pack-refs with: peeled fully-peeled sorted \n".to_owned(),
            format!("{commit} {TIP}\n"),
            format!("^{commit}\n"),
        ] {
            assert!(is_packed_line(&line), "{line:?}");
            assert!(!is_packed_line(line.trim_end()), "{line:?}");
        }
        for line in [
            "\n".to_owned(),
            "\0\0\0\n".to_owned(),
            "^1234\n".to_owned(),
            format!("{commit}\n"),
            format!("1234 {TIP}\n"),
            format!("{commit} heads/main\n"),
            format!("{commit} refs/heads/\0\0\n"),
        ] {
            assert!(!is_packed_line(&line), "{line:?}");
        }
    }
}
