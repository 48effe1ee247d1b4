//! One night something breaks: `payments/ledger-sync` crashes after an evening change, people try, bob repairs, carol asks.
//!
//! The same at every seed, so that documentation can walk through it.

use std::time::Duration;

use model::time::Timestamp;

use super::scene::{Desk, Scene};
use super::tasks::{KUBECTL, apps, core, of_pod, rbac};
use super::{Act, Actor, COLLEAGUES, Happening};
use crate::identity::{Person, person};

const CHANGE: &str = "an evening change";
const ATTEMPTS: &str = "attempts without the right";
const REPAIR: &str = "the repair";
const CLEAN_UP: &str = "the clean-up";
const AFTERMATH: &str = "the questions";

/// Numbers of the story's sign-ins, beyond those of working days.
const SESSIONS: u32 = 10_000;

/// Adds the part of the story that falls on this day; `incident` is the day of the night.
pub(super) fn tell(day: u32, incident: u32, midnight: Timestamp, scene: &mut Scene, all: &mut Vec<Happening>) {
    let sync = scene
        .pods("payments", "ledger-sync")
        .into_iter()
        .next()
        .unwrap_or_default();
    if day + 1 == incident {
        play(scene, all, midnight, (17, 52), "farid", SESSIONS, CHANGE, &evening());
    }
    if day == incident {
        play(
            scene,
            all,
            midnight,
            (2, 16),
            "erin",
            SESSIONS + 1,
            ATTEMPTS,
            &attempts(&sync),
        );
        play(
            scene,
            all,
            midnight,
            (2, 31),
            "bob",
            SESSIONS + 2,
            REPAIR,
            &repair(&sync),
        );
        play(
            scene,
            all,
            midnight,
            (8, 47),
            "bob",
            SESSIONS + 3,
            CLEAN_UP,
            &clean_up(),
        );
        play(
            scene,
            all,
            midnight,
            (10, 5),
            "carol",
            SESSIONS + 4,
            AFTERMATH,
            &questions(),
        );
    }
}

type Step = (Act, u16, u64);

#[expect(
    clippy::too_many_arguments,
    reason = "a scene has a stage, a time, a person and a text"
)]
fn play(
    scene: &mut Scene,
    all: &mut Vec<Happening>,
    midnight: Timestamp,
    (hour, minute): (u64, u64),
    who: &str,
    session: u32,
    chapter: &'static str,
    steps: &[Step],
) {
    let Some(person) = find(who) else { return };
    let signed_in = midnight.plus(Duration::from_secs(hour * 3600 + minute * 60));
    let actor = Actor::Person {
        person,
        session,
        signed_in,
    };
    let desk = Desk {
        actor,
        address: "203.0.113.77",
        client: KUBECTL,
    };
    let mut at = signed_in.plus(Duration::from_secs(11));
    for (act, status, pause) in steps {
        let mut happening = scene.happening(at, desk, act.clone(), *status, Duration::from_millis(12));
        happening.chapter = Some(chapter);
        all.push(happening);
        at = at.plus(Duration::from_secs(*pause));
    }
}

fn find(who: &str) -> Option<&'static Person> {
    person(who).or_else(|| COLLEAGUES.iter().find(|person| person.username == who))
}

fn evening() -> Vec<Step> {
    vec![
        (apps("get", "deployments", "payments", "ledger-sync"), 200, 20),
        (apps("patch", "deployments", "payments", "ledger-sync"), 200, 4),
        (core("list", "pods", "payments", ""), 200, 30),
    ]
}

fn attempts(pod: &str) -> Vec<Step> {
    vec![
        (core("list", "pods", "payments", ""), 200, 15),
        (of_pod("log", "payments", pod), 200, 40),
        (of_pod("exec", "payments", pod), 101, 12),
        (of_pod("exec", "payments", "web-0"), 101, 9),
        (core("delete", "pods", "payments", pod), 200, 20),
        (core("get", "secrets", "payments", "bank-credentials"), 200, 14),
        (of_pod("exec", "payments", pod), 101, 8),
    ]
}

fn repair(pod: &str) -> Vec<Step> {
    vec![
        (core("list", "pods", "payments", ""), 200, 10),
        (core("get", "pods", "payments", pod), 200, 5),
        (core("list", "events", "payments", ""), 200, 22),
        (of_pod("log", "payments", pod), 200, 60),
        (of_pod("log", "payments", pod), 500, 35),
        (of_pod("exec", "payments", "web-0"), 101, 240),
        (core("get", "secrets", "payments", "bank-credentials"), 200, 75),
        (rbac("create", "rolebindings", "payments", "debug-erin"), 201, 90),
        (core("delete", "pods", "payments", pod), 200, 15),
        (core("get", "pods", "payments", pod), 404, 10),
        (apps("list", "replicasets", "payments", ""), 200, 25),
        (apps("patch", "deployments", "payments", "ledger-sync"), 409, 6),
        (apps("patch", "deployments", "payments", "ledger-sync"), 200, 4),
        (apps("watch", "deployments", "payments", "ledger-sync"), 200, 50),
        (core("list", "pods", "payments", ""), 200, 5),
    ]
}

fn clean_up() -> Vec<Step> {
    vec![
        (rbac("list", "rolebindings", "payments", ""), 200, 30),
        (rbac("delete", "rolebindings", "payments", "debug-erin"), 200, 5),
    ]
}

fn questions() -> Vec<Step> {
    vec![
        (rbac("list", "rolebindings", "payments", ""), 200, 60),
        (core("list", "events", "payments", ""), 200, 90),
        (rbac("get", "clusterroles", "", "cluster-admin"), 200, 45),
        (core("get", "secrets", "payments", "bank-credentials"), 200, 30),
    ]
}
