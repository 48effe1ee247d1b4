//! The parameters of a request: known, each at most once, checked before anything is looked at.

use http::StatusCode;
use search::{Query, QueryError, TimeBound, View, read_time};
use serde_json::json;

use crate::answer::Refused;
use crate::form::Fields;

/// A query's length in bytes: it is recorded whole, so it stays below what a record keeps in place.
pub(super) const MOST_QUERY: usize = 1_000;

pub(super) struct Parameters(Fields);

impl Parameters {
    /// Refuses whatever is not among `known`: a misspelt parameter must not widen an answer.
    pub(super) fn read(pairs: Vec<(String, String)>, known: &[&str]) -> Result<Self, Refused> {
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            let name: String = name.chars().take(64).collect();
            return Err(Refused::request(format!(
                "`{name}` is no parameter here; known are {}",
                known.join(", ")
            )));
        }
        Fields::read(pairs)
            .map(Self)
            .map_err(|why| Refused::request(why.to_string()))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.find(name)
    }

    /// The query as typed and as read, bounded by `since` and `until`.
    pub(super) fn query(&self) -> Result<(String, Query), Refused> {
        self.query_and("")
    }

    /// As [`Parameters::query`], of which also `more` must hold.
    pub(super) fn query_and(&self, more: &str) -> Result<(String, Query), Refused> {
        let text = self.text("q").unwrap_or_default();
        if text.len() > MOST_QUERY {
            return Err(Refused::request(format!(
                "a query has at most {MOST_QUERY} bytes, since it is recorded whole"
            )));
        }
        let query = Query::parse(format!("{text} {more}").trim_end()).map_err(|error| wrong_query(&error))?;
        let (since, until) = (self.time("since")?, self.time("until")?);
        let query = query.within(since, until).map_err(|twice| {
            Refused::request(format!("`{twice}` stands both in the query and beside it; say it once"))
        })?;
        let mut said = text.to_owned();
        for name in ["since", "until"] {
            if let Some(value) = self.text(name) {
                said.push_str(&format!(" {name}:{value}"));
            }
        }
        Ok((said.trim_start().to_owned(), query))
    }

    fn time(&self, name: &str) -> Result<Option<TimeBound>, Refused> {
        let Some(text) = self.text(name) else { return Ok(None) };
        read_time(text).map(Some).ok_or_else(|| {
            Refused::request(format!(
                "`{name}` takes 5m, 2h, 7d, yesterday, a day such as 2026-11-01, or a time such as 2026-11-01T10:30:00Z"
            ))
        })
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Refused> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| Refused::request(format!("`{name}` takes a whole number")))
    }

    /// Whether a parameter is `true`; not when it is left out.
    pub(super) fn truth(&self, name: &str) -> Result<bool, Refused> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Refused::request(format!("`{name}` takes true or false"))),
        }
    }

    pub(super) fn view(&self) -> Result<View, Refused> {
        Ok(if self.truth("all")? { View::All } else { View::Acts })
    }
}

fn wrong_query(error: &QueryError) -> Refused {
    let mut refused = Refused::new(StatusCode::BAD_REQUEST, "invalid_query", error.to_string());
    refused.more = Some(("at", json!({"position": error.at, "length": error.len})));
    refused
}
