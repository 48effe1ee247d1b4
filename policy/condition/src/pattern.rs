//! Regular expressions with the meaning of RE2, in linear time and bounded memory.
//!
//! The `regex` crate reads nearly the same language. Where it reads more or other than RE2 the pattern is rewritten
//! (`\d`, `\w`, `\s`, `\b` are ASCII in RE2) or refused (set operations in classes, flags `x`, `u`, `R`), so that a rule
//! never means one thing to the API server and another to us.

use regex::{Regex, RegexBuilder};

const MAX_PATTERN_BYTES: usize = 1024;
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Regex);

impl Pattern {
    /// Compiles.
    ///
    /// # Errors
    /// The pattern is none, or none that RE2 and we read alike, or too large.
    pub(crate) fn new(pattern: &str) -> Result<Self, Refused> {
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(Refused::Unsupported);
        }
        let refused = if is_beyond_us(pattern) {
            Refused::Unsupported
        } else {
            Refused::Invalid
        };
        let mut builder = RegexBuilder::new(&rewrite(pattern).ok_or(refused)?);
        builder
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_COMPILED_BYTES)
            .nest_limit(64);
        builder.build().map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => Refused::Unsupported,
            _ => refused,
        })
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    pub(crate) fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.0.find(text).map(|found| found.as_str())
    }

    pub(crate) fn find_all<'t>(&'t self, text: &'t str) -> impl Iterator<Item = &'t str> {
        self.0.find_iter(text).map(|found| found.as_str())
    }
}

/// Why there is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// RE2 would not read it either.
    Invalid,
    /// RE2 may read it, we do not.
    Unsupported,
}

/// Whether it holds what RE2 reads and we do not: `\B` between bytes that are no words, names of Unicode, and ranges from or to
/// `-`.
fn is_beyond_us(pattern: &str) -> bool {
    let has = |part| pattern.contains(part);
    has(r"\B") || has(r"\p{") || has(r"\P{") || (pattern.contains("--") && pattern.contains('['))
}

type Characters<'p> = std::iter::Peekable<std::str::Chars<'p>>;

/// What stands before the place that is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Something that may be repeated, or the start.
    Other,
    /// A repetition: `?` makes it lazy, another one is refused, as RE2 does.
    Repetition,
}

fn rewrite(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern.chars().peekable();
    let mut before = Before::Other;
    while let Some(c) = rest.next() {
        let after = match c {
            '\\' => {
                out.push_str(&escape(rest.next()?, &mut rest, false)?);
                Before::Other
            }
            '[' => {
                class(&mut rest, &mut out)?;
                Before::Other
            }
            '(' => {
                group(&mut rest, &mut out)?;
                Before::Other
            }
            '*' | '+' | '?' => {
                out.push(c);
                Before::Repetition
            }
            '{' => match count(&mut rest)? {
                Some(count) => {
                    out.push_str(&count);
                    Before::Repetition
                }
                None => {
                    out.push_str("\\{");
                    Before::Other
                }
            },
            _ => {
                out.push(c);
                Before::Other
            }
        };
        if after == Before::Repetition {
            if before == Before::Repetition {
                return None;
            }
            out.extend(rest.next_if_eq(&'?'));
        }
        before = after;
    }
    Some(out)
}

/// `{n}`, `{n,}` or `{n,m}` up to 1000 as RE2 allows; `Some(None)`: an ordinary brace, nothing read, as before a number that begins
/// with a zero, too.
#[expect(
    clippy::option_option,
    reason = "refused, ordinary text, and a count are three outcomes"
)]
fn count(rest: &mut Characters<'_>) -> Option<Option<String>> {
    let mut ahead = rest.clone();
    let text: String = ahead.by_ref().take_while(|c| *c != '}').collect();
    let closed = rest.clone().nth(text.chars().count()) == Some('}');
    let (low, high) = text
        .split_once(',')
        .map_or((text.as_str(), None), |(low, high)| (low, Some(high)));
    let digits = |part: &str| {
        let is_number = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        is_number && (part == "0" || !part.starts_with('0'))
    };
    if !closed || !digits(low) || !high.is_none_or(|high| high.is_empty() || digits(high)) {
        return Some(None);
    }
    let fits = |part: &str| part.is_empty() || part.parse::<u32>().is_ok_and(|count| count <= 1000);
    if !fits(low) || !high.is_none_or(fits) {
        return None;
    }
    *rest = ahead;
    Some(Some(format!("{{{text}}}")))
}

