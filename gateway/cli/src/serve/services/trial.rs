//! One call of a service by the gateway itself: with nobody's credential, no assertion and no body, up to the head of the answer.
//!
//! It goes the way that calls go: the same addresses are refused, the same authorities vouch, and the same `Host` is sent.

use std::sync::Arc;
use std::time::Duration;

use access::rule::{HostSpec, Published};
use bytes::Bytes;
use console::api::services::{Step, Trial};
use http::{Request, Response, Version, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::chain::chain;
use model::origin::Origin;
use reach::{Destination, Established, Peer, Protocol, Scheme, Security, ServiceConnection, Stream};

use super::told::step;

/// How long the head of an answer is waited for; less where the document says so.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// Addresses that one step names.
const MOST_TOLD: usize = 8;

/// Goes on from a service that was found, station by station, until one stops it.
pub(super) async fn along(
    steps: &mut Vec<Step>,
    published: &Published,
    connection: &Arc<ServiceConnection>,
    asked: &Trial,
    origin: Option<&Origin>,
) {
    match connection.peers().await {
        Ok(peers) => steps.push(step("address", true, told(&peers))),
        Err(error) => {
            steps.push(step("address", false, chain(&error)));
            return;
        }
    }
    let established = match Destination::from(Arc::clone(connection)).dial(Security::Either).await {
        Ok(established) => established,
        Err(error) => {
            steps.push(step("connection", false, chain(&error)));
            return;
        }
    };
    steps.push(step("connection", true, of_connection(published, &established)));
    let within = published.passing().timeouts.answer.min(ANSWERS_WITHIN);
    let answered = match request(published, &established, asked, origin) {
        Ok(request) => match tokio::time::timeout(within, answer(established, request)).await {
            Ok(answered) => answered,
            Err(_) => Err(format!("nothing was answered within {within:?}")),
        },
        Err(why) => Err(why),
    };
    steps.push(match answered {
        Ok(answer) => step(
            "answer",
            true,
            format!("{} {}", spoken(answer.version()), answer.status()),
        ),
        Err(why) => step("answer", false, why),
    });
}

fn told(peers: &[Peer]) -> String {
    let first: Vec<String> = peers.iter().take(MOST_TOLD).map(ToString::to_string).collect();
    match peers.len().saturating_sub(MOST_TOLD) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn of_connection(published: &Published, established: &Established) -> String {
    let peer = established.peer;
    match (&established.stream, published.upstream().tls()) {
        (Stream::Tls(tls), Some(said)) => {
            let version = match tls.get_ref().1.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
                _ => "TLS 1.2",
            };
            let authorities = match &said.ca_file {
                Some(file) => format!("those in `{file}`"),
                None => "the system's authorities".to_owned(),
            };
            let name = said.server_name.as_deref().unwrap_or(established.server.host());
            let agreed = match established.protocol {
                Protocol::Http2 => "`h2` was agreed on",
                Protocol::Http1 => "HTTP/1.1",
            };
            format!("{peer} by {version}, {agreed}; its certificate is of `{name}`, for which {authorities} vouch")
        }
        _ => format!("{peer} in clear text"),
    }
}

/// What goes out: the target as the service sees it, its `Host`, and who asks. Nothing of a person.
fn request(
    published: &Published,
    established: &Established,
    asked: &Trial,
    origin: Option<&Origin>,
) -> Result<Request<Empty<Bytes>>, String> {
    let target = published.forwarded(&asked.target).map_err(|error| error.to_string())?;
    let server = &established.server;
    let host = match (published.passing().host, origin) {
        (HostSpec::Keep, Some(origin)) => {
            let bare = origin.as_str().split_once("://").map_or("", |(_, host)| host);
            bare.to_owned()
        }
        _ => String::from_utf8_lossy(server.host_header().as_bytes()).into_owned(),
    };
    let path = format!("{}{}", server.prefix(), target.raw());
    let builder = Request::builder()
        .method(asked.method.clone())
        .header(header::USER_AGENT, "gatescribe-svc-test")
        .header(header::ACCEPT, "*/*");
    let builder = match established.protocol {
        Protocol::Http1 => builder.uri(path).header(header::HOST, host),
        Protocol::Http2 => {
            let scheme = if server.scheme() == Scheme::Https {
                "https"
            } else {
                "http"
            };
            builder.version(Version::HTTP_2).uri(format!("{scheme}://{host}{path}"))
        }
    };
    builder.body(Empty::new()).map_err(|error| error.to_string())
}

async fn answer(established: Established, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, String> {
    let io = TokioIo::new(established.stream);
    let broken = |error: hyper::Error| chain(&error);
    // What drives the connection ends with it, and that is dropped with the answer.
    match established.protocol {
        Protocol::Http1 => {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(broken)?;
            tokio::spawn(connection);
            sender.send_request(request).await.map_err(broken)
        }
        Protocol::Http2 => {
            let made = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
            let (mut sender, connection) = made.map_err(broken)?;
            tokio::spawn(connection);
            sender.send_request(request).await.map_err(broken)
        }
    }
}

const fn spoken(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}
