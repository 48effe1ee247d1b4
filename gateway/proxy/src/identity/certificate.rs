//! From a client certificate that the listener has verified to an identity, by Kubernetes' rule: the common name is the
//! user, the organisations are the groups (kubernetes/apiserver `pkg/authentication/request/x509`).
//!
//! The names are still strangers' names: `system:` is refused for them like for everybody from outside.

use std::sync::Arc;

use aws_lc_rs::digest;
use model::subject::{Subject, SubjectKind, SubjectParts};
use model::time::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::{Credential, Identity, groups_hash, subject_id};
use crate::refusal::Refusal;

/// The identity of a verified chain, leaf first.
pub(super) fn identity(chain: &Arc<[CertificateDer<'static>]>) -> Result<Identity, Refusal> {
    let bad = |why: &str| Refusal::BadCredential(format!("the client certificate {why}"));
    let leaf = chain.first().ok_or_else(|| bad("is missing"))?;
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| bad("cannot be read"))?;
    let username = one_name(certificate.subject())?;
    let groups: Vec<String> = certificate
        .subject()
        .iter_organization()
        .filter_map(|name| name.as_str().ok())
        .map(str::to_owned)
        .collect();
    let issuer = format!(
        "certificate:{}",
        one_name(certificate.issuer()).unwrap_or_else(|_| "unnamed authority".to_owned())
    );
    let subject = Subject::new(SubjectParts {
        id: subject_id(&issuer, &username),
        kind: SubjectKind::Person,
        issuer,
        subject: username.clone(),
        username,
        uid: None,
        groups,
        extra: std::collections::BTreeMap::new(),
        email: None,
    });
    let subject = subject.map_err(|error| bad(&format!("names nobody that may come from outside: {error}")))?;
    let fingerprint = digest::digest(&digest::SHA256, leaf);
    let id = hex::encode(fingerprint);
    Ok(Identity {
        groups_hash: groups_hash(subject.groups()),
        session: subject.id().as_str().into(),
        subject,
        credential: Credential::Certificate,
        credential_id: Some(format!("X509SHA256={id}").into()),
        auth_time: None,
        acr: None,
        stated_reason: None,
        expires_at: Timestamp::from_unix_seconds(certificate.validity().not_after.timestamp()),
        signed_by: None,
    })
}

/// The one common name. NUL and other control characters are refused where the subject is made (TLS-07).
fn one_name(name: &X509Name<'_>) -> Result<String, Refusal> {
    let bad = |why: &str| Refusal::BadCredential(format!("the client certificate {why}"));
    let mut names = name.iter_common_name();
    let first = names.next().ok_or_else(|| bad("has no common name"))?;
    if names.next().is_some() {
        return Err(bad("has two common names"));
    }
    first
        .as_str()
        .map(str::to_owned)
        .map_err(|_| bad("has a common name that is no text"))
}
