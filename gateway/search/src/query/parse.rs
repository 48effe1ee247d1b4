//! Text to query. Bounded, linear, never panics.

use model::event::RecordKind;

use super::error::QueryWhy;
use super::pattern::{Address, Ending, Pattern, StatusTest};
use super::time::read_time;
use super::{Key, Query, QueryError, Term, What};

/// Longer than anybody types.
const MOST_BYTES: usize = 4_096;
const MOST_VALUES: usize = 256;

pub(super) fn parse(text: &str) -> Result<Query, QueryError> {
    if text.len() > MOST_BYTES {
        return Err(QueryError {
            at: 0,
            len: 1,
            why: QueryWhy::TooLong {
                most: MOST_BYTES,
                what: "bytes",
            },
        });
    }
    let mut parser = Parser { text, at: 0, values: 0 };
    let mut query = Query::default();
    loop {
        parser.skip_space();
        if parser.peek().is_none() {
            return Ok(query);
        }
        parser.term(&mut query)?;
    }
}

struct Parser<'t> {
    text: &'t str,
    /// In bytes, always at the begin of a character.
    at: usize,
    values: usize,
}

/// A piece of text and where it stands.
struct Value {
    start: usize,
    text: String,
    quoted: bool,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take_until(&mut self, ends: impl Fn(char) -> bool) -> String {
        let rest = self.rest();
        let len = rest.find(ends).unwrap_or(rest.len());
        let taken = rest.get(..len).unwrap_or_default().to_owned();
        self.at += len;
        taken
    }

    /// An error about what stands from `start` to here.
    fn wrong(&self, start: usize, why: QueryWhy) -> QueryError {
        let chars = |bytes: usize| self.text.get(..bytes).unwrap_or_default().chars().count();
        let at = chars(start);
        QueryError {
            at,
            len: chars(self.at).saturating_sub(at).max(1),
            why,
        }
    }

    fn term(&mut self, query: &mut Query) -> Result<(), QueryError> {
        let start = self.at;
        let negated = self.eat('-');
        if negated && self.peek().is_none_or(char::is_whitespace) {
            return Err(self.wrong(start, QueryWhy::LoneDash));
        }
        if self.peek() == Some('"') {
            let words = self.quoted()?;
            self.count(start)?;
            query.terms.push(Term {
                negated,
                what: What::Words(words.to_lowercase()),
            });
            return Ok(());
        }
        let key_at = self.at;
        let word = self.take_until(|c| c.is_whitespace() || c == ':');
        if !self.eat(':') {
            self.count(start)?;
            query.terms.push(Term {
                negated,
                what: What::Words(word.to_lowercase()),
            });
            return Ok(());
        }
        let Some(key) = Key::find(&word) else {
            self.at -= 1;
            return Err(self.wrong(key_at, QueryWhy::unknown_key(&word)));
        };
        let values = self.values(key, key_at)?;
        self.field(query, negated, key, values, start)
    }

