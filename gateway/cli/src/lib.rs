//! The binary `gatescribe` as a library: configuration, the server's composition root and the client's commands.
//!
//! The only crate that knows all others, and the only one that reads the environment, prints, or ends the process.

mod client;
pub mod config;
mod config_command;
mod demonstrate;
mod exit;
mod ledger_command;
mod observe_command;
mod reconcile_command;
mod serve;
mod server_log;
mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use client::{arranged, fuzz_evidence_file, fuzz_played};
pub use exit::Exit;
pub use server_log::fuzz_log_lines;

/// An access gateway for Kubernetes that can prove who did what.
#[derive(Debug, Parser)]
#[command(name = "gatescribe", version, propagate_version = true, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    #[command(
        after_help = "Examples:\n  gatescribe serve --config /etc/gatescribe/gatescribe.yaml\n  gatescribe serve --config gw.yaml --check\n\nExit codes: 0 stopped in order, 1 mistakes in the configuration or in what it names, 9 a fault\nSee also: gatescribe config check"
    )]
    Serve {
        /// The configuration file.
        #[arg(
            short,
            long,
            env = "GATESCRIBE_CONFIG",
            default_value = "/etc/gatescribe/gatescribe.yaml"
        )]
        config: PathBuf,
        /// Check the configuration and everything it names, then stop.
        #[arg(long)]
        check: bool,
    },
    /// Run the whole thing on this machine, with an embedded identity provider and Kubernetes API.
    #[command(
        after_help = "Examples:\n  gatescribe demo\n  gatescribe demo --keep ./gatescribe-demo\n  gatescribe demo --script\n  gatescribe demo --cluster \
        kind-dev\n\nExit codes: 0 stopped in order, 1 a step of the script was not as promised, or the \
        cluster was not lent, 9 a fault\nSee also: gatescribe login, gatescribe audit search"
    )]
    Demo(demonstrate::Arguments),
    /// Look at configurations.
    #[command(subcommand)]
    Config(config_command::ConfigCommand),
    /// Check a ledger by its files and a public key; erase what is sealed beside it.
    #[command(subcommand)]
    Ledger(ledger_command::LedgerCommand),
    /// Compare a ledger with the audit log that the cluster's API server itself writes.
    ///
    /// Both have every call that the gateway forwards, under one id. So it shows who went around the gate, where the gateway's own
    /// credential was used without it, what never arrived, and where the two say different things. It needs the files alone.
    #[command(
        after_help = "Examples:\n  gatescribe reconcile /var/lib/gatescribe/ledger audit.log --cluster prod --account \
        system:serviceaccount:gatescribe:impersonator\n  zcat audit-*.log.gz | gatescribe reconcile ./copy - --cluster prod --account \
        gateway --own observer\n  gatescribe reconcile ./copy audit-1.log audit-2.log --cluster prod --account gateway -o \
        json\n\nExit codes: 0 both say the same and no person went around the gate, 1 people or unknown callers did, 8 something does not fit, 9 a file \
        cannot be read, 10 not all of either log was read\nSee also: gatescribe ledger verify, gatescribe audit search"
    )]
    Reconcile(reconcile_command::Reconcile),
    /// Take the audit log of an existing cluster, with nothing in the path of its calls.
    ///
    /// Reads what the API server itself writes down (file or webhook), says who did what, keeps it in a signed ledger that search,
    /// receipts and the verifier work on, and says which calls your rules would have refused. Bodies of requests and answers, and
    /// values of queries, are never taken.
    #[command(
        after_help = "Examples:\n  gatescribe observe --log audit.log --cluster prod\n  gatescribe observe --log audit.log --cluster prod \
        --ledger ./observed --policy rules/ --rbac rbac.json\n  gatescribe observe --log /var/log/kubernetes/audit.log --follow --cluster \
        prod --ledger ./observed\n  gatescribe observe --listen 0.0.0.0:8444 --tls-cert tls.crt --tls-key tls.key --client-ca ca.crt \
        --cluster prod --ledger ./observed\n\nExit codes: 0 all was read and the rules would have refused nothing, 1 they would have refused calls, 9 a file \
        cannot be read or written, 10 not all of the log was read\nSee also: gatescribe audit search --dir, gatescribe ledger verify, gatescribe reconcile"
    )]
    Observe(observe_command::Observe),
    #[command(flatten)]
    Client(client::ClientCommand),
}

/// The whole command line as a value, for the page that describes it.
#[must_use]
pub fn command_line() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// Runs the command line.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse_from(arranged(std::env::args_os())) {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap prints help to stdout and mistakes to stderr; nothing can be done if even that fails.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Done.into()
            };
        }
    };
    let exit = match arguments.command {
        Command::Serve { config, check } => serve::command(&config, check),
        Command::Demo(arguments) => demonstrate::command(&arguments),
        Command::Config(command) => config_command::run(command),
        Command::Ledger(command) => ledger_command::run(&command),
        Command::Reconcile(arguments) => reconcile_command::run(&arguments),
        Command::Observe(arguments) => observe_command::run(&arguments),
        Command::Client(command) => client::run(command, command_line),
    };
    exit.into()
}
