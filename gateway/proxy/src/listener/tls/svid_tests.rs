//! Each rule of the standard, attacked by a certificate that breaks it alone.

use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

use super::*;

/// An authority of a trust domain.
pub(crate) struct Authority {
    pem: String,
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }
}

/// A leaf with these URIs that keeps all rules, but for what `more` changes.
pub(crate) fn leaf(authority: &Authority, uris: &[&str], more: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = uris
        .iter()
        .map(|uri| SanType::URI((*uri).try_into().unwrap()))
        .collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    more(&mut params);
    let key = KeyPair::generate().unwrap();
    params.signed_by(&key, &authority.issuer).unwrap().der().to_vec()
}

/// The rules of a listener that accepts the workloads of `example.org`, and of `partner.example` some.
pub(crate) fn rules(
    ours: &Arc<TrustBundle>,
    partners: &Arc<TrustBundle>,
    people: Option<Arc<ClientAuthorities>>,
) -> ClientCertificateRules {
    let domain = |name: &str, bundle: &Arc<TrustBundle>, accept| {
        let bundle = Arc::clone(bundle);
        (TrustDomain::parse(name).unwrap(), TrustedDomain { bundle, accept })
    };
    let accept = vec![SpiffePattern::parse("spiffe://partner.example/billing/*").unwrap()];
    ClientCertificateRules {
        authorities: people,
        workloads: Some(Arc::new(BTreeMap::from([
            domain("example.org", ours, None),
            domain("partner.example", partners, Some(accept)),
        ]))),
        silent_names: Arc::default(),
    }
}

const WEB: &str = "spiffe://example.org/ns/prod/sa/web";

#[test]
fn an_svid_says_whose_it_is_and_until_when() {
    let authority = Authority::new("a");
    let der = leaf(&authority, &[WEB], |params| {
        params.not_after = rcgen::date_time_ymd(2040, 1, 2);
        // Names of other kinds may stand beside it (X509-SVID §2).
        let others = [
            SanType::DnsName("web.prod.svc".try_into().unwrap()),
            SanType::IpAddress([192, 0, 2, 1].into()),
        ];
        params.subject_alt_names.extend(others);
    });
    let svid = read(&der).unwrap().unwrap();
    assert_eq!(svid.id().as_str(), WEB);
    assert_eq!(svid.id().trust_domain().as_str(), "example.org");
    assert_eq!(svid.not_after(), Timestamp::parse("2040-01-02T00:00:00Z").unwrap());
    assert_eq!(svid.fingerprint().len(), 64);
}

#[test]
fn a_certificate_without_a_spiffe_id_is_no_svid_at_all() {
    let authority = Authority::new("a");
    for uris in [
        &[][..],
        &["https://example.org/a"],
        &["https://example.org/a", "https://example.org/b"],
        &["xspiffe://a/b"],
    ] {
        assert_eq!(read(&leaf(&authority, uris, |_| {})), Ok(None), "{uris:?}");
    }
}

#[test]
fn a_certificate_that_breaks_a_rule_of_the_standard_is_refused_for_it() {
    type More = fn(&mut CertificateParams);
    let authority = Authority::new("a");
    let usage = |params: &mut CertificateParams, more: &[KeyUsagePurpose]| params.key_usages.extend(more);
    let rows: Vec<(&[&str], More, SvidProblem)> = vec![
        (&[WEB, WEB], |_| {}, SvidProblem::TwoUris),
        (&[WEB, "spiffe://example.org/admin"], |_| {}, SvidProblem::TwoUris),
        (&["https://example.org/a", WEB], |_| {}, SvidProblem::TwoUris),
        (
            &["spiffe://example.org"],
            |_| {},
            SvidProblem::Id(SpiffeIdError::NoPath),
        ),
        (
            &["SPIFFE://example.org/a"],
            |_| {},
            SvidProblem::Id(SpiffeIdError::NotSpiffe),
        ),
        (
            &["spiffe:example.org/a"],
            |_| {},
            SvidProblem::Id(SpiffeIdError::NotSpiffe),
        ),
        (
            &["spiffe://Example.org/a"],
            |_| {},
            SvidProblem::Id(SpiffeIdError::TrustDomainCharacter),
        ),
        (
            &["spiffe://example.org/a/../b"],
            |_| {},
            SvidProblem::Id(SpiffeIdError::DotSegment),
        ),
        (
            &["spiffe://example.org/a//b"],
            |_| {},
            SvidProblem::Id(SpiffeIdError::EmptySegment),
        ),
        (
            &["spiffe://example.org/a%2fb"],
            |_| {},
            SvidProblem::Id(SpiffeIdError::PathCharacter),
        ),
        (
            &["spiffe://example.org/a\0b"],
            |_| {},
            SvidProblem::Id(SpiffeIdError::PathCharacter),
        ),
        (
            &[WEB],
            |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            SvidProblem::Authority,
        ),
        (&[WEB], |params| params.key_usages.clear(), SvidProblem::NoKeyUsage),
        (
            &[WEB],
            |params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment],
            SvidProblem::NoDigitalSignature,
        ),
        (
            &[WEB],
            |params| params.key_usages.push(KeyUsagePurpose::KeyCertSign),
            SvidProblem::SignsOthers,
        ),
        (
            &[WEB],
            |params| params.key_usages.push(KeyUsagePurpose::CrlSign),
            SvidProblem::SignsOthers,
        ),
        (
            &[WEB],
            |params| {
                params.key_usages.clear();
                params.custom_extensions = vec![extension(KEY_USAGE, &[3, 2, 7, 0x80], false)];
            },
            SvidProblem::KeyUsageNotCritical,
        ),
        (
            &[WEB],
            |params| params.custom_extensions = vec![extension(KEY_USAGE, &[3, 2, 7, 0x80], true)],
            SvidProblem::Unreadable,
        ),
        (
            &[WEB],
            |params| {
                params.key_usages.clear();
                params.custom_extensions = vec![extension(KEY_USAGE, b"nonsense", true)];
            },
            SvidProblem::Unreadable,
        ),
        (
            &[WEB],
            |params| params.custom_extensions = vec![extension(CONSTRAINTS, b"nonsense", true)],
            SvidProblem::Unreadable,
        ),
    ];
    for (uris, more, problem) in rows {
        assert_eq!(
            read(&leaf(&authority, uris, more)),
            Err(problem.clone()),
            "{uris:?}: {problem}"
        );
    }
    let good = leaf(&authority, &[WEB], |params| {
        usage(
            params,
            &[KeyUsagePurpose::KeyAgreement, KeyUsagePurpose::KeyEncipherment],
        );
    });
    assert!(read(&good).unwrap().is_some(), "which a leaf may have, too");
}

