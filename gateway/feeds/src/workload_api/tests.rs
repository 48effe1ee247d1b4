//! An agent in this process, which says what it is told, badly if it shall.

use std::convert::Infallible;

use futures::stream;
use http::{HeaderValue, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use model::spiffe::TrustDomain;
use prost::Message as _;
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use super::wire::X509BundlesResponse;
use super::*;

/// What a call is sent next.
type Said = Frame<Bytes>;

/// Calls arrive here, each with the way to what it is sent.
struct Agent {
    calls: mpsc::Receiver<(Request<()>, mpsc::Sender<Said>)>,
    task: tokio::task::JoinHandle<()>,
}

impl Agent {
    fn at(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let (arrived, calls) = mpsc::channel(8);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let arrived = arrived.clone();
                let service = service_fn(move |request: Request<Incoming>| answer(request, arrived.clone()));
                let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                connections.spawn(async move { drop(serving.serve_connection(TokioIo::new(stream), service).await) });
            }
        });
        Self { calls, task }
    }

    async fn call(&mut self) -> (Request<()>, mpsc::Sender<Said>) {
        timeout(Duration::from_secs(60), self.calls.recv())
            .await
            .unwrap()
            .unwrap()
    }
}

async fn answer(
    request: Request<Incoming>,
    arrived: mpsc::Sender<(Request<()>, mpsc::Sender<Said>)>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let (parts, body) = request.into_parts();
    assert_eq!(
        body.collect().await.unwrap().to_bytes().as_ref(),
        [0; 5],
        "an empty message"
    );
    let (sender, receiver) = mpsc::channel(8);
    arrived.send((Request::from_parts(parts, ()), sender)).await.unwrap();
    let said = stream::unfold(receiver, |mut receiver| async move {
        let frame = receiver.recv().await?;
        Some((Ok(frame), receiver))
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(said)));
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], length.as_slice(), message].concat()
}

fn bundles(of: &[(&str, &str)]) -> Vec<u8> {
    let bundles = of
        .iter()
        .map(|(domain, bundle)| ((*domain).to_owned(), bundle.as_bytes().to_vec()));
    let response = X509BundlesResponse {
        crl: Vec::new(),
        bundles: bundles.collect(),
    };
    framed(&response.encode_to_vec())
}

fn data(bytes: Vec<u8>) -> Said {
    Frame::data(bytes.into())
}

fn trailers(code: &str, message: &'static str) -> Said {
    let mut map = HeaderMap::new();
    map.insert("grpc-status", code.parse().unwrap());
    map.insert("grpc-message", HeaderValue::from_static(message));
    Frame::trailers(map)
}

struct Feed {
    folder: tempfile::TempDir,
    standing: watch::Receiver<Standing>,
    task: tokio::task::JoinHandle<()>,
}

