//! What operators see of requests: counts and times of every station, one line of log, one trace. No record and no part of
//! any decision: the ledger is where it is written what happened.
//!
//! Invariants: labels come from closed lists and from names of clusters in the configuration, so nobody who sends requests can make
//! a series; each request is counted once; the way of a request pays a handful of additions and three readings of the
//! clock; nothing here has a credential, a value of a query or the name of an object in it (promise 6).

mod reason;
mod sheet;
mod span;
mod tally;
mod trail;

use std::fmt;
use std::sync::Arc;

use model::cluster::ClusterId;
use model::request::{RequestFacts, Verb};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

pub use self::reason::{LimitKind, Reason};
pub(crate) use self::reason::{closed, listed};
pub use self::sheet::{Name, Sheet, number};
pub use self::span::{Link, Moments, Span, Spans, fuzz_traceparent};
pub(crate) use self::tally::Tally;
pub use self::tally::{Measured, Times, seconds};
pub(crate) use self::trail::Seen;
use crate::identity::Credential;

closed! {
    /// What a request wants, coarsely.
    Act {
        /// Nothing that was understood.
        Unknown = "unknown",
        /// One object.
        Get = "get",
        /// A collection.
        List = "list",
        /// A stream of changes.
        Watch = "watch",
        /// A log, followed or not.
        Log = "log",
        /// POST on a resource.
        Create = "create",
        /// PUT on a resource.
        Update = "update",
        /// PATCH, server-side apply included.
        Patch = "patch",
        /// DELETE of one object.
        Delete = "delete",
        /// DELETE of a collection.
        DeleteCollection = "deletecollection",
        /// A foot inside a pod, node or service.
        Enter = "enter",
        /// A path that is no resource: discovery, versions, health.
        Path = "path",
    }
}

closed! {
    /// The status that the caller got.
    Status {
        /// None: the client left, or the gateway stopped.
        None = "none",
        /// 101.
        Switched = "1xx",
        /// 200 and so on.
        Good = "2xx",
        /// 304 and so on.
        Elsewhere = "3xx",
        /// 403 and so on.
        Refused = "4xx",
        /// 502 and so on.
        Failed = "5xx",
    }
}

closed! {
    /// What answered the question whether a call is allowed.
    DecidedBy {
        /// A yes of a moment ago.
        Memory = "memory",
        /// The rules.
        Rules = "rules",
        /// The cluster, which was asked.
        Cluster = "cluster",
    }
}

closed! {
    /// What a cluster answered to a review.
    Review {
        /// Yes.
        Yes = "yes",
        /// No.
        No = "no",
        /// Nothing.
        Unknown = "unknown",
    }
}

closed! {
    /// What kind of call a duration is of.
    Kind {
        /// Reads whose answer ends by itself.
        Read = "read",
        /// Whatever may change something.
        Effect = "effect",
        /// Watches, followed logs and other calls that go on.
        Long = "long",
        /// Refused before it was sent.
        Refused = "refused",
        /// Answered by the gateway itself, or left by its client before it was sent.
        Own = "own",
    }
}

const ACTS: usize = Act::ALL.len();
const STATUSES: usize = Status::ALL.len();

impl Act {
    /// What these facts ask for.
    #[must_use]
    pub fn of(facts: Option<&RequestFacts>) -> Self {
        let Some(facts) = facts else { return Self::Unknown };
        if facts.action().enters() {
            return Self::Enter;
        }
        if !facts.is_resource_request() {
            return Self::Path;
        }
        match facts.verb() {
            Verb::Get if facts.subresource() == "log" => Self::Log,
            Verb::Get => Self::Get,
            Verb::List => Self::List,
            Verb::Watch => Self::Watch,
            Verb::Create => Self::Create,
            Verb::Update => Self::Update,
            Verb::Patch => Self::Patch,
            Verb::Delete => Self::Delete,
            Verb::DeleteCollection => Self::DeleteCollection,
            Verb::Proxy => Self::Enter,
            Verb::Unknown | Verb::Method(_) => Self::Unknown,
        }
    }
}

impl Status {
    /// The class of a status code.
    #[must_use]
    pub const fn of(code: Option<u16>) -> Self {
        match code {
            None => Self::None,
            Some(..=199) => Self::Switched,
            Some(200..=299) => Self::Good,
            Some(300..=399) => Self::Elsewhere,
            Some(400..=499) => Self::Refused,
            Some(500..) => Self::Failed,
        }
    }
}

