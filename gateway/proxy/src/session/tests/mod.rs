//! Which long calls a change ends, and which it leaves alone.

mod behalf;
mod demanded;
mod live_services;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use access::decide::Authorization;
use model::ask::{AccessAnswer, SessionAnswer};
use model::lock::{Lock, Locks};
use model::time::Timestamp;
use serde_json::json;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::bench::{BEGIN, World, round};
use super::call::Entry;
use super::live::Counted;
use super::{Cause, EndError, Grounds, LongCall};
use crate::audit::Anchor;
use crate::identity::{Credential, Identity, expiring, for_bench};

const EXEC: &str = "/api/v1/namespaces/shop/pods/web/exec?command=sh&stdout=true";

fn counted() -> Counted {
    Counted {
        up: Arc::default(),
        down: Arc::default(),
    }
}

fn person(name: &str, group: &str) -> Arc<Identity> {
    Arc::new(for_bench(name, &[group], Credential::GatewayToken))
}

fn advance(world: &World, by: Duration) {
    let now = BEGIN.plus(by).unix_nanos();
    world.hand.store(now, Ordering::Relaxed);
}

/// Until nobody's answer is waited for.
async fn all_is_known(world: &World) {
    while !world.registry.chosen(Entry::waits_for_an_answer).is_empty() {
        tokio::task::yield_now().await;
    }
}

fn open(calls: &[&LongCall]) -> Vec<bool> {
    calls.iter().map(|call| !call.is_over()).collect()
}

#[tokio::test]
async fn a_change_of_rules_ends_only_what_is_now_refused() {
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev", "ops"], &[]);
    let dev = world.enter(&world.watch(person("al", "dev"), "shop"));
    let ops = world.enter(&world.watch(person("bo", "ops"), "shop"));
    world.rules(&["ops"], &[]);
    world.keeper.rules_changed(&world.cluster).await;
    assert_eq!(open(&[&dev, &ops]), [false, true]);
    assert_eq!(dev.why(), "ended by the gateway: no role and no rule allows it");
    assert!(dev.ender().is_cancelled() && !ops.ender().is_cancelled());
    assert_eq!(world.registry.metrics.ended_for(Cause::Rules), 1);
}

#[tokio::test]
async fn a_new_forbid_ends_what_it_reaches_and_is_named_in_the_record() {
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &[]);
    let shop = world.enter(&world.watch(person("al", "dev"), "shop"));
    let bank = world.enter(&world.watch(person("al", "dev"), "bank"));
    let forbid = json!({"apiVersion": "gatescribe.dev/v1", "kind": "AccessRule", "metadata": {"name": "shut", "namespace": "shop"},
        "spec": {"effect": "forbid", "subjects": {"groups": ["*"]}, "kubernetes": {"verbs": ["watch"], "resources": ["pods"]}}});
    world.rules(&["dev"], &[forbid]);
    world.keeper.rules_changed(&world.cluster).await;
    assert_eq!(open(&[&shop, &bank]), [false, true]);
    assert_eq!(
        shop.why(),
        "ended by the gateway: a rule forbids it (AccessRule shop/shut)"
    );
}

#[tokio::test]
async fn a_session_that_ends_takes_its_own_calls_and_no_others() {
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &[]);
    let (al, bo) = (person("al", "dev"), person("bo", "dev"));
    let (first, second) = (
        world.enter(&world.watch(Arc::clone(&al), "a")),
        world.enter(&world.watch(Arc::clone(&al), "b")),
    );
    let other = world.enter(&world.watch(bo, "a"));
    let ended = world.registry.end_sign_in(al.sign_in(), "you signed out", BEGIN);
    assert_eq!(ended, 2);
    assert_eq!(open(&[&first, &second, &other]), [false, false, true]);
    let late = world.enter(&world.watch(al, "c"));
    assert!(late.is_over(), "authenticated before the end, entered after it");
    assert_eq!(late.why(), "ended by the gateway: you signed out");
}

