//! One effect on its way: sent in a task of its own, so that it has its end whether its client waits or not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use model::ask::{PodAnswer, PodQuestion};
use model::event::Answer;
use tokio::sync::oneshot;

use crate::ask::Ask;
use crate::audit::{End, Recorded};
use crate::body::{BodyLimit, DigestCell, Outbound, Uplink};
use crate::decision::{Effect, Permit};
use crate::refusal::Refusal;
use crate::request::{ClusterGate, Duties, Switch};
use crate::services::ServiceGate;
use crate::session::LongCall;
use crate::upstream::{self, Call, Pool, SendError, UpstreamBody};

/// How long a call that may have an effect goes on after its client has left, to learn how it ended.
const LEARN_WITHIN: Duration = Duration::from_secs(30);

/// Where a call is sent.
#[derive(Clone, Debug)]
pub(crate) enum Behind {
    Cluster(Arc<ClusterGate>),
    Service(Arc<ServiceGate>),
}

impl Behind {
    pub(crate) fn pool(&self) -> &Pool<Uplink> {
        match self {
            Self::Cluster(gate) => &gate.pool,
            Self::Service(gate) => &gate.pool,
        }
    }

    /// Who tells on which node a pod runs.
    pub(crate) fn pods(&self) -> Option<&Ask<PodQuestion, PodAnswer>> {
        match self {
            Self::Cluster(gate) => Some(&gate.pods),
            Self::Service(_) => None,
        }
    }
}

/// One sending of an effect, in a task of its own.
pub(crate) struct Sending {
    pub(crate) to: Behind,
    pub(crate) call: Call,
    pub(crate) recorded: Recorded<Permit<Effect>>,
    pub(crate) request: Request<Uplink>,
    pub(crate) end: End,
    pub(crate) digest: Arc<DigestCell>,
    /// What its body may have at most.
    pub(crate) limit: Option<Arc<BodyLimit>>,
    /// The subject's place is taken until the end is known, also when the client has left.
    pub(crate) duties: Duties,
    /// What begins a tunnel, where the call asks to switch protocols. Here and not with whoever waits for the answer: they may
    /// leave, and what the cluster has begun by then is a session all the same.
    pub(crate) switch: Option<Switch>,
}

/// What the cluster answered.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every answer is the larger one, and is moved twice"
)]
pub(crate) enum Answered {
    /// An answer, with what ends with it.
    Plainly(Response<UpstreamBody<Uplink>>, End, Duties),
    /// It has switched protocols and the tunnel has begun; this is our own 101.
    Switched(Response<Outbound>),
}

/// The answer, or what the caller is told instead; the end is written then.
pub(crate) type Sent = Result<Answered, Refusal>;

impl Sending {
    pub(crate) async fn run(self, mut answer: oneshot::Sender<Sent>) {
        let Self {
            to,
            call,
            recorded,
            request,
            mut end,
            digest,
            limit,
            duties,
            switch,
        } = self;
        if let Some(refusal) = duties.refusal() {
            end.settle_refused(Answer::NotSent, &refusal);
            // As below.
            let _ = answer.send(Err(refusal));
            return;
        }
        end.sent();
        let sent = tokio::select! {
            sent = upstream::effect(to.pool(), &call, recorded, request) => sent,
            refusal = has_to_end(&to, switch.is_some(), duties.long_call()) => {
                end.settle_refused(Answer::Unknown, &refusal);
                let _ = answer.send(Err(refusal));
                return;
            }
            () = left_long_ago(&mut answer) => return end.settle(Answer::Unknown, Some("the client left and no answer came")),
        };
        if let Some(digest) = digest.get() {
            end.digest(hex::encode(digest));
        }
        match sent {
            Ok(response) => {
                end.answered(response.status().as_u16());
                let switch = switch.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS);
                let answered = match switch {
                    Some(switch) => switch.begin(&to, response, end, duties).map(Answered::Switched),
                    None => Ok(Answered::Plainly(response, end, duties)),
                };
                if let Err(Ok(Answered::Plainly(_, end, _))) = answer.send(answered) {
                    end.settle(Answer::ClientGone, Some("the client left before the answer came"));
                }
            }
            Err(upstream::NoEffectAnswer { attempts, .. })
                if limit
                    .as_ref()
                    .is_some_and(|limit| limit.was_met.load(Ordering::Acquire)) =>
            {
                end.tried(attempts);
                let refusal = Refusal::TooLarge(limit.map_or(0, |limit| limit.most));
                // As much as was let pass has arrived; what the other side made of that nobody can know.
                end.settle_refused(Answer::Unknown, &refusal);
                let _ = answer.send(Err(refusal));
            }
            Err(upstream::NoEffectAnswer { error, attempts, .. }) => {
                // Nobody reads it when the client has left; the end is written either way.
                let _ = answer.send(Err(unanswered(end, error, attempts)));
            }
        }
    }
}

/// Resolves when what was sent has to end although no answer has come: what its client still sends stops there, and not only what would
/// come back. Until then what goes up goes to somebody who may no longer be spoken to. What has arrived may have had its effect.
///
/// A session in a pod is waited for: nothing of its client goes up before the switch, which comes soon or never, and behind it the
/// session ends with a record that says what it was.
async fn has_to_end(to: &Behind, may_switch: bool, call: Option<&LongCall>) -> Refusal {
    match call {
        Some(call) if !(may_switch && matches!(to, Behind::Cluster(_))) => {
            call.over().cancelled().await;
            call.refusal_within()
        }
        Some(_) | None => std::future::pending().await,
    }
}

async fn left_long_ago(answer: &mut oneshot::Sender<Sent>) {
    answer.closed().await;
    tokio::time::sleep(LEARN_WITHIN).await;
}

/// Writes the end of a call that got no answer, and says what the caller is told.
pub(crate) fn unanswered<R>(mut end: End, error: SendError<R>, attempts: u32) -> Refusal {
    end.tried(attempts);
    let why = error.why();
    let said = why.in_words(end.whom());
    let words = match std::error::Error::source(why) {
        Some(source) => format!("{said}: {source}"),
        None => said,
    };
    let (answer, refusal) = match &error {
        SendError::NotSent { .. } | SendError::Unprocessed { .. } => {
            end.not_sent();
            (Answer::NotSent, Refusal::UpstreamUnreachable(words.clone()))
        }
        SendError::Unknown {
            why: upstream::Why::AnswerTimedOut { .. },
        } => (Answer::Unknown, Refusal::UpstreamSilent),
        SendError::Unknown { .. } => (Answer::Unknown, Refusal::UpstreamLost(words.clone())),
    };
    end.settle_with(answer, refusal.status().as_u16(), Some(&words));
    refusal
}
