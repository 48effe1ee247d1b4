//! From an X.509-SVID that the listener has verified to the identity of a workload, and nobody else to such a name.
//!
//! A cluster knows a caller by the user name alone: to its RBAC a person called `spiffe://example.org/a` is that workload. So
//! names of trust domains whose workloads prove themselves here come from no token and no person's certificate, as `system:`
//! names come from nobody outside.

use std::collections::BTreeMap;

use model::subject::{Subject, SubjectKind, SubjectParts};

use super::{Credential, Identity, Station, Unproved, Vouched, groups_hash, subject_id};
use crate::listener::tls::{Svid, SvidProblem};
use crate::refusal::Refusal;

/// The workload of a verified SVID: its ID is the user name, as it stands, and it has no groups.
pub(super) fn identity(svid: &Svid) -> Result<Identity, Unproved> {
    let (id, issuer) = (svid.id().as_str(), svid.id().trust_domain().id());
    let subject = Subject::new(SubjectParts {
        id: subject_id(&issuer, id),
        kind: SubjectKind::Workload,
        issuer,
        subject: id.to_owned(),
        username: id.to_owned(),
        uid: None,
        groups: Vec::new(),
        extra: BTreeMap::new(),
        email: None,
    });
    let subject = subject.map_err(|error| refused(error.to_string()))?;
    Ok(Identity::of(Identity {
        groups_hash: groups_hash(subject.groups()),
        sign_in: subject.id().as_str().into(),
        subject,
        credential: Credential::Svid,
        credential_id: Some(format!("X509SHA256={}", svid.fingerprint()).into()),
        auth_time: None,
        acr: None,
        stated_reason: None,
        sign_in_ends: None,
        expires_at: svid.not_after(),
        signed_by: None,
        vouched: Vouched::default(),
    }))
}

/// Whoever presents a bad SVID is refused whatever else is presented: no other name than its own is looked for.
pub(super) fn no_workload(problem: &SvidProblem) -> Unproved {
    refused(problem.to_string())
}

fn refused(why: String) -> Unproved {
    Unproved::by(Credential::Svid.as_str(), Refusal::BadCredential(why))
}

impl Station {
    /// Lets pass whoever does not go by the name of a workload that would prove itself by an SVID.
    pub(super) fn is_no_workload(&self, identity: Identity) -> Result<Identity, Refusal> {
        let name = identity.subject.username();
        match self.acceptance.workloads.iter().find(|domain| domain.holds(name)) {
            Some(domain) => Err(Refusal::BadCredential(format!(
                "`{name}` is the name of a workload: those of the trust domain `{domain}` prove themselves by their X.509-SVID alone"
            ))),
            None => Ok(identity),
        }
    }
}
