//! Which files a `.crate` file has.

/// The files of an archive by their paths below its top folder.
#[derive(Debug, Default)]
pub struct Files(Vec<String>);

impl Files {
    pub(super) fn new(mut paths: Vec<String>) -> Self {
        paths.sort_unstable();
        Self(paths)
    }

    /// Whether there is a file at this path, which may go through `.` and `..` as Cargo lets it.
    pub(super) fn has(&self, path: &str) -> bool {
        let mut parts = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let path = parts.join("/");
        self.0.binary_search(&path).is_ok()
    }

    /// Whether there is a file in this folder or in one below it.
    pub(super) fn has_in(&self, folder: &str) -> bool {
        let is_inside = |path: &String| {
            let rest = path.strip_prefix(folder);
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        self.0.iter().any(is_inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_as_they_are_spelled() {
        let files = Files::new(vec!["src/bin/a.rs".to_owned(), "build.rs".to_owned()]);
        for path in ["build.rs", "./build.rs", "src/../build.rs", "src//bin/a.rs"] {
            assert!(files.has(path), "{path}");
        }
        for path in ["Build.rs", "src", "src/bin", "src/bin/a", "", "a.rs"] {
            assert!(!files.has(path), "{path}");
        }
        assert!(files.has_in("src") && files.has_in("src/bin"));
        assert!(!files.has_in("src/b") && !files.has_in("build.rs") && !files.has_in("tests"));
    }
}
