//! Packs over a real ledger: who may have what, what is counted, and that it is written down first.

use axum::body::to_bytes;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use ledger::evidence::Evidence;
use ledger::note::Signer as _;
use model::event::RecordKind;
use serde_json::Value;
use state::{EndReason, Session};

use super::super::places::Places;
use super::super::proof::NoProof;
use super::super::tests::{World, subject, world, world_with};
use super::*;

const TARGET: &str = "/api/v1/evidence";

fn told_world() -> World {
    let world = world();
    assert!(world.notes.ledger.set(Arc::clone(&world.ledger)).is_ok());
    world.read("a-1", 1, "alice", "pods");
    world.read("b-1", 2, "bob", "secrets");
    world.refused("a-2", 1, "alice");
    world.read("a-3", 1, "alice", "secrets");
    world
}

async fn get(world: &World, token: &str, target: &str) -> (StatusCode, Vec<u8>) {
    let answer = world.ask(http::Method::GET, token, target, String::new()).await;
    let (head, body) = answer.into_parts();
    (head.status, to_bytes(body, MAX_EVIDENCE_LEN).await.unwrap().to_vec())
}

async fn packed(world: &World, token: &str, target: &str) -> (Evidence, Statement) {
    let (status, body) = get(world, token, target).await;
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
    let evidence = Evidence::parse(&body).unwrap();
    let keys = [world.signed.key.key().clone()];
    let chain = evidence.chain(&keys, &[]);
    let checked = evidence.check(&chain);
    assert_eq!(checked.faults, []);
    let statement = checked.statement.unwrap();
    (evidence, statement)
}

