//! What is sent over HTTP/1.1, byte by byte, and what of it may reach a service.
//!
//! `@HOST@` stands for the host of the service that is asked, `@OTHER@` for another one's, `@ALICE@` for her token. What is hidden in a
//! case to become a request of its own bears her token too: if anybody took it for one, it would be let in.

use super::{fields, framing, ways};

/// One request as a service should see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// The method.
    pub(super) method: String,
    /// The target.
    pub(super) target: String,
    /// The body.
    pub(super) body: Vec<u8>,
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The service's, to this.
    Service(Call),
    /// The gateway's own, a refusal.
    Gate,
}

/// What comes of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expect {
    /// These answers, in this order.
    Answers(Vec<Answer>),
    /// The client leaves, or its body breaks within: the request may have begun at the service, and there is perhaps no answer.
    Broken,
}

/// A case.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// What is odd about it.
    pub(super) name: String,
    /// What is sent. Where there is a [`WAIT`], the interim answer is awaited.
    pub(super) bytes: Vec<u8>,
    /// What comes of it.
    pub(super) expect: Expect,
}

/// Stands between what is sent at once and what is sent when the gateway has said that it may come.
pub(super) const WAIT: &[u8] = b"@WAIT@";
/// The path of what is hidden.
pub(super) const HIDDEN_PATH: &str = "/smuggled";
/// A word that stands in no field that a client may write.
pub(super) const FORGED: &str = "forged";

/// A host and her credential.
pub(super) const WHO: &str = "Host: @HOST@\r\nAuthorization: Bearer @ALICE@\r\n";

/// A hidden request: whole, without an end (so that it swallows the head of whoever comes next), and with a body of its own that swallows
/// a request.
pub(super) fn hidden() -> [Vec<u8>; 3] {
    let head = format!("GET {HIDDEN_PATH} HTTP/1.1\r\n{WHO}X-Remote-User: {FORGED}\r\n");
    let open = format!("{head}X-Swallows: ");
    let post = head.replacen("GET", "POST", 1);
    [
        format!("{head}\r\n"),
        open,
        format!("{post}Content-Length: 300\r\n\r\n{FORGED}"),
    ]
    .map(String::into_bytes)
}

pub(super) fn whole_hidden() -> Vec<u8> {
    hidden().into_iter().next().unwrap_or_default()
}

/// Line, host, credential and these fields, each ended by CRLF.
pub(super) fn head(line: &str, fields: impl AsRef<[u8]>) -> Vec<u8> {
    let mut head = format!("{line}\r\n{WHO}").into_bytes();
    head.extend(fields.as_ref());
    head.extend(b"\r\n");
    head
}

pub(super) fn call(method: &str, target: &str, body: &[u8]) -> Answer {
    Answer::Service(Call {
        method: method.to_owned(),
        target: target.to_owned(),
        body: body.to_vec(),
    })
}

/// The cases so far.
#[derive(Debug, Default)]
pub(super) struct Corpus(Vec<Case>);

impl Corpus {
    pub(super) fn push(&mut self, name: impl Into<String>, bytes: Vec<u8>, expect: Expect) {
        self.0.push(Case {
            name: name.into(),
            bytes,
            expect,
        });
    }

    pub(super) fn answered(&mut self, name: impl Into<String>, bytes: Vec<u8>, answers: &[Answer]) {
        self.push(name, bytes, Expect::Answers(answers.to_vec()));
    }

    /// One request that the service sees.
    pub(super) fn passes(
        &mut self,
        name: impl Into<String>,
        bytes: Vec<u8>,
        (method, target): (&str, &str),
        body: &[u8],
    ) {
        self.answered(name, bytes, &[call(method, target, body)]);
    }

    /// The first request is refused; behind it stands what is hidden.
    pub(super) fn refused(&mut self, name: impl Into<String>, mut bytes: Vec<u8>) {
        bytes.extend(whole_hidden());
        self.answered(name, bytes, &[Answer::Gate]);
    }

    /// The request is declined for what it says; the connection may go on.
    pub(super) fn declined(&mut self, name: impl Into<String>, bytes: Vec<u8>) {
        self.answered(name, bytes, &[Answer::Gate]);
    }

    /// The body breaks; behind the break stands what is hidden.
    pub(super) fn broken(&mut self, name: impl Into<String>, mut bytes: Vec<u8>) {
        bytes.extend(whole_hidden());
        self.push(name, bytes, Expect::Broken);
    }
}

/// All of them.
pub(super) fn all() -> Vec<Case> {
    let mut corpus = Corpus::default();
    framing::add(&mut corpus);
    fields::add(&mut corpus);
    ways::add(&mut corpus);
    corpus.0
}