#[tokio::test]
async fn a_session_that_runs_out_is_found_by_the_minute_and_silence_holds_for_another() {
    let mut world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &[]);
    let call = world.enter(&world.watch(person("al", "dev"), "a"));
    world.keeper.time_passed(&world.cluster).await;
    assert!(world.sign_ins.try_recv().is_err(), "nobody is asked before the minute");
    for (seconds, answer, stands) in [
        (61, SessionAnswer::Unknown { why: "no disk".into() }, true),
        (
            100,
            SessionAnswer::Live {
                ends_at: BEGIN.plus(Duration::from_secs(130)),
                stated_reason: None,
                subject: None,
            },
            true,
        ),
        (131, SessionAnswer::Unknown { why: "no disk".into() }, true),
        (170, SessionAnswer::Unknown { why: "no disk".into() }, true),
        (192, SessionAnswer::Unknown { why: "no disk".into() }, false),
    ] {
        advance(&world, Duration::from_secs(seconds));
        world.keeper.time_passed(&world.cluster).await;
        let (question, reply) = world.sign_ins.recv().await.unwrap();
        assert_eq!(&*question.session, "session-of-al");
        reply.send(answer).unwrap();
        all_is_known(&world).await;
        assert_eq!(!call.is_over(), stands, "after {seconds} s");
    }
    assert_eq!(
        call.why(),
        "ended by the gateway: the sign-in cannot be looked up: no disk"
    );
}

fn withdraw(trust: &mut oidc::Trust) {
    trust.generation += 1;
    trust.keys.clear();
}

const WITHDRAWN: &str = "ended by the gateway: the key that signed the token is published by its issuer no longer";

#[tokio::test]
async fn a_call_whose_key_was_withdrawn_just_before_it_entered_is_found_by_the_next_beat() {
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &[]);
    let of = |name: &str| world.watch(Arc::new(for_bench(name, &["dev"], Credential::ProviderToken)), "a");
    let before = world.enter(&of("al"));
    world.keeper.time_passed(&world.cluster).await;
    assert!(!before.is_over(), "its key is there");
    let proved = of("bo");
    world.trust(withdraw);
    world.keeper.keys_changed();
    let late = world.enter(&proved);
    assert_eq!(open(&[&before, &late]), [false, true]);
    world.keeper.time_passed(&world.cluster).await;
    assert_eq!(open(&[&late]), [false]);
    assert_eq!(late.why(), WITHDRAWN);
}

/// What ends a call may come while its record becomes durable and its recording is made ready.
#[tokio::test]
async fn what_has_to_end_before_it_was_sent_is_refused_with_the_reason() {
    let world = World::new(16, Authorization::Enforce);
    world.rules(&["dev"], &[]);
    let enter = |name: &str| world.enter(&world.watch(person(name, "dev"), "a"));
    let all = ["al", "bo", "cy", "di"].map(enter);
    assert!(all.iter().all(|call| call.refusal().is_none()));
    let [al, bo, cy, di] = &all;
    let locks = Locks::new([lock(&person("al", "dev"), Timestamp::MAX)]);
    world.registry.lock_out(Arc::new(locks), BEGIN);
    world.registry.end_sign_in("session-of-bo", "you signed out", BEGIN);
    world.draining.cancel();
    assert!(cy.refusal().is_none(), "a drain refuses nothing that was allowed");
    world.rules(&[], &[]);
    world.keeper.rules_changed(&world.cluster).await;
    for (call, code, words) in [
        (al, "locked", "al is locked by carol"),
        (bo, "sessionEnded", "you signed out"),
        (cy, "ended", "no role and no rule allows it"),
        (di, "ended", "no role and no rule allows it"),
    ] {
        let refusal = call.refusal().unwrap();
        assert_eq!(refusal.code(), code);
        assert!(refusal.in_words().starts_with(words), "{}", refusal.in_words());
    }
    let late = enter("bo").refusal().unwrap();
    assert_eq!(late.code(), "sessionEnded", "proved before it, entered after it");
}

/// A session that begins while it is ended: either side sees the other.
#[test]
fn what_ends_at_the_moment_in_which_it_becomes_a_session_ends() {
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &[]);
    for round in 0..500 {
        let al = person(&format!("al-{round}"), "dev");
        let call = world.enter(&world.call(Arc::clone(&al), EXEC, true));
        let both = std::sync::Barrier::new(2);
        let over = std::thread::scope(|scope| {
            scope.spawn(|| {
                both.wait();
                world.registry.end_sign_in(al.sign_in(), "over", BEGIN);
            });
            both.wait();
            call.becomes_session(counted())
        });
        assert!(over.is_cancelled(), "round {round}");
    }
}

