//! Tokens of ServiceAccounts beside a flood of texts that look like them, sign-ins that end meanwhile, and locks.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::lock::Lock;
use oidc::gateway::{GatewayClaims, GatewayVerifier, Mint, ProviderIdentity, SigningKey};
use tokio::sync::mpsc;

use super::*;
use crate::ask::Asked;
use crate::session::bench;

const OURS: &str = "https://gate";

fn token(audience: &str, name: &str) -> String {
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let header = encode(r#"{"alg":"RS256","kid":"k"}"#.to_owned());
    let claims = encode(format!(
        r#"{{"iss":"https://kubernetes.default.svc","aud":["{audience}"],"sub":"{name}","exp":4000000000}}"#
    ));
    format!("{header}.{claims}.{}", encode("signature".to_owned()))
}

fn cluster() -> ClusterId {
    ClusterId::new(bench::CLUSTER).unwrap()
}

fn station() -> (Arc<Station>, mpsc::Receiver<Asked<TokenQuestion, TokenAnswer>>) {
    let (sign_ins, _) = Ask::new(1, Duration::from_secs(1), |why| SessionAnswer::Unknown { why });
    station_asking(sign_ins)
}

fn station_asking(
    sign_ins: Ask<SessionQuestion, SessionAnswer>,
) -> (Arc<Station>, mpsc::Receiver<Asked<TokenQuestion, TokenAnswer>>) {
    let (_, locks) = watch::channel(Arc::default());
    station_with(sign_ins, bench::trust(), locks)
}

/// No browser comes here.
fn no_cookies() -> Ask<CookieQuestion, CookieAnswer> {
    Ask::new(1, Duration::from_secs(1), |why| CookieAnswer::Unknown { why }).0
}

fn station_with(
    sign_ins: Ask<SessionQuestion, SessionAnswer>,
    trust: Trust,
    locks: watch::Receiver<Arc<Locks>>,
) -> (Arc<Station>, mpsc::Receiver<Asked<TokenQuestion, TokenAnswer>>) {
    let (_, trust) = watch::channel(Arc::new(trust));
    let (keys, _) = Ask::new(1, Duration::from_secs(1), |_| KeyAnswer::Unknown);
    let (tokens, asked) = Ask::new(1_024, Duration::from_secs(5), |why| TokenAnswer::Unknown { why });
    let questions = Questions {
        keys,
        sign_ins,
        cookies: no_cookies(),
        tokens: BTreeMap::from([(cluster(), tokens)]),
    };
    let acceptance = Acceptance {
        service_account_audience: OURS.to_owned(),
        cache_entries: 100,
        sign_in_check: Duration::from_secs(60),
        longest_sign_in: Duration::from_secs(86_400),
        certificates: HashMap::new(),
    };
    (
        Arc::new(Station::new(trust, locks, questions, acceptance).unwrap()),
        asked,
    )
}

/// A cluster that needs a tenth of a second for each answer, 32 at the same time, and knows the tokens whose text it is told.
fn answer(mut asked: mpsc::Receiver<Asked<TokenQuestion, TokenAnswer>>, good: Vec<String>) -> Arc<Mutex<u32>> {
    let count = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        let places = Arc::new(tokio::sync::Semaphore::new(32));
        while let Some((question, reply)) = asked.recv().await {
            *counted.lock().unwrap() += 1;
            let place = Arc::clone(&places).acquire_owned().await.unwrap();
            let is_good = good.iter().any(|token| **token == *question.token);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let answer = if is_good {
                    TokenAnswer::Authenticated {
                        username: "system:serviceaccount:shop:ci".to_owned(),
                        uid: None,
                        groups: Vec::new(),
                        extra: BTreeMap::new(),
                    }
                } else {
                    TokenAnswer::Refused { why: "no".to_owned() }
                };
                let _ = reply.send(answer);
                drop(place);
            });
        }
    });
    count
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_texts_like_tokens_takes_no_answer_from_a_good_one() {
    let (station, asked) = station();
    let (known, fresh) = (token(OURS, "known"), token(OURS, "fresh"));
    let count = answer(asked, vec![known.clone(), fresh.clone()]);
    let (near, far): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let begin = bench::BEGIN;
    assert!(
        station
            .token(Audience::Cluster(&cluster()), &known, near, begin)
            .await
            .is_ok()
    );
    let later = begin.plus(Duration::from_secs(60));
    let flood: Vec<_> = (0..10_000)
        .map(|number| {
            let station = Arc::clone(&station);
            tokio::spawn(async move {
                let garbage = token(OURS, &format!("garbage-{number}"));
                station
                    .token(Audience::Cluster(&cluster()), &garbage, near, later)
                    .await
                    .is_err()
            })
        })
        .collect();
    tokio::task::yield_now().await;
    let of_known = station.token(Audience::Cluster(&cluster()), &known, near, later).await;
    assert!(
        of_known.is_ok(),
        "asked about again from the same address: {of_known:?}"
    );
    let of_fresh = station.token(Audience::Cluster(&cluster()), &fresh, far, later).await;
    assert!(of_fresh.is_ok(), "a newcomer from another address: {of_fresh:?}");
    for refused in flood {
        assert!(refused.await.unwrap());
    }
    let asked = *count.lock().unwrap();
    assert!(asked <= 3 + 51, "the cluster was asked {asked} times");
}

