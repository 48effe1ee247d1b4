//! What there is to say about a policy: why it is not taken, or what it may not do though it seems to say so.

use std::ops::Range;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The policy is not taken.
    Refused,
    /// It is taken, and something in it probably does not do what it was written for.
    Warning,
    /// It is taken, and somebody should know.
    Note,
}

impl Severity {
    /// For a person and a machine.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// What sort of finding, by a name that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// No YAML, or YAML that is not taken here.
    Syntax,
    /// A member that there is not, or one of another form.
    Form,
    /// A value that the API server refuses, too.
    Value,
    /// Every call that the rule matches is decided by an earlier one.
    Shadowed,
    /// No call can match it.
    MatchesNothing,
    /// Nobody of this name comes through the gateway.
    Nobody,
    /// A list that is written and empty means any.
    EmptyList,
    /// `resource/*` matches the resource itself, too.
    MatchesMore,
    /// A rule with names does not match creations.
    NamesSkipCreations,
    /// Changes, sessions or secrets leave the least record alone.
    LittleRecord,
    /// Bodies that hold secrets are asked for.
    BodiesOfSecrets,
    /// Calls that no rule matches have level None.
    NoCatchAll,
    /// Bodies are asked for, and the stage that has them is omitted.
    BodiesOmitted,
    /// It counts at the API server and changes nothing here.
    NoEffectHere,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Syntax,
        Self::Form,
        Self::Value,
        Self::Shadowed,
        Self::MatchesNothing,
        Self::Nobody,
        Self::EmptyList,
        Self::MatchesMore,
        Self::NamesSkipCreations,
        Self::LittleRecord,
        Self::BodiesOfSecrets,
        Self::NoCatchAll,
        Self::BodiesOmitted,
        Self::NoEffectHere,
    ];

    /// Its name, for machines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Form => "form",
            Self::Value => "value",
            Self::Shadowed => "shadowed",
            Self::MatchesNothing => "matchesNothing",
            Self::Nobody => "nobody",
            Self::EmptyList => "emptyList",
            Self::MatchesMore => "matchesMore",
            Self::NamesSkipCreations => "namesSkipCreations",
            Self::LittleRecord => "littleRecord",
            Self::BodiesOfSecrets => "bodiesOfSecrets",
            Self::NoCatchAll => "noCatchAll",
            Self::BodiesOmitted => "bodiesOmitted",
            Self::NoEffectHere => "noEffectHere",
        }
    }
}

/// One finding: what, where, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What sort.
    pub code: Code,
    /// In which rule, from 0.
    pub rule: Option<usize>,
    /// What is the matter, in one sentence.
    pub what: String,
    /// What to do.
    pub help: String,
    /// Which bytes of the file.
    pub place: Range<usize>,
}

impl Finding {
    /// Line and column of its place, both from 1; columns are characters.
    #[must_use]
    pub fn line_and_column(&self, text: &str) -> (usize, usize) {
        let before = text.get(..self.place.start).unwrap_or(text);
        let line = before.matches('\n').count().saturating_add(1);
        let last = before.rsplit('\n').next().unwrap_or_default();
        (line, last.chars().count().saturating_add(1))
    }
}
