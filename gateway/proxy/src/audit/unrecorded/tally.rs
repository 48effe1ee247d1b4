//! The count of calls without a record, as it stands on the disk: one file of a fixed size, allocated while there is room, with
//! two places that are written in turn. A place is whole or it is not there: it ends with a digest of itself.
//!
//! Invariants:
//! - The last count that was synced is in the file whatever happens afterwards, because the next one is written to the other place.
//! - A count that is said to be kept was read back from the file of that name: one that was taken away, emptied or replaced meanwhile
//!   is made anew.

use std::io;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use ledger::Disk;
use ledger::disk::DiskFile;
use model::event::{ByClass, Ends};
use model::time::Timestamp;

use super::{FailMode, Why};

/// The file in `dataDir`.
pub(super) const FILE: &str = "unrecorded-calls";
const DRAFT: &str = "unrecorded-calls.new";
/// Each place in a block of its own, so that no write touches both.
const BLOCK: u64 = 4_096;
const LEN: usize = 2 * 4_096;
const MAGIC: &[u8; 8] = b"GSUNREC2";
const DIGEST: usize = 32;
/// Bytes of one place.
pub(super) const PLACE: usize = 512;

/// Calls that went on without a record and that no signed `gap` record counts yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// The id of its record.
    pub(super) id: [u8; 16],
    pub(super) why: Why,
    pub(super) modes: ByClass<FailMode>,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) passed: ByClass<u64>,
    pub(super) ended: Ends,
    /// So many records the ledger had when the gap began, or before its record was written: its own is behind them, if it is there.
    pub(super) behind: u64,
}

/// What was spent of the bound, since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) began: Timestamp,
    pub(super) spent: ByClass<u64>,
}

/// All that is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// The one whose record may have been written. Nothing is counted there any more, so that its id has one count for ever: what
    /// a kill leaves of such a record in the ledger says all of it or is not there.
    pub(super) sealed: Option<Gap>,
    /// The one that goes on. In the file, where there is none, and in place of a sealed one, one whose record no signature covers yet
    /// ([`super::signed`]).
    pub(super) gap: Option<Gap>,
    pub(super) window: Option<Window>,
}

impl Counted {
    /// Whether calls wait for their record.
    pub(super) const fn has_gap(&self) -> bool {
        self.sealed.is_some() || self.gap.is_some()
    }

    /// All calls that wait for their record, and since when.
    pub(super) fn waiting(&self) -> Option<(ByClass<u64>, Timestamp)> {
        let gaps = [&self.sealed, &self.gap].into_iter().flatten();
        gaps.map(|gap| (gap.passed, gap.from))
            .reduce(|(all, since), (passed, from)| {
                let all = ByClass {
                    reads: all.reads.saturating_add(passed.reads),
                    effects: all.effects.saturating_add(passed.effects),
                };
                (all, since.min(from))
            })
    }
}

/// What stood in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There was none.
    Nothing,
    Counts(Box<Counted>),
    /// Neither place can be read.
    Damaged,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Tally {
    disk: Arc<dyn Disk>,
    file: Box<dyn DiskFile>,
    /// Of the last count that was synced.
    generation: u64,
}

impl Tally {
    /// Reads what an earlier run counted.
    ///
    /// # Errors
    /// The disk says no.
    pub(super) fn look(disk: &Arc<dyn Disk>) -> io::Result<(Option<Self>, Found)> {
        if !disk.list()?.iter().any(|name| name == FILE) {
            return Ok((None, Found::Nothing));
        }
        let file = disk.open(FILE)?;
        let mut bytes = [0; LEN];
        read_at(&*file, &mut bytes, 0)?;
        let Some((generation, counted)) = newest(&bytes) else {
            return Ok((None, Found::Damaged));
        };
        let disk = Arc::clone(disk);
        let tally = Self { disk, file, generation };
        Ok((Some(tally), Found::Counts(Box::new(counted))))
    }

