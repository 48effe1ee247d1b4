// expect: E0308
// Skipping the audit: an effect wants a recorded permit.
use http::Request;
use proxy::body::Uplink;
use proxy::decision::{Effect, Permit};
use proxy::upstream::{self, Call, Pool};

pub async fn skip(pool: &Pool<Uplink>, call: &Call, permit: Permit<Effect>, request: Request<Uplink>) {
    let _ = upstream::effect(pool, call, permit, request).await;
}
