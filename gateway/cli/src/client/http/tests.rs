//! Against a real TLS server of this process.

use std::net::SocketAddr;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::Exit;
use crate::client::lines::{Lines, Live, NoLine};
use crate::client::trouble::Trouble;

struct Certificates {
    ca_pem: String,
    ca: CertificateDer<'static>,
    leaf: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

fn certificates(names: &[&str], expired: bool) -> Certificates {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Test Inspection CA");
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "gate");
    if expired {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &ca).unwrap();
    Certificates {
        ca_pem: ca.pem(),
        ca: ca.der().clone(),
        leaf: leaf.der().clone(),
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
    }
}

/// Answers each connection once with `answer`, over TLS.
async fn serve(certificates: &Certificates, with_ca: bool, answer: &'static str) -> SocketAddr {
    let mut chain = vec![certificates.leaf.clone()];
    chain.extend(with_ca.then(|| certificates.ca.clone()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, certificates.key.clone_key())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut head = vec![0; 4096];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

async fn get(trust: &Trust, address: SocketAddr) -> Result<Response<Bytes>, HttpError> {
    let request = Request::get(format!("https://127.0.0.1:{}/", address.port()))
        .body(Bytes::new())
        .unwrap();
    Client::new(trust, true)?.send(request).await
}

fn pin(certificate: &CertificateDer<'_>) -> Trust {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    let hex = hex::encode(digest);
    Trust::Pin {
        sha256: Fingerprint::parse(&hex).unwrap(),
    }
}

#[tokio::test]
async fn a_given_ca_or_a_fingerprint_is_trusted_and_nothing_else_is() {
    let own = certificates(&["127.0.0.1"], false);
    let other = certificates(&["127.0.0.1"], false);
    let address = serve(&own, true, OK).await;
    let ca = Trust::by_pem(own.ca_pem.clone()).unwrap();
    for trust in [&ca, &pin(&own.leaf), &pin(&own.ca)] {
        assert_eq!(get(trust, address).await.unwrap().body(), "ok", "{trust:?}");
    }
    let wrong_ca = Trust::by_pem(other.ca_pem.clone()).unwrap();
    for trust in [&Trust::System, &wrong_ca, &pin(&other.leaf), &pin(&other.ca)] {
        let error = get(trust, address).await.unwrap_err();
        assert!(matches!(error, HttpError::Untrusted { .. }), "{trust:?}: {error}");
    }
}

#[tokio::test]
async fn a_pin_does_not_excuse_a_wrong_name_or_date() {
    for (certificates, word) in [
        (certificates(&["other.example"], false), "it is for another host name"),
        (
            certificates(&["127.0.0.1"], true),
            "it has expired, or this machine's clock is wrong",
        ),
    ] {
        let address = serve(&certificates, true, OK).await;
        for trust in [pin(&certificates.leaf), pin(&certificates.ca)] {
            match get(&trust, address).await.unwrap_err() {
                HttpError::Untrusted { presented, .. } => assert_eq!(presented.why, word),
                error => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn an_untrusted_certificate_is_shown_with_issuer_and_fingerprint() {
    let own = certificates(&["127.0.0.1"], false);
    let address = serve(&own, true, OK).await;
    let error = get(
        &Trust::Ca {
            pem: certificates(&["x"], false).ca_pem,
        },
        address,
    )
    .await
    .unwrap_err();
    let trouble = Trouble::from(error);
    assert_eq!(trouble.exit, Exit::Unreachable);
    let (Trust::Pin { sha256: leaf }, Trust::Pin { sha256: ca }) = (pin(&own.leaf), pin(&own.ca)) else {
        panic!("pins")
    };
    let text = trouble.text();
    for words in [
        format!("the certificate of 127.0.0.1:{} is not trusted", address.port()),
        format!("it names CN=gate, issued by CN=Test Inspection CA, SHA-256 {leaf}"),
        format!("the certificate of CN=Test Inspection CA, SHA-256 {ca}"),
        "--ca FILE".to_owned(),
        "--ca-sha256 HEX".to_owned(),
    ] {
        assert!(text.contains(&words), "{words}\n{text}");
    }
}

#[tokio::test]
async fn clocks_that_differ_are_noticed_from_any_answer() {
    let own = certificates(&["127.0.0.1"], false);
    let answer = "HTTP/1.1 400 Bad\r\nDate: Sat, 01 Jan 2022 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n";
    let address = serve(&own, false, answer).await;
    let client = Client::new(&Trust::by_pem(own.ca_pem.clone()).unwrap(), true).unwrap();
    let request = Request::get(format!("https://127.0.0.1:{}/", address.port()))
        .body(Bytes::new())
        .unwrap();
    client.send(request).await.unwrap();
    assert!(
        client
            .clocks()
            .unwrap()
            .to_string()
            .contains("(there 2022-01-01T00:00:00Z, here ")
    );
}

/// Answers one CONNECT with `status`, and with 200 passes bytes on to `server`; tells what it was asked.
async fn proxy(status: &'static str, server: SocketAddr) -> (SocketAddr, tokio::sync::oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, asked) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        sender.send(String::from_utf8(head).unwrap()).unwrap();
        stream
            .write_all(format!("HTTP/1.1 {status}\r\nX-Proxy: yes\r\n\r\n").as_bytes())
            .await
            .unwrap();
        if status.starts_with("200") {
            let mut behind = TcpStream::connect(server).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut behind).await;
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_proxy_is_asked_to_connect_and_sees_no_secret() {
    let own = certificates(&["gate.test"], false);
    let server = serve(&own, false, OK).await;
    let (address, asked) = proxy("200 Connection established", server).await;
    let mut client = Client::new(&Trust::by_pem(own.ca_pem.clone()).unwrap(), true).unwrap();
    client.proxies = Proxies::new(Some((format!("http://me:pass@{address}"), "HTTPS_PROXY")), "");
    let request = Request::get("https://gate.test:8443/")
        .header("authorization", "Bearer geheim")
        .body(Bytes::new());
    assert_eq!(client.send(request.unwrap()).await.unwrap().body(), "ok");
    assert_eq!(
        asked.await.unwrap(),
        "CONNECT gate.test:8443 HTTP/1.1\r\nHost: gate.test:8443\r\nProxy-Authorization: Basic bWU6cGFzcw==\r\n\r\n"
    );
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    let (address, _asked) = proxy("407 Proxy Authentication Required", "127.0.0.1:1".parse().unwrap()).await;
    let mut client = Client::new(
        &Trust::Pin {
            sha256: Fingerprint::parse(&"00".repeat(32)).unwrap(),
        },
        true,
    )
    .unwrap();
    client.proxies = Proxies::new(Some((format!("http://me:geheim@{address}"), "HTTPS_PROXY")), "");
    let request = Request::get("https://gate.test/").body(Bytes::new()).unwrap();
    let text = Trouble::from(client.send(request).await.unwrap_err()).text();
    assert_eq!(
        text,
        format!(
            "✖ the gateway cannot be reached\n  because  the proxy {address} (from HTTPS_PROXY) does not help: it wants a user \
             name and a password (http://user:password@host:port)\n  do this  correct HTTPS_PROXY, or except the host with \
             NO_PROXY"
        )
    );
}

#[test]
fn a_minute_of_difference_is_none() {
    let date = "Thu, 01 Jan 1970 00:16:40 GMT";
    let at = |seconds| Clocks::compare(date, Timestamp::from_unix_seconds(seconds));
    assert_eq!((at(1060), at(940)), (None, None));
    assert_eq!(
        at(568).unwrap().to_string(),
        "the gateway's clock and this machine's differ by 7 min 12 s (there 1970-01-01T00:16:40Z, here 1970-01-01T00:09:28Z)"
    );
    assert!(at(1061).is_some() && Clocks::compare("nonsense", Timestamp::EPOCH).is_none());
}

#[tokio::test]
async fn nothing_is_sent_without_encryption_beyond_this_machine() {
    for address in ["http://gate.example/token", "ftp://127.0.0.1/", "/token"] {
        let request = Request::get(address).body(Bytes::new()).unwrap();
        let error = Client::new(&Trust::System, false)
            .unwrap()
            .send(request)
            .await
            .unwrap_err();
        assert!(matches!(error, HttpError::Address(_)), "{address}");
    }
}

#[test]
fn a_fingerprint_is_read_as_openssl_and_browsers_write_it() {
    let hex = "5e".repeat(32);
    let colons = vec!["5E"; 32].join(":");
    let parsed = Fingerprint::parse(&hex).unwrap();
    assert_eq!(parsed.to_string(), colons);
    assert_eq!(Fingerprint::parse(&colons).unwrap(), parsed);
    assert_eq!(Fingerprint::parse(&format!("sha256:{hex}")).unwrap(), parsed);
    for wrong in ["", "5e", &"5e".repeat(31), &format!("{hex}00"), &"zz".repeat(32)] {
        assert!(Fingerprint::parse(wrong).is_err(), "{wrong}");
    }
}

/// A gateway that takes a request, says `said`, and then nothing any more. It tells when it has said it.
async fn falls_silent(said: &'static str) -> (SocketAddr, tokio::sync::oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tells, has_said) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let read = stream.read(&mut [0; 4096]).await.unwrap();
        assert!(read > 0, "a request came");
        stream.write_all(said.as_bytes()).await.unwrap();
        tells.send(()).unwrap();
        std::future::pending::<()>().await;
    });
    (address, has_said)
}

fn plain(address: SocketAddr) -> (Client, Request<Bytes>) {
    let request = Request::get(format!("http://{address}/")).body(Bytes::new()).unwrap();
    (Client::new(&Trust::System, false).unwrap(), request)
}

#[tokio::test]
async fn the_head_of_an_answer_is_not_waited_for_without_end() {
    let (address, has_said) = falls_silent("").await;
    let (client, request) = plain(address);
    let asked = tokio::spawn(async move { client.open(request).await.map(drop) });
    has_said.await.unwrap();
    // Nothing comes from here on but time.
    tokio::time::pause();
    let error = asked.await.unwrap().unwrap_err();
    assert!(matches!(error, HttpError::TooSlow { seconds: 90, .. }), "{error}");
    assert_eq!(Trouble::from(error).exit, Exit::Unreachable);
}

#[tokio::test]
async fn a_stream_without_signs_of_life_is_given_up_and_one_with_them_is_not() {
    let said = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nalive\n\r\n3\r\nhal\r\n";
    let (address, has_said) = falls_silent(said).await;
    let (client, request) = plain(address);
    let body = client.open(request).await.unwrap().into_body();
    has_said.await.unwrap();
    let mut lines = Lines::of(Live::new(body, "gate.example"), 100);
    assert_eq!(lines.next().await.unwrap().unwrap(), b"alive");
    tokio::time::pause();
    let Err(NoLine::Broken(error)) = lines.next().await else {
        panic!("a line came")
    };
    let trouble = Trouble::from(error);
    assert_eq!(trouble.exit, Exit::Unreachable);
    assert_eq!(
        trouble.text(),
        "✖ the gateway says nothing any more\n  because  nothing came from gate.example for 45 s, not even a sign of life\n  \
         do this  check the network and VPN, and begin again"
    );
}
