//! A log that somebody serves: `ledger verify https://…`.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use ledger::verify::{RemoteError, Report, SourceError, Trust, verify_remote};

use super::witnessed::Asked;
use super::{Output, Refused, Verify, as_json, exit, in_words};
use crate::Exit;
use crate::client::document::line;
use crate::client::served::Server;
use crate::terminal::data_and;

/// How long one answer may take where nobody says it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether this names a server and no file.
pub(super) fn is_meant(given: &str) -> bool {
    given.starts_with("https://") || given.starts_with("http://")
}

/// Checks all that the server has, and says what holds.
pub(super) fn check(arguments: &Verify, url: &str, trust: &Trust, witnesses: &Asked) -> Result<Exit, Refused> {
    let patience = arguments.patience.map_or(PATIENCE, Duration::from_secs);
    let server =
        Server::at(url, arguments.ca.as_deref(), arguments.token_file.as_deref(), patience).map_err(|trouble| {
            (
                trouble.exit,
                anyhow::anyhow!("{}", trouble.text().trim_start_matches("✖ ")),
            )
        })?;
    let bar = progress();
    let report = verify_remote(&server, trust, arguments.threads(), &|done, of| {
        bar.set_length(of);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let report = report.map_err(|error| (exit_of(&error), error.into()))?;
    let text = match arguments.output {
        Output::Text => in_words(&report, witnesses, trust.remembered.is_empty(), None),
        Output::Json => line(&as_json(&report, witnesses, None)),
    };
    Ok(data_and(&text, exit(&report, witnesses)))
}

/// What nobody can see from outside.
pub(super) fn not_served(report: &Report) -> Vec<String> {
    let mut lines = vec![
        "what stands around the records on the gateway's disk: frames, segments, sealed parts, older checkpoints"
            .to_owned(),
        "records that are newer than the checkpoint that the server gave".to_owned(),
    ];
    if report.foreign > 0 {
        lines.push(format!(
            "what {} entries are: they do not begin as the records of a ledger do",
            report.foreign
        ));
    }
    lines
}

fn exit_of(error: &RemoteError) -> Exit {
    match error {
        RemoteError::Fetch {
            path,
            source: SourceError::Missing,
            ..
        } if path == "checkpoint" => Exit::NotFound,
        RemoteError::Fetch {
            source: SourceError::Failed(_),
            ..
        } => Exit::Unreachable,
        RemoteError::Fetch { .. } | RemoteError::Note(_) | RemoteError::Checkpoint(_) => Exit::Integrity,
    }
}

fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} records {per_sec} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
