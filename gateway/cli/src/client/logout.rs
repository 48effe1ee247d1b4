//! `gatescribe logout`: the session ends at the gateway; here its secrets go, whatever the gateway says.

use super::GatewayArgument;
use super::gateway::revoke;
use super::home::Home;
use super::session::{Held, block_on, chosen, client_of};
use super::store::Place;
use super::trouble::{Trouble, chain};
use crate::Exit;
use crate::terminal::say;

/// What became of one session.
enum Out {
    /// There was none.
    WasNot,
    /// Ended there and here.
    Ended,
    /// Removed here; the gateway was not told.
    NotTold(String),
}

pub(super) fn run(all: bool, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    let home = Home::find()?;
    if !all {
        let gateway = chosen(&home, gateway.url.as_deref())?;
        return Ok(match said(gateway.as_str(), &out(&home.place(&gateway))?) {
            true => Exit::Done,
            false => Exit::Unreachable,
        });
    }
    let mut untold = 0;
    let places = home.places()?;
    for place in &places {
        let name = place
            .read()?
            .map_or_else(|| "a gateway".to_owned(), |kept| kept.gateway);
        untold += usize::from(!said(&name, &out(place)?));
    }
    if places.is_empty() {
        say("you are not signed in anywhere");
    }
    Ok(match untold {
        0 => Exit::Done,
        all if all == places.len() => Exit::Unreachable,
        _ => Exit::Partly,
    })
}

fn out(place: &Place) -> Result<Out, Trouble> {
    let held = Held::take(place)?;
    let Some(mut kept) = place.read()? else {
        return Ok(Out::WasNot);
    };
    let Some(session) = kept.session.clone() else {
        return Ok(Out::WasNot);
    };
    // First here: a machine that is about to be given away must not keep a secret because a network is down.
    let endpoints = kept.endpoints.clone();
    let client = client_of(&kept);
    kept.end();
    held.save(&kept)?;
    let told = block_on(async {
        let client = client?;
        Ok(revoke(&client, &endpoints, &session.handle)
            .await
            .map_err(|error| chain(&error)))
    });
    Ok(match told {
        Ok(Ok(_)) => Out::Ended,
        Ok(Err(why)) => Out::NotTold(why),
        Err(trouble) => Out::NotTold(
            trouble
                .text()
                .lines()
                .skip(1)
                .collect::<Vec<_>>()
                .join(";")
                .trim()
                .to_owned(),
        ),
    })
}

fn said(gateway: &str, out: &Out) -> bool {
    match out {
        Out::WasNot => say(&format!("you were not signed in at {gateway}")),
        Out::Ended => say(&format!(
            "✔ signed out at {gateway}; the contexts in the kubeconfig stay"
        )),
        Out::NotTold(why) => say(&format!(
            "✖ signed out here, but {gateway} was not told: its session goes on until it ends by itself\n  because  {why}\n  \
             do this  have an administrator end the session if this machine or its files are not yours alone"
        )),
    }
    !matches!(out, Out::NotTold(_))
}
