//! Playing a recording in this terminal, and watching one while it grows.

use std::io::IsTerminal as _;

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
                .because("what a process in a pod writes may set a terminal's clipboard or ask it something, as if you had typed it")
                .remedy("gatescribe session watch ID draws it; into a file or program: gatescribe session watch ID --raw > FILE"));
        }
        true => Passing::Raw,
        false => Passing::Harmless,
    };
    show(&arguments.id, &arguments.gateway, None, passing)
}

/// With a pace what was, without one what is.
fn show(id: &str, gateway: &GatewayArgument, pace: Option<Pace>, passing: Passing) -> Result<Exit, Trouble> {
    let home = Home::find()?;
    block_on_beside(async {
        let shown = async {
            let ready = ready(&home, gateway.url.as_deref(), API).await?;
            let id = whole_id(&ready, id).await?;
            let stream = Stream::open(&ready, &id, "frames", pace.is_none()).await?;
            run(stream, pace, passing, &id).await
        };
        // Whatever is drawn then: the screen is put back as the future is dropped.
        tokio::select! {
            done = shown => done,
            interrupted = tokio::signal::ctrl_c() => match interrupted {
                Ok(()) => Ok(Exit::Interrupted),
                Err(error) => Err(Trouble::new(Exit::Fault, "signals cannot be waited for")
                    .because(error.to_string())
                    .remedy("gatescribe session export ID -o FILE takes the recording away")),
            },
        }
    })
}

/// From the gateway's lines to the terminal, until the last.
async fn run(mut stream: Stream, pace: Option<Pace>, passing: Passing, id: &str) -> Result<Exit, Trouble> {
    if pace.is_none() && !stream.is_live() {
        say("the session has ended; this is what was recorded");
    }
    let mut playback = Playback::new(Own::new(), stream.is_terminal(), pace, passing);
    let standing = loop {
        match playback.take(stream.next().await?).await? {
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
