//! Rounds of work and crashes on a simulated disk. The truth is what the ledger acknowledged; after each crash the ledger is opened
//! again and every acknowledged record must be there, byte for byte, in its place.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use model::event::RecordKind;

use super::{Fault, Mutant, Point, Rng, SimDisk};
use crate::disk::Disk;
use crate::tiles::{Tiles, count_at, note, tiles_name};
use crate::verify::{Trust, verify};
use crate::{
    AppendError, Frontier, Hash, Ledger, Lost, Options, OutcomeSlot, Part, Reader, Ticket, leaf_hash, root_at,
};

/// What the rounds found. `lost` and `wrong` must be zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrashReport {
    /// Rounds that were run.
    pub rounds: u64,
    /// Times the power went or the process was killed.
    pub crashes: u64,
    /// Times that it went at each kind of operation, in the order of [`Point::ALL`]; the others were between two.
    pub points: [u64; Point::ALL.len()],
    /// Segments and gap records found at the end: how much of the ledger's life the rounds saw.
    pub segments: u64,
    /// See `segments`.
    pub gaps: u64,
    /// Calls whose end a recovery recorded as unknown.
    pub unknown: u64,
    /// Records that were acknowledged.
    pub acknowledged: u64,
    /// Records that were refused or lost to somebody's face, and of these, those that stood in a gap record afterwards.
    pub missing: u64,
    /// See `missing`.
    pub counted: u64,
    /// Acknowledged records that were not there afterwards, or not as they were.
    pub lost: u64,
    /// Hashes of the tree's upper levels that were found in their files.
    pub tiles: u64,
    /// Other broken promises: a ledger that would not open, an intent without its end, a wrong root, a derived hash that is
    /// not what the records say, a gap record whose counts are not what callers were told.
    pub wrong: u64,
    /// The seed of the first round that failed, and how.
    pub first_failure: Option<(u64, String)>,
}

/// Runs `rounds` rounds; the same seed gives the same rounds.
#[must_use]
pub fn crash_rounds(seed: u64, rounds: u64) -> CrashReport {
    crash_rounds_with(seed, rounds, None)
}

/// The one round of this seed, as a report names it.
#[must_use]
pub fn crash_round(seed: u64) -> CrashReport {
    let mut report = CrashReport::default();
    Round::new(seed, None).run(&mut report);
    report.rounds = 1;
    report
}

/// As [`crash_rounds`], with a promise broken on purpose.
#[must_use]
pub fn crash_rounds_with(seed: u64, rounds: u64, mutant: Option<Mutant>) -> CrashReport {
    let mut report = CrashReport::default();
    let mut seeds = Rng::new(seed);
    for _ in 0..rounds {
        let seed = seeds.next_u64();
        Round::new(seed, mutant).run(&mut report);
        report.rounds += 1;
    }
    report
}

struct Round {
    seed: u64,
    rng: Rng,
    disk: SimDisk,
    options: Options,
    /// What was acknowledged: sequence number to kind and body.
    acknowledged: BTreeMap<u64, Written>,
    written: u64,
    /// What callers were told of each life, for its gap records.
    told: Vec<Told>,
}

/// How many records a life's callers know to be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Missing {
    lost: u64,
    refused: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    all: Missing,
    /// When the ledger last said that it takes records: so much has to stand in gap records, whatever comes then.
    settled: Missing,
}

#[derive(Clone, Debug)]
struct Written {
    kind: RecordKind,
    body: Vec<u8>,
    parts: Vec<Part>,
}

/// One run of the process.
#[derive(Default)]
struct Life {
    waiting: Vec<(Ticket, Written)>,
    beginning: Vec<(Ticket, Written, OutcomeSlot)>,
    slots: Vec<OutcomeSlot>,
}

