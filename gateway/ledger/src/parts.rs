//! What a leaf says of the parts before it, held against those that stand there. Needs no key: a leaf binds the sealed bytes.
//!
//! Not here: what the parts say, and the commitment to that (whoever sealed them).

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;

use crate::queue::Part;
use crate::tree::sha256;

impl Part {
    /// What a leaf says of these sealed bytes, `parts[].sealed`: SHA-256, hexadecimal. So whoever has the public key alone sees that
    /// they are those that were written.
    #[must_use]
    pub fn digest(bytes: &[u8]) -> String {
        hex::encode(sha256(bytes))
    }
}

/// How the parts before a leaf differ from those that it commits to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartsFault {
    /// Some do not stand there.
    #[error("{0} of its parts are missing")]
    Missing(usize),
    /// More stand there than the leaf binds.
    #[error("{0} parts stand beside it that are not its own")]
    Surplus(usize),
    /// One is not the one that was sealed with this record.
    #[error("part {part} of {of} beside it is not the one that was sealed with it")]
    Altered {
        /// Which, from 1.
        part: usize,
        /// Of how many.
        of: usize,
    },
}

/// One entry of a leaf's `parts`, as far as the ledger reads it.
#[derive(Debug, Deserialize)]
pub(crate) struct Declared {
    /// Absent in what an earlier build wrote.
    #[serde(default)]
    pub(crate) sealed: Option<String>,
    /// The public name of the key that it is sealed under.
    #[serde(default)]
    pub(crate) key: Option<String>,
}

/// Whether a leaf can speak of parts at all. Quotes inside a text are escaped, so these bytes stand nowhere else; most leaves have none and need no parse.
pub(crate) fn may_declare(leaf: &[u8]) -> bool {
    static MEMBER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"parts\":["));
    MEMBER.find(leaf).is_some()
}

/// What a leaf says of its parts; nothing where it says nothing, or nothing that can be read.
pub(crate) fn declared(leaf: &[u8]) -> Vec<Declared> {
    #[derive(Deserialize)]
    struct OnlyParts {
        #[serde(default)]
        parts: Vec<Declared>,
    }
    if !may_declare(leaf) {
        return Vec::new();
    }
    serde_json::from_slice::<OnlyParts>(leaf).map_or_else(|_| Vec::new(), |leaf| leaf.parts)
}

/// Compares the parts that stand before a leaf with what it says of them. Gives the number of those that it binds; the others it
/// only counts, and more than it counts are no fault while it binds none: both is how earlier builds wrote.
///
/// # Errors
/// The first difference.
pub(crate) fn check(leaf: &[u8], parts: &[impl AsRef<[u8]>]) -> Result<usize, PartsFault> {
    compare(&declared(leaf), parts)
}

/// As [`check`], of what a leaf is known to say.
///
/// # Errors
/// As there.
pub(crate) fn compare(declared: &[Declared], parts: &[impl AsRef<[u8]>]) -> Result<usize, PartsFault> {
    // Nothing that binds none is hashed.
    if declared.iter().all(|part| part.sealed.is_none()) {
        return compare_count(declared, parts.len()).map(|()| 0);
    }
    let digests: Vec<String> = parts.iter().map(|part| Part::digest(part.as_ref())).collect();
    compare_digests(declared, &digests)
}

/// As [`compare`], of the parts' digests.
///
/// # Errors
/// As there.
pub(crate) fn compare_digests(declared: &[Declared], digests: &[String]) -> Result<usize, PartsFault> {
    compare_count(declared, digests.len())?;
    let (mut bound, of) = (0, declared.len());
    for (index, (said, digest)) in declared.iter().zip(digests).enumerate() {
        let Some(said) = &said.sealed else { continue };
        if said != digest {
            return Err(PartsFault::Altered { part: index + 1, of });
        }
        bound += 1;
    }
    Ok(bound)
}

fn compare_count(declared: &[Declared], there: usize) -> Result<(), PartsFault> {
    let missing = declared.len().saturating_sub(there);
    if missing > 0 {
        return Err(PartsFault::Missing(missing));
    }
    let surplus = there.saturating_sub(declared.len());
    if surplus > 0 && declared.iter().any(|part| part.sealed.is_some()) {
        return Err(PartsFault::Surplus(surplus));
    }
    Ok(())
}

