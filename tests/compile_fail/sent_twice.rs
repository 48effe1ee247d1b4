// expect: E0382
// One record, one sending.
use http::Request;
use proxy::audit::Recorded;
use proxy::body::Uplink;
use proxy::decision::{Effect, Permit};
use proxy::upstream::{self, Call, Pool};

pub async fn twice(pool: &Pool<Uplink>, call: &Call, recorded: Recorded<Permit<Effect>>, one: Request<Uplink>, two: Request<Uplink>) {
    let _ = upstream::effect(pool, call, recorded, one).await;
    let _ = upstream::effect(pool, call, recorded, two).await;
}
