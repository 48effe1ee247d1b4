//! What a row of leaves leads to: the checkpoints on the way, the footer, the next segment's header, and the hashes beside the segment, each of which can be
//! made anew by whoever can write here, but for what is signed.

use std::ops::Range;

use super::walk::Leaf;
use super::{Dispute, Examined, finding, one};
use crate::disk::Disk;
use crate::options::to_u64;
use crate::segment::{Footer, hashes_name};
use crate::tree::{Frontier, Hash};
use crate::verify::heads::Head;
use crate::verify::{FINDINGS_MAX, Fault, Finding, Stretches, add, read_whole};

/// The leaves that a walk found, to be held against what was signed.
pub(super) struct Leaves {
    pub(super) leaves: Vec<Leaf>,
    pub(super) footer: Option<Footer>,
    pub(super) file: String,
}

impl Leaves {
    /// `leads_to` is what the next segment says these records lead to, and `beside` has the hashes beside them: both can be made
    /// anew by whoever can write here, and a forger who forgets one of them is located by it.
    pub(super) fn compare(
        &self,
        beside: &Kept<'_>,
        heads: &[Head],
        leads_to: Option<&Frontier>,
        mut examined: Examined,
    ) -> Examined {
        let Some(start) = examined.start.clone() else {
            return examined;
        };
        let (first, next) = (examined.first, examined.next);
        let own = Followed::along(start.clone(), self.row(first, next), heads);
        let footer_holds = |followed: &Followed| match (&self.footer, &followed.end) {
            (Some(footer), Some(end)) => footer.root == end.root(),
            (Some(_), None) => false,
            (None, _) => true,
        };
        let mut believed = own;
        // Of the newest segment more hashes may stand beside it than a crash left records; what was signed says which of them count.
        let signed = heads.iter().map(|head| head.size).max().unwrap_or_default();
        let most = if leads_to.is_none() { signed.max(next) } else { u64::MAX };
        let is_short = first.saturating_add(beside.count()).min(most) > next;
        if is_short || !believed.holds(leads_to) || !footer_holds(&believed) {
            let mut kept = beside.hashes();
            kept.truncate(usize::try_from(most.saturating_sub(first)).unwrap_or(usize::MAX));
            let behind = self.row(first.saturating_add(to_u64(kept.len())), next);
            let said = Followed::along(start.clone(), kept.iter().copied().map(Some).chain(behind), heads);
            let by_head = said.heads.iter().any(|(_, held)| *held);
            let by_footer = self.footer.is_some() && footer_holds(&said);
            if said.holds(leads_to) && (by_head || by_footer || leads_to.is_some()) {
                // Up to here a signed root speaks for the hashes. What stands behind it can be made up, with the next header and the footer.
                let sizes = said.heads.iter().filter_map(|(index, _)| heads.get(*index));
                let sure = sizes.map(|head| head.size).max().unwrap_or(first);
                let (told, accusations) = self.altered(&kept, &examined, sure);
                for finding in told {
                    add(&mut examined.findings, finding, FINDINGS_MAX);
                }
                if !accusations.is_empty() {
                    let own = Followed::along(start, self.mixed(&kept, first..next, sure), heads);
                    examined.dispute = Some(self.dispute(own, accusations, [&said, &believed].map(footer_holds), next));
                }
                believed = said;
            }
        }
        let is_said = examined.findings.iter().any(|finding| finding.fault == Fault::Footer);
        if believed.end.is_some() && !footer_holds(&believed) && !is_said && examined.dispute.is_none() {
            add(&mut examined.findings, self.of_footer(next), FINDINGS_MAX);
        }
        (examined.end, examined.heads) = (believed.end, believed.heads);
        examined
    }

