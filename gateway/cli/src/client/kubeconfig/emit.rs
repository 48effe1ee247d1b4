//! Our items as YAML text, in block or in flow form.

use std::fmt::Write as _;

use super::tree::Value;

/// A map as block lines; every line but the first is indented by `column`, and lines end with `line_end`.
pub(super) fn block(value: &Value, column: usize, line_end: &str) -> String {
    let mut lines = Vec::new();
    block_lines(value, column, &mut lines);
    let text = lines.join(line_end);
    text.trim_start().to_owned()
}

fn block_lines(value: &Value, column: usize, lines: &mut Vec<String>) {
    let indent = " ".repeat(column);
    match value {
        Value::Map(members) => {
            for (key, value) in members {
                match value {
                    Value::Map(inner) if !inner.is_empty() => {
                        lines.push(format!("{indent}{}:", flow(key)));
                        block_lines(value, column + 2, lines);
                    }
                    Value::List(items) if !items.is_empty() => {
                        lines.push(format!("{indent}{}:", flow(key)));
                        lines.extend(items.iter().map(|item| format!("{indent}- {}", flow(item))));
                    }
                    other => lines.push(format!("{indent}{}: {}", flow(key), flow(other))),
                }
            }
        }
        other => lines.push(format!("{indent}{}", flow(other))),
    }
}

/// On one line: JSON, but for texts that need no quotes. Inside `{}` and `[]` all texts are quoted.
pub(super) fn flow(value: &Value) -> String {
    match value {
        Value::Scalar(text, true) if !text.contains(char::is_control) => text.clone(),
        Value::Scalar(text, false) if needs_no_quotes(text) => text.clone(),
        other => json(other),
    }
}

/// JSON is YAML; a file that is JSON stays JSON.
pub(super) fn json(value: &Value) -> String {
    match value {
        Value::Scalar(text, true) if is_json_word(text) => text.clone(),
        Value::Scalar(text, _) => quoted(text),
        Value::List(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(", ")),
        Value::Map(members) => {
            let mut text = String::from("{");
            for (place, (key, value)) in members.iter().enumerate() {
                let comma = if place == 0 { "" } else { ", " };
                // Writing to a String cannot fail.
                let _ = write!(
                    text,
                    "{comma}{}: {}",
                    quoted(key.as_text().unwrap_or_default()),
                    json(value)
                );
            }
            text.push('}');
            text
        }
    }
}

fn is_json_word(text: &str) -> bool {
    matches!(text, "true" | "false" | "null") || text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control.is_control() || matches!(control, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Begins with a letter or a slash and holds nothing that YAML could read as something else.
fn needs_no_quotes(text: &str) -> bool {
    let begins_well = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:@+=".contains(character);
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    begins_well
        && text.chars().all(plain)
        && !text.ends_with(':')
        && !words.contains(&text.to_ascii_lowercase().as_str())
}
