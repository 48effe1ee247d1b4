//! What is wrong with a configuration, shown where it stands.

use std::fmt::Write as _;
use std::ops::Range;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource};

/// One mistake: what, where, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, in one sentence.
    pub what: String,
    /// The words under the caret.
    pub label: String,
    /// Which bytes of the file.
    pub place: Range<usize>,
    /// What to do.
    pub help: String,
}

impl Problem {
    pub(super) fn new(
        what: impl Into<String>,
        label: impl Into<String>,
        place: Range<usize>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            label: label.into(),
            place,
            help: help.into(),
        }
    }

    pub(super) fn syntax(what: String, place: Range<usize>) -> Self {
        Self::new(
            format!("not valid here: {what}"),
            "here",
            place,
            "see docs/reference/configuration.md for the form of the file",
        )
    }
}

/// All problems of one file.
#[derive(Debug)]
pub struct Problems {
    file: String,
    text: String,
    list: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(file: &str, text: &str, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| (problem.place.start, problem.place.end));
        list.dedup();
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            list,
        }
    }

    /// The problems in the order of their places.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// 1-based line and column (in characters) of a problem.
    #[must_use]
    pub fn line_and_column(&self, problem: &Problem) -> (usize, usize) {
        let before = self.text.get(..problem.place.start).unwrap_or(&self.text);
        let line = before.matches('\n').count().saturating_add(1);
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            .saturating_add(1);
        (line, column)
    }

    /// For a person: each with its lines, a caret and what to do, the first fifty when there are more; how many there are
    /// is said. `color` only for a terminal.
    #[must_use]
    pub fn for_a_person(&self, color: bool, width: usize) -> String {
        let theme = if color {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(width)
            .with_context_lines(1);
        let mut text = String::new();
        for problem in self.list.iter().take(SHOWN) {
            let report = Report {
                problem,
                source: NamedSource::new(&self.file, self.text.clone()),
            };
            // Writing to a String cannot fail.
            let _ = handler.render_report(&mut text, &report);
            text.push('\n');
        }
        let noun = if self.list.len() == 1 { "problem" } else { "problems" };
        let which = if self.list.len() > SHOWN {
            format!(", of which the first {SHOWN} are shown")
        } else {
            String::new()
        };
        let _ = writeln!(text, "{}: {} {noun}{which}", self.file, self.list.len());
        text
    }

    /// For a machine, all of them: one JSON object a line, `file:line:column` and words.
    #[must_use]
    pub fn for_a_machine(&self) -> String {
        let mut text = String::new();
        for problem in &self.list {
            let (line, column) = self.line_and_column(problem);
            let object = serde_json::json!({
                "file": self.file, "line": line, "column": column,
                "problem": problem.what, "at": problem.label, "help": problem.help,
            });
            let _ = writeln!(text, "{object}");
        }
        text
    }
}

/// What somebody can still read. Each repeats its lines, and a line may be the whole file: more would be megabytes.
const SHOWN: usize = 50;

struct Report<'a> {
    problem: &'a Problem,
    source: NamedSource<String>,
}

impl std::fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problem.what)
    }
}

impl std::fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problem.what)
    }
}

impl std::error::Error for Report<'_> {}

impl Diagnostic for Report<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(&self.problem.help))
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.problem.place.clone();
        Some(Box::new(std::iter::once(LabeledSpan::at(
            place,
            self.problem.label.clone(),
        ))))
    }
}
