//! How often which bodies were kept, and why the others were not, for those who watch the gateway: each record says it of its own call, and
//! nobody reads all of them.

use payload::Side;

use crate::observe::{Tally, closed};

closed! {
    /// What became of a body that the audit policy asks for: as `body.kept` and `body.why` of its record say it.
    Fate {
        /// It is sealed beside its record.
        Document = "document",
        /// It has no bytes.
        Empty = "empty",
        /// It is compressed.
        Compressed = "compressed",
        /// It has another media type than those that are read.
        OtherType = "otherType",
        /// It is longer than what is read.
        TooLong = "tooLong",
        /// Not all of it was there.
        CutOff = "cutOff",
        /// It is not what its type says.
        Malformed = "malformed",
        /// A text in it is not UTF-8.
        NotUtf8 = "notUtf8",
        /// It is nested too deep.
        TooDeep = "tooDeep",
        /// It has too many values.
        TooManyValues = "tooManyValues",
        /// Readers differ on it.
        ManyReadings = "manyReadings",
        /// It names half of a type.
        HalfType = "halfType",
        /// It is protobuf of a kind that is not known.
        UnknownKind = "unknownKind",
        /// It belongs to no API object.
        NotAnObject = "notAnObject",
        /// There was no room for anybody's.
        Budget = "budget",
        /// There was no room for one more of this subject's.
        OwnBudget = "ownBudget",
        /// It did not come in time.
        Slow = "slow",
        /// It broke off.
        BrokeOff = "brokeOff",
        /// The ledger had no room for it.
        Ledger = "ledger",
        /// It could not be sealed.
        NoKey = "noKey",
        /// A fault of the gateway.
        Fault = "fault",
    }
}

impl Fate {
    /// Of what a record says; a word that is not in the list is a fault.
    fn of(kept: &str, why: Option<&str>) -> Self {
        let word = why.filter(|_| kept != Self::Document.as_str()).unwrap_or(kept);
        let found = Self::ALL.iter().find(|fate| fate.as_str() == word);
        found.copied().unwrap_or(Self::Fault)
    }
}

/// Counts since the start of the process.
#[derive(Debug, Default)]
pub(in crate::audit) struct Counts {
    requests: Tally<{ Fate::ALL.len() }>,
    answers: Tally<{ Fate::ALL.len() }>,
}

impl Counts {
    fn of(&self, side: Side) -> &Tally<{ Fate::ALL.len() }> {
        match side {
            Side::Request => &self.requests,
            Side::Answer => &self.answers,
        }
    }

    pub(in crate::audit) fn add(&self, side: Side, kept: &str, why: Option<&str>) {
        self.of(side).add(Fate::of(kept, why) as usize);
    }

    /// `request` or `answer`, what became of it, and how often.
    pub(in crate::audit) fn each(&self) -> impl Iterator<Item = (&'static str, Fate, u64)> {
        let sides = [("request", Side::Request), ("answer", Side::Answer)].into_iter();
        sides.flat_map(move |(name, side)| {
            let fates = Fate::ALL.iter();
            fates.map(move |fate| (name, *fate, self.of(side).of(*fate as usize)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_count_of_its_own() {
        for why in payload::Why::ALL {
            assert_eq!(Fate::of("opaque", Some(why.code())).as_str(), why.code());
        }
        assert_eq!(Fate::of("document", None), Fate::Document);
        let counts = Counts::default();
        counts.add(Side::Answer, "none", Some("budget"));
        counts.add(Side::Request, "none", Some("no such word"));
        let counted: Vec<_> = counts.each().filter(|(_, _, count)| *count > 0).collect();
        assert_eq!(counted, [("request", Fate::Fault, 1), ("answer", Fate::Budget, 1)]);
    }
}
