//! The gateway's own API: audit records, `can`, `why`. Bearer tokens of ours with the audience [`crate::API_AUDIENCE`] only.
//!
//! - `GET /api/v1/audit/records?q=&since=&until=&limit=&after=&all=` → [`search::Page`] as JSON
//! - `GET /api/v1/audit/records/{id}` → [`search::Shown`], its sealed parts opened, and the scope
//! - `GET /api/v1/audit/can` → what the asker may read of the ledger
//! - `GET /api/v1/audit/tail?q=&after=&all=` → lines of JSON, see [`tail`]
//! - `GET /api/v1/can?verb=&resource=&…`, or of a service `?host=&method=&path=&public=` → [`CanAnswer`]
//! - `GET /api/v1/bindings` → the bindings that name the asker, by cluster
//! - `GET /api/v1/sessions…`, see [`sessions`]
//! - `GET /api/v1/services…`, `POST /api/v1/service-test`, see [`services`]
//! - `GET …/audit/records/{id}/receipt`, `GET /api/v1/ledger/…`, see [`proof`]
//! - `GET /api/v1/evidence?q=&since=&until=&sample=&seed=`, see `evidence.rs`
//! - `/api/v1/erasures…`, `/api/v1/holds…`, see [`erasures`]
//! - `POST /api/v1/users/lock` and `…/unlock`, `GET …/locks`, see [`users`]
//! - `GET /api/v1/why/{id|last}` → what was decided about one call, as it was recorded
//!
//! Invariants:
//! - Without an audit role one sees one's own records only, and is told so. A role is membership in a configured group, looked up in
//!   the session as it stands now, not in the token; what it shows is asked of [`search::Scope`] and nowhere else.
//! - What is read of the ledger is itself recorded before it is shown, and the answer names that record; what cannot be recorded is
//!   not shown.
//! - Searches run on threads that may block, a few at a time, each with a budget; who comes when all places are taken is told so.
//!
//! Not here: how records are found (crate `search`), how rights are decided (behind [`Explain`]).

mod asker;
mod can;
pub mod erasures;
mod evidence;
mod parameters;
mod parts;
mod places;
pub mod proof;
mod read;
mod records;
mod rights;
pub mod services;
pub mod sessions;
pub mod tail;
pub mod users;
mod why;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use model::time::Timestamp;
use state::Store;
use tokio::sync::watch;

pub use can::{AskedService, Asking, Bound, CanAnswer, CanQuestion, CannotExplain, Explain};
pub use erasures::{Erases, ErasureAct, ErasureEvent};
pub use parts::{Opened, OpensParts};
pub use proof::{NoProof, Proves};
pub use read::{AuditAct, AuditRead, AuditRecorder, Written};
pub use sessions::{CannotOpen, Sessions};
pub use users::LocksInForce;

use crate::answer::Refused;
use crate::limit::Limiter;
use crate::minting::GatewayKeys;
use crate::named;
use crate::record::Recorder;
use places::Places;

/// How long one search or view may take.
const SEARCH_TIME: Duration = Duration::from_secs(5);
/// How long a recording may be held against the ledger for a view, and before it is read: less than a client waits for an answer, and
/// for the first line of one.
const EXAMINE_TIME: Duration = Duration::from_secs(10);
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
const OPEN_TIME: Duration = Duration::from_secs(60);
/// How long one receipt or tile may take.
const PROOF_TIME: Duration = Duration::from_secs(10);
/// How long it may take to look at everything that a pack of evidence counts, and to prove what is in it: together less than a client
/// waits for the answer's head.
const SURVEY_TIME: Duration = Duration::from_secs(60);
const PACK_TIME: Duration = Duration::from_secs(20);
/// Bytes of records that one search may read.
const SEARCH_BYTES: u64 = 1 << 30;

/// Most bytes of a question's body.
const MAX_BODY: usize = 16 << 10;

/// What the composition root hands over.
pub struct ApiParts {
    /// The keys of the gateway's own tokens.
    pub keys: Arc<GatewayKeys>,
    /// Sessions.
    pub store: Arc<Store>,
    /// The ledger, for reading ([`search::Archive::live`]).
    pub archive: Arc<search::Archive>,
    /// The number of durable records; changes wake the tails (`Ledger::on_durable`).
    pub durable: watch::Receiver<u64>,
    /// Where reading is recorded.
    pub recorder: Arc<dyn AuditRecorder>,
    /// What answers `can`.
    pub explain: Arc<dyn Explain>,
    /// Where what somebody does to a session is recorded.
    pub events: Arc<dyn Recorder>,
    /// Sessions under way, and recordings.
    pub sessions: Arc<dyn Sessions>,
    /// Published services.
    pub services: Arc<dyn services::Published>,
    /// Opens what stands sealed beside records.
    pub opener: Arc<dyn OpensParts>,
    /// Proves what is in the ledger.
    pub proves: Arc<dyn Proves>,
    /// What makes the request path see the store's locks.
    pub locks: Arc<dyn LocksInForce>,
    /// What erasing needs.
    pub erases: Arc<dyn Erases>,
    /// Members of one of these groups see everybody's records; an empty list means nobody does.
    pub audit_groups: Vec<String>,
    /// Members of others see a part of them.
    pub audit_roles: Vec<RoleOf>,
    /// Now.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// Who has an audit role.
#[derive(Clone, Debug)]
pub struct RoleOf {
    /// Members of one of these have it.
    pub groups: Vec<String>,
    /// What it shows.
    pub role: Arc<search::AuditRole>,
}

impl fmt::Debug for ApiParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiParts")
            .field("audit_groups", &self.audit_groups)
            .field("audit_roles", &self.audit_roles)
            .finish_non_exhaustive()
    }
}

