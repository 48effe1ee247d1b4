// expect: E0451
// Only the identity station says who somebody is.
use std::sync::Arc;

use proxy::identity::{Authenticated, Identity};

pub fn forge(identity: Arc<Identity>) -> Authenticated {
    Authenticated { identity }
}
