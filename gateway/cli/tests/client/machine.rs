//! A person's machine, and what is read of the commands that run on it.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::gateway::Gateway;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_gatescribe");
pub(crate) const BROWSER_FILE: &str = "GATESCRIBE_TEST_BROWSER";

/// A person's machine: a home, a scripted gateway, a browser.
pub(crate) struct Machine {
    pub(crate) home: tempfile::TempDir,
    pub(crate) gateway: Gateway,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            gateway: Gateway::start(),
        }
    }

    pub(crate) fn signed_in() -> Self {
        let machine = Self::new();
        let done = machine.run(&["login", machine.gateway.url()]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        std::fs::remove_file(machine.opened()).unwrap();
        machine
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        self.surround(command.args(arguments));
        command
    }

    /// Nothing of the real surroundings may decide.
    pub(crate) fn surround<'a>(&self, command: &'a mut Command) -> &'a mut Command {
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

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn credential(&self, info: &Value) -> Command {
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
    pub(crate) fn credential_of_another_parent(&self, info: &Value) -> Output {
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

    pub(crate) fn info(&self, interactive: bool) -> Value {
        self.info_for(&self.gateway.server(), interactive, "v1")
    }

    pub(crate) fn info_for(&self, server: &str, interactive: bool, version: &str) -> Value {
        json!({
            "kind": "ExecCredential", "apiVersion": format!("client.authentication.k8s.io/{version}"),
            "spec": {"interactive": interactive, "cluster": {"server": server, "certificate-authority-data": "Q0E="}},
        })
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.home.path().join("kubeconfig")
    }

    pub(crate) fn opened(&self) -> PathBuf {
        self.home.path().join("browser")
    }

    /// How often a browser was opened.
    pub(crate) fn browsers(&self) -> usize {
        std::fs::read_to_string(self.opened())
            .unwrap_or_default()
            .lines()
            .count()
    }

    pub(crate) fn file(&self, ending: &str) -> PathBuf {
        let folder = self.home.path().join("own").join("sessions");
        let mut files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files
            .find(|path| path.extension().is_some_and(|found| found == ending))
            .unwrap()
    }

    pub(crate) fn kept(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.file("json")).unwrap()).unwrap()
    }

    pub(crate) fn change_kept(&self, change: impl FnOnce(&mut Value)) {
        let mut kept = self.kept();
        change(&mut kept);
        std::fs::write(self.file("json"), kept.to_string()).unwrap();
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn token(output: &Output) -> String {
    assert!(output.status.success(), "{:?} {}", output.status, text(&output.stderr));
    let credential: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(credential["kind"], "ExecCredential");
    credential["status"]["token"].as_str().unwrap().to_owned()
}

pub(crate) fn assert_refused(output: &Output, code: i32, words: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
    assert!(
        text(&output.stderr).contains(words),
        "{words}\n{}",
        text(&output.stderr)
    );
}
