//! `gatescribe ledger`: checks and shows a ledger by its files and a public key, on a copy, on another machine, years later; makes and backs up keys, witnesses,
//! and asks the gateway for erasures.

mod checkpoint;
mod consistency;
mod files;
mod keys;
mod keys_signed;
pub(crate) mod receipt;
mod resumed;
mod status;
mod tiles;
mod unsigned;
mod url;
pub(crate) mod witness;
pub(crate) mod witnessed;

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use ledger::disk::{DiskFile, Unknowable};
use ledger::note::{Algorithm, KeyChain, KeyTurn, Note, Signer as _, SigningKey, VerifierKey};
use ledger::verify::{Finding, Report, Resume, Trust, Turn, verify, verify_resumed};
use ledger::{Consistency, Disk, RealDisk, Receipt, spanned};
use serde_json::json;

use self::resumed::{Earlier, Left};
use self::witnessed::Asked;
use crate::Exit;
use crate::client::document::line;
use crate::client::evidence::checkpoint_of_pack;
use crate::client::trouble::clean;
use crate::serve::data;
use crate::terminal::{data_and, fail};

/// What to do with a ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Check every record of a ledger, or one proof, against what was signed, and say where it does not hold.
    ///
    /// Needs the folder, or a copy of it, or a receipt, consistency proof or pack of evidence, and the public key of the log, which the gateway says at its start and which you keep
    /// elsewhere than on the disk that you check. Opens nothing and changes nothing in it; nobody is asked but the server of an `https://…`.
    #[command(
        after_help = "Examples:\n  gatescribe ledger verify /var/lib/gatescribe/ledger --key ledger.pub\n  gatescribe ledger verify ./copy --key \
        gate.example/audit-3f2a91bc+5a0e…+AaT… --remembered last-month.checkpoint\n  gatescribe ledger verify ./copy --key ledger.pub --witness w1.pub --witness \
        w2.pub --quorum 1 -o json\n  gatescribe ledger verify /mnt/backup/ledger --key ledger.pub --resume\n  gatescribe ledger verify https://gate.example.com --key ledger.pub --since last-month.checkpoint\n\nExit codes: 0 \
        every record is proved, 8 something does not hold or nothing proves it, 10 all holds and the newest records are not \
        signed, or not witnessed, yet, 2 a key or checkpoint cannot be read, or the file cannot be checked by itself, 5 there is no log behind the address, 6 another verification with --resume is under way, 7 the server does not answer, 9 a file cannot be read\nSee also: gatescribe ledger checkpoint"
    )]
    Verify(Verify),
    /// Print the public half of a ledger's key, for whoever verifies.
    #[command(
        after_help = "Examples:\n  gatescribe ledger key /var/lib/gatescribe/keys/ledger.key > ledger.pub\n  gatescribe \
        ledger key ./keys/ledger.key\n\nExit codes: 0 printed, 9 the file \
        cannot be read or holds no key\nSee also: gatescribe ledger verify"
    )]
    Key {
        /// The gateway's file `keys/ledger.key`.
        file: PathBuf,
    },
    /// Make the key that signs a ledger from the gateway's next start on, beside the one that signs it now.
    ///
    /// Prints its public half: give it to whoever verifies. At the start both keys sign that the one follows the other, a record of the ledger says so, witnesses are
    /// shown it, and the old key is removed. Whoever has the old public key verifies all the same.
    #[command(
        after_help = "Examples:\n  gatescribe ledger rotate-key /var/lib/gatescribe/keys/ledger.key > ledger.next.pub\n  gatescribe ledger rotate-key \
        ./keys/ledger.key\n\nTo take it back before the next start, remove `ledger.next.key`.\n\nExit codes: 0 made, 2 it is another file than a gateway's `ledger.key`, or a witness's key, 6 there is one already, 9 the file \
        cannot be read, holds no key, or the new one cannot be kept\nSee also: gatescribe ledger key, gatescribe ledger verify"
    )]
    RotateKey {
        /// The gateway's file `keys/ledger.key`.
        file: PathBuf,
    },
    /// Print the newest signed checkpoint of a ledger, to be kept elsewhere and given to `verify --remembered` later.
    ///
    /// With `--since`, print the proof that it goes on from one that you kept, for whoever has only that one.
    #[command(
        after_help = "Examples:\n  gatescribe ledger checkpoint /var/lib/gatescribe/ledger > 2026-11.checkpoint\n  gatescribe ledger \
        checkpoint ./copy --since 2026-10.checkpoint > since-october\n\nExit codes: 0 printed, 5 there \
        is none, 8 it is no signed checkpoint or does not go on from the earlier one, 2 that one cannot be read or is of another log, 9 a file \
        cannot be read\nSee also: gatescribe ledger verify"
    )]
    Checkpoint {
        /// The ledger's folder, or a copy of it.
        dir: PathBuf,
        /// A checkpoint that was kept: print a consistency proof from it to the newest one.
        #[arg(long, value_name = "FILE")]
        since: Option<PathBuf>,
    },
    /// Say what a ledger's folder holds: records, segments, the newest checkpoint, what is missing and what is not signed yet.
    ///
    /// Reads the ends of the segments, and proves nothing: that is `verify`'s.
    #[command(
        after_help = "Examples:\n  gatescribe ledger status\n  gatescribe ledger status ./copy -o json\n\nExit codes: 0 the newest \
        checkpoint covers every record, 10 newer ones are not signed yet, 8 records are missing or a file is damaged, 5 there is no ledger, \
        9 a file cannot be read\nSee also: gatescribe ledger verify"
    )]
    Status {
        /// The ledger's folder, or a copy of it.
        #[arg(default_value = "/var/lib/gatescribe/ledger")]
        dir: PathBuf,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Print the receipt of one record out of a ledger's folder: the record, with the proof that what was signed has it.
    #[command(
        after_help = "Examples:\n  gatescribe ledger proof /var/lib/gatescribe/ledger 1742 > 1742.tlog-proof\n  gatescribe ledger \
        proof ./copy 0\n\nExit codes: 0 printed, 5 there is \
        no such record or it is not signed, 8 the files are not what was signed, 9 they cannot be read\nSee also: gatescribe audit \
        receipt, gatescribe ledger verify"
    )]
    Proof {
        /// The ledger's folder, or a copy of it.
        dir: PathBuf,
        /// The record's number, `seq`.
        seq: u64,
    },
    /// Write the signed tree of a ledger as files, C2SP tlog-tiles, that any web server serves: then anybody checks it with `verify URL` or a client of their own.
    ///
    /// Where witnesses cosign the ledger, that is the newest checkpoint with their cosignatures. Again brings the folder to the newest one, which is put in place when all that it speaks of stands there. Files that are there are not written
    /// again. **They hold the records themselves**: serve them to whom you would show the records. Sealed parts are not among them.
    #[command(
        after_help = "Examples:\n  gatescribe ledger tiles /var/lib/gatescribe/ledger /srv/audit-log\n  gatescribe ledger tiles ./copy ./site/log\n\nExit codes: 0 written, or it was \
        all there, 2 the folder lies in the ledger's, 5 nothing is signed yet, 6 the folder is of another log, holds other files, or another export writes there, 8 the ledger is not what was signed, or does not go on from \
        what was written there, 9 a file cannot be read or written\nSee also: gatescribe ledger verify, gatescribe ledger checkpoint"
    )]
    Tiles {
        /// The ledger's folder, or a copy of it.
        dir: PathBuf,
        /// The folder to be served: a new one, or one that was written so before.
        out: PathBuf,
        /// Write up to the newest checkpoint, also where no witness has cosigned that yet.
        #[arg(long)]
        newest: bool,
    },
    /// Witness ledgers: remember the newest checkpoint of each, and cosign the next one only if it goes on from there.
    ///
    /// Run it on another machine than the gateway, better by other people: whoever then has the gateway's disk and key still cannot
    /// tell a second story that anybody believes who asks for the cosignature. Speaks C2SP tlog-witness, so that it witnesses any log of
    /// that format.
    #[command(
        after_help = "Examples:\n  gatescribe ledger witness --key /var/lib/witness/w1.key --name witness.example.com/w1 --log ledger.pub --listen \
        0.0.0.0:8444 --tls-cert tls.crt --tls-key tls.key\n  gatescribe ledger witness --key w1.key --log east.pub --log west.pub --listen 127.0.0.1:8444 --admin \
        127.0.0.1:9465\n\nExit codes: 0 stopped in order, 2 a log's key cannot be read, 9 a fault, such as a memory that cannot be \
        believed\nSee also: gatescribe ledger key, gatescribe ledger verify"
    )]
    Witness(witness::Arguments),
    /// Have what is sealed of a person erased, so that nobody can read it any more and every proof still holds. It takes two people.
    ///
    /// One member of the audit groups asks at the gateway, with a reason; it is done when another human among them agrees. The keys of the parts or
    /// recordings are destroyed, and a record of the ledger that is durable before says which, who asked, who agreed and why.
    #[command(
        after_help = "Examples:\n  gatescribe ledger erase --subject alice@example.com --class command --reason 'TICKET-4711: left, asked for it'\n  gatescribe \
        ledger erase --subject alice@example.com --class recording --to 2026-01-01T00:00:00Z --reason 'older than we may keep'\n  gatescribe ledger erase --recording \
        0192f0c1-7c3e-7d00-a000-0000000007f3 --reason TICKET-4711\n  gatescribe ledger erase --list\n  gatescribe ledger erase --agree \
        0192f0c1-7c3e-7d00-a000-0000000007f3\n\nA request stands for 7 days. Whose data it is neither asks nor agrees. There is no way to erase without the gateway, since it \
        could not be recorded.\n\nExit codes: 0 asked, agreed, withdrawn or listed, 1 nothing is asked for, 2 no reason, 3 not signed in, 4 not permitted, 5 nobody has that \
        name, nothing is sealed, or there is no such request, 6 a hold forbids it, it takes somebody else, or the request counts no longer\nSee also: gatescribe hold create, \
        gatescribe ledger verify"
    )]
    Erase(crate::client::erasures::EraseArguments),
    /// Have new keys made for the parts of records, of one person or of everybody: what is sealed from now on is sealed under them.
    #[command(
        after_help = "Examples:\n  gatescribe ledger rotate-part-keys --reason 'each quarter'\n  gatescribe ledger rotate-part-keys --subject \
        alice@example.com --reason TICKET-4711\n\nWhat was sealed before stays readable under the old keys, and is erased with them. Recordings have a key each \
        and keep it. It stands in the ledger before it counts. Only members of `identity.auditGroups` do it.\n\nExit codes: 0 done, 2 no reason, 3 not signed in, 4 not \
        permitted, 5 nobody has that name, 6 several have it\nSee also: gatescribe ledger erase, gatescribe ledger keys backup"
    )]
    RotatePartKeys(crate::client::erasures::RotateArguments),
    /// Back up the keys of parts and recordings, and put them back.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
}

