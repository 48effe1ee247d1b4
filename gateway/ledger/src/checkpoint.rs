//! Checkpoints ([C2SP tlog-checkpoint]): the origin, size and root of a log, as the text of a note. Who signs it is the
//! note's business.
//!
//! [C2SP tlog-checkpoint]: https://c2sp.org/tlog-checkpoint

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::tree::Hash;

/// Why a text is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// Fewer than three lines, an empty one among them, or no newline at the end.
    #[error("a checkpoint has at least three lines, none empty: origin, size, root")]
    Lines,
    /// Not a decimal without leading zeros, or above 2^63 − 1.
    #[error("the second line of a checkpoint is the tree's size, a decimal without leading zeros")]
    Size,
    /// Not 32 bytes in base64.
    #[error("the third line of a checkpoint is the tree's root, 32 bytes in base64")]
    Root,
}

/// What a log says of itself: so many records, with this root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many records; at most 2^63 − 1, the largest that public clients can count.
    pub size: u64,
    /// The root of RFC 6962 over them.
    pub root: Hash,
}

impl Checkpoint {
    /// Reads a note's text. Lines behind the third are allowed and mean nothing here; the signatures cover them.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let lines: Vec<_> = text
            .strip_suffix('\n')
            .ok_or(CheckpointError::Lines)?
            .split('\n')
            .collect();
        let [origin, size, root, ..] = lines.as_slice() else {
            return Err(CheckpointError::Lines);
        };
        if lines.iter().any(|line| line.is_empty()) {
            return Err(CheckpointError::Lines);
        }
        let root = STANDARD.decode(root).map_err(|_| CheckpointError::Root)?;
        Ok(Self {
            origin: (*origin).to_owned(),
            size: decimal(size).ok_or(CheckpointError::Size)?,
            root: root.try_into().map_err(|_| CheckpointError::Root)?,
        })
    }
}

impl fmt::Display for Checkpoint {
    /// The text of the note: three lines.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{}\n{}\n{}",
            self.origin,
            self.size,
            STANDARD.encode(self.root)
        )
    }
}

/// A decimal as all C2SP texts have it: digits, no sign, no leading zero, at most 2^63 − 1.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let is_plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    text.parse()
        .ok()
        .filter(|&number| is_plain && i64::try_from(number).is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn the_specification_s_example_is_read_and_written() {
        let checkpoint = Checkpoint::parse(EXAMPLE).unwrap();
        assert_eq!(checkpoint.origin, "example.com/behind-the-sofa");
        assert_eq!(checkpoint.size, 20_852_163);
        assert_eq!(checkpoint.to_string(), EXAMPLE);
    }

    #[test]
    fn what_is_not_exactly_a_checkpoint_is_refused() {
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        let cases = [
            (String::new(), CheckpointError::Lines),
            (format!("a\n1\n{root}"), CheckpointError::Lines),
            ("a\n1\n".to_owned(), CheckpointError::Lines),
            (format!("\n1\n{root}\n"), CheckpointError::Lines),
            (format!("a\n1\n{root}\n\n"), CheckpointError::Lines),
            (format!("a\n01\n{root}\n"), CheckpointError::Size),
            (format!("a\n+1\n{root}\n"), CheckpointError::Size),
            (format!("a\n-1\n{root}\n"), CheckpointError::Size),
            (format!("a\n9223372036854775808\n{root}\n"), CheckpointError::Size),
            ("a\n1\nAAAA\n".to_owned(), CheckpointError::Root),
            (format!("a\n1\n{}\n", root.trim_end_matches('=')), CheckpointError::Root),
        ];
        for (text, error) in cases {
            assert_eq!(Checkpoint::parse(&text), Err(error), "{text:?}");
        }
        let extended = Checkpoint::parse(&format!("a\n9223372036854775807\n{root}\nmore\n")).unwrap();
        assert_eq!(extended.size, i64::MAX as u64);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_the_same(origin in "[a-z0-9./-]{1,40}", size in 0..=i64::MAX as u64, root: Hash) {
            let checkpoint = Checkpoint { origin, size, root };
            prop_assert_eq!(Checkpoint::parse(&checkpoint.to_string()), Ok(checkpoint));
        }

        #[test]
        fn whatever_is_read_is_written_the_same_but_for_extensions(text in "[a-z0-9+/=\n]{0,120}") {
            if let Ok(checkpoint) = Checkpoint::parse(&text) {
                prop_assert!(text.starts_with(&checkpoint.to_string()));
            }
        }
    }
}
