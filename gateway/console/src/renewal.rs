//! Asking the provider again whether it still vouches for a person, with the refresh token that never leaves us.
//!
//! One renewal at a time for each session (security OIDC-24): a rotated refresh token that two ask with is lost for
//! one of them, and many providers end everything then. The renewal runs on a task of its own: a client that goes
//! away in the middle must not lose the token that the provider has just given out. What it gave is stored before any
//! of it is used (protocol W-04).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt as _;
use state::{EndReason, ProviderTokens, Session, SessionId, Standing};
use tokio::sync::Mutex;

use crate::app::{App, Inner, Unavailable};
use crate::caller::Caller;
use crate::named;
use crate::record::{SessionEvent, What};
use crate::upstream::{RenewalError, Renewed as Answered, renew};

/// Sessions that are asked about at the same time while nobody comes with their handles.
const AT_ONCE: usize = 4;

/// Asks the provider about people who have something open and do not renew (security OIDC-28).
#[derive(Clone)]
pub struct Renewals {
    app: App,
}

impl std::fmt::Debug for Renewals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewals").finish_non_exhaustive()
    }
}

impl Renewals {
    pub(crate) const fn new(app: App) -> Self {
        Self { app }
    }

    /// Asks about those of these sessions about which the provider was last asked longer ago than [`crate::Lifetimes::recheck`]. What
    /// it says is stored, and ends what has to end, as at a renewal. While it does not answer, its last word counts.
    pub async fn of(&self, sessions: Vec<SessionId>) {
        let each = futures::stream::iter(sessions);
        each.for_each_concurrent(AT_ONCE, |id| async move {
            let now = self.app.now();
            let found = self.app.store(move |store| store.session(&id, now)).await;
            if let Ok(Some(session)) = found
                && session.standing == Standing::Live
            {
                // What came of it is in the store, the ledger and the log.
                let _ = renew_if_due(&self.app, None, &session).await;
            }
        })
        .await;
    }

    /// Asks about one whose person is about to do something, if the provider's last word is as old as above, and waits no longer than
    /// `patience`: the asking goes on behind it. Safe to be dropped.
    pub async fn before_use(&self, session: &Session, patience: Duration) -> Word {
        if session.standing != Standing::Live || !is_due(&self.app, session) {
            return Word::Fresh;
        }
        let turn = turn_of(&self.app, &session.id);
        if turn.try_lock().is_err() {
            // Behind one who asks already nobody queues up to ask again: while the provider hangs, the queue would only grow.
            let _asked = tokio::time::timeout(patience, turn.lock()).await;
            return self.after_another(&session.id).await;
        }
        match tokio::time::timeout(patience, renew_if_due(&self.app, None, session)).await {
            Ok(Renewed::Silent(why)) => Word::Silent(why),
            Ok(_) => Word::AskedFor,
            Err(_) if still_counts(&self.app, session) => Word::AskedFor,
            Err(_) => Word::Silent(SILENT),
        }
    }

    /// What somebody else's question has brought, or not yet: it stands in the store.
    async fn after_another(&self, id: &SessionId) -> Word {
        let (id, now) = (id.clone(), self.app.now());
        let found = self.app.store(move |store| store.session(&id, now)).await;
        match found {
            Ok(Some(session)) if session.standing == Standing::Live && !still_counts(&self.app, &session) => {
                Word::Silent(SILENT)
            }
            Ok(_) => Word::AskedFor,
            Err(Unavailable) => Word::Silent(STORE),
        }
    }
}

