//! That a call goes on, and what stands for its recording up to then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::event::{Passed, Record, RecordKind, Recorded, Served};
use recording::Root;

use super::{Station, Trail};

/// What stands for a recording as far as it is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    chunks: u64,
    frames: u64,
    bytes: u64,
    hash: Box<str>,
}

impl Anchor {
    pub(crate) fn of(root: &Root) -> Self {
        Self {
            chunks: root.chunks,
            frames: root.frames,
            bytes: root.bytes,
            hash: hex::encode(root.hash).into(),
        }
    }

    pub(crate) fn recorded(&self, incomplete: bool) -> Recorded<'_> {
        Recorded {
            chunks: self.chunks,
            frames: self.frames,
            bytes: self.bytes,
            hash: &self.hash,
            incomplete,
        }
    }
}

/// Writes the heartbeats of one call. They are not waited for: each stands for what is on the disk already.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    pub(super) station: Arc<Station>,
    pub(super) trail: Arc<Trail>,
    pub(super) pair: Option<u64>,
    pub(crate) bytes_in: Arc<AtomicU64>,
    pub(crate) bytes_out: Arc<AtomicU64>,
}

impl Heartbeats {
    /// It goes on. Whether the ledger took it matters to nobody: the next one says it, too.
    pub(crate) fn alive(&self) {
        let _ = self.write(None);
    }

    /// It goes on, and so much of it is kept. False: the ledger did not take it and knows nothing of that yet.
    #[must_use]
    pub(crate) fn recorded(&self, anchor: &Anchor) -> bool {
        self.write(Some(anchor.recorded(false)))
    }

    /// So many bytes of its recording are on the disk. They count against its subject's day, as records do; whether that is
    /// full: one session must not fill the disk that everybody's are recorded on (promise 8).
    #[must_use]
    pub(crate) fn fills_the_day(&self, bytes: u64) -> bool {
        self.station
            .wrote(&self.trail, usize::try_from(bytes).unwrap_or(usize::MAX));
        let subject = self.trail.identity.as_deref().map(|identity| identity.subject().id());
        let budgets = self.station.budgets();
        subject.is_some_and(|subject| budgets.has_filled_its_day(subject, self.station.read_clock()))
    }

    fn write(&self, recording: Option<Recorded<'_>>) -> bool {
        let now = self.station.read_clock();
        let record = Record {
            pair: self.pair,
            upstream: self.trail.node.get().map(|node| Served {
                node: Some(node),
                ..Served::default()
            }),
            recording,
            passed: Some(Passed {
                bytes_in: self.bytes_in.load(Ordering::Relaxed),
                bytes_out: self.bytes_out.load(Ordering::Relaxed),
            }),
            ..self.trail.head(&self.station.boot, now)
        };
        let length = self.station.forget(RecordKind::Heartbeat, &record);
        self.station.wrote(&self.trail, length);
        length.is_some()
    }
}

#[cfg(test)]
impl Heartbeats {
    /// The duty to end its call, and a place among those of its subject.
    pub(crate) fn duties(&self) -> (super::End, super::Place) {
        let subject = self.trail.identity.as_deref().unwrap().subject().id();
        let budgets = self.station.budgets();
        let place = budgets.enter(subject, true, self.station.read_clock()).unwrap();
        let end = super::End::of_read(Arc::clone(&self.station), Arc::clone(&self.trail));
        (end, place)
    }

    /// Bytes of today that its subject has been charged with.
    pub(crate) fn charged(&self) -> u64 {
        let subject = self.trail.identity.as_deref().unwrap().subject().id();
        self.station.budgets().bytes_of(subject)
    }

    /// Heartbeats into a ledger that is driven by hand, at the times of a clock, of somebody who may fill so many bytes a day.
    pub(crate) fn into_ledger(
        ledger: &Arc<ledger::Ledger>,
        clock: crate::clock::Clock,
        trail: Arc<Trail>,
        bytes_per_day: u64,
    ) -> Self {
        let limits = super::Limits {
            bytes_per_day,
            ..super::Limits::default()
        };
        let station = Station::new(Arc::clone(ledger), clock, "boot".into(), limits);
        let subject = trail.identity.as_deref().map(|identity| identity.subject().id());
        // Known from its request on.
        drop(subject.map(|subject| station.budgets().enter(subject, true, station.read_clock())));
        Self {
            station,
            trail,
            pair: None,
            bytes_in: Arc::default(),
            bytes_out: Arc::default(),
        }
    }
}
