//! Whether enough witnesses have cosigned what is checked, and until where.
//!
//! A witness that cosigned a checkpoint vouches for all records before it, too. So the records that `N` of the witnesses vouch for are
//! those up to the N-th largest of the sizes that they cosigned, each of which was compared with these very records.

use std::path::Path;

use ledger::note::{Algorithm, VerifierKey, Vouched};
use ledger::verify::Report;

use super::{Refused, key_of};
use crate::Exit;

/// Which witnesses are asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) keys: Vec<VerifierKey>,
    quorum: usize,
}

impl Asked {
    /// The witnesses of the command line.
    pub(crate) fn of(given: &[String], quorum: Option<u8>) -> Result<Self, Refused> {
        let usage = |what: String| (Exit::Usage, anyhow::anyhow!(what));
        let mut keys: Vec<VerifierKey> = Vec::new();
        for given in given {
            let key = key_of(given)?;
            if key.algorithm() != Algorithm::Cosignature {
                let key = key.short();
                return Err(usage(format!("`{key}` is the key of a log: give it with `--key`")));
            }
            // Twice the same one is one witness.
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let quorum = quorum.map_or(keys.len(), usize::from);
        if quorum > keys.len() {
            let many = keys.len();
            return Err(usage(format!(
                "{quorum} witnesses are asked for with `--quorum`, and {many} are given"
            )));
        }
        Ok(Self { keys, quorum })
    }

    /// How many have to cosign; `None` where no witness is asked for.
    pub(super) fn quorum(&self) -> Option<usize> {
        (!self.keys.is_empty()).then_some(self.quorum)
    }

    /// Whether this signer, `NAME+ID`, is one of them.
    pub(super) fn is_one(&self, signer: &str) -> bool {
        self.keys.iter().any(|key| key.short() == signer)
    }

    /// How many records enough of them vouch for; `None` where no witness is asked for.
    pub(super) fn reached(&self, report: &Report) -> Option<u64> {
        let last = self.quorum()?.checked_sub(1)?;
        let size = |key: &VerifierKey| report.signers.get(&key.short()).copied().unwrap_or(0);
        let mut sizes: Vec<u64> = self.keys.iter().map(size).collect();
        sizes.sort_unstable_by(|one, other| other.cmp(one));
        Some(sizes.get(last).copied().unwrap_or(0))
    }

    /// Refuses a proof for whose checkpoint too few of them vouch.
    pub(crate) fn demand(&self, vouched: &[Vouched<'_>], proof: &Path) -> Result<(), Refused> {
        let count = vouched.iter().filter(|by| self.keys.contains(by.key)).count();
        if count >= self.quorum {
            return Ok(());
        }
        let what = format!(
            "`{}` is signed, and not witnessed: {} of the {} witnesses have to have cosigned its checkpoint",
            proof.display(),
            self.quorum,
            self.keys.len()
        );
        Err((Exit::Integrity, anyhow::anyhow!(what)))
    }

    /// What a person reads.
    pub(super) fn in_words(&self, report: &Report) -> Option<String> {
        let (quorum, many) = (self.quorum()?, self.keys.len());
        let whom = format!("{quorum} of {many} witnesses");
        Some(match self.reached(report)? {
            0 => format!("✖ nothing is witnessed: {whom} have to have cosigned"),
            reached if reached >= report.size => format!("✔ every record is witnessed, by at least {whom}"),
            reached => format!(
                "✔ records 0 to {} are witnessed, by at least {whom}\n  not shown: records {reached} to {} are not witnessed: what \
                 follows could be another history than that of the witnesses",
                reached - 1,
                report.size - 1
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use ledger::note::KeyName;

    use super::*;

    fn key(number: u8) -> VerifierKey {
        let name = KeyName::new(format!("w{number}")).unwrap();
        VerifierKey::new(name, Algorithm::Cosignature, [number; 32])
    }

    #[test]
    fn a_quorum_vouches_up_to_the_smallest_size_of_its_largest_ones() {
        let keys = [key(1), key(2), key(3)];
        let given: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let mut report = Report {
            size: 12,
            ..Report::default()
        };
        report.signers.insert(keys[0].short(), 10);
        report.signers.insert(keys[2].short(), 12);
        for (quorum, reached) in [(1, 12), (2, 10), (3, 0)] {
            let asked = Asked::of(&given, Some(quorum)).unwrap();
            assert_eq!(asked.reached(&report), Some(reached), "{quorum}");
        }
        assert_eq!(Asked::of(&given, None).unwrap().quorum(), Some(3), "all when left out");
        assert_eq!(Asked::of(&[], None).unwrap().reached(&report), None);
        let proof = Path::new("p");
        assert!(Asked::of(&[], None).unwrap().demand(&[], proof).is_ok());
        assert_eq!(
            Asked::of(&given, Some(1)).unwrap().demand(&[], proof).unwrap_err().0,
            Exit::Integrity
        );
    }

    #[test]
    fn one_witness_given_twice_is_one_and_a_log_is_none() {
        let twice = [key(1).to_string(), key(1).to_string()];
        assert_eq!(Asked::of(&twice, None).unwrap().quorum(), Some(1));
        assert_eq!(Asked::of(&twice, Some(2)).unwrap_err().0, Exit::Usage);
        let log = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".to_owned();
        assert_eq!(Asked::of(&[log], None).unwrap_err().0, Exit::Usage);
    }
}
