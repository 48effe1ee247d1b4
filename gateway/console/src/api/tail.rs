//! Following records as they come: lines of JSON (`application/x-ndjson`), each an object with one of these members:
//!
//! - `begin`: `{scope, note?}`, the first line;
//! - `record`: a row as in a search; beside the last of several, `position`: where one can go on (`after=`). A row with the id of
//!   an earlier one replaces it (a call that ended, a stream that closed);
//! - `alive`: `{folded}`, with `position`, whenever nothing came for a while;
//! - `end`: why it ends, the last line, with `code`, the error that a new question would be answered with: `invalid_token` where the
//!   session has ended, `scope_changed`, or something that passes.
//!
//! The session is looked at again whenever sessions changed, and at every sign of life: a tail ends with its session, and its
//! scope is that of the groups the person has then. A client that reads slowly holds up only itself: the ledger is the buffer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header;
use search::{Row, Scope, Tail};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::asker::Asker;
use super::parameters::Parameters;
use super::places::Place;
use super::read::AuditAct;
use super::{Api, unreadable};
use crate::answer::Refused;
use crate::caller::Caller;

/// A sign of life after so long without a row.
const QUIET: Duration = Duration::from_secs(15);
/// Rows and records that are read at one time.
const ROWS: usize = 100;
const RECORDS: usize = 10_000;

pub(super) async fn tail(
    State(api): State<Api>,
    caller: Caller,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let asker = Asker::of(&api, caller).await?;
    let parameters = Parameters::read(pairs, &["q", "after", "all"])?;
    let (said, query) = parameters.query()?;
    if query.times(api.now()) != (None, None) {
        return Err(Refused::request(
            "a tail has no bounds in time; use `after` to begin at an earlier place",
        ));
    }
    let (view, after) = (parameters.view()?, parameters.number("after")?);
    let place = api.tails.take(&asker.session.subject_id)?;
    let durable = api.parts.durable.clone();
    let (archive, scope) = (Arc::clone(&api.parts.archive), asker.scope.clone());
    let tail = tokio::task::spawn_blocking(move || Tail::new(archive, query, scope, view, after)).await;
    let tail = match tail {
        Ok(Ok(tail)) => tail,
        Ok(Err(error)) => return Err(unreadable(&error)),
        Err(_) => {
            return Err(Refused::unavailable(
                "the tail could not begin; the gateway's log says more",
            ));
        }
    };
    api.record(asker.reads(&api, AuditAct::TailBegan, &said, 0)).await?;
    let revision = api.parts.store.revision();
    let begin = line(&begin_of(&asker.scope));
    let following = Following {
        api,
        asker,
        said,
        tail: Some(tail),
        durable,
        revision,
        looked: Instant::now(),
        shown: 0,
        begin: Some(begin),
        ended: false,
        _place: place,
    };
    let lines = futures::stream::unfold(following, |mut following| async move {
        let bytes = following.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(bytes), following))
    });
    Ok((
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
        .into_response())
}

fn begin_of(scope: &Scope) -> Value {
    let note = scope.sentence();
    json!({"begin": {"scope": scope.name(), "note": note}})
}

fn line(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\n"))
}

struct Following {
    api: Api,
    asker: Asker,
    said: String,
    /// Away while a thread reads with it; for good when that thread panicked.
    tail: Option<Tail>,
    durable: watch::Receiver<u64>,
    revision: u64,
    /// When the session was last looked at.
    looked: Instant,
    shown: u64,
    begin: Option<Bytes>,
    ended: bool,
    _place: Place,
}

impl Following {
    /// The next lines; `None` after the last.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(begin) = self.begin.take() {
            return Some(begin);
        }
        if self.ended {
            return None;
        }
        loop {
            // Not only where something is said to have changed: a sign-in also ends by time.
            let is_due = self.revision != self.api.parts.store.revision() || self.looked.elapsed() >= QUIET;
            if is_due && let Err(end) = self.look_again().await {
                return Some(self.end(&end));
            }
            // Seen before reading: what comes while we read wakes us again.
            self.durable.borrow_and_update();
            match self.read().await {
                Ok(rows) if !rows.is_empty() => return Some(self.lines(&rows)),
                Ok(_) if self.tail.as_ref().is_some_and(Tail::is_behind) => continue,
                Ok(_) => {}
                Err(refused) => return Some(self.end(&refused)),
            }
            if !self.wait().await {
                if let Err(end) = self.look_again().await {
                    return Some(self.end(&end));
                }
                return Some(self.alive());
            }
        }
    }

    /// Waits for records, or until a row is due; `false` after [`QUIET`], or when no more can come.
    async fn wait(&mut self) -> bool {
        let now = self.api.now();
        let due = self.tail.as_ref().and_then(Tail::due).map(|due| due.since(now));
        let changed = async {
            if self.durable.changed().await.is_err() {
                // The ledger is closed: the process is about to end, and the listener with it.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = changed => true,
            () = tokio::time::sleep(due.unwrap_or(QUIET).min(QUIET)) => due.is_some_and(|due| due < QUIET),
        }
    }

    async fn read(&mut self) -> Result<Vec<Row>, Refused> {
        let broken = || Refused::unavailable("the tail failed; begin again");
        let mut tail = self.tail.take().ok_or_else(broken)?;
        let now = self.api.now();
        let task = tokio::task::spawn_blocking(move || {
            let rows = tail.poll(now, ROWS, RECORDS);
            (tail, rows)
        });
        let (tail, rows) = task.await.map_err(|_| broken())?;
        self.tail = Some(tail);
        rows.map_err(|error| unreadable(&error))
    }

    /// Looks at the session again; a person who may see less than before begins anew.
    async fn look_again(&mut self) -> Result<(), Refused> {
        self.revision = self.api.parts.store.revision();
        self.looked = Instant::now();
        self.asker = self.asker.still(&self.api).await?;
        Ok(())
    }

    fn lines(&mut self, rows: &[Row]) -> Bytes {
        self.shown = self.shown.saturating_add(super::records::count(rows.len()));
        let position = self.tail.as_ref().and_then(Tail::position);
        let mut text = String::new();
        for (at, row) in rows.iter().enumerate() {
            // Only behind the last one is it true that nothing before it is missing.
            let position = position.filter(|_| at + 1 == rows.len());
            let line = match position {
                Some(position) => json!({"record": row, "position": position}),
                None => json!({"record": row}),
            };
            text.push_str(&line.to_string());
            text.push('\n');
        }
        Bytes::from(text)
    }

    fn alive(&self) -> Bytes {
        let tail = self.tail.as_ref();
        let (position, folded) = (tail.and_then(Tail::position), tail.map(Tail::folded));
        line(&json!({"alive": {"folded": folded}, "position": position}))
    }

    fn end(&mut self, refused: &Refused) -> Bytes {
        self.ended = true;
        line(&json!({"end": refused.description, "code": refused.error}))
    }
}

impl Drop for Following {
    /// Whatever ended it, it is recorded how much was shown.
    fn drop(&mut self) {
        let read = self.asker.reads(&self.api, AuditAct::TailEnded, &self.said, self.shown);
        let api = Arc::clone(&self.api);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // Its begin is recorded; that the end is not stands in the log.
                let _ = api.record(read).await;
            });
        }
    }
}
