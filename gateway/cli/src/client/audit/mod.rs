//! `gatescribe audit`: the gateway's records under one's own sign-in. Without an audit role that is one's own acts, and it
//! is said.
//!
//! With `--dir` the files of a ledger are read instead: by whoever may read them, with nobody to ask.

mod can;
mod files;
mod follow;
mod policy;
mod receipt;
mod remote;
mod render;
mod view;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

pub(super) use render::{is_public, source, via, width};

use super::GatewayArgument;
use super::document::{document, line};
use super::trouble::Trouble;
use crate::Exit;
use crate::terminal::data;

/// Search, follow, show.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Search what was recorded: one row for each human act, newest first.
    #[command(after_help = search_help())]
    Search(SearchArguments),
    /// Follow what is recorded from now on, one line each.
    #[command(
        after_help = "Examples:\n  gatescribe audit tail\n  gatescribe audit tail outcome:refused -user:bob -o jsonl\n\n\
        Discovery and controllers are folded; how many is said on stderr each time it has doubled.\n\nExit codes: 3 not \
        signed in, or no longer, 4 not permitted, or something else than when it began, 7 the connection broke and could not be taken up again, 130 interrupted\nSee also: \
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
        see, 8 there is none among what can be read of --dir, 9 the same at a gateway\nSee also: gatescribe why, gatescribe audit search"
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
    /// Show what a call said and what it changed: its bodies as they are kept, masked.
    ///
    /// They are kept where the audit policy asks for them (levels Request and RequestResponse). In place of a value that could be
    /// secret stands a keyed digest, `~` and a word: equal words are equal values. Looking is recorded.
    #[command(
        after_help = "Examples:\n  gatescribe audit view 0192f0c1-7c3e-7d00-a000-0000000007f3\n  gatescribe audit view \
        0192f0c1-7c3e-7d00-a000-0000000007f3 -o json\n\nExit codes: 0 shown, 1 no body of it is kept, 3 not signed in, 5 there is \
        none that you may see\nSee also: gatescribe audit show, gatescribe audit policy explain"
    )]
    View {
        /// The id of a row, or the Audit-Id of an answer.
        id: String,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = super::Output::Table)]
        output: super::Output,
        #[command(flatten)]
        gateway: GatewayArgument,
    },
    /// Take the receipt of a record: the record, with the proof that the signed ledger has it.
    ///
    /// Whoever has the ledger's public key checks it years later, without the gateway: `gatescribe ledger verify FILE --key KEY`.
    /// It holds the record itself: who has it can read it. Taking one is recorded.
    #[command(
        after_help = "Examples:\n  gatescribe audit receipt 0192f0c1-7c3e-7d00-a000-0000000007f3 -o deploy.tlog-proof\n  gatescribe audit \
        receipt 0192f0c1-7c3e-7d00-a000-0000000007f3 --end\n\nExit codes: 0 taken, 3 not signed in, 5 there is none that you may \
        see, 6 the file is there already, 7 it is not signed yet\nSee also: gatescribe ledger verify, gatescribe audit show"
    )]
    Receipt(receipt::ReceiptArguments),
    /// Say which records you may read, by which group, and what of them is hidden.
    ///
    /// Members of `identity.auditGroups` are told every role and who has it, too.
    #[command(
        after_help = "Examples:\n  gatescribe audit can\n  gatescribe audit can -o json\n\nExit codes: 0 said, 3 not signed in, 7 the gateway \
        cannot be reached\nSee also: gatescribe audit search, gatescribe can"
    )]
    Can {
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = super::Output::Table)]
        output: super::Output,
        #[command(flatten)]
        gateway: GatewayArgument,
    },
    /// Look at audit policies: how much of which call is kept.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
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
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    gateway: GatewayArgument,
}

