//! A group of changes: judged one after the other, applied in memory as a chain of signed commits.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tracing::{Span, error, error_span};

use super::change::Refusal;
use super::edit::{Edit, Verdict};
use super::message::Draft;
use super::object::{PackObject, commit_id};
use super::queue::{Ask, Blob, Ticket};
use super::rule::{self, By};
use super::writer::{Tip, Writer};
use super::written::WriteFault;

/// A group of changes on its way.
pub(super) struct Group {
    pub(super) begun: Instant,
    pub(super) tip: Tip,
    pub(super) objects: Vec<PackObject>,
    pub(super) bytes: usize,
    /// Those whose answer depends on the group.
    pub(super) waiting: Vec<(Ticket, Result<(), Refusal>)>,
}

impl Group {
    pub(super) fn on(tip: Tip) -> Self {
        Self {
            begun: Instant::now(),
            tip,
            objects: Vec::new(),
            bytes: 0,
            waiting: Vec::new(),
        }
    }

    /// For the log: of which requests lines tell that are about all of them.
    pub(super) fn span(&self) -> Span {
        let landing = self.waiting.iter().filter(|(_, verdict)| verdict.is_ok());
        let ids: Vec<&str> =
            { landing.filter_map(|(ticket, _)| ticket.ask().request_id()) }.collect();
        match ids.is_empty() {
            true => Span::none(),
            false => error_span!("group", request_ids = ids.join(" ")),
        }
    }

    /// Judges a change on the group so far; answers it at once where the answer does not depend on the group.
    pub(super) fn add(&mut self, ticket: Ticket, writer: &Writer) {
        let ask = ticket.ask();
        if let Ask::Change(_) = ask
            && let Err(reason) = writer.flights.crowd.check()
        {
            return ticket.answer(Err(WriteFault::Unavailable(reason)));
        }
        let durable = &writer.tip.snapshot;
        match ask.judge(&self.tip.snapshot) {
            Ok(Verdict::Edit(edit)) => match self.commit(*edit, ask.at(), ticket.blob(), writer) {
                Ok(()) => self.waiting.push((ticket, Ok(()))),
                Err(reason) => {
                    error!(reason, "a change that may happen cannot be committed");
                    ticket.answer(Err(WriteFault::Unavailable(reason)));
                }
            },
            Ok(Verdict::Unchanged) => self.waiting.push((ticket, Ok(()))),
            Err(refusal) => match ask.judge(durable) {
                Err(refusal) => ticket.answer(Err(WriteFault::Refused(refusal))),
                Ok(_) => self.waiting.push((ticket, Err(refusal))),
            },
        }
    }

    /// Adds one commit to the chain; a `.crate` file that is on its way is waited for before the chain becomes the tip.
    pub(super) fn commit(
        &mut self,
        edit: Edit,
        at: Timestamp,
        blob: &Blob,
        writer: &Writer,
    ) -> Result<(), String> {
        let on = &self.tip.snapshot;
        let has_blob =
            |cksum: &_| matches!(blob, Blob::Coming(_)) || writer.blobs.read(cksum).is_ok();
        let step = rule::step(on, &edit.files, By::Registry, &has_blob)
            .map_err(|violation| format!("it would break a rule of the index: {violation}"))?;
        let mut trees = self.tip.trees.clone();
        let files: Vec<_> = edit
            .files
            .iter()
            .map(|file| (file.path.as_str(), file.body.blob()))
            .collect();
        let (tree, rewritten) = trees.put(&files);
        let bytes = Draft {
            tree,
            parent: Some(on.commit),
            author: &edit.author,
            time: at,
            message: &edit.message,
        }
        .sign(|bytes| writer.key.sign(bytes))
        .map_err(|cause| format!("the commit was not signed: {cause}"))?;
        let id = commit_id(&bytes);
        self.tip = Tip {
            snapshot: Arc::new(step.apply(on, id)),
            trees,
        };
        let commit = PackObject::commit(id, &bytes);
        let trees = rewritten
            .iter()
            .map(|new| PackObject::tree(new.id, new.tree.as_bytes()));
        for object in std::iter::once(commit).chain(trees).chain(edit.objects) {
            self.bytes += object.size;
            self.objects.push(object);
        }
        Ok(())
    }
}
