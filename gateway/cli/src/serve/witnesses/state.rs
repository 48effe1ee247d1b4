//! How each witness stands: for metrics, `/readyz` and whoever waits for a witnessed checkpoint.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ledger::{Published, Publisher};
use model::time::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use proxy::observe::{Name, Sheet, number};

use crate::serve::admin::Health;
use crate::serve::alarms::Alarms;

/// Why a witness did not cosign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// No answer.
    Unreachable,
    /// It does not know the log, or not its key.
    Unknown,
    /// An answer without a cosignature that holds, or another refusal.
    Answer,
    /// Files of ours could not be read or written.
    Own,
    /// It has seen another history.
    OtherHistory,
    /// It has forgotten what it cosigned.
    Forgot,
}

impl Cause {
    const ALL: [Self; 6] = [
        Self::Unreachable,
        Self::Unknown,
        Self::Answer,
        Self::Own,
        Self::OtherHistory,
        Self::Forgot,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
            Self::Answer => "answer",
            Self::Own => "own",
            Self::OtherHistory => "otherHistory",
            Self::Forgot => "forgot",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Unreachable => 0,
            Self::Unknown => 1,
            Self::Answer => 2,
            Self::Own => 3,
            Self::OtherHistory => 4,
            Self::Forgot => 5,
        }
    }

    /// What the witness has done, where that is an alarm and no trouble that passes.
    pub(super) const fn alarm(self) -> Option<&'static str> {
        match self {
            Self::OtherHistory => Some("has seen another history of this ledger"),
            Self::Forgot => Some("has forgotten what it cosigned of this ledger"),
            Self::Unreachable | Self::Unknown | Self::Answer | Self::Own => None,
        }
    }
}

/// One witness.
#[derive(Debug)]
pub(super) struct WitnessState {
    pub(super) name: Arc<str>,
    /// Before its first cosignature, age counts from here.
    since: Timestamp,
    state: Mutex<State>,
    /// Alarms that are not recorded yet.
    pub(super) unrecorded: Alarms,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// The newest checkpoint that it cosigned, and when.
    newest: Option<(u64, Timestamp)>,
    trouble: Option<String>,
    /// At most one of each cause.
    alarms: Vec<(Cause, String)>,
    failures: [u64; Cause::ALL.len()],
}

impl State {
    fn count(&mut self, cause: Cause) {
        if let Some(count) = self.failures.get_mut(cause.index()) {
            *count += 1;
        }
    }
}

impl WitnessState {
    /// It cosigned so many records, at this second since 1970 by its clock, of which we hear now: one that is ahead, or says so, is
    /// not young for longer.
    pub(super) fn cosigned(&self, size: u64, time: u64, now: Timestamp) {
        let time = Timestamp::from_unix_seconds(i64::try_from(time).unwrap_or(i64::MAX));
        self.state().newest = Some((size, time.min(now)));
    }

    /// Takes back what was wrong; says whether anything was.
    pub(super) fn is_well(&self) -> bool {
        self.state().trouble.take().is_some()
    }

    /// Counts a failure; says whether it is the first after a success, or another one than before.
    pub(super) fn failed(&self, cause: Cause, why: &str) -> bool {
        let mut state = self.state();
        state.count(cause);
        state.trouble.replace(why.to_owned()).as_deref() != Some(why)
    }