/// A class. A bracket, `&` or `~` inside is itself in RE2, an operator in the `regex` crate. A `-` is a range where a single
/// character stands before it and something behind it, and itself elsewhere: so behind `\s` and the like, which stand as classes
/// of their own, since both languages would read the last of their characters as the beginning of a range.
fn class(rest: &mut Characters<'_>, out: &mut String) -> Option<()> {
    out.push('[');
    out.extend(rest.next_if_eq(&'^'));
    let mut may_range = rest.next_if_eq(&']').is_some();
    if may_range {
        out.push_str("\\]");
    }
    loop {
        match rest.next()? {
            ']' => {
                out.push(']');
                return Some(());
            }
            '-' if rest.peek() == Some(&'-') => return None,
            '-' if may_range && rest.peek() != Some(&']') => {
                out.push('-');
                let end = rest.next()?;
                let is_one = class_item(end, rest, out)?;
                // RE2 refuses `a-\d`, too.
                is_one.then_some(())?;
                may_range = false;
            }
            '-' => {
                out.push_str("\\-");
                may_range = true;
            }
            '[' if rest.peek() == Some(&':') && named_class(rest, out)? => may_range = false,
            c => may_range = class_item(c, rest, out)?,
        }
    }
}

/// One item of a class that begins with `c`; whether it is a single character.
fn class_item(c: char, rest: &mut Characters<'_>, out: &mut String) -> Option<bool> {
    match c {
        '\\' => {
            let escaped = rest.next()?;
            out.push_str(&escape(escaped, rest, true)?);
            Some(!matches!(escaped, 'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'p' | 'P'))
        }
        '[' | '&' | '~' => {
            out.extend(['\\', c]);
            Some(true)
        }
        c => {
            out.push(c);
            Some(true)
        }
    }
}

/// The classes of POSIX that RE2 knows.
const NAMED: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// `[:alpha:]` and the like, behind its first bracket; false where that bracket is one, because no `:]` follows. Another name
/// between the two is refused, however far away.
fn named_class(rest: &mut Characters<'_>, out: &mut String) -> Option<bool> {
    let behind: String = rest.clone().skip(1).collect();
    let Some((name, _)) = behind.split_once(":]") else {
        return Some(false);
    };
    NAMED.contains(&name.strip_prefix('^').unwrap_or(name)).then_some(())?;
    out.push_str(&format!("[:{name}:]"));
    rest.nth(name.len() + 2)?;
    Some(true)
}

/// Copies `i`, `m`, `s`, `U` and what starts a named group; other flags mean something else to RE2, or nothing.
fn group(rest: &mut Characters<'_>, out: &mut String) -> Option<()> {
    out.push('(');
    if rest.next_if_eq(&'?').is_none() {
        return Some(());
    }
    out.push('?');
    while let Some(&c) = rest.peek() {
        match c {
            'i' | 'm' | 's' | 'U' | '-' => out.push(c),
            ':' | ')' | '<' | 'P' => {
                // The character that ends the flags is copied here, so that `)` and `:` are not read as something else.
                out.push(c);
                rest.next();
                return Some(());
            }
            _ => return None,
        }
        rest.next();
    }
    None
}

fn escape(c: char, rest: &mut Characters<'_>, in_class: bool) -> Option<String> {
    Some(match (c, in_class) {
        ('d', _) => "[0-9]".to_owned(),
        ('D', _) => "[^0-9]".to_owned(),
        ('w', _) => "[0-9A-Za-z_]".to_owned(),
        ('W', _) => "[^0-9A-Za-z_]".to_owned(),
        ('s', _) => r"[\t\n\f\r ]".to_owned(),
        ('S', _) => r"[^\t\n\f\r ]".to_owned(),
        ('b', false) => r"(?-u:\b)".to_owned(),
        ('Q', false) => quoted(rest),
        ('0'..='7', _) => octal(c, rest)?,
        ('x', _) if rest.peek() == Some(&'{') => hexadecimal(rest)?,
        // Themselves in RE2; the `regex` crate reads the beginning and the end of a word.
        ('<' | '>', _) => c.to_string(),
        // With braces they name what other versions of Unicode may know otherwise.
        ('p' | 'P', _) => {
            let letter = rest.next_if(char::is_ascii_uppercase)?;
            format!("\\{c}{letter}")
        }
        ('A' | 'z', false) | ('a' | 'f' | 't' | 'n' | 'r' | 'v' | 'x', _) => format!("\\{c}"),
        (c, _) if c.is_ascii_punctuation() => format!("\\{c}"),
        _ => return None,
    })
}

/// `\x{10FFFF}`: one character.
fn hexadecimal(rest: &mut Characters<'_>) -> Option<String> {
    rest.next();
    let mut code = rest.next()?.to_digit(16)?;
    loop {
        match rest.next()? {
            '}' => break,
            c => code = code.checked_mul(16)?.checked_add(c.to_digit(16)?)?,
        }
    }
    char::from_u32(code).map(|_| format!("\\x{{{code:x}}}"))
}

/// `\Q…\E`: the text itself.
fn quoted(rest: &mut Characters<'_>) -> String {
    let mut text = String::new();
    while let Some(c) = rest.next() {
        if c == '\\' && rest.next_if_eq(&'E').is_some() {
            break;
        }
        text.push(c);
    }
    regex::escape(&text)
}

/// Up to three octal digits. A single one that is not zero would be a back reference, which RE2 has not.
fn octal(first: char, rest: &mut Characters<'_>) -> Option<String> {
    let mut code = first.to_digit(8)?;
    let mut length = 1;
    while length < 3
        && let Some(digit) = rest.peek().and_then(|c| c.to_digit(8))
    {
        code = code * 8 + digit;
        length += 1;
        rest.next();
    }
    (first == '0' || length > 1).then(|| format!("\\x{{{code:x}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 27] = [
        "a", "b", "c", "d", "e", "x", "z", "-", " ", "1", "5", ".", "<", "<a>", "A", "B", "ab-c.d", "t", "]", "[",
        "\\", ",", "#", "&", "\t", "_", "^",
    ];

    /// What Go's `regexp`, which is RE2, finds among these texts; none where it refuses the pattern.
    const FOUND: &[(&str, Option<&[&str]>)] = &[
        (r#"^[\s-x]$"#, Some(&["x", "-", " ", "\t"])),
        (
            r#"^[\w-.]+$"#,
            Some(&[
                "a", "b", "c", "d", "e", "x", "z", "-", "1", "5", ".", "A", "B", "ab-c.d", "t", "_",
            ]),
        ),
        (r#"^[\d-a]$"#, Some(&["a", "-", "1", "5"])),
        (r#"^[a-\d]$"#, None),
        (r#"^[a-\s]$"#, None),
        (r#"^\<a\>$"#, Some(&["<a>"])),
        (r#"^[\<\>]$"#, Some(&["<"])),
        (
            r#"^[\w.-]+$"#,
            Some(&[
                "a", "b", "c", "d", "e", "x", "z", "-", "1", "5", ".", "A", "B", "ab-c.d", "t", "_",
            ]),
        ),
        (
            r#"^[.\w-]+$"#,
            Some(&[
                "a", "b", "c", "d", "e", "x", "z", "-", "1", "5", ".", "A", "B", "ab-c.d", "t", "_",
            ]),
        ),
        (r#"^[a-c-e]$"#, Some(&["a", "b", "c", "e", "-"])),
        (
            r#"^[^\s-x]$"#,
            Some(&[
                "a", "b", "c", "d", "e", "z", "1", "5", ".", "<", "A", "B", "t", "]", "[", "\\", ",", "#", "&", "_",
                "^",
            ]),
        ),
        (
            r#"^[\D-1]$"#,
            Some(&[
                "a", "b", "c", "d", "e", "x", "z", "-", " ", "1", ".", "<", "A", "B", "t", "]", "[", "\\", ",", "#",
                "&", "\t", "_", "^",
            ]),
        ),
        (r#"^[]-a]$"#, Some(&["a", "]", "_", "^"])),
        (
            r#"^[[:alpha:]-z]$"#,
            Some(&["a", "b", "c", "d", "e", "x", "z", "-", "A", "B", "t"]),
        ),
        (r#"^[+-\-]$"#, Some(&["-", ","])),
        (r#"^\x{41}$"#, Some(&["A"])),
        (r#"^[\x{41}-\x{43}]$"#, Some(&["A", "B"])),
        (r#"^\x{110000}$"#, None),
        (r#"^\x{}$"#, None),
        (r#"^[-a]$"#, Some(&["a", "-"])),
        (r#"^[a-]$"#, Some(&["a", "-"])),
        (r#"^[a\-c]$"#, Some(&["a", "c", "-"])),
        (r#"^[a-[]$"#, None),
        (r#"^[Z-[]$"#, Some(&["["])),
        (r#"^[!-&]$"#, Some(&["#", "&"])),
        (
            r#"^[\pL-1]$"#,
            Some(&["a", "b", "c", "d", "e", "x", "z", "-", "1", "A", "B", "t"]),
        ),
        (r#"^[1-\pL]$"#, None),
        (r#"^[\001-\011]$"#, Some(&["\t"])),
        (r#"^\b<$"#, Some(&[])),
        (r#"^a{01}$"#, Some(&[])),
        (r#"^a{1,02}$"#, Some(&[])),
        (r#"^a{10000}$"#, None),
        (r#"^a{99999999999999}$"#, None),
        (r#"^a{1001}$"#, None),
        (r#"^a{0}b$"#, Some(&["b"])),
        (r#"^[[:a]]$"#, Some(&[])),
        (r#"^[[:]x]$"#, Some(&[])),
        (r#"^[[:foo:]]$"#, None),
        (
            r#"^[[:^alpha:]]$"#,
            Some(&[
                "-", " ", "1", "5", ".", "<", "]", "[", "\\", ",", "#", "&", "\t", "_", "^",
            ]),
        ),
        (r#"^[[:a]x:]$"#, None),
        (r#"^[[:]$"#, Some(&["["])),
        (r#"^[a[:digit:]]$"#, Some(&["a", "1", "5"])),
    ];

    #[test]
    fn ranges_escapes_and_brackets_mean_what_re2_means() {
        for (pattern, expected) in FOUND {
            let found = Pattern::new(pattern).ok();
            let found = found.map(|found| {
                TEXTS
                    .into_iter()
                    .filter(|text| found.is_match(text))
                    .collect::<Vec<_>>()
            });
            assert_eq!(found.as_deref(), *expected, "{pattern}");
        }
    }
}