/// What is counted of the requests to one cluster, to the gateway host, or to nobody.
#[derive(Debug)]
pub struct Series {
    cluster: Arc<str>,
    requests: Tally<{ ACTS * STATUSES }>,
    refusals: Tally<{ Reason::ALL.len() }>,
    limits: Tally<{ LimitKind::ALL.len() }>,
    credentials: Tally<{ Credential::ALL.len() }>,
    decisions: Tally<{ DecidedBy::ALL.len() }>,
    reviews: Tally<{ Review::ALL.len() }>,
    identity: Times,
    decision: Times,
    audit: Times,
    upstream: Times,
    whole: [Times; Kind::ALL.len()],
    failures: [trail::Pace; Reason::ALL.len()],
    spans: Option<Arc<Spans>>,
}

type TimesOf = fn(&Series) -> &Times;

/// Requests to the gateway host: sign-in, tokens, our API. No name of a cluster has a bracket.
const GATEWAY: &str = "(gateway)";
/// Requests that name no site.
const NOBODY: &str = "(none)";
/// Requests to published services, all of them together: services come and go with rules, and series may not.
const SERVICES: &str = "(services)";

impl Series {
    fn new(cluster: &str, spans: Option<&Arc<Spans>>) -> Arc<Self> {
        Arc::new(Self {
            cluster: cluster.into(),
            requests: Tally::default(),
            refusals: Tally::default(),
            limits: Tally::default(),
            credentials: Tally::default(),
            decisions: Tally::default(),
            reviews: Tally::default(),
            identity: Times::default(),
            decision: Times::default(),
            audit: Times::default(),
            upstream: Times::default(),
            whole: Default::default(),
            failures: std::array::from_fn(|_| trail::Pace::default()),
            spans: spans.map(Arc::clone),
        })
    }

    pub(crate) fn proved(&self, credential: Credential, nanos: u64) {
        self.credentials.add(credential as usize);
        self.identity.add(nanos);
    }

    pub(crate) fn decided(&self, nanos: u64) {
        self.decision.add(nanos);
    }

    pub(crate) fn decided_by(&self, by: DecidedBy) {
        self.decisions.add(by as usize);
    }

    pub(crate) fn reviewed(&self, answer: Review) {
        self.reviews.add(answer as usize);
    }

    /// How long a call waited for the disk: an effect all of it, a read from its answer on.
    pub(crate) fn waited_for_disk(&self, nanos: u64) {
        self.audit.add(nanos);
    }

    pub(crate) fn first_byte(&self, nanos: u64) {
        self.upstream.add(nanos);
    }

    pub(crate) fn refused(&self, reason: Reason, limit: Option<LimitKind>) {
        self.refusals.add(reason as usize);
        if let Some(limit) = limit {
            self.limits.add(limit as usize);
        }
    }

    fn ended(&self, act: Act, status: Status, kind: Kind, nanos: u64) {
        self.requests.add(act as usize * STATUSES + status as usize);
        if let Some(times) = self.whole.get(kind as usize) {
            times.add(nanos);
        }
    }
}

/// What is counted of all requests. Made once, from the configuration; the number of its series never changes.
#[derive(Debug)]
pub struct Requests {
    clusters: Vec<Arc<Series>>,
    host: Arc<Series>,
    services: Arc<Series>,
    nobody: Arc<Series>,
}

