//! `gatescribe session`: sessions in pods, while they go on and afterwards. Without an audit role one's own.

mod ask;
mod export;
mod harmless;
mod list;
mod pace;
mod play;
mod playback;
mod screen;
mod stream;

pub use harmless::fuzz_played;
pub(super) use list::session_result;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::trouble::Trouble;
use super::{GatewayArgument, Output};
use crate::Exit;

/// List, look, play, take away, watch, end.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// List sessions: those that go on first, then those that have ended, newest first.
    #[command(after_help = list_help())]
    Ls(LsArguments),
    /// Show one session: who, where, why, how it ended, and whether its recording is what the ledger says.
    #[command(
        after_help = "Examples:\n  gatescribe session show 0192f0c1-7c3e-7d00-a000-0000000007f3\n  gatescribe session show \
        000007f3 -o json\n\nExit codes: 0 shown, 3 not signed in, 5 there is none that you may see, 7 how its recording stands \
        cannot be told now, 8 it is damaged or missing\nSee also: gatescribe session play, gatescribe audit show"
    )]
    Show {
        /// The session: its id, or the end of it as the list shows it.
        id: String,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        gateway: GatewayArgument,
    },
    /// Play a recorded session in this terminal, as it was.
    #[command(
        after_help = "Examples:\n  gatescribe session play 0192f0c1-7c3e-7d00-a000-0000000007f3\n  gatescribe session play \
        000007f3 --at 1m30s --speed 4 --idle 500ms\n\nWhat came before --at is drawn at once, so the screen is the one of that \
        moment. The window takes the size of the recorded one and is put back at the end; a terminal that takes none shows \
        lines elsewhere, and it is said. Ctrl-C ends it, \
        Ctrl-Z stops it, and with fg it goes on where it was.\n\nExit codes: 0 played, 2 this \
        is no terminal, 3 not signed in, 4 you may no longer see it, 5 there is none, or it was not recorded, 7 how the recording \
        stands cannot be told now, 8 it is damaged or missing, 10 its end was never kept, 130 interrupted\nSee also: gatescribe session export, gatescribe session watch"
    )]
    Play(PlayArguments),
    /// Take a recording away as an asciicast or as text.
    #[command(
        after_help = "Examples:\n  gatescribe session export 000007f3 -o web-0.cast\n  gatescribe session export 000007f3 --format \
        text | less\n\nWhat is exported is no evidence by itself: the ledger knows the recording and not its copies.\n\nA file has its \
        name when all is in it.\n\nExit codes: \
        0 exported, 3 not signed in, 4 you may no longer see it, 5 there is none, or it was not recorded, 6 the file is there \
        already, 7 how the recording stands cannot be told now, 8 it is damaged or missing, 9 it cannot be written, 10 its end \
        was never kept\nSee also: gatescribe session play"
    )]
    Export(ExportArguments),
    /// Watch a recorded session while it goes on, a few seconds behind.
    #[command(
        after_help = "Examples:\n  gatescribe session watch 000007f3\n  gatescribe session watch 000007f3 | grep -i drop\n\nWhat was \
        before is drawn at once. That somebody watches is recorded; the person is not told. Into a pipe goes what draws, too: a \
        terminal may be behind it.\n\nExit codes: 0 the session has ended, 2 raw bytes for a terminal, 3 not signed in, or no longer, \
        4 you may no longer see it, 5 there is none, or it is not recorded, 7 how the recording stands cannot be told now, or the \
        gateway says nothing any more, 8 it is damaged or missing, 10 its end was never kept, 130 interrupted\nSee also: gatescribe session end, gatescribe session play"
    )]
    Watch(WatchArguments),
    /// End a session that goes on. The person reads who ended it and why.
    #[command(
        after_help = "Examples:\n  gatescribe session end 000007f3 --reason 'the change is over'\n  gatescribe session end \
        0192f0c1-7c3e-7d00-a000-0000000007f3 --reason TICKET-4711\n\nOne's own, or with an audit role anybody's. It stands in the \
        ledger before it happens.\n\nExit codes: 0 ended, 2 no reason, 3 not signed in, 5 there is none that you may see, \
        6 it does not go on any more\nSee also: gatescribe session ls --live"
    )]
    End {
        /// The session: its id, or the end of it as the list shows it.
        id: String,
        /// Why; one line. The person reads it, and it stands in the record.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        gateway: GatewayArgument,
    },
}

