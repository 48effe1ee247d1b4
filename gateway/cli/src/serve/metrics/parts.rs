//! What stands still between two scrapes and is read when somebody looks: the ledger, caches, snapshots, keys.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use feeds::issuers::IssuerFeed;
use feeds::observer::Heard;
use ledger::{AppendError, Ledger, Publisher};
use model::time::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use proxy::audit::{FailMode, Station as AuditStation};
use proxy::identity::{Lookup, Station as IdentityStation};
use proxy::observe::{Name, Review, Sheet, number};
use proxy::request::ClusterGate;

use crate::serve::room::Room;
use crate::serve::standing::Found;

/// The parts that are looked at.
pub(crate) struct Parts {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) audit: Arc<AuditStation>,
    pub(crate) publisher: Arc<Publisher>,
    pub(in crate::serve) found: Arc<Found>,
    pub(crate) ledger_dir: PathBuf,
    pub(in crate::serve) room: Room,
    pub(crate) identity: Arc<IdentityStation>,
    pub(crate) keys: Arc<IssuerFeed>,
    pub(crate) clusters: Vec<Watched>,
    pub(crate) clock: fn() -> Timestamp,
}

/// One cluster, as far as it is looked at.
pub(crate) struct Watched {
    pub(crate) name: Arc<str>,
    pub(crate) gate: Arc<ClusterGate>,
    pub(crate) heard: Heard,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

impl Collector for Parts {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet::new(encoder);
        self.ledger(&mut sheet)?;
        self.disk(&mut sheet)?;
        self.room(&mut sheet)?;
        self.identity(&mut sheet)?;
        self.snapshots(&mut sheet)
    }
}

const NONE: [(&str, &str); 0] = [];

