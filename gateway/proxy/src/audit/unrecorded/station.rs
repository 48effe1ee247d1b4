//! Where the audit station lets calls go on without a record, and where it never does.

use std::sync::Arc;

use super::{CallClass, Pass, Standing, Unkept, Why};
use crate::audit::{Station, Trail, full};
use crate::refusal::Refusal;

/// What may become of a call without its record. Not to be had where nothing else than a refusal may.
#[derive(Debug)]
pub(in crate::audit) struct Otherwise {
    station: Arc<Station>,
    unkept: Arc<Unkept>,
    trail: Arc<Trail>,
}

impl Otherwise {
    /// A call that owes a recording, enters something, or may be answered with a credential never goes on without its record: what it
    /// does is seen nowhere else afterwards, and whose credential it was is known by the record alone.
    pub(in crate::audit) fn of(station: &Arc<Station>, trail: &Arc<Trail>, owes_recording: bool) -> Option<Self> {
        let unkept = station.unkept.get()?;
        let enters = trail.facts.as_ref().is_none_or(|facts| facts.action().enters());
        let hands_out = trail.may_hand_out_a_credential();
        let may_go_on = !(owes_recording || enters || hands_out || trail.may_become_a_session());
        may_go_on.then(|| Self {
            station: Arc::clone(station),
            unkept: Arc::clone(unkept),
            trail: Arc::clone(trail),
        })
    }

    /// Its place in the count, where the operator lets it go on.
    pub(in crate::audit) async fn go_on(this: Option<Self>, class: CallClass, why: Option<Why>) -> Option<Pass> {
        let (Self { station, unkept, trail }, why) = (this?, why?);
        let subject = trail.identity.as_deref().map(|identity| identity.subject().id());
        let durable = station.ledger.durable().size;
        let pass = unkept
            .admit((class, subject), why, durable, station.clock.read())
            .await?;
        trail.goes_unrecorded();
        Some(pass)
    }
}

impl Station {
    /// From now on calls may go on while the disk takes no record, as was chosen; and the gap that an earlier run has left is recorded
    /// before this returns. Once for a station.
    ///
    /// # Errors
    /// The ledger cannot take that record.
    pub async fn goes_on_by(self: &Arc<Self>, unkept: Arc<Unkept>) -> Result<(), Refusal> {
        let unkept = self.unkept.get_or_init(|| unkept);
        if unkept.is_troubled() {
            let recording = Arc::clone(&unkept.recording).lock_owned().await;
            unkept.settle(self, recording).await;
        }
        if unkept.has_gap() {
            let why = self.ledger.trouble();
            return Err(why.map_or(Refusal::Internal, |why| full(&why)));
        }
        Ok(())
    }

    /// What goes on without a record, and what would; `None`: nothing.
    #[must_use]
    pub fn unkept(&self) -> Option<Standing> {
        self.unkept.get().map(|unkept| unkept.standing(self.clock.read()))
    }

    /// Records the gap, if there is one and the ledger takes records again. Called at the end of the process, and before each call
    /// that is to be recorded, so that it stands before it.
    pub async fn write_gap(self: &Arc<Self>) {
        let Some(unkept) = self.unkept.get().filter(|unkept| self.may_settle(unkept)) else {
            return;
        };
        // Who waits here has no task, and leaves when its call does: on a disk that hangs there is one task, however many calls come.
        let recording = Arc::clone(&unkept.recording).lock_owned().await;
        if !self.may_settle(unkept) {
            return;
        }
        let (unkept, station) = (Arc::clone(unkept), Arc::clone(self));
        // In a task of its own: whoever waits for it may leave.
        let settled = tokio::spawn(async move { unkept.settle(&station, recording).await });
        if settled.await.is_err() {
            tracing::error!("a gap could not be recorded");
        }
    }

    fn may_settle(&self, unkept: &Unkept) -> bool {
        unkept.is_troubled() && self.ledger.trouble().is_none()
    }

    /// As [`Station::write_gap`], and looks how the ledger is: by what is seen here a bound becomes whole again. Called by a timer,
    /// each second or so.
    pub async fn tend_gap(self: &Arc<Self>) {
        self.write_gap().await;
        if let Some(unkept) = self.unkept.get() {
            unkept.look(&self.ledger, self.clock.read());
        }
    }
}
