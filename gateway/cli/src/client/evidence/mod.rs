//! `gatescribe evidence`: records with their proofs in one file, which a stranger opens in a browser and checks with the ledger's
//! public key.

mod file;
mod pack;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::GatewayArgument;
use super::trouble::Trouble;
use crate::Exit;

pub use file::fuzz_evidence_file;
pub(crate) use file::{MAX_FILE_LEN, checkpoint_of_pack, is_pack};

/// Pack and verify.
#[derive(Debug, Subcommand)]
pub(crate) enum EvidenceCommand {
    /// Take all records that a query finds, or a sample of them, with the proof of each, as one file for an auditor.
    ///
    /// The file is a page that opens in any browser, without network, and checks itself; `gatescribe evidence verify FILE --key KEY` checks
    /// it without believing the page. It holds the records themselves: who has it can read them. Taking one is recorded. Without an audit role it has your own
    /// acts only, and says so. Nothing is folded, as with `audit search --all`.
    #[command(
        after_help = "Examples:\n  gatescribe evidence pack verb:delete ns:payments --since 2026-10-01 --until 2026-11-01 -o deletions.html\n  gatescribe evidence \
        pack resource:pods/exec --since 7d --sample 25 --seed 8f3a -o execs.html\n  gatescribe evidence pack user:alice -verb:get --dir ./copy -o alice.html\n\nIt \
        looks at everything within the bounds or makes nothing. With --dir it reads a ledger's folder; then no record says that it was made, and nobody \
        vouches for its counts.\n\nExit codes: 0 packed, 1 packed, and nothing matched, 2 the query is not understood, or too much matches, 3 not signed in, 6 the file is there already, \
        7 the gateway cannot be reached, or it is not signed yet, 8 the folder's files are not what was signed\nSee also: gatescribe evidence verify, gatescribe audit search, gatescribe audit receipt"
    )]
    Pack(PackArguments),
    /// Check a file that `evidence pack` made, with the public key alone, and say where it does not hold.
    ///
    /// Asks nobody and opens nothing else. Finds each record that was changed, taken out, put in or swapped, and a changed query, count, sample,
    /// checkpoint or page.
    #[command(
        after_help = "Examples:\n  gatescribe evidence verify deletions.html --key ledger.pub\n  gatescribe evidence verify execs.html --key ledger.pub --witness \
        w1.pub -o json\n\nExit codes: 0 all of it holds, 8 something does not, 10 the records hold and nobody vouches for the query and the counts, or \
        the page is another version's, 2 a key cannot be read or the file is no evidence, 9 it cannot be read\nSee also: gatescribe evidence pack, gatescribe ledger verify"
    )]
    Verify(VerifyArguments),
}

/// What is packed.
#[derive(Args, Debug)]
pub(crate) struct PackArguments {
    /// The query, as of `audit search`; everything that you may see when left out.
    query: Vec<String>,
    /// From when on: 2h, 30m, 7d, yesterday, 2026-11-01, 2026-11-01T10:00:00Z.
    #[arg(long, value_parser = super::audit::time)]
    since: Option<String>,
    /// Until when.
    #[arg(long, value_parser = super::audit::time)]
    until: Option<String>,
    /// Draw so many of the acts that match, instead of all.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(ledger::evidence::MOST_ACTS)))]
    sample: Option<u32>,
    /// What decides which are drawn: letters, digits, dashes, underscores, dots; made and printed when left out. Let the auditor say it.
    #[arg(long, requires = "sample", value_parser = seed)]
    seed: Option<String>,
    /// Write it to this file, which must not be there yet.
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    file: PathBuf,
    /// Read a ledger's folder instead of asking a gateway.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    gateway: GatewayArgument,
}

/// What is checked.
#[derive(Args, Debug)]
pub(crate) struct VerifyArguments {
    /// What `evidence pack` wrote.
    pub(crate) file: PathBuf,
    /// A public key of the log, `NAME+ID+KEY`, or a file with one; again for more.
    #[arg(long, required = true, value_name = "KEY|FILE")]
    pub(crate) key: Vec<String>,
    /// A change of the ledger's key, as `keyChanges[].statement` of `ledger verify -o json` has it: for a pack that was made before it, and whoever
    /// has only a key from after it. Such a pack takes the proof besides that the ledger goes on from it, `ledger checkpoint DIR --since PACK`. Again for more.
    #[arg(long, visible_alias = "remembered", value_name = "FILE")]
    pub(crate) since: Vec<PathBuf>,
    /// The public key of a witness, `NAME+ID+KEY`, or a file with one; again for more. The exit code is 8 where too few have cosigned.
    #[arg(long, value_name = "KEY|FILE")]
    pub(crate) witness: Vec<String>,
    /// So many of the witnesses must have cosigned; all when left out.
    #[arg(long, requires = "witness", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) quorum: Option<u8>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    pub(crate) output: Form,
}

/// For whom a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A person.
    Text,
    /// A machine: one JSON object.
    Json,
}

fn seed(text: &str) -> Result<String, String> {
    if ledger::evidence::is_seed(text) {
        Ok(text.to_owned())
    } else {
        Err("a seed has 1 to 64 letters, digits, `-`, `_` or `.`".to_owned())
    }
}

pub(super) fn run(command: &EvidenceCommand) -> Result<Exit, Trouble> {
    match command {
        EvidenceCommand::Pack(arguments) => pack::pack(arguments),
        EvidenceCommand::Verify(arguments) => verify::verify(arguments),
    }
}

/// Checks a pack for another command, and says what is wrong.
pub(crate) fn verify_pack(arguments: &VerifyArguments) -> Exit {
    verify::verify(arguments).unwrap_or_else(|trouble| trouble.said())
}
