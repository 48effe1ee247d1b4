//! A gateway by script: HTTP/1.1 on loopback, one thread for each connection; each path has one answer, which may hold on.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// What a path answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status and one document.
    Json(u16, Value),
    /// Lines of JSON, and what comes behind them.
    Lines(Vec<Value>, Then),
}

/// What follows the lines.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    /// The end of the answer.
    End,
    /// The connection breaks.
    BreakOff,
    /// Nothing, until whoever reads has gone.
    HoldOn,
}

#[derive(Default)]
struct Script {
    answers: BTreeMap<String, Answer>,
    /// Paths with their query.
    asked: Vec<String>,
}

pub(crate) struct Gateway {
    url: String,
    script: Arc<Mutex<Script>>,
}

impl Gateway {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = Arc::clone(&script);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        Self { url, script }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What a path below the API answers from now on.
    pub(crate) fn answers(&self, path: &str, answer: Answer) {
        let mut script = self.script.lock().unwrap();
        script.answers.insert(format!("/api/v1{path}"), answer);
    }

    /// Paths that were asked for, with their query, without the API's own.
    pub(crate) fn asked(&self) -> Vec<String> {
        let script = self.script.lock().unwrap();
        let below = script.asked.iter().filter_map(|asked| asked.strip_prefix("/api/v1"));
        below.map(str::to_owned).collect()
    }
}

fn serve(mut stream: TcpStream, script: &Mutex<Script>) {
    let Some(target) = read(&stream) else { return };
    let path = target.split('?').next().unwrap_or_default();
    let answer = {
        let mut script = script.lock().unwrap();
        script.asked.push(target.clone());
        script.answers.get(path).cloned()
    };
    // A client that was killed takes no answer.
    let _ = write(&mut stream, answer);
}

/// The target of a request; its body is read and forgotten.
fn read(stream: &TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let target = first.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    Some(target)
}

fn write(stream: &mut TcpStream, answer: Option<Answer>) -> std::io::Result<()> {
    let (lines, then) = match answer {
        Some(Answer::Lines(lines, then)) => (lines, then),
        Some(Answer::Json(status, body)) => return whole(stream, status, &body.to_string()),
        None => return whole(stream, 404, r#"{"error":"not_found"}"#),
    };
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{body}\r\n",
        body.len()
    )?;
    match then {
        Then::End => stream.write_all(b"0\r\n\r\n"),
        Then::BreakOff => Ok(()),
        Then::HoldOn => stream.read(&mut [0]).map(drop),
    }
}

fn whole(stream: &mut TcpStream, status: u16, body: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} Said\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
