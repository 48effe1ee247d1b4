// expect: nothing
// The control: evidence in the right order compiles, so the other cases fail for the reason they name.
use http::{Request, Response};
use proxy::audit::{Access, Recorded};
use proxy::body::Uplink;
use proxy::decision::{Effect, Permit, PureRead};
use proxy::upstream::{self, Call, Pool};

pub async fn effect(pool: &Pool<Uplink>, call: &Call, recorded: Recorded<Permit<Effect>>, request: Request<Uplink>) {
    let _ = upstream::effect(pool, call, recorded, request).await;
}

pub async fn read(pool: &Pool<Uplink>, call: &Call, permit: Permit<PureRead>, request: Request<Uplink>) {
    let _ = upstream::read(pool, call, permit, request).await;
}

pub async fn open(access: Access, response: Response<()>) {
    let _ = access.hold(response).open().await;
}
