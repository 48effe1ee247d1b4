//! What stands sealed beside a record: values that a record must not have in the clear, such as the arguments of an exec. Whoever
//! may see the record may see them, for as long as the gateway's store has their key.

use std::sync::Arc;

use model::erasure::Erased;
use model::subject::SubjectId;
use percent_encoding::percent_decode_str;
use search::{Row, SealedPart};
use serde_json::{Map, Value, json};

use super::Api;
use crate::answer::Refused;

/// The part with the words of a command.
pub(super) const COMMAND: &str = "command";
/// Parts that are documents: what of them is secret was masked before it was written.
const DOCUMENTS: [&str; 3] = ["body", "answer", "diff"];

/// Opens parts.
pub trait OpensParts: Send + Sync {
    /// Opens one part of this request of this subject, and compares it with the record's commitment. Blocks.
    fn open(&self, subject: &SubjectId, request: &str, part: &SealedPart) -> Opened;
}

/// What became of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Its bytes.
    Plain(Vec<u8>),
    /// Its key is not in the store, and no record says that it was erased.
    NoKey,
    /// Its key was destroyed, and a record says so.
    Erased(Erased),
    /// It is not what the record committed to, or cannot be looked up now: in words.
    Unreadable(String),
}

/// What is said of what cannot be opened for that.
pub(super) const NO_KEY: &str = "its key is missing from the gateway's store, and no record says that it was erased";

/// The parts of an act as JSON, by name: the words of a command, masked bodies as documents, the text of others; known patterns of
/// secrets are masked.
pub(super) async fn opened(api: &Api, record: &Row, sealed: Vec<SealedPart>) -> Result<Map<String, Value>, Refused> {
    let subject = record.who.as_ref().and_then(|who| SubjectId::parse(&who.id));
    let (Some(subject), false) = (subject, sealed.is_empty()) else {
        return Ok(Map::new());
    };
    let (opener, request) = (Arc::clone(&api.parts.opener), record.id.clone());
    let opening = tokio::task::spawn_blocking(move || {
        let open = |part: SealedPart| {
            let told = told(&part.name, opener.open(&subject, &request, &part));
            (part.name, told)
        };
        sealed.into_iter().map(open).collect()
    });
    opening
        .await
        .map_err(|_| Refused::unavailable("what is sealed beside the record cannot be opened now; try again"))
}

fn told(name: &str, opened: Opened) -> Value {
    match opened {
        Opened::Plain(bytes) if name == COMMAND => {
            let query = String::from_utf8_lossy(&bytes).into_owned();
            let words = query.split('&').filter_map(|pair| pair.strip_prefix("command="));
            let mut words: Vec<String> = words.map(decoded).collect();
            recording::mask_words(&mut words);
            json!(words)
        }
        Opened::Plain(bytes) if DOCUMENTS.contains(&name) => serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| json!({"unreadable": "it is no document of this version"})),
        Opened::Plain(bytes) => {
            let mut text = String::from_utf8_lossy(&bytes).into_owned();
            recording::mask_words(std::slice::from_mut(&mut text));
            json!(text)
        }
        Opened::NoKey => json!({"unreadable": NO_KEY}),
        Opened::Erased(erased) => json!({"unreadable": erased.in_words()}),
        Opened::Unreadable(why) => json!({"unreadable": why}),
    }
}

/// As a query's value reads.
fn decoded(value: &str) -> String {
    let value = value.replace('+', " ");
    percent_decode_str(&value).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_word_by_word_and_what_is_gone_is_said() {
        let plain = |text: &str| Opened::Plain(text.as_bytes().to_vec());
        let command = "command=sh&command=-c&command=echo+a%26b%20%C3%A4+password%3Dhunter2";
        assert_eq!(
            told("command", plain(command)),
            json!(["sh", "-c", "echo a&b ä password=*******"])
        );
        assert_eq!(told("query", plain("container=main")), json!("container=main"));
        assert_eq!(
            told("path", plain("/login?password=hunter2")),
            json!("/login?password=*******")
        );
        let document = r#"{"spec":{"replicas":2},"password=hunter2":1}"#;
        for name in ["body", "answer", "diff"] {
            let as_it_is: Value = serde_json::from_str(document).unwrap();
            assert_eq!(
                told(name, plain(document)),
                as_it_is,
                "a document is not masked a second time"
            );
            let half = told(name, plain("{"));
            assert_eq!(half, json!({"unreadable": "it is no document of this version"}));
        }
        let no_key = "its key is missing from the gateway's store, and no record says that it was erased";
        assert_eq!(told("command", Opened::NoKey), json!({"unreadable": no_key}));
        let erased = Erased {
            record: "r-1".to_owned(),
            at: model::time::Timestamp::from_unix_seconds(1_790_000_000),
            asked: "carol".to_owned(),
            agreed: "dave".to_owned(),
        };
        assert_eq!(
            told("command", Opened::Erased(erased)),
            json!({"unreadable": "erased on 2026-09-21T14:13:20.000000Z by carol and dave, record r-1"})
        );
        assert_eq!(told("path", Opened::Unreadable("x".into())), json!({"unreadable": "x"}));
    }
}
