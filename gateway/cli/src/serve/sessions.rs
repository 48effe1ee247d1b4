//! Answers the request path's question "does this session still stand?" from the store, on threads that may block.

use std::sync::Arc;
use std::time::SystemTime;

use model::ask::{CookieAnswer, CookieQuestion, SessionAnswer, SessionQuestion};
use model::subject::{Subject, SubjectKind, SubjectParts};
use model::time::Timestamp;
use state::{EndReason, SessionId, Store};
use tokio::sync::{mpsc, oneshot};

/// Answers until nobody asks any more.
pub(super) async fn answer(
    store: Arc<Store>,
    mut asked: mpsc::Receiver<(SessionQuestion, oneshot::Sender<SessionAnswer>)>,
) {
    while let Some((question, answer)) = asked.recv().await {
        let store = Arc::clone(&store);
        tokio::task::spawn_blocking(move || {
            // Whoever asked may have gone.
            let _ = answer.send(look_up(&store, &question, now()));
        });
    }
}

/// The same for cookies on hosts of services.
pub(super) async fn cookies(
    _store: Arc<Store>,
    mut asked: mpsc::Receiver<(CookieQuestion, oneshot::Sender<CookieAnswer>)>,
) {
    while let Some((_, answer)) = asked.recv().await {
        let _ = answer.send(CookieAnswer::Foreign);
    }
}

/// Looks a session up, at one point in time.
pub(super) fn look_up(store: &Store, question: &SessionQuestion, now: Timestamp) -> SessionAnswer {
    let Some(id) = SessionId::parse(&question.session) else {
        return SessionAnswer::Ended {
            why: "there is no such session".to_owned(),
        };
    };
    match store.session(&id, now) {
        Ok(Some(session)) => match session.standing {
            state::Standing::Live => SessionAnswer::Live {
                ends_at: session.idle_end.min(session.absolute_end),
                subject: subject(&session).map(Box::new),
                stated_reason: session.stated_reason,
            },
            state::Standing::Ended(why) => SessionAnswer::Ended {
                why: in_words(why).to_owned(),
            },
        },
        Ok(None) => SessionAnswer::Ended {
            why: "there is no such session".to_owned(),
        },
        Err(error) => SessionAnswer::Unknown { why: error.to_string() },
    }
}

/// Its person by the provider's newest word; none where that makes no name that Kubernetes could be told, as no token has it either.
fn subject(session: &state::Session) -> Option<Subject> {
    let person = session.identity.clone();
    let parts = SubjectParts {
        id: session.subject_id.clone(),
        kind: SubjectKind::Person,
        issuer: person.issuer,
        subject: person.subject,
        username: person.username,
        uid: person.uid,
        groups: person.groups,
        extra: person.extra,
        email: person.email,
    };
    Subject::new(parts).ok()
}

const fn in_words(why: EndReason) -> &'static str {
    match why {
        EndReason::SignedOut => "you signed out",
        EndReason::Idle => "it was not used for too long",
        EndReason::TooOld => "it has reached its greatest age",
        EndReason::HandleReused | EndReason::CodeReused => "one of its secrets was used twice, which only a copy does",
        EndReason::ProviderRefused => "the identity provider no longer vouches for you",
        EndReason::ProviderLogout => "you signed out at the identity provider",
        EndReason::Locked => "an administrator has locked this account",
        EndReason::Replaced => "newer sign-ins have taken its place",
        EndReason::NotRecorded => "it could not be recorded",
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_unix_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
