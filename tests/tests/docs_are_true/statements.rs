//! The list of statements: every id that the code cites has a row, no row is left over, and UPDATE_DOCS=1 writes where
//! into the last column. What no test shows stands in a table of its own at the end, with the reason.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{code, functions};
use tests::counterparts::repository;

const PAGE: &str = "docs/reference/statements.md";
/// So many tests of a statement are named; more are counted.
const NAMED: usize = 3;
/// Behind this line stand the rows that need no citation and a reason instead.
const UNSHOWN: &str = "## Statements without a test, and why";
/// A sentence.
const SHORTEST_REASON: usize = 30;
/// Areas of which each statement, from 01 to this one, has a test or a reason.
const WHOLE_AREAS: &[(&str, u32)] = &[("G", 16), ("H", 24), ("I", 13), ("J", 10), ("K", 10), ("L", 10)];
/// Areas of which each statement, from 01 to this one, is in the name of a test, or has a reason.
const NAMED_AREAS: &[(&str, u32)] = &[
    ("HDR", 14),
    ("IMP", 17),
    ("N", 15),
    ("OIDC", 30),
    ("SES", 14),
    ("WEB", 14),
];

/// Where an id is cited.
#[derive(Default)]
struct Cited {
    tests: BTreeSet<String>,
    files: BTreeSet<String>,
}

#[test]
fn every_id_that_the_code_cites_stands_in_the_list_of_statements() {
    let page = std::fs::read_to_string(repository().join(PAGE)).unwrap();
    let cited = cited();
    let (tested, unshown) = parts(&page);
    let listed: BTreeSet<&str> = tested.lines().filter_map(row).map(|(id, _)| id).collect();
    let reasons = reasons(unshown);
    let unknown = |id: &&str| !listed.contains(id) && !reasons.contains_key(id);
    let missing: Vec<&str> = cited.keys().map(String::as_str).filter(unknown).collect();
    assert!(missing.is_empty(), "{PAGE} has no row for {missing:?}");
    let left: Vec<&&str> = listed.iter().filter(|id| !cited.contains_key(**id)).collect();
    assert!(left.is_empty(), "{PAGE}: nothing cites {left:?} any more");
    if std::env::var("UPDATE_DOCS").is_ok_and(|value| value == "1") {
        // The last column names tests, and whether they exist is checked with all other names: a new test needs no new page.
        let written = with_places(tested, &cited);
        std::fs::write(repository().join(PAGE), written + unshown).unwrap();
    }
}

#[test]
fn what_no_test_shows_says_why_and_each_statement_of_a_whole_area_is_shown_or_there() {
    let page = std::fs::read_to_string(repository().join(PAGE)).unwrap();
    let reasons = reasons(parts(&page).1);
    for (id, (what, why)) in &reasons {
        assert!(!what.is_empty() && why.len() >= SHORTEST_REASON, "{id}: {what}: {why}");
    }
    let cited = cited();
    let is_shown = |id: &str| {
        let by_test = |cited: &Cited| !cited.tests.is_empty() || cited.files.iter().any(|file| file.contains("tests"));
        cited.get(id).is_some_and(by_test)
    };
    let neither: Vec<String> = all_of(WHOLE_AREAS)
        .filter(|id| !is_shown(id) && !reasons.contains_key(id.as_str()))
        .collect();
    assert!(neither.is_empty(), "{PAGE}: no test and no reason for {neither:?}");
}

#[test]
fn each_statement_of_a_named_area_is_in_the_name_of_a_test_or_says_why_not() {
    let page = std::fs::read_to_string(repository().join(PAGE)).unwrap();
    let reasons = reasons(parts(&page).1);
    let cited = cited();
    let is_named = |id: &str| cited.get(id).is_some_and(|cited| !cited.tests.is_empty());
    let neither: Vec<String> = all_of(NAMED_AREAS)
        .filter(|id| !is_named(id) && !reasons.contains_key(id.as_str()))
        .collect();
    assert!(
        neither.is_empty(),
        "{PAGE}: no test's name and no reason for {neither:?}"
    );
}

/// The ids of these areas, from 01 to the last of each.
fn all_of(areas: &'static [(&str, u32)]) -> impl Iterator<Item = String> {
    let of_one = |(area, last): &'static (&str, u32)| (1..=*last).map(move |number| format!("{area}-{number:02}"));
    areas.iter().flat_map(of_one)
}

/// The page up to the rows without a test, and from their heading on.
fn parts(page: &str) -> (&str, &str) {
    page.split_at(page.find(UNSHOWN).unwrap_or(page.len()))
}

