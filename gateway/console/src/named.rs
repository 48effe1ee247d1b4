//! `Gatescribe-Record` on an answer of the API: the id of the record that says what was read.
//!
//! The record is written somewhere below, by whichever handler reads, so its id comes to the answer through the task and not through
//! every handler. Where one question leaves several records the first one is named: what came after it is told in it.

use std::cell::OnceCell;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};

/// As on answers of clusters.
static RECORD: HeaderName = HeaderName::from_static("gatescribe-record");

tokio::task_local! {
    static WRITTEN: OnceCell<String>;
}

/// Lets the answer to this request name the record of it, if there is one.
pub(super) async fn answers(request: Request, next: Next) -> Response {
    let answering = async {
        let response = next.run(request).await;
        (response, WRITTEN.with(|written| written.get().cloned()))
    };
    let (mut response, id) = WRITTEN.scope(OnceCell::new(), answering).await;
    if let Some(id) = id.and_then(|id| HeaderValue::try_from(id).ok()) {
        response.headers_mut().insert(&RECORD, id);
    }
    response
}

/// The answer is to name this record; nothing where no answer is awaited any more, as at the end of a tail.
pub(super) fn by(id: String) {
    let _ = WRITTEN.try_with(|written| drop(written.set(id)));
}
