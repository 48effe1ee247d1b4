//! The two ways to a cluster for a person's call. Each wants its evidence by value.
//!
//! A pure read wants a [`Permit`]; its answer is held by the caller until the access record is durable. An effect wants a
//! [`Recorded`] permit: the intent is durable. The evidence comes back only when the request provably never left.

use http::{Request, Response};

use super::outgoing::SendBody;
use super::{Call, NoAnswer, Pool, SendError, UpstreamBody};
use crate::audit::Recorded;
use crate::decision::{Effect, Permit, PureRead};

/// An effect that has no answer.
#[derive(Debug)]
pub struct NoEffectAnswer<B> {
    /// What is known about its effect.
    pub error: SendError<B>,
    /// How often it was handed to a connection; 0: none took it.
    pub attempts: u32,
    /// The evidence, if the request provably never left: it may be sent again on the same record.
    pub unused: Option<Recorded<Permit<Effect>>>,
}

/// Sends a pure read.
///
/// # Errors
/// [`NoAnswer`]: it was not sent, not processed, or lost on the way.
pub async fn read<B: SendBody>(
    pool: &Pool<B>,
    call: &Call,
    permit: Permit<PureRead>,
    request: Request<B>,
) -> Result<Response<UpstreamBody<B>>, NoAnswer<B>> {
    let answer = pool.send(call, request).await;
    drop(permit);
    answer
}

/// Sends an effect whose intent is durable.
///
/// # Errors
/// [`NoEffectAnswer`]: with the evidence when the request provably never left, without it when it may have had its effect.
pub async fn effect<B: SendBody>(
    pool: &Pool<B>,
    call: &Call,
    recorded: Recorded<Permit<Effect>>,
    request: Request<B>,
) -> Result<Response<UpstreamBody<B>>, NoEffectAnswer<B>> {
    match pool.send(call, request).await {
        Ok(response) => Ok(response),
        Err(NoAnswer { error, attempts }) => {
            let unused = matches!(error, SendError::NotSent { .. }).then_some(recorded);
            Err(NoEffectAnswer {
                error,
                attempts,
                unused,
            })
        }
    }
}