/// What is known of a session's person before the session is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The provider has said lately what is stored.
    Fresh,
    /// The provider was asked. What came of it is in the store: look again. Where it does not answer, its last word counts.
    AskedFor,
    /// The provider does not answer, and its last word is too old to count: why nobody is let in, as a sentence.
    Silent(&'static str),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewed {
    /// The provider's word is fresh.
    Current,
    /// The provider does not answer; its last word counts a while longer.
    OldWordCounts,
    /// The provider no longer vouches; the session ended.
    Ended,
    /// The provider does not answer, and its last word is too old.
    Silent(&'static str),
}

const SILENT: &str = "the provider has not answered for too long to be sure that your account still exists; the session \
                      stays, try again in a minute";
const STORE: &str = "the gateway cannot store or record this right now; the session stays, try again in a minute";

/// Asks if the provider's last word is older than the configured time.
///
/// `caller`: who came with the sign-in's handle; none where the gateway asks by itself.
pub(crate) async fn renew_if_due(app: &App, caller: Option<&Caller>, session: &Session) -> Renewed {
    if !is_due(app, session) {
        return Renewed::Current;
    }
    let (app, caller, id) = (app.clone(), caller.cloned(), session.id.clone());
    let work = async move { one_at_a_time(&app, caller.as_ref(), &id).await };
    let task = tokio::spawn(named::carried(work));
    task.await.unwrap_or(Renewed::Silent(STORE))
}

fn is_due(app: &Inner, session: &Session) -> bool {
    app.now().since(session.checked_at) >= app.parts.lifetimes.recheck
}

async fn one_at_a_time(app: &App, caller: Option<&Caller>, id: &SessionId) -> Renewed {
    let turn = turn_of(app, id);
    let _held = turn.lock().await;
    match ask(app, caller, id).await {
        Ok(renewed) => renewed,
        Err(Unavailable) => Renewed::Silent(STORE),
    }
}

/// The lock of one session. It lives as long as somebody holds it; what nobody holds is swept out now and then.
fn turn_of(app: &Inner, id: &SessionId) -> Arc<Mutex<()>> {
    let mut turns = app.renewals.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(turn) = turns.get(id).and_then(Weak::upgrade) {
        return turn;
    }
    if turns.len() >= 1024 && turns.len().is_power_of_two() {
        sweep(&mut turns);
    }
    let turn = Arc::new(Mutex::new(()));
    turns.insert(id.clone(), Arc::downgrade(&turn));
    turn
}

fn sweep(turns: &mut HashMap<SessionId, Weak<Mutex<()>>>) {
    turns.retain(|_, turn| turn.strong_count() > 0);
}

async fn ask(app: &App, caller: Option<&Caller>, id: &SessionId) -> Result<Renewed, Unavailable> {
    let (wanted, now) = (id.clone(), app.now());
    let found = app
        .store(move |store| Ok(store.session(&wanted, now)?.zip(store.provider_tokens(&wanted)?)))
        .await?;
    let Some((session, (tokens, version))) = found else {
        return Ok(Renewed::Ended);
    };
    match session.standing {
        Standing::Ended(_) => return Ok(Renewed::Ended),
        // Whoever had the turn before asked for us, too.
        Standing::Live if !is_due(app, &session) => return Ok(Renewed::Current),
        Standing::Live => {}
    }
    if tokens.refresh.is_none() {
        // There is nothing to ask with; such sessions have a shorter greatest age instead.
        return Ok(Renewed::Current);
    }
    let providers = app.parts.issuers.providers();
    let provider = providers
        .iter()
        .find(|provider| *provider.name == *session.provider && provider.issuer_url() == session.identity.issuer);
    let Some(provider) = provider else {
        return Ok(old_word(app, &session, "provider not configured or not ready"));
    };
    match renew(app, provider, &session, &tokens).await {
        Ok(answered) => keep(app, caller, &session, answered, version).await,
        Err(RenewalError::Refused(why)) => end(app, caller, &session, why).await,
        Err(RenewalError::Unverified { tokens, why }) => {
            keep_token_only(app, &session, tokens, version).await?;
            Ok(old_word(app, &session, why))
        }
        Err(RenewalError::NoAnswer(why)) => Ok(old_word(app, &session, why)),
    }
}

async fn keep(
    app: &App,
    caller: Option<&Caller>,
    session: &Session,
    answered: Answered,
    version: i64,
) -> Result<Renewed, Unavailable> {
    let (id, now) = (session.id.clone(), app.now());
    let changed = session.identity.differs_from(&answered.identity);
    let mut after = session.clone();
    after.identity = answered.identity.clone();
    let stored = app
        .store(move |store| store.store_provider_tokens(&id, version, &answered.tokens, Some(&answered.identity), now))
        .await?;
    if !stored {
        return Ok(Renewed::Ended);
    }
    if changed {
        let event = SessionEvent::new(What::IdentityChanged, now, caller).about(&after);
        app.record(event).await?;
    }
    Ok(Renewed::Current)
}

/// A new refresh token came, but with an ID token that does not hold (yet): the refresh token is kept, or the session
/// would be lost with the old one; the person stays as last vouched for.
async fn keep_token_only(
    app: &App,
    session: &Session,
    tokens: ProviderTokens,
    version: i64,
) -> Result<(), Unavailable> {
    let (id, now) = (session.id.clone(), app.now());
    app.store(move |store| store.store_provider_tokens(&id, version, &tokens, None, now))
        .await
        .map(drop)
}

async fn end(app: &App, caller: Option<&Caller>, session: &Session, why: &'static str) -> Result<Renewed, Unavailable> {
    let (id, now) = (session.id.clone(), app.now());
    app.store(move |store| store.end_session(&id, EndReason::ProviderRefused, now))
        .await?;
    let event = SessionEvent::new(What::ProviderRefused, now, caller).about(session);
    app.record_after(event.because(why, None)).await;
    Ok(Renewed::Ended)
}

fn old_word(app: &Inner, session: &Session, why: &'static str) -> Renewed {
    tracing::warn!(provider = session.provider, why, "provider not asked");
    if still_counts(app, session) {
        Renewed::OldWordCounts
    } else {
        Renewed::Silent(SILENT)
    }
}

fn still_counts(app: &Inner, session: &Session) -> bool {
    app.now() < session.checked_at.plus(app.parts.lifetimes.provider_outage)
}
