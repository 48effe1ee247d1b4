//! Signing in and out, and who one is then.

use std::process::Command;

use serde_json::{Value, json};

use crate::gateway::Script;
use crate::machine::{BINARY, Machine, assert_refused, text, token};

#[test]
fn login_writes_a_context_without_a_secret_and_keeps_what_was_there() {
    let machine = Machine::new();
    let before = "# mine\nclusters: []\ncurrent-context: other # stays\n";
    std::fs::write(machine.kubeconfig(), before).unwrap();
    let done = machine.run(&["login", machine.gateway.url()]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(text(&done.stdout), "");
    let said = text(&done.stderr);
    assert!(
        said.contains("signed in at") && said.contains("alice@example.test"),
        "{said}"
    );
    let after = std::fs::read_to_string(machine.kubeconfig()).unwrap();
    assert!(
        after.starts_with("# mine\n") && after.contains("current-context: other # stays\n"),
        "{after}"
    );
    assert!(
        after.contains(&format!("command: {BINARY}\n")) && after.contains("- name: prod\n"),
        "{after}"
    );
    assert!(!after.contains("gsh1.") && !after.contains("eyJ"), "{after}");
    // The page that the browser got.
    assert!(machine.gateway.page().contains("Signed in as alice@example.test"));
}

#[cfg(unix)]
#[test]
fn where_the_secrets_lie_is_said_once_and_nobody_else_can_read_them() {
    use std::os::unix::fs::PermissionsExt as _;
    let machine = Machine::new();
    // Whatever the person's umask lets others do.
    let mut login = Command::new("/bin/sh");
    login.args(["-c", "umask 000; \"$@\"", "sh", BINARY, "login", machine.gateway.url()]);
    let said = text(&machine.surround(&mut login).output().unwrap().stderr);
    let file = machine.file("json");
    assert!(
        said.contains(&format!(
            "its secrets lie in {}, for your account alone",
            file.display()
        )),
        "{said}"
    );
    let own = machine.home.path().join("own");
    let mut seen = Vec::new();
    for folder in [own.as_path(), file.parent().unwrap()] {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
            seen.push(path);
        }
    }
    assert_eq!(own.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(seen.len(), 4, "{seen:?}");
    let again = machine.run(&["login", machine.gateway.url()]);
    assert!(
        !text(&again.stderr).contains("its secrets lie in"),
        "{}",
        text(&again.stderr)
    );
}

#[test]
fn a_fresh_sign_in_makes_the_provider_ask_in_a_browser_here_and_elsewhere() {
    let machine = Machine::new();
    let login = [
        "login",
        machine.gateway.url(),
        "--fresh",
        "--acr",
        "phr",
        "--acr",
        "urn:x y",
    ];
    let wished = "prompt=login&max_age=600&acr_values=phr%20urn%3Ax%20y";
    let done = machine.run(&login);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let asked = machine.gateway.requests("/authorize");
    assert!(
        asked.iter().all(|query| query.contains(wished)) && asked.len() == 1,
        "{asked:?}"
    );
    let shown = machine.run(&[&login[..], &["--device"]].concat());
    let shown = text(&shown.stderr);
    assert!(shown.contains(&format!("/device?{wished}")), "{shown}");
    assert_refused(
        &machine.run(&["login", machine.gateway.url(), "--acr", "phr"]),
        2,
        "--fresh",
    );
}

#[test]
fn names_that_are_taken_are_said_before_anybody_signs_in() {
    let machine = Machine::new();
    let before = "contexts:\n- name: prod\n  context: {cluster: direct, user: admin}\n";
    std::fs::write(machine.kubeconfig(), before).unwrap();
    assert_refused(&machine.run(&["login", machine.gateway.url()]), 6, "--context-prefix");
    assert_eq!(
        (
            machine.browsers(),
            std::fs::read_to_string(machine.kubeconfig()).unwrap().as_str()
        ),
        (0, before)
    );
    let done = machine.run(&["login", machine.gateway.url(), "--context-prefix", "gate-"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
}

#[test]
fn a_terminal_without_a_browser_shows_a_code_and_waits_for_it() {
    let machine = Machine::new();
    let mut command = machine.command(&["login", machine.gateway.url()]);
    let done = command
        .env_remove("BROWSER")
        .env("SSH_CONNECTION", "x")
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("code  WDJB-MJHT"), "{}", text(&done.stderr));
    assert_eq!(machine.gateway.requests("/authorize").len(), 0);
    token(&machine.credential(&machine.info(false)).output().unwrap());
}

#[test]
fn whoami_shows_what_the_gateway_says_and_logout_leaves_no_secret() {
    let machine = Machine::signed_in();
    let told = machine.run(&["whoami", "--claims", "-o", "json"]);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(
        (&told["apiVersion"], &told["username"]),
        (&json!("gatescribe/v1"), &json!("alice@example.test"))
    );
    assert_eq!(told["claims"]["sub"], "42");
    assert!(told["bindingsUnknown"].is_string(), "this gateway is older: {told}");
    let handle = machine.kept()["session"]["handle"].as_str().unwrap().to_owned();
    assert!(machine.run(&["logout"]).status.success());
    assert_eq!(machine.gateway.requests("/revoke"), [format!("token={handle}")]);
    let left = std::fs::read_to_string(machine.file("json")).unwrap();
    assert!(!left.contains("gsh1.") && !left.contains("eyJ"), "{left}");
    assert_refused(&machine.run(&["whoami"]), 3, "you are not signed in at");
    assert!(machine.kubeconfig().exists());
}

#[test]
fn a_sign_out_that_the_gateway_did_not_hear_of_is_said() {
    let machine = Machine::signed_in();
    machine.gateway.script(Script::Hangup);
    assert_refused(&machine.run(&["logout"]), 7, "was not told");
    let left = std::fs::read_to_string(machine.file("json")).unwrap();
    assert!(!left.contains("gsh1."), "{left}");
}