#[tokio::test]
async fn a_call_whose_judging_breaks_ends_and_the_others_are_judged() {
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev", "ops"], &[]);
    let lost = ["al", "bo", "cy"].map(|name| world.enter(&world.watch(person(name, "dev"), "a")));
    let kept = ["di", "ed"].map(|name| world.enter(&world.watch(person(name, "ops"), "a")));
    assert_eq!(world.registry.trouble(BEGIN), None);
    world.rules(&["ops"], &[]);
    world.breaks.store(2, Ordering::Relaxed);
    world.keeper.rules_changed(&world.cluster).await;
    let why = "ended by the gateway: whether it may go on cannot be told: a fault of the gateway";
    let broken = lost.iter().chain(&kept).filter(|call| call.why() == why);
    assert_eq!(broken.filter(|call| call.is_over()).count(), 1);
    assert!(lost.iter().all(LongCall::is_over), "behind it, too");
    assert!(kept.iter().filter(|call| !call.is_over()).count() >= 1);
    assert_eq!(world.registry.metrics.ended_for(Cause::Unknown), 1);
    let trouble = world.registry.trouble(BEGIN).unwrap();
    assert!(
        trouble.starts_with("judging them anew has broken, 1 in all"),
        "{trouble}"
    );
    assert_eq!(world.registry.trouble(BEGIN.plus(Duration::from_secs(3_600))), None);
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_breaks_off_is_begun_again_and_counted_until_it_has_to_stop() {
    let world = World::new(8, Authorization::Enforce);
    let (stop, begun) = (CancellationToken::new(), Arc::<AtomicU64>::default());
    let runs = Arc::clone(&begun);
    world.keeper.goes_on(&stop, move |_, _| {
        let number = runs.fetch_add(1, Ordering::Relaxed);
        async move {
            assert!(number >= 3, "a fault of the loop");
            std::future::pending::<()>().await;
        }
    });
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(begun.load(Ordering::Relaxed), 4);
    let trouble = world.registry.trouble(BEGIN).unwrap();
    assert!(trouble.contains(" 3 in all "), "{trouble}");
}

#[tokio::test]
async fn a_key_that_its_issuer_withdraws_ends_what_it_vouched_for() {
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &[]);
    let token = Arc::new(for_bench("al", &["dev"], Credential::ProviderToken));
    let by_provider = world.enter(&world.watch(token, "a"));
    let by_gateway = world.enter(&world.watch(person("bo", "dev"), "a"));
    world.trust(|trust| trust.generation += 1);
    world.keeper.keys_changed();
    assert_eq!(open(&[&by_provider, &by_gateway]), [true, true], "the key is there");
    world.trust(withdraw);
    world.keeper.keys_changed();
    assert_eq!(open(&[&by_provider, &by_gateway]), [false, true]);
    assert_eq!(by_provider.why(), WITHDRAWN);
    assert_eq!(world.registry.metrics.ended_for(Cause::Credential), 1);
}

/// An exec or a copy goes on when the token that began it has expired, and ends as a sign-in does.
#[tokio::test]
async fn ses_09_no_expiry_of_a_token_ends_a_call_and_its_longest_sign_in_does() {
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &[]);
    let pod = "/api/v1/namespaces/a/pods/web";
    let asked = [
        ("/api/v1/namespaces/a/pods?watch=true".to_owned(), false),
        (format!("{pod}/exec?command=sh&stdout=true"), true),
        (format!("{pod}/portforward?ports=80"), true),
    ];
    let mut held = Vec::new();
    for credential in [Credential::ServiceAccount, Credential::ProviderToken] {
        for (target, switches) in &asked {
            let expires = BEGIN.plus(Duration::from_secs(3_600));
            let identity = Arc::new(expiring(&for_bench("al", &["dev"], credential), expires));
            held.push(world.enter(&world.call(identity, target, *switches)));
        }
    }
    for (seconds, go_on) in [(601, true), (3_601, true), (86_399, true), (86_400, false)] {
        advance(&world, Duration::from_secs(seconds));
        world.keeper.time_passed(&world.cluster).await;
        let over = held.iter().filter(|call| call.is_over()).count();
        assert_eq!(over, if go_on { 0 } else { held.len() }, "after {seconds} s");
    }
    for call in &held {
        assert_eq!(
            call.why(),
            "ended by the gateway: without a sign-in at the gateway a call goes on no longer than a sign-in lasts"
        );
    }
}

