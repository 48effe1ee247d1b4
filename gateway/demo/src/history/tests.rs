//! The history's promises: repeatable, in order, in proportion, and in agreement with the world.

use std::collections::{HashMap, HashSet};

use super::*;

/// A Saturday noon, so that the last day is a quiet one.
const END: i64 = 1_795_262_400;

fn history(seed: u64) -> Vec<Happening> {
    Plan {
        seed,
        ..Plan::until(Timestamp::from_unix_seconds(END))
    }
    .happenings()
    .collect()
}

fn people(all: &[Happening]) -> Vec<&Happening> {
    all.iter()
        .filter(|happening| matches!(happening.actor, Actor::Person { .. }))
        .collect()
}

fn username(happening: &Happening) -> &'static str {
    match happening.actor {
        Actor::Person { person, .. } => person.username,
        Actor::Controller(name) => name,
    }
}

#[test]
fn the_same_seed_gives_the_same_history_and_another_seed_another() {
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}

#[test]
fn acts_come_in_the_order_of_time_within_their_days() {
    let end = Timestamp::from_unix_seconds(END);
    let all = history(7);
    assert!(all.is_sorted_by_key(|happening| happening.at));
    assert!(
        all.iter()
            .all(|happening| happening.at < end && end.since(happening.at) < Duration::from_secs(14 * DAY))
    );
}

#[test]
fn there_are_about_five_thousand_human_acts_and_a_steady_noise() {
    for seed in [7, 8, 9] {
        let all = history(seed);
        let human = people(&all).len();
        assert!((4_000..6_000).contains(&human), "{human}");
        assert!((18_000..21_000).contains(&(all.len() - human)), "{}", all.len() - human);
    }
}

#[test]
fn people_work_on_workdays_between_eight_and_nineteen_but_for_the_incident() {
    for happening in people(&history(7))
        .iter()
        .filter(|happening| happening.chapter.is_none())
    {
        let seconds = happening.at.unix_seconds();
        let hour = seconds.rem_euclid(86_400) / 3600;
        let weekday = (seconds.div_euclid(86_400) + 3).rem_euclid(7);
        assert!((8..19).contains(&hour) && weekday < 5, "{happening:?}");
    }
}

#[test]
fn every_kind_of_act_and_answer_is_there() {
    let all = history(7);
    let human = people(&all);
    let verbs: HashSet<&str> = human.iter().map(|happening| happening.act.verb).collect();
    for verb in ["get", "list", "watch", "create", "delete", "patch"] {
        assert!(verbs.contains(verb), "{verb}");
    }
    let statuses: HashSet<u16> = human.iter().map(|happening| happening.status).collect();
    for status in [101, 200, 201, 403, 404, 409, 500] {
        assert!(statuses.contains(&status), "{status}");
    }
    let exec = |is_refused: bool| {
        let is_exec = |happening: &&&Happening| happening.act.subresource == "exec";
        human
            .iter()
            .filter(is_exec)
            .filter(|happening| (happening.decision == Decision::Refused) == is_refused)
            .count()
    };
    assert!(exec(true) > 20 && exec(false) > 20);
    let refused = human
        .iter()
        .filter(|happening| happening.decision == Decision::Refused)
        .count();
    assert!(
        (human.len() / 50..human.len() / 4).contains(&refused),
        "{refused} of {}",
        human.len()
    );
}

#[test]
fn everyone_of_the_demo_stands_in_the_history() {
    let all = history(7);
    let mut acts: HashMap<&str, usize> = HashMap::new();
    for happening in &all {
        *acts.entry(username(happening)).or_default() += 1;
    }
    for person in PEOPLE.iter().chain(&COLLEAGUES) {
        assert!(acts[person.username] > 5, "{} {acts:?}", person.username);
    }
    assert_eq!(acts.len(), PEOPLE.len() + COLLEAGUES.len() + 3);
}

#[test]
fn the_incident_is_told_in_its_order() {
    let all = history(7);
    let mut chapters: Vec<(&str, &str)> = all
        .iter()
        .filter_map(|h| h.chapter.map(|chapter| (chapter, username(h))))
        .collect();
    chapters.dedup();
    assert_eq!(
        chapters,
        [
            ("an evening change", "farid"),
            ("attempts without the right", "erin"),
            ("the repair", "bob"),
            ("the clean-up", "bob"),
            ("the questions", "carol"),
        ]
    );
    let erin = |happening: &&Happening| happening.chapter == Some("attempts without the right");
    assert_eq!(
        all.iter()
            .filter(erin)
            .filter(|happening| happening.decision == Decision::Refused)
            .count(),
        5
    );
    let secret = all
        .iter()
        .rfind(|happening| happening.chapter == Some("the questions"))
        .unwrap();
    assert_eq!((secret.act.resource, secret.status), ("secrets", 403));
}

#[test]
fn a_session_belongs_to_one_person_and_begins_before_its_acts() {
    let mut owners: HashMap<u32, (&str, Timestamp)> = HashMap::new();
    for happening in history(7) {
        if let Actor::Person {
            person,
            session,
            signed_in,
        } = happening.actor
        {
            assert_eq!(
                *owners.entry(session).or_insert((person.username, signed_in)),
                (person.username, signed_in)
            );
            assert!(signed_in < happening.at);
        }
    }
    assert!(owners.len() > 80, "{}", owners.len());
}

#[test]
fn paths_and_methods_are_those_of_the_api() {
    let act = tasks::of_pod("exec", "payments", "web-0");
    assert_eq!(
        (act.method(), act.path().as_str()),
        ("GET", "/api/v1/namespaces/payments/pods/web-0/exec")
    );
    let act = tasks::apps("patch", "deployments", "shop", "web");
    assert_eq!(
        (act.method(), act.path().as_str()),
        ("PATCH", "/apis/apps/v1/namespaces/shop/deployments/web")
    );
    let act = tasks::rbac("create", "rolebindings", "payments", "debug-erin");
    let made = "/apis/rbac.authorization.k8s.io/v1/namespaces/payments/rolebindings";
    assert_eq!((act.method(), act.path().as_str()), ("POST", made));
    let act = tasks::core("list", "nodes", "", "");
    assert_eq!((act.method(), act.path().as_str()), ("GET", "/api/v1/nodes"));
}

#[test]
fn a_history_of_one_day_or_none_is_no_trouble() {
    for days in [0, 1, 4] {
        let plan = Plan {
            days,
            ..Plan::until(Timestamp::from_unix_seconds(END))
        };
        assert_eq!(plan.happenings().next().is_some(), days > 0);
    }
}
