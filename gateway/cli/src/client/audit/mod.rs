//! `gatescribe audit`: the gateway's records under one's own sign-in. Without an audit role that is one's own acts, and it
//! is said.

//!
//! With `--dir` the files of a ledger are read instead: by whoever may read them, with nobody to ask.

mod files;
mod follow;
mod remote;
mod render;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::trouble::Trouble;
use super::{API_VERSION, GatewayArgument};
use crate::Exit;
use crate::terminal::data;

/// Search, follow, show.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Search what was recorded: one row for each human act, newest first.
    #[command(
        after_help = "Examples:\n  gatescribe audit search user:alice verb:delete --since 2h\n  gatescribe audit search \
        'namespace:payments refused:true' --since yesterday -o json\n\nWords without a key match anything. Discovery and \
        controllers are folded with counts; --all unfolds them.\n\nExit codes: 0 found, 1 nothing found, 2 the query is not \
        understood, 3 not signed in, 7 the gateway cannot be reached\nSee also: gatescribe audit tail, gatescribe audit show"
    )]
    Search(SearchArguments),
    /// Follow what is recorded from now on, one line each.
    #[command(
        after_help = "Examples:\n  gatescribe audit tail\n  gatescribe audit tail refused:true -o jsonl\n\nExit codes: 3 \
        not signed in, 4 not permitted, 7 the connection broke and could not be taken up again, 130 interrupted\nSee also: \
        gatescribe audit search"
    )]
    Tail {
        /// What to follow; everything that you may see when left out.
        query: Vec<String>,
        /// One line each: for a person, or as JSON.
        #[arg(short, long, value_enum, default_value_t = Lines::Table)]
        output: Lines,
        /// Show discovery and controllers, too.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        from: From,
    },
    /// Show one record whole.
    #[command(
        after_help = "Examples:\n  gatescribe audit show 0192f0c1-7c3e-7d00-a000-0000000007f3\n  gatescribe audit show \
        0192f0c1-7c3e-7d00-a000-0000000007f3 -o json\n\nExit codes: 0 shown, 3 not signed in, 5 there is none that you may \
        see\nSee also: gatescribe why, gatescribe audit search"
    )]
    Show {
        /// The id of a row, or the Audit-Id of an answer.
        id: String,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = super::Output::Table)]
        output: super::Output,
        #[command(flatten)]
        from: From,
    },
}

/// What is searched.
#[derive(Args, Debug)]
pub(crate) struct SearchArguments {
    /// The query; everything that you may see when left out.
    query: Vec<String>,
    /// From when on: 2h, 30m, 7d, yesterday, 2026-11-01, 2026-11-01T10:00:00Z.
    #[arg(long, value_parser = time)]
    since: Option<String>,
    /// Until when.
    #[arg(long, value_parser = time)]
    until: Option<String>,
    /// How many rows at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Show discovery and controllers, too, each call by itself.
    #[arg(long)]
    all: bool,
    /// How it is written.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
    #[command(flatten)]
    from: From,
}

/// Where the records are.
#[derive(Args, Clone, Debug)]
pub(crate) struct From {
    /// Read a ledger's folder instead of asking a gateway.
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    gateway: GatewayArgument,
}

/// How search results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For a person.
    Table,
    /// One document.
    Json,
    /// One row a line.
    Jsonl,
}

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lines {
    /// For a person.
    Table,
    /// For a program.
    Jsonl,
}

/// Understood here as the gateway understands it, so that a mistake is said before anything is sent; the gateway's clock
/// counts for relative times.
fn time(text: &str) -> Result<String, String> {
    match search::read_time(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("a time is 2h, 30m, 7d, yesterday, 2026-11-01 or 2026-11-01T10:00:00Z".to_owned()),
    }
}

pub(super) fn run(command: &AuditCommand) -> Result<Exit, Trouble> {
    match command {
        AuditCommand::Search(arguments) => find(arguments),
        AuditCommand::Tail {
            query,
            output,
            all,
            from,
        } => {
            let words = query.join(" ");
            match &from.dir {
                Some(dir) => files::follow(dir, &words, *output, *all),
                None => follow::follow(&words, *output, *all, &from.gateway),
            }
        }
        AuditCommand::Show { id, output, from } => show(id, *output, from),
    }
}

fn find(arguments: &SearchArguments) -> Result<Exit, Trouble> {
    let found = match &arguments.from.dir {
        Some(dir) => files::find(dir, arguments)?,
        None => remote::find(arguments)?,
    };
    let records = found
        .get("records")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    match arguments.output {
        Form::Table => data(&render::rows(records, render::width())),
        Form::Jsonl => data(&records.iter().map(|record| format!("{record}\n")).collect::<String>()),
        Form::Json => data(&document("RecordList", &found)),
    }
    render::say_around(&found, records.is_empty());
    Ok(if records.is_empty() { Exit::No } else { Exit::Done })
}

fn show(id: &str, output: super::Output, from: &From) -> Result<Exit, Trouble> {
    let found = match &from.dir {
        Some(dir) => files::show(dir, id)?,
        None => remote::show(id, &from.gateway)?,
    };
    data(&match output {
        super::Output::Json => document("Record", &found),
        super::Output::Table => render::whole(&found),
    });
    if let Some(note) = found.get("note").and_then(Value::as_str) {
        crate::terminal::say(&super::trouble::clean(note));
    }
    Ok(Exit::Done)
}

fn document(kind: &str, found: &Map<String, Value>) -> String {
    let mut document = Map::new();
    document.insert("apiVersion".to_owned(), json!(API_VERSION));
    document.insert("kind".to_owned(), json!(kind));
    document.extend(found.clone());
    format!("{:#}\n", Value::Object(document))
}
