//! Lists, which the forge gives page by page.

use serde::de::DeserializeOwned;
use tracing::warn;

use super::client::Bytes;
use super::{Forge, ForgeFault, Showing};

/// How many pages of a list are looked through.
const PAGES_MAX: usize = 100;
/// How many entries are asked for on each. A forge may be set to give fewer, so a short page is not the last.
const PAGE_ENTRIES: usize = 50;
/// How many entries are asked for one by one, of a list with a page that is too long.
const SINGLES_MAX: usize = 500;

impl Forge {
    /// The whole list at `path`, a relative one.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        showing: Showing<'_>,
    ) -> Result<Vec<T>, ForgeFault> {
        let mut all = Vec::new();
        self.fill(&mut all, path, showing).await?;
        Ok(all)
    }

    /// Adds the list at `path` to `all`, page by page: those before a fault are there.
    async fn fill<T: DeserializeOwned>(
        &self,
        all: &mut Vec<T>,
        path: &str,
        showing: Showing<'_>,
    ) -> Result<(), ForgeFault> {
        let take = |entries: Vec<T>| {
            all.extend(entries);
            false
        };
        self.pages::<Vec<T>, T>(path, showing, take).await
    }

    /// The list at `path`, a relative one, without the entries that alone are longer than an answer may be.
    ///
    /// From a page on that is too long, they are asked for one by one.
    pub(super) async fn list_of_readable<T: DeserializeOwned>(
        &self,
        path: &str,
        showing: Showing<'_>,
    ) -> Result<Vec<T>, ForgeFault> {
        let mut all = Vec::new();
        match self.fill(&mut all, path, showing).await {
            Ok(()) => return Ok(all),
            Err(ForgeFault::TooLong(_)) => {}
            Err(fault) => return Err(fault),
        }
        let first = all.len() + 1;
        for position in first..first + SINGLES_MAX {
            let address = page_of(path, position, 1);
            match self.get(&address, showing, Bytes::All).await {
                Ok(answer) => {
                    let entries: Vec<T> = answer.json()?;
                    let is_last = match answer.total {
                        Some(total) => position >= total,
                        None => entries.is_empty(),
                    };
                    all.extend(entries);
                    if is_last {
                        return Ok(all);
                    }
                }
                Err(reason @ ForgeFault::TooLong(_)) => {
                    warn!(path, position, %reason, "an entry of a list is passed over");
                }
                Err(fault) => return Err(fault),
            }
        }
        warn!(path, "the end of a long list is passed over");
        Ok(all)
    }

    /// Gives the pages of the list at `path`, one after the other, until it is said to be enough or there are no more.
    pub(super) async fn pages<P, T>(
        &self,
        path: &str,
        showing: Showing<'_>,
        mut is_enough: impl FnMut(Vec<T>) -> bool,
    ) -> Result<(), ForgeFault>
    where
        P: DeserializeOwned + Into<Vec<T>>,
    {
        let mut seen = 0;
        for page in 1..=PAGES_MAX {
            let address = page_of(path, page, PAGE_ENTRIES);
            let answer = self.get(&address, showing, Bytes::All).await?;
            let entries: Vec<T> = answer.json::<P>()?.into();
            seen += entries.len();
            let is_last = entries.is_empty() || answer.total.is_some_and(|total| seen >= total);
            if is_enough(entries) || is_last {
                return Ok(());
            }
        }
        Err(ForgeFault::Odd(format!(
            "a list of more than {PAGES_MAX} pages"
        )))
    }
}

/// The address of a page of so many entries.
fn page_of(path: &str, page: usize, entries: usize) -> String {
    let mark = if path.contains('?') { '&' } else { '?' };
    format!("{path}{mark}page={page}&limit={entries}")
}