/// A value with the name of its cluster.
type ByCluster = ([(&'static str, Arc<str>); 1], f64);

impl Parts {
    fn ledger(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let counts = self.ledger.counts();
        let size = |size: usize| number(u64::try_from(size).unwrap_or(u64::MAX));
        sheet.gauges(RECORDS, [(NONE, number(counts.records))])?;
        let signed = self.publisher.newest().map_or(0, |newest| newest.checkpoint.size);
        sheet.gauges(SIGNED, [(NONE, number(signed))])?;
        sheet.gauges(FINDINGS, [(NONE, number(self.found.count()))])?;
        sheet.counters(CHECKED, [(NONE, number(self.found.bytes()))])?;
        sheet.counters(CHECKS, [(NONE, number(self.found.rounds()))])?;
        sheet.counters(BYTES, [(NONE, number(counts.bytes))])?;
        sheet.counters(SYNCS, [(NONE, number(counts.syncs))])?;
        sheet.gauges(WAITING, [(NONE, size(counts.waiting))])?;
        sheet.gauges(WAITING_BYTES, [(NONE, size(counts.waiting_bytes))])?;
        sheet.gauges(OPEN, [(NONE, size(self.ledger.in_flight()))])?;
        sheet.counters(REFUSED, [(NONE, number(counts.refused))])?;
        let trouble = self.ledger.trouble();
        let is = |kind: &str| f64::from(u8::from(trouble.as_ref().map_or("none", trouble_name) == kind));
        self.unrecorded(sheet)?;
        self.bodies(sheet)?;
        sheet.gauges(TROUBLE, TROUBLES.map(|kind| ([("trouble", kind)], is(kind))))
    }

    fn unrecorded(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let standing = self.audit.unkept();
        let modes = standing.map(|standing| standing.chosen.modes).unwrap_or_default();
        let rows = [("reads", modes.reads), ("effects", modes.effects)].into_iter();
        let rows = rows.flat_map(|(class, chosen)| {
            let each = [FailMode::Closed, FailMode::Bounded, FailMode::Open].into_iter();
            each.map(move |mode| {
                let is = f64::from(u8::from(mode == chosen));
                ([("class", class), ("mode", mode.name())], is)
            })
        });
        sheet.gauges(FAIL_MODE, rows)?;
        let passed = standing.map(|standing| standing.passed).unwrap_or_default();
        let passed = [("reads", passed.reads), ("effects", passed.effects)];
        sheet.counters(
            UNRECORDED,
            passed.map(|(class, count)| ([("class", class)], number(count))),
        )
    }

    fn bodies(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let counted = self.audit.bodies_counted();
        let counted = counted.map(|(body, kept, count)| ([("body", body), ("kept", kept.as_str())], number(count)));
        sheet.counters(BODIES, counted)?;
        let (held, most) = self.audit.body_bytes();
        let size = |size: usize| number(u64::try_from(size).unwrap_or(u64::MAX));
        sheet.gauges(BODY_BYTES, [(NONE, size(held))])?;
        sheet.gauges(BODY_BYTES_LIMIT, [(NONE, size(most))])
    }

    fn disk(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let Ok(disk) = nix::sys::statvfs::statvfs(&self.ledger_dir) else {
            return Ok(());
        };
        let blocks = |count: u64| number(count.saturating_mul(disk.fragment_size()));
        sheet.gauges(DISK_FREE, [(NONE, blocks(disk.blocks_available()))])?;
        sheet.gauges(DISK_SIZE, [(NONE, blocks(disk.blocks()))])
    }

    fn room(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let Ok(free) = self.room.free() else {
            return Ok(());
        };
        sheet.gauges(ROOM, [(NONE, number(free))])?;
        sheet.gauges(KEPT_FREE, [(NONE, number(self.room.keeps_free))])
    }

    fn identity(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let cache = self.identity.cache();
        let lookups = Lookup::ALL
            .iter()
            .map(|to| ([("result", to.as_str())], number(cache.looked_up(*to))));
        sheet.counters(LOOKUPS, lookups)?;
        let (good, bad) = cache.sizes();
        let sizes = [("good", good), ("bad", bad)]
            .map(|(kind, size)| ([("kind", kind)], number(u64::try_from(size).unwrap_or(u64::MAX))));
        sheet.gauges(CACHED, sizes)?;
        let reviews = Review::ALL.iter().map(|answer| {
            (
                [("answer", answer.as_str())],
                number(self.identity.token_reviews(*answer)),
            )
        });
        sheet.counters(TOKEN_REVIEWS, reviews)?;
        let (good, failed) = self.keys.fetches();
        let fetches = [("good", good), ("failed", failed)];
        sheet.counters(
            FETCHES,
            fetches.map(|(result, count)| ([("result", result)], number(count))),
        )
    }

    fn snapshots(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let now = (self.clock)();
        let each = |value: &dyn Fn(&Watched) -> Option<f64>| -> Vec<ByCluster> {
            let rows = self.clusters.iter();
            rows.filter_map(|cluster| Some(([("cluster", Arc::clone(&cluster.name))], value(cluster)?)))
                .collect()
        };
        let age = |cluster: &Watched| {
            let heard = cluster.heard.last();
            // Nothing heard yet is no age; the next gauge says it.
            (heard != Timestamp::EPOCH).then(|| now.since(heard).as_secs_f64())
        };
        sheet.gauges(SNAPSHOT_AGE, each(&age))?;
        let ready = |cluster: &Watched| Some(f64::from(u8::from(cluster.gate.decision.is_ready(now))));
        sheet.gauges(SNAPSHOT_READY, each(&ready))?;
        let version = |cluster: &Watched| Some(number(cluster.gate.decision.version()));
        sheet.gauges(SNAPSHOT_VERSION, each(&version))?;
        let remembered = |cluster: &Watched| {
            let size = cluster.gate.decision.remembered();
            Some(number(u64::try_from(size).unwrap_or(u64::MAX)))
        };
        sheet.gauges(DECISIONS_REMEMBERED, each(&remembered))
    }
}

const TROUBLES: [&str; 6] = ["none", "diskFull", "diskFailed", "corrupt", "closed", "other"];

const fn trouble_name(trouble: &AppendError) -> &'static str {
    match trouble {
        AppendError::DiskFull => "diskFull",
        AppendError::DiskFailed => "diskFailed",
        AppendError::Corrupt => "corrupt",
        AppendError::Closed => "closed",
        _ => "other",
    }
}

const RECORDS: Name = Name {
    name: "gateway_ledger_records",
    says: "Durable records in the ledger, those of earlier runs included.",
};
const SIGNED: Name = Name {
    name: "gateway_ledger_signed_records",
    says: "Records under the newest signed checkpoint; a second behind `gateway_ledger_records` at most.",
};
const FINDINGS: Name = Name {
    name: "gateway_ledger_findings",
    says: "What the standing check has found since the start that is not as it was signed, or that broke the check; above 0 somebody has to look.",
};
const CHECKED: Name = Name {
    name: "gateway_ledger_checked_bytes",
    says: "Bytes of the ledger that were read again and compared with what was signed (`ledger.checkRate`).",
};
const CHECKS: Name = Name {
    name: "gateway_ledger_checks",
    says: "Times that all sealed segments of the ledger were read again.",
};
const BYTES: Name = Name {
    name: "gateway_ledger_written_bytes",
    says: "Bytes of records and parts written to the ledger and synced.",
};
const SYNCS: Name = Name {
    name: "gateway_ledger_syncs",
    says: "Batches of records written and synced; records per sync is how well the disk is shared.",
};
const WAITING: Name = Name {
    name: "gateway_ledger_waiting_records",
    says: "Records that wait for the disk now.",
};
const WAITING_BYTES: Name = Name {
    name: "gateway_ledger_waiting_bytes",
    says: "Bytes of records that wait for the disk now; at `ledger.queueSize` calls are refused.",
};
const OPEN: Name = Name {
    name: "gateway_ledger_open_calls",
    says: "Calls with a durable beginning and no end yet.",
};
const REFUSED: Name = Name {
    name: "gateway_ledger_records_refused",
    says: "Records that the ledger did not take; each is a call refused, or a record that nobody waited for.",
};
const FAIL_MODE: Name = Name {
    name: "gateway_ledger_fail_mode",
    says: "1 at what becomes of a class of calls while the ledger's disk is full or fails (`ledger.dangerFailModes`).",
};
const UNRECORDED: Name = Name {
    name: "gateway_ledger_unrecorded_calls",
    says: "Calls that went on without a record because `ledger.dangerFailModes` lets them; a `gap` record counts them later.",
};
const BODIES: Name = Name {
    name: "gateway_audit_bodies",
    says: "Bodies that the audit policy asks for, by what was kept: `document`, or why there is none (`body.why` of the record).",
};
const BODY_BYTES: Name = Name {
    name: "gateway_audit_body_bytes",
    says: "Bytes of bodies and their documents that are held now because the audit policy asks for them.",
};
const BODY_BYTES_LIMIT: Name = Name {
    name: "gateway_audit_body_bytes_limit",
    says: "The most bytes of bodies and documents that are held; near it bodies are not kept, with `budget` or `ownBudget` as the reason.",
};
const TROUBLE: Name = Name {
    name: "gateway_ledger_trouble",
    says: "1 at what keeps the ledger from taking records, or at `none`.",
};
const DISK_FREE: Name = Name {
    name: "gateway_ledger_disk_free_bytes",
    says: "Space on the ledger's file system that the gateway may use.",
};
const DISK_SIZE: Name = Name {
    name: "gateway_ledger_disk_size_bytes",
    says: "Size of the ledger's file system.",
};
const ROOM: Name = Name {
    name: "gateway_recording_disk_free_bytes",
    says: "Space on the recordings' file system that the gateway may use; absent where their folder cannot be looked at.",
};
const KEPT_FREE: Name = Name {
    name: "gateway_recording_disk_kept_free_bytes",
    says: "Space that recordings leave alone (`recording.keepFree`): below it no session that has to be recorded begins.",
};
const LOOKUPS: Name = Name {
    name: "gateway_identity_cache_lookups",
    says: "Tokens looked up among those verified before, by result.",
};
const CACHED: Name = Name {
    name: "gateway_identity_cache_entries",
    says: "Tokens remembered, good ones and refused ones.",
};
const TOKEN_REVIEWS: Name = Name {
    name: "gateway_identity_token_reviews",
    says: "TokenReviews of ServiceAccount tokens, by the cluster's answer.",
};
const FETCHES: Name = Name {
    name: "gateway_identity_key_fetches",
    says: "Fetches of issuers' keys, by result.",
};
const SNAPSHOT_AGE: Name = Name {
    name: "gateway_snapshot_age_seconds",
    says: "Since the last word of the most silent kind of object; above 90 s nothing is decided. Absent until all were heard of.",
};
const SNAPSHOT_READY: Name = Name {
    name: "gateway_snapshot_ready",
    says: "1 while decisions about the cluster can be made.",
};
const SNAPSHOT_VERSION: Name = Name {
    name: "gateway_snapshot_version",
    says: "How often the rules about the cluster have been compiled since the start.",
};
const DECISIONS_REMEMBERED: Name = Name {
    name: "gateway_decision_cache_entries",
    says: "Decisions remembered.",
};
