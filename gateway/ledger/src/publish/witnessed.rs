//! Cosignatures of witnesses on what is published.
//!
//! A log signs once a second and witnesses answer later, so the newest checkpoint mostly lacks cosignatures that the one before
//! has. Therefore the newest checkpoint with enough of them is a file of its own, and those that are kept for good have theirs. Whoever
//! asks for the log is given that one: the newest would have cosignatures at one moment and none at the next.

use super::*;
use crate::verify::WITNESSED;

impl Publisher {
    /// Takes a checkpoint of this ledger with the cosignatures of its witnesses, as many as are asked for: into the file of the
    /// newest witnessed one, into that of the newest one while there is none newer, and every 10 s among those that are kept. One
    /// that is smaller than the last witnessed one changes nothing. Blocks for the disk.
    ///
    /// # Errors
    /// [`PublishError`]; the next one is tried anew.
    pub fn take_witnessed(&self, witnessed: &Published) -> Result<(), PublishError> {
        self.desk.take_witnessed(witnessed)
    }

    /// The newest witnessed checkpoints of earlier runs, as they were kept in the ledger's folder and beside its key. What witnesses have
    /// cosigned stands in them. One that another key signed is this ledger's where these very records are under it: an earlier key
    /// signed it, and what witnesses remember is not changed by a change of the key.
    ///
    /// # Errors
    /// A file cannot be read, or is no note.
    pub fn kept_witnessed(&self) -> Result<Vec<Note>, PublishError> {
        let keys = self.keys();
        let mut notes = Vec::new();
        for disk in std::iter::once(&self.desk.disk).chain(&self.desk.beside) {
            let Some(bytes) = read(&**disk, WITNESSED)? else {
                continue;
            };
            let file = disk.display(WITNESSED);
            let note = Note::parse(&bytes).map_err(|source| PublishError::Note { file, source })?;
            if note.verify(&keys).is_ok() || self.desk.is_over_these_records(&note)? {
                notes.push(note);
            }
        }
        Ok(notes)
    }

    /// Goes on with the largest of these checkpoints of earlier runs, those of [`Publisher::kept_witnessed`] with enough cosignatures, that the
    /// keys of today signed and that is over these very records. So a start, also one while no witness answers, takes no cosignature from what is
    /// served. One that a retired key signed says nothing to who has the newest key alone. Blocks for the disk.
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn go_on_witnessed<'n>(&self, kept: impl IntoIterator<Item = &'n Note>) -> Result<(), PublishError> {
        let keys = self.keys();
        for note in kept {
            if note.verify(&keys).is_err() || !self.desk.is_over_these_records(note)? {
                continue;
            }
            let Ok(checkpoint) = Checkpoint::parse(note.text()) else {
                continue;
            };
            let mut state = self.desk.state();
            let known = state.witnessed.as_ref().map_or(0, |known| known.checkpoint.size);
            if checkpoint.size > known {
                let (note, at) = (note.clone(), (self.desk.clock.0)());
                state.witnessed = Some(Arc::new(Published { note, checkpoint, at }));
            }
        }
        Ok(())
    }

    /// The checkpoint for whoever asks for the log: the newest that is witnessed, however old it is. Until there is one, the newest; and what was handed
    /// out until then stays until a witnessed one has as many records. So nobody is given fewer records than before: who remembers more than is
    /// served takes it for a log that was cut.
    #[must_use]
    pub fn served(&self) -> Option<Arc<Published>> {
        let mut state = self.desk.state();
        let size = |one: &Option<Arc<Published>>| one.as_ref().map_or(0, |one| one.checkpoint.size);
        let next = match &state.witnessed {
            None => state.newest.clone(),
            witnessed if size(witnessed) >= size(&state.served) => witnessed.clone(),
            _ => state.served.clone(),
        };
        state.served.clone_from(&next);
        next
    }

    /// The newest checkpoint that is witnessed, in this run or in an earlier one ([`Publisher::go_on_witnessed`]).
    #[must_use]
    pub fn witnessed(&self) -> Option<Arc<Published>> {
        self.desk.state().witnessed.clone()
    }

    /// The newest witnessed checkpoint, once it has so many records. Blocks as [`Publisher::covering`] does.
    #[must_use]
    pub fn witnessed_covering(&self, size: u64, within: Duration) -> Option<Arc<Published>> {
        let has = |state: &State| state.witnessed.as_ref().map_or(0, |newest| newest.checkpoint.size);
        let lacks = |state: &mut State| has(state) < size && !state.is_over;
        let waited = self.desk.signed.wait_timeout_while(self.desk.state(), within, lacks);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.witnessed.clone().filter(|_| has(&state) >= size)
    }
}

impl Desk {
    /// Whether it states the root that these records have at its size, under this ledger's name. Who signed it is not asked.
    fn is_over_these_records(&self, note: &Note) -> Result<bool, PublishError> {
        let Ok(stated) = Checkpoint::parse(note.text()) else {
            return Ok(false);
        };
        let is_ours = stated.origin == self.origin() && stated.size <= self.ledger.durable().size;
        Ok(is_ours && root_at(&self.disk, stated.size)? == Some(stated.root))
    }

    fn take_witnessed(&self, witnessed: &Published) -> Result<(), PublishError> {
        let _writing = self.writing();
        let size = witnessed.checkpoint.size;
        let (known, newest) = {
            let state = self.state();
            (state.witnessed.clone(), state.newest.clone())
        };
        if known.is_some_and(|known| known.checkpoint.size > size) {
            return Ok(());
        }
        let is_newest = newest.is_some_and(|newest| newest.note.text() == witnessed.note.text());
        let text = witnessed.note.to_string();
        for disk in std::iter::once(&self.disk).chain(&self.beside) {
            replace(&**disk, WITNESSED, text.as_bytes())?;
            if is_newest {
                replace(&**disk, NEWEST, text.as_bytes())?;
            }
        }
        let published = Arc::new(witnessed.clone());
        let is_time = {
            let mut state = self.state();
            state.witnessed = Some(Arc::clone(&published));
            if is_newest {
                state.newest = Some(published);
            }
            state
                .kept_witnessed
                .is_none_or(|(at, kept)| kept != size && at.elapsed() >= KEEP_EVERY)
        };
        self.signed.notify_all();
        if is_time {
            self.keep(size, text.as_bytes())?;
            self.state().kept_witnessed = Some((Instant::now(), size));
        }
        Ok(())
    }
}
