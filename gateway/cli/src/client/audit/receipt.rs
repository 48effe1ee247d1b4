//! `gatescribe audit receipt`: a record with the proof that the signed ledger has it, to be kept or handed on.

use std::path::{Path, PathBuf};

use clap::Args;
use ledger::Receipt;

use super::From;
use super::files;
use super::remote;
use crate::Exit;
use crate::client::new_file::{must_be_new, write_new};
use crate::client::trouble::{Trouble, chain};
use crate::terminal::{data, say};

/// Of what, and where to.
#[derive(Args, Debug)]
pub(crate) struct ReceiptArguments {
    /// The id of a row, or the Gatescribe-Record of an answer.
    id: String,
    /// Of the record that says how it ended, in place of the one that says that it began.
    #[arg(long)]
    end: bool,
    /// Write it to this file, which must not be there yet.
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    from: From,
}

pub(super) fn take(arguments: &ReceiptArguments) -> Result<Exit, Trouble> {
    if let Some(file) = &arguments.file {
        must_be_new(file, "a receipt")?;
    }
    let text = match arguments.from.dir()? {
        Some(dir) => files::receipt(dir, &arguments.id, arguments.end)?,
        None => remote::receipt(&arguments.id, arguments.end, &arguments.from.gateway)?,
    };
    let receipt = Receipt::parse(text.as_bytes()).map_err(|error| {
        Trouble::new(Exit::Fault, "what the gateway answered is no receipt")
            .because(chain(&error))
            .remedy("update gatescribe on the older side: `gatescribe version`")
    })?;
    match &arguments.file {
        None => drop(data(&text)?),
        Some(file) => write_new(file, &text)?,
    }
    let shown = arguments.file.as_deref().unwrap_or_else(|| Path::new("FILE"));
    let checkpoint = receipt.checkpoint();
    say(&format!(
        "✔ record {} of {}, in a signed tree of {} records\n  check it anywhere: gatescribe ledger verify {} --key KEY",
        receipt.index(),
        checkpoint.origin,
        checkpoint.size,
        shown.display()
    ));
    Ok(Exit::Done)
}
