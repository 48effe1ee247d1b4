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
}

pub(super) fn is_zero(block: &Block) -> bool {
    block.iter().all(|byte| *byte == 0)
}

/// Reads a block; says what is wrong with it, or what programs read in it differently.
pub(super) fn parse(block: &Block) -> Result<Header, &'static str> {
    let said = octal(field(block, 148, 8)).ok_or("no tar header: its checksum is no number")?;
    if !sums(block).contains(&Some(said)) {
        return Err("no tar header: its checksum is wrong");
    }
    if is_unnamed(block) {
        return Err("a header without a name");
    }
    let magic = field(block, 257, 8);
    let is_posix = magic.starts_with(b"ustar\0");
    if !is_posix && magic != b"ustar  \0" && magic != [0; 8] {
        return Err("a header of an unknown format");
    }
    let prefix = text(field(block, 345, 155));
    // GNU tar and Go's reader take none elsewhere; busybox and Python do. An archive of star has other fields from its 132nd byte on.
    if !prefix.is_empty() && (!is_posix || prefix.len() > 131 && field(block, 508, 4) == b"tar\0") {
        return Err("a name's beginning that not every format has");
    }
    let mut name = text(field(block, 0, 100)).to_vec();
    if !prefix.is_empty() {
        name = [prefix, b"/", &name].concat();
    }
    let mode = number(field(block, 100, 8)).ok_or("a tar header whose mode is no number")? & 0o7777;
    Ok(Header {
        kind: block.get(156).copied().unwrap_or(0),
        mode: u32::try_from(mode).unwrap_or(0),
        size: number(field(block, 124, 12)).ok_or("a tar header whose size is no number")?,
        name,
        link: text(field(block, 157, 100)).to_vec(),
    })
}

/// Whether busybox takes it for a block of zeros, whatever else stands in it: two of them end an archive.
pub(super) fn is_unnamed(block: &Block) -> bool {
    field(block, 0, 1) == b"\0" && field(block, 345, 1) == b"\0"
}

/// Whether busybox would read on behind it as behind a header; at anything else it stops. It reads the checksum as C's `strtoul`.
pub(super) fn busybox_reads(block: &Block) -> bool {
    let magic = field(block, 257, 5);
    let said = block.get(148..).unwrap_or_default();
    let said = said.trim_ascii_start();
    let digits = said.strip_prefix(b"+").unwrap_or(said);
    let count = digits.iter().take_while(|byte| (b'0'..b'8').contains(byte)).count();
    let value = digits.iter().take(count).fold(0_u64, |value, digit| {
        value.saturating_mul(8).saturating_add(u64::from(digit & 7))
    });
    (magic == b"ustar" || magic == [0; 5]) && sums(block).contains(&Some(value))
}

/// Whether it may begin something else, too, for bsdtar, which looks for what is compressed before it looks for archives. LZMA has no
/// magic: it begins with any byte and then a zero.
pub(super) fn begins_something_else(block: &Block) -> bool {
    let field = field(block, 0, 100);
    let name = text(field);
    OTHERS.iter().any(|magic| name.starts_with(magic)) || field.iter().skip(name.len()).any(|byte| *byte != 0)
}

/// gzip, compress, bzip2, xz, zstd, lz4 and its elder, lzip, lzop, uuencode, RPM; cabinets and `ar`, which win over archives of old.
/// Those of libarchive 3.7, `archive_read_support_filter_*.c` and `archive_read_support_format_*.c`.
const OTHERS: [&[u8]; 14] = [
    b"\x1f\x8b",
    b"\x1f\x9d",
    b"BZh",
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18",
    b"\x02\x21\x4c\x18",
    b"LZIP",
    b"\x89LZO",
    b"begin ",
    b"begin-",
    b"\xed\xab\xee\xdb",
    b"MSCF",
    b"!<arch>",
];

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

/// Blanks, digits, and blanks and zeros to the end: with a zero in front GNU tar and Go's reader read on, busybox and Python do not.
fn octal(field: &[u8]) -> Option<u64> {
    let blanks = field.iter().take_while(|byte| **byte == b' ').count();
    let digits = field.get(blanks..)?;
    let end = digits
        .iter()
        .position(|byte| matches!(byte, b' ' | 0))
        .unwrap_or(digits.len());
    let (digits, behind) = digits.split_at_checked(end)?;
    if digits.is_empty() || !behind.iter().all(|byte| matches!(byte, b' ' | 0)) {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value.checked_mul(8)?.checked_add(digit.into())
    })
}
