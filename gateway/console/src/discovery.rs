//! What clients need to know first, and the keys of our tokens. Public, the same for everybody.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::header;
use serde_json::{Value, json};

use crate::app::App;
use crate::settings::{ClusterEntry, GatewayUrl};

/// Where services find the keys of what is asserted to them: never among those of tokens, so that neither passes for the other.
pub(crate) const ASSERTION_KEYS: &str = "/.well-known/gatescribe/assertions/jwks";

/// `/.well-known/gatescribe`, also answered on Kubernetes listeners, which is why it is a function of its own.
#[must_use]
pub fn gatescribe_document(url: &GatewayUrl, clusters: &[ClusterEntry]) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "url": url.as_str(),
        "issuer": url.as_str(),
        "clusters": clusters,
        "authorizationEndpoint": url.at("/authorize"),
        "tokenEndpoint": url.at("/token"),
        "deviceAuthorizationEndpoint": url.at("/device_authorization"),
        "revocationEndpoint": url.at("/revoke"),
        "userinfoEndpoint": url.at("/userinfo"),
        "jwksUri": url.at("/jwks"),
        "assertionJwksUri": url.at(ASSERTION_KEYS),
        "auditEndpoint": url.at("/api/v1/audit"),
    })
}

pub(crate) async fn document(State(app): State<App>) -> impl IntoResponse {
    let clusters = app.parts.clusters.borrow().clone();
    let document = gatescribe_document(&app.parts.url, &clusters);
    ([(header::CACHE_CONTROL, "public, max-age=60")], Json(document))
}

pub(crate) async fn keys(State(app): State<App>) -> impl IntoResponse {
    key_set(crate::minting::jwks(&app))
}

pub(crate) async fn assertion_keys(State(app): State<App>) -> impl IntoResponse {
    key_set(crate::minting::assertion_jwks(&app))
}

fn key_set(keys: String) -> impl IntoResponse {
    let headers = [
        (header::CACHE_CONTROL, "public, max-age=300"),
        (header::CONTENT_TYPE, "application/jwk-set+json"),
    ];
    (headers, keys)
}
