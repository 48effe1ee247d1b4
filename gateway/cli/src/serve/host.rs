//! The gateway host behind the listener: hands requests to the console's router and its answers back.

use std::net::{IpAddr, Ipv4Addr};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use console::ServiceRefusal;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use model::service::HostName;
use proxy::audit::Trail;
use proxy::body::Outbound;
use proxy::listener::Inbound;
use proxy::request::plain;
use proxy::site::{GatewayHost, Told, WELL_KNOWN};
use tower::ServiceExt as _;

/// The console's routers as the gateway host, and as what answers for it on hosts of services.
#[derive(Clone, Debug)]
pub(super) struct ConsoleHost {
    router: Router,
    services: Router,
    document: Bytes,
    /// Whether the gateway's URL is https.
    secure: bool,
}

impl ConsoleHost {
    /// Serves `router`, and `services` on hosts of services. `document` is the answer to `/.well-known/gatescribe`, which is asked of Kubernetes listeners too:
    /// there the host name is not the gateway's, and the router would send the asker away.
    pub(super) fn new(router: Router, services: Router, document: &serde_json::Value, secure: bool) -> Self {
        Self {
            router,
            services,
            document: document.to_string().into(),
            secure,
        }
    }
}

impl GatewayHost for ConsoleHost {
    fn serve<'a>(&'a self, trail: &'a Trail, request: Request<Inbound>) -> BoxFuture<'a, Response<Outbound>> {
        if request.method() == http::Method::GET && request.uri().path() == WELL_KNOWN {
            let mut answer = plain(http::StatusCode::OK, self.document.clone());
            answer.headers_mut().insert(
                http::header::CONTENT_TYPE,
                http::HeaderValue::from_static("application/json"),
            );
            return Box::pin(std::future::ready(answer));
        }
        let request = from_peer(trail, request);
        Box::pin(async move { through(self.router.clone(), request).await })
    }

    fn serve_at_service<'a>(
        &'a self,
        trail: &'a Trail,
        host: &'a HostName,
        request: Request<Inbound>,
    ) -> BoxFuture<'a, Response<Outbound>> {
        let mut request = from_peer(trail, request);
        request.extensions_mut().insert(console::AtHost(host.clone()));
        Box::pin(async move { through(self.services.clone(), request).await })
    }

    fn refusal_page(&self, told: &Told<'_>) -> Response<Bytes> {
        let Told {
            status,
            why,
            remedy,
            service,
            user,
            id,
            sign_in,
        } = *told;
        let told = ServiceRefusal {
            status,
            why,
            remedy,
            service,
            user,
            id,
            sign_in,
        };
        console::service_refusal_page(&told, self.secure)
    }
}

/// The request with what the console has to know of who sent it.
fn from_peer(trail: &Trail, request: Request<Inbound>) -> Request<Body> {
    let peer = console::Peer {
        ip: trail.peer.ip.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        port: trail.peer.port,
        listener: trail.peer.listener.to_string(),
    };
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    request
}

async fn through(router: Router, request: Request<Body>) -> Response<Outbound> {
    let answer = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    answer.map(|body| Outbound::host(body.map_err(Into::into).boxed_unsync()))
}
