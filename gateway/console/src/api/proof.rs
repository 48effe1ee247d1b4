//! Proofs: that a record is in the signed ledger, and the tree that shows it, as C2SP tlog-tiles for any client.
//!
//! - `GET /api/v1/audit/records/{id}/receipt?of=begin|end` → the record with its proof (C2SP tlog-proof, `text/plain`)
//! - `GET /api/v1/ledger/checkpoint` → the newest signed checkpoint, of those that are witnessed where witnesses are asked (`text/plain`)
//! - `GET /api/v1/ledger/tile/<L>/<N>[.p/<W>]` → hashes; `…/tile/entries/<N>[.p/<W>]` → the records themselves
//!
//! A receipt is for who may see its record. The hash of a single record (level 0) tells whether a guess of its bytes is right: who is
//! shown an act without its person could try every colleague's name. So these, as the entries, are for those who may see all. What
//! stands above them hashes 256 records at once, and is for everybody who is signed in.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use ledger::{NoReceipt, Spot, TileKind, TilePath, TilesError};
use search::{May, Scope};

use super::Api;
use super::asker::Asker;
use super::evidence::too_much;
use super::parameters::Parameters;
use super::read::AuditAct;
use super::records::{in_place, look_up};
use crate::answer::Refused;
use crate::caller::Caller;
use crate::limit::Act;

/// What vouches for records: the ledger's tree and its signed checkpoints.
pub trait Proves: Send + Sync {
    /// The newest signed checkpoint as text, of those that are witnessed where witnesses are asked ([`ledger::Publisher::served`]); `None` while
    /// nothing is signed.
    fn checkpoint(&self) -> Option<String>;

    /// The receipt of the record that stands here, as text. Blocks, for a moment also until the record is signed, and for as long as
    /// `go_on` says so.
    ///
    /// # Errors
    /// [`NoProof`].
    fn receipt(&self, spot: Spot, go_on: &dyn Fn() -> bool) -> Result<String, NoProof>;

    /// The records that stand here, and the ledger's own record `told` of this statement, each with its proof against one checkpoint
    /// that covers all of them, as text ([`ledger::evidence`]). Blocks as [`Proves::receipt`].
    ///
    /// # Errors
    /// [`NoProof`].
    fn evidence(
        &self,
        statement: Vec<u8>,
        spots: &[Spot],
        told: u64,
        go_on: &dyn Fn() -> bool,
    ) -> Result<String, NoProof>;

