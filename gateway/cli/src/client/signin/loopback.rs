//! The address on this machine to which the browser brings the code: one port, one path, one answer.
//!
//! Every other process and every web page on this machine can call it. Hence: `state` is compared before anything else
//! is read; what does not carry it changes nothing and is not waited for; a rebound host name is refused; the number of
//! connections is bounded; the page that is answered loads nothing.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::client::store::Secret;
use crate::client::trouble::Trouble;

const PATH: &str = "/callback";
/// A browser opens a few connections ahead; more than this is somebody who tries.
const CONNECTIONS: usize = 32;
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long the page may take to be fetched after all is decided.
const PAGE_WITHIN: Duration = Duration::from_secs(3);

/// The open port.
pub(super) struct Loopback {
    redirect: String,
    arrivals: mpsc::Receiver<Returned>,
    accepting: JoinHandle<()>,
    door: Arc<Door>,
}

/// The browser came back.
pub(super) struct Returned {
    /// What it brought.
    pub(super) answer: Box<Answer>,
    /// It waits for a page.
    pub(super) reply: Waiting,
}

/// What the browser brought.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) code: Option<Secret>,
    pub(super) issuer: Option<String>,
    pub(super) error: Option<String>,
    pub(super) description: Option<String>,
}

/// A browser that waits for its page.
pub(super) struct Waiting(oneshot::Sender<Reply>);

impl Waiting {
    /// A browser that has gone needs no page.
    pub(super) fn send(self, reply: Reply) {
        drop(self.0.send(reply));
    }
}

/// A page.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    html: String,
    policy: HeaderValue,
}

impl Reply {
    pub(super) const fn page(html: String, policy: HeaderValue) -> Self {
        Self {
            status: StatusCode::OK,
            html,
            policy,
        }
    }

    /// Says in the browser what the terminal says.
    pub(super) fn failed(trouble: &Trouble) -> Self {
        Self::plain(StatusCode::BAD_REQUEST, "You are not signed in", &trouble.text())
    }

    fn plain(status: StatusCode, title: &str, text: &str) -> Self {
        let (title, text) = (escaped(title), escaped(text));
        let html = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\
             <body><h1>{title}</h1><pre>{text}</pre><p>You can close this page and go back to the terminal.</p></body></html>"
        );
        Self {
            status,
            html,
            policy: HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
        }
    }
}

/// What a connection needs to judge a request.
struct Door {
    state: Secret,
    authority: String,
    arrivals: Mutex<Option<mpsc::Sender<Returned>>>,
    /// The connection that brought the answer has its page.
    served: Notify,
}

impl Loopback {
    /// Opens a free port on 127.0.0.1, or on [::1] where there is no IPv4.
    pub(super) async fn bind(state: &Secret) -> std::io::Result<Self> {
        let listener = match TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))).await?,
        };
        let authority = listener.local_addr()?.to_string();
        let (sender, arrivals) = mpsc::channel(1);
        let door = Arc::new(Door {
            state: state.clone(),
            authority: authority.clone(),
            arrivals: Mutex::new(Some(sender)),
            served: Notify::new(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&door)));
        Ok(Self {
            redirect: format!("http://{authority}{PATH}"),
            arrivals,
            accepting,
            door,
        })
    }

    /// What the browser is sent back to.
    pub(super) fn redirect(&self) -> &str {
        &self.redirect
    }

    /// The first request with our state.
    pub(super) async fn returned(&mut self) -> Option<Returned> {
        self.arrivals.recv().await
    }

    /// Closes the port and lets the page that is on its way arrive.
    pub(super) async fn close(self) {
        self.accepting.abort();
        // A browser that does not fetch its page is not waited for any longer; all is decided.
        let _ = tokio::time::timeout(PAGE_WITHIN, self.door.served.notified()).await;
    }
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    let busy = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&busy).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let door = Arc::clone(&door);
        tokio::spawn(async move {
            let answered = AtomicBool::new(false);
            let service = hyper::service::service_fn(|request| answer(&door, &answered, request));
            let mut server = hyper::server::conn::http1::Builder::new();
            server
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .keep_alive(false)
                .max_buf_size(16 * 1024);
            // A connection that breaks is the browser's affair; the next request is another connection.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
            if answered.load(Ordering::Relaxed) {
                door.served.notify_one();
            }
            drop(permit);
        });
    }
}

async fn answer(
    door: &Door,
    answered: &AtomicBool,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let reply = match door.judge(&request) {
        Ok((answer, arrivals)) => {
            answered.store(true, Ordering::Relaxed);
            let (sender, receiver) = oneshot::channel();
            let returned = Returned {
                answer: Box::new(answer),
                reply: Waiting(sender),
            };
            // Taken above, so the one place is free; a receiver that has gone means that it was given up.
            let _ = arrivals.send(returned).await;
            let gone = || Reply::plain(StatusCode::GONE, "Too late", "The terminal no longer waits.");
            receiver.await.unwrap_or_else(|_| gone())
        }
        Err(reply) => reply,
    };
    Ok(rendered(reply))
}

