// expect: E0624
// The pool itself takes nothing from outside its crate: the two ways in want evidence.
use http::Request;
use proxy::body::Uplink;
use proxy::upstream::{Call, Pool};

pub async fn past(pool: &Pool<Uplink>, call: &Call, request: Request<Uplink>) {
    let _ = pool.send(call, request).await;
}