/// What is checked, and against what.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The ledger's folder, or a copy of it; or the address of a log that is served, `https://…`; or a receipt, `*.tlog-proof`; or a pack of
    /// evidence, which is checked as by `evidence verify`; or what `ledger checkpoint --since` printed.
    #[arg(value_name = "DIR|URL|FILE")]
    dir: PathBuf,
    /// A public key of the log, `NAME+ID+KEY`, or a file with one; again for more.
    #[arg(long, required = true, value_name = "KEY|FILE")]
    key: Vec<String>,
    /// A checkpoint that was kept elsewhere, or a receipt or a pack of evidence, which holds one, or a witness's memory; finds what an older copy of the whole folder
    /// hides. Or a change of the log's key, which leads from one of its keys to the other, also for a receipt; or a proof of `checkpoint --since`, which has a receipt
    /// of a key count that another has followed since. Again for more.
    #[arg(long, visible_alias = "since", value_name = "FILE")]
    remembered: Vec<PathBuf>,
    /// The public key of a witness, `NAME+ID+KEY`, or a file with one; again for more. Up to where enough of them have cosigned is
    /// said; the exit code is 8 where they have cosigned nothing, and 10 where newer records are not witnessed.
    #[arg(long, value_name = "KEY|FILE")]
    witness: Vec<String>,
    /// So many of the witnesses must have cosigned; all when left out.
    #[arg(long, requires = "witness", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    quorum: Option<u8>,
    /// CA certificates (PEM) to believe of a server, in place of the system's or of those that your sign-in with it knows.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A file with a bearer token for a server; without one your sign-in with that gateway counts, if there is one.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How many seconds one answer of a server may take, 60 when left out; each is asked for five times.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: Option<u64>,
    /// Go on where a verification of this folder with `--resume` was interrupted, and leave the same when this one is. What was read then is not read again where
    /// its file has not changed and nobody but you may change it; its hashes are computed into what is signed all the same, and the report says which records it is about.
    #[arg(long)]
    resume: bool,
    /// How many segments are read at once, or tiles of a server (16 of these at most), 2 when left out.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: Option<u8>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl Verify {
    /// How much is read at once.
    fn threads(&self) -> usize {
        self.threads.map_or(2, usize::from)
    }
}

