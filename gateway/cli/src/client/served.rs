//! The server of a log (C2SP tlog-tiles) as `ledger verify` asks it: every answer bounded in bytes and time, a few tries for what passes by
//! itself, connections used again.
//!
//! A token goes to no other server than the gateway that gave it, or to the one for which the caller named a file with one.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use ledger::verify::{Source, SourceError};
use tokio::runtime::Runtime;

use super::gateway::{API, url_of};
use super::home::Home;
use super::http::{Client, HttpError, Line, Trust};
use super::session::ready;
use super::trouble::{Trouble, chain, clean};
use crate::Exit;

/// How often one question is asked before its answer is given up.
const TRIES: u32 = 5;
/// The pause before the second try; each further one is twice as long, where the server does not say how long it is to be.
const PAUSE: Duration = Duration::from_millis(200);
/// No pause is longer, whatever the server asks for.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// After this time a token is asked for again: one of a gateway lasts ten minutes.
const TOKEN_FOR: Duration = Duration::from_secs(60);

/// A log behind an address.
#[derive(Debug)]
pub(crate) struct Server {
    base: String,
    client: Client,
    access: Access,
    token: tokio::sync::Mutex<Option<(String, tokio::time::Instant)>>,
    idle: Mutex<Vec<Line>>,
    patience: Duration,
    runtime: Runtime,
}

/// With which token one asks.
#[derive(Debug)]
enum Access {
    Public,
    File(PathBuf),
    /// That of the sign-in with this gateway.
    SignedIn {
        home: Home,
        gateway: String,
    },
}

/// What one try came to.
enum Tried {
    Done(Vec<u8>),
    Never(SourceError),
    /// Why, and how long the server asks to wait.
    Again(String, Option<Duration>),
}

impl Server {
    /// `address` is the log's, or that of a gateway with which one is signed in. `ca` is a file of CA certificates to believe in place of the
    /// system's, `token` a file with a bearer token, `patience` how long one answer may take.
    pub(crate) fn at(
        address: &str,
        ca: Option<&Path>,
        token: Option<&Path>,
        patience: Duration,
    ) -> Result<Self, Trouble> {
        let uri: Uri = address
            .parse()
            .map_err(|_| Trouble::from(HttpError::Address(address.to_owned())))?;
        let origin = format!(
            "{}://{}",
            uri.scheme_str().unwrap_or_default(),
            uri.authority().map_or("", http::uri::Authority::as_str)
        );
        let kept = signed_in(&origin);
        let mut base = address.trim_end_matches('/').to_owned();
        let mut trust = Trust::System;
        let mut access = Access::Public;
        if let Some((home, kept)) = kept {
            if uri.path() == "/" {
                base = format!("{}/ledger", kept.endpoints.api);
            }
            trust = kept.trust;
            access = Access::SignedIn { home, gateway: origin };
        }
        if let Some(file) = token {
            access = Access::File(file.to_owned());
        }
        if let Some(file) = ca {
            let unread = |why: String| {
                Trouble::new(Exit::Usage, format!("`{}` holds no CA certificate", file.display()))
                    .because(why)
                    .remedy("give a file with certificates in PEM form")
            };
            let pem = std::fs::read_to_string(file).map_err(|error| unread(error.to_string()))?;
            trust = Trust::by_pem(pem).map_err(|error| unread(error.to_string()))?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| {
            Trouble::new(Exit::Fault, "the program cannot start")
                .because(error.to_string())
                .remedy("check the limits of open files and memory (ulimit -a)")
        })?;
        Ok(Self {
            client: Client::new(&trust, uri.scheme_str() == Some("https"))?,
            base,
            access,
            token: tokio::sync::Mutex::default(),
            idle: Mutex::default(),
            patience,
            runtime,
        })
    }

    async fn get(&self, path: &str, most: usize) -> Result<Vec<u8>, SourceError> {
        let (mut pause, mut asked_to_wait) = (PAUSE, None);
        let mut last = String::new();
        for again in 0..TRIES {
            if again > 0 {
                tokio::time::sleep(asked_to_wait.take().unwrap_or(pause).min(PAUSE_MAX)).await;
                pause *= 2;
            }
            match self.once(path, most).await {
                Tried::Done(bytes) => return Ok(bytes),
                Tried::Never(error) => return Err(error),
                Tried::Again(why, wait) => {
                    (asked_to_wait, last) = (wait, why);
                }
            }
        }
        Err(SourceError::Failed(format!("{last}; asked {TRIES} times")))
    }