    /// A tile or entry bundle of the signed tree. Blocks for as long as `go_on` says so.
    ///
    /// # Errors
    /// [`NoProof`].
    fn tile(&self, tile: &TilePath, go_on: &dyn Fn() -> bool) -> Result<Vec<u8>, NoProof>;
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum NoProof {
    /// No signed tree reaches that far yet.
    #[error("that is not signed yet")]
    Unsigned,
    /// There was no time to read so much of the ledger; what was read is known next time.
    #[error("that took too long")]
    Late,
    /// What was asked for is longer than may be handed out.
    #[error("that is too long")]
    TooLong,
    /// It cannot be read, or what is there is not what was signed: a cause for alarm, told in the log.
    #[error("the proof cannot be made")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<TilesError> for NoProof {
    fn from(error: TilesError) -> Self {
        match error {
            TilesError::Stopped => Self::Late,
            error => Self::Failed(Box::new(error)),
        }
    }
}

impl From<NoReceipt> for NoProof {
    fn from(error: NoReceipt) -> Self {
        match error {
            NoReceipt::Tiles(error) => error.into(),
            NoReceipt::TooLong => Self::TooLong,
            error => Self::Failed(Box::new(error)),
        }
    }
}

pub(super) const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// A full tile never changes (C2SP tlog-tiles, "Parameters"); it is for its reader alone, who was asked who they are.
const FOR_EVER: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");
pub(super) const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");

pub(super) async fn receipt(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let asker = Asker::of(&api, caller).await?;
    let parameters = Parameters::read(pairs, &["of"])?;
    let of_end = match parameters.text("of") {
        None | Some("begin") => false,
        Some("end") => true,
        Some(_) => return Err(Refused::request("`of` takes `begin` or `end`")),
    };
    let shown = look_up(&api, &asker, &id, AuditAct::TookReceipt, Some(May::Receipts)).await?;
    let found = if of_end { shown.end() } else { shown.begin() };
    let spot = found.ok_or_else(|| {
        let why = format!("`{id}` has no record of an end: it goes on, or is whole in its first record");
        Refused::new(StatusCode::NOT_FOUND, "not_found", why)
    })?;
    let text = prove(&api, &asker, move |proves, go_on| proves.receipt(spot, go_on)).await?;
    Ok(answer(text.into_bytes(), PLAIN, NOT_KEPT))
}

pub(super) async fn checkpoint(State(api): State<Api>, caller: Caller) -> Result<Response, Refused> {
    Asker::of(&api, caller).await?;
    let text = api
        .parts
        .proves
        .checkpoint()
        .ok_or_else(|| unproved(&NoProof::Unsigned))?;
    Ok(answer(text.into_bytes(), PLAIN, NOT_KEPT))
}

pub(super) async fn tile(
    State(api): State<Api>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Response, Refused> {
    let asker = Asker::who_does(Act::Tile, &api, caller).await?;
    let name = format!("tile/{path}");
    let tile =
        TilePath::parse(&name).map_err(|error| Refused::new(StatusCode::NOT_FOUND, "not_found", error.to_string()))?;
    if let Some(why) = of_single_records(tile.what())
        && asker.scope != Scope::All
    {
        let why = format!("{why}, for members of an audit group; your own records are in `gatescribe audit search`");
        return Err(Refused::new(StatusCode::FORBIDDEN, "insufficient_scope", why));
    }
    if tile.what() == TileKind::Entries {
        let rows = u64::from(tile.width());
        api.record(asker.reads(&api, AuditAct::ReadEntries, &name, rows))
            .await?;
    }
    let bytes = prove(&api, &asker, move |proves, go_on| proves.tile(&tile, go_on)).await?;
    // Who may no longer read records has none in a cache either, and each reading comes here to be recorded.
    let kept = if tile.what() == TileKind::Entries {
        NOT_KEPT
    } else {
        FOR_EVER
    };
    Ok(answer(bytes, BYTES, kept))
}

/// What such a tile tells of single records, if anything.
const fn of_single_records(what: TileKind) -> Option<&'static str> {
    match what {
        TileKind::Entries => Some("entries are the records of all"),
        TileKind::Hashes { level: 0 } => Some("hashes of single records tell whether a guess of one is right"),
        TileKind::Hashes { .. } => None,
    }
}

/// In a place of its own: whoever reads the whole tree takes none from those who search.
async fn prove<T: Send + 'static>(
    api: &Api,
    asker: &Asker,
    work: impl FnOnce(&dyn Proves, &dyn Fn() -> bool) -> Result<T, NoProof> + Send + 'static,
) -> Result<T, Refused> {
    let place = api.proofs.take(&asker.session.subject_id)?;
    prove_in(place, api.proof_time, api, work).await
}

/// In this place, for so long at most.
pub(super) async fn prove_in<T: Send + 'static>(
    place: impl Send + 'static,
    time: Duration,
    api: &Api,
    work: impl FnOnce(&dyn Proves, &dyn Fn() -> bool) -> Result<T, NoProof> + Send + 'static,
) -> Result<T, Refused> {
    let proves = Arc::clone(&api.parts.proves);
    let made = in_place(place, time, move |go_on| {
        let go_on = RefCell::new(go_on);
        work(&*proves, &|| (*go_on.borrow_mut())())
    });
    made.await?.map_err(|error| unproved(&error))
}

fn unproved(error: &NoProof) -> Refused {
    match error {
        NoProof::Unsigned => Refused::unavailable("that is not signed yet; try again in a second"),
        NoProof::Late => {
            Refused::unavailable("reading the ledger for it took too long; try again, it goes on from there")
        }
        NoProof::TooLong => too_much(&error.to_string()),
        NoProof::Failed(source) => {
            tracing::error!(error = %source, cause = source.source(), "a proof cannot be made");
            Refused::unavailable(
                "the proof cannot be made; the gateway's log says more, and `gatescribe ledger verify` where",
            )
        }
    }
}

pub(super) fn answer(body: Vec<u8>, kind: HeaderValue, kept: HeaderValue) -> Response {
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, kept)];
    (headers, body).into_response()
}

#[cfg(test)]
pub(super) mod tests;
