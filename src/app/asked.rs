//! A change that somebody asks for, and the index on which it was found out what they may do.
//!
//! What is found out are those owners, of the ones that were known then, in whose name somebody may act. Another server
//! on the forge may have added more: who is refused on an index that is newer is judged once more, by what is found then.

use std::slice;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::App;
use crate::domain::Standing;
use crate::index::{Blob, Change, Landed, Refusal, Snapshot, WriteFault};

/// A change, and the index on which the standing in it was found.
#[derive(Debug)]
pub struct Asked {
    /// The change.
    pub change: Change,
    /// The index.
    pub on: Arc<Snapshot>,
}

impl App {
    /// Brings a change into the index; `find` gives the standing once more, if that is needed.
    ///
    /// The file of a change that is asked for again is in the store when `find` is done.
    pub async fn submit<E: From<WriteFault>>(
        &self,
        mut asked: Asked,
        blob: Blob,
        deadline: Instant,
        find: impl AsyncFnOnce(Arc<Snapshot>) -> Result<Standing, E>,
    ) -> Result<Landed, E> {
        let change = asked.change.clone();
        let refusal = match self.index.submit_with(change, blob, deadline).await {
            Err(WriteFault::Refused(refusal)) => refusal,
            done => return Ok(done?),
        };
        let refusals = slice::from_ref(&refusal);
        match self
            .finds_more(&mut asked, refusals, deadline, find)
            .await?
        {
            true => Ok(self.index.submit(asked.change, deadline).await?),
            false => Err(WriteFault::Refused(refusal).into()),
        }
    }

    /// Finds the standing once more if it may be why the change is refused; false if it is as good as it was.
    pub async fn finds_more<E: From<WriteFault>>(
        &self,
        asked: &mut Asked,
        refusals: &[Refusal],
        deadline: Instant,
        find: impl AsyncFnOnce(Arc<Snapshot>) -> Result<Standing, E>,
    ) -> Result<bool, E> {
        if !refusals.iter().any(Refusal::is_of_rights) {
            return Ok(false);
        }
        let on = self.index.snapshot();
        let name = asked.change.action.krate();
        let owners = |on: &Snapshot| on.find(name).map(|krate| Arc::clone(&krate.owners));
        let create = |on: &Snapshot| on.registry().policy.create.clone();
        if owners(&on) == owners(&asked.on) && create(&on) == create(&asked.on) {
            return Ok(false);
        }
        let found = timeout_at(deadline, find(Arc::clone(&on))).await;
        asked.change.by = found.map_err(|_| WriteFault::Late)??;
        asked.on = on;
        Ok(true)
    }
}
