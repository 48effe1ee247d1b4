//! How many calls came through the gate, and how many around it: by who called, what was asked, of what, and on which day.

use std::collections::BTreeMap;

use model::time::Timestamp;
use serde::Serialize;

use crate::ServerEvent;
use crate::reconcile::CallerKind;

/// Verbs, resources and days that are counted by name: a caller chooses verbs and paths. **When it is full** the others are counted
/// together, as [`OTHERS`].
const MOST_NAMES: usize = 1_000;
/// What has no name of its own.
pub const OTHERS: &str = "(others)";

/// Calls of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Those that both logs have.
    pub through: u64,
    /// Those that the API server's log alone has.
    pub around: u64,
    /// Those of which nobody can say: they lie where one of the logs has a gap.
    pub unknown: u64,
}

impl Share {
    /// All of them.
    #[must_use]
    pub const fn all(self) -> u64 {
        self.through.saturating_add(self.around).saturating_add(self.unknown)
    }

    /// How many of a thousand came through the gate, rounded down; of none, none.
    #[must_use]
    pub fn per_mille(self) -> u64 {
        let all = u128::from(self.all()).max(1);
        u64::try_from(u128::from(self.through) * 1_000 / all).unwrap_or(1_000)
    }
}

/// Shares by what calls have in common. Calls of the gateway's own are in none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// All calls.
    pub all: Share,
    /// By what the caller is; through the gate, whom it spoke for.
    pub callers: BTreeMap<CallerKind, Share>,
    /// By verb.
    pub verbs: BTreeMap<String, Share>,
    /// By resource, `pods`, `deployments.apps`; `(none)` where no resource was asked for, `(unclear)` where nobody can say.
    pub resources: BTreeMap<String, Share>,
    /// By the day on which they came, UTC, by the server's clock.
    pub days: BTreeMap<String, Share>,
}

/// What a call has in common with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kinds {
    caller: CallerKind,
    verb: String,
    resource: String,
    day: String,
}

impl Kinds {
    pub(crate) fn of(event: &ServerEvent) -> Self {
        let caller = event.impersonated.as_deref().unwrap_or(&event.user);
        Self {
            caller: CallerKind::of(caller),
            verb: event.verb.clone(),
            resource: resource(event),
            day: day(event.received),
        }
    }

    /// As of who connected: whom somebody beside the gate speaks for is their own word.
    pub(crate) fn of_caller(event: &ServerEvent) -> Self {
        Self {
            caller: CallerKind::of(&event.user),
            ..Self::of(event)
        }
    }
}

impl Coverage {
    pub(crate) fn count(&mut self, kinds: Kinds, count: impl Fn(&mut Share)) {
        count(&mut self.all);
        count(self.callers.entry(kinds.caller).or_default());
        for (shares, name) in [
            (&mut self.verbs, kinds.verb),
            (&mut self.resources, kinds.resource),
            (&mut self.days, kinds.day),
        ] {
            let is_full = shares.len() >= MOST_NAMES && !shares.contains_key(&name);
            count(
                shares
                    .entry(if is_full { OTHERS.to_owned() } else { name })
                    .or_default(),
            );
        }
    }
}

fn resource(event: &ServerEvent) -> String {
    let Ok(facts) = crate::facts_of(event) else {
        return "(unclear)".to_owned();
    };
    match (facts.is_resource_request(), facts.api_group()) {
        (false, _) => "(none)".to_owned(),
        (true, "") => facts.resource().to_owned(),
        (true, group) => format!("{}.{group}", facts.resource()),
    }
}

fn day(time: Timestamp) -> String {
    let text = time.to_string();
    text.split_once('T').map_or(text.as_str(), |(day, _)| day).to_owned()
}
