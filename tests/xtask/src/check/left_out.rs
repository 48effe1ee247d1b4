//! What tests leave out because a machine has not what they need: told at the end of the check and counted, so that nobody
//! takes it for tested. They write it to the file that a variable names; `tests/src/left_out.rs` has the closed list of what a
//! machine may lack, and fails for anything else.

use anyhow::Context as _;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file's variable, of this name in `tests/src/left_out.rs`, too.
const REPORT: &str = "GATESCRIBE_LEFT_OUT";

/// Where it is written during one check.
pub(super) struct LeftOut {
    report: PathBuf,
}

impl LeftOut {
    /// With an empty file, below the folder that cargo builds in: a check beside this one has another.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn begin() -> anyhow::Result<Self> {
        let folder = crate::command::target()?;
        Self::at(folder.join(format!("left-out.{}", std::process::id())))
    }

    fn at(report: PathBuf) -> anyhow::Result<Self> {
        if let Some(folder) = report.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
        }
        std::fs::write(&report, "").with_context(|| format!("cannot write to `{}`", report.display()))?;
        Ok(Self { report })
    }

    /// Has the tests of this command write there.
    pub(super) fn told_to(&self, command: &mut Command) {
        command.env(REPORT, &self.report);
    }

    /// What was left out, a line each, and behind it how much: `left_out=N`. Takes the file away.
    ///
    /// # Errors
    /// The file is not there any more, or cannot be read: nobody knows what was left out.
    pub(super) fn end(self) -> anyhow::Result<Vec<String>> {
        let text = std::fs::read_to_string(&self.report).with_context(|| {
            format!(
                "cannot read `{}`, where tests say what they leave out",
                self.report.display()
            )
        })?;
        taken_away(&self.report)?;
        // Two tests leave out the same case, and one line says so.
        let cases: BTreeSet<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        let mut lines: Vec<String> = cases.iter().map(|case| format!("left out: {case}")).collect();
        lines.push(format!("left_out={}", lines.len()));
        Ok(lines)
    }
}

fn taken_away(report: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(report) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", report.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::root;

    fn report(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("gatescribe-left-out-{name}-{}", std::process::id()))
    }

    #[test]
    fn what_tests_leave_out_is_told_once_each_and_counted() {
        let left_out = LeftOut::at(report("told")).unwrap();
        let mut tests = Command::new("sh");
        tests.args(["-c", "printf 'b: no\\na: no\\nb: no\\n' >> \"$GATESCRIBE_LEFT_OUT\""]);
        left_out.told_to(&mut tests);
        assert!(tests.status().unwrap().success());
        let file = left_out.report.clone();
        assert_eq!(
            left_out.end().unwrap(),
            ["left out: a: no", "left out: b: no", "left_out=2"]
        );
        assert!(!file.exists());
    }

    #[test]
    fn nothing_left_out_is_said_too_and_a_lost_file_is_an_error() {
        assert_eq!(LeftOut::at(report("nothing")).unwrap().end().unwrap(), ["left_out=0"]);
        let lost = LeftOut::at(report("lost")).unwrap();
        std::fs::remove_file(&lost.report).unwrap();
        let error = lost.end().unwrap_err().to_string();
        assert!(error.contains("where tests say what they leave out"), "{error}");
    }

    /// Every file of Rust below a folder, without what was built or fetched.
    fn sources(folder: &Path, all: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() && !path.ends_with("node_modules") && !path.ends_with("target") {
                sources(&path, all);
            } else if path.extension().is_some_and(|end| end == "rs") {
                all.push(path);
            }
        }
    }

    #[test]
    fn no_test_says_in_words_of_its_own_that_it_leaves_something_out_or_is_ignored() {
        let mut all = Vec::new();
        ["gateway", "policy", "tests"]
            .iter()
            .for_each(|folder| sources(&root().join(folder), &mut all));
        let own = ["tests/xtask/src/check/left_out.rs", "tests/src/left_out.rs"];
        all.retain(|path| !own.iter().any(|own| path.ends_with(own)));
        assert!(all.len() > 500, "{}", all.len());
        let helper = std::fs::read_to_string(root().join("tests/src/left_out.rs")).unwrap();
        let named = format!("REPORT: &str = \"{REPORT}\"");
        assert!(helper.contains(&named), "the tests write where `{REPORT}` says");
        for path in all {
            let text = std::fs::read_to_string(&path).unwrap();
            for words in ["NOT TESTED", "\"left out:", "#[ignore"] {
                assert!(
                    !text.contains(words),
                    "{}: `{words}`: use `tests::left_out`",
                    path.display()
                );
            }
        }
    }
}
