//! The sizes of the terminal: JSON that may come in pieces.

use serde::Deserialize;

/// No message about a size is longer; client-go writes about 30 bytes.
const MAX_SIZE: usize = 256;

/// Reads `{"Width":…,"Height":…}` after `{"Width":…,"Height":…}`.
#[derive(Debug, Default)]
pub(super) struct SizeReader {
    bytes: Vec<u8>,
    gave_up: bool,
}

#[derive(Deserialize)]
struct Size {
    #[serde(rename = "Width")]
    width: u16,
    #[serde(rename = "Height")]
    height: u16,
}

impl SizeReader {
    /// Tells each size; none, once, for what cannot be read, and from then on nothing.
    pub(super) fn read(&mut self, bytes: &[u8], mut tell: impl FnMut(Option<(u16, u16)>)) {
        for byte in bytes {
            if self.gave_up {
                return;
            }
            if self.bytes.is_empty() && byte.is_ascii_whitespace() {
                continue;
            }
            self.bytes.push(*byte);
            if *byte == b'}' {
                let size = serde_json::from_slice::<Size>(&self.bytes).ok();
                self.gave_up = size.is_none();
                self.bytes.clear();
                tell(size.map(|size| (size.width, size.height)));
            } else if self.bytes.len() >= MAX_SIZE {
                self.gave_up = true;
                self.bytes.clear();
                tell(None);
            }
        }
    }
}
