//! Following the gateway's records: lines of JSON, each with one member that says what it is (`begin`, `record`, `alive`,
//! `end`), and a position where one can go on.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

use super::Lines as Form;
use super::render;
use crate::Exit;
use crate::client::GatewayArgument;
use crate::client::ask::query;
use crate::client::document;
use crate::client::gateway::{API, authorized, refused_api};
use crate::client::home::Home;
use crate::client::lines::{Lines, Live, NoLine, stopped};
use crate::client::session::{Ready, block_on, ready};
use crate::client::trouble::{Trouble, clean};
use crate::terminal::{Reader, Unwritten, data, say};

/// Longer than any record (16 KiB) by far: what has no line end by then is no record.
const LONGEST_LINE: usize = 1024 * 1024;
/// How often in a row a broken stream is taken up again before it is given up.
const ATTEMPTS: u32 = 5;

/// What was written so far.
pub(super) struct Written {
    output: Form,
    has_heads: bool,
    /// As many as were folded away when it was said last.
    folded: u64,
}

impl Written {
    pub(super) const fn new(output: Form) -> Self {
        Self {
            output,
            has_heads: false,
            folded: 0,
        }
    }

    /// What was found so far and is not shown. It is said when it has doubled: a line for each number would be what was
    /// folded away.
    pub(super) fn folded(&mut self, folded: &Value) {
        let count = |name: &str| folded.get(name).and_then(Value::as_u64).unwrap_or(0);
        let all: u64 = ["discovery", "machines", "audit_reads", "checkpoints", "public"]
            .into_iter()
            .map(count)
            .fold(0, u64::saturating_add);
        if all > 0 && all / 2 >= self.folded {
            self.folded = all;
            if let Some(words) = render::folded(folded) {
                say(&words);
            }
        }
    }

    /// One record to stdout.
    pub(super) fn record(&mut self, record: &Value) -> Result<Reader, Unwritten> {
        let text = match self.output {
            Form::Jsonl => document::line(record),
            Form::Table => render::line(record, !std::mem::replace(&mut self.has_heads, true), render::width()),
        };
        data(&text)
    }
}

struct Progress {
    written: Written,
    after: Option<u64>,
    failures: u32,
    was_noted: bool,
}

/// How one stream ended.
enum Ended {
    /// Nobody reads us any more.
    Unread,
    /// Worth another attempt.
    Broken(Trouble),
}

/// Until interrupted. A stream that breaks, or whose token ended, is taken up behind the last record.
pub(super) fn follow(words: &str, output: Form, all: bool, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    let home = Home::find()?;
    block_on(async {
        let written = Written::new(output);
        let mut progress = Progress {
            written,
            after: None,
            failures: 0,
            was_noted: false,
        };
        loop {
            let ready = ready(&home, gateway.url.as_deref(), API).await?;
            match stream(&ready, words, all, &mut progress).await? {
                Ended::Unread => return Ok(Exit::Done),
                Ended::Broken(trouble) if progress.failures >= ATTEMPTS => return Err(trouble),
                Ended::Broken(trouble) => {
                    progress.failures += 1;
                    let wait = std::time::Duration::from_secs(1 << progress.failures.min(4));
                    say(&format!(
                        "{}\ntaking it up again in {} s",
                        trouble.text(),
                        wait.as_secs()
                    ));
                    tokio::time::sleep(wait).await;
                }
            }
        }
    })
}

async fn stream(ready: &Ready, words: &str, all: bool, progress: &mut Progress) -> Result<Ended, Trouble> {
    let after = progress.after.map(|after| after.to_string());
    let pairs = [
        ("q", Some(words).filter(|words| !words.is_empty())),
        ("all", all.then_some("true")),
        ("after", after.as_deref()),
    ];
    let url = format!("{}/audit/tail{}", ready.kept.endpoints.api, query(&pairs));
    let answer = match ready.client.open(authorized(&url, ready.token.reveal())?).await {
        Ok(answer) => answer,
        Err(error) => return Ok(Ended::Broken(error.into())),
    };
    if answer.status().is_success() {
        return lines(answer.into_body(), progress, &ready.kept.gateway).await;
    }
    let (head, body) = answer.into_parts();
    let body = http_body_util::Limited::new(body, LONGEST_LINE).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let status = head.status;
    let trouble = refused_api(&http::Response::from_parts(head, body));
    let passes = status.is_server_error() || status == http::StatusCode::UNAUTHORIZED;
    if passes {
        Ok(Ended::Broken(trouble))
    } else {
        Err(trouble)
    }
}

async fn lines(body: Incoming, progress: &mut Progress, host: &str) -> Result<Ended, Trouble> {
    let mut lines = Lines::of(Live::new(body, host), LONGEST_LINE);
    loop {
        match lines.next().await {
            Ok(Some(line)) => {
                if let Some(ended) = progress.line(&line)? {
                    return Ok(ended);
                }
            }
            Ok(None) => {
                return Ok(Ended::Broken(
                    Trouble::new(Exit::Unreachable, "the stream ended").because("the gateway closed it"),
                ));
            }
            Err(NoLine::Broken(error)) => return Ok(Ended::Broken(error.into())),
            Err(NoLine::TooLong) => {
                return Err(Trouble::new(Exit::Fault, "the gateway sends no records")
                    .because("a line has no end")
                    .remedy("check that the address is the gateway's own"));
            }
        }
    }
}

impl Progress {
    fn line(&mut self, line: &[u8]) -> Result<Option<Ended>, Trouble> {
        let Ok(line) = serde_json::from_slice::<Value>(line) else {
            return Ok(None);
        };
        self.failures = 0;
        self.after = line.get("position").and_then(Value::as_u64).or(self.after);
        let note = line
            .get("begin")
            .and_then(|begin| begin.get("note"))
            .and_then(Value::as_str);
        if let Some(note) = note.filter(|_| !std::mem::replace(&mut self.was_noted, true)) {
            say(&clean(note));
        }
        if let Some(folded) = line.pointer("/alive/folded") {
            self.written.folded(folded);
        }
        if let Some(why) = line.get("end").and_then(Value::as_str) {
            let trouble = stopped("the stream ended", why, line.get("code").and_then(Value::as_str));
            return match trouble.exit {
                // Another attempt would be refused, or would show something else than what was begun.
                Exit::SignIn | Exit::NotPermitted => Err(trouble),
                _ => Ok(Some(Ended::Broken(trouble))),
            };
        }
        let Some(record) = line.get("record") else {
            return Ok(None);
        };
        Ok(match self.written.record(record)? {
            Reader::There => None,
            Reader::Gone => Some(Ended::Unread),
        })
    }
}