impl Round {
    fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(rng.next_u64());
        let options = Options {
            segment_bytes: 64 << 10,
            max_open: 64,
            outcome_bytes: 512,
            batch_bytes: if rng.one_in(2) { 4096 } else { 1 << 20 },
            // Probes come by hand: no clock decides a round.
            probe_every: std::time::Duration::MAX,
            clock: Arc::new(|| model::time::Timestamp::EPOCH),
            mutant,
            // A round has hundreds of records: tiles of four hashes give it four levels.
            tile_height: 2,
            ..Options::default()
        };
        Self {
            seed,
            rng,
            disk,
            options,
            acknowledged: BTreeMap::new(),
            written: 0,
            told: Vec::new(),
        }
    }

    fn run(mut self, report: &mut CrashReport) {
        for _ in 0..=self.rng.below(4) {
            self.life(report);
            report.crashes += 1;
            let died_at = self.disk.died_at();
            for (point, count) in Point::ALL.iter().zip(&mut report.points) {
                *count += u64::from(died_at == Some(*point));
            }
            let cut = self.disk.is_dead() || self.rng.one_in(2);
            if cut {
                self.disk.power_cut()
            } else {
                self.disk.restart()
            }
            if let Err(why) = self.compare_crashed() {
                report.wrong += 1;
                self.failure(report, &why);
            }
        }
        self.disk.set_space(None);
        self.check(report);
    }

    /// Opens, works until the end or the crash, and notes what was acknowledged.
    fn life(&mut self, report: &mut CrashReport) {
        if !self.rng.one_in(5) {
            let when = self.rng.below(120);
            self.disk.fail_after(when, Fault::Crash);
        } else if self.rng.one_in(2) {
            let when = self.rng.below(60);
            self.disk.fail_after(when, Fault::Io);
        }
        self.options.boot = boot(self.told.len()).into();
        self.told.push(Told::default());
        let Ok((ledger, _)) = self.open() else { return };
        let mut life = Life::default();
        for _ in 0..self.rng.below(60) {
            self.act(&ledger, &mut life);
            self.note(&mut life, report);
            if ledger.trouble().is_none()
                && let Some(told) = self.told.last_mut()
            {
                told.settled = told.all;
            }
            if self.disk.is_dead() {
                break;
            }
        }
        if self.rng.one_in(3) {
            ledger.close();
            self.note(&mut life, report);
        }
        ledger.kill();
        drop(life);
    }

    fn open(&self) -> Result<(Ledger, crate::Recovery), crate::OpenError> {
        Ledger::open_by_hand(Path::new("ledger"), self.options.clone(), Arc::new(self.disk.clone()))
    }

    fn act(&mut self, ledger: &Ledger, life: &mut Life) {
        match self.rng.below(12) {
            0..=3 => {
                let written = self.compose(RecordKind::Access, None);
                match ledger.append(written.kind, written.body.clone(), written.parts.clone()) {
                    Ok(ticket) => life.waiting.push((ticket, written)),
                    Err(error) => self.refused(error),
                }
            }
            4 | 5 => {
                let is_stream = self.rng.one_in(3);
                let written = self.compose(
                    if is_stream {
                        RecordKind::Open
                    } else {
                        RecordKind::Intent
                    },
                    None,
                );
                let (body, parts) = (written.body.clone(), written.parts.clone());
                let begun = if is_stream {
                    ledger.append_open(body, parts)
                } else {
                    ledger.append_intent(body, parts)
                };
                match begun {
                    Ok((ticket, slot)) => life.beginning.push((ticket, written, slot)),
                    Err(error) => self.refused(error),
                }
            }
            6 | 7 if !life.slots.is_empty() => {
                let slot = life.slots.swap_remove(self.rng.len(life.slots.len()));
                self.fill(slot, life);
            }
            8 if !life.slots.is_empty() => drop(life.slots.swap_remove(self.rng.len(life.slots.len()))),
            9 if self.rng.one_in(3) => {
                let used = self.disk.used();
                let room = self.rng.below(4) * 16_384;
                self.disk
                    .set_space(if self.rng.one_in(2) { None } else { Some(used + room) });
                ledger.probe();
            }
            10 if self.rng.one_in(10) && !self.disk.is_dead() => self.disk.fail_after(self.rng.below(6), Fault::Io),
            _ => ledger.drive(),
        }
    }

    fn refused(&mut self, error: AppendError) {
        if let Some(told) = self.told.last_mut() {
            told.all.refused += u64::from(matches!(error, AppendError::DiskFull | AppendError::DiskFailed));
        }
    }

    fn fill(&mut self, slot: OutcomeSlot, life: &mut Life) {
        let written = self.compose(RecordKind::Outcome, slot.intent());
        if let Ok(ticket) = slot.fill(written.kind, written.body.clone()) {
            life.waiting.push((ticket, written));
        }
    }

    fn compose(&mut self, kind: RecordKind, pair: Option<u64>) -> Written {
        self.written += 1;
        let pair = pair.map(|pair| format!(",\"pair\":{pair}")).unwrap_or_default();
        let most = if kind == RecordKind::Outcome { 300 } else { 4000 };
        let filler: String = (0..self.rng.len(most))
            .map(|index| if index % 7 == 0 { 'x' } else { 'y' })
            .collect();
        let mut parts = Vec::new();
        while kind != RecordKind::Outcome && self.rng.one_in(4) {
            parts.push(Part {
                bytes: vec![0xa5; 1 + self.rng.len(900)],
            });
        }
        let named = if parts.is_empty() {
            String::new()
        } else {
            format!(",\"parts\":[{}]", vec!["{}"; parts.len()].join(","))
        };
        let body = format!("{{\"id\":\"r{}\"{pair}{named},\"note\":\"{filler}\"}}", self.written).into_bytes();
        Written { kind, body, parts }
    }

    /// Moves what has an answer out of the waiting lists.
    fn note(&mut self, life: &mut Life, report: &mut CrashReport) {
        let mut lost = 0;
        let mut count = |why: Lost| lost += u64::from(matches!(why, Lost::DiskFull | Lost::DiskFailed));
        let acknowledged = &mut self.acknowledged;
        let mut keep = |seq, written: &Written| {
            report.acknowledged += 1;
            // Two records acknowledged under one number: one of them is lost by that alone.
            report.lost += u64::from(acknowledged.insert(seq, written.clone()).is_some());
        };
        life.waiting.retain(|(ticket, written)| match ticket.result() {
            None => true,
            Some(Ok(durable)) => {
                keep(durable.seq, written);
                false
            }
            Some(Err(why)) => {
                count(why);
                false
            }
        });
        for (ticket, written, slot) in std::mem::take(&mut life.beginning) {
            match ticket.result() {
                None => life.beginning.push((ticket, written, slot)),
                Some(Ok(durable)) => {
                    keep(durable.seq, &written);
                    life.slots.push(slot);
                }
                Some(Err(why)) => count(why),
            }
        }
        if let Some(told) = self.told.last_mut() {
            told.all.lost += lost;
        }
    }

    /// Opens once more without faults and compares. Twice, because the first start may write the ends of so many calls that it turns to
    /// another segment before it has mended the tree's files.
    fn check(&self, report: &mut CrashReport) {
        let acknowledged = u64::try_from(self.acknowledged.len()).unwrap_or(u64::MAX);
        let opened = self.open().and_then(|(ledger, _)| {
            ledger.kill();
            self.disk.restart();
            self.open()
        });
        match opened {
            Err(error) => {
                report.lost += acknowledged;
                report.wrong += 1;
                self.failure(report, &format!("does not open: {error}"));
            }
            Ok((ledger, _)) => match self.compare(&ledger, report) {
                Ok(0) => {}
                Ok(lost) => {
                    report.lost += lost;
                    self.failure(report, &format!("{lost} acknowledged records are lost"));
                }
                Err(why) => {
                    report.wrong += 1;
                    self.failure(report, &why);
                }
            },
        }
    }

    fn failure(&self, report: &mut CrashReport, why: &str) {
        report.first_failure.get_or_insert_with(|| (self.seed, why.to_owned()));
    }

    /// Counts acknowledged records that are not there; says what else does not hold.
    fn compare(&self, ledger: &Ledger, report: &mut CrashReport) -> Result<u64, String> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let reader = Reader::open_on(disk).map_err(|error| error.to_string())?;
        report.segments += u64::try_from(reader.segments().len()).unwrap_or(0);
        let mut frontier = Frontier::default();
        let mut nodes = Vec::new();
        let mut leaves = Vec::new();
        let mut found = BTreeMap::new();
        let mut open = std::collections::BTreeSet::new();
        let mut gaps = vec![Missing::default(); self.told.len()];
        for record in reader.records_from(0) {
            let record = record.map_err(|error| error.to_string())?;
            if record.seq != frontier.size() {
                return Err(format!(
                    "record {} stands where {} belongs",
                    record.seq,
                    frontier.size()
                ));
            }
            if let Err(fault) = record.check_parts() {
                return Err(format!("record {}: {fault}", record.seq));
            }
            leaves.push(leaf_hash(&record.leaf));
            frontier.push_with(leaf_hash(&record.leaf), |height, node| {
                note(&mut nodes, self.options.tile_height, height, node);
            });
            if record.kind == RecordKind::Gap {
                report.gaps += 1;
                add_gap(&mut gaps, &record.leaf)?;
            }
            report.unknown += u64::from(record.leaf.windows(9).any(|word| word == b"\"unknown\""));
            if record.kind.promises_an_end() {
                open.insert(record.seq);
            }
            if let Some(pair) = crate::leaf::facts(&record.leaf).and_then(|facts| facts.pair) {
                open.remove(&pair);
            }
            found.insert(record.seq, record);
        }
        for segment in reader.segments() {
            reader.verify(*segment).map_err(|error| format!("verify: {error}"))?;
        }
        self.compare_gaps(&gaps, report)?;
        self.compare_derived(&reader, &leaves, &nodes, report)?;
        let head = ledger.durable();
        if head.size != frontier.size() || head.root != frontier.root() {
            return Err(format!(
                "the head says {} records, {} are there",
                head.size,
                frontier.size()
            ));
        }
        if let Some(intent) = open.first() {
            return Err(format!("intent {intent} has no end after a recovery"));
        }
        let is_lost = |(seq, written): &(&u64, &Written)| {
            let mut leaf = Vec::new();
            crate::leaf::write(&mut leaf, written.kind, **seq, &written.body);
            let parts = written.parts.iter().map(|part| &part.bytes);
            !found
                .get(*seq)
                .is_some_and(|record| record.leaf == leaf && record.parts.iter().eq(parts))
        };
        Ok(u64::try_from(self.acknowledged.iter().filter(is_lost).count()).unwrap_or(u64::MAX))
    }
}

