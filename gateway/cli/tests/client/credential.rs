//! `gatescribe kube credential`: what kubectl gets, how often anybody is asked, and what is kept of a session.

use std::process::Output;

use serde_json::{Value, json};

use crate::gateway::Script;
use crate::machine::{Machine, assert_refused, text, token};

fn all(machine: &Machine, count: usize, info: &Value) -> Vec<Output> {
    let children: Vec<_> = (0..count).map(|_| machine.credential(info).spawn().unwrap()).collect();
    children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .collect()
}

#[test]
fn twenty_processes_without_a_session_open_one_browser_and_all_get_a_token() {
    let machine = Machine::new();
    let outputs = all(&machine, 20, &machine.info(true));
    let tokens: std::collections::BTreeSet<String> = outputs.iter().map(token).collect();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    assert_eq!(machine.browsers(), 1);
    assert_eq!(machine.gateway.requests("/authorize").len(), 1);
    assert_eq!(machine.gateway.requests("/token").len(), 1);
}

#[test]
fn an_expired_token_is_renewed_once_for_twenty_processes() {
    let machine = Machine::signed_in();
    let before = machine.gateway.requests("/token").len();
    let outputs = all(&machine, 20, &machine.info(false));
    let tokens: std::collections::BTreeSet<String> = outputs.iter().map(token).collect();
    assert_eq!((tokens.len(), machine.browsers()), (1, 0));
    assert_eq!(machine.gateway.requests("/token").len(), before + 1);
}

#[test]
fn a_kept_token_needs_neither_network_nor_lock() {
    let machine = Machine::signed_in();
    let first = token(&machine.credential(&machine.info(false)).output().unwrap());
    let lock = std::fs::File::options().write(true).open(machine.file("lock")).unwrap();
    lock.lock().unwrap();
    let asked = machine.gateway.all_requests();
    machine.gateway.script(Script::Silent);
    for version in ["v1", "v1beta1"] {
        let info = machine.info_for(&machine.gateway.server(), true, version);
        let output = machine.credential(&info).output().unwrap();
        assert_eq!(token(&output), first);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["apiVersion"], format!("client.authentication.k8s.io/{version}"));
        assert_eq!(text(&output.stderr), "");
    }
    assert_eq!(machine.gateway.all_requests(), asked);
}

#[test]
fn where_nobody_is_nothing_is_opened_asked_or_waited_for_and_one_message_is_said() {
    let machine = Machine::new();
    machine.gateway.script(Script::Silent);
    let login = format!("run gatescribe login {}", machine.gateway.url());
    let began = std::time::Instant::now();
    assert_refused(&machine.credential(&machine.info(false)).output().unwrap(), 3, &login);
    // Never free: whoever waited for it would not come back.
    let lock = machine.file("told").with_extension("lock");
    let lock = std::fs::File::create(lock).unwrap();
    lock.lock().unwrap();
    // kubectl calls up to six times in a row.
    for _ in 0..5 {
        let again = machine.credential(&machine.info(false)).output().unwrap();
        // "No" counts for ten seconds, in which a slow machine may not run six processes.
        let is_silent = text(&again.stderr).is_empty() || began.elapsed().as_secs() >= 10;
        assert!(again.status.code() == Some(3) && is_silent, "{again:?}");
    }
    assert_refused(&machine.credential_of_another_parent(&machine.info(false)), 3, &login);
    let mut quiet = machine.credential(&machine.info(true));
    std::fs::remove_file(machine.file("told")).unwrap();
    assert_refused(&quiet.env("GATESCRIBE_NO_BROWSER", "1").output().unwrap(), 3, &login);
    assert_eq!((machine.browsers(), machine.gateway.all_requests()), (0, 0));
}

