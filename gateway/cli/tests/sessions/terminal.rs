//! A script of a shell in a terminal, which `script` (util-linux) makes: what it shows, line by line, and keys.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::machine::{BINARY, ID, Machine, with_usual_signals};

/// Longer than any line takes on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Terminal {
    child: Child,
    keys: ChildStdin,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Terminal {
    /// `steps` in a shell; `GATE` stands for the program, [`ID`] for `ID`.
    pub(crate) fn runs(machine: &Machine, steps: &str) -> Self {
        let steps = steps.replace("GATE", BINARY).replace("ID", ID);
        std::fs::write(machine.file("steps.sh"), steps).unwrap();
        let mut command = with_usual_signals("/usr/bin/script");
        // The shell of the steps leads the session itself: a shell around it would end at Ctrl-C, and the terminal with it.
        machine.surround(command.args(["-qefc", "exec sh steps.sh", "/dev/null"]));
        command
            .env("PATH", "/usr/bin:/bin")
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .stdin(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (keys, out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).split(b'\n') {
                let line = String::from_utf8_lossy(&line.unwrap())
                    .trim_end_matches('\r')
                    .to_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let seen = Vec::new();
        Self {
            child,
            keys,
            lines,
            seen,
        }
    }

    /// The next line with these words in it: what stands behind them.
    #[track_caller]
    pub(crate) fn shows(&mut self, words: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no `{words}` in {:#?}", self.seen));
            self.seen.push(line.clone());
            if let Some((_, rest)) = line.split_once(words) {
                return rest.trim().to_owned();
            }
        }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Everything that it showed, to its end.
    pub(crate) fn end(mut self) -> String {
        self.seen.extend(self.lines.iter());
        self.child.wait().unwrap();
        self.seen.join("\n")
    }
}