/// How a life is called in the ledger's own records.
fn boot(life: usize) -> String {
    format!("life-{life}")
}

/// Adds what a gap record says to what its life has counted.
fn add_gap(gaps: &mut [Missing], leaf: &[u8]) -> Result<(), String> {
    let said: serde_json::Value = serde_json::from_slice(leaf).map_err(|error| format!("a gap record: {error}"))?;
    let number = |name: &str| said.get("gap").and_then(|gap| gap.get(name)?.as_u64());
    let boot = said.get("boot").and_then(serde_json::Value::as_str).unwrap_or_default();
    let life = boot.strip_prefix("life-").and_then(|life| life.parse::<usize>().ok());
    let of_life = life.and_then(|life| gaps.get_mut(life));
    let (Some(gap), Some(lost), Some(refused)) = (of_life, number("lost"), number("refused")) else {
        return Err(format!("a gap record of nobody or nothing: {said}"));
    };
    gap.lost += lost;
    gap.refused += refused;
    Ok(())
}

impl Round {
    /// Gap records say neither more than callers were told, nor less than what they were told before the ledger took records
    /// again: a crash loses the count of a gap that is still open, and of no other.
    fn compare_gaps(&self, gaps: &[Missing], report: &mut CrashReport) -> Result<(), String> {
        for (life, (said, told)) in gaps.iter().zip(&self.told).enumerate() {
            report.missing += told.all.lost + told.all.refused;
            report.counted += said.lost + said.refused;
            let is_right = |said: u64, settled: u64, all: u64| (settled..=all).contains(&said);
            if !is_right(said.lost, told.settled.lost, told.all.lost)
                || !is_right(said.refused, told.settled.refused, told.all.refused)
            {
                return Err(format!(
                    "life {life}: gap records say {said:?}, callers were told {told:?}"
                ));
            }
        }
        Ok(())
    }