    /// Raises an alarm, which stays; says whether it is the first of its cause.
    pub(super) fn alarmed(&self, cause: Cause, why: &str) -> bool {
        let mut state = self.state();
        state.count(cause);
        state.trouble = Some(why.to_owned());
        let is_first = state.alarms.iter().all(|(known, _)| *known != cause);
        if is_first {
            state.alarms.push((cause, why.to_owned()));
        }
        is_first
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All witnesses of the gateway's ledger; none where none is configured.
#[derive(Debug)]
pub(crate) struct Witnesses {
    all: Vec<Arc<WitnessState>>,
    quorum: usize,
    publisher: Arc<Publisher>,
}

impl Witnesses {
    pub(super) fn new(
        names: impl Iterator<Item = Arc<str>>,
        quorum: usize,
        publisher: Arc<Publisher>,
        since: Timestamp,
    ) -> Self {
        let one = |name| {
            Arc::new(WitnessState {
                name,
                since,
                state: Mutex::default(),
                unrecorded: Alarms::default(),
            })
        };
        Self {
            all: names.map(one).collect(),
            quorum,
            publisher,
        }
    }

    pub(super) fn all(&self) -> &[Arc<WitnessState>] {
        &self.all
    }

    /// The newest checkpoint that is witnessed and has so many records; waits for it while enough witnesses answer, at most for
    /// `within`. Blocks.
    pub(in crate::serve) fn covering(&self, size: u64, within: std::time::Duration) -> Option<Arc<Published>> {
        let well = self.all.iter().filter(|one| one.state().trouble.is_none()).count();
        let can_come = !self.all.is_empty() && well >= self.quorum;
        let within = if can_come { within } else { std::time::Duration::ZERO };
        self.publisher.witnessed_covering(size, within)
    }

    /// The line of `/readyz`; `None` where no witness is configured. Records that are not witnessed are durable and signed all the
    /// same; the gateway goes on, and somebody should look.
    pub(in crate::serve) fn health(&self) -> Option<Health> {
        let states: Vec<_> = self.all.iter().map(|one| (&one.name, one.state().clone())).collect();
        if states.is_empty() {
            return None;
        }
        let said = |what: &str, why: &dyn Fn(&State) -> Option<String>| -> Vec<String> {
            let each = states.iter();
            each.filter_map(|(name, state)| Some(format!("{what} `{name}`: {}", why(state)?)))
                .collect()
        };
        let mut lines = said("ALARM by", &|state| {
            let all: Vec<_> = state.alarms.iter().map(|(_, why)| why.as_str()).collect();
            (!all.is_empty()).then(|| all.join("; "))
        });
        if lines.is_empty() {
            lines = said("not witnessed by", &|state| state.trouble.clone());
        }
        Some(if lines.is_empty() {
            Health::Good
        } else {
            Health::But(lines.join("; "))
        })
    }
}

const NONE: [(&str, &str); 0] = [];

/// A value with the name of its witness.
type ByWitness = ([(&'static str, Arc<str>); 1], f64);

/// What is counted of them.
#[derive(Debug)]
pub(in crate::serve) struct WitnessMetrics {
    pub(in crate::serve) witnesses: Arc<Witnesses>,
    pub(in crate::serve) clock: fn() -> Timestamp,
}

impl Collector for WitnessMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet::new(encoder);
        let now = (self.clock)();
        let all: Vec<_> = self
            .witnesses
            .all
            .iter()
            .map(|one| (Arc::clone(&one.name), one.since, one.state().clone()))
            .collect();
        let each = |value: &dyn Fn(Timestamp, &State) -> f64| -> Vec<ByWitness> {
            let rows = all.iter();
            rows.map(|(name, since, state)| ([("witness", Arc::clone(name))], value(*since, state)))
                .collect()
        };
        let witnessed = self.witnesses.publisher.witnessed();
        let witnessed = witnessed.map_or(0, |newest| newest.checkpoint.size);
        sheet.gauges(WITNESSED, [(NONE, number(witnessed))])?;
        sheet.gauges(
            RECORDS,
            each(&|_, state| number(state.newest.map_or(0, |(size, _)| size))),
        )?;
        let age = |since: Timestamp, state: &State| {
            let newest = state.newest.map_or(since, |(_, time)| time);
            now.since(newest).as_secs_f64()
        };
        sheet.gauges(AGE, each(&age))?;
        sheet.gauges(ALARM, each(&|_, state| f64::from(u8::from(!state.alarms.is_empty()))))?;
        let failures = all.iter().flat_map(|(name, _, state)| {
            Cause::ALL.map(|cause| {
                let count = state.failures.get(cause.index()).copied().unwrap_or_default();
                let labels = [("witness", Arc::clone(name)), ("cause", Arc::from(cause.as_str()))];
                (labels, number(count))
            })
        });
        sheet.counters(FAILURES, failures.collect::<Vec<_>>())
    }
}

const WITNESSED: Name = Name {
    name: "gateway_ledger_witnessed_records",
    says: "Records under the newest checkpoint that `ledger.quorum` witnesses have cosigned; of an earlier run until they have cosigned one in this.",
};
const RECORDS: Name = Name {
    name: "gateway_ledger_witness_records",
    says: "Records under the newest checkpoint that this witness has cosigned since the start.",
};
const AGE: Name = Name {
    name: "gateway_ledger_witness_age_seconds",
    says: "Since the newest cosignature of this witness, by its clock; about a minute at most while all is well. Before the first, since the start.",
};
const ALARM: Name = Name {
    name: "gateway_ledger_witness_alarm",
    says: "1 once this witness has seen another history of this ledger, or has forgotten what it cosigned of it, until the process ends.",
};
const FAILURES: Name = Name {
    name: "gateway_ledger_witness_failures",
    says: "Requests that a witness did not answer with a cosignature, by cause: `unreachable`, `unknown` (it does not know this log or its key), `answer` (another refusal, or what it said is no cosignature), `own` (files here), `otherHistory`, `forgot` (it knows fewer records than it has cosigned).",
};
