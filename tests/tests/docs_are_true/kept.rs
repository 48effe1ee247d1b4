//! Who keeps what: the threat model has every fuzz target at its boundary, and the promises have tests of each module that
//! tests them by name.

use std::collections::BTreeMap;

use super::names::{code, functions};
use tests::counterparts::repository;

const THREATS: &str = "docs/explanation/threat-model.md";
const PROMISES: &str = "docs/explanation/promises.md";

#[test]
fn every_fuzz_target_stands_at_its_boundary_in_the_threat_model() {
    let page = std::fs::read_to_string(repository().join(THREATS)).unwrap();
    let boundaries = section(&page, "## Boundaries");
    let rows: Vec<Vec<&str>> = boundaries.lines().filter_map(cells).collect();
    let targets = targets();
    assert!(targets.len() > 30, "the targets were not found: {targets:?}");
    let missing: Vec<&String> = targets
        .iter()
        .filter(|target| !rows.iter().any(|row| names_the_source(row, target)))
        .collect();
    assert!(
        missing.is_empty(),
        "{THREATS} does not say whose bytes these read: {missing:?}"
    );
}

/// The functions that the fuzzer and the replay of the corpora run.
fn targets() -> Vec<String> {
    let list = std::fs::read_to_string(repository().join("tests/fuzz/targets.rs")).unwrap();
    let call = regex::Regex::new(r"\b(fuzz_[a-z0-9_]+)\)").unwrap();
    call.captures_iter(&list).map(|found| found[1].to_owned()).collect()
}

/// Whether a row has this target in its last column, a module in the one before, and in the first says from where the bytes come.
fn names_the_source(row: &[&str], target: &str) -> bool {
    let [source, module, entries] = row else { return false };
    let named = entries.contains(&format!("`{target}`"));
    named && source.contains(" → ") && module.contains('`')
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let inside = line.strip_prefix("| ")?.strip_suffix(" |")?;
    Some(inside.split(" | ").collect())
}

#[test]
fn of_each_module_that_tests_a_promise_by_name_a_test_stands_under_it() {
    let page = std::fs::read_to_string(repository().join(PROMISES)).unwrap();
    let found = tests_of_promises(&code());
    assert!(found.len() > 60, "the tests were not found: {found:?}");
    let mut missing = Vec::new();
    for ((number, module), names) in &found {
        let said = section(&page, &format!("## {number}. "));
        assert!(!said.is_empty(), "{PROMISES} has no promise {number}: {names:?}");
        if !names.iter().any(|name| said.contains(&format!("`{name}`"))) {
            missing.push(format!("{number}, {module}: one of {names:?}"));
        }
    }
    assert!(missing.is_empty(), "{PROMISES} lacks {missing:#?}");
}

#[test]
fn under_a_promise_stand_no_tests_that_say_they_are_of_another() {
    let page = std::fs::read_to_string(repository().join(PROMISES)).unwrap();
    for number in 1..=10 {
        let said = section(&page, &format!("## {number}. "));
        assert!(!said.is_empty(), "{PROMISES} has no promise {number}");
        let others = said
            .split('`')
            .filter(|word| of_promise(word).is_some_and(|of| of != number));
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new(), "under promise {number}");
    }
}

/// The names of tests by promise and module.
fn tests_of_promises(code: &[(String, String)]) -> BTreeMap<(u32, String), Vec<String>> {
    let mut found: BTreeMap<(u32, String), Vec<String>> = BTreeMap::new();
    for (path, text) in code {
        for name in functions(text) {
            if let Some(number) = of_promise(&name) {
                found.entry((number, module(path))).or_default().push(name);
            }
        }
    }
    found
}

/// The number in `promise_6_…`.
fn of_promise(name: &str) -> Option<u32> {
    name.strip_prefix("promise_")?.split('_').next()?.parse().ok()
}

/// A crate's first folder or file: `gateway/proxy/src/audit`; of the stories, the file: `tests/tests/erasing`.
fn module(path: &str) -> String {
    let depth = if path.starts_with("tests/") { 3 } else { 4 };
    let parts: Vec<&str> = path.trim_end_matches(".rs").split('/').take(depth).collect();
    parts.join("/")
}

/// From a heading that begins so to the next of its rank.
fn section<'p>(page: &'p str, heading: &str) -> &'p str {
    let begin = page.find(&format!("\n{heading}")).map_or(page.len(), |at| at + 1);
    let rest = &page[begin..];
    rest.get(3..)
        .and_then(|behind| behind.find("\n## "))
        .map_or(rest, |end| &rest[..end + 3])
}

#[test]
fn a_section_ends_before_the_next_and_a_module_is_a_crates_first_folder() {
    let page = "# Page\n\n## 1. One\n\n`promise_1_a`\n\n## 10. Ten\n\nlast\n";
    assert_eq!(section(page, "## 1. "), "## 1. One\n\n`promise_1_a`\n");
    assert_eq!(section(page, "## 10. "), "## 10. Ten\n\nlast\n");
    assert_eq!(section(page, "## 2. "), "");
    assert_eq!(
        module("gateway/proxy/src/audit/bodies/tests.rs"),
        "gateway/proxy/src/audit"
    );
    assert_eq!(module("policy/insight/src/tests.rs"), "policy/insight/src/tests");
    assert_eq!(module("tests/tests/sealed/faults.rs"), "tests/tests/sealed");
    assert_eq!(of_promise("promise_10_all_is_said"), Some(10));
}
