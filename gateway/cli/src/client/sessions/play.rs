//! Playing a recording in this terminal, and watching one while it grows.

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::time::Duration;

use super::ask::whole_id;
use super::pace::Pace;
use super::playback::{Next, Playback};
use super::screen::{Own, Passing};
use super::stream::{Standing, Stream};
use super::{PlayArguments, WatchArguments};
use crate::Exit;
use crate::client::GatewayArgument;
use crate::client::gateway::API;
use crate::client::home::Home;
use crate::client::session::{block_on_beside, ready};
use crate::client::signals::{Ends, Stops};
use crate::client::trouble::Trouble;
use crate::terminal::say;

pub(super) fn play(arguments: &PlayArguments) -> Result<Exit, Trouble> {
    if !std::io::stdout().is_terminal() {
        return Err(
            Trouble::new(Exit::Usage, "a recording is played in a terminal, and this is none")
                .remedy("gatescribe session export ID -o FILE takes it away"),
        );
    }
    let pace = Pace {
        from: arguments.at,
        idle: arguments.idle,
        speed: arguments.speed,
    };
    show(&arguments.id, &arguments.gateway, Some(pace), Passing::Harmless)
}

pub(super) fn watch(arguments: &WatchArguments) -> Result<Exit, Trouble> {
    let passing = match arguments.raw {
        true if std::io::stdout().is_terminal() => {
            return Err(Trouble::new(Exit::Usage, "no terminal gets raw bytes")
                .because(
                    "what a process in a pod writes may set a terminal's clipboard or ask it something, as if you had typed it",
                )
                .remedy(
                    "gatescribe session watch ID draws it; into a file or program: gatescribe session watch ID --raw > FILE",
                ));
        }
        true => Passing::Raw,
        false => Passing::Harmless,
    };
    show(&arguments.id, &arguments.gateway, None, passing)
}

/// With a pace what was, without one what is.
fn show(id: &str, gateway: &GatewayArgument, mut pace: Option<Pace>, passing: Passing) -> Result<Exit, Trouble> {
    let home = Home::find()?;
    let reached = Cell::new(Duration::ZERO);
    block_on_beside(async {
        let mut ends = Ends::listen()?;
        let mut stops = match std::io::stdout().is_terminal() {
            true => Stops::listen()?,
            // There is nothing to put back, and what went into a pipe must not come twice.
            false => Stops::none(),
        };
        loop {
            let shown = async {
                let ready = ready(&home, gateway.url.as_deref(), API).await?;
                let id = whole_id(&ready, id).await?;
                let stream = Stream::open(&ready, &id, "frames", pace.is_none()).await?;
                run(stream, pace, passing, &id, &reached).await
            };
            // Whatever is drawn then: the screen is put back as the future is dropped.
            tokio::select! {
                done = shown => return done,
                exit = ends.next() => return Ok(exit),
                () = stops.next() => {}
            }
            stops.stop()?;
            // The screen belonged to the shell meanwhile, and the gateway gives up a reader that does not read: it is asked again,
            // and what was before is drawn at once.
            pace = pace.map(|pace| pace.going_on_at(reached.get()));
        }
    })
}

/// From the gateway's lines to the terminal, until the last.
async fn run(
    mut stream: Stream,
    pace: Option<Pace>,
    passing: Passing,
    id: &str,
    reached: &Cell<Duration>,
) -> Result<Exit, Trouble> {
    stream.note().iter().for_each(|note| say(&format!("! {note}")));
    if pace.is_none() && !stream.is_live() {
        say("the session has ended; this is what was recorded");
    }
    if stream.is_of_messages() {
        say(&format!(
            "messages passed here and no terminal's output, so nothing is drawn: gatescribe session export {id} --format text shows them"
        ));
    }
    let mut playback = Playback::new(Own::new(), stream.is_terminal(), pace, passing);
    let standing = loop {
        let next = playback.take(stream.next().await?).await?;
        reached.set(playback.reached());
        match next {
            Next::More => {}
            Next::Unread => return Ok(Exit::Done),
            Next::Over(standing) => break standing,
        }
    };
    playback.end().iter().for_each(|note| say(&format!("[{note}]")));
    if standing == Standing::GoesOn && pace.is_some() {
        say(&format!("the session goes on: gatescribe session watch {id}"));
    }
    standing.judged()
}
