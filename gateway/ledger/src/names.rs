//! Names beside the log: where an operator wants them sealed, each body passes here on its way in, and each record on its way to
//! whoever may see names. So no writer can forget it, and proofs, which are over leaves as they stand, know nothing of it.
//!
//! Invariant: what was sealed before [`Sealing::forget`] was called has been handed to the writer when it returns.

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use model::event::RecordKind;
use model::subject::SubjectId;

use crate::queue::Part;

/// Names cannot be sealed; the record is not taken. Who seals them says why in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name cannot be sealed")]
pub struct NotSealed;

/// Takes names out of records and puts them back.
pub trait Names: Send + Sync + fmt::Debug {
    /// The body without names, and the parts that it then has. `parts` are those that it had; `None`: nothing can lie beside it, and
    /// names are left out. May block for a short while, at the first sight of a subject.
    ///
    /// # Errors
    /// A key cannot be had.
    fn seal(
        &self,
        kind: RecordKind,
        body: Vec<u8>,
        parts: Option<Vec<Part>>,
    ) -> Result<(Vec<u8>, Vec<Part>), NotSealed>;

    /// The leaf with the names that can be opened, for a reader who may see them.
    fn open(&self, leaf: Vec<u8>, parts: &[Vec<u8>]) -> Vec<u8>;

    /// Keys were taken out of use or destroyed: none is used that is held in memory.
    fn forget(&self);

    /// Under which name this subject stands in records that are sealed now; `None`: it cannot be had. May block as [`Names::seal`] may.
    fn pseudonym(&self, subject: &SubjectId) -> Option<String>;
}

/// How names get into a ledger: as they are, until somebody says otherwise.
#[derive(Debug, Default)]
pub(crate) struct Sealing {
    names: OnceLock<Arc<dyn Names>>,
    in_use: RwLock<()>,
}

impl Sealing {
    pub(crate) fn begin(&self, names: Arc<dyn Names>) {
        // The first one stays: a ledger does not change in the middle how it names people.
        let _ = self.names.set(names);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.names.get().is_some()
    }

    pub(crate) fn pseudonym(&self, subject: &SubjectId) -> Option<String> {
        self.names.get()?.pseudonym(subject)
    }

    pub(crate) fn forget(&self) {
        if let Some(names) = self.names.get() {
            let _nobody_seals = self.in_use.write().unwrap_or_else(PoisonError::into_inner);
            names.forget();
        }
    }

    /// Seals, and has `push` hand it to the writer.
    ///
    /// # Errors
    /// A key cannot be had; nothing was pushed.
    pub(crate) fn with<T>(
        &self,
        kind: RecordKind,
        body: Vec<u8>,
        parts: Option<Vec<Part>>,
        push: impl FnOnce(Vec<u8>, Vec<Part>) -> T,
    ) -> Result<T, NotSealed> {
        let Some(names) = self.names.get() else {
            return Ok(push(body, parts.unwrap_or_default()));
        };
        let _in_use = self.in_use.read().unwrap_or_else(PoisonError::into_inner);
        let (body, parts) = names.seal(kind, body, parts)?;
        Ok(push(body, parts))
    }
}
