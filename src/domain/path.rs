//! Where a crate's files lie in the index tree.

use std::fmt;

use super::name::CrateName;

/// The path of a crate's file of index lines, such as `se/rd/serde`.
///
/// It follows the rule of the [Cargo book](https://doc.rust-lang.org/cargo/reference/registry-index.html#index-files)
/// and is made of the lower-case name, so names that differ in `-` and `_` have different paths.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexPath(String);

impl IndexPath {
    /// The path for the lines of `name`.
    pub fn of(name: &CrateName) -> Self {
        let lower = name.as_str().to_ascii_lowercase();
        Self(match lower.len() {
            1 => format!("1/{lower}"),
            2 => format!("2/{lower}"),
            3 => format!("3/{}/{lower}", &lower[..1]),
            _ => format!("{}/{}/{lower}", &lower[..2], &lower[2..4]),
        })
    }

    /// The crate name that `path` is for, if `path` is an index path at all.
    ///
    /// The name is in lower case: the index line knows how the crate is spelled.
    pub fn crate_at(path: &str) -> Option<CrateName> {
        let name: CrateName = path.rsplit('/').next()?.parse().ok()?;
        (Self::of(&name).as_str() == path).then_some(name)
    }

    /// The path as text, with `/` between folders.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of the file that says who owns the crate.
    pub fn owners_file(&self) -> String {
        format!("owners/{}.toml", self.0)
    }
}

impl fmt::Display for IndexPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IndexPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}
