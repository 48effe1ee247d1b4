//! `gatescribe kube credential`: what kubectl runs on every command (client.authentication.k8s.io).
//!
//! It must never annoy (ux §3.6): from what is kept it answers without network, lock or runtime; a person is asked at
//! most once for all processes that wait, and not again within a quarter of an hour; where nobody is, nothing is opened.
//! Standard output carries one ExecCredential or nothing.

mod exec;

pub(crate) use exec::ExecCall;

use console::GatewayUrl;

use super::gateway::{Cluster, discover};
use super::home::Home;
use super::http::{Client, Trust, now};
use super::session::{Held, Renewal, block_on, client_of, refreshed, sign_in_needed, warn_of_clocks, with_clocks};
use super::signin::{Surroundings, Way, Wish};
use super::store::{Kept, Place, Refusal, Token};
use super::trouble::Trouble;
use crate::Exit;
use crate::terminal::data_and;

/// Answers kubectl.
pub(crate) fn run(gateway: &str, cluster: &str) -> Exit {
    match answer(gateway, cluster) {
        Ok(Answer::Credential(text)) => data_and(&text, Exit::Done),
        // kubectl asks several times in a row; the person has read it once.
        Ok(Answer::RefusedBefore(exit)) => exit,
        Err(trouble) => trouble.said(),
    }
}

enum Answer {
    Credential(String),
    RefusedBefore(Exit),
}

/// One question of kubectl.
struct Question<'a> {
    call: ExecCall,
    gateway: GatewayUrl,
    cluster: &'a str,
    place: Place,
    parent: Option<u32>,
    /// How a person could sign in here; `None` where nobody is.
    way: Option<Way>,
}

fn answer(gateway: &str, cluster: &str) -> Result<Answer, Trouble> {
    let call = ExecCall::of_environment()?;
    let gateway = super::gateway::url_of(gateway)?;
    let place = Home::find()?.place(&gateway);
    let way = Surroundings::look().for_plugin(call.interactive);
    let question = Question {
        call,
        gateway,
        cluster,
        place,
        parent: parent(),
        way,
    };
    let answered = question.answered();
    if let Err(trouble) = &answered {
        question.remember(trouble);
    }
    answered
}