/// A name that the parser cannot read is no name that is not there.
#[test]
fn names_that_cannot_be_read_are_no_way_to_be_a_person() {
    let authority = Authority::new("a");
    let named = |content: &[u8]| {
        let content = content.to_vec();
        leaf(&authority, &[], move |params| {
            params.custom_extensions = vec![extension(NAMES, &content, false)]
        })
    };
    let uri = |bytes: &[u8]| [&[0x86, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let list = |names: &[u8]| [&[0x30, u8::try_from(names.len()).unwrap()], names].concat();
    assert!(
        read(&named(&list(&uri(WEB.as_bytes())))).unwrap().is_some(),
        "well written by hand"
    );
    assert_eq!(read(&named(b"nonsense")), Err(SvidProblem::Unreadable));
    assert!(matches!(
        read(&named(&list(&uri(b"spiffe://example.org/\xff")))),
        Err(SvidProblem::Id(_))
    ));
    let second = [uri(WEB.as_bytes()), uri(b"\xff")].concat();
    assert_eq!(read(&named(&list(&second))), Err(SvidProblem::TwoUris));
    let doubled = leaf(&authority, &[WEB], |params| {
        params.custom_extensions = vec![extension(NAMES, &[0x30, 0], false)];
    });
    assert_eq!(read(&doubled), Err(SvidProblem::Unreadable));
    assert_eq!(
        read(&[leaf(&authority, &[WEB], |_| {}).as_slice(), b"x"].concat()),
        Err(SvidProblem::Unreadable)
    );
    assert_eq!(read(b"nonsense"), Err(SvidProblem::Unreadable));
}

fn extension(of: &[u64], content: &[u8], is_critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(of, content.to_vec());
    extension.set_criticality(is_critical);
    extension
}

const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const NAMES: &[u64] = &[2, 5, 29, 17];
const CONSTRAINTS: &[u64] = &[2, 5, 29, 19];

#[test]
fn a_claim_is_of_a_trust_domain_that_is_accepted_or_of_nobody() {
    let (authority, bundle) = (Authority::new("a"), Arc::new(TrustBundle::default()));
    let rules = rules(&bundle, &bundle, Some(Arc::default()));
    let claim = |uris: &[&str]| Claim::of(Some(&leaf(&authority, uris, |_| {}).into()), &rules);
    let is_accepted = |uri: &str| match claim(&[uri]) {
        Claim::Workload { svid, is_accepted, .. } if svid.id().as_str() == uri => is_accepted,
        other => panic!("{other:?}"),
    };
    assert!(is_accepted(WEB) && is_accepted("spiffe://partner.example/billing/a"));
    assert!(!is_accepted("spiffe://partner.example/billing") && !is_accepted("spiffe://partner.example/billings/a"));
    assert!(matches!(claim(&[]), Claim::Person(Some(_))));
    let told = claim(&["spiffe://other.example/a"]);
    let words = "workloads of the trust domain that the X.509-SVID names are not accepted here";
    assert!(
        matches!(&told, Claim::NoWorkload(problem) if problem.to_string() == words),
        "{told:?}"
    );
    let people = ClientCertificateRules {
        workloads: None,
        ..rules.clone()
    };
    let svid = leaf(&authority, &[WEB], |_| {}).into();
    assert!(
        matches!(Claim::of(Some(&svid), &people), Claim::Person(Some(_))),
        "where no workloads are configured a URI means nothing"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_an_svid_or_none(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz_svid(&data);
    }

    #[test]
    fn an_altered_svid_is_one_or_none(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut altered = leaf(&Authority::new("a"), &[WEB], |_| {});
        let place = at.index(altered.len());
        altered[place] = to;
        fuzz_svid(&altered);
    }
}
