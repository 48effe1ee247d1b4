//! JSON as commands write it: what a terminal would obey stands in it by its number.

use model::reason::changes_direction;
use serde_json::{Map, Value, json};

/// The form of our JSON; within it members are only added.
pub(super) const API_VERSION: &str = "gatescribe/v1";

/// One document: `apiVersion` and `kind`, then the members.
pub(super) fn document(kind: &str, members: &Map<String, Value>) -> String {
    let mut document = Map::new();
    document.insert("apiVersion".to_owned(), json!(API_VERSION));
    document.insert("kind".to_owned(), json!(kind));
    document.extend(members.clone());
    format!("{}\n", escaped(&format!("{:#}", Value::Object(document))))
}

/// One value on a line of its own.
pub(crate) fn line(value: &Value) -> String {
    format!("{}\n", escaped(&value.to_string()))
}

/// The same JSON, or lines of it (RFC 8259 §7): these characters stand in strings alone, and those below U+0020 are escaped
/// already.
pub(super) fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(character, '\u{7f}'..='\u{9f}') || changes_direction(character) {
            text.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{9b}2J\u{7f}\u{85}\u{202e}\u{61c}\u{2066}\u{1b}[2J\nä";

    #[test]
    fn no_character_of_a_document_is_obeyed_by_a_terminal_and_it_says_the_same() {
        let found = json!({"name": HOSTILE, HOSTILE: 1});
        let members = found.as_object().unwrap();
        for text in [document("Thing", members), line(&found)] {
            let obeyed =
                |character: char| (character.is_control() && character != '\n') || changes_direction(character);
            assert!(!text.contains(obeyed), "{text:?}");
            let read: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read["name"], HOSTILE, "{text}");
            assert_eq!(read[HOSTILE], 1, "{text}");
        }
        assert!(line(&found).contains(r"a\u009b2J\u007f\u0085\u202e\u061c\u2066\u001b[2J\nä"));
        let document: Value = serde_json::from_str(&document("Thing", members)).unwrap();
        assert_eq!(
            (&document["apiVersion"], &document["kind"]),
            (&json!(API_VERSION), &json!("Thing"))
        );
    }

    #[test]
    fn lines_of_a_cast_stay_lines_of_json() {
        let event = json!([0.5, "o", HOSTILE]);
        let shown = escaped(&format!("{event}\n{event}\n"));
        assert_eq!(shown.lines().count(), 2);
        for line in shown.lines() {
            assert!(line.contains(r"\u009b2J"), "{line}");
            assert_eq!(serde_json::from_str::<Value>(line).unwrap(), event);
        }
    }
}
