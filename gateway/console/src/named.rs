//! `Gatescribe-Record` on an answer of the gateway host: the id of the record that says what was read or done.
//!
//! The record is written somewhere below, by whichever handler reads or acts, so its id comes to the answer through the task and not
//! through every handler. Where one request leaves several records the first one is named: what came after it is told in it, or
//! beside it under the same session.

use std::sync::{Arc, OnceLock};

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};

/// As on answers of clusters.
static RECORD: HeaderName = HeaderName::from_static("gatescribe-record");

tokio::task_local! {
    static WRITTEN: Arc<OnceLock<String>>;
}

/// Lets the answer to this request name the record of it, if there is one.
pub(crate) async fn answers(request: Request, next: Next) -> Response {
    let written = Arc::default();
    let mut response = WRITTEN.scope(Arc::clone(&written), next.run(request)).await;
    let id = written.get().and_then(|id| HeaderValue::try_from(id).ok());
    // Whoever stands further in knows the first record.
    if let Some(id) = id.filter(|_| !response.headers().contains_key(&RECORD)) {
        response.headers_mut().insert(&RECORD, id);
    }
    response
}

/// The answer is to name this record; nothing where no answer is awaited any more, as at the end of a tail.
pub(crate) fn by(id: String) {
    let _ = WRITTEN.try_with(|written| drop(written.set(id)));
}

/// The same work for another task: what it writes is named by the answer that is awaited here.
pub(crate) fn carried<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let written = WRITTEN.try_with(Arc::clone).unwrap_or_default();
    WRITTEN.scope(written, work)
}
