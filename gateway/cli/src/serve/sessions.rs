//! Answers the request path's questions "does this session still stand?" and "whose is this cookie?" from the store, on threads that may
//! block.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use console::{Renewals, Word};
use model::ask::{CookieAnswer, CookieQuestion, SessionAnswer, SessionQuestion, SignedIn};
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

/// How long a browser waits for the provider before the provider's last word counts: less than who asks here waits.
const PROVIDER_WITHIN: Duration = Duration::from_secs(1);

/// Answers whose sign-in is behind a cookie on a service's host, until nobody asks any more. A browser renews nothing by itself, so the
/// provider is asked here when its last word has become old (protocol N-12).
pub(super) async fn cookies(
    store: Arc<Store>,
    renewals: Renewals,
    mut asked: mpsc::Receiver<(CookieQuestion, oneshot::Sender<CookieAnswer>)>,
) {
    while let Some((question, answer)) = asked.recv().await {
        let (store, renewals) = (Arc::clone(&store), renewals.clone());
        tokio::spawn(async move {
            // Whoever asked may have gone.
            let _ = answer.send(whose(&store, &renewals, question).await);
        });
    }
}

async fn whose(store: &Arc<Store>, renewals: &Renewals, question: CookieQuestion) -> CookieAnswer {
    let question = Arc::new(question);
    let found = match find(store, &question).await {
        Ok(Some(session)) => session,
        Ok(None) => return CookieAnswer::Foreign,
        Err(why) => return CookieAnswer::Unknown { why },
    };
    match renewals.before_use(&found, PROVIDER_WITHIN).await {
        Word::Fresh => signed_in(found),
        Word::Silent(why) => CookieAnswer::Unknown { why: why.to_owned() },
        Word::AskedFor => match find(store, &question).await {
            Ok(Some(session)) => signed_in(session),
            Ok(None) => CookieAnswer::Foreign,
            Err(why) => CookieAnswer::Unknown { why },
        },
    }
}

async fn find(store: &Arc<Store>, question: &Arc<CookieQuestion>) -> Result<Option<state::Session>, String> {
    let (store, question) = (Arc::clone(store), Arc::clone(question));
    let looked =
        tokio::task::spawn_blocking(move || store.session_of_cookie(&question.host, &question.value, now())).await;
    match looked {
        Ok(found) => found.map_err(|error| error.to_string()),
        Err(_) => Err("the look-up broke".to_owned()),
    }
}

/// What the request path is told of the session behind a cookie.
fn signed_in(session: state::Session) -> CookieAnswer {
    if let state::Standing::Ended(why) = session.standing {
        let why = in_words(why).to_owned();
        return CookieAnswer::Ended { why };
    }
    let Some(subject) = subject(&session) else {
        let why = "the provider's name for its person is none that anybody could be told".to_owned();
        return CookieAnswer::Unknown { why };
    };
    CookieAnswer::Live(Box::new(SignedIn {
        session: session.id.as_str().into(),
        subject,
        ends_at: session.idle_end.min(session.absolute_end),
        auth_time: session.auth_time.map(Timestamp::from_unix_seconds),
        acr: session.acr.map(Arc::from),
        stated_reason: session.stated_reason,
    }))
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
