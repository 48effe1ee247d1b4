//! `gatescribe audit`: the gateway's records under one's own sign-in. Without an audit role that is one's own acts, and it
//! is said.

mod render;

use clap::{Args, Subcommand, ValueEnum};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::ask::query;
use super::gateway::{API, authorized, escape, read_json, refused_api};
use super::home::Home;
use super::http::HttpError;
use super::session::{Ready, block_on, ready};
use super::trouble::Trouble;
use super::{API_VERSION, GatewayArgument};
use crate::Exit;
use crate::terminal::{data, say};

/// Longer than any record (16 KiB) by far: what has no line end by then is no record.
const LONGEST_LINE: usize = 1024 * 1024;
/// How often a broken stream is taken up again before the person is told.
const ATTEMPTS: u32 = 5;

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
        gateway: GatewayArgument,
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
        /// For whom.
        #[arg(short, long, value_enum, default_value_t = super::Output::Table)]
        output: super::Output,
        #[command(flatten)]
        gateway: GatewayArgument,
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
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Show discovery and controllers, too, each call by itself.
    #[arg(long)]
    all: bool,
    /// How it is written.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
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
            gateway,
        } => follow(&query.join(" "), *output, *all, gateway),
        AuditCommand::Show { id, output, gateway } => show(id, *output, gateway),
    }
}

fn find(arguments: &SearchArguments) -> Result<Exit, Trouble> {
    let words = arguments.query.join(" ");
    let limit = arguments.limit.to_string();
    let pairs = [
        ("q", Some(words.as_str()).filter(|words| !words.is_empty())),
        ("since", arguments.since.as_deref()),
        ("until", arguments.until.as_deref()),
        ("limit", Some(limit.as_str())),
        ("all", arguments.all.then_some("true")),
    ];
    let path = format!("/audit/records{}", query(&pairs));
    let found: Map<String, Value> = ask(&arguments.gateway, &path)?;
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

fn show(id: &str, output: super::Output, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    let found: Map<String, Value> = ask(gateway, &format!("/audit/records/{}", escape(id)))?;
    data(&match output {
        super::Output::Json => document("Record", &found),
        super::Output::Table => render::whole(&found),
    });
    Ok(Exit::Done)
}

fn document(kind: &str, found: &Map<String, Value>) -> String {
    let mut document = Map::new();
    document.insert("apiVersion".to_owned(), json!(API_VERSION));
    document.insert("kind".to_owned(), json!(kind));
    document.extend(found.clone());
    format!("{:#}\n", Value::Object(document))
}

fn ask(gateway: &GatewayArgument, path: &str) -> Result<Map<String, Value>, Trouble> {
    let home = Home::find()?;
    block_on(async {
        let ready = ready(&home, gateway.url.as_deref(), API).await?;
        read_json(
            &ready.client,
            &format!("{}{path}", ready.kept.endpoints.api),
            ready.token.reveal(),
        )
        .await
    })
}

/// Until interrupted. A stream that breaks, or whose token ended, is taken up behind the last record.
fn follow(words: &str, output: Lines, all: bool, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    let home = Home::find()?;
    block_on(async {
        let mut progress = Progress::default();
        loop {
            let ready = ready(&home, gateway.url.as_deref(), API).await?;
            let broke = stream(&ready, words, output, all, &mut progress).await?;
            match broke {
                None => return Ok(Exit::Done),
                Some(trouble) if progress.failures >= ATTEMPTS => return Err(trouble),
                Some(_) => {
                    progress.failures += 1;
                    let wait = std::time::Duration::from_secs(1 << progress.failures.min(4));
                    say(&format!("the stream broke; taking it up again in {} s", wait.as_secs()));
                    tokio::time::sleep(wait).await;
                }
            }
        }
    })
}

#[derive(Default)]
struct Progress {
    after: Option<u64>,
    failures: u32,
    heads: bool,
}

/// `Ok(None)`: nobody reads us any more. `Ok(Some(_))`: worth another attempt.
async fn stream(
    ready: &Ready,
    words: &str,
    output: Lines,
    all: bool,
    progress: &mut Progress,
) -> Result<Option<Trouble>, Trouble> {
    let after = progress.after.map(|after| after.to_string());
    let pairs = [
        ("q", Some(words).filter(|words| !words.is_empty())),
        ("all", all.then_some("true")),
        ("after", after.as_deref()),
    ];
    let url = format!("{}/audit/tail{}", ready.kept.endpoints.api, query(&pairs));
    let answer = match ready.client.open(authorized(&url, ready.token.reveal())?).await {
        Ok(answer) => answer,
        Err(error) => return Ok(Some(error.into())),
    };
    if !answer.status().is_success() {
        let (head, body) = answer.into_parts();
        let body = http_body_util::Limited::new(body, LONGEST_LINE).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let status = head.status;
        let trouble = refused_api(&http::Response::from_parts(head, body));
        let passes = status.is_server_error() || status == http::StatusCode::UNAUTHORIZED;
        return if passes { Ok(Some(trouble)) } else { Err(trouble) };
    }
    lines(answer.into_body(), output, progress, &ready.kept.gateway).await
}

async fn lines(
    mut body: Incoming,
    output: Lines,
    progress: &mut Progress,
    host: &str,
) -> Result<Option<Trouble>, Trouble> {
    let mut rest: Vec<u8> = Vec::new();
    loop {
        let frame = match body.frame().await {
            Some(Ok(frame)) => frame,
            Some(Err(cause)) => {
                return Ok(Some(
                    HttpError::Broken {
                        host: host.to_owned(),
                        cause,
                    }
                    .into(),
                ));
            }
            None => {
                let ended = Trouble::new(Exit::Unreachable, "the gateway ended the stream").remedy("run it again");
                return Ok(Some(ended));
            }
        };
        rest.extend_from_slice(frame.data_ref().map(|bytes| &**bytes).unwrap_or_default());
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if !one(&line, output, progress) {
                return Ok(None);
            }
        }
        if rest.len() > LONGEST_LINE {
            return Err(Trouble::new(Exit::Fault, "the gateway sends no records")
                .because("a line has no end")
                .remedy("check that the address is the gateway's own"));
        }
    }
}

/// One record to stdout; `false` when nobody reads it. Empty lines keep the connection alive.
fn one(line: &[u8], output: Lines, progress: &mut Progress) -> bool {
    use std::io::Write as _;
    let Ok(record) = serde_json::from_slice::<Value>(line) else {
        return true;
    };
    progress.failures = 0;
    let sequence = ["last_seq", "seq", "first_seq"]
        .into_iter()
        .find_map(|name| record.get(name).and_then(Value::as_u64));
    progress.after = sequence.or(progress.after);
    let mut text = String::new();
    match output {
        Lines::Jsonl => text.push_str(&format!("{record}\n")),
        Lines::Table => {
            let heads = !std::mem::replace(&mut progress.heads, true);
            text.push_str(&render::line(&record, heads, render::width()));
        }
    }
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}
