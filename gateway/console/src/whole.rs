//! What is done in several steps, done whole: a caller who goes away in the middle stops nothing between its record and its effect.

use crate::answer::Refused;
use crate::named;

/// Does it on a task of its own, which goes on when nobody waits for it any more.
pub(crate) async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refused>> + Send + 'static,
) -> Result<T, Refused> {
    tokio::spawn(named::carried(work)).await.unwrap_or_else(|_| {
        tracing::error!("a task panicked between a record and its effect");
        Err(Refused::unavailable(
            "it is not known whether this was done; look, then try again",
        ))
    })
}
