//! `gatescribe audit policy`: files alone are read; no gateway is asked and nobody signs in.

use serde_json::{Value, json};

use crate::machine::{Machine, text};

const POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: None
  users: [bob]
- level: Request
  verbs: [create, delete]
  resources:
  - resources: [configmaps]
  omitStages: [RequestReceived]
- level: Metadata
";

fn machine(policy: &str) -> (Machine, String) {
    let machine = Machine::new();
    let file = machine.home.path().join("audit.yaml");
    std::fs::write(&file, policy).unwrap();
    (machine, file.display().to_string())
}

#[test]
fn a_policy_that_cannot_be_used_is_told_whole_with_places() {
    let (machine, file) =
        machine("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: metadata\n- levle: None\n");
    let done = machine.run(&["audit", "policy", "check", &file]);
    assert_eq!(done.status.code(), Some(1));
    assert_eq!(
        text(&done.stdout),
        format!(
            "✖ {file}:4:10 rule 1: there is no level `metadata`\n    is `Metadata` meant?\n\
             ✖ {file}:5:3 rule 2: a rule has no member `levle`\n    is `level` meant?\n\
             ✖ {file}:5:3 rule 2: a rule has no `level`\n    write one of None, Metadata, Request, RequestResponse\n"
        )
    );
    assert_eq!(text(&done.stderr), format!("✖ {file} cannot be used: 3 mistakes\n"));
    let done = machine.run(&["audit", "policy", "explain", &file, "get", "pods"]);
    assert_eq!((done.status.code(), text(&done.stdout).as_str()), (Some(1), ""));
    assert!(
        text(&done.stderr).contains(":4:10 rule 1: there is no level"),
        "{}",
        text(&done.stderr)
    );
    let done = machine.run(&["audit", "policy", "check", "/nowhere/audit.yaml"]);
    assert_eq!(done.status.code(), Some(9), "{}", text(&done.stderr));
}

