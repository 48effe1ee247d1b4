//! How a process ended, as the cluster says it on [`crate::tap::Channel::Status`]: a `metav1.Status` in JSON (stream protocols v4 and
//! v5), or a text (v1 to v3, nothing after success).
//!
//! One reader for what is recorded and for what the ledger is told, so that they cannot differ. Memory is bounded by 16 KiB, and any
//! way of cutting the same bytes gives the same exit.

use serde::Deserialize;

/// Of a status so much is kept; the API server's own are a few hundred bytes.
const MAX_STATUS: usize = 16 << 10;

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, where one was said; never above 2,147,483,647, since runtimes count in 32 bits with a sign.
    pub code: Option<u32>,
    /// What the cluster says for people, or all of its words where they could not be understood.
    pub text: Vec<u8>,
    /// The stream ended within the status: nobody knows what it would have said.
    pub is_cut: bool,
}

/// Reads the status of one session.
#[derive(Clone, Debug, Default)]
pub struct StatusReader {
    bytes: Vec<u8>,
    depth: u32,
    is_in_text: bool,
    is_escaped: bool,
    is_done: bool,
}

/// Go's decoder leaves a member empty that is `null`.
#[derive(Deserialize)]
struct Status {
    status: Option<String>,
    message: Option<String>,
    reason: Option<String>,
    details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    causes: Option<Vec<Cause>>,
}

#[derive(Deserialize)]
struct Cause {
    reason: Option<String>,
    message: Option<String>,
}

impl StatusReader {
    /// Reads on; the exit as soon as the object is whole, once. What stands behind it is not looked at.
    pub fn read(&mut self, bytes: &[u8]) -> Option<Exit> {
        for byte in bytes {
            if self.is_done || self.bytes.len() >= MAX_STATUS {
                return None;
            }
            if self.bytes.is_empty() && byte.is_ascii_whitespace() {
                continue;
            }
            self.bytes.push(*byte);
            if self.ends_object(*byte) {
                return self.end(false);
            }
        }
        None
    }

    /// What came, when nothing more does; none after an exit was told, and where nothing was said.
    pub fn finish(&mut self) -> Option<Exit> {
        let is_cut = self.bytes.first() == Some(&b'{') && self.bytes.len() < MAX_STATUS;
        self.end(is_cut)
    }

    fn end(&mut self, is_cut: bool) -> Option<Exit> {
        let bytes = std::mem::take(&mut self.bytes);
        if self.is_done || bytes.is_empty() {
            return None;
        }
        self.is_done = true;
        Some(exit_of(bytes, is_cut))
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

fn exit_of(bytes: Vec<u8>, is_cut: bool) -> Exit {
    // A list would be taken for its members in their order.
    let status = bytes
        .starts_with(b"{")
        .then(|| serde_json::from_slice::<Status>(&bytes));
    let Some(Ok(status)) = status else {
        return Exit {
            code: None,
            text: bytes,
            is_cut,
        };
    };
    let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
    let code = match (status.status.as_deref(), status.reason.as_deref()) {
        (Some("Success"), _) => Some(0),
        (_, Some("NonZeroExitCode")) => causes
            .iter()
            .find(|cause| cause.reason.as_deref() == Some("ExitCode"))
            .and_then(|cause| cause.message.as_deref()?.parse().ok())
            .filter(|code| i32::try_from(*code).is_ok()),
        _ => None,
    };
    Exit {
        code,
        text: status.message.unwrap_or_default().into_bytes(),
        is_cut: false,
    }
}

/// All that is told of these pieces.
fn read_all(pieces: &[&[u8]]) -> Option<Exit> {
    let mut reader = StatusReader::default();
    let told = pieces.iter().find_map(|piece| reader.read(piece));
    told.or_else(|| reader.finish())
}

/// Fuzz entry: foreign bytes where a status should be, whole and cut in two, are read alike.
///
/// # Panics
/// When a cut makes a difference, more is kept than the bound, or a code is said of something that does not begin as JSON.
pub fn fuzz_exit_status(data: &[u8]) {
    let told = read_all(&[data]);
    let at = data
        .last()
        .map_or(0, |cut| usize::from(*cut).saturating_mul(data.len()).wrapping_div(256));
    let (head, tail) = data.split_at_checked(at).unwrap_or((data, &[]));
    assert_eq!(told, read_all(&[head, tail]), "a cut makes no difference");
    let Some(told) = told else {
        assert!(data.trim_ascii().is_empty(), "whatever is said is told");
        return;
    };
    assert!(told.text.len() <= MAX_STATUS, "{} bytes", told.text.len());
    assert!(told.code.is_none() || (data.trim_ascii_start().starts_with(b"{") && !told.is_cut));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<u32>, String, bool) {
        let exit = read_all(&[text.as_bytes()]).unwrap();
        (exit.code, String::from_utf8(exit.text).unwrap(), exit.is_cut)
    }

    #[test]
    fn a_status_says_how_the_command_ended() {
        let of = |code: &str| {
            read(&format!(
                r#"{{"metadata":{{}},"status":"Failure","message":"m","reason":"NonZeroExitCode","details":{{"causes":[{{"reason":"ExitCode","message":"{code}"}}]}}}}"#
            ))
        };
        let said = |code: Option<u32>| (code, "m".to_owned(), false);
        assert_eq!(of("3"), said(Some(3)));
        assert_eq!(of("2147483647"), said(Some(2_147_483_647)));
        for none in ["x", "-1", "2147483648", ""] {
            assert_eq!(of(none), said(None), "{none}");
        }
        let gone = r#"{"status":"Failure","message":"container gone","reason":"InternalError","code":500}"#;
        assert_eq!(read(gone), (None, "container gone".to_owned(), false));
        assert_eq!(read("\n{\"status\":\"Success\"}\n"), (Some(0), String::new(), false));
        let list = r#"["Success",null,null,null]"#;
        assert_eq!(read(list), (None, list.to_owned(), false));
        let text = "no such file\n";
        assert_eq!(read(text), (None, text.to_owned(), false), "before v4");
    }

    #[test]
    fn what_is_null_is_empty_and_what_stands_behind_is_not_read() {
        let nulls = r#"{"status":"Success","message":null,"reason":null,"details":null}"#;
        assert_eq!(read(nulls), (Some(0), String::new(), false));
        assert_eq!(read(&format!("{nulls}}}x")), (Some(0), String::new(), false));
        let causes = r#"{"status":"Failure","message":"m","reason":"NonZeroExitCode","details":{"causes":null}}"#;
        assert_eq!(read(causes), (None, "m".to_owned(), false));
    }

    #[test]
    fn a_status_that_breaks_off_is_told_from_one_that_is_too_long() {
        let begun = r#"{"status":"Fail"#;
        assert_eq!(read(begun), (None, begun.to_owned(), true));
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(MAX_STATUS));
        let (code, text, is_cut) = read(&long);
        assert_eq!((code, text.len(), is_cut), (None, MAX_STATUS, false));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_an_end_that_can_be_told(
            begins in proptest::prop_oneof![
                "[ \\n]?",
                "\\{\"status\":(null|\"Success\"|\"Failure\")(,\"message\":(null|\"m\"))?\\}?",
            ],
            data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600),
        ) {
            fuzz_exit_status(&[begins.as_bytes(), &data].concat());
        }
    }
}
