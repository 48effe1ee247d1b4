//! How much the budgets give to whom.

use crate::identity::CALLERS;

/// The limits of each subject and of all strangers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Short requests of one subject at the same time.
    pub in_flight: u32,
    /// Long-running calls of one subject at the same time.
    pub streams: u32,
    /// Records one subject may cause each second.
    pub records_per_second: u32,
    /// How many seconds' worth of records may come at once.
    pub burst_seconds: u32,
    /// Bytes of the ledger and of recordings that one subject may cause each day (UTC).
    pub bytes_per_day: u64,
    /// Records of all strangers together each second.
    pub strangers_per_second: u32,
    /// Ledger bytes of all strangers together each second: not each day, so that a flood in the morning hides no evening.
    pub strangers_bytes_per_second: u32,
    /// Subjects that are remembered at the same time.
    pub subjects: usize,
    /// What all of the public have together.
    pub public: PublicLimits,
}

/// What all who have not signed in have together, of what rules open to the public. Each of the public's callers has an equal part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicLimits {
    /// Short requests at the same time.
    pub in_flight: u32,
    /// Long-running calls at the same time.
    pub streams: u32,
    /// Records each second.
    pub records_per_second: u32,
    /// Bytes of the ledger each day (UTC).
    pub bytes_per_day: u64,
}

impl Default for PublicLimits {
    /// In requests under way and in streams less than half of the connections that one service has.
    fn default() -> Self {
        Self {
            in_flight: 1_600,
            streams: 1_600,
            records_per_second: 4_800,
            bytes_per_day: 32 << 30,
        }
    }
}

impl Limits {
    /// What each of the public's callers has.
    pub(super) fn of_one_of_public(self) -> Self {
        let part = |whole: u32| (whole / u32::from(CALLERS)).max(1);
        let PublicLimits {
            in_flight,
            streams,
            records_per_second,
            bytes_per_day,
        } = self.public;
        Self {
            in_flight: part(in_flight),
            streams: part(streams),
            records_per_second: part(records_per_second),
            bytes_per_day: (bytes_per_day / u64::from(CALLERS)).max(1),
            ..self
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 400,
            streams: 2_000,
            records_per_second: 2_000,
            burst_seconds: 5,
            bytes_per_day: 8 << 30,
            strangers_per_second: 50,
            strangers_bytes_per_second: 32 << 10,
            subjects: 200_000,
            public: PublicLimits::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::subject::SubjectId;
    use model::time::Timestamp;

    use super::super::{Budgets, Place};
    use super::*;
    use crate::clock::Reading;
    use crate::identity::public;
    use crate::refusal::Limit;

    fn at(seconds: u64) -> Reading {
        Reading {
            wall: Timestamp::from_unix_seconds(i64::try_from(seconds).unwrap()),
            mono: seconds * 1_000_000_000,
        }
    }

    fn limits() -> Limits {
        Limits {
            public: PublicLimits {
                in_flight: 160,
                streams: 32,
                records_per_second: 1_600,
                bytes_per_day: 16_000,
            },
            ..Limits::default()
        }
    }

    fn enter(budgets: &Budgets, address: &str, stream: bool, now: Reading) -> Result<Place, Limit> {
        budgets.enter_public(public(address).unwrap().subject().id(), stream, now)
    }

    fn addresses() -> impl Iterator<Item = String> {
        (0..20_000_u32).map(|number| format!("10.{}.{}.9", number / 250, number % 250))
    }

    #[test]
    fn promise_8_all_addresses_together_have_what_the_public_has_and_no_more() {
        let budgets = Budgets::new(limits());
        for (stream, most, second) in [(false, 160, 5), (true, 32, 500)] {
            let held: Vec<Place> = addresses()
                .filter_map(|address| enter(&budgets, &address, stream, at(second)).ok())
                .collect();
            assert_eq!(held.len(), most);
            assert_eq!(
                enter(&budgets, "192.0.2.1", stream, at(second)).unwrap_err(),
                Limit::Public
            );
            let person = SubjectId::from_digest([7; 16]);
            assert!(
                budgets.enter(&person, stream, at(second)).is_ok(),
                "nothing of a person's is taken"
            );
            drop(held);
            assert!(
                enter(&budgets, "192.0.2.1", stream, at(second + 60)).is_ok(),
                "given back"
            );
        }
    }

    #[test]
    fn promise_8_one_network_has_a_sixteenth_of_it_in_records_and_bytes_too() {
        let budgets = Budgets::new(limits());
        let flood = |now| {
            let neighbours = (0..2_000_u32).map(|number| format!("203.0.113.{}", number % 256));
            neighbours
                .filter(|address| enter(&budgets, address, false, now).is_ok())
                .count()
        };
        let (first, later) = (flood(at(5)), flood(at(6)));
        let burst = usize::try_from(Limits::default().burst_seconds).unwrap();
        assert_eq!((first, later), (100 * burst + 1, 100), "a hundred a second");
        let (theirs, others) = ("203.0.113.9", "198.51.100.1");
        let id = |address| public(address).unwrap().subject().id().clone();
        assert_ne!(id(theirs), id(others), "these two have parts of their own");
        budgets.wrote(&id(theirs), 1_000);
        assert!(budgets.has_filled_its_day(&id(theirs), at(60)));
        assert_eq!(enter(&budgets, theirs, false, at(60)).unwrap_err(), Limit::Public);
        assert!(enter(&budgets, others, false, at(60)).is_ok());
    }
}