#[tokio::test]
async fn a_call_ends_at_the_longest_that_its_rules_allow() {
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &[]);
    let enter = || world.enter(&world.watch(Arc::new(for_bench("al", &["dev"], Credential::ServiceAccount)), "a"));
    let (short, long) = (enter(), enter());
    short.lasts_at_most(Duration::from_secs(90 * 60));
    advance(&world, Duration::from_secs(90 * 60 - 1));
    world.keeper.time_passed(&world.cluster).await;
    assert_eq!(open(&[&short, &long]), [true, true]);
    advance(&world, Duration::from_secs(90 * 60));
    world.keeper.time_passed(&world.cluster).await;
    assert_eq!(open(&[&short, &long]), [false, true]);
    assert_eq!(short.why(), "ended by the gateway: it has lasted 90 min, its limit");
}

/// What the store says of al's sign-in, with the groups of now.
fn in_groups(groups: &[&str]) -> SessionAnswer {
    SessionAnswer::Live {
        ends_at: Timestamp::MAX,
        stated_reason: None,
        subject: Some(Box::new(
            for_bench("al", groups, Credential::GatewayToken).subject().clone(),
        )),
    }
}

#[tokio::test]
async fn oidc_28_whose_group_is_taken_at_the_provider_loses_what_is_open_by_it_and_nothing_else() {
    let mut world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &[]);
    let hers = world.enter(&world.watch(person("al", "dev"), "a"));
    let other = world.enter(&world.watch(person("bo", "dev"), "a"));
    for (groups, stands) in [(&["other", "dev"][..], true), (&["other"][..], false)] {
        assert_eq!(world.registry.sign_in_changed("session-of-al", BEGIN), 1);
        world.keeper.time_passed(&world.cluster).await;
        let (question, reply) = world.sign_ins.recv().await.unwrap();
        assert_eq!(&*question.session, "session-of-al");
        reply.send(in_groups(groups)).unwrap();
        all_is_known(&world).await;
        assert_eq!(open(&[&hers, &other]), [stands, true], "{groups:?}");
    }
    let why = hers.why();
    let said = "ended by the gateway: what the identity provider says of you has changed: no role";
    assert!(why.starts_with(said), "{why}");
    assert!(world.sign_ins.try_recv().is_err(), "nobody asks about bo");
}

#[tokio::test]
async fn oidc_28_a_call_that_enters_just_after_the_change_is_looked_up_at_once() {
    let mut world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &[]);
    world.registry.sign_in_changed("session-of-al", BEGIN);
    let late = world.enter(&world.watch(person("al", "dev"), "a"));
    world.keeper.time_passed(&world.cluster).await;
    let (_, reply) = world.sign_ins.recv().await.unwrap();
    // It changes once more while that is looked up: what is found now may be of before.
    world.registry.sign_in_changed("session-of-al", BEGIN);
    reply.send(in_groups(&["dev"])).unwrap();
    all_is_known(&world).await;
    assert_eq!(open(&[&late]), [true]);
    world.keeper.time_passed(&world.cluster).await;
    let (_, reply) = world.sign_ins.recv().await.unwrap();
    reply.send(in_groups(&[])).unwrap();
    all_is_known(&world).await;
    assert_eq!(open(&[&late]), [false]);
}

#[tokio::test]
async fn what_the_cluster_alone_allows_is_asked_again_and_ends_at_its_no() {
    let mut world = World::new(8, Authorization::Confirm);
    world.rules(&["dev"], &[]);
    let call = world.enter(&world.watch(person("al", "dev"), "a"));
    world.rules(&[], &[]);
    for (seconds, answer, stands) in [
        (0, AccessAnswer::Yes { reason: None }, true),
        (1, AccessAnswer::Yes { reason: None }, true),
        (12, AccessAnswer::Yes { reason: None }, true),
        (
            33,
            AccessAnswer::No {
                reason: Some("webhook".into()),
            },
            false,
        ),
    ] {
        advance(&world, Duration::from_secs(seconds));
        if seconds == 0 {
            world.keeper.rules_changed(&world.cluster).await;
        } else {
            world.keeper.time_passed(&world.cluster).await;
        }
        let (_, reply) = world.reviews.recv().await.unwrap();
        reply.send(answer).unwrap();
        if !stands {
            call.ender().cancelled().await;
        }
        // Whoever asked has to see the answer before the next look.
        all_is_known(&world).await;
        assert_eq!(!call.is_over(), stands, "after {seconds} s");
    }
    assert!(call.why().contains("the cluster agrees: webhook"), "{}", call.why());
}