    fn count(&mut self, start: usize) -> Result<(), QueryError> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err(self.wrong(
                start,
                QueryWhy::TooLong {
                    most: MOST_VALUES,
                    what: "words and values",
                },
            ));
        }
        Ok(())
    }

    fn values(&mut self, key: Key, key_at: usize) -> Result<Vec<Value>, QueryError> {
        let mut values = Vec::new();
        loop {
            let start = self.at;
            self.count(start)?;
            let (text, quoted) = if self.peek() == Some('"') {
                (self.quoted()?, true)
            } else {
                (self.take_until(|c| c.is_whitespace() || c == ','), false)
            };
            if text.is_empty() {
                return Err(self.wrong(key_at, QueryWhy::MissingValue { key: key.name() }));
            }
            values.push(Value { start, text, quoted });
            if !self.eat(',') {
                return Ok(values);
            }
        }
    }

    /// Text in quotes; `\"` and `\\` stand for the characters themselves.
    fn quoted(&mut self) -> Result<String, QueryError> {
        let start = self.at;
        self.eat('"');
        let mut text = String::new();
        let mut escaped = false;
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match c {
                _ if escaped => {
                    if !matches!(c, '"' | '\\') {
                        text.push('\\');
                    }
                    text.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    let end = self.at;
                    return match self.peek() {
                        Some(next) if !next.is_whitespace() && next != ',' => {
                            Err(self.wrong(end, QueryWhy::AfterQuote))
                        }
                        _ => Ok(text),
                    };
                }
                _ => text.push(c),
            }
        }
        Err(self.wrong(start, QueryWhy::OpenQuote))
    }

    fn field(
        &self,
        query: &mut Query,
        negated: bool,
        key: Key,
        values: Vec<Value>,
        start: usize,
    ) -> Result<(), QueryError> {
        let what = match key {
            Key::Since | Key::Until => return self.time(query, negated, key, &values, start),
            Key::Status => What::Status(self.each(&values, |value| {
                let expected = "it takes a status such as 403, a class such as 4xx, or a bound such as >=400";
                StatusTest::read(&value.text).ok_or_else(|| QueryWhy::bad_value(key, &value.text, expected))
            })?),
            Key::Outcome => What::Ended(self.each(&values, |value| {
                Ending::read(&value.text).ok_or_else(|| QueryWhy::not_among(key, &value.text, &Ending::NAMES))
            })?),
            Key::Ip => What::From(self.each(&values, |value| {
                let expected = "it takes an address, a network such as 10.0.0.0/8, or an address with `*`";
                Address::read(&value.text, value.quoted).ok_or_else(|| QueryWhy::bad_value(key, &value.text, expected))
            })?),
            Key::Kind => self.among(key, &values, &RecordKind::ALL.map(RecordKind::name))?,
            Key::Source => self.among(key, &values, &["gateway", "ingested", "verdict", "sample"])?,
            Key::Recorded | Key::Public => self.among(key, &values, &["true", "false"])?,
            Key::User
            | Key::As
            | Key::Via
            | Key::Verb
            | Key::Resource
            | Key::Group
            | Key::Namespace
            | Key::Name
            | Key::Cluster
            | Key::Service
            | Key::Host
            | Key::Method
            | Key::Path
            | Key::Id
            | Key::Reason
            | Key::Agent
            | Key::Session => What::Field(
                key,
                values
                    .iter()
                    .map(|value| Pattern::new(&value.text, value.quoted))
                    .collect(),
            ),
        };
        query.terms.push(Term { negated, what });
        Ok(())
    }

    /// Values that each fit one of these words at least.
    fn among(&self, key: Key, values: &[Value], known: &[&'static str]) -> Result<What, QueryError> {
        let patterns = self.each(values, |value| {
            let pattern = Pattern::new(&value.text, value.quoted);
            match known.iter().any(|name| pattern.matches(name)) {
                true => Ok(pattern),
                false => Err(QueryWhy::not_among(key, &value.text, known)),
            }
        });
        Ok(What::Field(key, patterns?))
    }

    fn each<T>(&self, values: &[Value], read: impl Fn(&Value) -> Result<T, QueryWhy>) -> Result<Vec<T>, QueryError> {
        values
            .iter()
            .map(|value| read(value).map_err(|why| self.wrong(value.start, why)))
            .collect()
    }

    fn time(
        &self,
        query: &mut Query,
        negated: bool,
        key: Key,
        values: &[Value],
        start: usize,
    ) -> Result<(), QueryError> {
        let slot = if key == Key::Since {
            &mut query.since
        } else {
            &mut query.until
        };
        let ([value], None, false) = (values, &slot, negated) else {
            return Err(self.wrong(start, QueryWhy::OneTime { key: key.name() }));
        };
        let expected =
            "it takes 5m, 2h, 7d, yesterday, a day such as 2026-11-01, or a time such as 2026-11-01T10:30:00Z";
        let bound = read_time(&value.text)
            .ok_or_else(|| self.wrong(value.start, QueryWhy::bad_value(key, &value.text, expected)))?;
        *slot = Some(bound);
        Ok(())
    }
}
