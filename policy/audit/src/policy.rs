//! A policy as values. Made by [`crate::load`] alone, so that one that exists is one the API server would take.

use std::fmt;

/// How much of a call is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing; at this gateway its own least record.
    None,
    /// Who, what, when, from where, how it ended.
    Metadata,
    /// And the body of the request.
    Request,
    /// And that of the answer.
    RequestResponse,
}

impl Level {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::None, Self::Metadata, Self::Request, Self::RequestResponse];

    /// As a policy spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == name)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A moment of a call at which the API server writes an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The request has come.
    RequestReceived,
    /// The head of a long answer has gone out.
    ResponseStarted,
    /// The answer is over.
    ResponseComplete,
    /// The handler panicked.
    Panic,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::RequestReceived,
        Self::ResponseStarted,
        Self::ResponseComplete,
        Self::Panic,
    ];

    /// As a policy spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }
}

/// A set of stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stages(u8);

impl Stages {
    const fn bit(stage: Stage) -> u8 {
        match stage {
            Stage::RequestReceived => 1,
            Stage::ResponseStarted => 2,
            Stage::ResponseComplete => 4,
            Stage::Panic => 8,
        }
    }

    pub(crate) const fn insert(&mut self, stage: Stage) {
        self.0 |= Self::bit(stage);
    }

    /// Those of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it is among them.
    #[must_use]
    pub const fn contains(self, stage: Stage) -> bool {
        self.0 & Self::bit(stage) != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// In the order of a call.
    pub fn iter(self) -> impl Iterator<Item = Stage> {
        Stage::ALL.into_iter().filter(move |stage| self.contains(*stage))
    }
}

/// Rules in order; the first that matches decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(crate) rules: Vec<Rule>,
    pub(crate) omit_stages: Stages,
    pub(crate) omit_managed_fields: bool,
}

impl Policy {
    /// The rules in order; there is at least one.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Stages that are omitted whichever rule decides.
    #[must_use]
    pub const fn omit_stages(&self) -> Stages {
        self.omit_stages
    }
}

/// One rule. An empty list means any, but for [`Scope`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(crate) level: Level,
    pub(crate) users: Names,
    pub(crate) user_groups: Names,
    pub(crate) verbs: Names,
    pub(crate) scope: Scope,
    pub(crate) omit_stages: Stages,
    pub(crate) omit_managed_fields: Option<bool>,
}

impl Rule {
    /// What it gives.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// What it is about.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }
}

pub(crate) type Names = Vec<Box<str>>;

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every call: neither resources nor namespaces nor URLs are named.
    Any,
    /// Resources alone. An empty list means any; of namespaces, `` is that of cluster-wide calls.
    Resources {
        /// Exact names.
        namespaces: Names,
        /// Any of these.
        resources: Vec<ResourceRule>,
    },
    /// Paths that are no resources: `*`, exact, or with a star at the end.
    Paths(Names),
}

/// Resources of one API group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceRule {
    pub(crate) group: Box<str>,
    pub(crate) resources: Names,
    pub(crate) names: Names,
}
