//! Follows a log file that the API server writes, and that is turned over, copied or cut from under us.
//!
//! Where reading left off is kept after the events before it are durable. So what may be read twice after a crash is known by its
//! content ([`super::intake`]), and nothing is left out: the file itself is opened before it is looked what stands beside it, so that one
//! that is turned over meanwhile is held open; every file beside it that was not read is read, however late it appears, and again when it
//! grows; and where a file that was seen and not read to its end is found no more, that is a gap, which is told and recorded.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;

use super::beside::{self, Beside, Form, Itself, Sign};
use super::intake::Intake;
use super::keep::{Place, State};
use super::reading::{Broken, Found, Reading, cannot, lock};

/// One followed file.
pub(super) struct Follower {
    path: PathBuf,
    key: String,
    kept: Option<PathBuf>,
    state: State,
    /// As it was written last.
    stands: Option<State>,
    intake: Arc<Mutex<Intake>>,
    open: Option<Reading>,
    /// A file beside it that is being read.
    behind: Option<Reading>,
    /// Whether there may be something new beside it.
    looks: bool,
    /// How the files beside it looked when it was last looked at them.
    signs: Vec<(PathBuf, Sign)>,
    /// Files beside it whose last line has no end, and how long they were then: somebody may be writing them.
    torn: BTreeMap<Itself, u64>,
    /// Those that are as they were are read to their ends now.
    settles: bool,
    /// There is a ledger, and nothing says where its reading left off.
    unsure: bool,
    /// Files beside it that are not read, as this is the first time.
    pub(super) older: usize,
    /// What others do in the middle of a step, in tests alone.
    meanwhile: Option<Box<dyn FnMut() + Send>>,
}

/// What a look at the file has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There was something, and there may be more.
    Read,
    /// Nothing new for now.
    Nothing,
}

/// What is known of the files beside it.
#[derive(Default)]
struct Known {
    /// Read to their ends.
    done: Vec<Place>,
    /// Not read to their ends.
    left: Vec<Place>,
    /// The first of these that can be read now.
    next: Option<(Beside, Place)>,
}

