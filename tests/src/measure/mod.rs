//! What the benches share: a world of people and roles, a small API server, load, rivals, meters.
//!
//! The bench process holds upstream and load on one core; what is measured is a process of its own on the other. Invariant:
//! a figure comes with the counts that make it true: requests sent, requests that reached the upstream, records written.

pub mod api;
pub mod cpu;
pub mod crew;
pub mod events;
pub mod live;
pub mod load;
pub mod payload;
pub mod real;
pub mod rivals;
pub mod services;
pub mod signed_in;
pub mod sockets;
pub mod stage;
pub mod terminal;
pub mod unary;
pub mod world;

/// The middle of the values; of an even number, the upper of the two in the middle. 0 for none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The value below which `share` of the latencies (ns) lie, in milliseconds.
#[must_use]
pub fn percentile_ms(latencies: &mut [u32], share: f64) -> f64 {
    latencies.sort_unstable();
    let at = (latencies.len() as f64 * share) as usize;
    let value = latencies.get(at).or_else(|| latencies.last());
    f64::from(value.copied().unwrap_or_default()) / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles_are_values_that_were_measured() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[]), 0.0);
        let mut latencies: Vec<u32> = (0..100).rev().map(|n| n * 1_000_000).collect();
        assert_eq!(percentile_ms(&mut latencies, 0.5), 50.0);
        assert_eq!(percentile_ms(&mut latencies, 1.0), 99.0);
    }
}
