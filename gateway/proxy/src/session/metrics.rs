//! What is counted of calls that go on. Labels come from a closed enum.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::observe::listed;

listed! {
    /// Why a call was ended by us.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
    pub enum Cause {
        /// The rules would refuse it now.
        Rules,
        /// Its sign-in has ended.
        Session,
        /// A person has ended it.
        Person,
        /// Its caller was locked out.
        Locked,
        /// What proved its caller counts no longer.
        Credential,
        /// Whether its caller still counts, or the cluster still allows it, could not be found out for too long, or because of a
        /// fault of ours.
        Unknown,
    }
}

impl Cause {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::Session => "session",
            Self::Person => "person",
            Self::Locked => "locked",
            Self::Credential => "credential",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCause {
    cause: Cause,
}

/// Cheap to clone, shared.
#[derive(Clone, Debug, Default)]
pub struct LongCallMetrics {
    pub(super) open: Gauge,
    pub(super) full: Counter,
    pub(super) decided: Counter,
    pub(super) broke: Counter,
    ended: Family<ByCause, Counter>,
}

impl LongCallMetrics {
    /// Declares all of them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "gateway_session_long_calls_open",
            "Watches, followed logs and other long calls now open",
            self.open.clone(),
        );
        registry.register(
            "gateway_session_long_calls_refused",
            "Long calls refused because the table of them was full",
            self.full.clone(),
        );
        registry.register(
            "gateway_session_decisions_anew",
            "Decisions made anew about long calls under way",
            self.decided.clone(),
        );
        registry.register(
            "gateway_session_keeper_breaks",
            "Faults of the gateway while it decided anew about long calls: the call ended, or the loop was begun again",
            self.broke.clone(),
        );
        for cause in Cause::ALL {
            drop(self.ended.get_or_create_owned(&ByCause { cause: *cause }));
        }
        registry.register(
            "gateway_session_long_calls_ended",
            "Long calls ended by the gateway because they would be refused now or somebody ended them, by cause",
            self.ended.clone(),
        );
    }

    pub(super) fn ended(&self, cause: Cause) {
        self.ended.get_or_create(&ByCause { cause }).inc();
    }

    /// Calls ended so far for `cause`.
    #[must_use]
    pub fn ended_for(&self, cause: Cause) -> u64 {
        self.ended.get_or_create(&ByCause { cause }).get()
    }
}
