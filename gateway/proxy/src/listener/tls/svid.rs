//! X.509-SVIDs: what a leaf says of itself by the rules of the standard, and which bundle may vouch for it.
//!
//! Read once at the handshake; what may change meanwhile (the bundle, the time) is asked at each use, as for other client
//! certificates. Invariants: a certificate that names a SPIFFE ID is judged as an SVID or refused, never as a person's; it is
//! verified by the bundle of its own trust domain and by no other authority.
//!
//! Source: the SPIFFE standard X509-SVID, §2, §4 and §5.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use model::spiffe::{SpiffeId, SpiffeIdError, SpiffePattern, TrustDomain};
use model::time::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::oid_registry::{
    OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_KEY_USAGE, OID_X509_EXT_SUBJECT_ALT_NAME, Oid,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::bundle::TrustBundle;
use super::clients::{ClientAuthorities, ClientCertificateProblem, ClientCertificateRules};

/// What a listener knows of one trust domain.
#[derive(Debug)]
pub struct TrustedDomain {
    /// Who vouches for its workloads.
    pub bundle: Arc<TrustBundle>,
    /// Which of its workloads may call here; none: all.
    pub accept: Option<Vec<SpiffePattern>>,
}

/// The trust domains whose workloads a listener accepts.
pub type TrustedDomains = BTreeMap<TrustDomain, TrustedDomain>;

/// A workload's certificate that keeps the rules of the standard. Whether anybody vouches for it is asked elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Svid {
    id: SpiffeId,
    not_after: Timestamp,
    fingerprint: Box<str>,
}

impl Svid {
    /// Whose it is.
    #[must_use]
    pub const fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// When it expires.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// SHA-256 of the certificate, in hexadecimal.
    #[must_use]
    pub const fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// Why a certificate that names a SPIFFE ID proves nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SvidProblem {
    /// It cannot be parsed, or says something twice.
    #[error("the client certificate cannot be read")]
    Unreadable,
    /// X509-SVID §2.
    #[error("the X.509-SVID has a second URI among its names; its SPIFFE ID is the only one that it may have")]
    TwoUris,
    /// See [`SpiffeIdError`].
    #[error("the URI in the client certificate is no workload's SPIFFE ID: {0}")]
    Id(SpiffeIdError),
    /// X509-SVID §4.1.
    #[error("the X.509-SVID is the certificate of an authority, which proves no caller (basic constraints)")]
    Authority,
    /// X509-SVID §4.3.
    #[error("the X.509-SVID does not say what its key is for (no key usage)")]
    NoKeyUsage,
    /// X509-SVID §4.3.
    #[error("the key usage of the X.509-SVID is not marked critical")]
    KeyUsageNotCritical,
    /// X509-SVID §4.3.
    #[error("the key of the X.509-SVID is not for digital signatures (key usage)")]
    NoDigitalSignature,
    /// X509-SVID §4.3 and §5.2.
    #[error("the key of the X.509-SVID may sign certificates or revocation lists, which no caller's may (key usage)")]
    SignsOthers,
    /// No such trust domain is configured. It is not named: anybody can write any name into a certificate of their own, and what
    /// nobody vouches for has no place in a record.
    #[error("workloads of the trust domain that the X.509-SVID names are not accepted here")]
    UnknownTrustDomain,
    /// It is proved; its trust domain is configured with `accept`, and it is not among those.
    #[error("the workload `{0}` is not among those of its trust domain that are accepted here")]
    NotAccepted(SpiffeId),
    /// Nothing was loaded yet, or it was taken back.
    #[error("no bundle of the trust domain `{0}` is loaded")]
    NoBundle(TrustDomain),
    /// The chain leads elsewhere.
    #[error("no authority in the bundle of the trust domain `{0}` signed the X.509-SVID")]
    OfNoAuthority(TrustDomain),
    /// What is wrong with it as a certificate.
    #[error(transparent)]
    Chain(ClientCertificateProblem),
}

impl SvidProblem {
    /// What the check of the chain found, said of a trust domain.
    pub(crate) fn of_chain(problem: ClientCertificateProblem, svid: &Svid) -> Self {
        let domain = || svid.id.trust_domain().clone();
        match problem {
            ClientCertificateProblem::NoAuthorities => Self::NoBundle(domain()),
            ClientCertificateProblem::UnknownIssuer => Self::OfNoAuthority(domain()),
            other => Self::Chain(other),
        }
    }
}

/// What a presented certificate claims to be, and who may vouch for that.
#[derive(Debug)]
pub(crate) enum Claim {
    /// A person; without authorities nobody's counts.
    Person(Option<Arc<ClientAuthorities>>),
    /// A workload of a trust domain that is configured. Whether it may call is told only to who has proved to be it.
    Workload {
        svid: Arc<Svid>,
        bundle: Arc<TrustBundle>,
        is_accepted: bool,
    },
    /// A workload that cannot be one here.
    NoWorkload(SvidProblem),
}

impl Claim {
    /// Of a leaf on a listener with these rules. Without `workloads` a URI means nothing, as always.
    pub(crate) fn of(leaf: Option<&CertificateDer<'_>>, rules: &ClientCertificateRules) -> Self {
        let (Some(domains), Some(leaf)) = (&rules.workloads, leaf) else {
            return Self::Person(rules.authorities.clone());
        };
        let svid = match read(leaf) {
            Ok(Some(svid)) => svid,
            Ok(None) => return Self::Person(rules.authorities.clone()),
            Err(problem) => return Self::NoWorkload(problem),
        };
        match domains.get(svid.id.trust_domain()) {
            None => Self::NoWorkload(SvidProblem::UnknownTrustDomain),
            Some(domain) => Self::Workload {
                is_accepted: domain.accepts(&svid.id),
                svid: Arc::new(svid),
                bundle: Arc::clone(&domain.bundle),
            },
        }
    }
}

