//! The book says what the program does: generated pages are what the code generates, every example is read by the code that
//! would read it in earnest, and every test that a page names exists, and every
//! statement that the code cites stands in the list of statements.
//!
//! `UPDATE_DOCS=1 cargo test -p gatescribe-tests --test docs_are_true` rewrites the generated pages.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the lints spare only `#[test]` functions"
)]

#[path = "docs_are_true/commands.rs"]
mod commands;
#[path = "docs_are_true/kept.rs"]
mod kept;
#[path = "docs_are_true/kinds.rs"]
mod kinds;
#[path = "docs_are_true/names.rs"]
mod names;
#[path = "docs_are_true/proof.rs"]
mod proof;
#[path = "docs_are_true/statements.rs"]
mod statements;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::counterparts::repository;
use tests::demo::Surroundings;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::kubectl::run;
use tests::metrics::Scrape;
use tests::ports::Port;
use tests::wait::PATIENCE;

// ---- generated pages ----

#[test]
fn the_configuration_page_is_what_the_schema_says() {
    compare(
        "docs/reference/configuration.md",
        &configuration_page(&cli::config::json_schema()),
    );
}

#[test]
fn the_published_schema_is_the_one_that_checks_configurations() {
    let mut text = serde_json::to_string_pretty(&sorted(&cli::config::json_schema())).unwrap();
    text.push('\n');
    compare("docs/reference/gatescribe.schema.json", &text);
}

#[test]
fn the_page_of_exit_codes_lists_every_code() {
    let mut page = head("Exit codes", "gateway/cli/src/exit.rs");
    page.push_str(
        "The same for every command, and stable. A command uses those that make sense for it; `--help` says which.\n\n",
    );
    page.push_str("| Code | Meaning |\n|---|---|\n");
    for (_, says, code) in variants("gateway/cli/src/exit.rs", "pub enum Exit") {
        let _ = writeln!(page, "| {code} | {says} |");
    }
    compare("docs/reference/exit-codes.md", &page);
}

#[test]
fn the_page_of_conditions_lists_every_variable_and_function() {
    let mut page = head(
        "Conditions of access rules",
        "policy/access/src/rule/condition.rs, policy/condition/src/functions/table.rs",
    );
    page.push_str("`when:` of an [access rule](../how-to/write-access-rules.md) is one expression in CEL that says true or false. Names, types and functions are checked when the rule is loaded. ");
    page.push_str("What is not known in a call (an address, the age of a certificate's sign-in) is absent: a condition that needs it fails, and the rule fails closed.\n\n");
    page.push_str("## Variables\n\n| Name | Members or type |\n|---|---|\n");
    for (name, members) in access::rule::DECLARED {
        let _ = writeln!(page, "| `{name}` | {members} |");
    }
    let _ = write!(page, "\n## Functions\n\n{}.\n", quoted(&condition::function_names()));
    page.push_str(FORMS);
    let _ = write!(
        page,
        "\n## Limits\n\nAn expression has at most {} bytes, {} nodes, a depth of {}, and {} loops inside one another. Evaluation has a counted budget.\n",
        condition::MAX_EXPRESSION_BYTES,
        condition::MAX_NODES,
        condition::MAX_DEPTH,
        condition::MAX_NESTED_LOOPS
    );
    compare("docs/reference/conditions.md", &page);
}

#[test]
fn the_page_of_metrics_and_the_alerts_say_what_a_running_gateway_says() -> anyhow::Result<()> {
    // Series of a witness are there from the start, whether it answers or not.
    let witness = json!({
        "name": "elsewhere", "url": "http://127.0.0.1:9",
        "publicKey": "witness.example+0080fed4+BAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f",
    });
    let port = Port::reserve()?;
    let asked = json!({ "name": "witness", "address": port.address().to_string(), "serves": ["witness"] });
    let log = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let options = Options {
        more: Some(json!({
            "listeners": [{}, {}, asked],
            "ledger": { "witnesses": [witness], "witnessFor": [log] },
        })),
        ..Options::default()
    };
    let gateway = Gateway::before(&FakeApiServer::start()?.upstream(), &options)?;
    let scrape = Scrape::of(gateway.admin())?;
    let alerts = alerts()?;
    for (alert, expression, _) in &alerts {
        asks_what_there_is(alert, expression, &scrape);
    }
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(
        repository().join("deploy/grafana/gatescribe.json"),
    )?)?;
    let targets = dashboard["panels"].as_array().into_iter().flatten();
    let expressions: Vec<&str> = targets
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .filter_map(|target| target["expr"].as_str())
        .collect();
    assert!(expressions.len() > 10, "the dashboard has panels");
    for expression in expressions {
        asks_what_there_is("the dashboard", expression, &scrape);
    }
    compare("docs/reference/metrics.md", &metrics_page(&scrape, &alerts));
    Ok(())
}

