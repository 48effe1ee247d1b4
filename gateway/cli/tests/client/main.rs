//! The client's commands as real processes against a scripted gateway of this process, with a browser that counts.
//!
//! Nothing sleeps here: whatever has to wait, waits for a file, a request or the end of a process.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where its surroundings are not as they have to be"
)]

mod gateway;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use gateway::{Gateway, Script};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_gatescribe");
const BROWSER_FILE: &str = "GATESCRIBE_TEST_BROWSER";

/// A person's machine: a home, a scripted gateway, a browser.
struct Machine {
    home: tempfile::TempDir,
    gateway: Gateway,
}

impl Machine {
    fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            gateway: Gateway::start(),
        }
    }

    fn signed_in() -> Self {
        let machine = Self::new();
        let done = machine.run(&["login", machine.gateway.url()]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        std::fs::remove_file(machine.opened()).unwrap();
        machine
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        self.surround(command.args(arguments));
        command
    }

    /// Nothing of the real surroundings may decide.
    fn surround<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let browser = format!("{} --exact acts_as_browser", std::env::current_exe().unwrap().display());
        command
            .env_clear()
            .env("GATESCRIBE_HOME", self.home.path().join("own"))
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.kubeconfig())
            .env("BROWSER", browser)
            .env(BROWSER_FILE, self.opened())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn credential(&self, info: &Value) -> Command {
        let mut command = self.command(&[
            "kube",
            "credential",
            "--gateway",
            self.gateway.url(),
            "--cluster",
            "prod",
        ]);
        command.env("KUBERNETES_EXEC_INFO", info.to_string());
        command
    }

    /// As [`Self::credential`], but called by a process of its own, as each kubectl is.
    fn credential_of_another_parent(&self, info: &Value) -> Output {
        let mut command = Command::new("/bin/sh");
        command.args([
            "-c",
            "\"$@\"; exit $?",
            "sh",
            BINARY,
            "kube",
            "credential",
            "--gateway",
            self.gateway.url(),
        ]);
        self.surround(command.args(["--cluster", "prod"]))
            .env("KUBERNETES_EXEC_INFO", info.to_string())
            .output()
            .unwrap()
    }

    fn info(&self, interactive: bool) -> Value {
        self.info_for(&self.gateway.server(), interactive, "v1")
    }

    fn info_for(&self, server: &str, interactive: bool, version: &str) -> Value {
        json!({
            "kind": "ExecCredential", "apiVersion": format!("client.authentication.k8s.io/{version}"),
            "spec": {"interactive": interactive, "cluster": {"server": server, "certificate-authority-data": "Q0E="}},
        })
    }

    fn kubeconfig(&self) -> PathBuf {
        self.home.path().join("kubeconfig")
    }

    fn opened(&self) -> PathBuf {
        self.home.path().join("browser")
    }

    /// How often a browser was opened.
    fn browsers(&self) -> usize {
        std::fs::read_to_string(self.opened())
            .unwrap_or_default()
            .lines()
            .count()
    }

    fn file(&self, ending: &str) -> PathBuf {
        let folder = self.home.path().join("own").join("sessions");
        let mut files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files
            .find(|path| path.extension().is_some_and(|found| found == ending))
            .unwrap()
    }

    fn kept(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.file("json")).unwrap()).unwrap()
    }

    fn change_kept(&self, change: impl FnOnce(&mut Value)) {
        let mut kept = self.kept();
        change(&mut kept);
        std::fs::write(self.file("json"), kept.to_string()).unwrap();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn token(output: &Output) -> String {
    assert!(output.status.success(), "{:?} {}", output.status, text(&output.stderr));
    let credential: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(credential["kind"], "ExecCredential");
    credential["status"]["token"].as_str().unwrap().to_owned()
}

fn assert_refused(output: &Output, code: i32, words: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
    assert!(
        text(&output.stderr).contains(words),
        "{words}\n{}",
        text(&output.stderr)
    );
}

/// Not a test by itself: what `BROWSER` names. It notes that it was opened and follows the address and its redirects.
#[test]
fn acts_as_browser() {
    use std::io::Write as _;
    let Some(file) = std::env::var_os(BROWSER_FILE) else {
        return;
    };
    let mut opened = std::fs::File::options().create(true).append(true).open(file).unwrap();
    opened.write_all(b"opened\n").unwrap();
    let mut address = std::env::args().find(|argument| argument.starts_with("http://"));
    while let Some(next) = address {
        address = gateway::visit(&next);
    }
}

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
    assert_refused(&machine.credential(&machine.info(false)).output().unwrap(), 3, &login);
    // Never free: whoever waited for it would not come back.
    let lock = machine.file("told").with_extension("lock");
    let lock = std::fs::File::create(lock).unwrap();
    lock.lock().unwrap();
    // kubectl calls up to six times in a row.
    for _ in 0..5 {
        let again = machine.credential(&machine.info(false)).output().unwrap();
        assert_eq!((again.status.code(), text(&again.stderr)), (Some(3), String::new()));
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

/// Each command that does something by itself, with what stands before it.
fn commands(command: &clap::Command) -> Vec<(String, clap::Command)> {
    let name = command.get_name().to_owned();
    let own = (!command.is_subcommand_required_set()).then(|| (name.clone(), command.clone()));
    let below = command.get_subcommands().flat_map(commands);
    let below = below.map(|(rest, inner)| (format!("{name} {rest}"), inner));
    own.into_iter().chain(below).collect()
}

/// The words of a line as a shell would split it, up to where its output goes.
fn words(line: &str) -> Vec<String> {
    let line = line.split(['>', '|']).next().unwrap_or_default();
    let quoted = line.split('\'').enumerate();
    quoted
        .flat_map(|(place, part)| match place % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

#[test]
fn each_command_explains_itself_with_exit_codes_and_examples_that_it_understands() {
    let whole = cli::command_line();
    let commands = commands(&whole);
    for (name, command) in &commands {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = help.lines().skip_while(|line| !line.starts_with("Examples:")).skip(1);
        let examples: Vec<&str> = examples.take_while(|line| line.starts_with("  ")).collect();
        assert!(
            examples.len() >= 2 && help.contains("Exit codes:") && help.contains("See also:"),
            "{name}\n{help}"
        );
        for example in examples.iter().filter(|line| line.starts_with("  gatescribe ")) {
            let words = cli::arranged(words(example).into_iter().map(Into::into));
            let understood = whole.clone().try_get_matches_from(words);
            let matches = understood.unwrap_or_else(|error| panic!("{example}\n{error}"));
            let (_, mut inner) = matches.subcommand().unwrap();
            while let Some((_, next)) = inner.subcommand() {
                inner = next;
            }
            if let Ok(Some(query)) = inner.try_get_many::<String>("query") {
                let query: Vec<&str> = query.map(String::as_str).collect();
                search::Query::parse(&query.join(" ")).unwrap_or_else(|error| panic!("{example}\n{error}"));
            }
        }
    }
    assert!(commands.len() > 15, "{}", commands.len());
    let machine = Machine::new();
    let help = text(&machine.run(&["audit", "search", "--help"]).stdout);
    for key in search::Key::ALL {
        assert!(help.contains(key.name()), "{}\n{help}", key.name());
    }
    let completion = machine.run(&["completion", "bash"]);
    assert!(text(&completion.stdout).contains("audit"));
    let version = machine.run(&["version", "-o", "json"]);
    let version: Value = serde_json::from_slice(&version.stdout).unwrap();
    assert_eq!(version["apiVersion"], "gatescribe/v1");
}

#[test]
fn a_time_without_a_reason_and_a_reason_that_is_none_are_mistakes_of_the_command_line() {
    let machine = Machine::new();
    for (line, words) in [
        (&["reason", "--for", "5m"][..], "TEXT"),
        (&["reason", "--clear", "--for", "5m"], "--for"),
        (&["exec", "--reason", "  x ", "web-0"], "3 to 500 characters"),
    ] {
        let done = machine.run(line);
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{line:?}: {said}");
        assert!(said.contains(words), "{line:?}: {said}");
    }
}

#[test]
fn a_term_that_is_turned_round_reaches_the_gateway_as_it_was_typed() {
    let machine = Machine::signed_in();
    let found = machine.run(&["audit", "search", "-source:sample", "user:alice", "--since", "2h"]);
    assert!(found.status.success(), "{}", text(&found.stderr));
    let asked = machine.gateway.requests("/api/v1/audit/records");
    assert_eq!(asked, ["q=user%3Aalice%20-source%3Asample&since=2h&limit=50"]);
}
