//! `bench decision`: the evaluator alone, one thread, with 10, 1,000 and 10,000 bindings; every question a different one.

use access::decide::{Authorization, Freshness, Query, decide};
use access::rbac::{Attributes, Objects, Snapshot};
use access::rule::{Call, NamespaceLabels, RuleSet, Rules, Situation};
use anyhow::ensure;
use model::decision::Verdict;
use model::subject::{Subject, SubjectId, SubjectKind, SubjectParts};
use model::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Instant;
use tests::measure::median;
use tests::measure::world::{self, Size, World};

pub(crate) fn run(quick: bool) -> anyhow::Result<()> {
    let rounds = if quick { 3 } else { 31 };
    let mut line = "decision".to_owned();
    for bindings in [10, 1_000, 10_000] {
        let size = Size {
            people: bindings.min(500),
            bindings,
        };
        let world = World::new(size, "https://issuer.example")?;
        let mut objects = Objects {
            role_bindings: serde_json::from_value(world.list("rolebindings")["items"].take())?,
            cluster_roles: serde_json::from_value(world.list("clusterroles")["items"].take())?,
            cluster_role_bindings: serde_json::from_value(world.list("clusterrolebindings")["items"].take())?,
            ..Objects::default()
        };
        objects.roles.clear();
        let began = Instant::now();
        let snapshot = Snapshot::new(&objects);
        let compiled = began.elapsed().as_secs_f64() * 1e3;
        let people = (0..size.people).map(subject).collect::<anyhow::Result<Vec<_>>>()?;
        let times = (0..rounds)
            .map(|round| ask(&world, &snapshot, &people, round))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let each = median(&times);
        println!("{bindings} bindings: {each:.0} ns each, compiled in {compiled:.1} ms");
        line.push_str(&format!(
            " cold_ns_{bindings}={each:.0} compile_ms_{bindings}={compiled:.1}"
        ));
    }
    println!("{line}");
    Ok(())
}

fn subject(person: usize) -> anyhow::Result<Subject> {
    let mut groups: Vec<String> = (0..7).map(|n| format!("department-{n}-{}", person % 10)).collect();
    groups.push(format!("team-{:02}", person % 50));
    Ok(Subject::new(SubjectParts {
        id: SubjectId::from_digest([7; 16]),
        kind: SubjectKind::Person,
        issuer: "https://issuer.example".to_owned(),
        subject: format!("subject-{person:04}"),
        username: format!("person-{person:04}@example.com"),
        uid: None,
        groups,
        extra: BTreeMap::new(),
        email: None,
    })?)
}

/// Nanoseconds for each of 10,000 questions.
fn ask(world: &World, snapshot: &Snapshot, people: &[Subject], round: usize) -> anyhow::Result<f64> {
    let (rules, labels) = (RuleSet::new(Rules::default()), NamespaceLabels::new());
    let names: Vec<String> = (0..world::NAMESPACES).map(world::name).collect();
    let situation = Situation {
        now: Timestamp::from_unix_seconds(1_800_000_000),
        source: None,
        signed_in: None,
        acr: None,
        namespaces: &labels,
        reason_stated: false,
        approved_by: &[],
    };
    let questions = 10_000;
    let began = Instant::now();
    for n in 0..questions {
        let person = (n * 37 + round * 11) % people.len();
        let asked = Attributes {
            verb: "get",
            group: "",
            resource: "pods",
            subresource: "",
            namespace: &names[world.namespace(person, n)],
            name: "pod-1",
            path: "",
            is_resource: true,
        };
        let query = Query {
            call: Call::asking("bench", asked),
            subject: &people[person],
            impersonation: None,
            situation: &situation,
            snapshot,
            freshness: Freshness::Fresh,
            rules: &rules,
            authorization: Authorization::Enforce,
            max_groups: 64,
        };
        let decision = std::hint::black_box(decide(std::hint::black_box(&query)));
        ensure!(
            matches!(decision.verdict, Verdict::Allow(_)),
            "person {person}: {:?}",
            decision.verdict
        );
    }
    Ok(began.elapsed().as_nanos() as f64 / f64::from(questions as u32))
}
