//! One header block of an archive: POSIX ustar (IEEE Std 1003.1 `pax`, "ustar Interchange Format"), GNU, and the seventh edition's.

/// The size of everything in an archive.
pub(super) const BLOCK: usize = 512;
/// The same, of lengths in archives.
pub(super) const BLOCK_BYTES: u64 = 512;

/// A block, whole.
pub(super) type Block = [u8; BLOCK];

/// What a header says that is needed to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The type flag.
    pub(super) kind: u8,
    pub(super) mode: u32,
    /// Bytes of content that follow, without padding.
    pub(super) size: u64,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    /// Old GNU sparse files: blocks with more of the map follow.
    pub(super) has_more_map: bool,
}

pub(super) fn is_zero(block: &Block) -> bool {
    block.iter().all(|byte| *byte == 0)
}

/// Reads a block; says what is wrong with it.
pub(super) fn parse(block: &Block) -> Result<Header, &'static str> {
    let said = octal(field(block, 148, 8)).ok_or("no tar header: its checksum is no number")?;
    if !sums(block).contains(&Some(said)) {
        return Err("no tar header: its checksum is wrong");
    }
    let kind = block.get(156).copied().unwrap_or(0);
    let is_gnu = field(block, 257, 8) == b"ustar  \0";
    let is_posix = field(block, 257, 6) == b"ustar\0";
    let mut name = text(field(block, 0, 100)).to_vec();
    let prefix = text(field(block, 345, 155));
    if is_posix && !prefix.is_empty() {
        name = [prefix, b"/", &name].concat();
    }
    let mode = number(field(block, 100, 8)).unwrap_or(0) & 0o7777;
    Ok(Header {
        kind,
        mode: u32::try_from(mode).unwrap_or(0),
        size: number(field(block, 124, 12)).ok_or("a tar header whose size is no number")?,
        name,
        link: text(field(block, 157, 100)).to_vec(),
        has_more_map: is_gnu && kind == b'S' && block.get(482) == Some(&1),
    })
}

/// A block with more of the map of a sparse file says so again.
pub(super) fn map_goes_on(block: &Block) -> bool {
    block.get(504) == Some(&1)
}

fn field(block: &Block, at: usize, length: usize) -> &[u8] {
    block.get(at..).and_then(|rest| rest.get(..length)).unwrap_or_default()
}

/// Up to the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The sum of all bytes with blanks in the checksum's place; some writers took bytes for signed.
fn sums(block: &Block) -> [Option<u64>; 2] {
    let (mut unsigned, mut signed) = (0_u64, 0_i64);
    for (at, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { *byte };
        unsigned = unsigned.saturating_add(byte.into());
        signed = signed.saturating_add(i8::from_ne_bytes([byte]).into());
    }
    [Some(unsigned), u64::try_from(signed).ok()]
}

/// Octal digits, or the base-256 form of GNU for what needs more; none for negative numbers and those above 2^63.
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if *first & 0x80 == 0 {
        return octal(field);
    }
    let start = u64::from(*first & 0x7f);
    let value = rest.iter().try_fold(start, |value, byte| {
        value.checked_mul(256)?.checked_add(u64::from(*byte))
    })?;
    i64::try_from(value).is_ok().then_some(value)
}

fn octal(field: &[u8]) -> Option<u64> {
    let digits = field.trim_ascii_start();
    let end = digits
        .iter()
        .position(|byte| matches!(byte, b' ' | 0))
        .unwrap_or(digits.len());
    digits.get(..end)?.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value.checked_mul(8)?.checked_add(digit.into())
    })
}
