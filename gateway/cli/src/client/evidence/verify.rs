//! Checking a file with the public key alone.

use std::io::Read as _;
use std::path::Path;

use ledger::evidence::{Checked, Counts, Evidence, EvidenceError, Statement};
use ledger::note::{KeyChain, KeyTurn, VerifierKey};
use serde_json::{Value, json};

use super::file::{Around, MAX_FILE_LEN, unwrap};
use super::{Form, VerifyArguments};
use crate::Exit;
use crate::client::document::line;
use crate::client::trouble::{Trouble, chain, clean_lines};
use crate::ledger_command::receipt::{vouched, vouched_as_json};
use crate::ledger_command::witnessed::Asked;
use crate::ledger_command::{Kept, Refused, followed, followed_as_json, key_of};
use crate::terminal::data;

pub(super) fn verify(arguments: &VerifyArguments) -> Result<Exit, Trouble> {
    let logs: Vec<VerifierKey> = arguments
        .key
        .iter()
        .map(|key| key_of(key).map_err(usage))
        .collect::<Result<_, _>>()?;
    let witnesses = Asked::of(&arguments.witness, arguments.quorum).map_err(usage)?;
    let keys: Vec<VerifierKey> = logs.iter().chain(&witnesses.keys).cloned().collect();
    let kept: Vec<Kept> = arguments
        .since
        .iter()
        .map(|file| change(file))
        .collect::<Result<_, _>>()?;
    let (changes, proofs) = Kept::parted(kept);
    let (around, evidence) = unwrap(&read(&arguments.file)?);
    let evidence = match evidence {
        Ok(evidence) => evidence,
        Err(EvidenceError::Header) if around == Around::Nothing => {
            let what = format!("`{}` is no evidence", arguments.file.display());
            return Err(Trouble::new(Exit::Usage, what).remedy("name a file that `gatescribe evidence pack` wrote"));
        }
        Err(error) => return unreadable(&error, arguments),
    };
    let mut chain = evidence.chain(&keys, &changes);
    proofs.iter().for_each(|proof| proof.bind(&mut chain));
    let checked = evidence.check(&chain);
    let mut faults: Vec<String> = checked.faults.iter().map(ToString::to_string).collect();
    if around == Around::Changed {
        faults.push("page: it is not the one that `evidence pack` wrote: believe nothing that it shows".to_owned());
    }
    if let Err((_, error)) = witnesses.demand(&checked.vouched, &arguments.file) {
        faults.push(format!("checkpoint: {error}"));
    }
    let report = Report {
        not_shown: not_shown(around, &checked, !witnesses.keys.is_empty()),
        exit: match (faults.is_empty(), around, checked.told) {
            (false, ..) => Exit::Integrity,
            (true, Around::Other, _) | (true, _, None) => Exit::Partly,
            (true, ..) => Exit::Done,
        },
        evidence: &evidence,
        keys: &chain,
        checked: &checked,
        faults,
    };
    data(&match arguments.output {
        Form::Text => report.in_words(),
        Form::Json => line(&report.as_json()),
    })?;
    Ok(report.exit)
}

fn usage((exit, error): Refused) -> Trouble {
    Trouble::new(exit, error.to_string()).remedy("give the ledger's public key, `NAME+ID+KEY`, or a file with it")
}

/// A change of the ledger's key that both keys signed, or the proof that the ledger goes on from the pack's checkpoint.
fn change(file: &Path) -> Result<Kept, Trouble> {
    let kept = Kept::read(file).map_err(usage)?;
    match &kept {
        Kept::Proof(_) => return Ok(kept),
        Kept::Note(note) if KeyTurn::read(note).is_some() => return Ok(kept),
        Kept::Note(_) => {}
    }
    let what = format!(
        "`{}` is no change of a ledger's key that both keys signed",
        file.display()
    );
    Err(Trouble::new(Exit::Usage, what)
        .remedy("a pack is checked by itself: only such changes count besides, `keyChanges[].statement` of `gatescribe ledger verify -o json`, and proofs that the ledger goes on from it, `gatescribe ledger checkpoint DIR --since PACK`"))
}

fn read(path: &Path) -> Result<Vec<u8>, Trouble> {
    let most = u64::try_from(MAX_FILE_LEN).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        Trouble::new(Exit::Fault, format!("`{}` cannot be read", path.display())).because(error.to_string())
    })?;
    if bytes.len() > MAX_FILE_LEN {
        let what = format!("`{}` is no evidence", path.display());
        return Err(Trouble::new(Exit::Usage, what).because(format!("it is longer than {MAX_FILE_LEN} bytes")));
    }
    Ok(bytes)
}

