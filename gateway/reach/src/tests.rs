//! Names of tests begin with the ids of docs/reference/statements.md.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::cluster::ClusterId;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(super) fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// A TLS listener that accepts for ever; it ends with the test's runtime.
pub(super) async fn tls_server(authority: &Authority, name: &str, alpn: &[&[u8]]) -> SocketAddr {
    let (certificate, key) = authority.issue(name);
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|one| one.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(tls) = acceptor.accept(tcp).await {
                open.push(tls);
            }
        }
    });
    address
}

fn id() -> ClusterId {
    ClusterId::new("prod").unwrap()
}

fn token(value: &str) -> CredentialSource {
    CredentialSource::Token(value.to_owned())
}

fn explicit(servers: Vec<String>, ca: &str) -> Explicit {
    Explicit {
        servers,
        authorities: Authorities::Pem(ca.as_bytes().to_vec()),
        tls_server_name: None,
        impersonator: token("impersonator"),
        observer: token("observer"),
    }
}

fn connection(explicit: Explicit) -> ClusterConnection {
    ClusterConnection::new(id(), ClusterSource::Explicit(explicit), Tuning::default()).unwrap()
}

fn sent(identity: &Identity) -> String {
    identity.current().authorization().unwrap().to_str().unwrap().to_owned()
}

/// An address nobody listens on: bound once, then given back.
async fn dead_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn i_01_alpn_decides_and_http1_only_never_offers_more() {
    let authority = Authority::new();
    let both = tls_server(&authority, "localhost", &[b"h2", b"http/1.1"]).await;
    let cluster = connection(explicit(
        vec![format!("https://localhost:{}", both.port())],
        &authority.pem(),
    ));
    let either = cluster.dial(cluster.impersonator(), Security::Either).await.unwrap();
    assert_eq!(either.protocol, Protocol::Http2);
    let http1 = cluster.dial(cluster.impersonator(), Security::Http1Only).await.unwrap();
    assert_eq!(http1.protocol, Protocol::Http1);
    assert_eq!(http1.peer.port(), both.port());
}

#[tokio::test]
async fn i_01_a_certificate_for_another_name_is_refused_and_the_configured_name_counts() {
    let authority = Authority::new();
    let server = tls_server(&authority, "kubernetes", &[b"h2"]).await;
    let wrong = connection(explicit(
        vec![format!("https://127.0.0.1:{}", server.port())],
        &authority.pem(),
    ));
    let error = wrong.dial(wrong.impersonator(), Security::Either).await.unwrap_err();
    assert!(matches!(error, ReachError::Handshake { .. }), "{error}");
    assert_eq!(error.fault(), Fault::Upstream);

    let mut named = explicit(vec![format!("https://127.0.0.1:{}", server.port())], &authority.pem());
    named.tls_server_name = Some("kubernetes".to_owned());
    let named = connection(named);
    assert!(named.dial(named.impersonator(), Security::Either).await.is_ok());
}

#[tokio::test]
async fn i_01_a_server_of_another_authority_is_refused() {
    let server = tls_server(&Authority::new(), "localhost", &[b"h2"]).await;
    let cluster = connection(explicit(
        vec![format!("https://localhost:{}", server.port())],
        &Authority::new().pem(),
    ));
    let error = cluster
        .dial(cluster.impersonator(), Security::Either)
        .await
        .unwrap_err();
    assert!(matches!(error, ReachError::Handshake { .. }), "{error}");
}

#[tokio::test]
async fn ups_07_a_dead_address_is_passed_over_and_then_avoided() {
    let authority = Authority::new();
    let alive = tls_server(&authority, "127.0.0.1", &[b"h2"]).await;
    let dead = dead_address().await;
    let servers = vec![format!("https://{dead}"), format!("https://{alive}")];
    let cluster = connection(explicit(servers, &authority.pem()));
    for _ in 0..4 {
        let one = cluster.dial(cluster.impersonator(), Security::Either).await.unwrap();
        assert_eq!(one.peer, Peer::Tcp(alive));
    }
    assert_eq!(
        first_candidates(&cluster, 4).await,
        vec![alive; 4],
        "the dead address is tried last"
    );
}

/// An address whose packets are lost: its queue of connections has room for one, which stays in it, and to whoever else begins one the
/// system says nothing at all (`tcp_conn_request` of Linux). As long as both values live.
fn black_hole() -> (SocketAddr, (socket2::Socket, std::net::TcpStream)) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let first = std::net::TcpStream::connect(address).unwrap();
    (address, (listener, first))
}

