//! Names beside the log: where an operator wants them sealed, each body passes here on its way in, and each record on its way to
//! whoever may see names. So no writer can forget it, and proofs, which are over leaves as they stand, know nothing of it.
//!
//! Invariant: what was sealed before [`Sealing::forget_and`] was called has been handed to the writer when it returns.

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

    /// Does what takes keys or pseudonyms out of use, and has them forgotten: nothing is sealed between the two.
    pub(crate) fn forget_and(&self, act: impl FnOnce()) {
        let Some(names) = self.names.get() else { return act() };
        let _nobody_seals = self.in_use.write().unwrap_or_else(PoisonError::into_inner);
        act();
        names.forget();
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    struct Forgets(Mutex<Vec<&'static str>>);

    impl Names for Forgets {
        fn seal(
            &self,
            _: RecordKind,
            body: Vec<u8>,
            parts: Option<Vec<Part>>,
        ) -> Result<(Vec<u8>, Vec<Part>), NotSealed> {
            Ok((body, parts.unwrap_or_default()))
        }

        fn open(&self, leaf: Vec<u8>, _: &[Vec<u8>]) -> Vec<u8> {
            leaf
        }

        fn forget(&self) {
            self.0.lock().unwrap().push("forgotten");
        }

        fn pseudonym(&self, _: &SubjectId) -> Option<String> {
            None
        }
    }

    /// A record in between could have the pseudonym of before and a key of since.
    #[test]
    fn nothing_is_sealed_while_names_are_taken_out_of_use_and_until_they_are_forgotten() {
        let (sealing, names) = (Sealing::default(), Arc::new(Forgets::default()));
        let act = || {
            assert!(sealing.in_use.try_read().is_err() == sealing.is_on());
            names.0.lock().unwrap().push("out of use");
        };
        sealing.forget_and(act);
        sealing.begin(Arc::clone(&names) as Arc<dyn Names>);
        sealing.forget_and(act);
        assert!(sealing.in_use.try_read().is_ok());
        let order = names.0.lock().unwrap();
        assert_eq!(
            *order,
            ["out of use", "out of use", "forgotten"],
            "none is sealed at first"
        );
    }
}
