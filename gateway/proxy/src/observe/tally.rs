//! Counters and histograms that cost an addition: atomics in arrays, found by the number of an enum's member. No lock, no
//! look-up by a label's text, no allocation.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter for each member of a closed list.
#[derive(Debug)]
pub(crate) struct Tally<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Tally<N> {
    /// Counts one. A number beyond the list is not counted: the test of the lists' lengths keeps it from happening.
    pub(crate) fn add(&self, member: usize) {
        if let Some(counter) = self.0.get(member) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were counted.
    pub(crate) fn of(&self, member: usize) -> u64 {
        self.0.get(member).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

/// Upper ends of the buckets, in nanoseconds: two or three for each power of ten from 50 µs to 60 s.
pub(crate) const BOUNDS: [u64; 20] = [
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    20_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// Times, in fixed buckets; what is longer than the last bound stands in the sum and the count.
#[derive(Debug, Default)]
pub struct Times {
    buckets: Tally<{ BOUNDS.len() + 1 }>,
    nanos: AtomicU64,
}

/// What a histogram says at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Seconds, all together.
    pub sum: f64,
    /// How many.
    pub count: u64,
    /// Upper end in seconds and how many fell in this bucket alone; the last end is infinite.
    pub buckets: Vec<(f64, u64)>,
}

impl Times {
    /// Counts one time, in nanoseconds.
    pub fn add(&self, nanos: u64) {
        self.buckets.add(BOUNDS.partition_point(|bound| *bound < nanos));
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What was counted so far. The count is that of the buckets, so that the two never differ in one reading.
    #[must_use]
    pub fn read(&self) -> Measured {
        let ends = BOUNDS.iter().map(|bound| seconds(*bound));
        let buckets: Vec<_> = ends
            .chain(std::iter::once(f64::INFINITY))
            .enumerate()
            .map(|(number, end)| (end, self.buckets.of(number)))
            .collect();
        Measured {
            sum: seconds(self.nanos.load(Ordering::Relaxed)),
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
        }
    }
}

/// Nanoseconds as seconds.
#[must_use]
pub fn seconds(nanos: u64) -> f64 {
    std::time::Duration::from_nanos(nanos).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_in_the_bucket_whose_end_it_does_not_exceed() {
        let times = Times::default();
        for nanos in [1, 50_000, 50_001, 60_000_000_000, 60_000_000_001] {
            times.add(nanos);
        }
        let read = times.read();
        assert_eq!(read.count, 5);
        let taken: Vec<(f64, u64)> = read.buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(taken, [(0.000_05, 2), (0.000_1, 1), (60.0, 1), (f64::INFINITY, 1)]);
        assert!((read.sum - 120.000_100_003).abs() < 1e-6);
    }

    #[test]
    fn bounds_grow() {
        assert!(BOUNDS.is_sorted());
    }
}