/// Records of erasures that are named to a person.
const MOST_TOLD: usize = 10;

/// For whom a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A person.
    Text,
    /// A machine: one JSON object.
    Json,
}

pub(crate) fn run(command: &LedgerCommand) -> Exit {
    let done = match command {
        LedgerCommand::Verify(arguments) => check(arguments),
        LedgerCommand::Key { file } => public_half(file),
        LedgerCommand::RotateKey { file } => rotate(file),
        LedgerCommand::Checkpoint { dir, since: None } => {
            checkpoint::newest(dir).map(|(note, _)| data_and(&note.to_string(), Exit::Done))
        }
        LedgerCommand::Checkpoint { dir, since: Some(file) } => consistency::make(dir, file),
        LedgerCommand::Status { dir, output } => status::show(dir, *output),
        LedgerCommand::Proof { dir, seq } => receipt::make(dir, *seq),
        LedgerCommand::Tiles { dir, out, newest } => tiles::write(dir, out, *newest),
        LedgerCommand::Witness(arguments) => witness::run(arguments),
        LedgerCommand::Erase(arguments) => Ok(crate::client::erasures::erase(arguments)),
        LedgerCommand::RotatePartKeys(arguments) => Ok(crate::client::erasures::rotate(arguments)),
        LedgerCommand::Keys(command) => keys::run(command),
    };
    done.unwrap_or_else(|(exit, error)| {
        fail(&error);
        exit
    })
}