impl Question<'_> {
    fn answered(&self) -> Result<Answer, Trouble> {
        match self.at_once(self.place.read()?.as_ref())? {
            Some(answer) => Ok(answer),
            None => self.slowly(),
        }
    }

    /// What can be said without asking or waiting for anybody. That is all there is where no session is and nobody who
    /// could sign in.
    fn at_once(&self, kept: Option<&Kept>) -> Result<Option<Answer>, Trouble> {
        let now = now();
        if let Some(token) = kept.and_then(|kept| self.bound(kept)?.usable(self.cluster, now)) {
            return Ok(Some(Answer::Credential(self.call.credential(token))));
        }
        let before = self.parent.and_then(|parent| self.place.refused_before(parent, now));
        if let Some(refusal) = before {
            return Ok(Some(Answer::RefusedBefore(exit_of(refusal.exit))));
        }
        let has_session = kept.is_some_and(|kept| kept.session.is_some());
        if self.way.is_none() && !has_session {
            return Err(sign_in_needed(&self.gateway, None));
        }
        Ok(None)
    }

    /// What is kept, if kubectl asks for the cluster that we know. One that we do not know yet, or that moved: the gateway
    /// is asked before anything is handed out.
    fn bound<'k>(&self, kept: &'k Kept) -> Option<&'k Kept> {
        self.known(kept)
            .is_some_and(|cluster| self.call.is_for(cluster))
            .then_some(kept)
    }

    fn known<'k>(&self, kept: &'k Kept) -> Option<&'k Cluster> {
        kept.clusters.iter().find(|cluster| cluster.name == self.cluster)
    }

    fn slowly(&self) -> Result<Answer, Trouble> {
        let held = match self.way {
            Some(_) => Held::take(&self.place)?,
            None => Held::take_unattended(&self.place)?,
        };
        let kept = self.place.read()?;
        // Whoever held the lock may have done the work, or been told no.
        if let Some(answer) = self.at_once(kept.as_ref())? {
            return Ok(answer);
        }
        let token = block_on(self.obtain(&held, kept))?;
        Ok(Answer::Credential(self.call.credential(&token)))
    }

    /// So that kubectl's next attempts end at once and in silence. Best effort: the answer is "no" anyway.
    fn remember(&self, trouble: &Trouble) {
        if let Some(parent) = self.parent {
            drop(self.place.refuse(Refusal {
                parent,
                at: now(),
                exit: code_of(trouble.exit),
            }));
        }
    }

    async fn obtain(&self, held: &Held<'_>, kept: Option<Kept>) -> Result<Token, Trouble> {
        let (mut kept, client) = self.acquainted(held, kept).await?;
        let why = match held.renew(&client, &mut kept, self.cluster).await? {
            Renewal::Token(token) => {
                warn_of_clocks(&client);
                return Ok(token);
            }
            Renewal::SignInNeeded(why) => why,
        };
        let refused = |why| Err(with_clocks(sign_in_needed(&self.gateway, why), &client));
        let Some(way) = self.way else {
            return refused(why);
        };
        let now = now();
        if !kept.may_prompt(now) {
            return refused(why.or_else(|| Some("a sign-in was asked for less than 15 minutes ago".to_owned())));
        }
        kept.prompted(now);
        held.save(&kept)?;
        let given = held
            .sign_in(&client, &mut kept, Wish::for_audience(self.cluster), way)
            .await?;
        warn_of_clocks(&client);
        Ok(given.token)
    }

    /// The gateway's facts, with the cluster that kubectl speaks to among them; else nothing is handed out.
    async fn acquainted(&self, held: &Held<'_>, kept: Option<Kept>) -> Result<(Kept, Client), Trouble> {
        if let Some(kept) = kept {
            let client = client_of(&kept)?;
            if self.bound(&kept).is_some() {
                return Ok((kept, client));
            }
            let trust = kept.trust.clone();
            return self.asked(held, client, Some(kept), &trust).await;
        }
        let client = Client::new(&Trust::System, self.gateway.is_secure())?;
        self.asked(held, client, None, &Trust::System).await
    }

    async fn asked(
        &self,
        held: &Held<'_>,
        client: Client,
        kept: Option<Kept>,
        trust: &Trust,
    ) -> Result<(Kept, Client), Trouble> {
        let found = discover(&client, &self.gateway)
            .await
            .map_err(|error| with_clocks(error.into(), &client))?;
        if found.gateway != self.gateway {
            return Err(sign_in_needed(
                &found.gateway,
                Some("the gateway has another address now".to_owned()),
            ));
        }
        let kept = refreshed(kept, trust, &found);
        held.save(&kept)?;
        match self.known(&kept) {
            None => Err(
                Trouble::new(Exit::NotFound, format!("the gateway has no cluster `{}`", self.cluster)).remedy(format!(
                    "gatescribe login {} writes the clusters that there are",
                    self.gateway.as_str()
                )),
            ),
            Some(cluster) if !self.call.is_for(cluster) => Err(self.call.refusal(cluster, &self.gateway)),
            Some(_) => Ok((kept, client)),
        }
    }
}

#[cfg(unix)]
fn parent() -> Option<u32> {
    Some(std::os::unix::process::parent_id())
}

/// The standard library does not say it there; the bound on how often a person is asked holds all the same.
#[cfg(not(unix))]
const fn parent() -> Option<u32> {
    None
}

const CODES: [(Exit, u8); 5] = [
    (Exit::SignIn, 3),
    (Exit::NotPermitted, 4),
    (Exit::NotFound, 5),
    (Exit::Conflict, 6),
    (Exit::Unreachable, 7),
];

fn code_of(exit: Exit) -> u8 {
    CODES
        .iter()
        .find(|(known, _)| *known == exit)
        .map_or(9, |(_, code)| *code)
}

fn exit_of(code: u8) -> Exit {
    CODES
        .iter()
        .find(|(_, known)| *known == code)
        .map_or(Exit::Fault, |(exit, _)| *exit)
}

/// When a token's end is told to kubectl: it does not ask early, and does not repeat a call that met 401.
fn told_end(token: &Token) -> String {
    super::session::in_seconds(token.usable_until())
}
