//! The two small channels: sizes of the terminal, and how the process ended. Both are JSON that may come in pieces.

use serde::Deserialize;

/// No message about a size is longer; client-go writes about 30 bytes.
const MAX_SIZE: usize = 256;
/// Of a status so much is kept.
const MAX_STATUS: usize = 16 << 10;

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

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) code: Option<u32>,
    pub(super) text: Vec<u8>,
}

/// Reads the status: a `metav1.Status` (stream protocols v4 and v5), or a text (v1 to v3).
#[derive(Debug, Default)]
pub(super) struct StatusReader {
    bytes: Vec<u8>,
    depth: u32,
    is_in_text: bool,
    is_escaped: bool,
    is_done: bool,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    status: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    reason: String,
    details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    causes: Vec<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

impl StatusReader {
    /// Reads on; the exit as soon as the object is whole, once.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<Exit> {
        for byte in bytes {
            if self.is_done || self.bytes.len() >= MAX_STATUS {
                return None;
            }
            self.bytes.push(*byte);
            if self.ends_object(*byte) {
                return self.finish();
            }
        }
        None
    }

    /// What came, when nothing more does.
    pub(super) fn finish(&mut self) -> Option<Exit> {
        let bytes = std::mem::take(&mut self.bytes);
        if self.is_done || bytes.is_empty() {
            return None;
        }
        self.is_done = true;
        Some(exit_of(bytes))
    }

    /// Follows braces and quotes. What does not begin with a brace is a text, and ends with the stream.
    fn ends_object(&mut self, byte: u8) -> bool {
        if self.bytes.first() != Some(&b'{') {
            return false;
        }
        match (self.is_in_text, byte) {
            (true, _) if self.is_escaped => self.is_escaped = false,
            (true, b'\\') => self.is_escaped = true,
            (_, b'"') => self.is_in_text = !self.is_in_text,
            (false, b'{' | b'[') => self.depth = self.depth.saturating_add(1),
            (false, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

fn exit_of(bytes: Vec<u8>) -> Exit {
    let Ok(status) = serde_json::from_slice::<Status>(&bytes) else {
        return Exit {
            code: None,
            text: bytes,
        };
    };
    let said = status.details.iter().flat_map(|details| &details.causes);
    let code = match (status.status.as_str(), status.reason.as_str()) {
        ("Success", _) => Some(0),
        (_, "NonZeroExitCode") => said
            .filter(|cause| cause.reason == "ExitCode")
            .find_map(|cause| cause.message.parse().ok()),
        _ => None,
    };
    Exit {
        code,
        text: status.message.into_bytes(),
    }
}