/// Why it could not be done, and the exit code that says so.
pub(crate) type Refused = (Exit, anyhow::Error);

/// A proof that somebody holds, and against what it is checked.
struct Held<'a> {
    file: &'a Path,
    bytes: &'a [u8],
    keys: &'a KeyChain,
    output: Output,
}

fn check(arguments: &Verify) -> Result<Exit, Refused> {
    let logs: Vec<_> = arguments.key.iter().map(|key| key_of(key)).collect::<Result<_, _>>()?;
    let witnesses = Asked::of(&arguments.witness, arguments.quorum)?;
    let remembered: Vec<Kept> = arguments
        .remembered
        .iter()
        .map(|file| Kept::read(file))
        .collect::<Result<_, _>>()?;
    let trust = Trust {
        keys: logs.iter().chain(&witnesses.keys).cloned().collect(),
        remembered: remembered.iter().map(|kept| kept.note().clone()).collect(),
    };
    if let Some(url) = arguments.dir.to_str().filter(|given| url::is_meant(given)) {
        if arguments.resume {
            let what = "`--resume` is for a ledger's folder: a log behind an address is read from its beginning";
            return Err((Exit::Usage, anyhow::anyhow!(what)));
        }
        return url::check(arguments, url, &trust, &witnesses);
    }
    if arguments.ca.is_some() || arguments.token_file.is_some() || arguments.patience.is_some() {
        let what = "`--ca`, `--token-file` and `--patience` are for a log behind an address, `https://…`";
        return Err((Exit::Usage, anyhow::anyhow!(what)));
    }
    if arguments.resume && !arguments.dir.is_dir() {
        let what = "`--resume` is for a ledger's folder";
        return Err((Exit::Usage, anyhow::anyhow!(what)));
    }
    // Said of what was typed, and not of a file that would lie in it.
    std::fs::metadata(&arguments.dir)
        .with_context(|| format!("cannot read `{}`", arguments.dir.display()))
        .map_err(|error| (Exit::Fault, error))?;
    if arguments.dir.is_file() {
        return files::check(arguments, &trust, remembered, &witnesses);
    }
    let left = arguments.resume.then(|| Left::open(&arguments.dir)).transpose()?;
    let bar = progress(&arguments.dir);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(&arguments.dir));
    let all = bar.length().unwrap_or(0);
    let (threads, bytes) = (arguments.threads(), |bytes| advance(&bar, all, bytes));
    let report = match &left {
        None => verify(&disk, &trust, threads, &bytes),
        Some(left) => {
            let identity = |name: &str, file: &dyn DiskFile| left.identity(name, file);
            let keep = |line: &str| left.keep(line);
            let resume = Resume::new(left.lines(), &identity, &keep);
            verify_resumed(&disk, &trust, threads, &bytes, &resume)
        }
    };
    bar.finish_and_clear();
    let report = report.map_err(|error| (Exit::Fault, error.into()))?;
    let earlier = left.as_ref().map(Left::told);
    left.into_iter().for_each(Left::done);
    if report.segments == 0 && report.findings.is_empty() {
        let what = format!(
            "`{}` holds no ledger: no `*.seg` file stands there",
            arguments.dir.display()
        );
        return Err((Exit::Fault, anyhow::anyhow!(what)));
    }
    let (earlier, nothing_remembered) = (earlier.as_ref(), trust.remembered.is_empty());
    let text = match arguments.output {
        Output::Text => in_words(&report, &witnesses, nothing_remembered, earlier),
        Output::Json => line(&as_json(&report, &witnesses, earlier)),
    };
    Ok(data_and(&text, exit(&report, &witnesses)))
}

