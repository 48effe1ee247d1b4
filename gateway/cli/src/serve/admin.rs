//! The operators' listener: health with reasons, metrics. It never shares a port with anything a stranger can reach.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

/// What `/readyz` looks at.
pub(super) type Check = Box<dyn Fn() -> Health + Send + Sync>;

/// How a part of the gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Well.
    Good,
    /// It serves, and a person should know this.
    But(String),
    /// It cannot serve, for this reason.
    NotReady(String),
}

impl Health {
    pub(super) fn unless(trouble: Option<String>) -> Self {
        trouble.map_or(Self::Good, Self::NotReady)
    }
}

struct Shared {
    checks: Vec<(String, Check)>,
    metrics: Registry,
}

/// Serves until `stop`.
pub(super) async fn serve(
    address: &str,
    checks: Vec<(String, Check)>,
    metrics: Registry,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let socket = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on the admin address `{address}`"))?;
    let shared = Arc::new(Shared { checks, metrics });
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .with_state(shared);
    tokio::spawn(async move {
        let served = axum::serve(socket, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(error = %error, "the admin listener has ended");
        }
    });
    Ok(())
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    // The checks ask the database and take locks: not on a thread that serves requests.
    let said = tokio::task::spawn_blocking(move || verbose(&shared.checks)).await;
    said.map_or_else(
        |_| StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        IntoResponse::into_response,
    )
}

/// One line for each check and one for all, as the API server's own `/readyz?verbose`.
fn verbose(checks: &[(String, Check)]) -> (StatusCode, String) {
    let mut ready = true;
    let mut text = String::new();
    for (name, check) in checks {
        match check() {
            Health::Good => text.push_str(&format!("[+] {name} ok\n")),
            Health::But(what) => text.push_str(&format!("[+] {name} ok, but: {what}\n")),
            Health::NotReady(why) => {
                ready = false;
                text.push_str(&format!("[-] {name} not ready: {why}\n"));
            }
        }
    }
    let (status, sum) = if ready {
        (StatusCode::OK, "passed")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "failed")
    };
    text.push_str(&format!("readyz check {sum}\n"));
    (status, text)
}

async fn scrape(State(shared): State<Arc<Shared>>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &shared.metrics) {
        Ok(()) => (
            [(
                header::CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_its_line_and_one_that_fails_fails_all() {
        let check = |health: Health| -> Check { Box::new(move || health.clone()) };
        let mut checks = vec![
            ("a".to_owned(), check(Health::Good)),
            ("b".to_owned(), check(Health::But("half".to_owned()))),
        ];
        let (status, text) = verbose(&checks);
        assert_eq!(
            (status, text.as_str()),
            (StatusCode::OK, "[+] a ok\n[+] b ok, but: half\nreadyz check passed\n")
        );
        checks.push(("c".to_owned(), check(Health::NotReady("no disk".to_owned()))));
        checks.push(("d".to_owned(), check(Health::NotReady("no keys".to_owned()))));
        let (status, text) = verbose(&checks);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            text.ends_with("[-] c not ready: no disk\n[-] d not ready: no keys\nreadyz check failed\n"),
            "{text}"
        );
    }
}
