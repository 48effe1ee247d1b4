//! The operators' listener: health with reasons, metrics. It never shares a port with anything a stranger can reach.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use model::cluster::ClusterId;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

/// What `/readyz` looks at.
pub(crate) type Check = Box<dyn Fn() -> Health + Send + Sync>;

/// How a part of the gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Well.
    Good,
    /// It serves, and a person should know this.
    But(String),
    /// It cannot serve, for this reason.
    NotReady(String),
}

impl Health {
    pub(crate) fn unless(trouble: Option<String>) -> Self {
        trouble.map_or(Self::Good, Self::NotReady)
    }
}

/// One line of `/readyz`.
pub(crate) struct Part {
    pub(crate) name: String,
    /// Whose calls are refused while it is not ready; without one, everybody's.
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) check: Check,
}

/// So long after the start every cluster is waited for. Most are there within a second; one that is not must not keep the
/// others' people out.
const WAITS_FOR_ALL: Duration = Duration::from_secs(30);

struct Shared {
    parts: Vec<Part>,
    metrics: Registry,
    started: Instant,
}

/// Serves until `stop`.
pub(crate) async fn serve(
    address: &str,
    parts: Vec<Part>,
    metrics: Registry,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let socket = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on the admin address `{address}`"))?;
    let shared = Arc::new(Shared {
        parts,
        metrics,
        started: Instant::now(),
    });
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
    let clusters = if shared.started.elapsed() < WAITS_FOR_ALL {
        Clusters::All
    } else {
        Clusters::Any
    };
    // The checks ask the database and take locks: not on a thread that serves requests.
    let said = tokio::task::spawn_blocking(move || verbose(&shared.parts, clusters)).await;
    said.map_or_else(
        |_| StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        IntoResponse::into_response,
    )
}

/// How many clusters have to be usable.
#[derive(Clone, Copy)]
enum Clusters {
    All,
    Any,
}

/// One line for each part and one for all, as the API server's own `/readyz?verbose`. Who asks is a load balancer, and it
/// takes the whole gateway away: a cluster that cannot be used must not take the others with it.
fn verbose(parts: &[Part], needed: Clusters) -> (StatusCode, String) {
    let mut text = String::new();
    let mut gateway = true;
    let mut clusters: BTreeMap<&str, bool> = BTreeMap::new();
    for part in parts {
        let name = &part.name;
        let health = (part.check)();
        let well = !matches!(health, Health::NotReady(_));
        match health {
            Health::Good => text.push_str(&format!("[+] {name} ok\n")),
            Health::But(what) => text.push_str(&format!("[+] {name} ok, but: {what}\n")),
            Health::NotReady(why) => text.push_str(&format!("[-] {name} not ready: {why}\n")),
        }
        match &part.cluster {
            None => gateway &= well,
            Some(id) => *clusters.entry(id.as_str()).or_insert(true) &= well,
        }
    }
    let without: Vec<&str> = clusters.iter().filter(|(_, well)| !**well).map(|(id, _)| *id).collect();
    let enough = match needed {
        Clusters::All => without.is_empty(),
        Clusters::Any => without.is_empty() || without.len() < clusters.len(),
    };
    if !(gateway && enough) {
        text.push_str("readyz check failed\n");
        return (StatusCode::SERVICE_UNAVAILABLE, text);
    }
    match &without[..] {
        [] => text.push_str("readyz check passed\n"),
        ids => text.push_str(&format!("readyz check passed, without cluster {}\n", ids.join(", "))),
    }
    (StatusCode::OK, text)
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

    fn part(name: &str, cluster: Option<&str>, health: Health) -> Part {
        Part {
            name: name.to_owned(),
            cluster: cluster.map(|id| ClusterId::new(id).unwrap()),
            check: Box::new(move || health.clone()),
        }
    }

    #[test]
    fn every_check_has_its_line_and_one_of_the_gateways_that_fails_fails_all() {
        let mut parts = vec![
            part("a", None, Health::Good),
            part("b", None, Health::But("half".to_owned())),
        ];
        let (status, text) = verbose(&parts, Clusters::Any);
        assert_eq!(
            (status, text.as_str()),
            (StatusCode::OK, "[+] a ok\n[+] b ok, but: half\nreadyz check passed\n")
        );
        parts.push(part("cluster x", Some("x"), Health::Good));
        parts.push(part("c", None, Health::NotReady("no disk".to_owned())));
        parts.push(part("d", None, Health::NotReady("no keys".to_owned())));
        let (status, text) = verbose(&parts, Clusters::Any);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            text.ends_with("[-] c not ready: no disk\n[-] d not ready: no keys\nreadyz check failed\n"),
            "{text}"
        );
    }

    #[test]
    fn one_cluster_that_cannot_be_used_takes_none_of_the_others_away() {
        let stale = || Health::NotReady("nothing heard".to_owned());
        let mut parts = vec![
            part("ledger", None, Health::Good),
            part("cluster east", Some("east"), stale()),
            part("cluster east observer", Some("east"), Health::Good),
            part("cluster west", Some("west"), Health::Good),
        ];
        let (status, text) = verbose(&parts, Clusters::Any);
        assert_eq!(
            (status, text.as_str()),
            (
                StatusCode::OK,
                "[+] ledger ok\n[-] cluster east not ready: nothing heard\n[+] cluster east observer ok\n\
                 [+] cluster west ok\nreadyz check passed, without cluster east\n"
            )
        );
        let (status, text) = verbose(&parts, Clusters::All);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");

        parts.push(part("cluster west impersonator", Some("west"), stale()));
        let (status, text) = verbose(&parts, Clusters::Any);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
        assert!(text.ends_with("\nreadyz check failed\n"), "{text}");
    }

    #[test]
    fn the_only_cluster_counts_for_all() {
        let parts = [part(
            "cluster a",
            Some("a"),
            Health::NotReady("not listed yet".to_owned()),
        )];
        assert_eq!(verbose(&parts, Clusters::Any).0, StatusCode::SERVICE_UNAVAILABLE);
    }
}