#[tokio::test(start_paused = true)]
async fn a_token_for_somebody_else_is_refused_without_asking_the_cluster() {
    let (station, asked) = station();
    let count = answer(asked, Vec::new());
    let from = "10.0.0.1".parse().unwrap();
    let refused = station
        .token(
            Audience::Cluster(&cluster()),
            &token("https://other", "a"),
            from,
            bench::BEGIN,
        )
        .await;
    assert!(
        matches!(&refused, Err(Turned::Refused(Refusal::BadCredential(why))) if why.contains(OURS)),
        "{refused:?}"
    );
    assert_eq!(*count.lock().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_asks_about_a_session_after_its_end_gets_no_answer_from_before_it() {
    let (sign_ins, mut asked) = Ask::new(8, Duration::from_secs(60), |why| SessionAnswer::Unknown { why });
    let (station, _) = station_asking(sign_ins);
    let identity = Arc::new(for_bench("al", &["dev"], Credential::GatewayToken));
    let looks = || {
        let (station, identity) = (Arc::clone(&station), Arc::clone(&identity));
        tokio::spawn(async move { station.sign_in_stands(&identity).await })
    };
    let before = looks();
    let (_, of_before) = asked.recv().await.unwrap();
    // The session ends while that answer is on its way.
    station.cache().clear();
    let after = looks();
    let anew = tokio::time::timeout(Duration::from_secs(5), asked.recv()).await;
    let (_, of_after) = anew.expect("the store is asked anew").unwrap();
    let live = SessionAnswer::Live {
        ends_at: Timestamp::MAX,
        stated_reason: None,
        subject: None,
    };
    of_before.send(live).unwrap();
    of_after
        .send(SessionAnswer::Ended {
            why: "signed out".to_owned(),
        })
        .unwrap();
    assert!(before.await.unwrap().is_ok());
    assert!(matches!(after.await.unwrap(), Err(Refusal::SignInEnded(_))));
}

fn lock(user: &str, until: Timestamp) -> Lock {
    Lock {
        subject: subject_id("https://idp", user),
        kind: SubjectKind::Person,
        user: user.to_owned(),
        email: None,
        until,
        why: "TICKET-7".to_owned(),
        by: "carol".to_owned(),
        at: bench::BEGIN,
    }
}

#[tokio::test]
async fn who_is_locked_out_is_admitted_by_no_credential_and_named_in_the_refusal() {
    let (publish, locks) = watch::channel(Arc::default());
    let (sign_ins, _) = Ask::new(1, Duration::from_secs(1), |why| SessionAnswer::Unknown { why });
    let (station, _) = station_with(sign_ins, bench::trust(), locks);
    let until = bench::BEGIN.plus(Duration::from_secs(60));
    let admits = |name: &str, credential, now| station.admit(Arc::new(for_bench(name, &[], credential)), now);
    for credential in Credential::ALL {
        publish.send_replace(Arc::new(Locks::new([lock("al", until)])));
        let unproved = Unproved::from(admits("al", credential, bench::BEGIN).unwrap_err());
        assert_eq!(unproved.known.unwrap().subject().username(), "al");
        assert_eq!(
            (unproved.credential, unproved.refusal.status().as_u16()),
            (credential.as_str(), 403)
        );
        assert_eq!(
            unproved.refusal.in_words(),
            format!("al is locked by carol until {until}: TICKET-7")
        );
        assert!(admits("bo", credential, bench::BEGIN).is_ok());
        assert!(admits("al", credential, until).is_ok(), "it ends by itself");
        publish.send_replace(Arc::default());
        assert!(admits("al", credential, bench::BEGIN).is_ok(), "it was lifted");
    }
}

#[tokio::test]
async fn a_token_of_ours_whose_person_is_locked_out_is_told_of_the_lock_and_not_of_the_session_that_it_ended() {
    let (signing, pkcs8) = SigningKey::generate().unwrap();
    let mut trust = bench::trust();
    let published = SigningKey::key_set([&signing]).unwrap();
    trust.gateway = Arc::new(GatewayVerifier::new(OURS, published, Duration::ZERO));
    let (publish, locks) = watch::channel(Arc::default());
    let (sign_ins, mut asked) = Ask::new(8, Duration::from_secs(5), |why| SessionAnswer::Unknown { why });
    let (station, _) = station_with(sign_ins, trust, locks);
    let claims = GatewayClaims {
        issuer: OURS.to_owned(),
        audience: bench::CLUSTER.to_owned(),
        subject: subject_id("https://idp", "al").to_string(),
        session: "s".to_owned(),
        token_id: "t".to_owned(),
        issued_at: bench::BEGIN,
        expires_at: bench::BEGIN.plus(Duration::from_secs(600)),
        auth_time: bench::BEGIN,
        acr: None,
        identity: ProviderIdentity {
            iss: "https://idp".to_owned(),
            sub: "al".to_owned(),
            username: "al".to_owned(),
            groups: Vec::new(),
            uid: None,
            email: None,
            extra: BTreeMap::new(),
        },
    };
    let token = Mint::new(SigningKey::from_pkcs8(&pkcs8).unwrap())
        .sign(&claims)
        .unwrap();
    let from = "10.0.0.1".parse().unwrap();
    publish.send_replace(Arc::new(Locks::new([lock("al", Timestamp::MAX)])));
    let refused = station
        .token(Audience::Cluster(&cluster()), &token, from, bench::BEGIN)
        .await;
    let Err(Turned::Locked(out)) = refused else {
        panic!("{refused:?}");
    };
    let unproved = Unproved::from(out);
    assert_eq!(unproved.refusal.in_words(), "al is locked by carol: TICKET-7");
    assert!(asked.try_recv().is_err(), "no question is needed");
    publish.send_replace(Arc::default());
    let cluster = cluster();
    let (again, ()) = tokio::join!(
        station.token(Audience::Cluster(&cluster), &token, from, bench::BEGIN),
        async {
            let (_, reply) = asked.recv().await.unwrap();
            let why = "signed out".to_owned();
            reply.send(SessionAnswer::Ended { why }).unwrap();
        }
    );
    assert!(
        matches!(again, Err(Turned::Refused(Refusal::SignInEnded(_)))),
        "{again:?}"
    );
}
