//! A person's machine on which they are signed in, and what its commands said.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use aws_lc_rs::digest;
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, Then};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_gatescribe");
/// The session of these tests.
pub(crate) const ID: &str = "0192f0c1-7c3e-7d00-a000-0000000007f3";

pub(crate) struct Machine {
    pub(crate) home: tempfile::TempDir,
    pub(crate) gateway: Gateway,
}

/// Whoever runs these tests may ignore signals (`nohup`, a job in the background), and what ignores one at its start goes on so.
pub(crate) fn with_usual_signals(program: &str) -> Command {
    let mut command = Command::new("/usr/bin/env");
    command.args(["--default-signal", program]);
    command
}

impl Machine {
    /// As after `gatescribe login`: with a token that is good for long, so that no test is about renewing it.
    pub(crate) fn signed_in() -> Self {
        let (home, gateway) = (tempfile::tempdir().unwrap(), Gateway::start());
        let url = gateway.url();
        let at = |path: &str| format!("{url}{path}");
        let endpoints = json!({
            "authorization": at("/authorize"), "token": at("/token"), "device": at("/device"), "revocation": at("/revoke"),
            "userinfo": at("/userinfo"), "api": at("/api/v1"),
        });
        let kept = json!({
            "version": 1, "gateway": url, "trust": {"by": "system"}, "endpoints": endpoints,
            "clusters": [{"name": "prod", "server": at("/clusters/prod")}],
            "session": {"handle": "gsh1.1", "username": "alice@example.test", "ends": null},
            "exchangeUnderWay": null, "promptedAt": null,
            "tokens": {"gatescribe-api": {"token": "a.b.c", "usableUntil": "2200-11-22T00:00:00Z"}},
        });
        let folder = home.path().join("own/sessions");
        std::fs::create_dir_all(&folder).unwrap();
        let digest = digest::digest(&digest::SHA256, url.as_bytes());
        let name = url.trim_start_matches("http://").replace(':', "_");
        let file = format!("{name}-{}.json", hex::encode(&digest.as_ref()[..5]));
        std::fs::write(folder.join(file), kept.to_string()).unwrap();
        Self { home, gateway }
    }

    /// With a recording of these lines behind its beginning.
    pub(crate) fn with_recording(lines: &[Value], then: Then) -> Self {
        let machine = Self::signed_in();
        machine.records(lines, then);
        machine
    }

    /// The recording has these lines from now on.
    pub(crate) fn records(&self, lines: &[Value], then: Then) {
        let begin = json!({"begin": {"id": ID, "live": true, "standing": "whole", "head": {"terminal": true}}});
        let lines = [&[begin], lines].concat();
        self.gateway
            .answers(&format!("/sessions/{ID}/recording"), Answer::Lines(lines, then));
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = with_usual_signals(BINARY);
        self.surround(command.args(arguments));
        command
    }

    /// Nothing of the real surroundings may decide.
    pub(crate) fn surround<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env_clear()
            .env("GATESCRIBE_HOME", self.home.path().join("own"))
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.file("kubeconfig"))
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
    }

    /// A command line without quotes; [`ID`] stands for `ID`.
    pub(crate) fn types(&self, line: &str) -> Said {
        let words: Vec<String> = line.split(' ').map(|word| word.replace("ID", ID)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Said::of(&self.command(&words).output().unwrap())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Names of what lies in the home, but for what the program keeps itself.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.home.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != "own").collect();
        names.sort();
        names
    }
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    #[track_caller]
    pub(crate) fn ends_with(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for words in words {
            assert!(self.err.contains(words), "no `{words}` in {self:?}");
        }
    }
}
