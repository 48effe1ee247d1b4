//! Fourteen days of made-up history, so that the first search of the demo is not empty.
//!
//! The same seed gives the same acts in the same order, down to the millisecond before `end`. People keep working hours,
//! controllers do not; one night something breaks ([`Happening::chapter`]). Whether an act was allowed is never invented:
//! it is asked of the fixed world's own bindings, so that the history agrees with what the same person may do today.
//!
//! Plain values: whoever writes them down marks them with source `sample` ([`SOURCE`]). They are never evidence.

mod dice;
mod scene;
mod story;
mod tasks;
#[cfg(test)]
mod tests;

use std::time::Duration;

use model::decision::RuleRef;
use model::event::Source;
use model::time::Timestamp;

use crate::identity::{PEOPLE, Person};
use scene::Scene;

/// What every record made of a [`Happening`] must carry.
pub const SOURCE: Source = Source::Sample;

const DAY: u64 = 24 * 60 * 60;

/// Colleagues who stand in the history and cannot sign in to the demo.
pub const COLLEAGUES: [Person; 5] = [
    colleague(
        "dana",
        "c0a1f3d2-dana",
        "Dana Iversen",
        "dana@demo.example",
        "developer",
        &["dev"],
    ),
    colleague(
        "erin",
        "7be940aa-erin",
        "Erin Walsh",
        "erin@demo.example",
        "developer",
        &["dev"],
    ),
    colleague(
        "farid",
        "02d6c9e1-farid",
        "Farid Haddad",
        "farid@demo.example",
        "site reliability engineer",
        &["sre"],
    ),
    colleague(
        "grace",
        "4f8812b5-grace",
        "Grace Liu",
        "grace@demo.example",
        "developer",
        &["dev", "oncall"],
    ),
    colleague(
        "henry",
        "e93b07c4-henry",
        "Henry Novak",
        "henry@demo.example",
        "new this month, without a role",
        &["staff"],
    ),
];

const fn colleague(
    username: &'static str,
    subject: &'static str,
    name: &'static str,
    email: &'static str,
    role: &'static str,
    groups: &'static [&'static str],
) -> Person {
    Person {
        username,
        subject,
        name,
        email,
        role,
        groups,
    }
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// A person, with a sign-in of their own.
    Person {
        /// Who.
        person: &'static Person,
        /// Which sign-in: the same number within one working session, another in the next.
        session: u32,
        /// When that sign-in was.
        signed_in: Timestamp,
    },
    /// A controller's ServiceAccount, by its Kubernetes user name.
    Controller(&'static str),
}

/// What was done, in Kubernetes' words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Act {
    /// The Kubernetes verb.
    pub verb: &'static str,
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The resource in the plural.
    pub resource: &'static str,
    /// The subresource, or empty.
    pub subresource: &'static str,
    /// The namespace, or empty for the whole cluster.
    pub namespace: &'static str,
    /// The object's name, or empty.
    pub name: String,
}

/// Whether it was let through, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Let through by this binding.
    Allowed(RuleRef),
    /// Refused: no binding matched.
    Refused,
}

/// One act of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What.
    pub act: Act,
    /// Whether it was let through.
    pub decision: Decision,
    /// The HTTP status of the answer.
    pub status: u16,
    /// How long it took until the answer was whole.
    pub took: Duration,
    /// From where.
    pub address: &'static str,
    /// With which client (`User-Agent`).
    pub client: &'static str,
    /// Which chapter of the incident it belongs to, in words; None for everyday work.
    pub chapter: Option<&'static str>,
}

impl Happening {
    /// The Kubernetes groups of the actor, as the gateway would have mapped them.
    #[must_use]
    pub fn groups(&self) -> &'static [&'static str] {
        match self.actor {
            Actor::Person { person, .. } => person.groups,
            Actor::Controller(_) => &["system:serviceaccounts"],
        }
    }
}

