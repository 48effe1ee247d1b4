//! Who has not signed in and does what a rule lets the public do: nobody in particular, with budgets of their own.

use model::subject::{Subject, SubjectKind, SubjectParts};
use model::time::Timestamp;

use super::{Credential, Identity, Vouched, groups_hash, subject_id};
use crate::refusal::Refusal;

/// What stands for whoever calls from an address without a sign-in. It proves nothing: it makes no [`Authenticated`](super::Authenticated),
/// and its name and group reach no rule.
///
/// # Errors
/// None is known: the parts are ours.
pub(crate) fn public(address: &str) -> Result<Identity, Refusal> {
    let subject = Subject::new(SubjectParts {
        id: subject_id(PUBLIC, address),
        kind: SubjectKind::Public,
        issuer: PUBLIC.to_owned(),
        subject: PUBLIC.to_owned(),
        username: PUBLIC.to_owned(),
        uid: None,
        groups: Vec::new(),
        extra: std::collections::BTreeMap::new(),
        email: None,
    });
    let subject = subject.map_err(|_| Refusal::Internal)?;
    Ok(Identity::of(Identity {
        groups_hash: groups_hash(subject.groups()),
        sign_in: subject.id().as_str().into(),
        subject,
        credential: Credential::Public,
        credential_id: None,
        auth_time: None,
        acr: None,
        stated_reason: None,
        sign_in_ends: None,
        expires_at: Timestamp::MAX,
        signed_by: None,
        vouched: Vouched::default(),
    }))
}

/// No issuer has this URL, and no user name may begin so where people are named.
const PUBLIC: &str = "public";