/// Name, expression and summary of each alert.
fn alerts() -> anyhow::Result<Vec<(String, String, String)>> {
    let text = std::fs::read_to_string(repository().join("deploy/prometheus/alerts.yaml"))?;
    let file: Value = serde_saphyr::from_str(&text)?;
    let rules = file["groups"].as_array().into_iter().flatten();
    let rules = rules.flat_map(|group| group["rules"].as_array().into_iter().flatten());
    let alerts: Vec<_> = rules
        .map(|rule| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (
                text(&rule["alert"]),
                text(&rule["expr"]),
                text(&rule["annotations"]["summary"]),
            )
        })
        .collect();
    anyhow::ensure!(!alerts.is_empty(), "there are alerts");
    for (alert, expression, summary) in &alerts {
        anyhow::ensure!(
            !alert.is_empty() && !expression.is_empty() && !summary.is_empty(),
            "{alert}: {expression}: {summary}"
        );
    }
    Ok(alerts)
}

/// The metrics that an expression asks for, with its conditions on labels.
fn asked(expression: &str) -> Vec<(String, Vec<(String, String)>)> {
    let name = regex::Regex::new(r"\b(?:gateway|gatescribe|process)_[a-z0-9_]+(\{[^}]*\})?").unwrap();
    let pair = regex::Regex::new(r#"([a-z]+)=~?"([^"]*)""#).unwrap();
    let found = name.find_iter(expression).map(|found| {
        let (name, conditions) = found.as_str().split_once('{').unwrap_or((found.as_str(), ""));
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        let pairs = pair.captures_iter(conditions);
        (
            name.to_owned(),
            pairs.map(|pair| (pair[1].to_owned(), pair[2].to_owned())).collect(),
        )
    });
    found.collect()
}

fn asks_what_there_is(who: &str, expression: &str, scrape: &Scrape) {
    let asked = asked(expression);
    assert!(!asked.is_empty(), "{who} asks for nothing of ours: {expression}");
    for (name, conditions) in asked {
        let metric = scrape.metrics.get(&name);
        let metric = metric.unwrap_or_else(|| panic!("{who} asks for `{name}`, which there is not"));
        for (label, values) in conditions {
            let known = metric.labels.iter().find(|(known, _)| *known == label);
            let known = known.unwrap_or_else(|| panic!("{who}: `{name}` has no label `{label}`"));
            for value in values.split('|').filter(|value| *value != "$cluster") {
                assert!(
                    known.1.iter().any(|known| known == value),
                    "{who}: `{name}` never has {label}=`{value}`"
                );
            }
        }
    }
}

fn metrics_page(scrape: &Scrape, alerts: &[(String, String, String)]) -> String {
    let mut page = head(
        "Metrics",
        "a running gateway's /metrics and deploy/prometheus/alerts.yaml",
    );
    page.push_str("`/metrics` on the [admin address](configuration.md#admin), in the form of OpenMetrics. Every series is there from the start and none comes later: ");
    page.push_str("values of labels are members of closed lists or names of clusters, witnesses and witnessed ledgers in the configuration, so nobody who sends requests can make one. ");
    page.push_str("No label has a person, a path, an object or an address in it; for those there is the ledger.\n\n");
    page.push_str("[`deploy/prometheus/alerts.yaml`](../../deploy/prometheus/alerts.yaml) and [`deploy/grafana/gatescribe.json`](../../deploy/grafana/gatescribe.json) ");
    page.push_str("ask for nothing that is not listed here.\n");
    for (name, metric) in &scrape.metrics {
        let _ = write!(page, "\n## {name}\n\nA {}. {}\n", metric.kind, sentence(&metric.says));
        if !metric.labels.is_empty() {
            page.push('\n');
        }
        for (label, values) in &metric.labels {
            let _ = writeln!(page, "- `{label}`: {}", values_of(label, values));
        }
        let used = alerts
            .iter()
            .filter(|(_, expression, _)| asked(expression).iter().any(|(asked, _)| asked == name));
        for (number, (alert, expression, summary)) in used.enumerate() {
            let before = if number == 0 { "\n" } else { "" };
            let _ = writeln!(page, "{before}- Alert {alert}, when `{expression}`: {summary}");
        }
    }
    page
}

fn sentence(text: &str) -> String {
    if text.ends_with('.') {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

fn values_of(label: &str, values: &[String]) -> String {
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    match label {
        "version" => "the release".to_owned(),
        "witness" => "the names of the configured witnesses".to_owned(),
        "cluster" | "log" => {
            let named = match label {
                "log" => "the names of the ledgers that are witnessed",
                _ => "the names of the configured clusters",
            };
            let others: Vec<&str> = values.into_iter().filter(|value| value.starts_with('(')).collect();
            if others.is_empty() {
                named.to_owned()
            } else {
                format!("{named}, {}", quoted(&others))
            }
        }
        _ => quoted(&values),
    }
}

const FORMS: &str = "
## Forms

Literals, lists, maps, `? :`, `&&`, `||`, `!`, `+ - * / %`, `== != < <= > >=`, `in`, `x[i]`, `x.f`, the optional forms
`x.?f`, `x[?i]`, `[?e]`, `{?k: v}`, and the macros `has`, `all`, `exists`, `exists_one`, `map`, `filter`, `optMap`,
`optFlatMap`. Everything else is refused at load, by name.
";

fn quoted(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn head(title: &str, source: &str) -> String {
    format!("<!-- Generated from {source}; UPDATE_DOCS=1 rewrites it. -->\n\n# {title}\n\n")
}

/// Compares with the committed page, or rewrites it when asked to.
fn compare(path: &str, now: &str) {
    let file = repository().join(path);
    if std::env::var("UPDATE_DOCS").is_ok_and(|value| value == "1") {
        std::fs::write(&file, now).unwrap();
        return;
    }
    let then = std::fs::read_to_string(&file).unwrap_or_default();
    let same = then
        .lines()
        .zip(now.lines())
        .take_while(|(then, now)| then == now)
        .count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(end)").to_owned();
    assert!(
        then == now,
        "{path} is not what the code says, from line {}:\n  page: {}\n  code: {}\nUPDATE_DOCS=1 cargo test -p gatescribe-tests --test docs_are_true",
        same + 1,
        line(&then),
        line(now)
    );
}

/// Name, words and number of each variant of a closed list, in the order of the source.
fn variants(path: &str, begins: &str) -> Vec<(String, String, u64)> {
    let source = std::fs::read_to_string(repository().join(path)).unwrap();
    let (_, rest) = source.split_once(begins).expect("the list is where it was");
    let (body, _) = rest.split_once("\n}").expect("the list ends");
    let mut found = Vec::new();
    let mut words = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            words.push(text);
        } else if let Some((name, number)) = line.trim_end_matches(',').split_once(" = ") {
            found.push((name.to_owned(), words.join(" "), number.parse().unwrap()));
            words.clear();
        }
    }
    found
}

// ---- the configuration page ----

fn configuration_page(schema: &Value) -> String {
    let mut page = head("Configuration", "gateway/cli/src/config/types.rs");
    page.push_str("One YAML file. An unknown key, a missing one and a value that cannot work are refused at the start, all at once, each with its place. ");
    page.push_str("Paths are relative to the folder in which the gateway was started.\n\n");
    page.push_str("```sh\ngatescribe config check FILE              # say everything that is wrong\ngatescribe config show --effective FILE   # with every default filled in\ngatescribe config schema                  # the JSON Schema, for editors\n```\n\n");
    page.push_str("Keys in **bold** must be there.\n");
    let mut queue = vec![("The file".to_owned(), schema)];
    let mut done = Vec::new();
    while !queue.is_empty() {
        let (title, of) = queue.remove(0);
        let mut children = Vec::new();
        section(&mut page, schema, &title, of, &mut children);
        for name in children {
            if !done.contains(&name) {
                queue.push((name.clone(), &schema["$defs"][&name]));
                done.push(name);
            }
        }
    }
    page
}

fn section(page: &mut String, root: &Value, title: &str, of: &Value, children: &mut Vec<String>) {
    let _ = write!(page, "\n## {title}\n\n{}\n", described(of));
    if let Some(choices) = choices(of) {
        page.push_str("\n| Value | Meaning |\n|---|---|\n");
        for (value, says) in choices {
            let _ = writeln!(page, "| `{value}` | {says} |");
        }
        return;
    }
    let Some(properties) = of["properties"].as_object() else {
        return;
    };
    page.push_str("\n| Key | Type | Default | Meaning |\n|---|---|---|---|\n");
    let required: Vec<&str> = of["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut keys: Vec<&String> = properties.keys().collect();
    // The order of the map depends on features of other crates; the page must not.
    keys.sort_by_key(|key| (!required.contains(&key.as_str()), key.to_string()));
    for key in keys {
        let property = &properties[key];
        let name = if required.contains(&key.as_str()) {
            format!("**`{key}`**")
        } else {
            format!("`{key}`")
        };
        let default = match &property["default"] {
            _ if required.contains(&key.as_str()) => String::new(),
            Value::Null => "none".to_owned(),
            // A group's defaults stand in its own section.
            Value::Object(_) => "as below".to_owned(),
            value => format!("`{}`", value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        };
        let _ = writeln!(
            page,
            "| {name} | {} | {default} | {} |",
            kind(root, property, children),
            described(property)
        );
    }
}

fn described(of: &Value) -> String {
    of["description"]
        .as_str()
        .unwrap_or_default()
        .replace('\n', " ")
        .replace('|', "\\|")
}

/// What may stand there, in words; a group or a choice with a section of its own is a link to it.
fn kind(root: &Value, of: &Value, children: &mut Vec<String>) -> String {
    if let Some(name) = of["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        let target = &root["$defs"][name];
        if target["format"].is_string() {
            return format!("{name}, {}", described(target));
        }
        children.push(name.to_owned());
        return format!("[{name}](#{})", name.to_lowercase());
    }
    let alternatives = of["anyOf"]
        .as_array()
        .or_else(|| of["oneOf"].as_array())
        .or_else(|| of["allOf"].as_array());
    if let Some(one) = alternatives.into_iter().flatten().find(|one| one["type"] != "null") {
        return kind(root, one, children);
    }
    let bounds = match (of["minimum"].as_u64(), of["maximum"].as_u64()) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        _ => String::new(),
    };
    let names: Vec<&str> = match &of["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(many) => many
            .iter()
            .filter_map(Value::as_str)
            .filter(|one| *one != "null")
            .collect(),
        _ => Vec::new(),
    };
    match names.first() {
        Some(&"array") => format!("list of {}", kind(root, &of["items"], children)),
        Some(&"string") => "text".to_owned(),
        Some(&"boolean") => "`true` or `false`".to_owned(),
        Some(&"integer") => format!("whole number{bounds}"),
        other => panic!("the page has no words for {other:?}: {of}"),
    }
}

/// Values of a closed list and their words.
fn choices(of: &Value) -> Option<Vec<(String, String)>> {
    if let Some(one_of) = of["oneOf"].as_array() {
        let mut all = Vec::new();
        for one in one_of {
            let says = described(one);
            match (&one["const"], one["enum"].as_array()) {
                (Value::String(value), _) => all.push((value.clone(), says)),
                (_, Some(values)) => all.extend(
                    values
                        .iter()
                        .filter_map(Value::as_str)
                        .map(|value| (value.to_owned(), says.clone())),
                ),
                _ => return None,
            }
        }
        return Some(all);
    }
    let values = of["enum"].as_array()?;
    Some(
        values
            .iter()
            .filter_map(Value::as_str)
            .map(|value| (value.to_owned(), String::new()))
            .collect(),
    )
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<&String, Value> = map.iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(ordered.into_iter().map(|(key, value)| (key.clone(), value)).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

// ---- examples ----

#[test]
fn every_configuration_and_rule_in_the_book_is_read_by_the_gateway() {
    let start = std::fs::read_to_string(repository().join("docs/start.md")).unwrap();
    let whole = blocks(&start, "yaml")
        .into_iter()
        .map(|(_, text)| text)
        .find(|text| text.contains("listeners:"))
        .unwrap();
    let mut base = yaml(&whole);
    base["clusters"][0].as_object_mut().unwrap().remove("authorization");
    let mut seen = [0; 3];
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for (line, block) in blocks(&text, "yaml") {
            let place = format!("{}:{line}", page.strip_prefix(repository()).unwrap().display());
            let value = yaml(&block);
            if ["AccessRule", "ClusterAccessRule", "Service", "ServicePublication"]
                .iter()
                .any(|kind| value["kind"] == *kind)
            {
                seen[0] += 1;
                let loaded = access::rule::load_files([(place.as_str(), block.as_str())]);
                let problems: Vec<String> = loaded
                    .err()
                    .into_iter()
                    .flatten()
                    .map(|problem| problem.to_string())
                    .collect();
                assert_eq!(problems, Vec::<String>::new());
            } else if value["apiVersion"] == "gatescribe.dev/v1" {
                seen[1] += 1;
                read_configuration(&place, &block);
            } else {
                // A part of a configuration: it must fit into a whole one.
                seen[2] += 1;
                let mut with = base.clone();
                for (key, part) in value
                    .as_object()
                    .unwrap_or_else(|| panic!("{place}: not a part of a configuration"))
                {
                    with[key] = part.clone();
                }
                read_configuration(&place, &format!("{with:#}"));
            }
        }
    }
    assert!(
        seen.iter().all(|count| *count > 0),
        "{seen:?}: the examples were not found"
    );
}

fn read_configuration(place: &str, text: &str) {
    if let Err(problems) = cli::config::parse(place, text) {
        panic!("{}", problems.for_a_person(false, 110));
    }
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn the_mistakes_on_the_first_page_are_shown_as_the_program_shows_them() {
    let text = std::fs::read_to_string(repository().join("docs/examples/with-mistakes.yaml")).unwrap();
    let problems = cli::config::parse("with-mistakes.yaml", &text).unwrap_err();
    let picture = format!(
        "$ gatescribe config check with-mistakes.yaml\n{}\n",
        problems.for_a_person(false, 110).trim_end()
    );
    compare("docs/start.md", &with_picture("docs/start.md", &picture));
}

/// The steps of the demo's story that make the picture.
const SHOWN: [&str; 5] = [
    "kubectl create",
    "kubectl get secrets",
    "gatescribe why",
    "gatescribe audit search --since",
    "gatescribe audit search name:",
];

#[test]
fn the_picture_in_the_readme_is_a_real_run() -> anyhow::Result<()> {
    let surroundings = Surroundings::new(true)?;
    let told = run(surroundings.demo(&["--script"])?, "", PATIENCE)?;
    anyhow::ensure!(told.code == 0, "the story is not as promised: {told}");
    let steps = told.stdout.split("\n\n").filter(|step| {
        let command = step.lines().find_map(|line| Some(line.split_once("$ ")?.1));
        command.is_some_and(|command| SHOWN.iter().any(|shown| command.starts_with(shown)))
    });
    let picture: Vec<String> = steps
        .map(|step| step.lines().filter_map(in_the_picture).collect())
        .collect();
    assert_eq!(picture.len(), SHOWN.len(), "{}", told.stdout);
    compare(
        "README.md",
        &with_picture("README.md", &without_ids(&picture.join("\n"))),
    );
    Ok(())
}

/// Without what differs from run to run: days, the time of what just happened, and how much was folded away.
fn in_the_picture(line: &str) -> Option<String> {
    // The last two are said on a machine that is busy with other tests.
    let passing = ["folded away", "#", "The search ended early", "! not all was searched"];
    if passing.iter().any(|start| line.starts_with(start)) {
        return None;
    }
    // The same may be said behind something else.
    let line = line
        .split_once(" The search ended early")
        .map_or(line, |(said, _)| said);
    let is_time = line.starts_with("20") && line.as_bytes().get(10) == Some(&b' ');
    Some(match (is_time, line.contains("(sample)")) {
        (false, _) => format!("{line}\n"),
        (true, true) => format!("2026-11-18{}\n", &line[10..]),
        (true, false) => format!("2026-11-21 10:15:00{}\n", &line[19..]),
    })
}

/// Ids differ in each run: a UUID is shown by dots.
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| {
        word.len() == 36
            && word.bytes().enumerate().all(|(at, byte)| {
                if matches!(at, 8 | 13 | 18 | 23) {
                    byte == b'-'
                } else {
                    byte.is_ascii_hexdigit()
                }
            })
    };
    text.split_inclusive([' ', '\n'])
        .map(|word| {
            if is_id(word.trim_end()) {
                word.replace(word.trim_end(), "0199f2c4-…")
            } else {
                word.to_owned()
            }
        })
        .collect()
}

fn with_picture(path: &str, picture: &str) -> String {
    with_block(path, "picture", picture)
}

/// The page with this text in the block behind a mark.
fn with_block(path: &str, mark: &str, text: &str) -> String {
    let page = std::fs::read_to_string(repository().join(path)).unwrap();
    let begin = format!("<!-- {mark} -->\n```console\n");
    let (before, rest) = page.split_once(&begin).expect("a mark for the block");
    let (_, after) = rest.split_once("\n```\n").expect("the end of the block");
    format!("{before}{begin}{}\n```\n{after}", text.trim_end())
}

/// The fenced blocks of one language, with the line of their first line.
fn blocks(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let (mut inside, mut wanted) = (false, false);
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(tag) = line.trim_start().strip_prefix("```") {
            wanted = !inside && tag == language;
            inside = !inside;
            if wanted {
                found.push((number + 1, String::new()));
            }
        } else if inside
            && wanted
            && let Some((_, block)) = found.last_mut()
        {
            block.push_str(line);
            block.push('\n');
        }
    }
    found
}

fn pages() -> Vec<PathBuf> {
    let mut all = vec![
        repository().join("README.md"),
        repository().join("CONTRIBUTING.md"),
        repository().join("SECURITY.md"),
    ];
    files(&repository().join("docs"), "md", &mut all);
    all.retain(|page| page.exists());
    all
}

fn files(folder: &Path, ends: &str, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ends, all);
        } else if path.extension().is_some_and(|extension| extension == ends) {
            all.push(path);
        }
    }
    all.sort();
}

