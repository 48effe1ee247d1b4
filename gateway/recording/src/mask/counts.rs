//! How often secrets were masked, by kind.

use super::Secret;

/// How many secrets of each kind were masked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts([u64; Secret::ALL.len()]);

impl Counts {
    pub(super) fn add(&mut self, secret: Secret) {
        if let Some(count) = self.0.get_mut(usize::from(secret.code().saturating_sub(1))) {
            *count = count.saturating_add(1);
        }
    }

    /// The kinds that were found, and leaves none.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Secret, u64)> + use<> {
        let counts = std::mem::take(&mut self.0);
        Secret::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }
}
