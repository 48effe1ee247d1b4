// expect: E0451
// Only the audit station says that an intent is durable.
use proxy::audit::Recorded;
use proxy::decision::{Effect, Permit};

pub fn forge(permit: Permit<Effect>) -> Recorded<Permit<Effect>> {
    Recorded { permit, sequence: Some(7) }
}