fn ids(evidence: &Evidence) -> Vec<String> {
    let leaves = evidence
        .records()
        .map(|(_, leaf)| serde_json::from_slice::<Value>(leaf).unwrap());
    leaves.map(|leaf| leaf["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_pack_holds_what_a_search_would_show_its_asker_and_its_counts_are_told_to_the_ledger() {
    let world = told_world();
    let (alice, eve) = (
        world.signed_in(1, "alice", &[]),
        world.signed_in(3, "eve", &["auditors"]),
    );
    let (own, said) = packed(&world, &world.bearer(&alice), &format!("{TARGET}?q=resource:secrets")).await;
    assert_eq!(ids(&own), ["a-2", "a-3", "a-3", "r"], "nothing of bob's");
    assert_eq!((said.acts.range, said.acts.matched, said.acts.packed), (3, 2, 2));
    assert_eq!(
        (said.scope.as_str(), said.read),
        ("own", None),
        "not even how much others did"
    );
    assert_eq!(said.subject.as_deref(), Some(alice.subject_id.as_str()));
    assert_eq!(said.records, [vec![4], vec![5, 6]]);

    let (all, said) = packed(
        &world,
        &world.bearer(&eve),
        &format!("{TARGET}?q=resource:secrets&since=1h"),
    )
    .await;
    assert_eq!(ids(&all), ["b-1", "b-1", "a-2", "a-3", "a-3", "r"]);
    assert_eq!(
        (said.acts.range, said.acts.matched),
        (5, 3),
        "alice's pack is a record, too"
    );
    assert_eq!(
        said.read,
        Some(Span {
            first: 0,
            end: 8,
            within: 8
        })
    );
    assert_eq!(
        (said.query.as_str(), said.scope.as_str(), said.subject),
        ("resource:secrets since:1h", "all", None)
    );
    assert!(said.from.is_some());

    let sentences = world.read_sentences();
    assert_eq!(sentences.len(), 2);
    for (sentence, evidence, begin) in [
        (
            &sentences[0],
            &own,
            "packed 2 acts of own records as evidence for `resource:secrets`, ",
        ),
        (
            &sentences[1],
            &all,
            "packed 3 acts of all records as evidence for `resource:secrets since:1h`, ",
        ),
    ] {
        assert_eq!(*sentence, format!("{begin}{}", told(evidence.statement())));
    }
}

/// promise_6: where names are sealed, the digest stays in the clear beside a pseudonym. Whoever has the ledger knows each member of the
/// statement but the query, and tries the names that there are.
#[tokio::test]
async fn promise_6_the_digest_of_a_pack_says_to_nobody_whom_it_was_asked_for() {
    let world = told_world();
    let (alice, eve) = (
        world.signed_in(1, "alice", &[]),
        world.signed_in(3, "eve", &["auditors"]),
    );
    let mut salts = std::collections::HashSet::new();
    for (token, target) in [
        (world.bearer(&eve), format!("{TARGET}?q=user:alice")),
        (world.bearer(&eve), format!("{TARGET}?q=user:alice")),
        (world.bearer(&alice), TARGET.to_owned()),
    ] {
        let (evidence, said) = packed(&world, &token, &target).await;
        let recorded = told(evidence.statement());
        let guessed = Statement {
            tool: concat!("gatescribe ", env!("CARGO_PKG_VERSION")).to_owned(),
            ..said.clone()
        };
        assert_ne!(told(&guessed.to_bytes()), recorded, "{said:?}");
        let salt = said.tool.split_once(" (salt ").unwrap().1.strip_suffix(')').unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(salt).unwrap().len(), 16, "{}", said.tool);
        salts.insert(salt.to_owned());
    }
    assert_eq!(salts.len(), 3, "each pack has its own");
}

#[tokio::test]
async fn a_sample_is_the_one_that_its_seed_draws() {
    let world = told_world();
    let eve = world.signed_in(3, "eve", &["auditors"]);
    let target = format!("{TARGET}?q=user:alice,bob&sample=2&seed=8f3a");
    let (evidence, said) = packed(&world, &world.bearer(&eve), &target).await;
    let sample = said.sample.unwrap();
    assert_eq!(
        (sample.population.as_slice(), said.acts.matched, said.acts.packed),
        (&[0, 2, 4, 5][..], 4, 2)
    );
    let firsts: Vec<u64> = said.records.iter().map(|act| act[0]).collect();
    assert_eq!(firsts, draw("8f3a", &sample.population, 2));
    let (again, _) = packed(&world, &world.bearer(&eve), &target).await;
    let acts = |evidence: &Evidence| ids(evidence).into_iter().filter(|id| id != "r").collect::<Vec<_>>();
    assert_eq!(acts(&again), acts(&evidence));
    assert!(world.read_sentences()[0].contains("for `user:alice,bob sample:2 seed:8f3a`, statement sha256:"));
}

#[tokio::test]
async fn a_question_that_is_not_understood_packs_nothing_and_is_told_why() {
    let world = told_world();
    let eve = world.signed_in(3, "eve", &["auditors"]);
    let long = format!("{TARGET}?q={}", "x".repeat(701));
    for (target, why) in [
        (format!("{TARGET}?q=usr:alice"), "usr"),
        (format!("{TARGET}?limit=5"), "`limit` is no parameter here"),
        (format!("{TARGET}?seed=a"), "`seed` is for a `sample`"),
        (format!("{TARGET}?sample=3"), "needs a `seed`"),
        (format!("{TARGET}?sample=3&seed=%60"), "needs a `seed`"),
        (format!("{TARGET}?sample=0&seed=a"), "`sample` takes 1 to 2000"),
        (format!("{TARGET}?sample=2001&seed=a"), "`sample` takes 1 to 2000"),
        (long, "at most 700 bytes"),
    ] {
        let (status, body) = get(&world, &world.bearer(&eve), &target).await;
        let said = String::from_utf8(body).unwrap();
        assert!(
            status == StatusCode::BAD_REQUEST && said.contains(why),
            "{target}: {said}"
        );
    }
    let (status, _) = get(&world, "no token", TARGET).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(world.read_sentences().is_empty());
}

#[tokio::test]
async fn what_cannot_be_recorded_or_looked_at_whole_is_not_packed() {
    let world = told_world();
    let eve = world.signed_in(3, "eve", &["auditors"]);
    world.notes.fails.store(true, std::sync::atomic::Ordering::SeqCst);
    let (status, body) = get(&world, &world.bearer(&eve), TARGET).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(String::from_utf8(body).unwrap().contains("could not be recorded"));

    let hasty = world_with(|api| api.survey_time = std::time::Duration::ZERO);
    let eve = hasty.signed_in(3, "eve", &["auditors"]);
    hasty.read("a-1", 1, "alice", "pods");
    let (status, body) = get(&hasty, &hasty.bearer(&eve), TARGET).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        String::from_utf8(body)
            .unwrap()
            .contains("took too long; nothing was packed")
    );

    let busy = world_with(|api| api.packs_of_all = Places::new(0, 0));
    let eve = busy.signed_in(3, "eve", &["auditors"]);
    let (status, _) = get(&busy, &busy.bearer(&eve), TARGET).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);

    let spoilt = told_world();
    let eve = spoilt.signed_in(3, "eve", &["auditors"]);
    spoilt.spoils_the_ledger();
    let (status, _) = get(&spoilt, &spoilt.bearer(&eve), TARGET).await;
    assert_eq!(
        status,
        StatusCode::SERVICE_UNAVAILABLE,
        "nothing of a ledger that cannot be read"
    );
}

