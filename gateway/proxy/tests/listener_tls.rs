//! TLS and certificates: A-01… of docs/reference/statements.md.

#![cfg(test)]

mod listener_support;

use std::sync::Arc;

use listener_support::{
    Authority, ClientOptions, Gate, client_config, handshake, read_answer, read_to_close, secure, start, status, tls,
    tls_asking,
};
use proxy::listener::{
    Alpn, ClientCertificate, Listener, ListenerConfig, ListenerMetrics, Refused, Security, TlsVersion, Violation,
    tls::{ClientAuthorities, ClientCertificateProblem, TlsFailure},
};
use rustls_pki_types::UnixTime;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

async fn get(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), host: &str) -> u16 {
    stream
        .write_all(format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    status(&read_answer(stream).await)
}

fn last_certificate(gate: &Gate) -> ClientCertificate {
    gate.notes
        .seen
        .lock()
        .unwrap()
        .last()
        .unwrap()
        .connection
        .client_certificate()
}

#[tokio::test]
async fn a_01_a_02_no_alpn_and_no_sni_get_http1_and_full_service() {
    let authority = Authority::new("a");
    let gate = start(tls(&authority).0, |_| {});
    let options = ClientOptions {
        no_sni: true,
        server_name: Some("127.0.0.1"),
        ..ClientOptions::default()
    };
    let mut stream = secure(&gate, &authority, options).await;
    let upgrade = "GET /upgrade HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    assert_eq!(status(&read_answer(&mut stream).await), 101);
    let facts = gate.notes.seen.lock().unwrap()[0].connection.tls().unwrap().clone();
    assert_eq!(
        (facts.version, facts.sni, facts.alpn, facts.is_resumed),
        (TlsVersion::Tls13, None, None, false)
    );
}

#[tokio::test]
async fn a_03_the_protocol_follows_alpn() {
    let authority = Authority::new("a");
    let gate = start(tls(&authority).0, |_| {});
    let both = secure(
        &gate,
        &authority,
        ClientOptions {
            alpn: &["h2", "http/1.1"],
            ..ClientOptions::default()
        },
    )
    .await;
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut one = secure(
        &gate,
        &authority,
        ClientOptions {
            alpn: &["http/1.1"],
            only_tls12: true,
            ..ClientOptions::default()
        },
    )
    .await;
    assert_eq!(get(&mut one, "localhost").await, 200);
    let facts = gate.notes.seen.lock().unwrap()[0].connection.tls().unwrap().clone();
    assert_eq!(
        (facts.version, facts.alpn, facts.sni.as_deref()),
        (TlsVersion::Tls12, Some(Alpn::Http11), Some("localhost"))
    );
    assert!(facts.cipher.starts_with("TLS_ECDHE_"), "{}", facts.cipher);
}

#[tokio::test]
async fn a_04_tls_10_a_new_certificate_serves_new_handshakes_and_open_connections_live() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (security, store) = tls(&old);
    let gate = start(security, |_| {});
    let mut open = secure(&gate, &old, ClientOptions::default()).await;
    let (certificate, key) = new.serving();
    let (_, foreign) = new.serving();
    assert!(store.reload(certificate.as_bytes(), foreign.as_bytes()).is_err());
    assert!(
        handshake(&gate, client_config(&old, &ClientOptions::default()), "localhost")
            .await
            .is_ok(),
        "the old pair serves on"
    );
    store.reload(certificate.as_bytes(), key.as_bytes()).unwrap();
    assert!(
        handshake(&gate, client_config(&old, &ClientOptions::default()), "localhost")
            .await
            .is_err()
    );
    assert!(
        handshake(&gate, client_config(&new, &ClientOptions::default()), "localhost")
            .await
            .is_ok()
    );
    assert_eq!(get(&mut open, "localhost").await, 200);
}

