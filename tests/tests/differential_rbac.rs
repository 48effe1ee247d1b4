//! Our RBAC evaluator against Kubernetes' own authorizer, question by question, and thirty mistaken evaluators of ours
//! that must all be noticed.
//!
//! 100,000 pairs by default, as many as `GATESCRIBE_DIFFERENTIAL_PAIRS` says otherwise (1,000,000 for a closing note).
//! The oracle is `tests/counterparts/oracle/oracle-rbac`, built into `target/counterparts/bin`.

#[path = "differential/oracle.rs"]
mod oracle;

use access::generate::{CLAUSES, MUTANTS, Random, World, world};
use access::rbac::{Snapshot, SubjectView};

const QUESTIONS_PER_WORLD: usize = 100;

#[derive(Debug, Default)]
struct Figures {
    asked: usize,
    allowed: usize,
    differences: Vec<String>,
    /// For how many questions each mutant answers differently from Kubernetes.
    noticed: [usize; MUTANTS.len()],
}

impl Figures {
    fn count(&mut self, world: &World, answers: &str) {
        assert_eq!(answers.len(), world.questions.len(), "one answer for each question");
        let snapshot = Snapshot::new(&world.objects);
        for (question, answer) in world.questions.iter().zip(answers.bytes()) {
            let theirs = answer == b'1';
            let subject = SubjectView::exactly(&question.user, &question.groups);
            let asked = question.attributes();
            let ours = snapshot.decide(&subject, &asked).allowed_by.is_some();
            self.asked += 1;
            self.allowed += usize::from(theirs);
            if ours != theirs {
                let world = serde_json::to_string(&world.objects).expect("objects are JSON");
                self.differences
                    .push(format!("we say {ours}, Kubernetes {theirs}: {question:?} in {world}"));
            }
            for (mutant, noticed) in MUTANTS.into_iter().zip(&mut self.noticed) {
                let mistaken = snapshot.decide_mistaken(&subject, &asked, mutant).allowed_by.is_some();
                *noticed += usize::from(mistaken != theirs);
            }
        }
    }
}

#[test]
fn every_question_is_decided_as_kubernetes_decides_it() {
    let pairs = oracle::pairs_or(100_000);
    let mut random = Random::new(oracle::seed());
    let worlds: Vec<_> = (0..pairs.div_ceil(QUESTIONS_PER_WORLD))
        .map(|_| world(&mut random, QUESTIONS_PER_WORLD))
        .collect();
    let lines = worlds
        .iter()
        .map(|world| serde_json::to_string(world).expect("a world is JSON"));
    let mut figures = Figures::default();
    oracle::ask("oracle-rbac", lines.collect(), |at, line| {
        figures.count(&worlds[at], line)
    });
    let share = figures.allowed * 100 / figures.asked.max(1);
    let noticed = MUTANTS.iter().zip(figures.noticed);
    let list: Vec<_> = noticed
        .clone()
        .map(|(mutant, count)| format!("{mutant:?}={count}"))
        .collect();
    println!("differential_rbac mutants {}", list.join(" "));
    let caught = figures.noticed.iter().filter(|count| **count > 0).count();
    let least = figures.noticed.iter().take(CLAUSES).min().copied().unwrap_or_default();
    println!(
        "differential_rbac pairs={} worlds={} allowed_percent={share} differences={} clauses={CLAUSES} \
         least_decisive={least} mutants={} caught={caught}",
        figures.asked,
        worlds.len(),
        figures.differences.len(),
        MUTANTS.len(),
    );
    let shown: Vec<_> = figures.differences.iter().take(5).collect();
    assert!(shown.is_empty(), "{shown:#?}");
    assert!(figures.asked >= pairs);
    assert!(
        (30..=70).contains(&share),
        "{share} % allowed: the questions prove too little"
    );
    // 1,000 decisive questions for each clause in a million.
    assert!(
        least * 1_000 >= figures.asked,
        "a clause decided only {least} of {} questions",
        figures.asked
    );
    assert_eq!(caught, MUTANTS.len(), "{list:?}");
}