#[tokio::test(start_paused = true)]
async fn i_08_a_server_whose_packets_are_lost_ends_the_dial_at_its_limit() {
    let (address, _kept) = black_hole();
    let cluster = connection(explicit(vec![format!("https://{address}")], &Authority::new().pem()));
    let began = tokio::time::Instant::now();
    let error = cluster
        .dial(cluster.impersonator(), Security::Either)
        .await
        .unwrap_err();
    let within = Duration::from_secs(8);
    assert!(
        matches!(error, ReachError::TimedOut { within: limit } if limit == within),
        "{error}"
    );
    assert_eq!(error.fault(), Fault::Upstream);
    assert_eq!(began.elapsed().as_secs(), within.as_secs());
}

#[tokio::test]
async fn ups_07_an_address_whose_packets_are_lost_costs_a_head_start_and_is_then_avoided() {
    let authority = Authority::new();
    let alive = tls_server(&authority, "127.0.0.1", &[b"h2"]).await;
    let (lost, _kept) = black_hole();
    let servers = vec![format!("https://{lost}"), format!("https://{alive}")];
    let source = ClusterSource::Explicit(explicit(servers, &authority.pem()));
    let tuning = Tuning {
        // Whoever waited for an address instead of trying the next beside it would wait for ever.
        connect_timeout: Duration::MAX,
        stagger: Duration::from_millis(1),
        // It does not come back while the test looks.
        back_off: Duration::from_secs(3_600),
        ..Tuning::default()
    };
    let cluster = ClusterConnection::new(id(), source, tuning).unwrap();
    for _ in 0..4 {
        let one = cluster.dial(cluster.impersonator(), Security::Either).await.unwrap();
        assert_eq!(one.peer, Peer::Tcp(alive));
    }
    assert_eq!(
        first_candidates(&cluster, 4).await,
        vec![alive; 4],
        "the other is tried last"
    );
}

/// It accepts, as a load balancer does before servers that are gone, and says nothing in TLS.
#[tokio::test]
async fn ups_07_an_address_that_is_silent_in_tls_is_given_up_at_the_limit_of_handshakes() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let source = ClusterSource::Explicit(explicit(vec![format!("https://{address}")], &Authority::new().pem()));
    let within = Duration::from_millis(20);
    let tuning = Tuning {
        connect_timeout: Duration::MAX,
        handshake_timeout: within,
        ..Tuning::default()
    };
    let cluster = ClusterConnection::new(id(), source, tuning).unwrap();
    let error = cluster
        .dial(cluster.impersonator(), Security::Either)
        .await
        .unwrap_err();
    assert!(
        matches!(error, ReachError::TimedOut { within: limit } if limit == within),
        "{error}"
    );
    assert_eq!(error.fault(), Fault::Upstream);
}

async fn first_candidates(cluster: &ClusterConnection, rounds: usize) -> Vec<SocketAddr> {
    let mut first = Vec::new();
    for _ in 0..rounds {
        first.push(cluster.addresses().await.unwrap()[0]);
    }
    first
}

#[tokio::test(start_paused = true)]
async fn ups_07_an_address_reported_lost_comes_back_after_its_back_off() {
    let servers = vec!["https://127.0.0.1:1".to_owned(), "https://127.0.0.1:2".to_owned()];
    let cluster = connection(explicit(servers, &Authority::new().pem()));
    let lost: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let other: SocketAddr = "127.0.0.1:2".parse().unwrap();
    cluster.report_lost(lost);
    assert_eq!(first_candidates(&cluster, 4).await, vec![other; 4]);
    tokio::time::advance(Duration::from_millis(1_001)).await;
    let both = first_candidates(&cluster, 4).await;
    assert!(both.contains(&lost) && both.contains(&other), "{both:?}");
}

#[tokio::test(start_paused = true)]
async fn ups_07_the_back_off_doubles_and_ends() {
    let servers = vec!["https://127.0.0.1:1".to_owned(), "https://127.0.0.1:2".to_owned()];
    let cluster = connection(explicit(servers, &Authority::new().pem()));
    let lost: SocketAddr = "127.0.0.1:1".parse().unwrap();
    for _ in 0..20 {
        cluster.report_lost(lost);
    }
    tokio::time::advance(Duration::from_secs(29)).await;
    assert!(!first_candidates(&cluster, 4).await.contains(&lost));
    tokio::time::advance(Duration::from_millis(1_001)).await;
    assert!(first_candidates(&cluster, 4).await.contains(&lost));
}

