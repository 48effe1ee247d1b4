//! From a client certificate that the listener has verified to an identity, by Kubernetes' rule: the common name is the
//! user, the organisations are the groups (kubernetes/apiserver `pkg/authentication/request/x509`).
//!
//! The names are still strangers' names: `system:` is refused for them like for everybody from outside, and an operator can
//! give them a beginning of their own, so that no issuer of tokens names the same people.

use std::sync::Arc;

use aws_lc_rs::digest;
use model::subject::{Subject, SubjectKind, SubjectParts};
use model::time::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::{Credential, Identity, Vouched, groups_hash, subject_id};
use crate::refusal::Refusal;

/// With what the names of people begin who are proved by a certificate; the empty text changes nothing.
#[derive(Clone, Debug, Default)]
pub struct CertificateNames {
    /// The beginning of user names.
    pub user_prefix: String,
    /// The beginning of groups.
    pub group_prefix: String,
}

/// The identity of a verified chain, leaf first. Without `names` nobody is known by a certificate here.
pub(super) fn identity(
    chain: &Arc<[CertificateDer<'static>]>,
    names: Option<&CertificateNames>,
) -> Result<Identity, Refusal> {
    let bad = |why: &str| Refusal::BadCredential(format!("the client certificate {why}"));
    let names = names.ok_or_else(|| bad("is not accepted here"))?;
    let leaf = chain.first().ok_or_else(|| bad("is missing"))?;
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| bad("cannot be read"))?;
    let common_name = one_name(certificate.subject())?;
    let groups: Vec<String> = certificate
        .subject()
        .iter_organization()
        .filter_map(|name| name.as_str().ok())
        .map(|name| format!("{}{name}", names.group_prefix))
        .collect();
    let issuer = format!(
        "certificate:{}",
        one_name(certificate.issuer()).unwrap_or_else(|_| "unnamed authority".to_owned())
    );
    let subject = Subject::new(SubjectParts {
        id: subject_id(&issuer, &common_name),
        kind: SubjectKind::Person,
        issuer,
        username: format!("{}{common_name}", names.user_prefix),
        subject: common_name,
        uid: None,
        groups,
        extra: std::collections::BTreeMap::new(),
        email: None,
    });
    let subject = subject.map_err(|error| bad(&format!("names nobody that may come from outside: {error}")))?;
    let fingerprint = digest::digest(&digest::SHA256, leaf);
    let id = hex::encode(fingerprint);
    Ok(Identity::of(Identity {
        groups_hash: groups_hash(subject.groups()),
        sign_in: subject.id().as_str().into(),
        subject,
        credential: Credential::Certificate,
        credential_id: Some(format!("X509SHA256={id}").into()),
        auth_time: None,
        acr: None,
        stated_reason: None,
        sign_in_ends: None,
        expires_at: Timestamp::from_unix_seconds(certificate.validity().not_after.timestamp()),
        signed_by: None,
        vouched: Vouched::default(),
    }))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(common_name: &str, organisations: &[&str]) -> Arc<[CertificateDer<'static>]> {
        let mut parameters = rcgen::CertificateParams::default();
        let mut name = rcgen::DistinguishedName::new();
        name.push(rcgen::DnType::CommonName, common_name);
        for organisation in organisations {
            name.push(rcgen::DnType::OrganizationName, *organisation);
        }
        parameters.distinguished_name = name;
        let key = rcgen::KeyPair::generate().unwrap();
        Arc::from([parameters.self_signed(&key).unwrap().der().clone()])
    }

    fn names(user: &str, group: &str) -> CertificateNames {
        CertificateNames {
            user_prefix: user.to_owned(),
            group_prefix: group.to_owned(),
        }
    }

    #[test]
    fn names_of_a_certificate_begin_as_the_listener_says_and_the_subject_stays_its_own() {
        let erin = identity(&chain("erin", &["dev"]), Some(&names("people:", "teams:"))).unwrap();
        assert_eq!(erin.subject().username(), "people:erin");
        assert_eq!(erin.subject().groups(), [Arc::from("teams:dev")]);
        assert_eq!(erin.subject().subject(), "erin");
        let plain = identity(&chain("erin", &["dev"]), Some(&names("", ""))).unwrap();
        assert_eq!(
            (plain.subject().username(), plain.subject().groups().len()),
            ("erin", 1)
        );
    }

    #[test]
    fn a_certificate_makes_no_reserved_name_with_any_beginning() {
        for (common_name, organisation, names) in [
            ("system:serviceaccount:kube-system:default", "dev", names("", "")),
            ("system:admin", "dev", names("", "x:")),
            ("erin", "system:masters", names("", "")),
            ("erin", "system:serviceaccounts", names("x:", "")),
            ("serviceaccount:kube-system:default", "dev", names("system:", "")),
            ("erin", "masters", names("", "system:")),
        ] {
            let told = identity(&chain(common_name, &[organisation]), Some(&names)).err();
            assert!(
                matches!(&told, Some(Refusal::BadCredential(why)) if why.contains("` is reserved")),
                "{common_name} {organisation}: {told:?}"
            );
        }
    }

    #[test]
    fn where_no_names_are_given_to_certificates_none_counts() {
        assert!(matches!(
            identity(&chain("erin", &[]), None),
            Err(Refusal::BadCredential(_))
        ));
    }
}