impl TrustedDomain {
    fn accepts(&self, id: &SpiffeId) -> bool {
        let accept = self.accept.as_ref();
        accept.is_none_or(|patterns| patterns.iter().any(|pattern| pattern.covers(id.as_str())))
    }
}

/// Reads a leaf as an SVID; none where it names no SPIFFE ID at all.
fn read(leaf: &[u8]) -> Result<Option<Svid>, SvidProblem> {
    let Ok(([], certificate)) = X509Certificate::from_der(leaf) else {
        return Err(SvidProblem::Unreadable);
    };
    let Some(id) = spiffe_id(&certificate)? else {
        return Ok(None);
    };
    check_leaf(&certificate)?;
    Ok(Some(Svid {
        id,
        not_after: Timestamp::from_unix_seconds(certificate.validity().not_after.timestamp()),
        fingerprint: hex::encode(digest::digest(&digest::SHA256, leaf)).into(),
    }))
}

/// The only URI, where one of them claims to be a SPIFFE ID, in whatever case it says so.
fn spiffe_id(certificate: &X509Certificate<'_>) -> Result<Option<SpiffeId>, SvidProblem> {
    let names = match said(certificate, &OID_X509_EXT_SUBJECT_ALT_NAME)?.map(X509Extension::parsed_extension) {
        Some(ParsedExtension::SubjectAlternativeName(names)) => names.general_names.as_slice(),
        None => &[],
        Some(_) => return Err(SvidProblem::Unreadable),
    };
    let uris: Vec<&[u8]> = names.iter().filter_map(uri).collect();
    let claims = |uri: &&[u8]| {
        uri.get(..SCHEME.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(SCHEME))
    };
    if !uris.iter().any(claims) {
        return Ok(None);
    }
    let [uri] = uris.as_slice() else {
        return Err(SvidProblem::TwoUris);
    };
    let text = std::str::from_utf8(uri).map_err(|_| SvidProblem::Id(SpiffeIdError::PathCharacter))?;
    SpiffeId::parse(text).map(Some).map_err(SvidProblem::Id)
}

/// The one extension of this kind. The library's own accessors take one that they cannot parse for one that is not there, and an
/// SVID without readable names for a person's certificate.
fn said<'a>(
    certificate: &'a X509Certificate<'a>,
    kind: &Oid<'_>,
) -> Result<Option<&'a X509Extension<'a>>, SvidProblem> {
    certificate
        .get_extension_unique(kind)
        .map_err(|_| SvidProblem::Unreadable)
}

/// Also one that is no IA5String, which the parser sets aside.
fn uri<'a>(name: &'a GeneralName<'a>) -> Option<&'a [u8]> {
    match name {
        GeneralName::URI(text) => Some(text.as_bytes()),
        GeneralName::Invalid(tag, bytes) if tag.0 == URI_TAG => Some(bytes),
        _ => None,
    }
}

fn check_leaf(certificate: &X509Certificate<'_>) -> Result<(), SvidProblem> {
    match said(certificate, &OID_X509_EXT_BASIC_CONSTRAINTS)?.map(X509Extension::parsed_extension) {
        None => {}
        Some(ParsedExtension::BasicConstraints(constraints)) if !constraints.ca => {}
        Some(ParsedExtension::BasicConstraints(_)) => return Err(SvidProblem::Authority),
        Some(_) => return Err(SvidProblem::Unreadable),
    }
    let extension = said(certificate, &OID_X509_EXT_KEY_USAGE)?.ok_or(SvidProblem::NoKeyUsage)?;
    let ParsedExtension::KeyUsage(usage) = extension.parsed_extension() else {
        return Err(SvidProblem::Unreadable);
    };
    if usage.key_cert_sign() || usage.crl_sign() {
        Err(SvidProblem::SignsOthers)
    } else if !usage.digital_signature() {
        Err(SvidProblem::NoDigitalSignature)
    } else if !extension.critical {
        Err(SvidProblem::KeyUsageNotCritical)
    } else {
        Ok(())
    }
}

/// Entry for the fuzzer: any bytes are an SVID, a certificate without SPIFFE ID, or a refusal; never a panic.
pub fn fuzz_svid(data: &[u8]) {
    let Ok(Some(svid)) = read(data) else { return };
    assert_eq!(
        SpiffeId::parse(svid.id.as_str()).as_ref(),
        Ok(&svid.id),
        "its ID has one spelling"
    );
    let id = svid.id.as_str().as_bytes();
    assert!(
        data.windows(id.len()).any(|window| window == id),
        "and stands in the certificate"
    );
    let parsed = X509Certificate::from_der(data);
    assert!(parsed.is_ok_and(|(rest, parsed)| rest.is_empty() && !parsed.is_ca()));
}

/// With what a URI begins that claims to be a SPIFFE ID.
const SCHEME: &[u8] = b"spiffe:";
/// `uniformResourceIdentifier [6]` of RFC 5280 §4.2.1.6.
const URI_TAG: u32 = 6;

#[cfg(test)]
#[path = "svid_tests.rs"]
pub(crate) mod tests;
