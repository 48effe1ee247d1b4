//! Entry bundles as C2SP tlog-tiles has them: each entry behind its length in two bytes, most significant first. An entry is a
//! leaf as it was hashed.

use crate::frame::MAX_LEAF_LEN;

// The frame's limit is the bundle's: no leaf is too long for one.
const _: () = assert!(MAX_LEAF_LEN == 0xffff);

/// Why bytes are no entry bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The bytes end inside an entry or its length.
    #[error("the entry bundle ends inside entry {0}")]
    Short(usize),
    /// Fewer entries than the bundle has to have.
    #[error("the entry bundle has {have} entries and not {want}")]
    Few {
        /// How many it has.
        have: usize,
        /// How many it has to have.
        want: u16,
    },
    /// Bytes behind the last entry.
    #[error("bytes stand behind the last entry of the bundle")]
    Long,
}

/// The entries of a bundle of `width` entries.
///
/// # Errors
/// The bytes are not exactly that many entries.
pub fn bundle_entries(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    for _ in 0..width {
        if rest.is_empty() {
            let have = entries.len();
            return Err(BundleError::Few { have, want: width });
        }
        let short = BundleError::Short(entries.len());
        let (len, after) = rest.split_first_chunk::<2>().ok_or(short)?;
        let len = usize::from(u16::from_be_bytes(*len));
        let (entry, after) = after.split_at_checked(len).ok_or(short)?;
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() {
        Ok(entries)
    } else {
        Err(BundleError::Long)
    }
}

/// Appends an entry to a bundle; `None` when it is longer than any leaf is.
pub(crate) fn push_entry(bundle: &mut Vec<u8>, leaf: &[u8]) -> Option<()> {
    let len = u16::try_from(leaf.len()).ok()?;
    bundle.extend_from_slice(&len.to_be_bytes());
    bundle.extend_from_slice(leaf);
    Some(())
}

/// Reads foreign bytes as an entry bundle, of each width that they could have. Panics when what is taken is not written the
/// same again.
pub fn fuzz_entry_bundle(data: &[u8]) {
    for width in [0, 1, 2, 255, 256] {
        let Ok(entries) = bundle_entries(data, width) else {
            continue;
        };
        assert_eq!(entries.len(), usize::from(width), "as many as were asked for");
        let mut again = Vec::new();
        let written = entries.iter().try_for_each(|entry| push_entry(&mut again, entry));
        assert!(written.is_some() && again == data, "a bundle is written in one way");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bundle(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in entries {
            push_entry(&mut out, entry).unwrap();
        }
        out
    }

    #[test]
    fn a_bundle_has_big_endian_lengths_and_nothing_else() {
        assert_eq!(bundle(&[b"ab".to_vec(), vec![]]), b"\0\x02ab\0\0");
        let long = vec![7; 0xffff];
        let bytes = bundle(std::slice::from_ref(&long));
        assert_eq!(bytes[..2], [0xff, 0xff]);
        assert_eq!(bundle_entries(&bytes, 1), Ok(vec![&long[..]]));
        assert_eq!(push_entry(&mut Vec::new(), &[0; 0x1_0000]), None);
    }

    #[test]
    fn bytes_that_are_not_exactly_so_many_entries_are_refused() {
        let bytes = bundle(&[b"ab".to_vec(), b"c".to_vec()]);
        assert_eq!(bundle_entries(&bytes, 3), Err(BundleError::Few { have: 2, want: 3 }));
        assert_eq!(bundle_entries(&bytes, 1), Err(BundleError::Long));
        for cut in 1..bytes.len() {
            let expected = match cut {
                1..4 => BundleError::Short(0),
                4 => BundleError::Few { have: 1, want: 2 },
                _ => BundleError::Short(1),
            };
            assert_eq!(bundle_entries(&bytes[..cut], 2), Err(expected), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn the_entries_of_a_bundle_are_read_back(
            entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..256)
        ) {
            let bytes = bundle(&entries);
            let width = u16::try_from(entries.len()).unwrap();
            let read = bundle_entries(&bytes, width).unwrap();
            prop_assert!(read.iter().eq(entries.iter()));
        }

        #[test]
        fn foreign_bytes_are_read_or_refused(bytes in prop::collection::vec(0_u8..4, 0..600)) {
            fuzz_entry_bundle(&bytes);
        }
    }
}