impl Follower {
    /// `kept` is the state file; without one, each run begins at the file's beginning.
    pub(super) fn new(path: &Path, kept: Option<PathBuf>, intake: Arc<Mutex<Intake>>) -> anyhow::Result<Self> {
        let state = kept.as_deref().map(State::read).transpose()?.unwrap_or_default();
        let full = std::path::absolute(path).with_context(|| format!("`{}` is no path", path.display()))?;
        let key = full.display().to_string();
        let is_known = state.files.contains_key(&key) || state.left.contains_key(&key) || state.done.contains_key(&key);
        let is_fresh = lock(&intake).is_fresh();
        let mut follower = Self {
            path: path.to_owned(),
            key,
            kept,
            state,
            stands: None,
            intake,
            open: None,
            behind: None,
            looks: true,
            signs: Vec::new(),
            torn: BTreeMap::new(),
            settles: false,
            unsure: !is_known && !is_fresh,
            older: 0,
            meanwhile: None,
        };
        // Opened at once: whatever is read first, what stands in it now is not lost when it is turned over meanwhile.
        if !is_known && is_fresh {
            let all = beside::all(path).with_context(|| cannot(path))?;
            follower.older = all.len();
            let all = all.iter().map(Beside::whole).collect();
            follower.state.done.insert(follower.key.clone(), all);
            follower.write()?;
        }
        follower.begin()?;
        Ok(follower)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what is there, some of it.
    ///
    /// # Errors
    /// A file cannot be read, or the ledger takes nothing.
    pub(super) fn step(&mut self) -> anyhow::Result<Step> {
        if self.open.is_none() && !self.begin()? {
            return Ok(Step::Nothing);
        }
        if let Some(reading) = self.behind.take() {
            return self.read_behind(reading).map(|()| Step::Read);
        }
        if self.looks {
            self.look()?;
            return Ok(Step::Read);
        }
        let Some(mut reading) = self.open.take() else {
            return Ok(Step::Nothing);
        };
        match self.read(&mut reading)? {
            Found::Something => {
                self.keep(&reading)?;
                self.open = Some(reading);
                Ok(Step::Read)
            }
            // Cut to nothing and written anew: what it had is in a copy beside it, if anywhere.
            Found::Other => {
                self.keep(&reading)?;
                self.leave().map(|()| Step::Read)
            }
            Found::End if self.is_turned_over(&reading)? => {
                // The server writes to another file by now. What it had written to this one is there; what it writes late, and the end of a
                // torn line, is met beside it.
                while self.read(&mut reading)? == Found::Something {}
                self.keep(&reading)?;
                self.leave().map(|()| Step::Read)
            }
            Found::End => {
                self.open = Some(reading);
                self.quiet()
            }
        }
    }

    fn read(&mut self, reading: &mut Reading) -> anyhow::Result<Found> {
        let intake = Arc::clone(&self.intake);
        reading.read(&intake, || self.others_act())
    }

    /// All that is there was read.
    fn quiet(&mut self) -> anyhow::Result<Step> {
        if std::mem::take(&mut self.unsure) {
            let mut intake = lock(&self.intake);
            if intake.counts.known == 0 {
                intake.gap(&format!(
                    "where reading of `{}` left off is not known, and neither it nor a file beside it has anything that the ledger has: \
                     what was written between is not here",
                    self.path.display()
                ))?;
            }
        }
        let signs = beside::signs(&self.path).with_context(|| cannot(&self.path))?;
        self.looks = signs != self.signs || std::mem::take(&mut self.settles);
        if self.looks {
            // Whatever is torn is as it was when it was last read, or not read to its end now.
            self.settles = !self.torn.is_empty() && signs == self.signs;
            return Ok(Step::Read);
        }
        // Those that are torn are read to their ends if they are the same the next time.
        self.settles = !self.torn.is_empty();
        Ok(Step::Nothing)
    }

    /// Opens the file, where the last run left off if it is the same; `false` where there is none.
    fn begin(&mut self) -> anyhow::Result<bool> {
        let opened = beside::there(File::open(&self.path).map(Some)).with_context(|| cannot(&self.path))?;
        let Some(file) = opened else { return Ok(false) };
        let reading = match self.state.files.get(&self.key) {
            None => Reading::new(file, &self.path),
            Some(place) => {
                let (reading, is_it) = Reading::from(file, &self.path, place).with_context(|| cannot(&self.path))?;
                if !is_it {
                    self.leave()?;
                }
                reading
            }
        };
        self.keep(&reading)?;
        self.open = Some(reading);
        Ok(true)
    }

    /// What was read of the file so far stands in another one now, which is looked for beside it.
    fn leave(&mut self) -> anyhow::Result<()> {
        self.looks = true;
        if let Some(place) = self.state.files.remove(&self.key) {
            self.state.left.entry(self.key.clone()).or_default().push(place);
            self.write()?;
        }
        Ok(())
    }

    /// Looks for a file beside it that was not read to its end, and begins it.
    fn look(&mut self) -> anyhow::Result<()> {
        let cannot = || cannot(&self.path);
        let current = self.open.as_ref().map(|reading| reading.file.metadata()).transpose();
        let current = current.with_context(cannot)?.map(|about| Itself::of(&about));
        let signs = beside::signs(&self.path).with_context(cannot)?;
        let all = beside::all(&self.path).with_context(cannot)?;
        let all: Vec<Beside> = all.into_iter().filter(|one| Some(one.itself) != current).collect();
        self.others_act();
        // A file that gets another name meanwhile may be met twice, or not at all.
        let is_still = beside::signs(&self.path).with_context(|| super::reading::cannot(&self.path))? == signs;
        let known = self.sort_out(all, current, is_still)?;
        self.looks = !is_still || known.next.is_some();
        if is_still {
            self.signs = signs;
        }
        let opened = match &known.next {
            Some((one, place)) => Reading::beside(one, place).with_context(|| super::reading::cannot(&one.path))?,
            None => None,
        };
        self.behind = opened;
        // Of what is gone, or read to its end by what is known of a copy of it, nothing is waited for.
        self.torn
            .retain(|torn, _| known.left.iter().any(|place| torn.is_at(place)));
        self.state.done.insert(self.key.clone(), known.done);
        if known.left.is_empty() {
            self.state.left.remove(&self.key);
        } else {
            self.state.left.insert(self.key.clone(), known.left);
        }
        self.write()
    }

    /// What is read, and what is not, of the files that are there. What is not there any more is told, if none has got another name
    /// just now.
    fn sort_out(&self, all: Vec<Beside>, current: Option<Itself>, is_still: bool) -> anyhow::Result<Known> {
        let of = |places: &BTreeMap<String, Vec<Place>>| places.get(&self.key).cloned().unwrap_or_default();
        let (done, left) = (of(&self.state.done), of(&self.state.left));
        let lost: Vec<&Place> = left.iter().filter(|place| !is_there(&all, current, place)).collect();
        let mut known = Known::default();
        if is_still {
            self.tell_lost(&lost)?;
        } else {
            known.left.extend(lost.into_iter().cloned());
            // Nor is what was read forgotten.
            let is_gone = |place: &&Place| !is_there(&all, current, place);
            known.done.extend(done.iter().filter(is_gone).cloned());
        }
        for one in all {
            let of_it: Vec<&Place> = done.iter().chain(&left).filter(|place| one.is_of(place)).collect();
            if let Some(end) = of_it.iter().find(|place| one.ends_at(place)) {
                known.done.push(match one.form {
                    Form::Plain | Form::Gzip => one.read_to(end.offset, end.rest),
                    Form::Unread => one.whole(),
                });
                continue;
            }
            if one.form == Form::Unread {
                known.done.push(one.whole());
                self.gap(&format!("`{}` is packed in a way that is not read", one.path.display()))?;
                continue;
            }
            let read = of_it.iter().map(|place| place.offset).max().unwrap_or(0);
            let place = one.read_to(if one.form == Form::Plain { read } else { 0 }, 0);
            known.left.push(place.clone());
            let waits = !self.settles && self.torn.get(&one.itself) == Some(&one.length);
            if !waits && known.next.is_none() {
                known.next = Some((one, place));
            }
        }
        Ok(known)
    }

    fn tell_lost(&self, lost: &[&Place]) -> anyhow::Result<()> {
        let Some(first) = lost.first() else { return Ok(()) };
        let others = match lost.len() {
            1 => String::new(),
            many => format!(" (and so with {} more)", many - 1),
        };
        self.gap(&format!(
            "the file that was `{}` when {} bytes of it were read is not beside it any more{others}: if more was written to it, or another \
             file came between, that is not here",
            self.path.display(),
            first.offset
        ))
    }

    /// Reads some of a file beside it.
    fn read_behind(&mut self, mut reading: Reading) -> anyhow::Result<()> {
        let packed = reading.is_packed();
        match self.read(&mut reading) {
            Ok(Found::Something) => {
                self.behind = Some(reading);
                return Ok(());
            }
            // It was cut, and what it had may be elsewhere by now: it is looked at anew.
            Ok(Found::Other) => return Ok(()),
            Ok(Found::End) => {}
            Err(error) if packed && error.is::<Broken>() => self.gap(&format!("{error:#}"))?,
            Err(error) => return Err(error),
        }
        let about = reading.file.metadata().with_context(|| cannot(&reading.name))?;
        let itself = Itself::of(&about);
        if packed {
            // A line without an end is told, and of another file that begins so it is read whole.
            let offset = reading.offset;
            reading.take_rest(&self.intake)?;
            let all = beside::all(&self.path).with_context(|| cannot(&self.path))?;
            let place = match all.iter().find(|one| one.itself == itself) {
                Some(one) => one.packed_to(offset),
                None => reading.place().with_context(|| cannot(&reading.name))?,
            };
            self.state.done.entry(self.key.clone()).or_default().push(place);
            return self.write();
        }
        let mut place = reading.place().with_context(|| cannot(&reading.name))?;
        match reading.rest() {
            0 => drop(self.torn.remove(&itself)),
            rest if self.torn.get(&itself) == Some(&(place.offset + rest)) => {
                // Nobody is writing it. Should somebody do so later, the line is read from its beginning.
                self.torn.remove(&itself);
                reading.take_rest(&self.intake)?;
                place.rest = rest;
            }
            rest => drop(self.torn.insert(itself, place.offset + rest)),
        }
        // It stays among those that are left until it was looked at all of them: if it is gone by then, others may be that nobody has seen.
        let left = self.state.left.entry(self.key.clone()).or_default();
        left.retain(|other| (other.device, other.inode) != (place.device, place.inode));
        left.push(place);
        self.write()
    }

    fn gap(&self, what: &str) -> anyhow::Result<()> {
        lock(&self.intake).gap(what)
    }

    /// Whether the path leads to another file, which is there already.
    fn is_turned_over(&self, reading: &Reading) -> anyhow::Result<bool> {
        let own = reading.file.metadata().with_context(|| cannot(&self.path))?;
        let other = beside::there(fs::metadata(&self.path).map(Some)).with_context(|| cannot(&self.path))?;
        Ok(other.is_some_and(|other| Itself::of(&other) != Itself::of(&own)))
    }

    /// Notes how far all is durable.
    fn keep(&mut self, reading: &Reading) -> anyhow::Result<()> {
        let place = reading.place().with_context(|| cannot(&self.path))?;
        if self.state.files.get(&self.key) == Some(&place) {
            return Ok(());
        }
        self.state.files.insert(self.key.clone(), place);
        self.write()
    }

    fn write(&mut self) -> anyhow::Result<()> {
        if let Some(kept) = self.kept.as_ref().filter(|_| self.stands.as_ref() != Some(&self.state)) {
            self.state.write(kept)?;
            self.stands = Some(self.state.clone());
        }
        Ok(())
    }

    fn others_act(&mut self) {
        if let Some(act) = &mut self.meanwhile {
            act();
        }
    }
}

#[cfg(test)]
#[path = "follow_others_tests.rs"]
mod others_tests;
/// Whether the file of the place is there: itself, or packed, or, where itself was cut, in a copy. Any other copy may have been made
/// before more was written to it.
fn is_there(all: &[Beside], current: Option<Itself>, place: &Place) -> bool {
    let was_cut = |one: &Beside| one.itself.is_at(place) && !one.is_of(place);
    let was_cut = current.is_some_and(|current| current.is_at(place)) || all.iter().any(was_cut);
    all.iter()
        .any(|one| one.is_of(place) && (was_cut || one.itself.is_at(place) || one.form != Form::Plain))
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