    /// Whoever reads the folder before it is opened again finds the tree of what was acknowledged.
    fn compare_crashed(&self) -> Result<(), String> {
        let size = self.acknowledged.last_key_value().map_or(0, |(last, _)| last + 1);
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        self.compare_verified(&disk, size)?;
        let reader = Reader::open_on(Arc::clone(&disk)).map_err(|error| error.to_string())?;
        let mut frontier = Frontier::default();
        for record in reader.records_from(0).until(size) {
            // What is lost or does not hold is found, and counted, when the ledger is opened.
            let Ok(record) = record else { return Ok(()) };
            frontier.push(leaf_hash(&record.leaf));
        }
        let tiles = Tiles::on(disk, None, self.options.tile_height);
        match root_at(&tiles, frontier.size()) {
            Ok(root) if root == frontier.root() => Ok(()),
            Ok(_) => Err(format!(
                "after a crash, readers have another root at {}",
                frontier.size()
            )),
            Err(error) => Err(format!("after a crash, readers have no tree: {error:?}")),
        }
    }

    /// Whoever verifies the folder before it is opened again accuses nobody: what a crash leaves is no forgery. And he finds what was acknowledged.
    fn compare_verified(&self, disk: &Arc<dyn Disk>, size: u64) -> Result<(), String> {
        if self.options.mutant.is_some() {
            return Ok(());
        }
        let report = verify(disk, &Trust::default(), 1, &|_| {}).map_err(|error| error.to_string())?;
        if let Some(finding) = report.findings.first() {
            return Err(format!("after a crash, `verify` accuses: {finding}"));
        }
        if report.size < size {
            return Err(format!(
                "after a crash, `verify` finds {} of {size} records",
                report.size
            ));
        }
        Ok(())
    }