/// The keys of those parts that do not stand there, where all others do, in their order, and every missing one names its key: so a copy
/// looks that was made without what is erased. `None` where it looks otherwise.
pub(crate) fn detached<'d>(declared: &'d [Declared], parts: &[impl AsRef<[u8]>]) -> Option<Vec<&'d str>> {
    let mut there = parts.iter().map(|part| Part::digest(part.as_ref())).peekable();
    let mut keys = Vec::new();
    for said in declared {
        let sealed = said.sealed.as_deref()?;
        if there.next_if(|digest| digest == sealed).is_none() {
            keys.push(said.key.as_deref()?);
        }
    }
    there.next().is_none().then_some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(parts: &[Option<&[u8]>]) -> Vec<u8> {
        let entry = |part: &Option<&[u8]>| match part {
            Some(bytes) => format!("{{\"name\":\"query\",\"sealed\":\"{}\"}}", Part::digest(bytes)),
            None => "{\"name\":\"query\"}".to_owned(),
        };
        let entries: Vec<_> = parts.iter().map(entry).collect();
        format!("{{\"note\":\"\\\"parts\\\":[\",\"parts\":[{}]}}", entries.join(",")).into_bytes()
    }

    #[test]
    fn sealed_bytes_are_bound_one_by_one_and_what_an_older_release_wrote_is_counted() {
        let none: [&[u8]; 0] = [];
        assert_eq!(check(b"{\"note\":\"\\\"parts\\\":[\"}", &none), Ok(0));
        let bound = leaf(&[Some(b"a"), Some(b"b")]);
        assert_eq!(check(&bound, &[b"a", b"b"]), Ok(2));
        let cases: [(&[&[u8]], PartsFault); 5] = [
            (&[b"b", b"a"], PartsFault::Altered { part: 1, of: 2 }),
            (&[b"a", b"c"], PartsFault::Altered { part: 2, of: 2 }),
            (&[b"a"], PartsFault::Missing(1)),
            (&[b"a", b"b", b"b"], PartsFault::Surplus(1)),
            (&[], PartsFault::Missing(2)),
        ];
        for (parts, fault) in cases {
            assert_eq!(check(&bound, parts), Err(fault));
        }
        let old = leaf(&[None, None]);
        assert_eq!(check(&old, &[b"x", b"y"]), Ok(0));
        assert_eq!(check(&old, &[b"x", b"y", b"z"]), Ok(0));
        assert_eq!(check(&old, &[b"x"]), Err(PartsFault::Missing(1)));
        assert_eq!(check(&leaf(&[None, Some(b"b")]), &[b"x", b"b"]), Ok(1));
    }

    #[test]
    fn what_was_left_out_is_told_by_its_keys_and_only_where_the_rest_is_as_it_was() {
        let entry = |bytes: &[u8], key: &str| format!("{{\"key\":\"{key}\",\"sealed\":\"{}\"}}", Part::digest(bytes));
        let leaf = format!(
            "{{\"parts\":[{},{},{}]}}",
            entry(b"a", "k"),
            entry(b"b", "l"),
            entry(b"c", "k")
        );
        let declared = declared(leaf.as_bytes());
        /// Parts that are there, and the keys of those that are not.
        type Case<'c> = (&'c [&'c [u8]], Option<&'c [&'c str]>);
        let left: [Case<'_>; 6] = [
            (&[b"b"], Some(&["k", "k"])),
            (&[b"a", b"c"], Some(&["l"])),
            (&[], Some(&["k", "l", "k"])),
            (&[b"c", b"b"], None),
            (&[b"x"], None),
            (&[b"a", b"x"], None),
        ];
        for (parts, keys) in left {
            assert_eq!(detached(&declared, parts).as_deref(), keys, "{parts:?}");
        }
        let nameless = super::declared(self::leaf(&[Some(b"a")]).as_slice());
        assert_eq!(detached(&nameless, &[] as &[&[u8]]), None, "whose key nobody knows");
    }

    #[test]
    fn the_digest_is_sha_256_of_the_bytes() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-4, the example "abc"
        assert_eq!(Part::digest(b"abc"), abc);
    }
}