/// Each API server hears of a binding that is gone by itself: the one that is asked may be the last to hear.
#[tokio::test]
async fn a_yes_of_a_cluster_that_has_not_heard_yet_is_asked_once_more_within_the_second() {
    let mut world = World::new(8, Authorization::Confirm);
    world.rules(&["dev"], &[]);
    let lost = world.enter(&world.watch(person("al", "dev"), "a"));
    world.rules(&[], &[]);
    world.keeper.rules_changed(&world.cluster).await;
    let (_, reply) = world.reviews.recv().await.unwrap();
    reply.send(AccessAnswer::Yes { reason: None }).unwrap();
    all_is_known(&world).await;
    assert!(!lost.is_over());
    advance(&world, Duration::from_millis(499));
    world.keeper.time_passed(&world.cluster).await;
    assert!(world.reviews.try_recv().is_err(), "not at once: it has to hear of it");
    advance(&world, Duration::from_millis(500));
    world.keeper.time_passed(&world.cluster).await;
    let (_, reply) = world.reviews.recv().await.unwrap();
    reply.send(AccessAnswer::No { reason: None }).unwrap();
    lost.ender().cancelled().await;
    assert!(lost.why().contains("no role allows it"), "{}", lost.why());

    // What the cluster alone has always allowed is asked at its own pace.
    let grounds = Grounds {
        version: world.station.version(),
        not_after: Timestamp::MAX,
        from_cluster: true,
        momentary: false,
    };
    let trail = world.watch(person("bo", "dev"), "a");
    let kept = world.registry.enter(trail, None, &world.draining, grounds).unwrap();
    advance(&world, Duration::from_secs(9));
    world.keeper.time_passed(&world.cluster).await;
    assert!(world.reviews.try_recv().is_err() && !kept.is_over());
}

#[tokio::test]
async fn a_yes_that_ends_is_decided_anew_at_its_end() {
    let world = World::new(8, Authorization::Enforce);
    let until = BEGIN.plus(Duration::from_secs(30));
    let rule = json!({"apiVersion": "gatescribe.dev/v1", "kind": "AccessRule", "metadata": {"name": "tonight"},
        "spec": {"effect": "allow", "until": until.to_string(), "subjects": {"groups": ["*"]},
                 "kubernetes": {"verbs": ["watch"], "resources": ["pods"]}}});
    world.rules(&[], &[rule]);
    let identity = Arc::new(for_bench("al", &["dev"], Credential::ServiceAccount));
    let trail = world.watch(identity, "a");
    let grounds = Grounds {
        version: 1,
        not_after: until,
        from_cluster: false,
        momentary: true,
    };
    let call = world.registry.enter(trail, None, &world.draining, grounds).unwrap();
    advance(&world, Duration::from_secs(29));
    world.keeper.time_passed(&world.cluster).await;
    assert!(!call.is_over());
    advance(&world, Duration::from_secs(30));
    world.keeper.time_passed(&world.cluster).await;
    assert!(call.is_over());
}

#[tokio::test]
async fn a_call_that_was_allowed_by_rules_just_replaced_is_found_by_the_next_beat() {
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &[]);
    let identity = Arc::new(for_bench("al", &["dev"], Credential::ServiceAccount));
    let trail = world.watch(identity, "a");
    let grounds = Grounds {
        version: 1,
        not_after: Timestamp::MAX,
        from_cluster: false,
        momentary: false,
    };
    world.rules(&[], &[]);
    world.keeper.rules_changed(&world.cluster).await;
    let call = world.registry.enter(trail, None, &world.draining, grounds).unwrap();
    assert!(!call.is_over());
    world.keeper.time_passed(&world.cluster).await;
    assert!(call.is_over());
}