    /// Compares what is derived from the records with what they say: the side files of all segments but the last, the files of
    /// the upper levels up to where the last one begins, and what readers make of them.
    fn compare_derived(
        &self,
        reader: &Reader,
        leaves: &[Hash],
        nodes: &[(u32, Hash)],
        report: &mut CrashReport,
    ) -> Result<(), String> {
        for segment in reader.segments() {
            let Some(next) = segment.next_seq else { continue };
            let (first, next) = (usize::try_from(segment.first_seq), usize::try_from(next));
            let said = leaves.get(first.unwrap_or(0)..next.unwrap_or(0));
            let hashes = reader.leaf_hashes(*segment).map_err(|error| error.to_string())?;
            if said != Some(&hashes) {
                return Err(format!("the side file of segment {} lies", segment.first_seq));
            }
        }
        let last = reader.segments().last().map_or(0, |segment| segment.first_seq);
        for level in 1..8 {
            let full = usize::try_from(count_at(last, self.options.tile_height, level)).unwrap_or(0);
            let of_level = nodes.iter().filter(|(of, _)| *of == level);
            let said: Vec<u8> = of_level.take(full).flat_map(|(_, node)| *node).collect();
            let found = self.disk.bytes(&tiles_name(level)).unwrap_or_default();
            if found != said {
                let same = found.as_chunks::<32>().0.iter().zip(said.as_chunks::<32>().0);
                return Err(format!(
                    "level {level} of the tree is not what the records say: {} of {} hashes, the first {} right",
                    found.len() / 32,
                    said.len() / 32,
                    same.take_while(|(found, said)| found == said).count()
                ));
            }
            report.tiles += u64::try_from(full).unwrap_or(0);
        }
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let tiles = Tiles::on(disk, None, self.options.tile_height);
        let mut frontier = Frontier::default();
        for (index, leaf) in leaves.iter().enumerate() {
            frontier.push(*leaf);
            if index % 37 == 0 || index + 1 == leaves.len() {
                let root = root_at(&tiles, frontier.size()).map_err(|error| error.to_string())?;
                if root != frontier.root() {
                    return Err(format!("readers have another root at size {}", frontier.size()));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_acknowledged_record_is_lost_in_500_rounds() {
        let report = crash_rounds(3, 500);
        assert_eq!((report.lost, report.wrong), (0, 0), "{:?}", report.first_failure);
        let busy = report.acknowledged > 5_000
            && report.segments > 700
            && report.gaps > 20
            && report.unknown > 100
            && report.tiles > 2_000
            && report.counted > 20
            && report.points.iter().all(|crashes| *crashes > 0);
        assert!(busy, "the rounds did too little: {report:?}");
    }

    #[test]
    fn a_ledger_whose_gap_records_count_wrongly_is_caught() {
        let report = crash_rounds_with(3, 500, Some(Mutant::ForgetsOne));
        assert_eq!(report.lost, 0);
        assert!(report.wrong > 0);
    }

    #[test]
    fn the_same_seed_gives_the_same_rounds() {
        assert_eq!(crash_rounds(11, 20), crash_rounds(11, 20));
    }

    #[test]
    fn a_ledger_that_does_not_sync_its_records_is_caught() {
        assert!(crash_rounds_with(3, 500, Some(Mutant::NoDataSync)).lost > 0);
    }

    #[test]
    fn a_ledger_that_wakes_before_the_sync_is_caught() {
        assert!(crash_rounds_with(3, 500, Some(Mutant::WakeBeforeSync)).lost > 0);
    }

    #[test]
    fn a_ledger_that_does_not_sync_the_hashes_of_its_tree_is_caught() {
        let report = crash_rounds_with(3, 500, Some(Mutant::NoTileSync));
        assert_eq!(report.lost, 0);
        assert!(report.wrong > 0);
    }

    #[test]
    fn a_ledger_that_does_not_sync_its_names_is_caught() {
        assert!(crash_rounds_with(3, 500, Some(Mutant::NoDirectorySync)).lost > 0);
    }
}
