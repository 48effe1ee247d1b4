//! Playing a recording in this terminal, and watching one while it grows.

use std::io::IsTerminal as _;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::PlayArguments;
use super::ask::whole_id;
use super::pace::Pace;
use super::screen::Screen;
use super::stream::{Event, Standing, Stream};
use crate::Exit;
use crate::client::GatewayArgument;
use crate::client::gateway::API;
use crate::client::home::Home;
use crate::client::session::{block_on, ready};
use crate::client::trouble::Trouble;
use crate::terminal::say;

/// Notes that are kept for the end, so that they do not stand in the middle of a screen.
const MOST_NOTES: usize = 100;

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
    show(&arguments.id, &arguments.gateway, Some(pace))
}

pub(super) fn watch(id: &str, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    show(id, gateway, None)
}

/// With a pace what was, without one what is.
fn show(id: &str, gateway: &GatewayArgument, pace: Option<Pace>) -> Result<Exit, Trouble> {
    let home = Home::find()?;
    block_on(async {
        let shown = async {
            let ready = ready(&home, gateway.url.as_deref(), API).await?;
            let id = whole_id(&ready, id).await?;
            let stream = Stream::open(&ready, &id, "frames", pace.is_none()).await?;
            Shown::new(stream, pace).run(&id).await
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

struct Shown {
    stream: Stream,
    screen: Option<Screen>,
    pace: Option<Pace>,
    last: Duration,
    due: Instant,
    notes: Vec<String>,
}

impl Shown {
    fn new(stream: Stream, pace: Option<Pace>) -> Self {
        Self {
            screen: None,
            pace,
            last: Duration::ZERO,
            due: Instant::now(),
            notes: Vec::new(),
            stream,
        }
    }

    async fn run(mut self, id: &str) -> Result<Exit, Trouble> {
        if self.pace.is_none() && !self.stream.is_live() {
            say("the session has ended; this is what was recorded");
        }
        let standing = loop {
            match self.stream.next().await? {
                Event::Out(at, bytes) => {
                    self.wait(at).await;
                    if !self.screen().show(&bytes) {
                        return Ok(Exit::Done);
                    }
                }
                Event::Size(columns, rows) if self.screen.is_none() => {
                    say(&format!("recorded in a terminal of {columns} columns and {rows} lines"));
                }
                Event::Words(words) if self.stream.is_terminal() => {
                    if self.notes.len() < MOST_NOTES {
                        self.notes.push(words);
                    }
                }
                Event::Words(words) => say(&format!("[{words}]")),
                Event::End(standing) => break standing,
                Event::Size(..) | Event::Text(_) => {}
            }
        };
        drop(self.screen.take());
        self.notes.iter().for_each(|note| say(&format!("[{note}]")));
        if standing == Standing::GoesOn && self.pace.is_some() {
            say(&format!("the session goes on: gatescribe session watch {id}"));
        }
        standing.judged()
    }

    fn screen(&mut self) -> &mut Screen {
        let raw = self.stream.is_terminal();
        self.screen.get_or_insert_with(|| Screen::begin(raw))
    }

    /// Against a schedule and not one after the other: what drawing takes is not added to what was waited.
    async fn wait(&mut self, at: Duration) {
        let Some(pace) = &self.pace else { return };
        let pause = pace.between(self.last, at);
        self.last = self.last.max(at);
        // A gateway that is slow moves the schedule; nothing is hurried to catch up.
        self.due = self.due.max(Instant::now().checked_sub(LATE).unwrap_or(self.due)) + pause;
        sleep_until(self.due).await;
    }
}

/// As late as this is caught up with.
const LATE: Duration = Duration::from_millis(200);
