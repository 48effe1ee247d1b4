// expect: E0308
// An effect cannot go the way of a read.
use http::Request;
use proxy::body::Uplink;
use proxy::decision::{Effect, Permit};
use proxy::upstream::{self, Call, Pool};

pub async fn disguise(pool: &Pool<Uplink>, call: &Call, permit: Permit<Effect>, request: Request<Uplink>) {
    let _ = upstream::read(pool, call, permit, request).await;
}
