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

#[cfg(test)]
mod tests {
    use model::service::HostName;
    use model::subject::SubjectId;
    use state::{ClientKind, Identity, Limits, NewSession, ProviderTokens, SealingKey, SealingKeys, SessionSecrets};

    use super::*;

    fn store() -> Store {
        let keys = SealingKeys::new(SealingKey::new(&[7; 32]).unwrap(), vec![]);
        Store::in_memory(keys, Limits::default()).unwrap()
    }

    fn alice(username: &str) -> NewSession {
        NewSession {
            subject_id: SubjectId::from_digest([1; 16]),
            provider: "corp".to_owned(),
            provider_sid: None,
            identity: Identity {
                issuer: "https://idp.example".to_owned(),
                subject: "alice".to_owned(),
                username: username.to_owned(),
                uid: None,
                groups: vec!["dev".to_owned()],
                extra: std::collections::BTreeMap::new(),
                email: None,
            },
            client: ClientKind::Browser,
            source: "192.0.2.1".to_owned(),
            auth_time: Some(1_795_000_000),
            acr: Some("phr".to_owned()),
            tokens: ProviderTokens {
                refresh: None,
                id_token: None,
                claims: "{}".to_owned(),
                nonce: "nonce".to_owned(),
            },
            first_use: Duration::from_secs(3_600),
            idle: Duration::from_secs(3_600),
            absolute: Duration::from_secs(36_000),
        }
    }

    /// What the request path is told of the cookie of a session that begins with this name.
    fn told(store: &Store, username: &str) -> (SessionId, String, HostName) {
        let host = HostName::new("grafana.example.com").unwrap();
        let SessionSecrets::Begun { session, .. } = store.begin_session(&alice(username), now()).unwrap() else {
            panic!("locked");
        };
        let value = store.service_cookie(&host, &session.id).unwrap();
        (session.id, value, host)
    }

    #[test]
    fn behind_a_cookie_stands_a_person_as_the_provider_knows_them_until_the_sign_in_ends() {
        let store = store();
        let (id, value, host) = told(&store, "alice@example.com");
        let find = || signed_in(store.session_of_cookie(&host, &value, now()).unwrap().unwrap());
        let CookieAnswer::Live(signed_in) = find() else {
            panic!("{:?}", find());
        };
        assert_eq!(&*signed_in.session, id.as_str());
        assert_eq!(signed_in.subject.username(), "alice@example.com");
        assert_eq!(signed_in.acr.as_deref(), Some("phr"));
        assert_eq!(signed_in.auth_time, Some(Timestamp::from_unix_seconds(1_795_000_000)));
        assert!(signed_in.ends_at > now());
        store.end_session(&id, EndReason::SignedOut, now()).unwrap();
        let why = "you signed out".to_owned();
        assert_eq!(find(), CookieAnswer::Ended { why });
    }

    #[test]
    fn whose_name_is_none_that_anybody_could_be_told_is_nobody() {
        let store = store();
        let (_, value, host) = told(&store, "");
        let found = store.session_of_cookie(&host, &value, now()).unwrap().unwrap();
        assert!(matches!(signed_in(found), CookieAnswer::Unknown { .. }));
    }
}
