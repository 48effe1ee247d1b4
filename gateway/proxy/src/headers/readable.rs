//! What a client may ask for where the answer is read for its record: a call that is handed a credential.
//!
//! The id of a credential is kept with the person who was handed it, so that its later use names them. An answer in a form
//! that is not read would leave no trace of that. Invariant: what goes upstream asks for JSON or protobuf, uncompressed.

use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::{HeaderMap, HeaderValue};

/// The client takes no form that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "who is handed a credential is written down, and for that the answer has to be JSON or protobuf; add `application/json` to \
     `Accept`"
)]
pub struct NotReadable;

/// Takes the other forms out of what a client accepts, in place; a client that says nothing gets JSON. A table, or an object's
/// metadata alone, stays with `tables`: the answer holds no credential then.
///
/// # Errors
/// Nothing is left.
pub fn ask_readably(headers: &mut HeaderMap, tables: bool) -> Result<(), NotReadable> {
    headers.remove(ACCEPT_ENCODING);
    let lines = headers.get_all(ACCEPT).iter();
    let all: Vec<&[u8]> = lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|range| !range.is_empty())
        .collect();
    if all.is_empty() {
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        return Ok(());
    }
    let kept: Vec<&[u8]> = all.into_iter().filter(|range| is_readable(range, tables)).collect();
    // Pieces of one value, joined by what separates them in one.
    let value = HeaderValue::from_bytes(&kept.join(&b", "[..])).map_err(|_| NotReadable)?;
    if value.is_empty() {
        return Err(NotReadable);
    }
    headers.insert(ACCEPT, value);
    Ok(())
}

/// Whether an answer to this media range is read, or with `tables` needs not be. A wildcard is JSON to an API server; a table is
/// another object.
fn is_readable(range: &[u8], tables: bool) -> bool {
    const FORMS: [&str; 2] = ["application/json", "application/vnd.kubernetes.protobuf"];
    let mut pieces = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let media = pieces.next().unwrap_or_default();
    let is_form = FORMS.iter().any(|form| media.eq_ignore_ascii_case(form.as_bytes()));
    let is_any = matches!(media, b"*/*" | b"application/*");
    let fits = |piece: &[u8]| {
        let piece = piece.to_ascii_lowercase();
        let is_about_tables = [b"v=".as_slice(), b"g=", b"as=table", b"as=partialobjectmetadata"]
            .iter()
            .any(|begins| piece.starts_with(begins));
        piece.starts_with(b"q=") || (tables && is_about_tables)
    };
    (is_form || is_any) && pieces.all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &[&str], tables: bool) -> Result<Vec<String>, NotReadable> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT, line.parse().unwrap());
        }
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        ask_readably(&mut headers, tables)?;
        assert!(!headers.contains_key(ACCEPT_ENCODING));
        let values = headers.get_all(ACCEPT).iter();
        Ok(values.map(|value| value.to_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn only_forms_that_are_read_are_asked_for() {
        for (lines, sent) in [
            (&[][..], "application/json"),
            (&[""], "application/json"),
            (&["application/json"], "application/json"),
            (
                &["application/vnd.kubernetes.protobuf, application/json"],
                "application/vnd.kubernetes.protobuf, application/json",
            ),
            (
                &["application/json;q=0.9,application/cbor;q=1"],
                "application/json;q=0.9",
            ),
            (&["application/yaml", "*/*; q=0.1"], "*/*; q=0.1"),
            (&["APPLICATION/JSON", "text/html"], "APPLICATION/JSON"),
        ] {
            for tables in [false, true] {
                assert_eq!(asked(lines, tables).unwrap(), [sent], "{lines:?}");
            }
        }
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io, application/json";
        assert_eq!(asked(&[table], true).unwrap(), [table], "as kubectl asks");
        assert_eq!(asked(&[table], false).unwrap(), ["application/json"]);
        for lines in [
            &["application/yaml"][..],
            &["application/json;as=Table;v=v1;g=meta.k8s.io"],
            &["application/jsonx", "text/*", "application/cbor"],
        ] {
            assert_eq!(asked(lines, false), Err(NotReadable), "{lines:?}");
        }
    }
}
