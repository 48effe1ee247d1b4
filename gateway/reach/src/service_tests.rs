//! Services: pods, sockets, the HTTP that is spoken. Names of tests begin with the ids of docs/reference/statements.md.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::service::ServiceName;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use super::tests::{Authority, tls_server};
use super::*;

fn source(place: ServicePlace, protocol: ServiceProtocol) -> ServiceSource {
    ServiceSource {
        place,
        protocol,
        authorities: Authorities::None,
        tls_server_name: None,
        certificate: None,
    }
}

fn service(source: ServiceSource) -> Result<std::sync::Arc<ServiceConnection>, ReachError> {
    ServiceConnection::new(ServiceName::new("web").unwrap(), source, Tuning::default()).map(std::sync::Arc::new)
}

async fn dial(source: ServiceSource, security: Security) -> Result<Established, ReachError> {
    Destination::from(service(source)?).dial(security).await
}

fn url(url: String) -> ServicePlace {
    ServicePlace::Servers(vec![url])
}

/// Takes connections and says nothing; it ends with the test's runtime.
async fn listener() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((tcp, _)) = listener.accept().await {
            open.push(tcp);
        }
    });
    address
}

#[tokio::test]
async fn clear_text_is_http_2_where_that_is_known_beforehand_and_never_for_a_switch() {
    use ServiceProtocol::{Auto, H2c, Http1};
    let at = listener().await;
    for (protocol, security, spoken) in [
        (Auto, Security::Either, Protocol::Http1),
        (Http1, Security::Either, Protocol::Http1),
        (H2c, Security::Either, Protocol::Http2),
        (H2c, Security::Http1Only, Protocol::Http1),
    ] {
        let established = dial(source(url(format!("http://{at}")), protocol), security)
            .await
            .unwrap();
        assert_eq!(established.protocol, spoken, "{protocol:?} {security:?}");
    }
}

#[tokio::test]
async fn over_tls_the_document_says_which_http_is_taken() {
    use ServiceProtocol::{Auto, H2, Http1};
    let authority = Authority::new();
    let both = tls_server(&authority, "127.0.0.1", &[b"h2", b"http/1.1"]).await;
    let old = tls_server(&authority, "127.0.0.1", &[]).await;
    let with = |at: SocketAddr, protocol| ServiceSource {
        authorities: Authorities::Pem(authority.pem().into_bytes()),
        ..source(url(format!("https://{at}")), protocol)
    };
    for (at, protocol, security, spoken) in [
        (both, Auto, Security::Either, Protocol::Http2),
        (both, Http1, Security::Either, Protocol::Http1),
        (both, H2, Security::Either, Protocol::Http2),
        (both, H2, Security::Http1Only, Protocol::Http1),
        (old, Auto, Security::Either, Protocol::Http1),
    ] {
        let established = dial(with(at, protocol), security).await.unwrap();
        assert_eq!(established.protocol, spoken, "{protocol:?} {security:?}");
    }
    let error = dial(with(old, H2), Security::Either).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Upstream);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.starts_with("it did not choose HTTP/2 (ALPN `h2`)"), "{cause}");
}

