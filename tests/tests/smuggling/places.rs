//! What stands in a case for what is known only when it is sent.

use super::corpus::WAIT;

/// `@HOST@`, `@OTHER@` and `@ALICE@`.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The host of the service that is asked, with its port.
    pub(super) host: String,
    /// Another service's.
    pub(super) other: String,
    /// Her token.
    pub(super) alice: String,
}

impl Places {
    /// The text with what stands there.
    pub(super) fn filled(&self, text: &[u8]) -> Vec<u8> {
        let places = [
            ("@HOST@", &self.host),
            ("@OTHER@", &self.other),
            ("@ALICE@", &self.alice),
        ];
        places.iter().fold(text.to_vec(), |text, (place, value)| {
            replaced(&text, place.as_bytes(), value.as_bytes())
        })
    }

    /// What is sent at once, and behind each word to go on. `@LEN@` is the length of all that stands behind the first head, and
    /// `@HEX@` that of the one chunk that begins with it.
    pub(super) fn pieces(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let filled = self.filled(bytes);
        let end = memchr::memmem::find(&filled, b"\r\n\r\n").map_or(filled.len(), |end| end + 4);
        let (head, body) = filled.split_at(end);
        let length = replaced(body, WAIT, b"").len();
        let head = replaced(head, b"@LEN@", length.to_string().as_bytes());
        // Size line and what closes the body are no data.
        let data = length.saturating_sub(b"@HEX@\r\n".len() + b"\r\n0\r\n\r\n".len());
        let body = replaced(body, b"@HEX@", format!("{data:x}").as_bytes());
        let whole = [head, body].concat();
        let mut pieces = Vec::new();
        let mut rest = whole.as_slice();
        while let Some(at) = memchr::memmem::find(rest, WAIT) {
            let (before, behind) = rest.split_at(at);
            pieces.push(before.to_vec());
            rest = behind.get(WAIT.len()..).unwrap_or_default();
        }
        pieces.push(rest.to_vec());
        pieces
    }
}

fn replaced(text: &[u8], place: &[u8], value: &[u8]) -> Vec<u8> {
    let mut filled = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest, place) {
        let (before, behind) = rest.split_at(at);
        filled.extend(before);
        filled.extend(value);
        rest = behind.get(place.len()..).unwrap_or_default();
    }
    filled.extend(rest);
    filled
}