impl Feed {
    fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (sender, standing) = watch::channel(Standing::default());
        let pauses = (Duration::from_millis(1), Duration::from_millis(8));
        let task = tokio::spawn(follow_pausing(folder.path().join("agent.sock"), sender, pauses));
        Self { folder, standing, task }
    }

    fn agent(&self) -> Agent {
        let socket = self.folder.path().join("agent.sock");
        let _ = std::fs::remove_file(&socket);
        Agent::at(&socket)
    }

    async fn until(&mut self, holds: impl Fn(&Standing) -> bool) -> Standing {
        let waited = self.standing.wait_for(|standing| holds(standing));
        timeout(Duration::from_secs(60), waited).await.unwrap().unwrap().clone()
    }

    async fn troubled(&mut self, words: &str) -> Standing {
        self.until(|standing| {
            standing
                .trouble
                .as_deref()
                .is_some_and(|trouble| trouble.contains(words))
        })
        .await
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn says(standing: &Standing, domain: &str) -> Option<String> {
    let bundle = standing.bundles.as_ref()?.get(&TrustDomain::parse(domain).unwrap())?;
    Some(String::from_utf8(bundle.to_vec()).unwrap())
}

#[tokio::test]
async fn an_agent_is_asked_as_the_standard_says_and_each_message_is_all_there_is() {
    let mut feed = Feed::begin();
    let mut agent = feed.agent();
    let (request, said) = agent.call().await;
    assert_eq!(request.uri().path(), "/SpiffeWorkloadAPI/FetchX509Bundles");
    for (name, value) in [
        ("workload.spiffe.io", "true"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ] {
        assert_eq!(request.headers()[name], value);
    }
    let both = bundles(&[("spiffe://a.example", "A"), ("spiffe://b.example", "B")]);
    let (begin, end) = both.split_at(7);
    said.send(data(begin.to_vec())).await.unwrap();
    said.send(data(end.to_vec())).await.unwrap();
    let standing = feed.until(|standing| standing.bundles.is_some()).await;
    assert_eq!(
        (
            says(&standing, "a.example").as_deref(),
            says(&standing, "b.example").as_deref()
        ),
        (Some("A"), Some("B"))
    );
    assert_eq!(standing.trouble, None);
    let one = bundles(&[("spiffe://a.example", "A2")]);
    said.send(data(one)).await.unwrap();
    let standing = feed
        .until(|standing| says(standing, "a.example").as_deref() == Some("A2"))
        .await;
    assert_eq!(says(&standing, "b.example"), None, "what is said no more is gone");
}

#[tokio::test]
async fn an_agent_that_goes_takes_nothing_with_it_and_is_listened_to_again_when_it_comes_back() {
    let mut feed = Feed::begin();
    feed.troubled("it cannot be reached").await;
    let mut agent = feed.agent();
    let (_, said) = agent.call().await;
    said.send(data(bundles(&[("spiffe://a.example", "A")]))).await.unwrap();
    feed.until(|standing| standing.bundles.is_some() && standing.trouble.is_none())
        .await;
    agent.task.abort();
    let standing = feed.troubled("the Workload API at `").await;
    assert_eq!(
        says(&standing, "a.example").as_deref(),
        Some("A"),
        "what it said last stays"
    );
    let mut again = feed.agent();
    let (_, said) = again.call().await;
    said.send(data(bundles(&[("spiffe://a.example", "A2")]))).await.unwrap();
    let standing = feed.until(|standing| standing.trouble.is_none()).await;
    assert_eq!(says(&standing, "a.example").as_deref(), Some("A2"));
    // An end without fault is an end, too.
    said.send(trailers("14", "restarting")).await.unwrap();
    let standing = feed.troubled("it ended the call with gRPC status 14: restarting").await;
    assert_eq!(says(&standing, "a.example").as_deref(), Some("A2"));
}

#[tokio::test]
async fn what_is_denied_to_this_process_is_forgotten() {
    let mut feed = Feed::begin();
    let mut agent = feed.agent();
    let (_, said) = agent.call().await;
    said.send(data(bundles(&[("spiffe://a.example", "A")]))).await.unwrap();
    feed.until(|standing| standing.bundles.is_some()).await;
    said.send(trailers("7", "no identity issued")).await.unwrap();
    let standing = feed
        .troubled("it gives this process no bundles (PermissionDenied: no identity issued)")
        .await;
    assert!(standing.bundles.is_none());
    let (_, said) = agent.call().await;
    said.send(data(bundles(&[("spiffe://a.example", "A")]))).await.unwrap();
    feed.until(|standing| standing.bundles.is_some() && standing.trouble.is_none())
        .await;
}

#[tokio::test]
async fn a_message_that_is_none_is_discarded_and_said() {
    let mut feed = Feed::begin();
    let mut agent = feed.agent();
    let (_, said) = agent.call().await;
    said.send(data(bundles(&[("spiffe://a.example", "A")]))).await.unwrap();
    feed.until(|standing| standing.bundles.is_some()).await;
    let mut said = said;
    for (bytes, words) in [
        (framed(b"\xff"), "it sent a message that is no X509BundlesResponse"),
        (framed(b""), "it sent a message without any bundle"),
        (
            bundles(&[("a.example", "A")]),
            "whose key is not the SPIFFE ID of a trust domain",
        ),
        (
            bundles(&[("spiffe://a.example/workload", "A")]),
            "whose key is not the SPIFFE ID of a trust domain",
        ),
        (
            [&[1], framed(b"").get(1..).unwrap()].concat(),
            "it sent a compressed message",
        ),
        (
            vec![0, 0xff, 0xff, 0xff, 0xff],
            "it announced a message of 4294967295 bytes",
        ),
    ] {
        said.send(data(bytes)).await.unwrap();
        let standing = feed.troubled(words).await;
        assert_eq!(
            says(&standing, "a.example").as_deref(),
            Some("A"),
            "what it said before stays"
        );
        said = agent.call().await.1;
    }
    let mut response = X509BundlesResponse::default();
    response.crl.push(b"list".to_vec());
    response.bundles.insert("spiffe://a.example".to_owned(), b"A3".to_vec());
    said.send(data(framed(&response.encode_to_vec()))).await.unwrap();
    let standing = feed
        .troubled("the agent sends revocation lists, which are not looked at")
        .await;
    assert_eq!(says(&standing, "a.example").as_deref(), Some("A3"));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_messages_or_a_refusal(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        fuzz_x509_bundles(&bytes);
    }

    #[test]
    fn what_was_sent_is_what_is_read(
        names in proptest::collection::btree_map("[a-z0-9._-]{1,20}", "[A-Z]{0,9}", 1..5), cut in 0_usize..30
    ) {
        let ids: Vec<(String, String)> = names.iter().map(|(name, bundle)| (format!("spiffe://{name}"), bundle.clone())).collect();
        let pairs: Vec<(&str, &str)> = ids.iter().map(|(id, bundle)| (id.as_str(), bundle.as_str())).collect();
        let bytes = bundles(&pairs);
        fuzz_x509_bundles(&bytes);
        fuzz_x509_bundles(&bytes[..bytes.len() - cut.min(bytes.len())]);
        let answer = wire::read(&bytes[5..]).unwrap();
        let read: Vec<(String, String)> = answer.bundles.iter()
            .map(|(domain, bundle)| (domain.as_str().to_owned(), String::from_utf8(bundle.to_vec()).unwrap())).collect();
        proptest::prop_assert_eq!(read, names.into_iter().collect::<Vec<_>>());
    }
}
