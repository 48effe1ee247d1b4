//! Our audit policies against the API server's own: which files it loads, and what it says about each request: level, omitted
//! stages, managed fields. Thirty mistaken evaluators of ours must all be noticed.
//!
//! 1,000,000 pairs by default, as many as `GATESCRIBE_DIFFERENTIAL_PAIRS` says otherwise. The oracle is
//! `tests/counterparts/oracle/oracle-audit`, built into `target/counterparts/bin`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the lints spare only `#[test]` functions"
)]

#[path = "differential/audit_policies.rs"]
mod audit_policies;
#[path = "differential/oracle.rs"]
mod oracle;

use access::generate::Random;
use audit_policies::{Case, Planted, case};
use audit_policy::{Asked, Level, MUTANTS, Policy, Stage, Verdict, load};
use serde_json::json;

const QUESTIONS_PER_POLICY: usize = 50;
/// Mistaken evaluators are asked as many, which is enough to notice each.
const ASKED_OF_MUTANTS: usize = 100_000;

#[derive(Debug, Default)]
struct Figures {
    policies: usize,
    refused: usize,
    stricter: usize,
    asked: usize,
    decided: usize,
    by_level: [usize; 4],
    differences: Vec<String>,
    noticed: [usize; MUTANTS.len()],
}

impl Figures {
    fn count(&mut self, case: &Case, answer: &str) {
        self.policies += 1;
        let loaded = load(&case.policy);
        match (loaded, answer.strip_prefix('!')) {
            (Err(_), Some(_)) => self.refused += 1,
            // What the API server only logs is refused here, and nothing else is.
            (Err(_), None) if case.planted == Planted::Unknown => self.stricter += 1,
            (Err(findings), None) => self.differs(case, &format!("we refuse: {findings:?}")),
            (Ok(_), Some(why)) => self.differs(case, &format!("the API server refuses: {why}")),
            (Ok(_), None) if case.planted == Planted::Unknown => self.differs(case, "we take an unknown member"),
            (Ok(loaded), None) => self.compare(case, &loaded.policy, answer),
        }
    }

    fn differs(&mut self, case: &Case, what: &str) {
        self.differences.push(format!("{what}: {}", case.policy));
    }

    fn compare(&mut self, case: &Case, policy: &Policy, answer: &str) {
        let answers = answer.as_bytes().chunks(3);
        assert_eq!(answers.len(), case.questions.len(), "one answer for each question");
        for (question, theirs) in case.questions.iter().zip(answers) {
            let asked = question.asked();
            let ours = policy.evaluate(&asked);
            self.asked += 1;
            self.decided += usize::from(ours.rule.is_some());
            self.by_level[usize::from(theirs[0] - b'0')] += 1;
            if written(ours) != theirs {
                let theirs = String::from_utf8_lossy(theirs).into_owned();
                self.differs(case, &format!("we say {ours:?}, the API server {theirs}: {question:?}"));
            }
            if self.asked <= ASKED_OF_MUTANTS {
                self.notice(policy, &asked, theirs);
            }
        }
    }

    fn notice(&mut self, policy: &Policy, asked: &Asked<'_>, theirs: &[u8]) {
        for (mutant, noticed) in MUTANTS.into_iter().zip(&mut self.noticed) {
            *noticed += usize::from(written(policy.evaluate_mistaken(asked, mutant)) != theirs);
        }
    }
}

/// As the oracle writes a verdict.
fn written(verdict: Verdict) -> [u8; 3] {
    let level = Level::ALL.iter().position(|level| *level == verdict.level).unwrap();
    let bits = Stage::ALL.iter().enumerate();
    let stages: usize = bits
        .filter(|(_, stage)| verdict.omit_stages.contains(**stage))
        .map(|(bit, _)| 1 << bit)
        .sum();
    [
        b'0' + u8::try_from(level).unwrap(),
        b"0123456789abcdef"[stages],
        if verdict.omit_managed_fields { b'm' } else { b'-' },
    ]
}

#[test]
fn every_policy_is_taken_and_every_request_judged_as_the_api_server_does_it() {
    let pairs = oracle::pairs_or(1_000_000);
    let mut random = Random::new(oracle::seed());
    // About a tenth of the files has a mistake and brings no pair.
    let policies = pairs.div_ceil(QUESTIONS_PER_POLICY).div_ceil(8) * 10;
    let cases: Vec<Case> = (0..policies).map(|_| case(&mut random, QUESTIONS_PER_POLICY)).collect();
    let lines = cases
        .iter()
        .map(|case| serde_json::to_string(case).expect("a case is JSON"));
    let mut figures = Figures::default();
    oracle::ask("oracle-audit", lines.collect(), |at, line| {
        figures.count(&cases[at], line)
    });
    let list: Vec<_> = MUTANTS
        .iter()
        .zip(figures.noticed)
        .map(|(mutant, count)| format!("{mutant:?}={count}"))
        .collect();
    println!("differential_audit_policy mutants {}", list.join(" "));
    let caught = figures.noticed.iter().filter(|count| **count > 0).count();
    let share = figures.decided * 100 / figures.asked.max(1);
    let [none, metadata, request, response] = figures.by_level;
    println!(
        "differential_audit_policy pairs={} policies={} refused={} stricter={} decided_percent={share} none={none} \
         metadata={metadata} request={request} request_response={response} differences={} mutants={} caught={caught}",
        figures.asked,
        figures.policies,
        figures.refused,
        figures.stricter,
        figures.differences.len(),
        MUTANTS.len(),
    );
    let shown: Vec<_> = figures.differences.iter().take(5).collect();
    assert!(shown.is_empty(), "{shown:#?}");
    assert_eq!(figures.policies, policies, "every file is answered");
    assert!(figures.asked >= pairs, "only {} pairs", figures.asked);
    assert!(
        (30..=90).contains(&share),
        "{share} % decided: the questions prove too little"
    );
    assert!(
        figures.refused * 40 >= policies,
        "too few files are refused: {}",
        figures.refused
    );
    assert!(figures.stricter > 0);
    assert_eq!(caught, MUTANTS.len(), "{list:?}");
}