#[test]
fn a_script_waits_neither_for_a_person_who_signs_in_nor_after_a_session_that_is_over() {
    use std::io::Write as _;
    let machine = Machine::signed_in();
    let asked = machine.gateway.all_requests();
    let mut lock = std::fs::File::options().write(true).open(machine.file("lock")).unwrap();
    lock.lock().unwrap();
    lock.write_all(b"4711 signs in").unwrap();
    // There is a session to renew, and somebody else at it for as long as a person takes.
    assert_refused(
        &machine.credential_of_another_parent(&machine.info(false)),
        3,
        "somebody is signing in with another gatescribe (pid 4711)",
    );
    let signs_in = "somebody is signing in with another gatescribe (pid 4711)";
    machine.change_kept(|kept| kept["tokens"] = json!({}));
    assert_refused(&machine.run(&["whoami"]), 3, signs_in);
    machine.change_kept(|kept| kept["session"] = Value::Null);
    let login = format!("run gatescribe login {}", machine.gateway.url());
    assert_refused(&machine.credential_of_another_parent(&machine.info(false)), 3, &login);
    assert_refused(&machine.run(&["whoami"]), 3, &login);
    assert_eq!((machine.browsers(), machine.gateway.all_requests()), (0, asked));
}

#[test]
fn clocks_that_differ_are_said_with_both_times_and_what_to_do() {
    let machine = Machine::signed_in();
    machine.gateway.script(Script::Ahead);
    let output = machine.credential_of_another_parent(&machine.info(false));
    token(&output);
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    for words in [
        "! the gateway's clock and this machine's differ by 180 min",
        "(there 20",
        ", here 20",
        "set the clock (timedatectl set-ntp true)",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    // Where it went wrong it stands beside the reason.
    machine.gateway.end_sessions();
    machine.change_kept(|kept| kept["tokens"] = json!({}));
    let output = machine.credential_of_another_parent(&machine.info(false));
    assert_refused(&output, 3, "the session has ended");
    assert!(
        text(&output.stderr).contains("set the clock (timedatectl"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn another_server_never_gets_the_token() {
    let machine = Machine::signed_in();
    token(&machine.credential(&machine.info(false)).output().unwrap());
    let asked = machine.gateway.requests("/token").len();
    let evil = machine.info_for("https://evil.example", true, "v1");
    assert_refused(
        &machine.credential_of_another_parent(&evil),
        4,
        "no token is given to this server",
    );
    let mut other_ca = machine.info(true);
    other_ca["spec"]["cluster"]["certificate-authority-data"] = json!("RXZpbA==");
    assert_refused(&machine.credential_of_another_parent(&other_ca), 4, "with its own CA");
    let mut unverified = machine.info(true);
    unverified["spec"]["cluster"]["insecure-skip-tls-verify"] = json!(true);
    assert_refused(
        &machine.credential_of_another_parent(&unverified),
        4,
        "insecure-skip-tls-verify",
    );
    assert_eq!(
        (machine.gateway.requests("/token").len(), machine.browsers()),
        (asked, 0)
    );
    token(&machine.credential_of_another_parent(&machine.info(false)));
}

#[test]
fn a_cluster_that_moved_is_learned_from_the_gateway_and_not_from_kubectl() {
    let machine = Machine::signed_in();
    machine.change_kept(|kept| kept["clusters"][0]["server"] = json!("https://before.example"));
    token(&machine.credential(&machine.info(false)).output().unwrap());
    assert_eq!(machine.kept()["clusters"][0]["server"], machine.gateway.server());
}

#[test]
fn the_key_of_an_exchange_is_saved_before_and_the_new_handle_before_the_token_is_used() {
    let machine = Machine::signed_in();
    let old = machine.kept()["session"]["handle"].clone();
    let file = machine.file("json");
    let (sender, seen) = std::sync::mpsc::channel();
    machine.gateway.on_renewal(move |form| {
        let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        sender
            .send((kept["exchangeUnderWay"].clone(), form["request_id"].clone()))
            .unwrap();
    });
    let output = machine.credential(&machine.info(false)).output().unwrap();
    token(&output);
    let (kept, sent) = seen.recv().unwrap();
    assert_eq!(kept, json!(sent));
    assert_ne!(machine.kept()["session"]["handle"], old);
    assert_eq!(machine.kept()["exchangeUnderWay"], Value::Null);
}

#[test]
fn a_renewal_that_cannot_be_saved_hands_out_nothing() {
    let machine = Machine::signed_in();
    let file = machine.file("json");
    machine.gateway.on_renewal(move |_| {
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
    });
    let output = machine.credential(&machine.info(false)).output().unwrap();
    assert_refused(&output, 9, "the session cannot be kept");
}

#[test]
fn a_holder_that_dies_lets_go_and_its_exchange_is_finished_by_the_next() {
    let machine = Machine::signed_in();
    let held = machine.gateway.hold_answers();
    let mut dying = machine.credential(&machine.info(false)).spawn().unwrap();
    let first = held.wait_for_request();
    let mut waiting = machine.credential(&machine.info(false)).spawn().unwrap();
    dying.kill().unwrap();
    dying.wait().unwrap();
    let second = held.wait_for_request();
    assert_eq!(
        (&first["request_id"], &first["refresh_token"]),
        (&second["request_id"], &second["refresh_token"])
    );
    held.release();
    let mut stdout = String::new();
    std::io::Read::read_to_string(waiting.stdout.as_mut().unwrap(), &mut stdout).unwrap();
    assert!(waiting.wait().unwrap().success());
    assert!(stdout.contains("ExecCredential"), "{stdout}");
    assert_eq!(machine.gateway.sessions_ended(), 0);
}

#[test]
fn a_network_failure_keeps_the_session_and_says_so() {
    let machine = Machine::signed_in();
    machine.gateway.script(Script::Hangup);
    let output = machine.credential_of_another_parent(&machine.info(true));
    assert_refused(&output, 7, "your session stays");
    machine.gateway.script(Script::Unavailable);
    assert_refused(
        &machine.credential_of_another_parent(&machine.info(true)),
        7,
        "your session stays",
    );
    assert_eq!(machine.browsers(), 0);
    machine.gateway.script(Script::Ordinary);
    token(&machine.credential_of_another_parent(&machine.info(false)));
}

#[test]
fn a_session_that_is_over_leads_to_a_new_sign_in() {
    let machine = Machine::signed_in();
    machine.gateway.end_sessions();
    assert_refused(
        &machine.credential_of_another_parent(&machine.info(false)),
        3,
        "the session has ended",
    );
    assert_eq!(
        (machine.kept()["session"].clone(), machine.kept()["tokens"].clone()),
        (Value::Null, json!({}))
    );
    token(&machine.credential_of_another_parent(&machine.info(true)));
    assert_eq!(machine.browsers(), 1);
}

#[test]
fn a_hundred_calls_after_a_cancelled_sign_in_open_no_second_browser() {
    let machine = Machine::new();
    machine.gateway.script(Script::SignInRefused);
    assert_refused(
        &machine.credential(&machine.info(true)).output().unwrap(),
        3,
        "the person cancelled",
    );
    let login = format!("run gatescribe login {}", machine.gateway.url());
    for _ in 0..10 {
        assert_refused(&machine.credential_of_another_parent(&machine.info(true)), 3, &login);
    }
    for output in all(&machine, 90, &machine.info(true)) {
        assert_eq!(output.status.code(), Some(3));
    }
    assert_eq!(machine.browsers(), 1);
    // A sign-in that succeeds opens the way again.
    machine.gateway.script(Script::Ordinary);
    assert!(machine.run(&["login", machine.gateway.url()]).status.success());
    machine.gateway.end_sessions();
    token(&machine.credential_of_another_parent(&machine.info(true)));
    assert_eq!(machine.browsers(), 3);
}
