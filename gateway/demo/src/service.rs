//! The sample service "shop": a page that shows the headers it received, so that one sees what the gateway vouches for.
//!
//! It believes nothing: whether an assertion is real is for a service's own code to check. `/healthz` answers 200;
//! `/headers` gives the same as JSON.

use std::fmt::Write as _;
use std::net::SocketAddr;

use axum::extract::Request;
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use serde_json::{Value, json};

use crate::identity::page::escape;
use crate::loopback::{self, Listening, StartError};

/// Starts the service.
///
/// # Errors
/// The address is not loopback or is taken.
pub async fn start(address: SocketAddr) -> Result<Listening, StartError> {
    let (listener, address) = loopback::bind(address).await?;
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route(
            "/headers",
            get(|headers: HeaderMap| async move { Json(listed(&headers)) }),
        )
        .fallback(page);
    Ok(loopback::serve(listener, address, None, router))
}

fn listed(headers: &HeaderMap) -> Value {
    headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect()
}

async fn page(request: Request) -> Response {
    let mut rows = String::new();
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        // Writing to a String cannot fail.
        let _written = write!(
            rows,
            "<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
            escape(name.as_str()),
            escape(&value)
        );
    }
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>shop</title><meta name=\"viewport\" \
         content=\"width=device-width\"><style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;\
         max-width:52rem;margin:2rem auto;padding:0 1rem}}table{{border-collapse:collapse;width:100%}}th,td{{text-align:left;\
         vertical-align:top;padding:.35rem .75rem .35rem 0;border-bottom:1px solid #8884;overflow-wrap:anywhere}}\
         th{{white-space:nowrap}}</style></head><body><h1>shop</h1><p><code>{} {}</code></p>\
         <p>A sample service. These are the headers that reached it:</p><table>{rows}</table></body></html>",
        escape(request.method().as_str()),
        escape(&request.uri().to_string()),
    );
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    (
        [(CACHE_CONTROL, "no-store"), (CONTENT_SECURITY_POLICY, policy)],
        Html(html),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Empty};
    use hyper_util::rt::TokioIo;

    use super::*;

    #[tokio::test]
    async fn an_address_that_others_can_reach_is_refused() {
        let refused = start("0.0.0.0:0".parse().unwrap()).await.unwrap_err();
        assert!(matches!(refused, StartError::NotLoopback { .. }), "{refused}");
    }

    #[tokio::test]
    async fn the_page_shows_what_it_received_and_escapes_it() {
        let listening = start("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let stream = tokio::net::TcpStream::connect(listening.address()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = Request::get("/cart")
            .header("host", "shop")
            .header("x-user", "<script>");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let body = sender
            .send_request(request)
            .await
            .unwrap()
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes();
        let page = String::from_utf8(body.to_vec()).unwrap();
        assert!(
            page.contains("<th scope=\"row\">x-user</th><td>&lt;script&gt;</td>"),
            "{page}"
        );
    }
}