    /// Makes the file, with all its blocks and both places in order. An old one goes.
    ///
    /// # Errors
    /// The disk says no; the old one is there then.
    pub(super) fn make(disk: &Arc<dyn Disk>, counted: &Counted) -> io::Result<Self> {
        let file = disk.create(DRAFT)?;
        let mut bytes = vec![0; LEN];
        for generation in 0..2 {
            let at = usize::try_from(place_of(generation)).unwrap_or(usize::MAX);
            let place = write(generation, counted);
            if let Some(room) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..PLACE)) {
                room.copy_from_slice(&place);
            }
        }
        // Written and not only allocated, so that the room is there on file systems that promise none.
        file.write_at(&bytes, 0)?;
        file.sync_all()?;
        disk.rename(DRAFT, FILE)?;
        disk.sync_dir()?;
        Ok(Self {
            disk: Arc::clone(disk),
            file,
            generation: 1,
        })
    }

    /// Has this count on the disk when it returns.
    ///
    /// # Errors
    /// The disk says no. The last count that was synced is there still; the next one is written where this one would be, whole, so
    /// that no page counts as written that a failed sync has dropped.
    pub(super) fn keep(&mut self, counted: &Counted) -> io::Result<()> {
        let generation = self.generation.saturating_add(1);
        let place = write(generation, counted);
        self.file.write_at(&place, place_of(generation))?;
        self.file.sync_data()?;
        self.generation = generation;
        if self.stands(&place)? {
            return Ok(());
        }
        tracing::error!(
            file = self.disk.display(FILE),
            "DANGER: the file that counts calls without a record was taken away or changed by somebody else; it is made anew, with all that is counted"
        );
        *self = Self::make(&self.disk, counted)?;
        Ok(())
    }

    /// Whether what was just written is what the next start would read: a file that was removed or replaced takes writes as before.
    fn stands(&self, place: &[u8; PLACE]) -> io::Result<bool> {
        let file = match self.disk.open_read(FILE) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut bytes = [0; PLACE];
        read_at(&*file, &mut bytes, place_of(self.generation))?;
        Ok(bytes == *place)
    }
}

/// Reads as much as there is.
fn read_at(file: &dyn DiskFile, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    let mut have = 0;
    while let Some(rest) = bytes.get_mut(have..).filter(|rest| !rest.is_empty()) {
        let at = offset.saturating_add(u64::try_from(have).unwrap_or(u64::MAX));
        match file.read_at(rest, at)? {
            0 => break,
            read => have += read,
        }
    }
    Ok(())
}

const fn place_of(generation: u64) -> u64 {
    generation % 2 * BLOCK
}

fn newest(bytes: &[u8]) -> Option<(u64, Counted)> {
    let places = [0, BLOCK].map(|at| {
        let at = usize::try_from(at).ok()?;
        read(bytes.get(at..)?.get(..PLACE)?)
    });
    let held = places.into_iter().flatten();
    held.max_by_key(|(generation, _)| *generation)
}

/// One place: `MAGIC`, generation, which of sealed gap, gap and window are there, then those, as whole numbers in little endian;
/// zeros, and SHA-256 of all before it.
fn write(generation: u64, counted: &Counted) -> [u8; PLACE] {
    let Counted { sealed, gap, window } = counted;
    let mut body = Vec::with_capacity(PLACE);
    body.extend_from_slice(MAGIC);
    number(&mut body, generation);
    let has = [sealed.is_some(), gap.is_some(), window.is_some()].map(u8::from);
    body.extend_from_slice(&has);
    body.extend_from_slice(&[0; 5]);
    for gap in [sealed, gap].into_iter().flatten() {
        write_gap(&mut body, gap);
    }
    if let Some(window) = window {
        time(&mut body, window.began);
        number(&mut body, window.spent.reads);
        number(&mut body, window.spent.effects);
    }
    body.resize(PLACE - DIGEST, 0);
    body.extend_from_slice(digest(&SHA256, &body).as_ref());
    let mut place = [0; PLACE];
    place.copy_from_slice(body.get(..PLACE).unwrap_or(&[0; PLACE]));
    place
}

