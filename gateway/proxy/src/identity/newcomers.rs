//! Who may make the gateway ask a cluster about a token (promise 8).
//!
//! Anybody can write a text that looks like a ServiceAccount's token, so that asking is a stranger's act until the cluster
//! has said yes. Invariants: a token that was good is asked about again without waiting behind strangers; one address never
//! holds more than its own share; all newcomers together leave places to those who are known.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use model::time::Timestamp;
use quick_cache::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::cache::Fingerprint;
use crate::turnstile::{Pace, TurnedAway, Turnstile};

/// What one address may ask about.
const OF_ONE_ADDRESS: Pace = Pace {
    per_second: 10,
    burst_seconds: 5,
    at_once: 4,
    wait: Duration::from_secs(2),
    askers: 100_000,
};
/// Questions about newcomers at the same time. The feed sends 32 to a cluster: the rest is for the known.
const OF_ALL: usize = 24;
/// Tokens that are remembered as good. They grant nothing by that.
const KNOWN: usize = 50_000;

/// The door for tokens that nobody has verified.
#[derive(Debug)]
pub(super) struct Newcomers {
    addresses: Turnstile<IpAddr>,
    all: Arc<Semaphore>,
    known: Cache<Fingerprint, ()>,
}

/// The right to ask about one token, kept until the answer has come: a place of its address and one of all newcomers, or
/// none for a token that was good before.
pub(super) type Place = Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>;

impl Newcomers {
    pub(super) fn new() -> Self {
        Self {
            addresses: Turnstile::new(OF_ONE_ADDRESS),
            all: Arc::new(Semaphore::new(OF_ALL)),
            known: Cache::new(KNOWN),
        }
    }

    /// The cluster has said yes to it.
    pub(super) fn is_known(&self, token: Fingerprint) {
        self.known.insert(token, ());
    }

    /// A place to ask about `token`, presented `from` there. Cancel-safe.
    ///
    /// # Errors
    /// Its address, or all newcomers together, ask too much.
    pub(super) async fn pass(&self, token: &Fingerprint, from: IpAddr, now: Timestamp) -> Result<Place, TurnedAway> {
        if self.known.get(token).is_some() {
            return Ok(None);
        }
        let own = self.addresses.pass(&neighbourhood(from), now).await?;
        let shared = Arc::clone(&self.all).acquire_owned();
        match tokio::time::timeout(OF_ONE_ADDRESS.wait, shared).await {
            Ok(Ok(shared)) => Ok(Some((own, shared))),
            Ok(Err(_)) | Err(_) => Err(TurnedAway),
        }
    }
}

/// One host of IPv4, one /64 of IPv6: whoever has one address of it has them all.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_count_as_one() {
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.2"), of("10.0.0.1"));
    }
}