/// Whether this note is a change of a log's key that both keys signed.
fn is_key_change(note: &Note) -> bool {
    KeyTurn::read(note).is_some()
}

fn exit(report: &Report, witnesses: &Asked) -> Exit {
    let witnessed = witnesses.reached(report);
    match () {
        () if !report.is_proved() || witnessed == Some(0) => Exit::Integrity,
        () if witnessed.unwrap_or(report.size).min(report.proved) < report.size => Exit::Partly,
        () => Exit::Done,
    }
}

fn public_half(file: &Path) -> Result<Exit, Refused> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()));
    let key = text.and_then(|text| {
        let key = text.trim_end().parse::<SigningKey>();
        key.with_context(|| format!("`{}` holds no key that signs a ledger", file.display()))
    });
    let key = key.map_err(|error| (Exit::Fault, error))?;
    Ok(data_and(&format!("{}\n", key.key()), Exit::Done))
}

/// Makes the next key of a ledger. It takes effect at the gateway's next start, so that it can be given to others before.
fn rotate(file: &Path) -> Result<Exit, Refused> {
    let fault = |error: anyhow::Error| (Exit::Fault, error);
    let key = data::ledger_key_in(file).map_err(fault)?;
    let key = key.ok_or_else(|| fault(not_there(format!("there is no key `{}`", file.display()))))?;
    // The gateway looks for the next key beside this name alone, and nothing makes a witness's key follow another.
    if file.file_name().is_none_or(|name| name != data::LEDGER_KEY_NAME) {
        let what = format!(
            "`{}` is not the file `{}` of a gateway's `keys`: no gateway would take the next key beside it",
            file.display(),
            data::LEDGER_KEY_NAME
        );
        return Err((Exit::Usage, anyhow::anyhow!(what)));
    }
    if key.key().algorithm() != Algorithm::Ed25519 {
        let what = format!(
            "`{}` is the key of a witness, and no other follows it: begin a new witness with a new key and a new name",
            file.display()
        );
        return Err((Exit::Usage, anyhow::anyhow!(what)));
    }
    let next = file.with_extension("next.key");
    if next.symlink_metadata().is_ok() {
        let what = format!(
            "`{}` is there already: the gateway takes it at its next start. Remove it first to make another",
            next.display()
        );
        return Err((Exit::Conflict, anyhow::anyhow!(what)));
    }
    let made = SigningKey::generate(key.key().name().clone(), Algorithm::Ed25519);
    let made = made.map_err(|error| fault(error.into()))?;
    data::write_key(&next, format!("{}\n", made.to_private_text().as_str()).as_bytes()).map_err(fault)?;
    Ok(data_and(&format!("{}\n", made.key()), Exit::Done))
}

/// That what was named is not there.
fn not_there(what: String) -> anyhow::Error {
    // The remedy is told by its cause (`terminal::remedy`).
    anyhow::Error::new(std::io::Error::from(std::io::ErrorKind::NotFound)).context(what)
}

/// A key by its text, or by the file that holds it.
pub(crate) fn key_of(given: &str) -> Result<VerifierKey, Refused> {
    if let Ok(key) = given.parse() {
        return Ok(key);
    }
    let text = std::fs::read_to_string(given)
        .with_context(|| format!("`{given}` is neither a key `NAME+ID+KEY` nor a file that can be read"));
    let key = text.and_then(|text| {
        let key = text.trim().parse::<VerifierKey>();
        key.with_context(|| format!("`{given}` holds no public key"))
    });
    key.map_err(|error| (Exit::Usage, error))
}