#[tokio::test]
async fn a_full_table_refuses_and_a_place_comes_back_with_the_end() {
    let world = World::new(1, Authorization::Enforce);
    let trail = world.watch(person("al", "dev"), "a");
    let first = world.enter(&trail);
    let grounds = Grounds {
        version: 0,
        not_after: Timestamp::MAX,
        from_cluster: false,
        momentary: false,
    };
    let enter = || world.registry.enter(Arc::clone(&trail), None, &world.draining, grounds);
    let full = enter().unwrap_err();
    assert_eq!(
        full.to_string(),
        "1 watches and other long calls go through this gateway, which is its limit"
    );
    drop(first);
    assert!(world.registry.is_empty());
    assert!(enter().is_ok());
}

#[tokio::test]
async fn a_drain_ends_all_and_says_so() {
    let world = World::new(8, Authorization::Enforce);
    let call = world.enter(&world.watch(person("al", "dev"), "a"));
    world.draining.cancel();
    assert!(call.ender().is_cancelled());
    assert_eq!(call.why(), "ended by the gateway: it stops");
}

#[tokio::test]
async fn of_many_calls_exactly_those_of_the_lost_binding_end() {
    let found = round(1_000).await;
    assert_eq!((found.ended, found.open), (10, 990));
}

#[tokio::test]
async fn a_call_is_listed_when_it_has_become_a_session_and_ends_once_with_words() {
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &[]);
    let al = person("al", "dev");
    let (watch, session) = (
        world.enter(&world.watch(Arc::clone(&al), "shop")),
        world.enter(&world.watch(Arc::clone(&al), "bank")),
    );
    assert!(world.registry.sessions().is_empty(), "watches are no sessions");
    let (up, down) = (Arc::default(), Arc::<AtomicU64>::default());
    session.becomes_session(Counted {
        up,
        down: Arc::clone(&down),
    });
    down.store(7, Ordering::Relaxed);
    let listed = world.registry.sessions();
    assert_eq!(listed.len(), 1, "{listed:?}");
    let found = &listed[0];
    assert_eq!(
        (found.namespace.as_str(), found.bytes_in, found.bytes_out),
        ("bank", 0, 7)
    );
    assert_eq!(
        (found.user.as_str(), &found.subject),
        (al.subject().username(), al.subject().id())
    );
    assert_eq!(world.registry.session(&found.id).as_ref(), Some(found));
    assert_eq!(world.registry.end_one("another", "x"), Err(EndError::Over));
    assert_eq!(world.registry.end_one(&found.id, "ended by eve: over"), Ok(()));
    assert_eq!(world.registry.end_one(&found.id, "again"), Err(EndError::Over));
    assert_eq!(open(&[&watch, &session]), [true, false]);
    assert_eq!(session.why(), "ended by the gateway: ended by eve: over");
    assert_eq!(world.registry.metrics.ended_for(Cause::Person), 1);
    assert!(
        world.registry.sessions().is_empty(),
        "what was told to end is not listed"
    );
}

fn lock(who: &Identity, until: Timestamp) -> Lock {
    let subject = who.subject();
    Lock {
        subject: subject.id().clone(),
        kind: subject.kind(),
        user: subject.username().to_owned(),
        email: None,
        until,
        why: "TICKET-7".to_owned(),
        by: "carol".to_owned(),
        at: BEGIN,
    }
}

#[tokio::test]
async fn a_lock_ends_the_calls_of_its_subject_by_every_credential_and_no_others_until_it_is_over() {
    let world = World::new(3 * Credential::ALL.len(), Authorization::Enforce);
    world.rules(&["dev"], &[]);
    let of = |name: &str, credential| world.enter(&world.watch(Arc::new(for_bench(name, &["dev"], credential)), "a"));
    let hers: Vec<LongCall> = Credential::ALL.map(|credential| of("al", credential)).into();
    let his: Vec<LongCall> = Credential::ALL.map(|credential| of("bo", credential)).into();
    let until = BEGIN.plus(Duration::from_secs(60));
    let locks = Arc::new(Locks::new([lock(&person("al", "dev"), until)]));
    assert_eq!(
        world.registry.lock_out(Arc::clone(&locks), BEGIN),
        Credential::ALL.len()
    );
    assert!(hers.iter().all(|call| call.is_over() && call.ender().is_cancelled()));
    assert!(his.iter().all(|call| !call.is_over() && !call.ender().is_cancelled()));
    let why = format!("ended by the gateway: al is locked by carol until {until}: TICKET-7");
    assert!(hers.iter().all(|call| call.why() == why), "{}", hers[0].why());
    assert_eq!(
        world.registry.metrics.ended_for(Cause::Locked),
        Credential::ALL.len() as u64
    );
    assert_eq!(world.registry.lock_out(Arc::clone(&locks), BEGIN), 0, "once");
    let late = of("al", Credential::Certificate);
    assert_eq!(late.why(), why, "authenticated before the lock, entered after it");
    assert!(late.is_over());
    advance(&world, Duration::from_secs(60));
    assert!(!of("al", Credential::Certificate).is_over(), "it has ended by itself");
    advance(&world, Duration::ZERO);
    assert_eq!(world.registry.lock_out(Arc::default(), BEGIN), 0);
    assert!(!of("al", Credential::Certificate).is_over(), "it was lifted");
}

