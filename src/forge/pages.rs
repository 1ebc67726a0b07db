//! Lists, which the forge gives page by page.

use serde::de::DeserializeOwned;

use super::client::Bytes;
use super::{Forge, ForgeFault, Showing};

/// How many pages of a list are looked through.
const PAGES_MAX: u32 = 100;
/// How many entries are asked for on each. A forge may be set to give fewer, so a short page is not the last.
const PAGE_ENTRIES: usize = 50;

impl Forge {
    /// The whole list at `path`, a relative one.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        showing: Showing<'_>,
    ) -> Result<Vec<T>, ForgeFault> {
        let mut all = Vec::new();
        let take = |entries: Vec<T>| {
            all.extend(entries);
            false
        };
        self.pages::<Vec<T>, T>(path, showing, take).await?;
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
            let mark = if path.contains('?') { '&' } else { '?' };
            let path = format!("{path}{mark}page={page}&limit={PAGE_ENTRIES}");
            let answer = self.get(&path, showing, Bytes::All).await?;
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