/// What somebody kept of a log.
pub(crate) enum Kept {
    /// A checkpoint, of whatever kind.
    Note(Note),
    /// The proof that the tree of one goes on from an earlier one.
    Proof(Consistency),
}

impl Kept {
    /// Reads a file: a checkpoint, or what holds one.
    pub(crate) fn read(file: &Path) -> Result<Self, Refused> {
        let bytes = std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()));
        let kept = bytes.and_then(|bytes| {
            if Consistency::is_meant(&bytes) {
                let proof = Consistency::parse(&bytes);
                let proof = proof.with_context(|| format!("`{}` is no consistency proof", file.display()))?;
                return Ok(Self::Proof(proof));
            }
            let held = Receipt::parse(&bytes).map(|receipt| receipt.note().clone()).ok();
            if let Some(note) = held.or_else(|| checkpoint_of_pack(&bytes)) {
                return Ok(Self::Note(note));
            }
            // A witness's memory is a checkpoint, and more where the log's key has changed.
            let note = ledger::witness::cosigned_in(&bytes).map_or_else(|| Note::parse(&bytes), Ok);
            let note =
                note.with_context(|| format!("`{}` is neither a signed checkpoint nor a receipt", file.display()))?;
            Ok(Self::Note(note))
        });
        kept.map_err(|error| (Exit::Usage, error))
    }

    /// The checkpoint in it; of a proof the later one.
    fn note(&self) -> &Note {
        match self {
            Self::Note(note) => note,
            Self::Proof(proof) => proof.note(),
        }
    }

    /// The checkpoints, and the proofs.
    pub(crate) fn parted(all: Vec<Self>) -> (Vec<Note>, Vec<Consistency>) {
        let (mut notes, mut proofs) = (Vec::new(), Vec::new());
        for kept in all {
            match kept {
                Self::Note(note) => notes.push(note),
                Self::Proof(proof) => proofs.push(proof),
            }
        }
        (notes, proofs)
    }
}

/// The checkpoint that somebody kept, or that stands in what they kept.
pub(crate) fn note_of(file: &Path) -> Result<Note, Refused> {
    Kept::read(file).map(|kept| kept.note().clone())
}

fn progress(dir: &Path) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let files = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let segments = files.filter(|file| file.path().extension().is_some_and(|end| end == "seg"));
    let bytes = segments
        .filter_map(|file| file.metadata().ok())
        .map(|about| about.len())
        .sum();
    let bar = ProgressBar::new(bytes);
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// More bytes were read. Where the files are read a second time, which is known when it begins, there is as much to read again.
fn advance(bar: &ProgressBar, all: u64, bytes: u64) {
    bar.inc(bytes);
    if bar.length().is_some_and(|length| bar.position() > length) {
        bar.inc_length(all.max(bytes));
    }
}

/// What a person reads: what holds, what does not and where, and what nobody looked at.
fn in_words(report: &Report, witnesses: &Asked, nothing_remembered: bool, earlier: Option<&Earlier>) -> String {
    let mut lines: Vec<String> = report.findings.iter().map(|finding| format!("✖ {finding}")).collect();
    lines.push(if report.tiles > 0 {
        format!(
            "{} records, {} tiles of hashes, {} bytes read; {} checkpoints compared",
            report.records, report.tiles, report.bytes, report.checkpoints
        )
    } else {
        format!(
            "{} records, {} sealed parts, {} segments, {} bytes read; {} checkpoints compared",
            report.records, report.parts, report.segments, report.bytes, report.checkpoints
        )
    });
    lines.extend(recalled(report, earlier));
    lines.extend(earlier.into_iter().flat_map(unknowable));
    lines.extend(report.turns.iter().map(turned));
    if report.gaps > 0 {
        lines.push(format!(
            "! {} records say that others are missing, or that calls went on without one: `gatescribe audit search kind:gap`",
            report.gaps
        ));
    }
    for (signer, size) in &report.signers {
        let did = if witnesses.is_one(signer) {
            "witnessed"
        } else {
            "signed"
        };
        lines.push(format!("{did} by {signer} up to size {size}"));
    }
    lines.extend(erased(report));
    lines.extend(refused(report));
    lines.push(match (report.findings.is_empty(), report.proved) {
        (true, 0) => "✖ nothing is proved: no checkpoint is signed by a key that you gave".to_owned(),
        (true, proved) if proved >= report.size => "✔ every record is the one that was signed".to_owned(),
        (true, proved) => format!("✔ records 0 to {} are those that were signed", proved - 1),
        (false, _) => "✖ this ledger does not hold".to_owned(),
    });
    let witnessed = witnesses.in_words(report);
    lines.extend(witnessed.iter().flat_map(|words| words.lines()).map(ToOwned::to_owned));
    lines.extend(
        not_looked_at(report, nothing_remembered, earlier)
            .into_iter()
            .map(|line| format!("  not shown: {line}")),
    );
    shown(&lines)
}

