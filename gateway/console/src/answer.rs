//! Answers: OAuth errors as JSON (RFC 6749 §5.2), and what every answer of the gateway host carries.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use model::subject::SubjectId;
use serde_json::{Value, json};

use crate::door::Tally;
use crate::page::Page;

/// An answer to a program that asked wrongly, or that cannot be served now.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) error: &'static str,
    pub(crate) description: String,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) more: Option<(&'static str, Value)>,
    /// What the ledger is to learn of it, where no handler has recorded it; a 401 always says so.
    pub(crate) tally: Option<Box<Tally>>,
}

impl Refused {
    pub(crate) fn new(status: StatusCode, error: &'static str, description: impl Into<String>) -> Self {
        Self {
            status,
            error,
            description: description.into(),
            retry_after: None,
            more: None,
            tally: None,
        }
    }

    pub(crate) fn request(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    pub(crate) fn grant(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_grant", description)
    }

    pub(crate) fn unavailable(description: impl Into<String>) -> Self {
        let mut refused = Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description);
        refused.retry_after = Some(Duration::from_secs(5));
        refused
    }

    pub(crate) fn too_often(wait: Duration) -> Self {
        let seconds = wait.as_secs() + 1;
        let mut refused = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "slow_down",
            format!("too many attempts from this address; try again in {seconds} s"),
        );
        refused.tally = Some(Box::new(Tally::Counted(None)));
        refused.retry_after = Some(Duration::from_secs(seconds));
        refused
    }

    /// A person asks for more than one person may.
    pub(crate) fn too_many_of_yours(subject: &SubjectId, wait: Duration) -> Self {
        let seconds = wait.as_secs() + 1;
        let mut refused = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "slow_down",
            format!("too many requests of yours; try again in {seconds} s"),
        );
        refused.retry_after = Some(Duration::from_secs(seconds));
        refused.tally = Some(Box::new(Tally::Counted(Some(subject.clone()))));
        refused
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let tally = match self.tally {
            None if self.status == StatusCode::UNAUTHORIZED => Some(Tally::WrongCredential(self.description.clone())),
            said => said.map(|tally| *tally),
        };
        let mut body = json!({"error": self.error, "error_description": self.description});
        if let (Some((name, value)), Some(members)) = (self.more, body.as_object_mut()) {
            members.insert(name.to_owned(), value);
        }
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"gatescribe\""),
            );
        }
        if let Some(tally) = tally {
            response.extensions_mut().insert(tally);
        }
        response
    }
}

/// The page in place of [`Refused`] where a browser asked.
pub(crate) fn too_often_page(wait: Duration) -> Page {
    let seconds = wait.as_secs() + 1;
    Page::error(
        StatusCode::TOO_MANY_REQUESTS,
        "Too many attempts",
        "Too many sign-ins were started from your network address in a short time.",
        &format!("Wait {seconds} seconds, then try again."),
    )
    .tally(Tally::Counted(None))
}

pub(crate) fn unavailable_page() -> Page {
    Page::error(
        StatusCode::SERVICE_UNAVAILABLE,
        "Not possible right now",
        "The gateway could not store or record the sign-in, so it did not happen.",
        "Try again in a minute. If it stays so, tell the administrator; the gateway's log says more.",
    )
    .retry_after(5)
}

/// See other: the browser goes on with GET, whatever it sent.
pub(crate) fn see_other(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return unavailable_page().into_response();
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// On each answer of the host, whatever made it.
pub(crate) fn harden<B>(mut response: http::Response<B>, secure: bool) -> http::Response<B> {
    let headers = response.headers_mut();
    let mut always = |name, value| headers.insert(name, HeaderValue::from_static(value));
    always(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    always(header::REFERRER_POLICY, "no-referrer");
    always(header::X_FRAME_OPTIONS, "DENY");
    always(
        header::HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    if secure {
        always(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    // What holds nothing of a person says so itself (discovery, keys); all else is kept by nobody.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    response
}
