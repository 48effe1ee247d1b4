//! Extended headers: records `length key=value` of pax (IEEE Std 1003.1 `pax`) and the long names of GNU tar, which correct the
//! header behind them.

use super::header;

/// What extended headers, of pax or GNU, say about the next entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extended {
    /// Which have come.
    kinds: Vec<u8>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// What they say that no entry tells.
    unread: Vec<u8>,
}

impl Extended {
    /// Another header comes in front of the same entry. Of two of a kind, or of pax and GNU tar, GNU tar takes one and others the other.
    pub(super) fn joins(&mut self, kind: u8) -> Result<(), &'static str> {
        let is_pax = |kind: &u8| *kind == b'x';
        let is_gnu = |kind: &u8| matches!(kind, b'L' | b'K');
        if self.kinds.contains(&kind) {
            return Err("two extended headers of a kind in front of one entry");
        }
        // Go's reader forgets there what came before.
        if kind == b'g' && !self.kinds.is_empty() {
            return Err("a global header between an extended one and its entry");
        }
        self.kinds.push(kind);
        if self.kinds.iter().any(is_pax) && self.kinds.iter().any(is_gnu) {
            return Err("extended headers of pax and of GNU tar in front of one entry");
        }
        Ok(())
    }

    /// Whether the name is one of GNU tar's.
    pub(super) fn has_long_name(&self) -> bool {
        self.kinds.contains(&b'L')
    }

    /// Reads the records of one header of pax.
    pub(super) fn read(&mut self, mut records: &[u8]) -> Result<(), &'static str> {
        while !records.is_empty() {
            let (record, rest) = split(records).ok_or("a pax header that cannot be read")?;
            let equals = record.iter().position(|byte| *byte == b'=');
            let (key, value) = equals
                .and_then(|at| record.split_at_checked(at))
                .ok_or("a pax record without a value")?;
            let is_read = self.set(key, value.get(1..).unwrap_or_default())?;
            if !is_read {
                let length = records.len().saturating_sub(rest.len());
                self.unread.extend_from_slice(records.get(..length).unwrap_or_default());
            }
            records = rest;
        }
        Ok(())
    }

    /// The same of one for all entries behind. GNU tar takes what it says for all of them, Go's reader and busybox for none (busybox
    /// reads SELinux contexts there, which are told as they came).
    pub(super) fn read_global(&mut self, records: &[u8]) -> Result<(), &'static str> {
        let mut global = Self::default();
        global.read(records)?;
        if global.name.is_some() || global.link.is_some() || global.size.is_some() {
            return Err("a global header that names or sizes entries");
        }
        self.unread.append(&mut global.unread);
        Ok(())
    }

    pub(super) fn long_name(&mut self, said: &[u8]) -> Result<(), &'static str> {
        let name = self.before_nul(said)?;
        self.name = Some(name);
        Ok(())
    }

    pub(super) fn long_link(&mut self, said: &[u8]) -> Result<(), &'static str> {
        let link = self.before_nul(said)?;
        self.link = Some(link);
        Ok(())
    }

    /// The name and the link in place of the header's own, and what no entry tells. So is the header's own where it is another than
    /// the long one cut: of pax, busybox reads `path` and no `linkpath`, and in older releases and smaller builds neither; it then
    /// extracts to the header's own.
    pub(super) fn over(self, name: Vec<u8>, link: Vec<u8>) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let mut unread = self.unread;
        let link = longer(self.link, link, &mut unread);
        let name = longer(self.name, name, &mut unread);
        (name, link, unread)
    }

    fn before_nul(&mut self, said: &[u8]) -> Result<Vec<u8>, &'static str> {
        let name = header::text(said);
        if name.is_empty() {
            // Go's reader takes the header's own.
            return Err("a long name that is empty");
        }
        let behind = said.get(name.len()..).unwrap_or_default();
        if behind.iter().any(|byte| *byte != 0) {
            self.unread.extend_from_slice(behind);
        }
        Ok(name.to_vec())
    }

    /// Whether an entry tells it, or nothing does because it only says when and whose.
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<bool, &'static str> {
        // GNU tar passes over blanks in front of a key and reads it up to a zero.
        if key.is_empty() || matches!(key, [b' ' | b'\t', ..]) || key.contains(&0) {
            return Err("a pax key that cannot be read");
        }
        // GNU tar, bsdtar and Go's reader put such a file together, busybox and Python do not, or not all of them.
        if key.starts_with(b"GNU.sparse.") || key == b"SCHILY.realsize" {
            return Err("a sparse file");
        }
        let is_name = matches!(key, b"path" | b"linkpath");
        // For Go's reader that takes back what was said, for GNU tar it is a name.
        if is_name && value.is_empty() {
            return Err("a pax name that is empty");
        }
        if is_name && value.contains(&0) {
            return Err("a pax name with a zero in it");
        }
        let was_said = match key {
            b"path" => self.name.replace(value.to_vec()).is_some(),
            b"linkpath" => self.link.replace(value.to_vec()).is_some(),
            b"size" => {
                let size = decimal(value).ok_or("a pax size that is no number")?;
                self.size.replace(size).is_some()
            }
            b"atime" | b"ctime" | b"mtime" | b"uid" | b"gid" => return Ok(is_number(value)),
            _ => return Ok(false),
        };
        if was_said {
            Err("a pax key that comes twice")
        } else {
            Ok(true)
        }
    }
}

/// A name that an extended header says, if any does.
fn longer(said: Option<Vec<u8>>, own: Vec<u8>, unread: &mut Vec<u8>) -> Vec<u8> {
    let Some(said) = said else { return own };
    if !stands_for(&own, &said) {
        unread.extend_from_slice(&own);
    }
    said
}

/// Whether `own` is what writers put into a header in place of `said`: its beginning, as long as the field, as it is (GNU tar), without
/// what is no ASCII (Go), or with question marks there (Python).
fn stands_for(own: &[u8], said: &[u8]) -> bool {
    let is_of = |said: &[u8]| said == own || (own.len() >= NAME_BYTES && said.starts_with(own));
    let marked = String::from_utf8_lossy(said).replace(|letter: char| !letter.is_ascii(), "?");
    let ascii: Vec<u8> = said.iter().copied().filter(u8::is_ascii).collect();
    is_of(said) || is_of(&ascii) || is_of(marked.as_bytes())
}

/// A name's field; GNU tar of old left the last byte zero.
const NAME_BYTES: usize = 99;

/// As in a header's own fields. Anything longer could be something else.
fn is_number(value: &[u8]) -> bool {
    let is_of_one = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    value.len() <= LONGEST_NUMBER && value.iter().all(is_of_one)
}

/// Seconds with nine digits behind the point.
const LONGEST_NUMBER: usize = 32;

/// The first record without its length and final newline, and what follows.
fn split(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = records.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(records.get(..blank)?)?).ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let record = record.get(blank.checked_add(1)?..)?.strip_suffix(b"\n")?;
    Some((record, rest))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|value| is_plain && i64::try_from(*value).is_ok())
}
