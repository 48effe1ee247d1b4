//! Which processes were told "no" a moment ago, so that the next attempts of the same kubectl end at once and in silence.
//!
//! In a file of its own and not under the lock: who refuses at once waits for nobody, and also refuses where nothing is
//! kept yet. Two that write at the same time can lose one of the two, and a reader can meet a half: then a message is said
//! once more, and nothing else happens. Nothing here decides who gets a token.

use std::io::Write as _;
use std::time::Duration;

use model::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::atomic::{private_folder, private_options};
use super::{Place, StoreError};

/// How long the result "no" counts for processes of the same parent: kubectl runs its plugin six times (ux §3.6).
const COUNTS: Duration = Duration::from_secs(10);
/// Parents that are remembered; more than run at once within ten seconds on a laptop.
const MOST: usize = 256;

/// A result "no".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Refusal {
    /// The process that called us.
    pub(crate) parent: u32,
    /// When.
    pub(crate) at: Timestamp,
    /// The exit code of then.
    pub(crate) exit: u8,
}

impl Refusal {
    fn counts(&self, now: Timestamp) -> bool {
        self.at <= now && now.since(self.at) < COUNTS
    }
}

impl Place {
    /// What this parent was told a moment ago.
    pub(crate) fn refused_before(&self, parent: u32, now: Timestamp) -> Option<Refusal> {
        let mut refusals = self.refusals().into_iter().rev();
        refusals.find(|refusal| refusal.parent == parent && refusal.counts(now))
    }

    /// Remembers it.
    pub(crate) fn refuse(&self, refusal: Refusal) -> Result<(), StoreError> {
        let mut refusals = self.refusals();
        refusals.retain(|known| known.counts(refusal.at));
        if refusals.len() >= MOST {
            refusals.remove(0);
        }
        refusals.push(refusal);
        private_folder(self.folder())?;
        let text = serde_json::to_vec(&refusals).unwrap_or_default();
        let written = private_options()
            .create_new(false)
            .create(true)
            .truncate(true)
            .open(&self.told)
            .and_then(|mut file| file.write_all(&text));
        written.map_err(|cause| StoreError::Unwritable {
            path: self.told.clone(),
            cause,
        })
    }

    /// Who signed in is told anew whatever comes.
    pub(crate) fn forget_refusals(&self) {
        // What is left counts for ten seconds at most.
        let _ = std::fs::remove_file(&self.told);
    }

    fn refusals(&self) -> Vec<Refusal> {
        let text = std::fs::read(&self.told).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}
