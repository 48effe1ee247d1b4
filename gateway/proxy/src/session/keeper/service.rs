//! The same for calls of services, which access rules alone decide: nobody is asked.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{BEAT, CHUNK, Entry, Keeper};
use crate::decision::{ServiceStation, Standing};

fn is_of_service(entry: &Entry) -> bool {
    entry.trail.service.is_some()
}

impl Keeper {
    pub(super) async fn follow_service_rules(self, stop: CancellationToken) {
        let Some(mut rules) = self.services.as_deref().map(ServiceStation::rules) else {
            return;
        };
        loop {
            tokio::select! {
                changed = rules.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
            rules.mark_unchanged();
            self.service_rules_changed().await;
        }
    }

    pub(super) async fn follow_service_time(self, stop: CancellationToken) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => self.service_time_passed().await,
                () = stop.cancelled() => return,
            }
        }
    }

    /// Decides calls of services anew after the rules or what is published have changed.
    pub async fn service_rules_changed(&self) {
        let Some(version) = self.services.as_deref().map(ServiceStation::version) else {
            return;
        };
        let calls = self
            .registry
            .chosen(|entry| is_of_service(entry) && entry.is_of_other_rules(version));
        self.judge_services(calls).await;
    }

    /// Looks at the calls of services whose time has come.
    pub async fn service_time_passed(&self) {
        let Some(version) = self.services.as_deref().map(ServiceStation::version) else {
            return;
        };
        let due = self.due(is_of_service, version);
        self.judge_services(due).await;
    }

    pub(super) async fn judge_services(&self, calls: Vec<Arc<Entry>>) {
        let Some(station) = &self.services else { return };
        for (number, entry) in calls.into_iter().enumerate() {
            if number % CHUNK == CHUNK - 1 {
                tokio::task::yield_now().await;
            }
            let now = self.clock.read().wall;
            self.registry.metrics.decided.inc();
            let identity = entry.identity();
            let anew = self.look_at(&entry, || station.anew(&entry.trail, identity.as_deref(), now));
            match anew {
                None => {}
                Some(Ok(decided)) => {
                    let standing = Standing::of_service(&decided);
                    self.stands(&entry, &standing, now);
                }
                Some(Err(refusal)) => self.refused(&entry, &refusal),
            }
        }
    }
}
