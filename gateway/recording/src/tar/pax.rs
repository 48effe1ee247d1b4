//! Extended headers (IEEE Std 1003.1 `pax`): records `length key=value` that correct the header behind them.

/// What extended headers, of pax or GNU, say about the next entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extended {
    pub(super) name: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
}

impl Extended {
    /// Reads the records of one extended header; keys that mean nothing here are passed over.
    pub(super) fn read(&mut self, mut records: &[u8]) -> Result<(), &'static str> {
        while !records.is_empty() {
            let (record, rest) = split(records).ok_or("a pax header that cannot be read")?;
            let equals = record.iter().position(|byte| *byte == b'=');
            let (key, value) = equals
                .and_then(|at| record.split_at_checked(at))
                .ok_or("a pax record without a value")?;
            self.set(key, value.get(1..).unwrap_or_default())?;
            records = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match key {
            b"path" | b"GNU.sparse.name" => self.name = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(decimal(value).ok_or("a pax size that is no number")?),
            _ => {}
        }
        Ok(())
    }
}

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