/// By the clock of the test: nothing here waits for a beat that comes later.
#[tokio::test(start_paused = true)]
async fn ses_08_whatever_changes_ends_what_it_refuses_within_two_seconds() {
    type Change = fn(&World, &Identity);
    let changes: [(&str, Credential, Change); 5] = [
        ("a lock", Credential::Certificate, |world, who| {
            let locks = Locks::new([lock(who, Timestamp::MAX)]);
            world.registry.lock_out(Arc::new(locks), BEGIN);
        }),
        ("a removed binding", Credential::ServiceAccount, |world, _| {
            world.rules(&["ops"], &[]);
        }),
        ("a new forbid", Credential::GatewayToken, |world, _| {
            let forbid = json!({"apiVersion": "gatescribe.dev/v1", "kind": "AccessRule", "metadata": {"name": "shut"},
                "spec": {"effect": "forbid", "subjects": {"groups": ["dev"]},
                         "kubernetes": {"verbs": ["watch"], "resources": ["pods"]}}});
            world.rules(&["dev", "ops"], &[forbid]);
        }),
        ("an issuer's key", Credential::ProviderToken, |world, _| {
            world.trust(withdraw);
        }),
        ("a session", Credential::GatewayToken, |world, who| {
            world.registry.end_sign_in(who.sign_in(), "signed out", BEGIN);
        }),
    ];
    for (what, credential, change) in changes {
        let world = World::new(8, Authorization::Enforce);
        world.rules(&["dev", "ops"], &[]);
        let stop = CancellationToken::new();
        world.keeper.clone().start(&stop);
        let al = Arc::new(for_bench("al", &["dev"], credential));
        let hers = world.enter(&world.watch(Arc::clone(&al), "a"));
        let his = world.enter(&world.watch(person("bo", "ops"), "a"));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!hers.is_over(), "{what}: too early");
        change(&world, &al);
        let ended = tokio::time::timeout(Duration::from_secs(2), hers.ender().cancelled()).await;
        assert!(ended.is_ok(), "{what}: it goes on");
        assert!(!his.is_over(), "{what}: somebody else's has ended");
        stop.cancel();
    }
}

/// The questions that somebody still waits for. Nobody answers one.
fn hold(world: &mut World, held: &mut Vec<oneshot::Sender<SessionAnswer>>) -> usize {
    held.extend(std::iter::from_fn(|| world.sign_ins.try_recv().ok()).map(|(_, reply)| reply));
    held.retain(|reply| !reply.is_closed());
    held.len()
}

