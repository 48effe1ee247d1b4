// expect: E0624
// Only the decision station makes a permit, also when somebody has another one to copy from.
use std::sync::Arc;

use proxy::decision::{Effect, Outgoing, Permit};

pub fn forge(outgoing: Arc<Outgoing>, other: &Permit<Effect>) -> Permit<Effect> {
    Permit::<Effect>::new(outgoing, other.obligations().clone(), other.not_after())
}