/// Whoever has no audit role takes no place of those who have one, and no more packs than one person may.
#[tokio::test]
async fn those_without_an_audit_role_hold_no_place_of_those_who_have_one() {
    let world = told_world();
    let held = [1, 2].map(|number| world.api.packs.take(&subject(number)).unwrap());
    let (dave, eve) = (
        world.signed_in(4, "dave", &[]),
        world.signed_in(3, "eve", &["auditors"]),
    );
    let (status, _) = get(&world, &world.bearer(&dave), TARGET).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    packed(&world, &world.bearer(&eve), TARGET).await;
    drop(held);
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(get(&world, &world.bearer(&dave), TARGET).await);
    }
    let (last, before) = answers.split_last().unwrap();
    // The one that found no place counted, too.
    assert!(before.iter().all(|(status, _)| *status == StatusCode::OK));
    assert_eq!(last.0, StatusCode::TOO_MANY_REQUESTS, "a budget of their own");
    let (status, _) = get(&world, &world.bearer(&dave), "/api/v1/audit/records").await;
    assert_eq!(status, StatusCode::OK, "and it is not that of searches");
}

#[tokio::test]
async fn a_count_that_is_told_without_a_pack_is_recorded() {
    let world = told_world();
    let eve = world.signed_in(3, "eve", &["auditors"]);
    let tickets = (0..=MOST_ACTS).map(|number| {
        let body = format!("{{\"id\":\"n-{number}\",\"t\":\"{}\",\"boot\":\"b\"}}", world.time());
        world
            .ledger
            .append(RecordKind::Policy, body.into_bytes(), Vec::new())
            .unwrap()
    });
    for ticket in tickets.collect::<Vec<_>>() {
        ticket.wait().unwrap();
    }
    let (status, body) = get(&world, &world.bearer(&eve), &format!("{TARGET}?q=kind:policy")).await;
    let said = String::from_utf8(body).unwrap();
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{said}");
    assert!(said.contains("2001 acts match, and a pack holds 2000"), "{said}");
    assert_eq!(
        world.read_sentences(),
        [
            "counted 2001 acts of all records for evidence for `kind:policy`, and packed none: 2001 acts match, and a pack holds 2000: \
          draw some with `sample`"
        ]
    );
    assert_eq!(world.read_words(), ["countedForEvidence"]);
    // What cannot be recorded is not told either.
    world.notes.fails.store(true, std::sync::atomic::Ordering::SeqCst);
    let (status, body) = get(&world, &world.bearer(&eve), &format!("{TARGET}?q=kind:policy")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!String::from_utf8(body).unwrap().contains("2001"));
}

/// Locked out, or out of the audit role, or too long, while the pack is made: none is handed out, and a second record says so.
#[tokio::test]
async fn a_pack_that_is_not_handed_out_is_recorded_as_that() {
    let locked = |world: &World, session: &Session| {
        let (store, session, now) = (Arc::clone(&world.store), session.clone(), world.time());
        Box::new(move || {
            store.end_session(&session.id, EndReason::Locked, now).unwrap();
            Ok(())
        }) as Box<dyn Fn() -> Result<(), NoProof> + Send + Sync>
    };
    let too_long = |_: &World, _: &Session| Box::new(|| Err(NoProof::TooLong)) as _;
    type Meanwhile = dyn Fn(&World, &Session) -> Box<dyn Fn() -> Result<(), NoProof> + Send + Sync>;
    let cases: [(&Meanwhile, StatusCode, &str); 2] = [
        (
            &locked,
            StatusCode::UNAUTHORIZED,
            "the session has ended: an administrator has locked this account",
        ),
        (
            &too_long,
            StatusCode::UNPROCESSABLE_ENTITY,
            "that is too long; nothing was packed. Narrow the query or its bounds in time",
        ),
    ];
    for (meanwhile, wanted, why) in cases {
        let world = told_world();
        let eve = world.signed_in(3, "eve", &["auditors"]);
        assert!(world.signed.meanwhile.set(meanwhile(&world, &eve)).is_ok());
        let before = world.ledger.durable().size;
        let (status, body) = get(&world, &world.bearer(&eve), TARGET).await;
        let said = String::from_utf8(body).unwrap();
        assert!(status == wanted && said.contains(why), "{status} {said}");
        assert!(!said.contains("gatescribe.dev/evidence"));
        assert_eq!(world.read_words(), ["packedEvidence", "withheldEvidence"]);
        let sentences = world.read_sentences();
        assert!(
            sentences[0].starts_with("packed 4 acts of all records"),
            "{sentences:?}"
        );
        assert_eq!(
            sentences[1..],
            [format!(
                "did not hand out what record {before} says was packed of all records: {why}"
            )]
        );
    }
}