#[tokio::test]
async fn a_05_tls_06_a_client_certificate_is_judged_by_us_and_never_fails_the_handshake() {
    let (authority, foreign) = (Authority::new("a"), Authority::new("foreign"));
    let clients = Arc::new(ClientAuthorities::load(authority.pem().as_bytes()).unwrap());
    let gate = start(tls_asking(&authority, clients), |_| {});
    let good = authority.client("alice");
    let rows = [
        (None, None),
        (Some(good), Some(Ok(()))),
        (
            Some(foreign.client("mallory")),
            Some(Err(ClientCertificateProblem::UnknownIssuer)),
        ),
        (
            Some(authority.expired_client("old")),
            Some(Err(ClientCertificateProblem::Expired)),
        ),
        (Some(authority.serving()), Some(Ok(()))),
    ];
    for (certificate, expected) in rows {
        for only_tls12 in [false, true] {
            let options = ClientOptions {
                certificate: certificate.as_ref(),
                only_tls12,
                ..ClientOptions::default()
            };
            let mut stream = secure(&gate, &authority, options).await;
            assert_eq!(get(&mut stream, "localhost").await, 200);
            let found = match last_certificate(&gate) {
                ClientCertificate::Absent => None,
                ClientCertificate::Verified(chain) => Some(if chain.len() == 1 {
                    Ok(())
                } else {
                    Err(ClientCertificateProblem::Malformed)
                }),
                ClientCertificate::Rejected(_, problem) => Some(Err(problem)),
                ClientCertificate::Workload(_) | ClientCertificate::NoWorkload(_) => {
                    panic!("no trust domain is configured")
                }
            };
            assert_eq!(found, expected);
        }
    }
}

#[tokio::test]
async fn tls_02_trust_that_has_ended_ends_on_open_and_on_resumed_connections() {
    let (authority, other) = (Authority::new("a"), Authority::new("other"));
    let clients = Arc::new(ClientAuthorities::load(authority.pem().as_bytes()).unwrap());
    let gate = start(tls_asking(&authority, clients.clone()), |_| {});
    let certificate = authority.client("alice");
    let config = client_config(
        &authority,
        &ClientOptions {
            certificate: Some(&certificate),
            ..ClientOptions::default()
        },
    );
    let mut open = handshake(&gate, config.clone(), "localhost").await.unwrap();
    assert_eq!(get(&mut open, "localhost").await, 200);
    assert!(matches!(last_certificate(&gate), ClientCertificate::Verified(_)));
    clients.reload(other.pem().as_bytes()).unwrap();
    assert_eq!(get(&mut open, "localhost").await, 200);
    assert!(matches!(
        last_certificate(&gate),
        ClientCertificate::Rejected(_, ClientCertificateProblem::UnknownIssuer)
    ));
    let mut resumed = handshake(&gate, config, "localhost").await.unwrap();
    assert_eq!(get(&mut resumed, "localhost").await, 200);
    let facts = gate
        .notes
        .seen
        .lock()
        .unwrap()
        .last()
        .unwrap()
        .connection
        .tls()
        .unwrap()
        .clone();
    assert!(facts.is_resumed, "the session was resumed");
    assert!(matches!(
        last_certificate(&gate),
        ClientCertificate::Rejected(_, ClientCertificateProblem::UnknownIssuer)
    ));
}

#[tokio::test]
async fn a_certificate_that_expires_during_a_connection_no_longer_counts() {
    let authority = Authority::new("a");
    let clients = Arc::new(ClientAuthorities::load(authority.pem().as_bytes()).unwrap());
    let gate = start(tls_asking(&authority, clients), |_| {});
    let certificate = authority.client("alice");
    let mut stream = secure(
        &gate,
        &authority,
        ClientOptions {
            certificate: Some(&certificate),
            ..ClientOptions::default()
        },
    )
    .await;
    assert_eq!(get(&mut stream, "localhost").await, 200);
    let conn = gate.notes.seen.lock().unwrap()[0].connection.clone();
    assert!(matches!(conn.client_certificate(), ClientCertificate::Verified(_)));
    let far = UnixTime::since_unix_epoch(std::time::Duration::from_secs(200_000_000_000));
    assert!(matches!(
        conn.client_certificate_at(far),
        ClientCertificate::Rejected(_, ClientCertificateProblem::Expired)
    ));
}

