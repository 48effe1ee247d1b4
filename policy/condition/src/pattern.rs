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
    /// Compiles; `None` when the pattern is not one that RE2 and we read alike, or too large.
    pub(crate) fn new(pattern: &str) -> Option<Self> {
        if pattern.len() > MAX_PATTERN_BYTES {
            return None;
        }
        let mut builder = RegexBuilder::new(&rewrite(pattern)?);
        builder
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_COMPILED_BYTES)
            .nest_limit(64);
        builder.build().ok().map(Self)
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

fn rewrite(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern.chars().peekable();
    let mut class = Class::Outside;
    while let Some(c) = rest.next() {
        match (c, class) {
            ('\\', _) => out.push_str(&escape(rest.next()?, class != Class::Outside)?),
            ('[', Class::Outside) => {
                out.push('[');
                if rest.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                class = Class::First;
                continue;
            }
            (']', Class::Inside) => {
                out.push(']');
                class = Class::Outside;
                continue;
            }
            (']', Class::First) => out.push_str("\\]"),
            ('[', _) => out.push_str(if rest.peek() == Some(&':') { "[" } else { "\\[" }),
            ('&' | '~', Class::First | Class::Inside) => out.extend(['\\', c]),
            ('-', Class::First | Class::Inside) if rest.peek() == Some(&'-') => return None,
            (':', Class::First | Class::Inside) if rest.peek() == Some(&']') && out.contains("[:") => {
                out.push(':');
                out.push(rest.next()?);
            }
            ('(', Class::Outside) => {
                out.push('(');
                if rest.next_if_eq(&'?').is_some() {
                    out.push('?');
                    group_flags(&mut rest, &mut out)?;
                }
            }
            _ => out.push(c),
        }
        if class == Class::First {
            class = Class::Inside;
        }
    }
    Some(out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Outside,
    First,
    Inside,
}

/// Copies `i`, `m`, `s`, `U` and what starts a named group; other flags mean something else to RE2 or nothing.
fn group_flags(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) -> Option<()> {
    while let Some(&c) = rest.peek() {
        match c {
            'i' | 'm' | 's' | 'U' | '-' => out.push(c),
            ':' | ')' | '<' | 'P' => return Some(()),
            _ => return None,
        }
        rest.next();
    }
    None
}

fn escape(c: char, in_class: bool) -> Option<String> {
    Some(match (c, in_class) {
        ('d', false) => "[0-9]".to_owned(),
        ('d', true) => "0-9".to_owned(),
        ('D', _) => "[^0-9]".to_owned(),
        ('w', false) => "[0-9A-Za-z_]".to_owned(),
        ('w', true) => "0-9A-Za-z_".to_owned(),
        ('W', _) => "[^0-9A-Za-z_]".to_owned(),
        ('s', false) => r"[\t\n\f\r ]".to_owned(),
        ('s', true) => r"\t\n\f\r ".to_owned(),
        ('S', _) => r"[^\t\n\f\r ]".to_owned(),
        ('b', false) => r"(?-u:\b)".to_owned(),
        ('B', false) => return None, // not at a UTF-8 boundary in one of the two
        ('A' | 'z', false) | ('p' | 'P' | 'a' | 'f' | 't' | 'n' | 'r' | 'v' | 'x', _) => format!("\\{c}"),
        (c, _) if c.is_ascii_punctuation() => format!("\\{c}"),
        _ => return None,
    })
}