impl Act {
    /// The HTTP method.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match (self.verb, self.subresource) {
            (_, "exec" | "attach" | "portforward") => "GET",
            ("get" | "list" | "watch", _) => "GET",
            ("update", _) => "PUT",
            ("patch", _) => "PATCH",
            ("delete" | "deletecollection", _) => "DELETE",
            _ => "POST",
        }
    }

    /// The object's name as far as the path says it: that of a new object stands in its body alone.
    #[must_use]
    pub fn name_in_path(&self) -> &str {
        let is_new = self.verb == "create" && self.subresource.is_empty();
        if is_new { "" } else { &self.name }
    }

    /// The path, without a query.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = match self.group {
            "" => "/api/v1".to_owned(),
            group => format!("/apis/{group}/v1"),
        };
        if !self.namespace.is_empty() {
            path.push_str("/namespaces/");
            path.push_str(self.namespace);
        }
        for part in [self.resource, self.name_in_path(), self.subresource] {
            if !part.is_empty() {
                path.push('/');
                path.push_str(part);
            }
        }
        path
    }
}

/// What the history is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Which history.
    pub seed: u64,
    /// Everything happened before this.
    pub end: Timestamp,
    /// How many days, up to and including that of `end`.
    pub days: u32,
    /// Acts of controllers in an hour.
    pub controllers_per_hour: u32,
}

impl Plan {
    /// The demo's own: seed 7, fourteen days, sixty acts of controllers in an hour.
    #[must_use]
    pub fn until(end: Timestamp) -> Self {
        Self {
            seed: 7,
            end,
            days: 14,
            controllers_per_hour: 60,
        }
    }

    /// The acts in the order of time, made day by day as they are taken.
    #[must_use]
    pub fn happenings(self) -> Happenings {
        Happenings {
            plan: self,
            scene: Scene::new(),
            day: 0,
            ready: Vec::new().into_iter(),
        }
    }

    /// Midnight (UTC) at which a day of the plan begins.
    fn midnight(&self, day: u32) -> Timestamp {
        let today = self.end.unix_seconds().div_euclid(86_400);
        let first = today - i64::from(self.days.saturating_sub(1));
        Timestamp::from_unix_seconds((first + i64::from(day)) * 86_400)
    }

    /// Whether people are at work. 1970-01-01 was a Thursday.
    fn is_workday(&self, day: u32) -> bool {
        (self.midnight(day).unix_seconds().div_euclid(86_400) + 3).rem_euclid(7) < 5
    }

    /// The day in whose early hours something breaks: a workday after a workday, a few days ago.
    fn incident(&self) -> Option<u32> {
        let latest = self.days.checked_sub(4)?;
        (1..=latest)
            .rev()
            .find(|day| self.is_workday(*day) && self.is_workday(*day - 1))
    }
}

/// The acts of a [`Plan`]; holds one day at a time.
#[derive(Debug)]
pub struct Happenings {
    plan: Plan,
    scene: Scene,
    day: u32,
    ready: std::vec::IntoIter<Happening>,
}

impl Iterator for Happenings {
    type Item = Happening;

    fn next(&mut self) -> Option<Happening> {
        loop {
            if let Some(happening) = self.ready.next() {
                return Some(happening);
            }
            if self.day >= self.plan.days {
                return None;
            }
            let mut all = day(&self.plan, self.day, &mut self.scene);
            all.retain(|happening| happening.at < self.plan.end);
            all.sort_by_key(|happening| happening.at);
            self.day += 1;
            self.ready = all.into_iter();
        }
    }
}

fn day(plan: &Plan, day: u32, scene: &mut Scene) -> Vec<Happening> {
    let mut all = Vec::new();
    let midnight = plan.midnight(day);
    tasks::controllers(plan, day, midnight, scene, &mut all);
    if plan.is_workday(day) {
        for (number, person) in (0_u32..).zip(PEOPLE.iter().chain(&COLLEAGUES)) {
            tasks::working_day(plan, day, midnight, (number, person), scene, &mut all);
        }
    }
    if let Some(incident) = plan.incident() {
        story::tell(day, incident, midnight, scene, &mut all);
    }
    all
}
