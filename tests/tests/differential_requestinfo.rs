//! Our `RequestFacts` against the API server's own `RequestInfoFactory`, target by target.
//!
//! 100,000 pairs by default, as many as `GATESCRIBE_DIFFERENTIAL_PAIRS` says otherwise (1,000,000 for a closing note).
//! The oracle is `tests/counterparts/oracle/oracle-requestinfo`, built into `target/counterparts/bin`.

#[path = "differential/oracle.rs"]
mod oracle;

use access::generate::{GeneratedTarget, Random, target};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::request::{ClassifyError, RequestFacts, Target, Wire};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Answer {
    error: String,
    is_resource: bool,
    path: String,
    verb: String,
    prefix: String,
    group: String,
    version: String,
    namespace: String,
    name: String,
    resource: String,
    subresource: String,
    parts: String,
    field_selector: String,
    label_selector: String,
    long_running: bool,
}

fn decoded(text: &str) -> String {
    String::from_utf8_lossy(&STANDARD.decode(text).expect("the oracle writes base64")).into_owned()
}

/// Where we and the API server differ on one accepted target.
fn difference(facts: &RequestFacts, answer: &Answer) -> Option<String> {
    let parts: Vec<_> = facts.parts().collect();
    let flag = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let rows = [
        ("verb", facts.verb().as_str().to_owned(), answer.verb.clone()),
        (
            "is resource",
            flag(facts.is_resource_request()),
            flag(answer.is_resource),
        ),
        ("path", facts.path().to_owned(), decoded(&answer.path)),
        ("prefix", facts.api_prefix().to_owned(), answer.prefix.clone()),
        ("group", facts.api_group().to_owned(), answer.group.clone()),
        ("version", facts.api_version().to_owned(), answer.version.clone()),
        ("namespace", facts.namespace().to_owned(), answer.namespace.clone()),
        ("resource", facts.resource().to_owned(), answer.resource.clone()),
        (
            "subresource",
            facts.subresource().to_owned(),
            answer.subresource.clone(),
        ),
        ("name", facts.name().to_owned(), answer.name.clone()),
        ("parts", parts.join("/"), decoded(&answer.parts)),
        (
            "field selector",
            facts.field_selector().unwrap_or_default().to_owned(),
            decoded(&answer.field_selector),
        ),
        (
            "label selector",
            facts.label_selector().unwrap_or_default().to_owned(),
            decoded(&answer.label_selector),
        ),
        ("long running", flag(facts.long_running()), flag(answer.long_running)),
    ];
    rows.into_iter()
        .find(|(_, ours, theirs)| ours != theirs)
        .map(|(what, ours, theirs)| format!("{what}: we say `{ours}`, the API server says `{theirs}`"))
}

#[derive(Debug, Default)]
struct Figures {
    compared: usize,
    resources: usize,
    refused: usize,
    refused_valid: usize,
    refused_by_both: usize,
    differences: Vec<String>,
}

impl Figures {
    fn count(&mut self, asked: &GeneratedTarget, answer: &Answer) {
        let wire = Wire {
            method: &asked.method,
            wants_upgrade: false,
            impersonates: false,
        };
        let ours = Target::parse(asked.target.as_bytes()).map(|target| RequestFacts::classify(&target, wire));
        let facts = match ours {
            Ok(Ok(facts)) => facts,
            Ok(Err(ClassifyError::NoResource)) if answer.error == "info" => {
                self.refused_by_both += 1;
                return;
            }
            Ok(Err(ClassifyError::NoResource)) => return self.differ(asked, "we find no resource"),
            Ok(Err(ClassifyError::SelectorNotText)) | Err(_) => {
                self.refused += 1;
                self.refused_by_both += usize::from(!answer.error.is_empty());
                if asked.clean && answer.error.is_empty() {
                    self.refused_valid += 1;
                    eprintln!("refused though clean: {} {}", asked.method, asked.target);
                }
                return;
            }
        };
        if !answer.error.is_empty() {
            return self.differ(asked, &format!("only the API server refuses: {}", answer.error));
        }
        self.compared += 1;
        self.resources += usize::from(facts.is_resource_request());
        if let Some(difference) = difference(&facts, answer) {
            self.differ(asked, &difference);
        }
    }

    fn differ(&mut self, asked: &GeneratedTarget, how: &str) {
        self.differences
            .push(format!("{} {}: {how}", asked.method, asked.target));
    }
}

#[test]
fn every_target_is_classified_as_the_api_server_classifies_it() {
    let pairs = oracle::pairs_or(100_000);
    let mut random = Random::new(oracle::seed());
    let asked: Vec<_> = (0..pairs).map(|_| target(&mut random)).collect();
    let lines = asked
        .iter()
        .map(|asked| serde_json::json!([asked.method, asked.target]).to_string());
    let mut figures = Figures::default();
    let mut answered = 0;
    oracle::ask("oracle-requestinfo", lines.collect(), |at, line| {
        let answer: Answer = serde_json::from_str(line).expect("the oracle writes JSON");
        figures.count(&asked[at], &answer);
        answered += 1;
    });
    let Figures {
        compared,
        resources,
        refused,
        refused_valid,
        refused_by_both,
        differences,
    } = &figures;
    println!(
        "differential_requestinfo pairs={pairs} compared={compared} resources={resources} refused={refused} \
         refused_by_both={refused_by_both} refused_valid={refused_valid} differences={}",
        differences.len()
    );
    let shown: Vec<_> = differences.iter().take(20).collect();
    assert!(differences.is_empty(), "{shown:#?}");
    assert_eq!((answered, *refused_valid), (pairs, 0));
    assert!(*compared * 10 >= pairs * 8, "most targets must be comparable");
    assert!(*resources * 2 >= *compared, "most of them must be about resources");
}

#[test]
fn a_mistaken_classifier_would_be_noticed() {
    // The comparison itself: any single field that is off is found.
    let target = Target::parse(b"/apis/apps/v1/namespaces/a/deployments/d/scale?fieldSelector=x").unwrap();
    let wire = Wire {
        method: "GET",
        wants_upgrade: false,
        impersonates: false,
    };
    let facts = RequestFacts::classify(&target, wire).unwrap();
    let right = || Answer {
        is_resource: true,
        path: STANDARD.encode(facts.path()),
        verb: "get".into(),
        prefix: "apis".into(),
        group: "apps".into(),
        version: "v1".into(),
        namespace: "a".into(),
        name: "d".into(),
        resource: "deployments".into(),
        subresource: "scale".into(),
        parts: STANDARD.encode("deployments/d/scale"),
        ..Answer::default()
    };
    assert_eq!(difference(&facts, &right()), None);
    let wrong: [fn(&mut Answer); 14] = [
        |a| a.is_resource = false,
        |a| a.path = STANDARD.encode("/x"),
        |a| a.verb = "list".into(),
        |a| a.prefix = "api".into(),
        |a| a.group.clear(),
        |a| a.version = "v2".into(),
        |a| a.namespace = "b".into(),
        |a| a.name.clear(),
        |a| a.resource = "pods".into(),
        |a| a.subresource.clear(),
        |a| a.parts.clear(),
        |a| a.field_selector = STANDARD.encode("x"),
        |a| a.label_selector = STANDARD.encode("x"),
        |a| a.long_running = true,
    ];
    for change in wrong {
        let mut answer = right();
        change(&mut answer);
        assert!(difference(&facts, &answer).is_some(), "{answer:?}");
    }
}
