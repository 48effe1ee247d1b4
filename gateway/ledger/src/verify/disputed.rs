//! What the chain of segments settles behind a segment: which of two is right where a record and the hash beside it differ, and which calls have no end.
//!
//! Who can write here makes the hash beside a record anew, and the header of the next segment, so that both say of an innocent record that it is
//! another one. So their word alone accuses nobody: both histories are followed until a signed root is met, and that one says which of them it was.

use super::segment::Examined;
use super::{Chain, Fault, Finding};
use crate::segment::segment_name;
use crate::tree::Frontier;

/// How a segment looks that is taken for one that follows from some state.
enum Seen {
    /// As it was read: its header says the same state.
    Itself,
    /// Otherwise.
    Again(Box<Examined>),
    /// Nobody knows.
    Unseen,
}

impl Seen {
    fn of<'e>(&'e self, itself: &'e Examined) -> Option<&'e Examined> {
        match self {
            Self::Itself => Some(itself),
            Self::Again(again) => Some(again),
            Self::Unseen => None,
        }
    }

    fn or(self, itself: Examined) -> Examined {
        match self {
            Self::Again(again) => *again,
            Self::Itself | Self::Unseen => itself,
        }
    }
}

impl Chain {
    /// Has a segment speak in a dispute about records before it. Gives back the segment as it is seen then.
    pub(super) fn settle(&mut self, segment: Examined) -> Examined {
        if segment.is_nothing() || self.dispute.is_none() {
            return segment;
        }
        let is_next = segment.first == self.report.size;
        let (Some(mut dispute), Some(said)) = (self.dispute.take_if(|_| is_next), self.frontier.clone()) else {
            self.leave_disputed();
            return segment;
        };
        let start = segment.start.clone();
        let by_said = self.seen_from(Some(&said), &segment);
        let by_own = self.seen_from(dispute.own.as_ref(), &segment);
        // Its header follows from one of the two at most.
        let header = self.made_up(&segment);
        if start.as_ref() != Some(&said) {
            dispute.accusations.push(header.clone());
        }
        if start != dispute.own {
            dispute.otherwise.push(header);
        }
        let is_met = |seen: &Examined| seen.heads.iter().any(|(_, held)| *held);
        let is_open = |seen: &Examined| seen.heads.is_empty() && seen.dispute.is_none() && seen.end.is_some();
        let by = |seen: &Seen, is: &dyn Fn(&Examined) -> bool| seen.of(&segment).is_some_and(is);
        // No made up state leads to a root that was signed.
        if by(&by_said, &is_met) {
            self.add_all(dispute.accusations);
            return by_said.or(segment);
        }
        if by(&by_own, &is_met) {
            self.add_all(dispute.otherwise);
            self.frontier = dispute.own;
            return by_own.or(segment);
        }
        // Nothing is signed here: the next one may speak.
        if by(&by_said, &is_open) && by(&by_own, &is_open) {
            // What is found in it depends on which of the two it follows from, so it waits for the word, too.
            if let Some(own) = by_own.of(&segment) {
                dispute.otherwise.extend(own.findings.iter().cloned());
                dispute.own = own.end.clone();
            }
            let mut seen = by_said.or(segment);
            dispute.accusations.append(&mut seen.findings);
            return Examined {
                dispute: Some(dispute),
                ..seen
            };
        }
        self.dispute = Some(dispute);
        self.leave_disputed();
        segment
    }

    /// A segment as it is where it follows from this state.
    fn seen_from(&self, state: Option<&Frontier>, segment: &Examined) -> Seen {
        let again = match state {
            None => return Seen::Unseen,
            state if segment.start.as_ref() == state => return Seen::Itself,
            Some(state) => self.examine_behind(state, segment),
        };
        again.map_or(Seen::Unseen, |again| Seen::Again(Box::new(again)))
    }

    fn made_up(&self, segment: &Examined) -> Finding {
        Finding {
            fault: Fault::Header,
            records: segment.first..segment.first,
            file: self.disk.display(&segment_name(segment.named)),
            offset: 0,
        }
    }

    /// Nothing that is signed said which of two is right: so it is said that they differ, and not that the record was altered.
    pub(super) fn leave_disputed(&mut self) {
        let Some(dispute) = self.dispute.take() else { return };
        for finding in dispute.accusations {
            let fault = match finding.fault {
                Fault::Altered => Fault::Disputed,
                other => other,
            };
            self.add_all([Finding { fault, ..finding }]);
        }
    }

    /// Holds the calls without an end that a header names against those that the records before it leave, and goes on from the records: one header that is
    /// made up accuses no other.
    pub(super) fn compare_calls(&mut self, segment: &Examined, name: &str) {
        let known = self.open.take();
        if let (Some(known), Some(said)) = (&known, &segment.open)
            && known != said
        {
            self.find(Fault::Calls, segment.first..segment.first, name, 0);
        }
        // Where records are missing or are not what they were, they do not say which calls they end.
        let Some(calls) = segment.calls.as_ref().filter(|_| segment.findings.is_empty()) else {
            return;
        };
        self.open = known.or_else(|| segment.open.clone()).map(|mut open| {
            open.retain(|seq, _| !calls.ended.contains(seq));
            open.extend(calls.begun.iter().map(|(seq, entry)| (*seq, entry.clone())));
            open
        });
    }
}
