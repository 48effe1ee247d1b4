//! Cosignatures of witnesses on what is published.
//!
//! A log signs once a second and witnesses answer later, so the newest checkpoint mostly lacks cosignatures that the one before
//! has. Therefore the newest checkpoint with enough of them is a file of its own, and those that are kept for good have theirs.

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

    /// The newest checkpoint that is witnessed; `None` while there was none since the start.
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