fn write_gap(body: &mut Vec<u8>, gap: &Gap) {
    body.extend_from_slice(&gap.id);
    body.extend_from_slice(&[gap.why.code(), gap.modes.reads.code(), gap.modes.effects.code()]);
    body.extend_from_slice(&[0; 5]);
    time(body, gap.from);
    time(body, gap.to);
    number(body, gap.passed.reads);
    number(body, gap.passed.effects);
    for count in gap.ended.counts() {
        number(body, count);
    }
    number(body, gap.behind);
}

fn number(body: &mut Vec<u8>, number: u64) {
    body.extend_from_slice(&number.to_le_bytes());
}

fn time(body: &mut Vec<u8>, time: Timestamp) {
    body.extend_from_slice(&time.unix_nanos().to_le_bytes());
}

/// Generation and count of one place; `None`: it was not written whole, or by somebody else.
fn read(place: &[u8]) -> Option<(u64, Counted)> {
    let (body, said) = place.split_at_checked(PLACE - DIGEST)?;
    if digest(&SHA256, body).as_ref() != said {
        return None;
    }
    let mut rest = Rest(body.strip_prefix(MAGIC)?);
    let generation = rest.number()?;
    let [has_sealed, has_gap, has_window, ..] = rest.bytes::<8>()?;
    let sealed = if has_sealed == 0 { None } else { Some(rest.gap()?) };
    let gap = if has_gap == 0 { None } else { Some(rest.gap()?) };
    let window = match has_window {
        0 => None,
        _ => Some(Window {
            began: rest.time()?,
            spent: rest.by_class()?,
        }),
    };
    let counted = Counted { sealed, gap, window };
    // One count has one form: what is there besides was not written by us.
    (write(generation, &counted) == place).then_some((generation, counted))
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Option<Timestamp> {
        self.bytes().map(i64::from_le_bytes).map(Timestamp::from_unix_nanos)
    }

    fn gap(&mut self) -> Option<Gap> {
        let id = self.bytes()?;
        let [why, reads, effects, ..] = self.bytes::<8>()?;
        Some(Gap {
            id,
            why: Why::from_code(why)?,
            modes: ByClass {
                reads: FailMode::from_code(reads)?,
                effects: FailMode::from_code(effects)?,
            },
            from: self.time()?,
            to: self.time()?,
            passed: self.by_class()?,
            ended: {
                let mut counts = [0; 7];
                for count in &mut counts {
                    *count = self.number()?;
                }
                Ends::from_counts(counts)
            },
            behind: self.number()?,
        })
    }

    fn by_class(&mut self) -> Option<ByClass<u64>> {
        Some(ByClass {
            reads: self.number()?,
            effects: self.number()?,
        })
    }
}

/// Entry for the fuzzer: reads foreign bytes as the file, as they are and with digests that fit.
///
/// # Panics
/// A place that is read is not written as it was.
#[expect(clippy::expect_used, reason = "a fuzz target panics when something does not hold")]
pub fn fuzz_unrecorded_calls(data: &[u8]) {
    let _ = newest(data);
    let mut place = [0; PLACE];
    for (to, from) in place.iter_mut().zip(data) {
        *to = *from;
    }
    let mut fits = place;
    if let Some((body, said)) = fits.split_last_chunk_mut::<DIGEST>() {
        said.copy_from_slice(digest(&SHA256, body).as_ref());
    }
    for place in [place, fits] {
        if let Some((generation, counted)) = read(&place) {
            assert_eq!(write(generation, &counted), place, "a count has two forms");
            let again = read(&write(generation.wrapping_add(1), &counted)).expect("what was written is read");
            assert_eq!(again.1, counted);
        }
    }
}

#[cfg(test)]
mod tests {
    use ledger::sim::{Fault, SimDisk};
    use proptest::prelude::*;