impl Door {
    /// `state` first: whoever does not know it learns nothing of what else is expected.
    fn judge(&self, request: &Request<Incoming>) -> Result<(Answer, mpsc::Sender<Returned>), Reply> {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        if request.uri().path() != PATH || request.method() != Method::GET || host != Some(self.authority.as_str()) {
            return Err(Reply::plain(
                StatusCode::NOT_FOUND,
                "Nothing here",
                "This address waits for a sign-in.",
            ));
        }
        let pairs = pairs(request.uri().query().unwrap_or_default());
        let one = |name: &str| {
            let mut found = pairs
                .iter()
                .filter(|(known, _)| known == name)
                .map(|(_, value)| value.clone());
            found.next().filter(|_| found.next().is_none())
        };
        let state = one("state").unwrap_or_default();
        if verify_slices_are_equal(state.as_bytes(), self.state.reveal().as_bytes()).is_err() {
            let text = "This answer belongs to another sign-in. Nothing was changed.";
            return Err(Reply::plain(StatusCode::BAD_REQUEST, "Not this sign-in", text));
        }
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).take();
        let used = || {
            Reply::plain(
                StatusCode::GONE,
                "Already answered",
                "The terminal has this answer already.",
            )
        };
        let answer = Answer {
            code: one("code").map(Secret::new),
            issuer: one("iss"),
            error: one("error"),
            description: one("error_description"),
        };
        arrivals.map(|arrivals| (answer, arrivals)).ok_or_else(used)
    }
}

fn rendered(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(reply.html)));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(header::CONTENT_SECURITY_POLICY, reply.policy);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// `application/x-www-form-urlencoded` pairs.
fn pairs(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (unescaped(name), unescaped(value)))
        .collect()
}

fn unescaped(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |place: usize| {
            let byte = after.get(place).copied()?;
            char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
        };
        (rest, _) = match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => (after.get(2..).unwrap_or_default(), plain.push(high << 4 | low)),
            (b'+', ..) => (after, plain.push(b' ')),
            (other, ..) => (after, plain.push(*other)),
        };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn get(loopback: &str, path: &str, host: Option<&str>) -> String {
        let authority = loopback
            .strip_prefix("http://")
            .unwrap()
            .strip_suffix(PATH)
            .unwrap()
            .to_owned();
        let mut stream = tokio::net::TcpStream::connect(&authority).await.unwrap();
        let host = host.unwrap_or(&authority);
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn only_the_one_answer_with_our_state_is_taken() {
        let mut loopback = Loopback::bind(&Secret::new("the-state")).await.unwrap();
        let redirect = loopback.redirect().to_owned();
        for (path, host, status) in [
            ("/favicon.ico", None, "404"),
            ("/callback?code=x", None, "400"),
            ("/callback?code=x&state=wrong", None, "400"),
            ("/callback?code=x&state=the-state&state=the-state", None, "400"),
            ("/callback?code=x&state=the-state", Some("evil.example"), "404"),
        ] {
            let answer = get(&redirect, path, host).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
            assert!(loopback.arrivals.try_recv().is_err(), "{path}");
        }
        let page = tokio::spawn(async move {
            let path = "/callback?code=a%2Bb&state=the-state&iss=https%3A%2F%2Fg&error_description=not+now";
            let first = get(&redirect, path, None).await;
            (first, get(&redirect, path, None).await)
        });
        let returned = loopback.returned().await.unwrap();
        assert_eq!(returned.answer.code.as_ref().map(Secret::reveal), Some("a+b"));
        assert_eq!(returned.answer.issuer.as_deref(), Some("https://g"));
        assert_eq!(returned.answer.description.as_deref(), Some("not now"));
        returned.reply.send(Reply::page(
            "<p>done</p>".to_owned(),
            HeaderValue::from_static("default-src 'none'"),
        ));
        let (first, again) = page.await.unwrap();
        assert!(
            first.starts_with("HTTP/1.1 200") && first.ends_with("<p>done</p>"),
            "{first}"
        );
        assert!(again.starts_with("HTTP/1.1 410"), "{again}");
        loopback.close().await;
    }

    #[test]
    fn a_page_of_ours_cannot_be_written_into() {
        let html = Reply::plain(StatusCode::OK, "t", "<script>&\"").html;
        assert!(html.contains("&lt;script&gt;&amp;&quot;"), "{html}");
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        assert_eq!(unescaped("a%2"), "a%2");
        assert_eq!(unescaped("%zz%41+%"), "%zzA %");
    }
}