/// Lines for a person. What a foreign folder or server calls its files and its log is nothing that a terminal obeys, and begins no line of its own.
pub(crate) fn shown(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{}\n", clean(line))).collect()
}

/// The changes of the log's key that led from the keys that were given, for a person.
pub(crate) fn followed(keys: &KeyChain) -> impl Iterator<Item = String> {
    keys.turns().iter().map(|turn| {
        format!(
            "the key changed at size {} from {} to {}, as both say",
            turn.size,
            turn.old.short(),
            turn.next.short()
        )
    })
}

/// The same for a machine.
pub(crate) fn followed_as_json(keys: &KeyChain) -> Vec<serde_json::Value> {
    let turns = keys.turns().iter();
    turns
        .map(|turn| json!({"size": turn.size, "from": turn.old.short(), "to": turn.next.to_string()}))
        .collect()
}

/// What nobody can read any more, for a person.
fn erased(report: &Report) -> Option<String> {
    let erased = &report.erased;
    if erased.records.is_empty() {
        return None;
    }
    let detached = match erased.detached {
        0 => String::new(),
        detached => format!(" ({detached} of the parts do not stand here any more)"),
    };
    Some(format!(
        "{} sealed parts and {} recordings are erased, with proof: records {}{detached}",
        erased.parts,
        erased.recordings,
        listed(&erased.records)
    ))
}

/// What somebody wrote behind the signed end, and the gateway did not believe.
fn refused(report: &Report) -> Option<String> {
    let refused = &report.erased.refused;
    (!refused.is_empty()).then(|| {
        format!(
            "! records {} stood behind what was signed and say that something is erased or released: the gateway refused them before it signed them, and nothing was done by them",
            listed(refused)
        )
    })
}

fn listed(records: &BTreeSet<u64>) -> String {
    let told: Vec<String> = records.iter().take(MOST_TOLD).map(u64::to_string).collect();
    let more = match records.len().saturating_sub(MOST_TOLD) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    told.join(", ") + &more
}

/// A change of the log's key, for a person.
fn turned(turn: &Turn) -> String {
    let record = turn
        .record
        .map_or_else(|| "in no record".to_owned(), |seq| format!("record {seq}"));
    format!(
        "the key changed at size {} from {} to {} ({record})",
        turn.size,
        turn.from,
        turn.to.short()
    )
}

/// What an earlier verification read, for a person.
fn recalled(report: &Report, earlier: Option<&Earlier>) -> Option<String> {
    let recalled = &report.recalled;
    let earlier = earlier.filter(|_| recalled.segments > 0 || recalled.reread > 0)?;
    let begun = earlier.begun;
    let again = match recalled.reread {
        0 => String::new(),
        reread => format!("; {reread} segments that it had read are others now, and were read again"),
    };
    Some(format!(
        "{} records, {} sealed parts, {} segments, {} bytes were read by the verification that was begun at {begun}, and their hashes computed into what is \
         signed{again}",
        recalled.records, recalled.parts, recalled.segments, recalled.bytes
    ))
}

/// What is read each time, for a person.
fn unknowable(earlier: &Earlier) -> impl Iterator<Item = String> {
    let told = earlier.unknowable.iter();
    told.map(|(why, segments)| {
        format!("! {segments} segments are read each time, and nothing of them was left to go on with: {why}")
    })
}