#[tokio::test]
async fn the_gateway_host_never_asks_for_a_certificate_and_tls_03_hosts_of_other_settings_are_misdirected() {
    let authority = Authority::new("a");
    let clients = Arc::new(ClientAuthorities::load(authority.pem().as_bytes()).unwrap());
    let gate = start(tls_asking(&authority, clients), |_| {});
    let certificate = authority.client("alice");
    let options = |name| ClientOptions {
        server_name: Some(name),
        certificate: Some(&certificate),
        ..ClientOptions::default()
    };
    let mut quiet = secure(&gate, &authority, options("gate.example")).await;
    assert_eq!(get(&mut quiet, "gate.example").await, 200);
    assert!(matches!(last_certificate(&gate), ClientCertificate::Absent));
    assert_eq!(get(&mut quiet, "cluster.example").await, 421);
    let mut asking = secure(&gate, &authority, options("cluster.example")).await;
    assert_eq!(get(&mut asking, "gate.example:443").await, 421);
    assert_eq!(
        gate.notes.violations(),
        [None, Some(Violation::MisdirectedHost), Some(Violation::MisdirectedHost)]
    );
    let mut same = secure(&gate, &authority, options("cluster.example")).await;
    assert_eq!(
        get(&mut same, "localhost").await,
        200,
        "another name with the same settings is no misdirection"
    );
}

#[tokio::test]
async fn tls_11_plain_http_on_the_tls_port_is_dropped_and_recorded() {
    let gate = start(tls(&Authority::new("a")).0, |_| {});
    let answer = gate.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!answer.contains("HTTP/1.1"));
    gate.notes
        .until(|notes| notes.refusals() == [Refused::Tls(TlsFailure::NotTls)])
        .await;
    assert_eq!(gate.metrics.tls_failures(TlsFailure::NotTls), 1);
}

#[tokio::test]
async fn tls_05_old_versions_are_refused() {
    let gate = start(tls(&Authority::new("a")).0, |_| {});
    // A ClientHello of TLS 1.0 with TLS_RSA_WITH_AES_128_CBC_SHA.
    let mut hello = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1];
    hello.extend_from_slice(&[7; 32]);
    hello.extend_from_slice(&[0, 0, 2, 0, 0x2f, 1, 0]);
    gate.exchange(&hello).await;
    gate.notes
        .until(|notes| {
            matches!(
                notes.refusals()[..],
                [Refused::Tls(TlsFailure::NothingInCommon | TlsFailure::ProtocolError)]
            )
        })
        .await;
}

#[tokio::test]
async fn a_client_that_does_not_trust_us_is_counted() {
    let gate = start(tls(&Authority::new("a")).0, |_| {});
    let stranger = client_config(&Authority::new("b"), &ClientOptions::default());
    assert!(handshake(&gate, stranger, "localhost").await.is_err());
    gate.notes.until(|notes| !notes.refusals().is_empty()).await;
    assert_eq!(gate.metrics.tls_failures(TlsFailure::AlertReceived), 1);
}

#[tokio::test]
async fn a_16_early_data_is_not_offered() {
    let authority = Authority::new("a");
    let gate = start(tls(&authority).0, |_| {});
    let mut config = Arc::unwrap_or_clone(client_config(&authority, &ClientOptions::default()));
    config.enable_early_data = true;
    let config = Arc::new(config);
    let mut first = handshake(&gate, config.clone(), "localhost").await.unwrap();
    assert_eq!(get(&mut first, "localhost").await, 200);
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let mut second = rustls::ClientConnection::new(config, name).unwrap();
    assert!(second.early_data().is_none(), "the ticket allows no early data");
}

#[tokio::test]
async fn a_15_a_proxy_protocol_header_is_no_tls() {
    let gate = start(tls(&Authority::new("a")).0, |_| {});
    gate.exchange("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n").await;
    gate.notes
        .until(|notes| notes.refusals() == [Refused::Tls(TlsFailure::NotTls)])
        .await;
}

#[tokio::test]
async fn h2_21_a_preface_behind_alpn_http1_is_refused() {
    let authority = Authority::new("a");
    let gate = start(tls(&authority).0, |_| {});
    let mut stream = secure(
        &gate,
        &authority,
        ClientOptions {
            alpn: &["http/1.1"],
            ..ClientOptions::default()
        },
    )
    .await;
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    assert_eq!(status(&read_to_close(&mut stream).await), 505);
}

#[test]
fn plain_http_is_refused_on_every_address_but_loopback() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let config = ListenerConfig::new("demo", address.parse().unwrap(), Security::PlainLoopback);
        let error = Listener::bind(config, Arc::new(ListenerMetrics::default())).unwrap_err();
        assert!(error.to_string().contains("plain http is for loopback only"), "{error}");
    }
}