impl From {
    /// The folder, where one was named.
    ///
    /// # Errors
    /// A gateway was named as well.
    fn dir(&self) -> Result<Option<&Path>, Trouble> {
        let dir = self.dir.as_deref();
        self.gateway.gives_way(dir).map(|()| dir)
    }
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

fn search_help() -> String {
    let keys: Vec<&str> = search::Key::ALL.iter().map(|key| key.name()).collect();
    format!(
        "Examples:\n  gatescribe audit search user:alice verb:delete --since 2h\n  gatescribe audit search \
         'ns:payments outcome:refused' -user:bob --since yesterday -o json\n\nKeys: {}. `key:a,b` holds for a or b, `-key:a` \
         turns it round, `*` stands for anything. Words without a key match anything. Discovery and controllers are folded \
         with counts; --all unfolds them. Records that cannot be read are named by their numbers on stderr, and in `holes` of `-o \
         json`.\n\nExit codes: 0 found, 1 nothing found, 2 the query is not understood, 3 not signed in, 7 the gateway cannot be reached, \
         8 nothing found, and part of the ledger cannot be read\nSee also: gatescribe audit tail, gatescribe audit show",
        keys.join(", ")
    )
}

/// The command line with every term like `-user:bob` behind `--`: a term that is turned round begins as a flag does, and
/// could only be said by who knows that. The order of terms means nothing.
pub fn arranged(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.collect();
    let is = |place: usize, names: &[&str]| {
        words
            .get(place)
            .is_some_and(|word| names.iter().any(|name| word == name))
    };
    let takes_terms = is(1, &["audit"]) && is(2, &["search", "tail"])
        || is(1, &["session"]) && is(2, &["ls"])
        || is(1, &["evidence"]) && is(2, &["pack"]);
    if !takes_terms || words.iter().any(|word| word == "--") {
        return words;
    }
    let turned: Vec<OsString> = words.extract_if(3.., |word| is_turned_term(word)).collect();
    if !turned.is_empty() {
        words.push(OsString::from("--"));
        words.extend(turned);
    }
    words
}

fn is_turned_term(word: &OsStr) -> bool {
    let key = word.to_str().and_then(|word| word.strip_prefix('-')?.split_once(':'));
    key.is_some_and(|(key, _)| key.len() > 1 && key.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

/// Understood here as the gateway understands it, so that a mistake is said before anything is sent; the gateway's clock
/// counts for relative times.
pub(super) fn time(text: &str) -> Result<String, String> {
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
            match from.dir()? {
                Some(dir) => files::follow(dir, &words, *output, *all),
                None => follow::follow(&words, *output, *all, &from.gateway),
            }
        }
        AuditCommand::Show { id, output, from } => show(id, *output, from),
        AuditCommand::View { id, output, gateway } => view::view(id, *output, gateway),
        AuditCommand::Receipt(arguments) => receipt::take(arguments),
        AuditCommand::Can { output, gateway } => can::run(*output, gateway),
        AuditCommand::Policy(command) => policy::run(command),
    }
}

fn find(arguments: &SearchArguments) -> Result<Exit, Trouble> {
    let found = match arguments.from.dir()? {
        Some(dir) => files::find(dir, arguments)?,
        None => remote::find(arguments)?,
    };
    let records = found
        .get("records")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    match arguments.output {
        Form::Table => data(&render::rows(records, width())),
        Form::Jsonl => data(&records.iter().map(line).collect::<String>()),
        Form::Json => data(&document("RecordList", &found)),
    }?;
    render::say_around(&found, records.is_empty());
    let holes = found.get("holes").and_then(Value::as_array);
    Ok(match (records.is_empty(), holes.is_none_or(Vec::is_empty)) {
        (false, _) => Exit::Done,
        (true, true) => Exit::No,
        // What is asked for may stand where nothing can be read.
        (true, false) => Exit::Integrity,
    })
}

fn show(id: &str, output: super::Output, from: &From) -> Result<Exit, Trouble> {
    let found = match from.dir()? {
        Some(dir) => files::show(dir, id)?,
        None => remote::show(id, &from.gateway)?,
    };
    data(&match output {
        super::Output::Json => document("Record", &found),
        super::Output::Table => {
            let mut found = found.clone();
            let others = found.remove("others");
            let others = others
                .iter()
                .filter_map(Value::as_array)
                .flatten()
                .filter_map(Value::as_object);
            let others = others.map(|other| format!("\n{}", render::whole(other)));
            render::whole(&found) + &others.collect::<String>()
        }
    })?;
    if let Some(note) = found.get("note").and_then(Value::as_str) {
        crate::terminal::say(&super::trouble::clean(note));
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arranged_line(line: &str) -> String {
        let words = arranged(line.split(' ').map(OsString::from));
        let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
        words.join(" ")
    }

    #[test]
    fn a_term_that_is_turned_round_is_no_flag() {
        assert_eq!(
            arranged_line("gatescribe audit search -user:bob verb:get --since 2h -ns:a,b -o json"),
            "gatescribe audit search verb:get --since 2h -o json -- -user:bob -ns:a,b"
        );
        assert_eq!(
            arranged_line("gatescribe session ls --live -user:bob"),
            "gatescribe session ls --live -- -user:bob"
        );
        assert_eq!(
            arranged_line("gatescribe evidence pack user:alice -verb:get -o a.html"),
            "gatescribe evidence pack user:alice -o a.html -- -verb:get"
        );
        // What is no such term, or was arranged by the person, stays where it is.
        for line in [
            "gatescribe audit search -o json user:bob",
            "gatescribe audit search -ojson --since=2h -u",
            "gatescribe audit search -- -user:bob verb:get",
            "gatescribe audit show -user:bob",
            "gatescribe can get pods -n a:b",
            "gatescribe",
        ] {
            assert_eq!(arranged_line(line), line);
        }
    }
}