/// Run once more with an empty trust store, which only a process of its own can have.
#[test]
fn a_service_in_clear_text_needs_no_trust_store() {
    const INNER: &str = "GATESCRIBE_TEST_WITHOUT_TRUST_STORE";
    if std::env::var_os(INNER).is_some() {
        let clear = source(url("http://web.shop.svc".to_owned()), ServiceProtocol::Auto);
        let system = |place: ServicePlace| ServiceSource {
            authorities: Authorities::System,
            ..source(place, ServiceProtocol::Auto)
        };
        service(system(clear.place)).unwrap();
        let path = PathBuf::from("/run/web.sock");
        let place = ServicePlace::Socket {
            path,
            url: "http://localhost".to_owned(),
        };
        service(system(place)).unwrap();
        let error = service(system(url("https://web.shop.svc".to_owned()))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the certificate authority in the system's trust store is not usable: it holds no certificate"
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("none.pem");
    std::fs::write(&empty, "").unwrap();
    let name = "service_tests::a_service_in_clear_text_needs_no_trust_store";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INNER, "1")
        .env("SSL_CERT_FILE", &empty)
        .env("SSL_CERT_DIR", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn pods(url: &str) -> (watch::Sender<Endpoints>, std::sync::Arc<ServiceConnection>) {
    let (says, endpoints) = watch::channel(Endpoints::default());
    let place = ServicePlace::Pods {
        url: url.to_owned(),
        endpoints,
    };
    (says, service(source(place, ServiceProtocol::Auto)).unwrap())
}

fn known(ready: &[&str], ending: &[&str]) -> Endpoints {
    let read = |all: &[&str]| all.iter().map(|one| one.parse().unwrap()).collect();
    Endpoints {
        ready: read(ready),
        ending: read(ending),
        is_known: true,
        trouble: None,
    }
}

async fn peers(service: &ServiceConnection) -> Vec<String> {
    service.peers().await.unwrap().iter().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn pods_that_are_ready_are_dialled_in_turn_and_a_lost_one_last() {
    let (says, service) = pods("http://web.shop.svc");
    says.send_replace(known(
        &["10.0.0.1:8080", "10.0.0.2:8080", "[fd00::3]:8080"],
        &["10.0.0.9:8080"],
    ));
    let first: Vec<String> = {
        let mut first = Vec::new();
        for _ in 0..3 {
            first.push(peers(&service).await.remove(0));
        }
        first
    };
    assert_eq!(first, ["10.0.0.1:8080", "10.0.0.2:8080", "[fd00::3]:8080"]);
    let destination = Destination::from(std::sync::Arc::clone(&service));
    destination.report_lost(Peer::Tcp("10.0.0.2:8080".parse().unwrap()));
    for _ in 0..3 {
        let order = peers(&service).await;
        assert_eq!(
            (order.len(), order.last().map(String::as_str)),
            (3, Some("10.0.0.2:8080"))
        );
    }
    // Those that end are there only while nobody is ready.
    says.send_replace(known(&[], &["10.0.0.9:8080"]));
    assert_eq!(peers(&service).await, ["10.0.0.9:8080"]);
    says.send_replace(known(&["10.0.0.4:8080"], &["10.0.0.9:8080"]));
    assert_eq!(peers(&service).await, ["10.0.0.4:8080"]);
}

#[tokio::test]
async fn a_connection_leads_to_a_pod_as_long_as_it_is_dialled() {
    let (says, service) = pods("http://web.shop.svc");
    says.send_replace(known(&["10.0.0.1:80", "10.0.0.2:80"], &["10.0.0.9:80"]));
    let destination = Destination::from(service);
    let has = |address: &str| destination.has(Peer::Tcp(address.parse().unwrap()));
    assert!(has("10.0.0.1:80") && has("10.0.0.2:80") && !has("10.0.0.9:80") && !has("10.0.0.1:81"));
    says.send_replace(known(&["10.0.0.2:80"], &[]));
    assert!(!has("10.0.0.1:80") && has("10.0.0.2:80"));
    says.send_replace(known(&[], &["10.0.0.2:80"]));
    assert!(has("10.0.0.2:80"), "it serves until it ends");
    says.send_replace(known(&[], &[]));
    assert!(!has("10.0.0.2:80"));
    assert!(destination.has(Peer::Unix));
}

#[tokio::test]
async fn why_the_last_dial_failed_is_known_until_one_succeeds() {
    let (says, service) = pods("http://localhost");
    says.send_replace(Endpoints {
        trouble: Some("none of its pods is ready".into()),
        ..known(&[], &[])
    });
    assert_eq!(service.trouble(), None);
    let destination = Destination::from(std::sync::Arc::clone(&service));
    destination.dial(Security::Either).await.unwrap_err();
    let told = service.trouble().unwrap();
    assert_eq!(
        &*told,
        "no pod of `localhost` takes a connection: none of its pods is ready"
    );
    let at = listener().await;
    says.send_replace(known(&[&at.to_string()], &[]));
    destination.dial(Security::Either).await.unwrap();
    assert_eq!(service.trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn a_dial_waits_a_moment_for_the_first_word_about_pods_and_then_says_what_is_wrong() {
    let (says, service) = pods("http://web.shop.svc");
    let error = service.peers().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no pod of `web.shop.svc` takes a connection: the cluster has not said yet where they are"
    );
    assert_eq!(error.fault(), Fault::Upstream);
    says.send_replace(Endpoints {
        trouble: Some("the observer may not list `services` there".into()),
        ..Endpoints::default()
    });
    let began = tokio::time::Instant::now();
    let error = service.peers().await.unwrap_err().to_string();
    assert!(
        error.ends_with(": the observer may not list `services` there"),
        "{error}"
    );
    assert_eq!(began.elapsed(), Duration::ZERO, "what is known is not waited for");
    says.send_replace(Endpoints::default());
    let asking = tokio::spawn({
        let service = std::sync::Arc::clone(&service);
        async move { peers(&service).await }
    });
    tokio::task::yield_now().await;
    says.send_replace(known(&["10.0.0.1:80"], &[]));
    assert_eq!(asking.await.unwrap(), ["10.0.0.1:80"]);
    says.send_replace(Endpoints {
        trouble: Some("none of its pods is ready".into()),
        ..known(&[], &[])
    });
    let error = service.peers().await.unwrap_err().to_string();
    assert_eq!(
        error,
        "no pod of `web.shop.svc` takes a connection: none of its pods is ready"
    );
    // The watcher is gone: the last word counts.
    says.send_replace(known(&["10.0.0.1:80"], &[]));
    drop(says);
    assert_eq!(peers(&service).await, ["10.0.0.1:80"]);
}

#[tokio::test]
async fn n_10_no_address_in_a_namespace_leads_beside_the_gateway() {
    let (says, service) = pods("http://web.shop.svc");
    says.send_replace(known(
        &[
            "169.254.169.254:80",
            "127.0.0.1:6443",
            "[::ffff:127.0.0.1]:80",
            "10.0.0.1:80",
        ],
        &[],
    ));
    assert_eq!(peers(&service).await, ["10.0.0.1:80"]);
    says.send_replace(known(&["169.254.169.254:80"], &["127.0.0.1:80", "[fe80::1]:80"]));
    let error = service.peers().await.unwrap_err();
    assert!(matches!(error, ReachError::AddressRefused { .. }), "{error}");
}

#[tokio::test]
async fn pods_are_dialled_and_known_by_the_name_of_the_service() {
    // Of this machine only where the URL says so: this is what a test has.
    let at = listener().await;
    let (says, service) = pods("http://localhost:80");
    says.send_replace(known(&[&at.to_string()], &[]));
    let established = Destination::from(service).dial(Security::Either).await.unwrap();
    assert_eq!(established.peer, Peer::Tcp(at));
    assert_eq!(established.server.host_header(), "localhost:80");
}

fn socket(path: &Path, url: &str) -> ServicePlace {
    ServicePlace::Socket {
        path: path.to_owned(),
        url: url.to_owned(),
    }
}

#[tokio::test]
async fn a_socket_of_this_machine_is_dialled_in_clear_text_and_with_tls() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let place = socket(&path, "http://localhost");
    let error = dial(source(place.clone(), ServiceProtocol::Auto), Security::Either)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot connect to the socket `{}`", path.display())
    );
    assert_eq!(error.fault(), Fault::Upstream);
    let listener = UnixListener::bind(&path).unwrap();
    for (protocol, spoken) in [
        (ServiceProtocol::Auto, Protocol::Http1),
        (ServiceProtocol::H2c, Protocol::Http2),
    ] {
        let established = dial(source(place.clone(), protocol), Security::Either).await.unwrap();
        assert_eq!((established.protocol, established.peer), (spoken, Peer::Unix));
        assert_eq!(
            (established.peer.to_string(), established.local.port()),
            ("unix".to_owned(), 0)
        );
        established.stream.patience().unwrap().lift().unwrap();
    }
    let relative = socket(Path::new("web.sock"), "http://localhost");
    let error = service(source(relative, ServiceProtocol::Auto)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "server `web.sock` is not usable: the path of a socket is absolute"
    );
    drop(listener);

    let authority = Authority::new();
    let beneath = tls_server(&authority, "web.internal", &[b"h2"]).await;
    let path = folder.path().join("tls.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut one, _)) = listener.accept().await {
            let mut other = tokio::net::TcpStream::connect(beneath).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut one, &mut other).await });
        }
    });
    let with = |name: &str| ServiceSource {
        authorities: Authorities::Pem(authority.pem().into_bytes()),
        tls_server_name: Some(name.to_owned()),
        ..source(socket(&path, "https://localhost"), ServiceProtocol::Auto)
    };
    let established = dial(with("web.internal"), Security::Either).await.unwrap();
    assert_eq!((established.protocol, established.peer), (Protocol::Http2, Peer::Unix));
    let error = dial(with("other.internal"), Security::Either).await.unwrap_err();
    assert_eq!(error.to_string(), "no TLS connection to unix");
}

#[tokio::test(start_paused = true)]
async fn i_08_a_socket_that_takes_a_connection_and_says_nothing_ends_the_dial() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let place = socket(&path, "https://localhost");
    let error = dial(source(place, ServiceProtocol::Auto), Security::Either)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no connection within {:?}", Duration::from_secs(3))
    );
}