/// Evidence once, of which a line is none any more: that says where, and nothing else can be said.
fn unreadable(error: &EvidenceError, arguments: &VerifyArguments) -> Result<Exit, Trouble> {
    let fault = format!("evidence: {}", chain(error));
    data(&match arguments.output {
        Form::Text => format!("✖ {fault}\n✖ this evidence does not hold\n"),
        Form::Json => line(&json!({"proved": false, "findings": [fault]})),
    })?;
    Ok(Exit::Integrity)
}

struct Report<'r> {
    evidence: &'r Evidence,
    keys: &'r KeyChain,
    checked: &'r Checked<'r>,
    faults: Vec<String>,
    not_shown: Vec<String>,
    exit: Exit,
}

fn not_shown(around: Around, checked: &Checked<'_>, asked_witnesses: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if checked.told.is_none() {
        lines.push("that the query and the counts are true: it was made from files, and no record of the ledger says what was packed");
    }
    match around {
        Around::Other => lines.push("whether the page shows what is in it: another version of gatescribe wrote it"),
        Around::Page | Around::Changed | Around::Nothing => {}
    }
    lines.push("that nothing else matched: that is the word of the gateway that counted; whoever has a copy of the ledger counts again, with `evidence pack --dir`");
    if !asked_witnesses {
        lines.push("that the ledger told nobody another story: give the keys of its witnesses with --witness");
    }
    lines.into_iter().map(str::to_owned).collect()
}

impl Report<'_> {
    fn in_words(&self) -> String {
        let checkpoint = self.evidence.checkpoint();
        let mut lines: Vec<String> = self.faults.iter().map(|fault| format!("✖ {fault}")).collect();
        if let Some(statement) = &self.checked.statement {
            lines.extend(asked(statement));
        }
        let (bad, all) = (self.checked.bad_records, self.checked.records);
        let good = all.saturating_sub(bad);
        lines.push(format!(
            "{good} of {all} records lead to the root of the {} records of {}",
            checkpoint.size, checkpoint.origin
        ));
        lines.extend(self.checked.vouched.iter().map(vouched));
        lines.extend(followed(self.keys));
        if let Some(seq) = self.checked.told
            && self.checked.all_but_records_hold
        {
            lines.push(format!(
                "the query and the counts are those that record {seq} of the ledger names"
            ));
        }
        lines.extend(self.checked.recordings.iter().map(|kept| {
            format!(
                "recording of {}: {} chunks, {} bytes, root {}, by record {}",
                kept.session, kept.chunks, kept.bytes, kept.root, kept.seq
            )
        }));
        lines.push(match self.exit {
            Exit::Done => {
                "✔ every record is one that was signed, and the query and the counts are those that were recorded"
                    .to_owned()
            }
            Exit::Partly => "✔ every record is one that was signed".to_owned(),
            _ => "✖ this evidence does not hold".to_owned(),
        });
        lines.extend(self.not_shown.iter().map(|line| format!("  not shown: {line}")));
        clean_lines(&format!("{}\n", lines.join("\n")))
    }

    fn as_json(&self) -> Value {
        let checkpoint = self.evidence.checkpoint();
        let recordings = self.checked.recordings.iter().map(|kept| {
            json!({"session": kept.session, "root": kept.root, "chunks": kept.chunks, "bytes": kept.bytes, "record": kept.seq})
        });
        let records = self.evidence.records();
        json!({
            "proved": self.exit == Exit::Done,
            "findings": self.faults,
            "notShown": self.not_shown,
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "vouched": self.checked.vouched.iter().map(vouched_as_json).collect::<Vec<_>>(),
            "keyChanges": followed_as_json(self.keys),
            "toldBy": self.checked.told,
            "statement": self.checked.statement,
            "recordings": recordings.collect::<Vec<_>>(),
            "records": records.map(|(_, leaf)| record(leaf)).collect::<Vec<_>>(),
        })
    }
}

fn asked(statement: &Statement) -> Vec<String> {
    let Counts { range, matched, packed } = statement.acts;
    let whose = if statement.scope == "all" {
        "everybody's"
    } else {
        "one person's"
    };
    let from = statement
        .from
        .map_or_else(|| "the beginning".to_owned(), |from| from.to_string());
    let mut lines = vec![
        format!(
            "asked for `{}`, from {from} to {}, in {whose} records",
            statement.query, statement.to
        ),
        format!("{range} acts in the range, {matched} match, {packed} are here"),
    ];
    if let Some(sample) = &statement.sample {
        lines.push(format!(
            "{} were to be drawn by the seed {}; they were drawn anew from the {} that match",
            sample.size,
            sample.seed,
            sample.population.len()
        ));
    }
    lines
}

/// As JSON. A leaf that is none was hashed all the same, and stands there as text.
fn record(leaf: &[u8]) -> Value {
    serde_json::from_slice(leaf).unwrap_or_else(|_| String::from_utf8_lossy(leaf).into())
}
