//! What tells two identities apart wherever a decision is remembered.
//!
//! Not the session alone: a provider keeps its session's name through a step-up, and gives several clients tokens under it,
//! each with its own claims. Invariant: identities with the same value have the same rights and go upstream under the same
//! headers; only their end may differ.

use aws_lc_rs::digest;

use super::Identity;

/// Stands for everything about an identity that a decision or a header upstream can depend on, its end apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Vouched([u8; 32]);

impl Vouched {
    pub(super) fn of(identity: &Identity) -> Self {
        let subject = &identity.subject;
        let who = (
            identity.credential,
            subject.kind(),
            subject.issuer(),
            subject.subject(),
            subject.username(),
            identity.sign_in(),
        );
        let with = (subject.uid(), subject.email(), subject.groups(), subject.extra());
        let how = (identity.acr(), identity.auth_time, &identity.stated_reason);
        // The debug form quotes each text and tells an absent value from an empty one, so that no two say the same.
        let said = format!("{:?}", (who, with, how));
        let mut value = Self::default();
        let digest = digest::digest(&digest::SHA256, said.as_bytes());
        for (to, from) in value.0.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        value
    }
}