#[test]
fn what_a_policy_probably_does_not_do_is_told_and_counts_where_that_is_asked() {
    let (machine, file) = machine(POLICY);
    let done = machine.run(&["audit", "policy", "check", &file]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let told = text(&done.stdout);
    for words in [
        "! FILE:4:10 rule 1: level None for changes, sessions in pods and nodes, reading secrets",
        "! FILE:6:10 rule 2: level Request asks for bodies that hold secrets: configmaps",
        "· FILE:10:3: `omitStages` changes nothing in the ledger",
    ] {
        assert!(told.contains(&words.replace("FILE", &file)), "{words}\n{told}");
    }
    assert!(
        text(&done.stderr).ends_with("can be used: 2 warnings, 1 note\n"),
        "{}",
        text(&done.stderr)
    );
    let strict = machine.run(&["audit", "policy", "check", &file, "--strict", "-o", "json"]);
    assert_eq!(strict.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&strict.stdout).unwrap();
    assert_eq!(
        (&told["kind"], &told["usable"]),
        (&json!("AuditPolicyCheck"), &json!(true))
    );
    let codes: Vec<&Value> = told["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["code"])
        .collect();
    assert_eq!(codes, ["littleRecord", "bodiesOfSecrets", "noEffectHere"]);
    assert_eq!(told["findings"][0]["rule"], 1);
    let preset = machine.run(&["audit", "policy", "preset"]);
    std::fs::write(&file, &preset.stdout).unwrap();
    let done = machine.run(&["audit", "policy", "check", &file, "--strict"]);
    assert_eq!((done.status.code(), text(&done.stdout).as_str()), (Some(0), ""));
    assert_eq!(text(&done.stderr), format!("✔ {file}: nothing to say\n"));
}

#[test]
fn of_a_call_the_level_the_rule_and_what_the_rules_before_miss_are_told() {
    let (machine, file) = machine(POLICY);
    let explain = |more: &[&str]| machine.run(&[&["audit", "policy", "explain", file.as_str()], more].concat());
    let done = explain(&[
        "create",
        "configmaps",
        "-n",
        "shop",
        "--as",
        "alice",
        "--as-group",
        "dev",
    ]);
    assert_eq!(
        (done.status.code(), text(&done.stdout).as_str()),
        (
            Some(0),
            "Request\n  rule 2 decides: it is the first that matches\n  rule 1 is for other `users`\n  the API server would omit the stages RequestReceived\n"
        )
    );
    let level = |more: &[&str]| {
        let done = explain(&[more, &["-o", "json"]].concat());
        let told: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{}", text(&done.stderr)));
        (told["level"].clone(), told["kept"].clone(), told["rule"].clone())
    };
    assert_eq!(
        level(&["delete", "/metrics", "--as", "bob"]),
        (json!("None"), json!("None"), json!(1))
    );
    assert_eq!(
        level(&["get", "/metrics"]),
        (json!("Metadata"), json!("Metadata"), json!(3))
    );
    assert_eq!(level(&["get", "widgets.example.com/a", "--as", "al"]).0, "Metadata");
    for (line, words) in [
        (&["get", "po"][..], "`po` is no built-in resource in plural"),
        (
            &["get", "/metrics", "-n", "a"],
            "a path has neither a namespace nor a subresource",
        ),
        (&["get", "pods", "--as-group", "dev"], "--as"),
    ] {
        let done = explain(line);
        assert_eq!(done.status.code(), Some(2), "{line:?}");
        assert!(text(&done.stderr).contains(words), "{line:?}: {}", text(&done.stderr));
    }
}

#[test]
fn where_clusters_differ_from_the_shared_policy_is_told_for_each_by_calls_and_by_rules() {
    let (machine, shared) = machine(POLICY);
    let write = |name: &str, text: &str| {
        let file = machine.home.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let same = write(
        "staging.yaml",
        &POLICY.replace("verbs: [create, delete]", "verbs: [delete, create]"),
    );
    let less = write(
        "less.yaml",
        &POLICY.replace("verbs: [create, delete]", "verbs: [create]"),
    );
    let bad = write("bad.yaml", "rules: [");
    let diff = |more: &[&str]| machine.run(&[&["audit", "policy", "diff", shared.as_str()], more].concat());
    let prod = format!("prod={less}");
    let done = diff(&[&same, &prod]);
    assert_eq!(
        (done.status.code(), text(&done.stdout).as_str()),
        (
            Some(1),
            "✔ staging: says the same in other words
  rules (- shared, + here):
    -   2  Request; verbs: create, delete; resources: core/configmaps; omitStages: RequestReceived
    +   2  Request; verbs: delete, create; resources: core/configmaps; omitStages: RequestReceived
✖ prod: 1 difference
  Metadata here (rule 3), Request without RequestReceived in the shared policy (rule 2):
      delete configmaps: anybody else, nobody who is known
  rules (- shared, + here):
    -   2  Request; verbs: create, delete; resources: core/configmaps; omitStages: RequestReceived
    +   2  Request; verbs: create; resources: core/configmaps; omitStages: RequestReceived
"
        )
    );
    assert_eq!(text(&done.stderr), "1 cluster the same, 1 differ\n");
    assert_eq!(diff(&[&shared, &same]).status.code(), Some(0));
    let done = diff(&[&bad, &prod, "-o", "json"]);
    assert_eq!(done.status.code(), Some(10));
    let told: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(told["kind"], "AuditPolicyDiff");
    assert_eq!(
        (
            &told["clusters"][0]["usable"],
            &told["clusters"][1]["same"],
            &told["clusters"][1]["whole"]
        ),
        (&json!(false), &json!(false), &json!(true))
    );
    let difference = &told["clusters"][1]["differences"][0];
    assert_eq!(
        (&difference["here"]["level"], &difference["shared"]["rule"]),
        (&json!("Metadata"), &json!(2))
    );
    assert_eq!(difference["calls"][0]["verbs"], json!(["delete"]));
    assert_eq!(diff(&["/nowhere.yaml"]).status.code(), Some(9));
}