/// Which sessions are listed.
#[derive(Args, Debug)]
pub(crate) struct LsArguments {
    /// The query; everything that you may see when left out.
    query: Vec<String>,
    /// Only those that go on.
    #[arg(long)]
    live: bool,
    /// From when on: 2h, 30m, 7d, yesterday, 2026-11-01, 2026-11-01T10:00:00Z.
    #[arg(long, value_parser = super::audit::time)]
    since: Option<String>,
    /// Until when.
    #[arg(long, value_parser = super::audit::time)]
    until: Option<String>,
    /// How many at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    gateway: GatewayArgument,
}

/// How a recording is played.
#[derive(Args, Debug)]
pub(crate) struct PlayArguments {
    /// The session: its id, or the end of it as the list shows it.
    id: String,
    /// Begin at this time of the session: 90s, 1m30s, 1h.
    #[arg(long, value_name = "TIME", value_parser = pace::span, default_value = "0s", hide_default_value = true)]
    at: Duration,
    /// How many times as fast as it was: 0.25 to 100.
    #[arg(long, value_name = "TIMES", value_parser = pace::speed, default_value = "1")]
    speed: f64,
    /// The longest pause.
    #[arg(long, value_name = "TIME", value_parser = pace::span, default_value = "2s")]
    idle: Duration,
    #[command(flatten)]
    gateway: GatewayArgument,
}

/// How a session is watched.
#[derive(Args, Debug)]
pub(crate) struct WatchArguments {
    /// The session: its id, or the end of it as the list shows it.
    id: String,
    /// Every byte as the process wrote it, also what would set a terminal's clipboard or ask it something; into a file or pipe
    /// only.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    gateway: GatewayArgument,
}

/// What a recording becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Copied {
    /// asciinema's format, version 3.
    Asciicast,
    /// Its version 2, for older players.
    AsciicastV2,
    /// What was shown, as lines.
    Text,
}

/// How a recording is taken away.
#[derive(Args, Debug)]
pub(crate) struct ExportArguments {
    /// The session: its id, or the end of it as the list shows it.
    id: String,
    /// What it becomes.
    #[arg(long, value_enum, default_value_t = Copied::Asciicast)]
    format: Copied,
    /// Into this new file; to standard output when left out.
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    gateway: GatewayArgument,
}

fn list_help() -> String {
    let keys: Vec<&str> = search::Key::ALL.iter().map(|key| key.name()).collect();
    format!(
        "Examples:\n  gatescribe session ls --live\n  gatescribe session ls user:alice ns:shop recorded:true --since 2h -o json\n\n\
        The query is that of `gatescribe audit search`. Keys: {}. The last column is a session's short id; every command takes \
        it.\n\nExit codes: 0 found, 1 nothing found, 2 the query is not understood, 3 not signed in, 7 the gateway cannot be \
        reached, 10 nothing found among what could be looked at\nSee also: gatescribe session show, gatescribe audit search",
        keys.join(", ")
    )
}

pub(super) fn run(command: &SessionCommand) -> Result<Exit, Trouble> {
    match command {
        SessionCommand::Ls(arguments) => list::list(arguments),
        SessionCommand::Show { id, output, gateway } => list::show(id, *output, gateway),
        SessionCommand::Play(arguments) => play::play(arguments),
        SessionCommand::Export(arguments) => export::export(arguments),
        SessionCommand::Watch(arguments) => play::watch(arguments),
        SessionCommand::End { id, reason, gateway } => ask::end(id, reason, gateway),
    }
}
