//! The table by which bodies are read (`policy/payload/src/table.txt`) against Kubernetes' own types, field by field and both ways: a field with
//! another number or form would be read as something else, and one that the table lacks in a secret would be masked as unknown.
//!
//! The oracle is `tests/counterparts/oracle/oracle-schema`, which walks the generated types by their struct tags.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the lints spare only `#[test]` functions"
)]

use std::collections::BTreeMap;
use std::process::Command;

use model::status;
use serde_json::Value;
use tests::counterparts::{program, repository};

/// A field as the table and the oracle say it, by its name in JSON; those whose fields stand in the parent have no name, and go by their number.
type Fields = BTreeMap<(String, u64), Field>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    form: String,
    is_optional: bool,
    is_inline: bool,
}

#[derive(Default)]
struct Table {
    /// Of which message an API version and a kind are.
    kinds: BTreeMap<String, String>,
    messages: BTreeMap<String, Fields>,
}

fn ours() -> Table {
    let text = std::fs::read_to_string(repository().join("policy/payload/src/table.txt")).unwrap();
    let (mut table, mut message) = (Table::default(), String::new());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(kind) = line.strip_prefix('=') {
            let words: Vec<&str> = kind.split(' ').collect();
            table
                .kinds
                .insert(format!("{} {}", words[1], words[2]), words[0].to_owned());
        } else if let Some(field) = line.strip_prefix(' ') {
            let words: Vec<&str> = field.split(' ').collect();
            let read = Field {
                form: words[2].to_owned(),
                is_optional: words[3..].contains(&"?"),
                is_inline: words[3..].contains(&"^"),
            };
            let place = (words[1].to_owned(), words[0].parse().unwrap());
            let fields = table.messages.get_mut(&message).unwrap();
            assert_eq!(fields.insert(place, read), None, "{message} {field}");
        } else {
            message = line.to_owned();
            table.messages.insert(message.clone(), Fields::new());
        }
    }
    table
}

fn theirs() -> Table {
    let said = Command::new(program("oracle-schema").unwrap()).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let kinds = said["kinds"].as_object().unwrap();
    let types = said["types"].as_object().unwrap();
    let fields = |fields: &Value| {
        let fields = fields.as_array().unwrap().iter();
        let fields = fields.map(|field| {
            let place = (text(&field["name"]), field["number"].as_u64().unwrap());
            let read = Field {
                form: text(&field["form"]),
                is_optional: field["optional"] == true,
                is_inline: field["inline"] == true,
            };
            (place, read)
        });
        fields.collect::<Fields>()
    };
    Table {
        kinds: kinds.iter().map(|(kind, name)| (kind.clone(), text(name))).collect(),
        messages: types.iter().map(|(name, of)| (name.clone(), fields(of))).collect(),
    }
}

/// What a form is a list or a map of, and how.
fn inner(form: &str) -> (&str, &str) {
    let mut at = 0;
    loop {
        let rest = &form[at..];
        let prefix = ["[]", "map:"].into_iter().find(|prefix| rest.starts_with(prefix));
        match prefix {
            Some(prefix) => at += prefix.len(),
            None => return form.split_at(at),
        }
    }
}

struct Comparison {
    ours: Table,
    theirs: Table,
    /// Which of their types each of our messages was compared with.
    compared: BTreeMap<String, String>,
    fields: usize,
    differences: Vec<String>,
}

impl Comparison {
    fn message(&mut self, ours: &str, theirs: &str) {
        if let Some(before) = self.compared.get(ours) {
            if before != theirs {
                self.differences.push(format!("{ours} is {before} and {theirs}"));
            }
            return;
        }
        self.compared.insert(ours.to_owned(), theirs.to_owned());
        let (mine, there) = (self.ours.messages[ours].clone(), self.theirs.messages[theirs].clone());
        for place in there.keys().filter(|place| !mine.contains_key(*place)) {
            self.differences.push(format!("{ours} lacks {place:?}"));
        }
        for (place, field) in mine {
            self.fields += 1;
            match there.get(&place) {
                Some(known) => self.field(&format!("{ours} {place:?}"), &field, known),
                None => self
                    .differences
                    .push(format!("{ours} has {place:?}, which there is not")),
            }
        }
    }

