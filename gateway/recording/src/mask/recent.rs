//! The last bytes of a channel: what an introduction may have begun in, and what stands in front of it.

/// The newest bytes; the oldest fall out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recent {
    bytes: [u8; Self::SIZE],
    /// How many of them count, from the end.
    length: usize,
    /// How many of these may begin an introduction: those that belong to no earlier one.
    fresh: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            bytes: [0; Self::SIZE],
            length: 0,
            fresh: 0,
        }
    }
}

impl Recent {
    /// The longest introduction, and in front of it `-----BEGIN OPENSSH ` or a word.
    pub(super) const SIZE: usize = 60;

    pub(super) fn push(&mut self, byte: u8) {
        self.extend(&[byte]);
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(Self::SIZE);
        let newest = bytes.len().saturating_sub(count);
        self.bytes.copy_within(count.., 0);
        let places = self.bytes.iter_mut().skip(Self::SIZE.saturating_sub(count));
        for (place, byte) in places.zip(bytes.iter().skip(newest)) {
            *place = *byte;
        }
        self.length = self.length.saturating_add(count).min(Self::SIZE);
        self.fresh = self.fresh.saturating_add(count).min(Self::SIZE);
    }

    /// What came since the last introduction.
    pub(super) fn fresh(&self) -> &[u8] {
        self.last(self.fresh)
    }

    /// What stands in front of the last `length` bytes.
    pub(super) fn before(&self, length: usize) -> &[u8] {
        let all = self.last(self.length);
        all.get(..all.len().saturating_sub(length)).unwrap_or_default()
    }

    /// No introduction begins in what came up to now.
    pub(super) fn restart(&mut self) {
        self.fresh = 0;
    }

    fn last(&self, count: usize) -> &[u8] {
        self.bytes.get(Self::SIZE.saturating_sub(count)..).unwrap_or_default()
    }
}

/// `-----BEGIN RSA ` and not `-----END RSA `.
pub(super) fn ends_a_begin(before: &[u8]) -> bool {
    let dashes = before.iter().rposition(|byte| *byte == b'-');
    let words = dashes.and_then(|at| before.get(at.saturating_add(1)..));
    words.is_some_and(|words| words.starts_with(b"BEGIN "))
}

/// The word in which `before` ends begins with two dashes.
pub(super) fn is_in_a_flag(before: &[u8]) -> bool {
    let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let start = before
        .iter()
        .rposition(|byte| !is_of_word(byte))
        .map_or(0, |at| at.saturating_add(1));
    before.get(start..).is_some_and(|word| word.starts_with(b"--"))
}