/// Answers from a script, then fails.
#[derive(Debug)]
struct Scripted(Mutex<VecDeque<io::Result<Vec<SocketAddr>>>>);

impl Resolve for Scripted {
    fn resolve(
        &self,
        _host: String,
        _port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static>> {
        let next = self.0.lock().unwrap().pop_front();
        Box::pin(async move {
            match next {
                Some(answer) => answer,
                // A resolver that never answers, as a dropped packet looks like.
                None => std::future::pending().await,
            }
        })
    }
}

fn scripted(url: &str, answers: Vec<io::Result<Vec<SocketAddr>>>) -> ClusterConnection {
    let source = ClusterSource::Explicit(explicit(vec![url.to_owned()], &Authority::new().pem()));
    let resolver = Arc::new(Scripted(Mutex::new(answers.into())));
    ClusterConnection::with_resolver(id(), source, Tuning::default(), resolver).unwrap()
}

#[tokio::test(start_paused = true)]
async fn i_08_and_ups_06_names_are_resolved_anew_and_a_silent_resolver_leaves_the_last_good_answer() {
    let one: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let two: SocketAddr = "127.0.0.1:2".parse().unwrap();
    let failed = io::Error::new(io::ErrorKind::NotFound, "NXDOMAIN");
    let cluster = scripted("https://api.example", vec![Ok(vec![one]), Ok(vec![two]), Err(failed)]);
    assert_eq!(cluster.addresses().await.unwrap(), [one]);
    assert_eq!(cluster.addresses().await.unwrap(), [two], "resolved anew");
    assert_eq!(
        cluster.addresses().await.unwrap(),
        [two],
        "last good answer after NXDOMAIN"
    );
    assert_eq!(
        cluster.addresses().await.unwrap(),
        [two],
        "last good answer after silence"
    );
}

#[tokio::test(start_paused = true)]
async fn ups_06_a_name_that_never_resolved_is_an_error_of_the_upstream() {
    let error = scripted("https://api.example", Vec::new())
        .addresses()
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "cannot resolve `api.example`");
    assert_eq!(error.fault(), Fault::Upstream);
}

#[tokio::test]
async fn ups_06_a_thousand_answers_are_cut() {
    let many = (1..=1_000)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .collect();
    assert_eq!(
        scripted("https://api.example", vec![Ok(many)])
            .addresses()
            .await
            .unwrap()
            .len(),
        16
    );
}

