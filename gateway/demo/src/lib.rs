//! Embedded stand-ins for a laptop and for tests: an OpenID provider ([`identity`]), a Kubernetes API look-alike
//! ([`kubernetes`]), a sample web service ([`service`]) and two weeks of made-up history ([`history`]).
//!
//! They stand where the *outside* world stands, never where a part of the gateway stands: no policy, ledger or proxy code
//! is replaced or shortened by them. They hold no real secret, ask for no password, and therefore refuse every address
//! that is not loopback ([`StartError::NotLoopback`]). Everything they keep is bounded; what happens when it is full is
//! written beside each limit.
//!
//! May depend on `policy/model` only; knows no other crate of the gateway.

pub mod history;
pub mod identity;
pub mod kubernetes;
mod loopback;
mod random;
pub mod service;

use std::sync::Arc;

use model::time::Timestamp;

pub use loopback::{Listening, StartError};

/// Tells the time. Injected, so that a fixed world stays fixed and tests wait for nothing.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The machine's own clock.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::EPOCH.plus(since)
    })
}