    use super::*;

    fn by_class() -> impl Strategy<Value = ByClass<u64>> {
        any::<(u64, u64)>().prop_map(|(reads, effects)| ByClass { reads, effects })
    }

    fn mode() -> impl Strategy<Value = FailMode> {
        prop_oneof![Just(FailMode::Closed), Just(FailMode::Bounded), Just(FailMode::Open)]
    }

    prop_compose! {
        fn gap()(
            id in any::<[u8; 16]>(),
            why in prop_oneof![Just(Why::DiskFull), Just(Why::DiskFailed), Just(Why::CountDamaged)],
            reads in mode(),
            effects in mode(),
            from in any::<i64>(),
            to in any::<i64>(),
            passed in by_class(),
            ended in any::<[u64; 7]>(),
            behind: u64,
        ) -> Gap {
            Gap {
                id,
                why,
                modes: ByClass { reads, effects },
                from: Timestamp::from_unix_nanos(from),
                to: Timestamp::from_unix_nanos(to),
                passed,
                ended: Ends::from_counts(ended),
                behind,
            }
        }
    }

    fn window() -> impl Strategy<Value = Window> {
        (any::<i64>(), by_class()).prop_map(|(began, spent)| Window {
            began: Timestamp::from_unix_nanos(began),
            spent,
        })
    }

    fn counted() -> impl Strategy<Value = Counted> {
        let gap = || proptest::option::of(gap());
        (gap(), gap(), proptest::option::of(window())).prop_map(|(sealed, gap, window)| Counted { sealed, gap, window })
    }

    proptest! {
        #[test]
        fn a_count_is_read_as_it_was_written_and_no_changed_byte_of_it(counted in counted(), generation: u64, at in 0..PLACE, flip in 1..=255_u8) {
            let mut place = write(generation, &counted);
            prop_assert_eq!(read(&place), Some((generation, counted)));
            place[at] ^= flip;
            prop_assert_eq!(read(&place), None);
        }

        #[test]
        fn no_bytes_break_the_reader(data in proptest::collection::vec(any::<u8>(), 0..LEN + 1)) {
            fuzz_unrecorded_calls(&data);
        }

        /// Whatever of the last write is lost or torn: a count that was said to be kept is there, or a later one.
        #[test]
        fn what_was_kept_is_there_after_the_power_went(seed: u64, counts in proptest::collection::vec(counted(), 1..6), dies in 0..14_u64) {
            let disk = SimDisk::new(seed);
            let mut tally = Tally::make(&shared(&disk), &Counted::default()).unwrap();
            disk.fail_after(dies, Fault::Crash);
            let mut kept = 0;
            let mut tried = 0;
            for counted in &counts {
                tried += 1;
                if tally.keep(counted).is_err() {
                    break;
                }
                kept = tried;
            }
            disk.power_cut();
            disk.restart();
            let (_, found) = Tally::look(&shared(&disk)).unwrap();
            let Found::Counts(found) = found else { panic!("{found:?}") };
            let mut all = vec![Counted::default()];
            all.extend(&counts);
            prop_assert!(all[kept..=tried].contains(&found), "{found:?} is not one of {:?}", &all[kept..=tried]);
        }
    }

    #[test]
    fn a_file_that_nobody_can_read_is_said_and_an_empty_folder_has_none() {
        let disk = SimDisk::new(1);
        let look = || Tally::look(&shared(&disk)).unwrap().1;
        assert_eq!(look(), Found::Nothing);
        Tally::make(&shared(&disk), &Counted::default()).unwrap();
        assert_eq!(look(), Found::Counts(Box::default()));
        assert_eq!(disk.bytes(FILE).unwrap().len(), LEN);
        disk.put(FILE, &[0; LEN]);
        assert_eq!(look(), Found::Damaged);
        disk.put(FILE, b"");
        assert_eq!(look(), Found::Damaged);
    }