/// What is not shown of a statement, and why, by id.
fn reasons(unshown: &str) -> BTreeMap<&str, (&str, &str)> {
    let rows = unshown.lines().filter_map(|line| {
        let (id, _) = row(line)?;
        let mut cells = line.trim_matches('|').split(" | ").skip(1).map(str::trim);
        Some((id, (cells.next()?, cells.next()?)))
    });
    rows.collect()
}

fn with_places(page: &str, cited: &BTreeMap<String, Cited>) -> String {
    page.lines()
        .map(
            |line| match row(line).and_then(|(id, says)| Some((says, cited.get(id)?))) {
                Some((says, cited)) => format!("{says} {} |\n", places(cited)),
                None => format!("{line}\n"),
            },
        )
        .collect()
}

/// The id of a row, and the row up to its last column.
fn row(line: &str) -> Option<(&str, &str)> {
    let (id, _) = line.strip_prefix("| ")?.split_once(" |")?;
    let (says, _) = line.strip_suffix(" |")?.rsplit_once("| ")?;
    (ids(id) == [id]).then_some((id, line.get(..=says.len())?))
}

fn places(cited: &Cited) -> String {
    let tests: Vec<String> = cited.tests.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    let more = cited.tests.len().saturating_sub(NAMED);
    match (tests.is_empty(), more) {
        (false, 0) => tests.join(", "),
        (false, more) => format!("{}, and {more} more", tests.join(", ")),
        (true, _) => {
            let files: Vec<String> = cited
                .files
                .iter()
                .map(|file| format!("[{}](../../{file})", short(file)))
                .collect();
            let is_tested = cited.files.iter().any(|file| file.contains("tests"));
            let words = if is_tested {
                "cases in"
            } else {
                "no test of this name; cited in"
            };
            format!("{words} {}", files.join(", "))
        }
    }
}

/// A file's name with its folder: enough to know it by.
fn short(file: &str) -> String {
    let parts: Vec<&str> = file.rsplitn(3, '/').collect();
    format!("{}/{}", parts[1], parts[0])
}

fn cited() -> BTreeMap<String, Cited> {
    let mut all: BTreeMap<String, Cited> = BTreeMap::new();
    for (path, text) in code() {
        for line in text.lines() {
            for id in ids(line) {
                all.entry(id.to_owned()).or_default().files.insert(path.clone());
            }
        }
        for name in functions(&text) {
            for id in ids_of_a_name(&name) {
                all.entry(id).or_default().tests.insert(name.clone());
            }
        }
    }
    all
}

/// Words such as `I-03` and `OIDC-14`: one to four capitals or digits, a hyphen, two digits.
fn ids(line: &str) -> Vec<&str> {
    line.split(|one: char| !one.is_ascii_alphanumeric() && one != '-')
        .filter(|word| {
            word.split_once('-')
                .is_some_and(|(area, number)| is_an_id(area, number))
        })
        .filter(|word| !word.bytes().any(|byte| byte.is_ascii_lowercase()))
        .collect()
}

fn is_an_id(area: &str, number: &str) -> bool {
    (1..=4).contains(&area.len())
        && area.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && number.len() == 2
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The ids that a test's name begins with: `h1_29_h1_28_…`.
fn ids_of_a_name(name: &str) -> Vec<String> {
    let words: Vec<&str> = name.split('_').collect();
    words
        .chunks(2)
        .map_while(|pair| match pair {
            [area, number] if is_an_id(area, number) => Some(format!("{}-{number}", area.to_uppercase())),
            _ => None,
        })
        .collect()
}

#[test]
fn a_row_without_a_test_has_its_id_what_and_why() {
    let page = format!(
        "| A-01 | Said. | own | x |\n\n{UNSHOWN}\n\n| Id | What | Why |\n|---|---|---|\n| H-24 | Lens | A window. |\n"
    );
    let (tested, unshown) = parts(&page);
    assert!(tested.contains("A-01") && !tested.contains("H-24"));
    assert_eq!(reasons(unshown), BTreeMap::from([("H-24", ("Lens", "A window."))]));
}

#[test]
fn ids_are_found_in_lines_and_in_names() {
    assert_eq!(
        ids("(I-03, G-07/OIDC-14; RFC-7519, ES-2, x-10, 10-10)"),
        ["I-03", "G-07", "OIDC-14"]
    );
    assert_eq!(
        ids_of_a_name("d_05_hdr_01_nothing_is_left_10_times"),
        ["D-05", "HDR-01"]
    );
    assert!(ids_of_a_name("a_day_later_all_is_well").is_empty());
}
