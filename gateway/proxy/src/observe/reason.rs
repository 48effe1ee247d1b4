//! Why a request was refused, as labels of metrics: closed lists, so that no request can make a series.

use crate::refusal::Limit;

/// A closed list whose members have a name in records and metrics.
macro_rules! closed {
    ($(#[$about:meta])* $list:ident { $($(#[$says:meta])* $member:ident = $name:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $list {
            $($(#[$says])* $member,)*
        }

        impl $list {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$member,)*];

            /// The name in records and metrics; stable.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$member => $name,)*
                }
            }
        }
    };
}
pub(crate) use closed;

/// A list of members without names of their own, that knows all of them: each series is there from the start, and rates
/// of what happens for the first time are right.
macro_rules! listed {
    ($(#[$about:meta])* pub enum $list:ident { $($(#[$says:meta])* $member:ident,)* }) => {
        $(#[$about])*
        pub enum $list {
            $($(#[$says])* $member,)*
        }

        impl $list {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$member,)*];
        }
    };
}
pub(crate) use listed;

closed! {
    /// Why a request was refused.
    Reason {
        /// The message breaks HTTP.
        Malformed = "malformed",
        /// The target breaks our rules.
        Target = "target",
        /// Header lines could be read in two ways.
        Headers = "headers",
        /// No site answers to the host name.
        UnknownHost = "unknownHost",
        /// No service is published at the path.
        NotPublished = "notPublished",
        /// A page of another origin asks with somebody's cookie.
        ForeignPage = "foreignPage",
        /// A workload shows an assertion by which it may not act.
        BrokenChain = "brokenChain",
        /// The body is larger than the service takes.
        TooLarge = "tooLarge",
        /// A service cannot be told who calls.
        NotAsserted = "notAsserted",
        /// Nothing was presented.
        NoCredential = "noCredential",
        /// What was presented proves nobody.
        BadCredential = "badCredential",
        /// Whether it proves somebody could not be found out.
        CannotVerify = "cannotVerify",
        /// The sign-in has ended.
        SignInEnded = "sessionEnded",
        /// The caller is locked out.
        Locked = "locked",
        /// It was allowed, and had to end before it was sent.
        Ended = "ended",
        /// A rule forbids it.
        Forbidden = "forbidden",
        /// No role and no rule allows it.
        NoRule = "noRule",
        /// The caller has no group.
        NoGroups = "noGroups",
        /// The method means nothing.
        UnknownVerb = "unknownVerb",
        /// The caller may not act as somebody else.
        MayNotImpersonate = "mayNotImpersonate",
        /// No rule lets the workload act for the caller.
        NoOnBehalfOf = "noOnBehalfOf",
        /// A name that is never accepted from outside.
        ReservedName = "reservedName",
        /// More groups than are sent.
        TooManyGroups = "tooManyGroups",
        /// A duty that was not met.
        Obligation = "obligation",
        /// The rules of the cluster are too old.
        StaleSnapshot = "staleSnapshot",
        /// The cluster was asked and said no.
        ClusterSaysNo = "clusterSaysNo",
        /// The cluster was asked and did not answer.
        ClusterSilent = "clusterSilent",
        /// A limit is reached.
        Limit = "limit",
        /// The ledger does not take the record.
        Ledger = "ledger",
        /// No connection to the cluster.
        UpstreamUnreachable = "upstreamUnreachable",
        /// The cluster's answer was lost.
        UpstreamLost = "upstreamLost",
        /// The cluster did not answer in time.
        UpstreamSilent = "upstreamSilent",
        /// The cluster refused the gateway's own credential.
        GatewayCredential = "gatewayCredential",
        /// The gateway is about to stop.
        Draining = "draining",
        /// A fault of ours.
        Internal = "internal",
    }
}

closed! {
    /// Which limit a request met.
    LimitKind {
        /// Requests in flight of one subject.
        InFlight = "inFlight",
        /// Records a second of one subject.
        RecordsPerSecond = "recordsPerSecond",
        /// Ledger bytes a day of one subject.
        BytesPerDay = "bytesPerDay",
        /// What all strangers share.
        Strangers = "strangers",
        /// Long calls of one subject.
        Streams = "streams",
        /// Long calls of all.
        LongCalls = "longCalls",
        /// Questions to the cluster of one subject.
        Questions = "questions",
        /// Logs that one subject reads at the same time.
        Logs = "logs",
        /// Plain requests through `proxy` subresources of one subject.
        Proxied = "proxied",
        /// Recordings of one subject that no session began with.
        Unbegun = "unbegun",
        /// Subjects told apart at the same time.
        Subjects = "subjects",
        /// What all of the public have together.
        Public = "public",
    }
}

impl Reason {
    /// Whether it is ours or the cluster's failure, and no fault of the caller: worth a line in the log.
    #[must_use]
    pub const fn is_own_failure(self) -> bool {
        match self {
            Self::Ledger
            | Self::UpstreamUnreachable
            | Self::UpstreamLost
            | Self::UpstreamSilent
            | Self::GatewayCredential
            | Self::StaleSnapshot
            | Self::ClusterSilent
            | Self::CannotVerify
            | Self::NotAsserted
            | Self::Internal => true,
            Self::Malformed
            | Self::Target
            | Self::Headers
            | Self::UnknownHost
            | Self::NotPublished
            | Self::ForeignPage
            | Self::TooLarge
            | Self::BrokenChain
            | Self::NoCredential
            | Self::BadCredential
            | Self::SignInEnded
            | Self::Locked
            | Self::Ended
            | Self::Forbidden
            | Self::NoRule
            | Self::NoGroups
            | Self::UnknownVerb
            | Self::MayNotImpersonate
            | Self::NoOnBehalfOf
            | Self::ReservedName
            | Self::TooManyGroups
            | Self::Obligation
            | Self::ClusterSaysNo
            | Self::Limit
            | Self::Draining => false,
        }
    }
}

impl From<Limit> for LimitKind {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::InFlight(_) => Self::InFlight,
            Limit::RecordsPerSecond(_) => Self::RecordsPerSecond,
            Limit::BytesPerDay(_) => Self::BytesPerDay,
            Limit::Strangers => Self::Strangers,
            Limit::Streams(_) => Self::Streams,
            Limit::LongCalls(_) => Self::LongCalls,
            Limit::Questions(_) => Self::Questions,
            Limit::Logs(_) => Self::Logs,
            Limit::Proxied(_) => Self::Proxied,
            Limit::Unbegun(_) => Self::Unbegun,
            Limit::Subjects => Self::Subjects,
            Limit::Public => Self::Public,
        }
    }
}