    #[test]
    fn a_write_that_fails_leaves_the_last_count_and_the_next_one_is_whole() {
        for fault in [Fault::Io, Fault::Torn] {
            for step in 0..2 {
                let disk = SimDisk::new(1);
                let mut tally = Tally::make(&shared(&disk), &Counted::default()).unwrap();
                tally.keep(&spent(1)).unwrap();
                disk.fail_after(step, fault);
                tally.keep(&spent(2)).unwrap_err();
                assert_ne!(Tally::look(&shared(&disk)).unwrap().1, Found::Damaged);
                tally.keep(&spent(3)).unwrap();
                disk.power_cut();
                assert_eq!(
                    Tally::look(&shared(&disk)).unwrap().1,
                    Found::Counts(Box::new(spent(3)))
                );
            }
        }
    }

    /// Whoever takes the file away or puts another there: what is said to be kept stands under its name, also after the power went.
    #[test]
    fn a_file_that_is_taken_away_or_changed_is_made_anew_or_nothing_is_said_to_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let real: Arc<dyn Disk> = Arc::new(ledger::RealDisk::new(folder.path()));
        let mut tally = Tally::make(&real, &Counted::default()).unwrap();
        let path = folder.path().join(FILE);
        for (number, harm) in (1..).zip(["remove", "truncate", "replace"]) {
            tally.keep(&spent(number)).unwrap();
            match harm {
                "remove" => std::fs::remove_file(&path).unwrap(),
                "truncate" => std::fs::write(&path, b"").unwrap(),
                _ => {
                    std::fs::write(folder.path().join("other"), [0; LEN]).unwrap();
                    std::fs::rename(folder.path().join("other"), &path).unwrap();
                }
            }
            tally.keep(&spent(10 * number)).unwrap();
            assert_eq!(
                Tally::look(&real).unwrap().1,
                Found::Counts(Box::new(spent(10 * number))),
                "{harm}"
            );
        }
        // Where it cannot be made anew, nothing is kept; and it is tried again the next time.
        for step in 2..7 {
            let disk = SimDisk::new(step);
            let mut tally = Tally::make(&shared(&disk), &Counted::default()).unwrap();
            disk.remove(FILE).unwrap();
            disk.fail_after(step, Fault::Io);
            assert!(tally.keep(&spent(1)).is_err(), "{step}");
            tally.keep(&spent(2)).unwrap();
            disk.power_cut();
            assert_eq!(
                Tally::look(&shared(&disk)).unwrap().1,
                Found::Counts(Box::new(spent(2))),
                "{step}"
            );
        }
    }

    fn shared(disk: &SimDisk) -> Arc<dyn Disk> {
        Arc::new(disk.clone())
    }

    fn spent(reads: u64) -> Counted {
        Counted {
            window: Some(Window {
                began: Timestamp::EPOCH,
                spent: ByClass { reads, effects: 0 },
            }),
            ..Counted::default()
        }
    }

    #[test]
    fn a_place_is_written_byte_for_byte_as_it_was_frozen() {
        let gap = Gap {
            id: [7; 16],
            why: Why::DiskFailed,
            modes: ByClass {
                reads: FailMode::Open,
                effects: FailMode::Bounded,
            },
            from: Timestamp::from_unix_nanos(1),
            to: Timestamp::from_unix_nanos(2),
            passed: ByClass { reads: 3, effects: 4 },
            ended: Ends::from_counts([5, 6, 7, 8, 9, 10, 11]),
            behind: 12,
        };
        let window = Window {
            began: Timestamp::from_unix_nanos(13),
            spent: ByClass { reads: 14, effects: 15 },
        };
        let place = write(
            16,
            &Counted {
                sealed: Some(gap),
                gap: Some(Gap { id: [8; 16], ..gap }),
                window: Some(window),
            },
        );
        let digest = digest(&SHA256, &place);
        assert!(hex::encode(digest).starts_with(FROZEN));
    }

    const FROZEN: &str = "e1f69d876727450d";
}