impl Requests {
    /// Counters for these clusters, the gateway host, and requests that reach neither.
    #[must_use]
    pub fn new<'a>(clusters: impl IntoIterator<Item = &'a str>) -> Self {
        Self::traced(clusters, None)
    }

    /// As [`Requests::new`]; requests to clusters and to the gateway host are traced, too, where somebody collects traces.
    #[must_use]
    pub fn traced<'a>(clusters: impl IntoIterator<Item = &'a str>, spans: Option<&Arc<Spans>>) -> Self {
        let clusters = clusters.into_iter().map(|cluster| Series::new(cluster, spans));
        Self {
            clusters: clusters.collect(),
            host: Series::new(GATEWAY, spans),
            services: Series::new(SERVICES, spans),
            nobody: Series::new(NOBODY, None),
        }
    }

    /// Where requests to this cluster are counted; what is not configured counts as nobody's.
    #[must_use]
    pub fn of(&self, cluster: &ClusterId) -> Arc<Series> {
        let known = self.clusters.iter().find(|series| &*series.cluster == cluster.as_str());
        Arc::clone(known.unwrap_or(&self.nobody))
    }

    pub(crate) const fn host(&self) -> &Arc<Series> {
        &self.host
    }

    pub(crate) const fn services(&self) -> &Arc<Series> {
        &self.services
    }

    pub(crate) const fn nobody(&self) -> &Arc<Series> {
        &self.nobody
    }

    fn all(&self) -> impl Iterator<Item = &Series> {
        let all = self.clusters.iter().chain([&self.host, &self.services, &self.nobody]);
        all.map(|series| &**series)
    }

    /// One row for each cluster and member of a closed list.
    fn rows<T: Copy + 'static>(
        &self,
        (label, members): (&'static str, &'static [T]),
        name: impl Fn(T) -> &'static str + Copy,
        count: impl Fn(&Series, usize) -> u64 + Copy,
    ) -> impl Iterator<Item = ([(&'static str, Arc<str>); 2], f64)> {
        self.all().flat_map(move |series| {
            members.iter().enumerate().map(move |(number, member)| {
                (
                    [("cluster", Arc::clone(&series.cluster)), (label, name(*member).into())],
                    self::number(count(series, number)),
                )
            })
        })
    }

    fn write_counts(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let by_status = self.all().flat_map(|series| {
            Act::ALL.iter().enumerate().flat_map(move |(act, verb)| {
                Status::ALL.iter().enumerate().map(move |(status, class)| {
                    let labels = [
                        ("cluster", &*series.cluster),
                        ("verb", verb.as_str()),
                        ("status", class.as_str()),
                    ];
                    (labels, number(series.requests.of(act * STATUSES + status)))
                })
            })
        });
        sheet.counters(REQUESTS, by_status)?;
        let refusals = self.rows(("reason", Reason::ALL), Reason::as_str, |of, n| of.refusals.of(n));
        sheet.counters(REFUSALS, refusals)?;
        let limits = self.rows(("limit", LimitKind::ALL), LimitKind::as_str, |of, n| of.limits.of(n));
        sheet.counters(LIMITS, limits)?;
        let proved = self.rows(("credential", &Credential::ALL), Credential::as_str, |of, n| {
            of.credentials.of(n)
        });
        sheet.counters(PROVED, proved)?;
        let decided = self.rows(("by", DecidedBy::ALL), DecidedBy::as_str, |of, n| of.decisions.of(n));
        sheet.counters(DECISIONS, decided)?;
        let reviews = self.rows(("answer", Review::ALL), Review::as_str, |of, n| of.reviews.of(n));
        sheet.counters(REVIEWS, reviews)
    }

    fn write_times(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let stations: [(Name, TimesOf); 4] = [
            (IDENTITY, |series| &series.identity),
            (DECISION, |series| &series.decision),
            (AUDIT, |series| &series.audit),
            (UPSTREAM, |series| &series.upstream),
        ];
        for (name, times) in stations {
            let clusters = self.clusters.iter();
            sheet.times(
                name,
                clusters.map(|series| ([("cluster", Arc::clone(&series.cluster))], times(series))),
            )?;
        }
        let whole = self.all().flat_map(|series| {
            Kind::ALL
                .iter()
                .zip(&series.whole)
                .map(move |(kind, times)| ([("cluster", &*series.cluster), ("kind", kind.as_str())], times))
        });
        sheet.times(WHOLE, whole)
    }
}

impl Collector for Requests {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet::new(encoder);
        self.write_counts(&mut sheet)?;
        self.write_times(&mut sheet)
    }
}

const REQUESTS: Name = Name {
    name: "gateway_requests",
    says: "Requests that have ended, by what they wanted and the status that the caller got.",
};
const REFUSALS: Name = Name {
    name: "gateway_refusals",
    says: "Requests that the gateway refused or could not finish, by reason; the cluster's own refusals are requests with status 4xx.",
};
const LIMITS: Name = Name {
    name: "gateway_limits_reached",
    says: "Requests refused at a limit, by limit.",
};
const PROVED: Name = Name {
    name: "gateway_identities_proved",
    says: "Requests whose sender was proved, by kind of credential.",
};
const DECISIONS: Name = Name {
    name: "gateway_decisions",
    says: "Decisions about requests, yes or no, by what answered.",
};
const REVIEWS: Name = Name {
    name: "gateway_access_reviews",
    says: "SubjectAccessReviews for requests on which the rules were silent, by the cluster's answer.",
};
const IDENTITY: Name = Name {
    name: "gateway_identity_seconds",
    says: "From the whole head of a request to the proof of its sender.",
};
const DECISION: Name = Name {
    name: "gateway_decision_seconds",
    says: "From the proof of the sender to the decision, questions to the cluster included.",
};
const AUDIT: Name = Name {
    name: "gateway_audit_wait_seconds",
    says: "How long a call waited for its record to be durable: an effect before it was sent, a read from its answer on.",
};
const UPSTREAM: Name = Name {
    name: "gateway_upstream_first_byte_seconds",
    says: "From sending a call to the head of the cluster's answer.",
};
const WHOLE: Name = Name {
    name: "gateway_request_seconds",
    says: "From the whole head of a request to the end of its answer, by kind of call.",
};

#[cfg(test)]
mod tests;
