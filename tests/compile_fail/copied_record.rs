// expect: E0599
// Evidence is moved, never cloned.
use proxy::audit::Recorded;
use proxy::decision::{Effect, Permit};

pub fn copy(recorded: Recorded<Permit<Effect>>) -> Recorded<Permit<Effect>> {
    recorded.clone()
}