type Api = Arc<Inner>;

struct Inner {
    parts: ApiParts,
    limiter: Limiter,
    /// How long one search or view may take.
    search_time: Duration,
    /// How long a recording may be held against the ledger for a view.
    examine_time: Duration,
    /// How long it may be before it is read.
    open_time: Duration,
    /// How long a reader of a cast or text hears nothing while there is nothing to show.
    sign_of_life: Duration,
    /// How long one receipt or tile may take.
    proof_time: Duration,
    /// How long a pack's survey may take, and its proofs.
    survey_time: Duration,
    pack_time: Duration,
    searches: Arc<Places>,
    /// Receipts and tiles. Not among the searches: who copies the tree asks for thousands, several at once.
    proofs: Arc<Places>,
    /// Packs of evidence: each looks at everything within its bounds. Those with an audit role have places of their own, which nobody without
    /// can take.
    packs: Arc<Places>,
    packs_of_all: Arc<Places>,
    /// Recordings that are held against the ledger for a view. Not among the searches: one works for seconds where a file is long.
    examinations: Arc<Places>,
    tails: Arc<Places>,
    /// Recordings that are read now.
    plays: Arc<Places>,
    /// One agreement or hold after the other.
    erasing: tokio::sync::Mutex<()>,
}

/// The API's routes, to be merged into the router of the gateway host in [`crate::hosts`].
pub fn router(parts: ApiParts) -> Router {
    routes(Arc::new(inner(parts)))
}

fn inner(parts: ApiParts) -> Inner {
    Inner {
        parts,
        limiter: Limiter::default(),
        search_time: SEARCH_TIME,
        examine_time: EXAMINE_TIME,
        open_time: OPEN_TIME,
        sign_of_life: SIGN_OF_LIFE,
        proof_time: PROOF_TIME,
        survey_time: SURVEY_TIME,
        pack_time: PACK_TIME,
        // Two cores serve the request path besides; one person cannot take all places.
        searches: Places::new(4, 2),
        proofs: Places::new(8, 4),
        packs: Places::new(2, 1),
        packs_of_all: Places::new(2, 1),
        examinations: Places::new(4, 2),
        tails: Places::new(256, 8),
        plays: Places::new(32, 4),
        erasing: tokio::sync::Mutex::default(),
    }
}

fn routes(api: Api) -> Router {
    Router::new()
        .route("/api/v1/audit/records", get(records::search))
        .route("/api/v1/audit/records/{id}", get(records::show))
        .route("/api/v1/audit/records/{id}/receipt", get(proof::receipt))
        .route("/api/v1/audit/can", get(rights::rights))
        .route("/api/v1/audit/tail", get(tail::tail))
        .route("/api/v1/evidence", get(evidence::pack))
        .route("/api/v1/can", get(can::can))
        .route("/api/v1/bindings", get(can::bindings))
        .route("/api/v1/why/{id}", get(why::why))
        .route("/api/v1/ledger/checkpoint", get(proof::checkpoint))
        .route("/api/v1/ledger/tile/{*path}", get(proof::tile))
        .route("/api/v1/sessions", get(sessions::list))
        .route("/api/v1/sessions/{id}", get(sessions::show))
        .route("/api/v1/sessions/{id}/recording", get(sessions::recording))
        .route("/api/v1/sessions/{id}/end", post(sessions::end))
        .route("/api/v1/services", get(services::list))
        .route("/api/v1/services/{name}", get(services::show))
        .route("/api/v1/service-test", post(services::test))
        .route("/api/v1/users/locks", get(users::list))
        .route("/api/v1/users/lock", post(users::lock))
        .route("/api/v1/users/unlock", post(users::unlock))
        .route("/api/v1/erasures", get(erasures::list).post(erasures::ask))
        .route("/api/v1/erasures/{id}/agree", post(erasures::agree))
        .route("/api/v1/erasures/{id}/withdraw", post(erasures::withdraw))
        .route("/api/v1/part-keys/rotate", post(erasures::rotate::rotate))
        .route(
            "/api/v1/holds",
            get(erasures::holds::list).post(erasures::holds::create),
        )
        .route("/api/v1/holds/{id}/release", post(erasures::holds::release))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn(named::answers))
        .with_state(api)
}

impl Inner {
    fn now(&self) -> Timestamp {
        (self.parts.clock)()
    }

    /// Records that somebody reads, or refuses to go on; gives the number of the record. The answer names it.
    async fn record(&self, read: AuditRead) -> Result<u64, Refused> {
        let written = self.parts.recorder.audit_read(read).await.map_err(|error| {
            tracing::error!(error = %error, "reading of audit records not recorded");
            Refused::unavailable("that you read records could not be recorded, so nothing is shown; try again")
        })?;
        named::by(written.id);
        Ok(written.seq)
    }
}

fn unreadable(error: &search::SearchError) -> Refused {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(error = %error, cause, "the ledger cannot be read");
    Refused::unavailable("the ledger cannot be read right now; the gateway's log says more")
}

#[cfg(test)]
pub(crate) mod tests;
