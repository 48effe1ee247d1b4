//! X.509-SVIDs on a real listener: who vouches for whom, and for how long (protocol N-11, TLS-02, TLS-06).

#![cfg(test)]

mod listener_support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use listener_support::{
    Authority, ClientOptions, Gate, client_config, handshake, read_answer, secure, start, status, tls_asking_for,
};
use model::spiffe::{SpiffeId, SpiffePattern, TrustDomain};
use proxy::listener::tls::{
    ClientAuthorities, ClientCertificateProblem, SvidProblem, TrustBundle, TrustedDomain, TrustedDomains,
};
use proxy::listener::{ClientCertificate, Conn};
use rustls_pki_types::UnixTime;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

const WEB: &str = "spiffe://example.org/ns/prod/sa/web";

/// People, and two trust domains, each with its own authority.
struct World {
    people: Authority,
    ours: Authority,
    partners: Authority,
    bundles: [Arc<TrustBundle>; 2],
    gate: Gate,
}

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

impl World {
    fn new(accepts_people: bool) -> Self {
        let [people, ours, partners] = ["people", "ours", "partners"].map(Authority::new);
        let bundles = [&ours, &partners].map(|authority| {
            let bundle = Arc::new(TrustBundle::default());
            bundle.reload_file(authority.pem().as_bytes()).unwrap();
            bundle
        });
        let domains = ["example.org", "partner.example"].map(domain).into_iter().zip(&bundles);
        let domains: TrustedDomains = domains
            .map(|(name, bundle)| {
                let bundle = Arc::clone(bundle);
                let accept = (name.as_str() == "partner.example").then(|| {
                    let pattern = "spiffe://partner.example/billing";
                    vec![SpiffePattern::parse(pattern).unwrap()]
                });
                (name, TrustedDomain { bundle, accept })
            })
            .collect::<BTreeMap<_, _>>();
        let authorities = accepts_people.then(|| Arc::new(ClientAuthorities::load(people.pem().as_bytes()).unwrap()));
        let gate = start(tls_asking_for(&people, authorities, Some(Arc::new(domains))), |_| {});
        Self {
            people,
            ours,
            partners,
            bundles,
            gate,
        }
    }

    async fn presents(&self, certificate: &(String, String)) -> ClientCertificate {
        let mut found = Vec::new();
        for only_tls12 in [false, true] {
            let options = ClientOptions {
                certificate: Some(certificate),
                only_tls12,
                ..ClientOptions::default()
            };
            let mut stream = secure(&self.gate, &self.people, options).await;
            assert_eq!(get(&mut stream).await, 200, "the handshake fails for no certificate");
            found.push(self.last().client_certificate());
        }
        assert_eq!(
            format!("{:?}", found[0]),
            format!("{:?}", found[1]),
            "TLS 1.2 as TLS 1.3"
        );
        found.remove(0)
    }

    fn last(&self) -> Arc<Conn> {
        self.gate.notes.seen.lock().unwrap().last().unwrap().connection.clone()
    }
}

async fn get(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> u16 {
    stream
        .write_all(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    status(&read_answer(stream).await)
}

fn problem(found: &ClientCertificate) -> SvidProblem {
    match found {
        ClientCertificate::NoWorkload(problem) => problem.clone(),
        other => panic!("{other:?}"),
    }
}

fn is_web(found: &ClientCertificate) -> bool {
    matches!(found, ClientCertificate::Workload(svid) if svid.id().as_str() == WEB)
}

#[tokio::test]
async fn n_11_the_bundle_of_its_own_trust_domain_alone_vouches_for_a_workload() {
    let world = World::new(true);
    assert!(is_web(&world.presents(&world.ours.workload(WEB, |_| {})).await));
    for authority in [&world.partners, &world.people, &Authority::new("nobody's")] {
        let found = world.presents(&authority.workload(WEB, |_| {})).await;
        assert_eq!(problem(&found), SvidProblem::OfNoAuthority(domain("example.org")));
    }
    let partner = world.partners.workload("spiffe://partner.example/billing", |_| {});
    assert!(matches!(world.presents(&partner).await, ClientCertificate::Workload(_)));
    // Whether it is accepted is told to who has proved to be it, and to nobody else.
    let other = "spiffe://partner.example/other";
    let found = world.presents(&world.partners.workload(other, |_| {})).await;
    assert_eq!(
        problem(&found),
        SvidProblem::NotAccepted(SpiffeId::parse(other).unwrap())
    );
    let found = world.presents(&world.ours.workload(other, |_| {})).await;
    assert_eq!(problem(&found), SvidProblem::OfNoAuthority(domain("partner.example")));
    let other = world.ours.workload("spiffe://other.example/a", |_| {});
    assert_eq!(problem(&world.presents(&other).await), SvidProblem::UnknownTrustDomain);
}

#[tokio::test]
async fn n_11_no_bundle_vouches_for_a_person_and_no_authority_of_people_for_a_workload() {
    let world = World::new(true);
    assert!(matches!(
        world.presents(&world.people.client("alice")).await,
        ClientCertificate::Verified(_)
    ));
    assert!(matches!(
        world.presents(&world.ours.client("alice")).await,
        ClientCertificate::Rejected(_, ClientCertificateProblem::UnknownIssuer)
    ));
    // One that is a good person's, but for the ID that it claims.
    let both = world.people.workload(WEB, |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, "alice");
        params
            .extended_key_usages
            .push(rcgen::ExtendedKeyUsagePurpose::ClientAuth);
    });
    assert!(matches!(world.presents(&both).await, ClientCertificate::NoWorkload(_)));
    let two = world.people.workload(WEB, |params| {
        params
            .subject_alt_names
            .push(rcgen::SanType::URI("https://alice.example".try_into().unwrap()));
        params.distinguished_name.push(rcgen::DnType::CommonName, "alice");
    });
    assert_eq!(problem(&world.presents(&two).await), SvidProblem::TwoUris);
    let alone = World::new(false);
    assert!(matches!(
        alone.presents(&alone.ours.client("alice")).await,
        ClientCertificate::Rejected(_, ClientCertificateProblem::NoWorkload)
    ));
    assert!(is_web(&alone.presents(&alone.ours.workload(WEB, |_| {})).await));
}