    async fn once(&self, path: &str, most: usize) -> Tried {
        let url = format!("{}/{path}", self.base);
        let token = match self.bearer().await {
            Ok(token) => token,
            Err(why) => return Tried::Never(SourceError::Failed(why)),
        };
        let mut request = Request::get(&url);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let (Ok(request), Ok(uri)) = (request.body(Bytes::new()), url.parse()) else {
            return Tried::Never(SourceError::Failed(format!("`{url}` is no address")));
        };
        match self.exchange(request, &uri, most).await {
            Ok(answer) => self.judged(answer).await,
            Err(HttpError::TooLong { .. }) => Tried::Never(SourceError::TooLong { most }),
            Err(error @ (HttpError::Address(_) | HttpError::Trust(_) | HttpError::Untrusted { .. })) => {
                Tried::Never(SourceError::Failed(clean(&chain(&error))))
            }
            Err(error) => Tried::Again(clean(&chain(&error)), None),
        }
    }

    async fn exchange(&self, request: Request<Bytes>, uri: &Uri, most: usize) -> Result<Response<Bytes>, HttpError> {
        let idle = self.idle().pop().filter(Line::is_open);
        let mut line = match idle {
            Some(line) => line,
            None => self.client.line(uri).await?,
        };
        let answer = line.send(request, most, self.patience).await?;
        self.idle().push(line);
        Ok(answer)
    }

    async fn judged(&self, answer: Response<Bytes>) -> Tried {
        let status = answer.status();
        let wait = answer.headers().get(header::RETRY_AFTER);
        let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
        match status {
            StatusCode::OK => Tried::Done(answer.into_body().into()),
            StatusCode::NOT_FOUND | StatusCode::GONE => Tried::Never(SourceError::Missing),
            StatusCode::UNAUTHORIZED if !matches!(self.access, Access::Public) => {
                *self.token.lock().await = None;
                Tried::Again("the server does not take the token (401)".to_owned(), None)
            }
            StatusCode::UNAUTHORIZED => Tried::Never(SourceError::Failed(
                "the server wants to know who asks (401): sign in with `gatescribe login`, or give --token-file"
                    .to_owned(),
            )),
            StatusCode::FORBIDDEN => Tried::Never(SourceError::Failed(
                "you may not read this (403): the records of all are for those with an audit role".to_owned(),
            )),
            StatusCode::TOO_MANY_REQUESTS => Tried::Again(words(status), wait.map(Duration::from_secs)),
            _ if status.is_server_error() => Tried::Again(words(status), wait.map(Duration::from_secs)),
            _ => Tried::Never(SourceError::Failed(words(status))),
        }
    }

    async fn bearer(&self) -> Result<Option<String>, String> {
        let mut known = self.token.lock().await;
        if let Some((token, _)) = known.as_ref().filter(|(_, since)| since.elapsed() < TOKEN_FOR) {
            return Ok(Some(token.clone()));
        }
        let token = match &self.access {
            Access::Public => return Ok(None),
            Access::File(file) => {
                let text = std::fs::read_to_string(file);
                let text = text.map_err(|error| format!("`{}` cannot be read: {error}", file.display()))?;
                text.trim().to_owned()
            }
            Access::SignedIn { home, gateway } => {
                let ready = ready(home, Some(gateway), API)
                    .await
                    .map_err(|trouble| trouble.text())?;
                ready.token.reveal().to_owned()
            }
        };
        *known = Some((token.clone(), tokio::time::Instant::now()));
        Ok(Some(token))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Line>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Server {
    fn fetch(&self, path: &str, most: usize) -> Result<Vec<u8>, SourceError> {
        self.runtime.block_on(self.get(path, most))
    }
}

fn words(status: StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or("no reason given");
    format!("it answers {} {reason}", status.as_u16())
}

/// What is kept of the sign-in with the gateway of this origin, if there is one.
fn signed_in(origin: &str) -> Option<(Home, super::store::Kept)> {
    let home = Home::find().ok()?;
    let kept = home.place(&url_of(origin).ok()?).read().ok()??;
    kept.session.is_some().then_some((home, kept))
}