#[test]
fn the_bytes_on_the_page_of_the_ledgers_format_are_the_frozen_ones() {
    let page = std::fs::read_to_string(repository().join("docs/explanation/ledger-format.md")).unwrap();
    let frozen = std::fs::read(repository().join("gateway/ledger/tests/frozen/v1/00000000000000000000.seg")).unwrap();
    let mut lines = 0;
    for line in page.lines().filter(|line| line.starts_with("000000")) {
        let (offset, rest) = line.split_once("  ").unwrap();
        let (bytes, _) = rest.split_once("  ").unwrap();
        let offset = usize::from_str_radix(offset, 16).unwrap();
        let bytes: Vec<u8> = bytes
            .split(' ')
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect();
        assert_eq!(frozen[offset..offset + bytes.len()], bytes, "{line}");
        lines += 1;
    }
    assert!(lines > 0);
}

// ---- names ----

#[test]
fn every_decision_stands_in_the_list_of_decisions() {
    let folder = repository().join("docs/decisions");
    let list = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let mut records = Vec::new();
    files(&folder, "md", &mut records);
    assert!(records.len() > 5, "{records:?}");
    for name in records
        .iter()
        .filter_map(|record| record.file_name()?.to_str())
        .filter(|name| *name != "README.md")
    {
        assert!(list.contains(&format!("({name})")), "{name} is not listed");
    }
}