#[tokio::test]
async fn tls_06_an_svid_that_is_over_or_of_another_use_proves_nobody() {
    let world = World::new(true);
    let over = world.ours.workload(WEB, |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    assert_eq!(
        problem(&world.presents(&over).await),
        SvidProblem::Chain(ClientCertificateProblem::Expired)
    );
    let early = world
        .ours
        .workload(WEB, |params| params.not_before = rcgen::date_time_ymd(2100, 1, 1));
    assert_eq!(
        problem(&world.presents(&early).await),
        SvidProblem::Chain(ClientCertificateProblem::NotYetValid)
    );
    let server = world.ours.workload(WEB, |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert_eq!(
        problem(&world.presents(&server).await),
        SvidProblem::Chain(ClientCertificateProblem::WrongPurpose)
    );
    let both = world.ours.workload(WEB, |params| {
        params.extended_key_usages = vec![
            rcgen::ExtendedKeyUsagePurpose::ServerAuth,
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        ];
    });
    assert!(is_web(&world.presents(&both).await));
    let signs = world.ours.workload(WEB, |params| {
        params.key_usages.push(rcgen::KeyUsagePurpose::KeyCertSign)
    });
    assert_eq!(problem(&world.presents(&signs).await), SvidProblem::SignsOthers);
}

/// Whoever holds a workload's certificate signs nobody else's with it.
#[tokio::test]
async fn a_workload_is_no_authority_for_another() {
    let world = World::new(true);
    let (certificate, key) = world.ours.workload("spiffe://example.org/ns/dev/sa/mallory", |_| {});
    let key = rcgen::KeyPair::from_pem(&key).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&certificate, key).unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.subject_alt_names = vec![rcgen::SanType::URI(WEB.try_into().unwrap())];
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    let own = rcgen::KeyPair::generate().unwrap();
    let forged = params.signed_by(&own, &issuer).unwrap();
    let chain = (format!("{}{certificate}", forged.pem()), own.serialize_pem());
    let found = world.presents(&chain).await;
    assert!(matches!(found, ClientCertificate::NoWorkload(_)), "{found:?}");
}

#[tokio::test]
async fn tls_02_a_bundle_that_changes_ends_the_trust_on_open_and_on_resumed_connections() {
    let world = World::new(true);
    let certificate = world.ours.workload(WEB, |_| {});
    let options = ClientOptions {
        certificate: Some(&certificate),
        ..ClientOptions::default()
    };
    let config = client_config(&world.people, &options);
    let mut open = handshake(&world.gate, config.clone(), "localhost").await.unwrap();
    assert_eq!(get(&mut open).await, 200);
    let conn = world.last();
    assert!(is_web(&conn.client_certificate()));
    let [ours, partners] = &world.bundles;
    ours.reload_file(world.partners.pem().as_bytes()).unwrap();
    assert_eq!(
        problem(&conn.client_certificate()),
        SvidProblem::OfNoAuthority(domain("example.org"))
    );
    let mut resumed = handshake(&world.gate, config, "localhost").await.unwrap();
    assert_eq!(get(&mut resumed).await, 200);
    assert!(world.last().tls().unwrap().is_resumed, "the session was resumed");
    assert!(!is_web(&world.last().client_certificate()));
    let pem = format!("{}{}", world.partners.pem(), world.ours.pem());
    ours.reload_file(pem.as_bytes()).unwrap();
    assert!(is_web(&conn.client_certificate()), "as long as it stands among others");
    assert!(ours.reload_file(b"{").is_err());
    assert!(is_web(&conn.client_certificate()), "a broken bundle changes nothing");
    ours.unload();
    assert_eq!(
        problem(&conn.client_certificate()),
        SvidProblem::NoBundle(domain("example.org"))
    );
    assert!(partners.is_loaded(), "the other one is its own");
}

#[tokio::test]
async fn an_svid_that_expires_during_a_connection_no_longer_counts() {
    let world = World::new(false);
    world.presents(&world.ours.workload(WEB, |_| {})).await;
    let far = UnixTime::since_unix_epoch(Duration::from_secs(200_000_000_000));
    assert_eq!(
        problem(&world.last().client_certificate_at(far)),
        SvidProblem::Chain(ClientCertificateProblem::Expired)
    );
}