#[tokio::test]
async fn plain_http_that_resolves_to_another_machine_is_refused() {
    let far: SocketAddr = "192.0.2.7:80".parse().unwrap();
    let error = scripted("http://localhost", vec![Ok(vec![far])])
        .addresses()
        .await
        .unwrap_err();
    let expected = "`localhost` is plain http and resolves to 192.0.2.7:80, which is not this machine: use https";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn plain_http_is_for_loopback_only_and_urls_carry_nothing_else() {
    for good in [
        "https://api.example",
        "https://10.0.0.1:6443",
        "https://[::1]:6443/k8s/c-1",
        "http://127.0.0.1:8080",
    ] {
        assert!(Server::parse(good, None).is_ok(), "{good}");
    }
    let refused = [
        (
            "http://api.example",
            "plain http is accepted for loopback only: use https",
        ),
        ("http://10.0.0.1", "plain http is accepted for loopback only: use https"),
        (
            "http://127.0.0.1.example",
            "plain http is accepted for loopback only: use https",
        ),
        (
            "https://u:secret@api.example",
            "it carries user information; credentials go in files",
        ),
        ("https://api.example?x=1", "it carries a query or fragment"),
        ("https://api.example/#x", "it carries a query or fragment"),
        ("api.example:6443", "it must begin with `https://`"),
        ("ftp://api.example", "it must begin with `https://`"),
    ];
    for (url, why) in refused {
        let error = Server::parse(url, None).unwrap_err().to_string();
        assert!(error.contains(why), "{url}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let server = Server::parse("https://[::1]:6443/k8s/c-1/", None).unwrap();
    assert_eq!(
        (server.host(), server.port(), server.prefix()),
        ("::1", 6443, "/k8s/c-1")
    );
    assert_eq!(server.authority().as_str(), "[::1]:6443");
}

#[test]
fn ups_05_a_rotated_token_is_picked_up_and_a_half_written_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first\n").unwrap();
    let mut source = explicit(vec!["https://127.0.0.1".to_owned()], &Authority::new().pem());
    source.impersonator = CredentialSource::TokenFile(file.clone());
    let cluster = connection(source);
    assert_eq!(sent(cluster.impersonator()), "Bearer first");
    // I-13
    assert!(cluster.impersonator().current().authorization().unwrap().is_sensitive());
    assert_eq!(
        cluster.refresh().unwrap(),
        Refreshed {
            impersonator: false,
            observer: false
        }
    );

    std::fs::write(&file, "").unwrap();
    let error = cluster.refresh().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the token in `{}` is not usable: it is empty", file.display())
    );
    assert_eq!(sent(cluster.impersonator()), "Bearer first");

    std::fs::remove_file(&file).unwrap();
    assert!(matches!(cluster.refresh(), Err(ReachError::Unreadable { .. })));
    assert_eq!(sent(cluster.impersonator()), "Bearer first");

    std::fs::write(&file, "second").unwrap();
    assert_eq!(
        cluster.refresh().unwrap(),
        Refreshed {
            impersonator: true,
            observer: false
        }
    );
    assert_eq!(sent(cluster.impersonator()), "Bearer second");
    assert_eq!(cluster.impersonator().current().generation(), 2);
    assert_eq!(sent(cluster.observer()), "Bearer observer");
}

#[test]
fn ups_05_a_certificate_without_its_key_keeps_the_old_pair() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let authority = Authority::new();
    let (first, second) = (authority.issue("gateway"), authority.issue("gateway"));
    std::fs::write(&certificate, &first.0).unwrap();
    std::fs::write(&key, &first.1).unwrap();
    let mut source = explicit(vec!["https://127.0.0.1".to_owned()], &authority.pem());
    source.impersonator = CredentialSource::CertificateFiles {
        certificate: certificate.clone(),
        key: key.clone(),
    };
    let cluster = connection(source);
    assert!(cluster.impersonator().current().authorization().is_none());

    // The half of a rotation that another process may see.
    std::fs::write(&certificate, &second.0).unwrap();
    assert!(matches!(cluster.refresh(), Err(ReachError::Tls { .. })));
    assert_eq!(cluster.impersonator().current().generation(), 1);

    std::fs::write(&key, &second.1).unwrap();
    assert!(cluster.refresh().unwrap().impersonator);
    assert_eq!(cluster.impersonator().current().generation(), 2);
}

#[tokio::test]
async fn ups_05_a_changed_authority_file_counts_for_the_next_connection() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crt");
    let (old, new) = (Authority::new(), Authority::new());
    std::fs::write(&file, old.pem()).unwrap();
    let server = tls_server(&new, "127.0.0.1", &[b"h2"]).await;
    let mut source = explicit(vec![format!("https://{server}")], "");
    source.authorities = Authorities::File(file.clone());
    let cluster = connection(source);
    assert!(cluster.dial(cluster.impersonator(), Security::Either).await.is_err());
    std::fs::write(&file, new.pem()).unwrap();
    assert_eq!(
        cluster.refresh().unwrap(),
        Refreshed {
            impersonator: true,
            observer: true
        }
    );
    assert!(cluster.dial(cluster.impersonator(), Security::Either).await.is_ok());
}

