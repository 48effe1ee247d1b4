//! The pool against upstreams that do what they should not. Names begin with the ids of docs/reference/statements.md.
//!
//! Both upstreams are raw sockets of our own, so that each byte and its moment are the test's: [`plain`] writes HTTP/1.1 by
//! hand, [`framed`] writes HTTP/2 frames by hand.

mod framed;
mod http1;
mod http2;
mod plain;
mod services;
mod values;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use model::cluster::ClusterId;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reach::{Authorities, ClusterConnection, ClusterSource, CredentialSource, Explicit, Tuning};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;

type TestBody = UnsyncBoxBody<Bytes, BoxError>;
type TestPool = Arc<Pool<TestBody>>;
type Sent = Result<Response<UpstreamBody<TestBody>>, NoAnswer<TestBody>>;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }
}

fn cluster(servers: Vec<String>, authority: &Authority, credential: CredentialSource) -> Arc<ClusterConnection> {
    let source = ClusterSource::Explicit(Explicit {
        servers,
        authorities: Authorities::Pem(authority.0.pem().into_bytes()),
        tls_server_name: None,
        impersonator: credential.clone(),
        observer: credential,
    });
    Arc::new(ClusterConnection::new(ClusterId::new("prod").unwrap(), source, Tuning::default()).unwrap())
}

fn token() -> CredentialSource {
    CredentialSource::Token("impersonator".to_owned())
}

fn pool_with(cluster: Arc<ClusterConnection>, limits: Limits) -> TestPool {
    Arc::new(Pool::new(cluster, limits, UpstreamMetrics::default()))
}

fn call(class: StreamClass) -> Call {
    Call::new(class, Expected::User(HeaderValue::from_static("ada")))
}

fn request(method: Method, target: &str, body: TestBody) -> Request<TestBody> {
    let builder = Request::builder()
        .method(method)
        .uri(target)
        .header("impersonate-user", "ada");
    builder.body(body).unwrap()
}

fn get(target: &str) -> Request<TestBody> {
    request(
        Method::GET,
        target,
        Empty::new().map_err(|never| match never {}).boxed_unsync(),
    )
}

fn post(target: &str, body: impl Into<Bytes>) -> Request<TestBody> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    request(Method::POST, target, body)
}

/// A request body fed by the test; ends when the sender is dropped.
fn fed() -> (mpsc::UnboundedSender<Result<Bytes, BoxError>>, TestBody) {
    let (feed, fed) = mpsc::unbounded_channel::<Result<Bytes, BoxError>>();
    let frames = futures::stream::unfold(fed, |mut fed| async move {
        let next = fed.recv().await?;
        Some((next.map(http_body::Frame::data), fed))
    });
    (feed, StreamBody::new(frames).boxed_unsync())
}

/// Sends in the background: the test is the upstream meanwhile.
fn fire(pool: &TestPool, call: Call, request: Request<TestBody>) -> JoinHandle<Sent> {
    let pool = Arc::clone(pool);
    tokio::spawn(async move { pool.send(&call, request).await })
}

async fn text(response: Response<UpstreamBody<TestBody>>) -> Result<String, BodyError> {
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

/// Waits until something that happens in another task has happened; the test's own time limit is the runner's.
async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

fn open_connections(pool: &TestPool, class: StreamClass) -> i64 {
    pool.metrics()
        .open_connections
        .get_or_create(&metrics::ByClass::of(class))
        .get()
}

fn unknown(sent: Sent) -> Why {
    match sent {
        Err(NoAnswer {
            error: SendError::Unknown { why },
            ..
        }) => why,
        Err(other) => panic!("not unknown but: {other}"),
        Ok(response) => panic!("not unknown but an answer: {}", response.status()),
    }
}

fn not_sent(sent: Sent) -> (Request<TestBody>, Why) {
    match sent {
        Err(NoAnswer {
            error: SendError::NotSent { request, why },
            ..
        }) => (*request, why),
        Err(other) => panic!("not `not sent` but: {other}"),
        Ok(response) => panic!("not `not sent` but an answer: {}", response.status()),
    }
}

/// Short enough to run out during a test, for limits that are to run out, and long enough for what comes before on a slow machine.
const SOON: Duration = Duration::from_millis(500);
