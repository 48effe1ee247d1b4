//! Bundles of trust domains from an agent on this machine: the SPIFFE Workload API, `FetchX509Bundles`, over a unix socket.
//!
//! The agent says all it knows in each message, at once and whenever that changes. What it says no more is gone (§4.4), and so is
//! everything where it says that this process may have none (§5.2.2). An agent that is away says nothing: what it said last
//! stays, so that its restart ends nobody's trust, and whoever looks is told.
//!
//! Not here: what stands in a bundle, and what comes of it.

#[cfg(test)]
mod tests;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::wire::{Answer, Frames, WireError};
pub use self::wire::{Bundles, fuzz_x509_bundles};

/// What is known from one agent.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// What it said last; none before it has said anything, and where it says that there is nothing for this process.
    pub bundles: Option<Arc<Bundles>>,
    /// Why there may be newer ones than these.
    pub trouble: Option<String>,
}

/// After the first failure, doubled at each further one; and what none is longer than.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// The first answer comes without delay (§4.3); an agent that sends none in this time is asked anew.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// Why an agent is listened to no longer.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("it cannot be reached: {0}")]
    Unreachable(std::io::Error),
    #[error("it does not speak HTTP/2: {0}")]
    Http(hyper::Error),
    #[error("it answered with HTTP status {0}")]
    Status(http::StatusCode),
    #[error("it does not answer")]
    Silent,
    /// `PermissionDenied`: nothing is meant for this process, or nothing any more.
    #[error("it gives this process no bundles (PermissionDenied{0}); register the gateway with it")]
    Denied(String),
    #[error("it ended the call with gRPC status {0}")]
    Grpc(String),
    #[error("it closed the connection")]
    Closed,
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Listens to the agent at `socket`, as long as it is polled. Dropped, it leaves the last standing as it is.
pub async fn follow(socket: PathBuf, standing: watch::Sender<Standing>) {
    follow_pausing(socket, standing, PAUSES).await;
}

async fn follow_pausing(socket: PathBuf, standing: watch::Sender<Standing>, (first, longest): (Duration, Duration)) {
    let mut pause = first;
    loop {
        let mut heard = false;
        let ended = match listen(&socket, &standing, &mut heard).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        };
        if heard {
            pause = first;
        }
        standing.send_modify(|standing| {
            if matches!(ended, Ended::Denied(_)) {
                standing.bundles = None;
            }
            standing.trouble = Some(format!("the Workload API at `{}`: {ended}", socket.display()));
        });
        tracing::warn!(socket = %socket.display(), why = %ended, "the SPIFFE Workload API gives no bundles at this time");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// One connection, to its end.
async fn listen(
    socket: &Path,
    standing: &watch::Sender<Standing>,
    heard: &mut bool,
) -> Result<std::convert::Infallible, Ended> {
    let stream = UnixStream::connect(socket).await.map_err(Ended::Unreachable)?;
    let shaken = http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream));
    let (mut sender, connection) = shaken.await.map_err(Ended::Http)?;
    // Ends with this function, however that ends.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let mut frames = Frames::default();
    let answered = timeout(FIRST_ANSWER, async {
        let mut body = ask(&mut sender).await?;
        let first = next(&mut body, &mut frames).await?;
        Ok::<_, Ended>((body, first))
    });
    let (mut body, first) = answered.await.map_err(|_| Ended::Silent)??;
    let mut message = first;
    loop {
        say(wire::read(&message)?, standing);
        *heard = true;
        message = next(&mut body, &mut frames).await?;
    }
}

async fn ask(sender: &mut http2::SendRequest<Full<Bytes>>) -> Result<Incoming, Ended> {
    let mut request = Request::post(format!("http://localhost{}", wire::METHOD))
        .body(Full::new(wire::request()))
        .unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/grpc"),
    );
    headers.insert(header::TE, header::HeaderValue::from_static("trailers"));
    // Without it the agent refuses: no browser or proxy sends it by mistake (SPIFFE Workload Endpoint §4).
    headers.insert("workload.spiffe.io", header::HeaderValue::from_static("true"));
    let response = sender.send_request(request).await.map_err(Ended::Http)?;
    if !response.status().is_success() {
        return Err(Ended::Status(response.status()));
    }
    if let Some(ended) = status(response.headers()) {
        return Err(ended);
    }
    Ok(response.into_body())
}

/// The next message; waits for it as long as the connection lives.
async fn next(body: &mut Incoming, frames: &mut Frames) -> Result<Bytes, Ended> {
    loop {
        if let Some(message) = frames.next()? {
            return Ok(message);
        }
        let frame = body.frame().await.ok_or(Ended::Closed)?.map_err(Ended::Http)?;
        match frame.into_data() {
            Ok(piece) => frames.take_in(&piece),
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return Err(status(&trailers).unwrap_or(Ended::Closed));
            }
        }
    }
}

/// How the call ended, where the headers say so; a stream that ends well ends all the same.
fn status(headers: &HeaderMap) -> Option<Ended> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let code = text("grpc-status")?;
    // Percent escapes stay as they are: the text is for a person, and somebody else's.
    let said = text("grpc-message").filter(|said| !said.is_empty());
    let said: String = said.map(|said| format!(": {said}")).unwrap_or_default();
    let said: String = said.chars().take(MOST_SAID).collect();
    Some(match code {
        "0" => Ended::Closed,
        PERMISSION_DENIED => Ended::Denied(said),
        _ => Ended::Grpc(format!("{code}{said}")),
    })
}

fn say(answer: Answer, standing: &watch::Sender<Standing>) {
    let revocations = "the agent sends revocation lists, which are not looked at: shorten the life of SVIDs instead";
    tracing::info!(
        trust_domains = answer.bundles.len(),
        "bundles of trust domains from the SPIFFE Workload API"
    );
    standing.send_replace(Standing {
        bundles: Some(Arc::new(answer.bundles)),
        trouble: answer.has_revocations.then(|| revocations.to_owned()),
    });
}

/// Of gRPC's status codes.
const PERMISSION_DENIED: &str = "7";
/// Characters of an agent's words.
const MOST_SAID: usize = 200;
