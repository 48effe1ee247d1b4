//! Who sends a request at the moment, so that nobody who is slow shuts others out.
//!
//! A body costs memory and time as long as its sender likes, so it has no place among those that are judged before it is whole. Until
//! then:
//!
//! - one network has [`PER_NETWORK`] of them at once; the next one is refused;
//! - there are [`IN_ALL`]; when one more comes, the network that has most gives its oldest up, if it has more than the one that
//!   comes. So who comes seldom always finds room, and who fills it loses what he sends slowest.
//!
//! A network is an address of IPv4, or a /64 of IPv6, of which one host has all addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Requests of one network at once.
const PER_NETWORK: usize = 16;
/// Of all: each holds at most [`ledger::MAX_CONSISTENCY_LEN`] bytes.
const IN_ALL: usize = 256;

/// All that are being sent.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// By number, which rises.
    sent: BTreeMap<u64, (IpAddr, CancellationToken)>,
}

/// One that is being sent. Its place is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Sent {
    waiting: Arc<Waiting>,
    number: u64,
    displaced: CancellationToken,
}

impl Waiting {
    /// Another one begins; `None` where its network has its share.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Sent> {
        let network = network(peer);
        let mut state = self.state();
        let own = state.count(network);
        if own >= PER_NETWORK || (state.sent.len() >= IN_ALL && !state.displace(own)) {
            return None;
        }
        let (number, displaced) = (state.next, CancellationToken::new());
        state.next += 1;
        state.sent.insert(number, (network, displaced.clone()));
        drop(state);
        Some(Sent {
            waiting: Arc::clone(self),
            number,
            displaced,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&self, network: IpAddr) -> usize {
        self.sent.values().filter(|(of, _)| *of == network).count()
    }

    /// Takes the oldest of the network that has most, if these are more than `own`.
    fn displace(&mut self, own: usize) -> bool {
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for (network, _) in self.sent.values() {
            *counts.entry(*network).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        let oldest = self
            .sent
            .iter()
            .find(|(_, (network, _))| counts.get(network) == Some(&most));
        let Some(number) = oldest.map(|(number, _)| *number).filter(|_| most > own) else {
            return false;
        };
        if let Some((_, displaced)) = self.sent.remove(&number) {
            displaced.cancel();
        }
        true
    }
}

impl Sent {
    /// Ends when another one has taken its room.
    pub(super) async fn displaced(&self) {
        self.displaced.cancelled().await;
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.waiting.state().sent.remove(&self.number);
    }
}

fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number))
    }

    #[test]
    fn who_fills_all_room_gives_way_to_who_has_none_and_to_nobody_who_has_as_much() {
        let waiting = Arc::new(Waiting::default());
        let many = u32::try_from(IN_ALL / PER_NETWORK).unwrap();
        let greedy: Vec<Vec<Sent>> = (0..many)
            .map(|number| (0..PER_NETWORK).map(|_| waiting.enter(host(number)).unwrap()).collect())
            .collect();
        assert!(waiting.enter(host(0)).is_none(), "it has its share");
        let mut held = Vec::new();
        for number in 0..40 {
            held.push(waiting.enter(host(1000 + number)).unwrap());
        }
        assert!(held.iter().all(|sent| !sent.displaced.is_cancelled()));
        let lost = greedy
            .iter()
            .map(|of| of.iter().filter(|sent| sent.displaced.is_cancelled()).count());
        let lost: Vec<usize> = lost.collect();
        assert_eq!(lost.iter().sum::<usize>(), 40);
        assert!(
            lost.iter().all(|lost| (2..=3).contains(lost)),
            "each as much as the others: {lost:?}"
        );
        let first = greedy[0]
            .iter()
            .position(|sent| !sent.displaced.is_cancelled())
            .unwrap();
        assert!(greedy[0][..first].len() == lost[0], "the oldest first");
        drop(greedy);
        assert_eq!(waiting.state().sent.len(), 40, "who is displaced frees nothing twice");
    }

    #[test]
    fn many_networks_with_one_each_displace_only_for_who_has_none() {
        let waiting = Arc::new(Waiting::default());
        let each: Vec<Sent> = (0..u32::try_from(IN_ALL).unwrap())
            .map(|number| waiting.enter(host(number)).unwrap())
            .collect();
        assert!(waiting.enter(host(7)).is_none(), "it has as much as any");
        assert!(!each[7].displaced.is_cancelled());
        let _new = waiting.enter(host(9999)).unwrap();
        assert!(each[0].displaced.is_cancelled(), "the oldest of all");
    }

    #[test]
    fn all_addresses_of_a_host_s_network_are_one() {
        let waiting = Arc::new(Waiting::default());
        let address = |low: u64| IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) + u128::from(low)));
        let _held: Vec<Sent> = (0..PER_NETWORK)
            .map(|low| waiting.enter(address(low as u64 * 77)).unwrap())
            .collect();
        assert!(waiting.enter(address(5)).is_none());
        assert!(waiting.enter("2001:db8:0:1::5".parse().unwrap()).is_some());
        assert_eq!(
            network("::ffff:192.0.2.1".parse().unwrap()),
            network("192.0.2.1".parse().unwrap())
        );
    }
}
