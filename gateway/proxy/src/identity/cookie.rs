//! The cookie of a browser on the host of a service: whose sign-in is behind it.
//!
//! A browser sends it by itself, also when what it was given out for has ended. So one that counts no longer proves nobody, as if none
//! were there, and says why; it never turns away who may do a thing without a sign-in.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};
use model::ask::{CookieAnswer, CookieQuestion, SignedIn};
use model::cookie::Cookie;
use model::time::Timestamp;

use super::cache::{Epoch, Fingerprint, Known};
use super::{AtService, Authenticated, Credential, Identity, REFUSAL_COUNTS, Station, Unproved, Vouched, groups_hash};
use crate::refusal::Refusal;

impl<'a> AtService<'a> {
    /// The value of ours among the cookies of a request.
    pub(super) fn cookie<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let lines = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
        Cookie::Service.find(lines, self.secure)
    }

    /// As an audience of its own: no token is for it.
    fn host_text(&self) -> String {
        format!("host:{}", self.host)
    }
}

impl Station {
    /// Whose sign-in is behind the cookie of this request.
    pub(super) async fn by_cookie(
        &self,
        at: AtService<'_>,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Authenticated, Unproved> {
        let refused = |refusal| Unproved::by("cookie", refusal);
        let Some(value) = at.cookie(headers) else {
            return Err(Unproved::by("none", Refusal::NoCredential));
        };
        let fingerprint = self.cache.fingerprint(&at.host_text(), value);
        let generation = self.trust.borrow().generation;
        match self.cache.get(&fingerprint, now, generation) {
            Some(Known::Good { identity, .. }) => return self.admit(identity, now).map_err(Unproved::from),
            Some(Known::Bad { why, .. }) => return Err(refused(Refusal::SignInEnded(why.to_string()))),
            None => {}
        }
        let began = self.cache.epoch();
        let question = CookieQuestion {
            host: at.host.clone(),
            value: value.into(),
            after: began.ends(),
        };
        match self.questions.cookies.ask(question).await {
            CookieAnswer::Live(signed_in) => {
                let identity = Arc::new(browser(*signed_in));
                let until = now.plus(self.acceptance.sign_in_check).min(identity.expires_at);
                let known = Known::Good {
                    identity: Arc::clone(&identity),
                    until,
                    generation,
                };
                self.cache.put(fingerprint, known, began);
                self.admit(identity, now).map_err(Unproved::from)
            }
            CookieAnswer::Unknown { why } => Err(refused(Refusal::CannotVerify(format!(
                "your sign-in cannot be looked up: {why}"
            )))),
            CookieAnswer::Ended { why } => {
                let why = format!("your sign-in has ended: {why}");
                Err(refused(self.no_longer(why, (fingerprint, began), now, generation)))
            }
            CookieAnswer::Foreign => {
                let why = "the cookie was not given out for this host".to_owned();
                Err(refused(self.no_longer(why, (fingerprint, began), now, generation)))
            }
        }
    }

    /// Remembers for a moment that a cookie is bad, so that a flood of one costs one look-up. A sign-in that has ended never goes on, and a new one has
    /// a new cookie: what is kept here refuses nobody who has signed in since. What could not be looked up is not kept.
    fn no_longer(
        &self,
        why: String,
        (fingerprint, began): (Fingerprint, Epoch),
        now: Timestamp,
        generation: u64,
    ) -> Refusal {
        let bad = Known::Bad {
            why: why.as_str().into(),
            until: now.plus(REFUSAL_COUNTS),
            generation,
        };
        self.cache.put(fingerprint, bad, began);
        Refusal::SignInEnded(why)
    }
}

