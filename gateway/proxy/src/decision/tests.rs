//! What the cluster is asked on behalf of whom, and how often.

use std::sync::Arc;
use std::time::Duration;

use access::rbac::Attributes;
use access::rule::Call;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::identity::{Credential, by_another_token, for_bench, proved};
use crate::session::bench;

const BEGIN: Timestamp = bench::BEGIN;

type Reviews = mpsc::Receiver<(AccessQuestion, oneshot::Sender<AccessAnswer>)>;

fn station(complete: bool, heard: Timestamp) -> (Arc<Station>, Reviews) {
    let mut none = bench::rules(1, &[], &[]);
    none.complete = complete;
    let (_, rules) = watch::channel(Arc::new(none));
    let (confirm, reviews) = Ask::new(1_024, Duration::from_secs(5), |why| AccessAnswer::Unknown { why });
    let station = Station::new(settings(), rules, Arc::new(move || heard), confirm);
    (Arc::new(station), reviews)
}

fn settings() -> Settings {
    Settings {
        cluster: ClusterId::new(bench::CLUSTER).unwrap(),
        authorization: Authorization::Confirm,
        max_groups: 64,
        stale_after: Duration::from_secs(90),
        cache_entries: 1_000,
    }
}

async fn asks(station: &Station, user: &str, name: &str, now: Timestamp) -> Result<Allowed, Refusal> {
    let identity = for_bench(user, &["dev"], Credential::GatewayToken);
    let asked = Attributes {
        verb: "get",
        group: "",
        resource: "pods",
        subresource: "",
        namespace: "shop",
        name,
        path: "",
        is_resource: true,
    };
    let case = Case {
        call: Call::asking(bench::CLUSTER, asked),
        subject: identity.subject(),
        impersonation: None,
        source: None,
        signed_in: None,
        acr: None,
        reason_stated: false,
        now,
        on_behalf: None,
    };
    station.judge(&case).await.0
}

