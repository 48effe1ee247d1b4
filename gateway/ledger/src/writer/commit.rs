//! One batch: encode, write, sync, answer; and what happens when writing fails.

use std::io;

use super::{Engine, durable};
use crate::disk::is_full;
use crate::frame::{FrameKind, write_frame};
use crate::leaf;
use crate::options::to_u64;
use crate::queue::{Item, Role};
use crate::segment::{OpenEntry, cut_id};
use crate::ticket::Lost;
use crate::tiles::note;
use crate::tree::leaf_hash;

impl Engine {
    /// Frames and hashes one admitted record.
    pub(super) fn encode(&mut self, item: Item) {
        let seq = self.frontier.size();
        for part in &item.parts {
            let first = self.buf.is_empty();
            write_frame(&mut self.buf, FrameKind::Part, first, seq, |out| {
                out.extend_from_slice(&part.bytes)
            });
        }
        let first = self.buf.is_empty();
        let kind = item.kind;
        let leaf = write_frame(&mut self.buf, FrameKind::Leaf(kind), first, seq, |out| {
            leaf::write(out, kind, seq, &item.body);
        });
        let hash = leaf_hash(self.buf.get(leaf).unwrap_or_default());
        let (nodes, span) = (&mut self.nodes, self.tiles.height());
        self.frontier
            .push_with(hash, |height, node| note(nodes, span, height, node));
        self.hashes.push(hash);
        self.opening += usize::from(matches!(item.role, Role::Begins { .. }));
        self.batch.push((seq, item));
    }

    /// Writes and syncs the batch and answers everyone in it. Says whether the active segment is still the same; if not, what
    /// was reserved may stand in a new batch.
    pub(super) fn flush(&mut self) -> bool {
        if self.batch.is_empty() {
            return true;
        }
        match self.write_and_sync() {
            Ok(()) => {
                self.committed();
                true
            }
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    /// Flushes, and once more for what a failure carried into a new segment; a second failure leaves nothing in the batch.
    pub(super) fn flush_all(&mut self) {
        if !self.flush() {
            self.flush();
        }
    }

    fn write_and_sync(&mut self) -> io::Result<()> {
        let Some(active) = &self.active else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        self.has_written = true;
        active.file.write_at(&self.buf, active.pos)?;
        #[cfg(any(test, feature = "sim"))]
        match self.options.mutant {
            Some(crate::sim::Mutant::NoDataSync) => return Ok(()),
            Some(crate::sim::Mutant::WakeBeforeSync) => {
                for (seq, item) in &mut self.batch {
                    if let Some(promise) = item.promise.take() {
                        promise.complete(durable(*seq));
                    }
                }
            }
            _ => {}
        }
        active.file.sync_data()
    }

    fn committed(&mut self) {
        if let Some(active) = &mut self.active {
            active.pos += to_u64(self.buf.len());
        }
        self.shared.synced(to_u64(self.buf.len()));
        self.durable.copy_from(&self.frontier);
        self.buf.clear();
        self.opening = 0;
        self.failed_last = false;
        self.side.keep(&self.hashes);
        self.hashes.clear();
        self.tiles.keep(self.nodes.drain(..));
        let mut batch = std::mem::take(&mut self.batch);
        for (seq, item) in &batch {
            self.apply(*seq, item);
        }
        self.publish();
        for (seq, item) in batch.drain(..) {
            if let Some(promise) = item.promise {
                promise.complete(durable(seq));
            }
        }
        self.batch = batch;
    }

    /// What the durable record means for the unfinished calls and the reserved places.
    fn apply(&mut self, seq: u64, item: &Item) {
        match &item.role {
            Role::Plain => {}
            Role::Begins { id, place } => {
                let is_stream = item.kind == model::event::RecordKind::Open;
                self.open.insert(
                    seq,
                    OpenEntry {
                        is_stream,
                        id: cut_id(id),
                    },
                );
                place.durable(seq);
            }
            Role::Ends { intent, place } => {
                self.open.remove(intent);
                place.release();
            }
            Role::Own { ends } => {
                if let Some(intent) = ends {
                    self.open.remove(intent);
                }
            }
        }
    }

    /// Nothing of the batch counts as written. Reserved records are kept for the next segment, all others are lost.
    fn failed(&mut self, error: &io::Error) {
        let lost = if is_full(error) {
            Lost::DiskFull
        } else {
            Lost::DiskFailed
        };
        self.frontier.copy_from(&self.durable);
        self.buf.clear();
        self.hashes.clear();
        self.nodes.clear();
        self.opening = 0;
        for (_, item) in std::mem::take(&mut self.batch) {
            if item.is_reserved() {
                self.held.push_back(item)
            } else {
                self.lose(item, lost)
            }
        }
        self.abandon(lost);
    }
}
