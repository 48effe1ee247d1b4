//! What the handlers share, and the router.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};
use model::service::HostName;
use model::time::Timestamp;
use state::{SessionId, StateError, Store};
use tokio::sync::watch;

use crate::answer::Refused;
use crate::caller::Caller;
use crate::door::{door, nothing_here};
use crate::limit::{Act, Limiter};
use crate::minting::GatewayKeys;
use crate::record::{NotRecorded, Recorder, SessionEvent};
use crate::renewal::Renewals;
use crate::settings::{ClusterEntry, GatewayUrl, Lifetimes};
use crate::upstream::{Issuers, There};
use crate::workloads::Workloads;
use crate::{at_service, device, discovery, logout, named, reason, signin, token, userinfo};

/// Most bytes of a form.
const MAX_FORM: usize = 32 * 1024;

/// What the composition root hands over.
pub struct Parts {
    /// The gateway's own URL.
    pub url: GatewayUrl,
    /// How long things last.
    pub lifetimes: Lifetimes,
    /// Sessions and codes.
    pub store: Arc<Store>,
    /// The providers, as they are known now.
    pub issuers: Arc<dyn Issuers>,
    /// The clusters, as clients see them.
    pub clusters: watch::Receiver<Arc<[ClusterEntry]>>,
    /// The way to the ledger.
    pub recorder: Arc<dyn Recorder>,
    /// The keys of the gateway's own tokens.
    pub keys: Arc<GatewayKeys>,
    /// Whether a service is published under this host now. Asked for each browser that is sent there or comes from there.
    pub is_published: Arc<dyn Fn(&HostName) -> bool + Send + Sync>,
    /// Who calls as a workload, and for whom it may act.
    pub workloads: Arc<dyn Workloads>,
    /// Now.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("url", &self.url).finish_non_exhaustive()
    }
}

pub(crate) type App = Arc<Inner>;

pub(crate) struct Inner {
    pub(crate) parts: Parts,
    pub(crate) limiter: Limiter,
    /// Which providers answer.
    pub(crate) there: There,
    /// One renewal at a time for each session; entries vanish with their last holder.
    pub(crate) renewals: Mutex<HashMap<SessionId, Weak<tokio::sync::Mutex<()>>>>,
}

/// Store or ledger cannot be used; the details are in the log, not in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unavailable;

impl From<Unavailable> for Refused {
    fn from(_: Unavailable) -> Self {
        Self::unavailable("the gateway cannot store or record this right now; nothing was changed, try again")
    }
}

impl Inner {
    pub(crate) fn now(&self) -> Timestamp {
        (self.parts.clock)()
    }

    /// Works with the store on a thread that may block. Once begun it is finished, also when the caller has gone.
    pub(crate) async fn store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let store = self.parts.store.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(error = %error, cause, "session store failed");
                Err(Unavailable)
            }
            Err(_) => {
                tracing::error!("session store panicked");
                Err(Unavailable)
            }
        }
    }

    /// Writes an event down; its failure is the caller's to judge. The answer names the record.
    pub(crate) async fn record(&self, event: SessionEvent) -> Result<(), Unavailable> {
        let written = self.parts.recorder.record(event).await.map_err(|NotRecorded(why)| {
            tracing::error!(why, "session event not recorded");
            Unavailable
        })?;
        written.into_iter().for_each(named::by);
        Ok(())
    }

    /// For events whose effect stands already and cannot be taken back (an end of access, a refusal): the failure is
    /// in the log, and the answer stays what it is.
    pub(crate) async fn record_after(&self, event: SessionEvent) {
        let _ = self.record(event).await;
    }

    /// A credential that is none, or none any more: recorded up to a rate for each source; an error above it, for
    /// which the caller's answer must be counted ([`crate::door::Tally`]).
    pub(crate) async fn wrong_credential(&self, caller: &Caller, event: SessionEvent) -> Result<(), Duration> {
        self.limiter.take(Act::WrongCredential, &caller.source(), self.now())?;
        self.record_after(event).await;
        Ok(())
    }
}

/// What answers for the gateway.
#[derive(Debug)]
pub struct Hosts {
    /// On its own host.
    pub gateway: Router,
    /// On the hosts of services, for paths of ours alone. Each request has to carry [`AtHost`].
    pub services: Router,
    /// The way to ask about people who do not renew by themselves.
    pub renewals: Renewals,
}

/// The host of a published service that a request came to. The composition root puts it into the request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtHost(pub HostName);

/// All of it. `api` is merged into the gateway host behind the same checks: host, limits, headers.
pub fn hosts(parts: Parts, api: Router) -> Hosts {
    let app: App = Arc::new(Inner {
        parts,
        limiter: Limiter::default(),
        there: There::default(),
        renewals: Mutex::new(HashMap::new()),
    });
    let renewals = Renewals::new(app.clone());
    let gateway = Router::new()
        .route("/", get(signin::home))
        .route("/.well-known/gatescribe", get(discovery::document))
        .route(discovery::ASSERTION_KEYS, get(discovery::assertion_keys))
        .route("/authorize", get(signin::authorize))
        .route("/signin", get(signin::browser))
        .route("/callback", get(signin::callback))
        .route("/callback/{provider}", get(signin::callback))
        .route("/token", post(token::token))
        .route("/device_authorization", post(device::authorization))
        .route("/device", get(device::page).post(device::entered))
        .route("/device/answer", post(device::answered))
        .route("/revoke", post(logout::revoke))
        .route("/logout", get(logout::page).post(logout::logout))
        .route("/signed-out", get(logout::signed_out))
        .route("/backchannel-logout", post(logout::back_channel))
        .route("/frontchannel-logout", get(logout::front_channel))
        .route("/jwks", get(discovery::keys))
        .route("/userinfo", get(userinfo::userinfo))
        .route("/api/v1/reason", post(reason::state).delete(reason::take_back))
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .with_state(app.clone())
        .merge(api)
        .fallback(nothing_here)
        .layer(middleware::from_fn_with_state(app.clone(), door))
        .layer(middleware::from_fn(named::answers));
    Hosts {
        gateway,
        services: at_service::routes(app),
        renewals,
    }
}