    fn field(&mut self, what: &str, ours: &Field, theirs: &Field) {
        if (ours.is_optional, ours.is_inline) != (theirs.is_optional, theirs.is_inline) {
            self.differences.push(format!("{what}: {ours:?}, they say {theirs:?}"));
        }
        let ((how, of), (their_how, their_of)) = (inner(&ours.form), inner(&theirs.form));
        let is_message = (
            self.ours.messages.contains_key(of),
            self.theirs.messages.get(their_of).map(BTreeMap::len),
        );
        match is_message {
            (true, Some(_)) if how == their_how => self.message(of, their_of),
            // A message without fields has no form of its own in the table.
            (false, Some(0)) if of == "Any" && how == their_how => {}
            (false, None) if ours.form == theirs.form => {}
            _ => self
                .differences
                .push(format!("{what}: {}, they say {}", ours.form, theirs.form)),
        }
    }
}

const META: &str = "k8s.io/apimachinery/pkg/apis/meta/v1";

#[test]
fn promise_6_the_table_of_bodies_is_kubernetes_own_schema() {
    let (ours, theirs) = (ours(), theirs());
    let mut comparison = Comparison {
        ours,
        theirs,
        compared: BTreeMap::new(),
        fields: 0,
        differences: Vec::new(),
    };
    for (kind, message) in comparison.ours.kinds.clone() {
        match comparison.theirs.kinds.get(&kind).cloned() {
            Some(there) => comparison.message(&message, &there),
            None => comparison.differences.push(format!("there is no {kind}")),
        }
    }
    // Of no group: they stand in every answer's place.
    for kind in [
        "Status",
        "List",
        "PartialObjectMetadata",
        "PartialObjectMetadataList",
        "DeleteOptions",
        "Table",
    ] {
        comparison.message(&format!("meta.{kind}"), &format!("{META}.{kind}"));
    }
    // Every kind of an API version that the table has.
    let versions: Vec<&str> = comparison
        .ours
        .kinds
        .keys()
        .filter_map(|kind| kind.split(' ').next())
        .collect();
    for kind in comparison.theirs.kinds.keys() {
        let of_ours = kind
            .split(' ')
            .next()
            .is_some_and(|version| versions.contains(&version));
        if of_ours && !comparison.ours.kinds.contains_key(kind) && kind != "v1 List" {
            comparison.differences.push(format!("the table lacks {kind}"));
        }
    }
    assert!(comparison.differences.is_empty(), "{:#?}", comparison.differences);
    println!(
        "schema messages={} fields={}",
        comparison.compared.len(),
        comparison.fields
    );
    assert!(
        comparison.compared.len() > 550 && comparison.fields > 2_000,
        "the walk reaches what there is"
    );
    for secret in [
        "core.Secret",
        "core.ConfigMap",
        "core.EnvVar",
        "core.Container",
        "authentication.TokenReviewSpec",
        "authentication.TokenRequestStatus",
        "certificates.CertificateSigningRequestSpec",
        "certificates.CertificateSigningRequestStatus",
        "meta.ObjectMeta",
        "meta.Status",
    ] {
        assert!(comparison.compared.contains_key(secret), "{secret} was not compared");
    }
}

/// The texts of the constants of one type in a file of Kubernetes' source.
fn constants(module: &str, file: &str, of: &str) -> Vec<String> {
    let mut list = Command::new("go");
    list.args(["list", "-m", "-f", "{{.Dir}}", module]);
    list.current_dir(repository().join("tests/counterparts/oracle"));
    let listed = list.output().unwrap_or_else(|error| panic!("go: {error}"));
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let folder = String::from_utf8(listed.stdout).unwrap();
    let source = std::fs::read_to_string(format!("{}/{file}", folder.trim())).unwrap();
    let assigned = format!(" {of} = \"");
    let mut found: Vec<String> = source
        .lines()
        .filter_map(|line| Some(line.split_once(&assigned)?.1.split_once('"')?.0.to_owned()))
        .filter(|word| !word.is_empty())
        .collect();
    found.sort();
    found.dedup();
    assert!(found.len() >= 2, "{file} has no {of}");
    found
}

#[test]
fn promise_6_the_words_of_a_status_are_those_of_kubernetes() {
    let module = "k8s.io/apimachinery";
    let types = "pkg/apis/meta/v1/types.go";
    assert_eq!(constants(module, types, "StatusReason"), status::REASONS);
    let mut causes = constants(module, types, "CauseType");
    causes.extend(constants(module, "pkg/util/validation/field/errors.go", "ErrorType"));
    causes.sort();
    causes.dedup();
    assert_eq!(causes, status::CAUSES);
}