fn limit(judged: Result<Allowed, Refusal>) -> Option<Limit> {
    match judged {
        Err(Refusal::Limit(limit)) => Some(limit),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_too_much_is_told_so_and_takes_no_answer_from_others() {
    let (station, mut reviews) = station(true, BEGIN);
    let flood: Vec<_> = (0..1_000)
        .map(|number| {
            let station = Arc::clone(&station);
            // A client that leaves as soon as it has asked frees nothing by that.
            tokio::spawn(async move {
                let name = format!("pod-{number}");
                let asked = asks(&station, "al", &name, BEGIN);
                tokio::time::timeout(Duration::from_secs(1), asked).await.ok()
            })
        })
        .collect();
    let mut of_al = Vec::new();
    while of_al.len() < ASKING.at_once {
        of_al.push(reviews.recv().await.unwrap());
    }
    let bo = tokio::spawn({
        let station = Arc::clone(&station);
        async move { asks(&station, "bo", "pod-1", BEGIN).await.is_ok() }
    });
    let (question, reply) = reviews.recv().await.unwrap();
    assert_eq!(&*question.user, "bo", "al has no more places than {}", ASKING.at_once);
    reply.send(AccessAnswer::Yes { reason: None }).unwrap();
    assert!(bo.await.unwrap());
    let mut told = 0;
    for asked in flood {
        if let Some(judged) = asked.await.unwrap() {
            assert_eq!(limit(judged), Some(Limit::Questions(50)));
            told += 1;
        }
    }
    assert_eq!(told, 1_000 - 251, "all above the burst");
}

#[tokio::test(start_paused = true)]
async fn a_no_is_remembered_for_two_seconds_and_a_silence_not_at_all() {
    let (station, mut reviews) = station(true, BEGIN);
    let mut asked = 0;
    for (seconds, answer, is_asked) in [
        (0, AccessAnswer::Unknown { why: "late".into() }, true),
        (0, AccessAnswer::No { reason: None }, true),
        (1, AccessAnswer::No { reason: None }, false),
        (2, AccessAnswer::Yes { reason: None }, true),
    ] {
        let wants = matches!(answer, AccessAnswer::Yes { .. });
        let station = Arc::clone(&station);
        let now = BEGIN.plus(Duration::from_secs(seconds));
        let judged = tokio::spawn(async move { asks(&station, "al", "pod", now).await.is_ok() });
        if is_asked {
            reviews.recv().await.unwrap().1.send(answer).unwrap();
            asked += 1;
        }
        assert_eq!(judged.await.unwrap(), wants, "after {seconds} s");
    }
    assert_eq!(asked, 3);
    assert!(reviews.try_recv().is_err());
}

#[tokio::test]
async fn before_the_first_list_a_refusal_speaks_of_no_seconds() {
    for (complete, heard, said) in [
        (false, BEGIN, "has not learnt all rules"),
        (true, Timestamp::EPOCH, "has not learnt all rules"),
        (
            true,
            Timestamp::from_unix_seconds(BEGIN.unix_seconds() - 91),
            "for 91 s",
        ),
    ] {
        let (station, mut reviews) = station(complete, heard);
        let judged = tokio::spawn(async move { asks(&station, "al", "pod", BEGIN).await });
        // Where everything was listed once, the cluster's own word counts; before, nobody knows what is forbidden.
        if let Some((_, reply)) = reviews.recv().await {
            assert!(complete && heard != Timestamp::EPOCH);
            reply.send(AccessAnswer::No { reason: None }).unwrap();
        }
        let words = judged.await.unwrap().unwrap_err().in_words();
        assert!(words.contains(said), "{words}");
    }
}

#[tokio::test]
async fn a_role_is_looked_for_only_when_nobody_is_asked_any_more() {
    let (station, mut reviews) = station(true, BEGIN);
    let has_suggested = || station.rules().borrow().snapshot.has_suggested();
    for (answer, suggests) in [
        (AccessAnswer::Yes { reason: None }, false),
        (AccessAnswer::No { reason: None }, true),
    ] {
        let judging = Arc::clone(&station);
        let judged = tokio::spawn(async move { asks(&judging, "al", "pod", BEGIN).await.is_ok() });
        let (_, reply) = reviews.recv().await.unwrap();
        assert!(!has_suggested(), "the cluster has not answered yet");
        reply.send(answer).unwrap();
        judged.await.unwrap();
        assert_eq!(has_suggested(), suggests);
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_in_asking_is_free_again_once_its_question_is_answered() {
    let (station, mut reviews) = station(true, BEGIN);
    let ask = |number: usize| {
        let station = Arc::clone(&station);
        tokio::spawn(async move { asks(&station, "al", &format!("pod-{number}"), BEGIN).await.is_ok() })
    };
    let asked: Vec<_> = (0..=ASKING.at_once).map(ask).collect();
    let mut questions = Vec::new();
    while questions.len() < ASKING.at_once {
        questions.push(reviews.recv().await.unwrap());
    }
    tokio::task::yield_now().await;
    assert!(reviews.try_recv().is_err(), "one more than there are places");
    let (_, reply) = questions.pop().unwrap();
    reply.send(AccessAnswer::Yes { reason: None }).unwrap();
    questions.push(reviews.recv().await.unwrap());
    for (_, reply) in questions {
        reply.send(AccessAnswer::Yes { reason: None }).unwrap();
    }
    for judged in asked {
        assert!(judged.await.unwrap());
    }
}

/// A request to watch pods, as a trail has it before its decision.
fn watches_pods() -> (Trail, RequestFacts) {
    let peer = crate::audit::Peer {
        ip: "10.0.0.1".into(),
        port: 1,
        listener: "l".into(),
    };
    let at = crate::clock::Reading { wall: BEGIN, mono: 0 };
    let trail = Trail::new(at, peer, "HTTP/2.0", http::Method::GET, &http::HeaderMap::new());
    let target = model::request::Target::parse(b"/api/v1/namespaces/shop/pods?watch=1").unwrap();
    let wire = model::request::Wire {
        method: "GET",
        wants_upgrade: false,
        impersonates: false,
    };
    (trail, RequestFacts::classify(&target, wire).unwrap())
}

async fn decides(station: &Station, identity: &Identity) -> Result<Vec<String>, Refusal> {
    let (trail, facts) = watches_pods();
    let decided = station.decide(&proved(identity), None, &facts, &trail).await?;
    let mut headers = http::HeaderMap::new();
    match &decided.permit {
        Permitted::Read(permit) => permit.outgoing().add_to(&mut headers),
        Permitted::Effect(permit) => permit.outgoing().add_to(&mut headers),
    }
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    Ok(headers.iter().map(line).collect())
}

#[tokio::test]
async fn a_yes_to_one_token_is_none_to_another_of_the_same_sign_in() {
    let with_gold = serde_json::json!({
        "apiVersion": "gatescribe.dev/v1", "kind": "ClusterAccessRule", "metadata": { "name": "gold" },
        "spec": { "effect": "allow", "subjects": { "groups": ["dev"] },
            "kubernetes": { "verbs": ["watch"], "resources": ["pods"] }, "obligations": { "stepUp": { "acr": "gold" } } },
    });
    let (_rules, newest) = watch::channel(Arc::new(bench::rules(1, &["dev"], &[with_gold])));
    let (confirm, _reviews) = Ask::new(1, Duration::from_secs(5), |why| AccessAnswer::Unknown { why });
    let station = Station::new(settings(), newest, Arc::new(|| BEGIN), confirm);
    let plain = for_bench("al", &["dev"], Credential::ProviderToken);
    let gold = by_another_token(&plain, Some("gold"), &[("scope", "all")]);
    let narrow = by_another_token(&plain, Some("gold"), &[("scope", "narrow")]);

    for _ in 0..2 {
        let sent = decides(&station, &gold).await.unwrap();
        assert!(sent.contains(&"impersonate-extra-scope: all".to_owned()), "{sent:?}");
        let sent = decides(&station, &narrow).await.unwrap();
        assert!(sent.contains(&"impersonate-extra-scope: narrow".to_owned()), "{sent:?}");
        let refused = decides(&station, &plain).await.unwrap_err();
        assert!(
            refused.in_words().contains("fresh sign-in of the kind gold"),
            "{}",
            refused.in_words()
        );
    }
    assert_eq!(
        station.remembered(),
        2,
        "what is allowed is remembered, each for its own token"
    );
}