    /// The segment's records as they stand behind `sure`, and before it as the hashes beside them say; so, too, where one cannot be read.
    fn mixed(&self, kept: &[Hash], records: Range<u64>, sure: u64) -> impl Iterator<Item = Option<Hash>> + '_ {
        let until = records.end;
        let kept: Vec<_> = kept.iter().copied().map(Some).collect();
        let said = kept.into_iter().chain(std::iter::repeat(None));
        let both = self.row(records.start, u64::MAX).zip(said).zip(records.start..);
        both.take_while(move |(_, seq)| *seq < until || *seq < sure)
            .map(move |((own, said), seq)| if seq < sure { said.or(own) } else { own.or(said) })
    }

    /// Whichever of the two is right, the footer may be the other's.
    fn dispute(
        &self,
        own: Followed,
        mut accusations: Vec<Finding>,
        [by_said, by_own]: [bool; 2],
        next: u64,
    ) -> Dispute {
        accusations.extend((!by_said).then(|| self.of_footer(next)));
        let otherwise = (!by_own).then(|| self.of_footer(next));
        Dispute {
            own: own.end,
            accusations,
            otherwise: otherwise.into_iter().collect(),
        }
    }

    fn of_footer(&self, next: u64) -> Finding {
        finding(Fault::Footer, next..next, self.file.clone(), 0)
    }

    /// The hashes of the records `from .. until`; `None` for each that was not read. Whoever follows them stops at the first of these: their
    /// number is a stranger's.
    pub(super) fn row(&self, from: u64, until: u64) -> impl Iterator<Item = Option<Hash>> + '_ {
        let begin = self.leaves.partition_point(|leaf| leaf.seq < from);
        let mut there = self.leaves.get(begin..).unwrap_or_default().iter().peekable();
        (from..until).map(move |seq| there.next_if(|leaf| leaf.seq == seq).map(|leaf| leaf.hash))
    }

    /// Which records differ from the hashes that lead on: before `sure`, and behind it.
    pub(super) fn altered(&self, kept: &[Hash], examined: &Examined, sure: u64) -> (Vec<Finding>, Vec<Finding>) {
        let said = Stretches::of(examined.findings.iter().map(|finding| finding.records.clone()));
        let mut there = self.leaves.iter().peekable();
        let mut runs: Vec<(Range<u64>, u64)> = Vec::new();
        let mut seq = examined.first;
        for signed in kept {
            let leaf = there.next_if(|leaf| leaf.seq == seq);
            if leaf.is_none_or(|leaf| leaf.hash != *signed) && !said.has(seq) {
                match runs.last_mut() {
                    Some((records, _)) if records.end == seq && seq != sure => records.end = seq.saturating_add(1),
                    _ => runs.push((one(seq), leaf.map_or(0, |leaf| leaf.place))),
                }
            }
            seq = seq.saturating_add(1);
        }
        let (mut told, mut open) = (Vec::new(), Vec::new());
        for (records, place) in runs {
            // What stands beside the segment of records that are not here is what is missing.
            let (here, gone) = (
                records.start..records.end.min(examined.next),
                records.start.max(examined.next)..records.end,
            );
            let findings = if records.start < sure { &mut told } else { &mut open };
            for (fault, records, place) in [(Fault::Altered, here, place), (Fault::Missing, gone, 0)] {
                if !records.is_empty() {
                    add(
                        findings,
                        finding(fault, records, self.file.clone(), place),
                        FINDINGS_MAX,
                    );
                }
            }
        }
        (told, open)
    }
}

/// What a row of leaves leads to, and which checkpoints hold on the way.
pub(in crate::verify) struct Followed {
    pub(in crate::verify) end: Option<Frontier>,
    pub(in crate::verify) heads: Vec<(usize, bool)>,
}

impl Followed {
    /// Whether it is known where the leaves lead, every checkpoint on the way holds, and the next segment follows.
    pub(super) fn holds(&self, leads_to: Option<&Frontier>) -> bool {
        let end = self.end.as_ref();
        self.heads.iter().all(|(_, held)| *held) && end.is_some() && (leads_to.is_none() || end == leads_to)
    }

    pub(super) fn along(start: Frontier, hashes: impl Iterator<Item = Option<Hash>>, heads: &[Head]) -> Self {
        let mut following = Following::from(start, heads);
        for hash in hashes {
            let Some(hash) = hash else {
                let heads = following.compared;
                return Self { end: None, heads };
            };
            following.push(hash);
        }
        following.end()
    }
}

/// The same, leaf by leaf.
pub(in crate::verify) struct Following<'h> {
    frontier: Frontier,
    compared: Vec<(usize, bool)>,
    /// Checkpoints that are to come, and the index of the first of them.
    heads: &'h [Head],
    index: usize,
}

impl<'h> Following<'h> {
    pub(in crate::verify) fn from(frontier: Frontier, heads: &'h [Head]) -> Self {
        let index = heads.partition_point(|head| head.size < frontier.size());
        let mut following = Self {
            frontier,
            compared: Vec::new(),
            heads: heads.get(index..).unwrap_or_default(),
            index,
        };
        following.look();
        following
    }

    pub(in crate::verify) fn push(&mut self, leaf: Hash) {
        self.frontier.push(leaf);
        self.look();
    }

    fn look(&mut self) {
        if let [head, rest @ ..] = self.heads
            && head.size == self.frontier.size()
        {
            let held = head.root == self.frontier.root();
            self.compared.push((self.index, held));
            (self.heads, self.index) = (rest, self.index + 1);
        }
    }

    pub(in crate::verify) fn end(self) -> Followed {
        Followed {
            end: Some(self.frontier),
            heads: self.compared,
        }
    }
}

/// The hashes beside the segment, as many as there are: the writer hands them over in pieces. Read only where the records do not hold
/// by themselves.
pub(super) struct Kept<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) first: u64,
}

impl Kept<'_> {
    pub(super) fn count(&self) -> u64 {
        let file = self.disk.open_read(&hashes_name(self.first));
        file.and_then(|file| file.len()).map_or(0, |len| len / 32)
    }

    pub(super) fn hashes(&self) -> Vec<Hash> {
        let file = self.disk.open_read(&hashes_name(self.first));
        let bytes = file.and_then(|file| read_whole(&*file)).unwrap_or_default();
        bytes.as_chunks::<32>().0.to_vec()
    }
}
