//! The gateway host behind the listener: hands requests to the console's router and its answers back.

use std::net::{IpAddr, Ipv4Addr};

use axum::Router;
use axum::body::Body;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use proxy::audit::Trail;
use proxy::body::Outbound;
use proxy::listener::Inbound;
use proxy::site::GatewayHost;
use tower::ServiceExt as _;

/// The console's router as the gateway host.
#[derive(Clone, Debug)]
pub(super) struct ConsoleHost {
    router: Router,
}

impl ConsoleHost {
    /// Serves `router`.
    #[must_use]
    pub(super) const fn new(router: Router) -> Self {
        Self { router }
    }
}

impl GatewayHost for ConsoleHost {
    fn serve<'a>(&'a self, trail: &'a Trail, request: Request<Inbound>) -> BoxFuture<'a, Response<Outbound>> {
        let peer = console::Peer {
            ip: trail.peer.ip.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            port: trail.peer.port,
            listener: trail.peer.listener.to_string(),
        };
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        Box::pin(async move {
            let answer = match self.router.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            answer.map(|body| Outbound::host(body.map_err(Into::into).boxed_unsync()))
        })
    }
}