fn browser(signed_in: SignedIn) -> Identity {
    let SignedIn {
        session,
        subject,
        ends_at,
        auth_time,
        acr,
        stated_reason,
    } = signed_in;
    Identity::of(Identity {
        groups_hash: groups_hash(subject.groups()),
        subject,
        sign_in: session,
        credential: Credential::Cookie,
        credential_id: None,
        auth_time,
        acr,
        stated_reason: stated_reason.map(|(reason, until)| (reason.into(), until)),
        sign_in_ends: Some(ends_at),
        expires_at: ends_at,
        signed_by: None,
        vouched: Vouched::default(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use model::ask::{KeyAnswer, SessionAnswer};
    use model::lock::{Lock, Locks};
    use model::service::HostName;
    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::ask::Ask;
    use crate::clock::Clock;
    use crate::identity::{Acceptance, Audience, Questions, for_bench};
    use crate::listener::Conn;
    use crate::session::bench;

    /// A sign-in of al's.
    fn live() -> CookieAnswer {
        CookieAnswer::Live(Box::new(SignedIn {
            session: "s".into(),
            subject: for_bench("al", &["dev"], Credential::Cookie).subject().clone(),
            ends_at: bench::BEGIN.plus(Duration::from_secs(600)),
            auth_time: Some(bench::BEGIN),
            acr: Some("mfa".into()),
            stated_reason: None,
        }))
    }

    /// A station whose store knows the cookie `good` on `web.example`, as al's; and how often it was asked.
    fn station(ended: bool) -> (Arc<Station>, watch::Sender<Arc<Locks>>, Arc<AtomicU64>) {
        asking(move |question| {
            let is_known = question.host.as_str() == "web.example" && &*question.value == "good";
            match (is_known, ended) {
                (true, false) => live(),
                (true, true) => CookieAnswer::Ended {
                    why: "you signed out".to_owned(),
                },
                (false, _) => CookieAnswer::Foreign,
            }
        })
    }

    /// A station whose store gives these answers, one after another.
    fn answering(answers: Vec<CookieAnswer>) -> (Arc<Station>, Arc<AtomicU64>) {
        let mut answers = answers.into_iter();
        let (station, _, asked) = asking(move |_| answers.next().unwrap());
        (station, asked)
    }

    fn asking(
        mut answer: impl FnMut(&CookieQuestion) -> CookieAnswer + Send + 'static,
    ) -> (Arc<Station>, watch::Sender<Arc<Locks>>, Arc<AtomicU64>) {
        let (_, trust) = watch::channel(Arc::new(bench::trust()));
        let (publish, locks) = watch::channel(Arc::default());
        let (keys, _) = Ask::new(1, Duration::from_secs(1), |_| KeyAnswer::Unknown);
        let (sign_ins, _) = Ask::new(1, Duration::from_secs(1), |why| SessionAnswer::Unknown { why });
        let (cookies, mut asked) = Ask::new(16, Duration::from_secs(5), |why| CookieAnswer::Unknown { why });
        let times = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&times);
        tokio::spawn(async move {
            while let Some((question, reply)) = asked.recv().await {
                let question: CookieQuestion = question;
                counted.fetch_add(1, Ordering::Relaxed);
                let answer = answer(&question);
                let _ = reply.send(answer);
            }
        });
        let questions = Questions {
            keys,
            sign_ins,
            cookies,
            tokens: BTreeMap::new(),
            issuers: None,
        };
        let acceptance = Acceptance {
            service_account_audience: String::new(),
            cache_entries: 100,
            sign_in_check: Duration::from_secs(60),
            longest_sign_in: Duration::from_secs(86_400),
            certificates: HashMap::new(),
            workloads: Vec::new(),
        };
        let station = Station::new(trust, locks, questions, acceptance).unwrap();
        (Arc::new(station), publish, times)
    }

    async fn asks(station: &Station, host: &str, lines: &[(&'static str, &str)]) -> Result<Authenticated, Unproved> {
        asks_at(station, host, lines, 0).await
    }

    /// So many seconds later.
    async fn asks_at(
        station: &Station,
        host: &str,
        lines: &[(&'static str, &str)],
        seconds: u64,
    ) -> Result<Authenticated, Unproved> {
        let address = SocketAddr::from(([10, 0, 0, 1], 1));
        let conn = Conn::new(1, address, address, "gateway".into(), CancellationToken::new());
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let host = HostName::new(host).unwrap();
        let at = AtService {
            host: &host,
            name: None,
            secure: true,
        };
        let at_that_time = bench::BEGIN.plus(Duration::from_secs(seconds));
        let (clock, _) = Clock::manual(at_that_time.unix_nanos());
        station
            .authenticate(&conn, Audience::Service(at), &mut headers, clock.read())
            .await
    }

    const GOOD: (&str, &str) = ("cookie", "a=b; __Host-gatescribe-service=good");

    #[tokio::test]
    async fn ses_03_a_cookie_proves_its_sign_in_on_its_host_alone_and_is_remembered() {
        let (station, _locks, asked) = station(false);
        for _ in 0..3 {
            let proved = asks(&station, "web.example", &[GOOD]).await.unwrap();
            let by = proved.identity().by();
            assert_eq!((by.user, by.credential, by.session), ("al", "cookie", Some("s")));
            assert_eq!(proved.identity().acr(), Some("mfa"));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        for (host, lines) in [
            ("api.example", &[GOOD][..]),
            ("web.example", &[("cookie", "__Host-gatescribe-service=bad")]),
        ] {
            let unproved = asks(&station, host, lines).await.unwrap_err();
            assert!(unproved.is_stale_cookie() && unproved.known.is_none(), "{unproved:?}");
        }
        for nothing in [
            "__Host-gatescribe-service=good; __Host-gatescribe-service=good",
            "loopback-gatescribe-service=good",
            "__Host-gatescribe-session=good",
        ] {
            let unproved = asks(&station, "web.example", &[("cookie", nothing)]).await.unwrap_err();
            assert_eq!(unproved.credential, "none", "{nothing}");
        }
    }

    #[tokio::test]
    async fn promise_8_a_flood_of_one_bad_cookie_costs_one_look_up_in_ten_seconds() {
        let (station, _locks, asked) = station(false);
        let bad = [("cookie", "__Host-gatescribe-service=bad")];
        for _ in 0..1_000 {
            let unproved = asks(&station, "web.example", &bad).await.unwrap_err();
            assert!(unproved.is_stale_cookie(), "{unproved:?}");
            assert_eq!(
                unproved.refusal.in_words(),
                "the cookie was not given out for this host"
            );
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        // What was bad on one host says nothing of another, and nothing of the next sign-in.
        assert!(asks(&station, "api.example", &[GOOD]).await.is_err());
        assert!(asks(&station, "web.example", &[GOOD]).await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        assert!(asks_at(&station, "web.example", &bad, 9).await.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        assert!(asks_at(&station, "web.example", &bad, 10).await.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 4, "it is looked up again");
        // However many different ones are made up, the table has its bound, and whoever is signed in is still known.
        for number in 0..1_000 {
            let made_up = format!("__Host-gatescribe-service=x{number}");
            assert!(asks(&station, "web.example", &[("cookie", &made_up)]).await.is_err());
        }
        let (good, bad) = station.cache().sizes();
        assert!(good == 1 && bad <= 100, "{good} {bad}");
        let before = asked.load(Ordering::Relaxed);
        assert!(asks(&station, "web.example", &[GOOD]).await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), before);
    }

    /// A cookie that a restored store knows again, or whose sign-in stood nowhere when a replica was asked.
    #[tokio::test]
    async fn a_cookie_that_becomes_good_counts_within_ten_seconds_and_what_could_not_be_looked_up_at_once() {
        let answers = [
            CookieAnswer::Unknown { why: "late".into() },
            CookieAnswer::Foreign,
            live(),
        ];
        let (station, asked) = answering(answers.to_vec());
        let cannot = asks(&station, "web.example", &[GOOD]).await.unwrap_err();
        assert!(matches!(cannot.refusal, Refusal::CannotVerify(_)), "{cannot:?}");
        assert!(
            asks(&station, "web.example", &[GOOD])
                .await
                .unwrap_err()
                .is_stale_cookie()
        );
        assert_eq!(
            asked.load(Ordering::Relaxed),
            2,
            "what could not be looked up is not kept"
        );
        assert!(asks_at(&station, "web.example", &[GOOD], 9).await.is_err());
        assert!(asks_at(&station, "web.example", &[GOOD], 10).await.is_ok());
        assert!(asks_at(&station, "web.example", &[GOOD], 11).await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn ses_12_a_bad_token_is_never_made_good_by_a_cookie_beside_it() {
        let (station, _locks, asked) = station(false);
        let unproved = asks(&station, "web.example", &[GOOD, ("authorization", "Bearer x.y.z")]).await;
        let unproved = unproved.unwrap_err();
        assert!(matches!(unproved.refusal, Refusal::BadCredential(_)), "{unproved:?}");
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        // What could prove nobody here is the service's own word, and goes no further than the gateway.
        let proved = asks(&station, "web.example", &[GOOD, ("authorization", "Basic eA==")]).await;
        assert_eq!(proved.unwrap().identity().by().user, "al");
    }

    #[tokio::test]
    async fn a_cookie_whose_sign_in_has_ended_proves_nobody_and_says_why_and_a_lock_counts_at_once() {
        let (station_of_ended, _, _) = station(true);
        let unproved = asks(&station_of_ended, "web.example", &[GOOD]).await.unwrap_err();
        assert!(unproved.is_stale_cookie());
        assert_eq!(unproved.refusal.in_words(), "your sign-in has ended: you signed out");
        let (station, locks, _) = station(false);
        assert!(asks(&station, "web.example", &[GOOD]).await.is_ok());
        let al = for_bench("al", &["dev"], Credential::Cookie);
        let lock = Lock {
            subject: al.subject().id().clone(),
            kind: al.subject().kind(),
            user: "al".to_owned(),
            email: None,
            until: bench::BEGIN.plus(Duration::from_secs(60)),
            why: "T".to_owned(),
            by: "carol".to_owned(),
            at: bench::BEGIN,
        };
        locks.send(Arc::new(Locks::new([lock]))).unwrap();
        let unproved = asks(&station, "web.example", &[GOOD]).await.unwrap_err();
        assert!(matches!(unproved.refusal, Refusal::Locked(_)) && unproved.known.is_some());
    }
}