fn not_looked_at(report: &Report, nothing_remembered: bool, earlier: Option<&Earlier>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(Earlier { begun, .. }) = earlier {
        let spans = report.recalled.spans.iter();
        lines.extend(spans.map(|records| {
            format!(
                "whether {} changed after the verification of {begun} had read them, without a trace on their files, as who has the disk below can, or who could write to them before they were yours alone: they were not read again",
                spanned(records, ["was", "were"])
            )
        }));
    }
    lines.extend(unsigned::in_words(&report.unsigned));
    if report.proved > 0 && report.proved < report.size {
        let newer = spanned(&(report.proved..report.size), ["is", "are"]);
        lines.push(format!("{newer} not under a signed checkpoint yet"));
    }
    if report.strange > 0 {
        lines.push(format!(
            "{} checkpoints are signed by other keys, or for another log",
            report.strange
        ));
    }
    if report.torn > 0 {
        lines.push(format!(
            "{} bytes of a torn end, of which nobody was told that they are durable",
            report.torn
        ));
    }
    if report.torn_checkpoints > 0 {
        lines.push(format!(
            "{} bytes of a checkpoint whose writing broke off, which nobody was given",
            report.torn_checkpoints
        ));
    }
    if nothing_remembered {
        lines.push("whether newer records were cut off together with their checkpoints: give one that was kept elsewhere with --remembered".to_owned());
    }
    if report.unbound > 0 {
        lines.push(format!(
            "{} sealed parts that an earlier build wrote: only their being there was checked, not which bytes they are",
            report.unbound
        ));
    }
    if report.tiles > 0 {
        lines.extend(url::not_served(report));
    } else {
        lines.push("what the parts say, and whether somebody has a key that opens them: they are sealed, and were compared as they stand".to_owned());
    }
    lines
}

fn span_as_json(records: &Range<u64>) -> serde_json::Value {
    json!({ "from": records.start, "until": records.end })
}

fn as_json(report: &Report, witnesses: &Asked, earlier: Option<&Earlier>) -> serde_json::Value {
    let finding = |finding: &Finding| {
        json!({
            "fault": finding.fault.to_string(),
            "records": span_as_json(&finding.records),
            "file": finding.file,
            "offset": finding.offset,
        })
    };
    let turn = |turn: &Turn| {
        json!({
            "size": turn.size,
            "from": turn.from,
            "to": turn.to.to_string(),
            "record": turn.record,
            "statement": turn.statement.to_string(),
        })
    };
    json!({
        "proved": report.is_proved(),
        "witnessedUpTo": witnesses.reached(report),
        "quorum": witnesses.quorum(),
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "first": report.first,
        "size": report.size,
        "provedUpTo": report.proved,
        "signers": report.signers,
        "keyChanges": report.turns.iter().map(turn).collect::<Vec<_>>(),
        "tiles": report.tiles,
        "foreignEntries": report.foreign,
        "checkpoints": report.checkpoints,
        "strangeCheckpoints": report.strange,
        "segments": report.segments,
        "records": report.records,
        "parts": report.parts,
        "unboundParts": report.unbound,
        "erased": {
            "records": report.erased.records,
            "parts": report.erased.parts,
            "detachedParts": report.erased.detached,
            "recordings": report.erased.recordings,
            "refusedRecords": report.erased.refused,
        },
        "recalled": earlier.map(|earlier| {
            let recalled = &report.recalled;
            let unknowable = |(why, segments): &(Unknowable, usize)| json!({ "segments": segments, "because": why.to_string() });
            json!({
                "begun": earlier.begun,
                "notReadAgain": recalled.spans.iter().map(span_as_json).collect::<Vec<_>>(),
                "records": recalled.records,
                "parts": recalled.parts,
                "segments": recalled.segments,
                "bytes": recalled.bytes,
                "segmentsReadAgain": recalled.reread,
                "readEachTime": earlier.unknowable.iter().map(unknowable).collect::<Vec<_>>(),
            })
        }),
        "unsignedAtAnEnd": report.unsigned.unproved.iter().map(span_as_json).collect::<Vec<_>>(),
        "unsignedBefore": report.unsigned.more.as_ref().map(|more| json!({
            "records": span_as_json(&more.records), "starts": more.count,
        })),
        "gapRecords": report.gaps,
        "bytes": report.bytes,
        "tornBytes": report.torn,
        "tornCheckpointBytes": report.torn_checkpoints,
    })
}

#[cfg(test)]
mod tests;
