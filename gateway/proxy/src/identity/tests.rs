//! Tokens of ServiceAccounts beside a flood of texts that look like them.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
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
    let (sessions, _) = Ask::new(1, Duration::from_secs(1), |why| SessionAnswer::Unknown { why });
    station_asking(sessions)
}

fn station_asking(
    sessions: Ask<SessionQuestion, SessionAnswer>,
) -> (Arc<Station>, mpsc::Receiver<Asked<TokenQuestion, TokenAnswer>>) {
    let (_, trust) = watch::channel(Arc::new(bench::trust()));
    let (keys, _) = Ask::new(1, Duration::from_secs(1), |_| KeyAnswer::Unknown);
    let (tokens, asked) = Ask::new(1_024, Duration::from_secs(5), |why| TokenAnswer::Unknown { why });
    let questions = Questions {
        keys,
        sessions,
        tokens: BTreeMap::from([(cluster(), tokens)]),
    };
    let acceptance = Acceptance {
        service_account_audience: OURS.to_owned(),
        cache_entries: 100,
        session_check: Duration::from_secs(60),
        longest_sign_in: Duration::from_secs(86_400),
        certificates: HashMap::new(),
    };
    (Arc::new(Station::new(trust, questions, acceptance).unwrap()), asked)
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
    assert!(station.token(&cluster(), &known, near, begin).await.is_ok());
    let later = begin.plus(Duration::from_secs(60));
    let flood: Vec<_> = (0..10_000)
        .map(|number| {
            let station = Arc::clone(&station);
            tokio::spawn(async move {
                let garbage = token(OURS, &format!("garbage-{number}"));
                station.token(&cluster(), &garbage, near, later).await.is_err()
            })
        })
        .collect();
    tokio::task::yield_now().await;
    let of_known = station.token(&cluster(), &known, near, later).await;
    assert!(
        of_known.is_ok(),
        "asked about again from the same address: {of_known:?}"
    );
    let of_fresh = station.token(&cluster(), &fresh, far, later).await;
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
        .token(&cluster(), &token("https://other", "a"), from, bench::BEGIN)
        .await;
    assert!(
        matches!(&refused, Err(Refusal::BadCredential(why)) if why.contains(OURS)),
        "{refused:?}"
    );
    assert_eq!(*count.lock().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_asks_about_a_session_after_its_end_gets_no_answer_from_before_it() {
    let (sessions, mut asked) = Ask::new(8, Duration::from_secs(60), |why| SessionAnswer::Unknown { why });
    let (station, _) = station_asking(sessions);
    let identity = Arc::new(for_bench("al", &["dev"], Credential::GatewayToken));
    let looks = || {
        let (station, identity) = (Arc::clone(&station), Arc::clone(&identity));
        tokio::spawn(async move { station.still(&identity, None, bench::BEGIN, bench::BEGIN).await })
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
    };
    of_before.send(live).unwrap();
    of_after
        .send(SessionAnswer::Ended {
            why: "signed out".to_owned(),
        })
        .unwrap();
    assert!(before.await.unwrap().is_ok());
    assert!(matches!(after.await.unwrap(), Err(Refusal::SessionEnded(_))));
}