#[tokio::test]
async fn f_10_a_refused_credential_is_read_again_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first").unwrap();
    let mut source = explicit(vec!["https://127.0.0.1".to_owned()], &Authority::new().pem());
    source.impersonator = CredentialSource::TokenFile(file.clone());
    // Without the refusal nothing would be read for an hour.
    let tuning = Tuning {
        reread_every: Duration::from_secs(3_600),
        ..Tuning::default()
    };
    let cluster = Arc::new(ClusterConnection::new(id(), ClusterSource::Explicit(source), tuning).unwrap());
    let keeper = tokio::spawn(Arc::clone(&cluster).keep_fresh());
    std::fs::write(&file, "second").unwrap();
    cluster.impersonator().was_refused();
    while cluster.impersonator().current().generation() == 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(sent(cluster.impersonator()), "Bearer second");
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn a_credential_says_what_is_wrong_with_it_until_that_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first").unwrap();
    let mut source = explicit(vec!["https://127.0.0.1".to_owned()], &Authority::new().pem());
    source.observer = CredentialSource::TokenFile(file.clone());
    let cluster = ClusterConnection::new(id(), ClusterSource::Explicit(source), Tuning::default()).unwrap();
    let observer = cluster.observer();
    assert_eq!(observer.trouble(), None);
    observer.was_refused();
    assert_eq!(observer.trouble(), Some(Trouble::Refused));
    observer.was_accepted();
    assert_eq!(observer.trouble(), None, "an answer to the same credential ends it");
    observer.was_refused();
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(observer.trouble(), None, "nobody has asked for a minute");
    observer.was_refused();
    std::fs::write(&file, "second").unwrap();
    assert!(cluster.refresh().unwrap().observer);
    assert_eq!(observer.trouble(), None, "another credential was not refused");
    std::fs::remove_file(&file).unwrap();
    cluster.refresh().unwrap_err();
    let Some(Trouble::Unreadable(why)) = observer.trouble() else {
        panic!("{:?}", observer.trouble());
    };
    assert!(why.contains(&file.display().to_string()), "{why}");
    assert_eq!(cluster.impersonator().trouble(), None, "the other one is well");
    std::fs::write(&file, "second").unwrap();
    cluster.refresh().unwrap();
    assert_eq!(observer.trouble(), None);
}

fn kubeconfig(folder: &Path, cluster: &str, user: &str) -> Result<ClusterConnection, ReachError> {
    let path = folder.join("config");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\npreferences: {{}}\n\
         contexts:\n- name: here\n  context: {{cluster: c, user: u, namespace: n}}\n\
         clusters:\n- name: c\n  cluster: {{server: 'https://127.0.0.1:6443', {cluster}}}\n\
         users:\n- name: u\n  user: {{{user}}}\n"
    );
    std::fs::write(&path, text).unwrap();
    let source = ClusterSource::Kubeconfig {
        path,
        context: None,
        observer_context: None,
    };
    ClusterConnection::new(id(), source, Tuning::default())
}

#[test]
fn a_kubeconfig_is_taken_with_paths_relative_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (certificate, key) = authority.issue("me");
    for (name, text) in [("ca.crt", &authority.pem()), ("me.crt", &certificate), ("me.key", &key)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    std::fs::write(folder.path().join("token"), "from-file").unwrap();
    let ca = "certificate-authority: ca.crt";
    let pair = kubeconfig(folder.path(), ca, "client-certificate: me.crt, client-key: me.key").unwrap();
    assert!(pair.impersonator().current().authorization().is_none());
    // kubectl: a token file wins over a token.
    let file = kubeconfig(folder.path(), ca, "token: inline, tokenFile: token").unwrap();
    assert_eq!(sent(file.impersonator()), "Bearer from-file");
}

#[test]
fn i_11_a_kubeconfig_that_would_weaken_or_change_who_speaks_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.crt"), Authority::new().pem()).unwrap();
    let ca = "certificate-authority: ca.crt";
    let refused = [
        ("insecure-skip-tls-verify: true", "token: t", "insecure-skip-tls-verify"),
        (
            "certificate-authority: ca.crt, proxy-url: 'http://p'",
            "token: t",
            "proxy-url",
        ),
        (ca, "exec: {command: x}", "exec"),
        (ca, "auth-provider: {name: gcp}", "auth-provider"),
        (ca, "username: a, password: secret", "username"),
        (ca, "token: t, as: root", "as"),
        (ca, "", "user"),
    ];
    for (cluster, user, field) in refused {
        let error = kubeconfig(folder.path(), cluster, user).unwrap_err();
        assert!(
            matches!(&error, ReachError::KubeconfigRefused { field: found, .. } if *found == field),
            "{error}"
        );
        assert_eq!(error.fault(), Fault::Operator);
        assert!(!error.to_string().contains("secret"));
    }
    let path = folder.path().join("config");
    let missing = ClusterSource::Kubeconfig {
        path,
        context: Some("there".to_owned()),
        observer_context: None,
    };
    let error = ClusterConnection::new(id(), missing, Tuning::default()).unwrap_err();
    assert!(error.to_string().ends_with("has no context named `there`"), "{error}");
}

#[test]
fn no_secret_is_in_any_debug_text() {
    let mut source = explicit(vec!["https://127.0.0.1".to_owned()], &Authority::new().pem());
    source.impersonator = token("canary-token");
    let cluster = connection(source.clone());
    let text = format!("{source:?} {cluster:?} {:?}", cluster.impersonator().current());
    assert!(!text.contains("canary"), "{text}");
}