/// A session store that hangs, with 5,000 people whose sign-ins have to be looked up in the same moment.
#[tokio::test(start_paused = true)]
async fn ses_07_a_store_that_never_answers_delays_no_limit_and_ends_what_nobody_can_tell_of_after_a_minute() {
    const CALLS: usize = 5_000;
    let mut world = World::new(CALLS + 8, Authorization::Enforce);
    let at = |seconds| BEGIN.plus(Duration::from_secs(seconds));
    let tonight = json!({"apiVersion": "gatescribe.dev/v1", "kind": "AccessRule", "metadata": {"name": "tonight"},
        "spec": {"effect": "allow", "until": at(75).to_string(), "subjects": {"groups": ["guest"]},
                 "kubernetes": {"verbs": ["watch"], "resources": ["pods"]}}});
    world.rules(&["dev"], &[tonight]);
    let watches: Vec<LongCall> = (0..CALLS)
        .map(|number| world.enter(&world.watch(person(&format!("person-{number}"), "dev"), "a")))
        .collect();
    let longest = world.enter(&world.watch(person("al", "dev"), "a"));
    longest.lasts_at_most(Duration::from_secs(70));
    let grounds = Grounds {
        version: 1,
        not_after: at(75),
        from_cluster: false,
        momentary: true,
    };
    let trail = world.watch(person("bo", "guest"), "a");
    let until = world.registry.enter(trail, None, &world.draining, grounds).unwrap();
    // A sign-in that nobody has to look up.
    let account = world.enter(&world.watch(Arc::new(for_bench("cy", &["dev"], Credential::ServiceAccount)), "a"));
    let stop = CancellationToken::new();
    world.keeper.clone().start(&stop);
    let (mut ends, mut held) = (Vec::new(), Vec::new());
    for second in 0..=128 {
        advance(&world, Duration::from_secs(second));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let under_way = hold(&mut world, &mut held);
        assert!(under_way <= 32, "{under_way} questions at once, after {second} s");
        ends.push(watches.iter().filter(|call| call.is_over()).count());
        assert_eq!(longest.is_over(), second >= 70, "after {second} s");
        assert_eq!(until.is_over(), second >= 75, "after {second} s");
        assert!(!account.is_over());
    }
    // Due after a minute, unknown for another; whoever was asked about in vain is asked about once more.
    assert!(
        ends[119] == 0 && ends[121] > CALLS - 100 && ends[128] == CALLS,
        "{ends:?}"
    );
    assert_eq!(longest.why(), "ended by the gateway: it has lasted 70 s, its limit");
    let why = "ended by the gateway: the sign-in cannot be looked up: ";
    assert!(
        watches.iter().all(|call| call.why().starts_with(why)),
        "{}",
        watches[0].why()
    );
    let counted = world.registry.metrics.ended_for(Cause::Unknown);
    assert_eq!(counted, u64::try_from(CALLS).unwrap());
    // Whoever waited for a turn asks nothing any more.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(hold(&mut world, &mut held), 0);
    stop.cancel();
}

/// Calls of one sign-in are asked about once.
#[tokio::test]
async fn one_sign_in_is_looked_up_once_for_all_its_calls() {
    let mut world = World::new(200, Authorization::Enforce);
    world.rules(&["dev"], &[]);
    let al = person("al", "dev");
    let hers: Vec<LongCall> = (0..100)
        .map(|_| world.enter(&world.watch(Arc::clone(&al), "a")))
        .collect();
    advance(&world, Duration::from_secs(60));
    world.keeper.time_passed(&world.cluster).await;
    let (_, reply) = world.sign_ins.recv().await.unwrap();
    let why = "you signed out".to_owned();
    reply.send(SessionAnswer::Ended { why }).unwrap();
    all_is_known(&world).await;
    assert!(world.sign_ins.try_recv().is_err());
    assert!(hers.iter().all(|call| call.is_over()));
}

/// As for the session store: the cluster is asked so many questions at once, and what it does not say in a minute is no yes.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_never_answers_is_asked_little_at_once_and_waited_for_a_minute() {
    const CALLS: usize = 1_000;
    let mut world = World::new(CALLS, Authorization::Confirm);
    world.rules(&["dev"], &[]);
    let calls: Vec<LongCall> = (0..CALLS)
        .map(|number| world.enter(&world.watch(person(&format!("person-{number}"), "dev"), "a")))
        .collect();
    let stop = CancellationToken::new();
    world.keeper.clone().start(&stop);
    world.rules(&[], &[]);
    let mut held = Vec::new();
    for second in 0..=62 {
        advance(&world, Duration::from_secs(second));
        tokio::time::sleep(Duration::from_secs(1)).await;
        held.extend(std::iter::from_fn(|| world.reviews.try_recv().ok()).map(|(_, reply)| reply));
        held.retain(|reply| !reply.is_closed());
        assert!(held.len() <= 32, "{} questions at once, after {second} s", held.len());
    }
    assert!(calls.iter().all(LongCall::is_over));
    let unknown = world.registry.metrics.ended_for(Cause::Unknown);
    let refused = world.registry.metrics.ended_for(Cause::Rules);
    assert_eq!(unknown + refused, u64::try_from(CALLS).unwrap());
    assert!(
        unknown > 0 && refused > 0,
        "{unknown} whose turn did not come, {refused} without an answer"
    );
    stop.cancel();
}