/// What YAML makes of a text, file by file: the API server reads YAML 1.1.
#[test]
fn whatever_yaml_makes_of_a_file_the_api_server_takes_what_we_take() {
    const HEAD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
    // The file, and whether the API server takes it; we take nothing that it refuses.
    let files: &[(&str, bool, bool)] = &[
        ("rules:\n- level: Metadata\n", true, true),
        ("rules: [{level: Metadata}]\n", true, true),
        ("rules:\n- level: Metadata\n  users: [no]\n", false, false),
        ("rules:\n- level: Metadata\n  users: [\"no\"]\n", true, true),
        ("rules:\n- level: Metadata\n  users: [y]\n", false, false),
        ("rules:\n- level: Metadata\n  users: [on, Off]\n", false, false),
        ("rules:\n- level: Metadata\n  users: [0o7]\n", false, false),
        ("rules:\n- level: Metadata\n  users: [0x1f]\n", false, false),
        ("rules:\n- level: Metadata\n  users: [1_000]\n", false, false),
        ("rules:\n- level: Metadata\n  users: [.inf]\n", false, false),
        ("rules:\n- level: Metadata\n  users: [1e3]\n", false, false),
        (
            "rules:\n- level: Metadata\n  users: [1.2.3, 10.0.0.1, 1a, e3]\n",
            true,
            true,
        ),
        ("rules:\n- level: Metadata\n  users: [~]\n", true, true),
        ("rules:\n- level: Metadata\n  users:\n", true, true),
        ("rules:\n- level: Metadata\n  users: [*a]\n", false, false),
        ("rules:\n- level: Metadata\n  nonResourceURLs: [*]\n", false, false),
        ("rules:\n- level: None\n  omitManagedFields: yes\n", true, false),
        (
            "rules:\n- level: None\n  users: &a [x]\n- level: None\n  users: *a\n",
            true,
            false,
        ),
        ("rules:\n- level: !!str None\n", true, false),
        ("rules:\n- level: None\n  level: Metadata\n", true, false),
        ("rules:\n- level: None\n---\nrules: 3\n", true, false),
        ("rules:\n- level: None\nrule: 3\n", true, false),
        ("rules:\n- level: None\n  <<: {users: [x]}\n", true, false),
        ("rules:\n- level: None\n\tusers: [x]\n", false, false),
        ("rules:\n  - level: None\n - level: None\n", false, false),
        ("rules:\n- level: >-\n    None\n", true, true),
        ("rules:\n- 'level': \"None\"\n# the end\n", true, true),
        ("rules:\n- null\n", false, false),
        ("rules:\n- level: None\n  resources:\n  - null\n", true, false),
        (
            "rules:\n- level: None\nmetadata: {name: p, finalizers: [x]}\n",
            true,
            false,
        ),
    ];
    let mut texts: Vec<(String, bool, bool)> = files
        .iter()
        .map(|(text, theirs, ours)| (format!("{HEAD}{text}"), *theirs, *ours))
        .collect();
    let list = "rules:\n- level: None\n";
    for (head, theirs, ours) in [
        ("", false, false),
        ("kind: Policy\n", false, false),
        ("apiVersion: audit.k8s.io/v1\n", true, false),
        ("apiVersion: audit.k8s.io/v1alpha1\nkind: Policy\n", false, false),
        ("---\napiVersion: audit.k8s.io/v1\nkind: Policy\n", true, true),
        ("\u{feff}apiVersion: audit.k8s.io/v1\nkind: Policy\n", true, true),
    ] {
        texts.push((format!("{head}{list}"), theirs, ours));
    }
    texts.push((String::new(), false, false));
    texts.push((audit_policy::PRESET.to_owned(), true, true));
    let lines = texts
        .iter()
        .map(|(text, ..)| json!({"policy": text, "questions": []}).to_string());
    let mut wrong = Vec::new();
    let mut answered = 0;
    oracle::ask("oracle-audit", lines.collect(), |at, line| {
        let (text, theirs, ours) = &texts[at];
        let found = (!line.starts_with('!'), load(text).is_ok());
        if found != (*theirs, *ours) {
            wrong.push(format!("{text:?}: API server {}, we {} ({line})", found.0, found.1));
        }
        assert!(
            !*ours || *theirs,
            "nothing is taken that the API server refuses: {text:?}"
        );
        answered += 1;
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(answered, texts.len());
}
