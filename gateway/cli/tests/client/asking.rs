//! Questions to a gateway and to a cluster: what is sent, what is shown, and with which exit code.

use serde_json::{Value, json};

use crate::machine::{Machine, assert_refused, text};

#[test]
fn an_answer_of_the_gateway_becomes_an_exit_code() {
    let machine = Machine::signed_in();
    let yes = machine.run(&["can", "get", "pods", "-n", "payments"]);
    assert_eq!(
        (yes.status.code(), text(&yes.stdout)),
        (Some(0), "✔ yes\n  because  view\n".to_owned())
    );
    let no = machine.run(&["can", "delete", "pods/web-0", "-n", "payments"]);
    assert_eq!(
        (no.status.code(), text(&no.stdout)),
        (Some(1), "✖ no\n  because  no rule\n".to_owned())
    );
    let asked = machine.gateway.requests("/api/v1/can");
    assert_eq!(
        asked.last().unwrap(),
        "verb=delete&resource=pods&name=web-0&namespace=payments"
    );
    assert_refused(&machine.run(&["why", "7F3K"]), 5, "no such decision");
    assert_refused(&machine.run(&["audit", "show", "x/../y"]), 5, "not found");
    assert_eq!(machine.gateway.requests("/api/v1/audit/records/x%2F..%2Fy").len(), 1);
}

#[test]
fn a_question_names_a_resource_as_kubectl_would() {
    let machine = Machine::signed_in();
    // The scripted cluster is plain http on loopback and has no certificate to check.
    machine.change_kept(|kept| kept["clusters"][0]["caData"] = Value::Null);
    for typed in ["deploy", "deployment/web", "deployments.apps"] {
        let answer = machine.run(&["can", "get", typed]);
        assert_eq!(answer.status.code(), Some(0), "{}", text(&answer.stderr));
    }
    let asked = machine.gateway.requests("/api/v1/can");
    assert!(
        asked.len() == 3
            && asked
                .iter()
                .all(|query| query.contains("group=apps&resource=deployments")),
        "{asked:?}"
    );
    assert!(asked[1].contains("name=web"), "{asked:?}");
    assert_refused(
        &machine.run(&["can", "get", "deploymants"]),
        5,
        "no resource `deploymants`",
    );
    assert_eq!(
        machine.gateway.requests("/api/v1/can").len(),
        3,
        "what there is not is not asked about"
    );
}

#[test]
fn a_search_says_whose_acts_it_shows_and_what_was_searched() {
    let machine = Machine::signed_in();
    let found = machine.run(&["audit", "search", "user:alice", "verb:delete", "--since", "2h"]);
    assert_eq!(found.status.code(), Some(0), "{}", text(&found.stderr));
    assert!(
        text(&found.stdout).contains("kubectl delete pod web-0"),
        "{}",
        text(&found.stdout)
    );
    assert!(
        text(&found.stderr).contains("You see your own records only"),
        "{}",
        text(&found.stderr)
    );
    let asked = machine.gateway.requests("/api/v1/audit/records");
    assert_eq!(
        asked.last().unwrap(),
        "q=user%3Aalice%20verb%3Adelete&since=2h&limit=50"
    );
    let nothing = machine.run(&["audit", "search", "user:bob"]);
    assert_refused(
        &nothing,
        1,
        "nothing found from 2026-11-20T00:00:00Z to 2026-11-21T00:00:00Z",
    );
    assert!(
        text(&nothing.stderr).contains("nearest to user:bob are bobby"),
        "{}",
        text(&nothing.stderr)
    );
    assert_eq!(
        machine.run(&["audit", "search", "--since", "soon"]).status.code(),
        Some(2)
    );
    let lines = machine.run(&["audit", "search", "user:alice", "-o", "jsonl"]);
    assert_eq!(text(&lines.stdout).lines().count(), 1);
}

#[test]
fn a_followed_stream_is_written_as_it_comes() {
    use std::io::BufRead as _;
    let machine = Machine::signed_in();
    let mut child = machine.command(&["audit", "tail", "-o", "jsonl"]).spawn().unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let sequence = |line: String| serde_json::from_str::<Value>(&line).unwrap()["seq"].clone();
    // The first stream ends behind 7; the next begins where it was told to.
    assert_eq!(sequence(lines.next().unwrap().unwrap()), json!(7));
    assert_eq!(sequence(lines.next().unwrap().unwrap()), json!(8));
    assert_eq!(machine.gateway.requests("/api/v1/audit/tail"), ["", "after=7"]);
    child.kill().unwrap();
    let said = text(&child.wait_with_output().unwrap().stderr);
    // Both streams say the same count.
    let folded = "folded away: 3 of discovery, 1 of programs; --all shows them";
    assert_eq!(said.matches(folded).count(), 1, "{said}");
}

#[test]
fn a_raw_call_goes_to_the_cluster_with_its_own_token() {
    let machine = Machine::signed_in();
    // The scripted cluster is plain http on loopback and has no certificate to check.
    machine.change_kept(|kept| kept["clusters"][0]["caData"] = Value::Null);
    let body = machine.home.path().join("body.json");
    std::fs::write(&body, "{\"a\":1}").unwrap();
    let at = format!("@{}", body.display());
    let done = machine.run(&["api", "POST", "/api/v1/namespaces", "-d", &at]);
    assert_eq!(
        (done.status.code(), text(&done.stdout)),
        (Some(4), "{\"kind\":\"Status\"}".to_owned())
    );
    assert_eq!(
        machine.gateway.requests("/clusters/prod/api/v1/namespaces"),
        ["{\"a\":1}"]
    );
    let grants = machine.gateway.requests("/token");
    assert!(grants.last().unwrap().ends_with("audience=prod"), "{grants:?}");
}

#[test]
fn a_term_that_is_turned_round_reaches_the_gateway_as_it_was_typed() {
    let machine = Machine::signed_in();
    let found = machine.run(&["audit", "search", "-source:sample", "user:alice", "--since", "2h"]);
    assert!(found.status.success(), "{}", text(&found.stderr));
    let asked = machine.gateway.requests("/api/v1/audit/records");
    assert_eq!(asked, ["q=user%3Aalice%20-source%3Asample&since=2h&limit=50"]);
}
