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

/// What was left out in a check.
#[derive(Debug)]
pub(super) struct Told {
    /// Each case with the reason, once.
    cases: BTreeSet<String>,
}

impl Told {
    /// Says it, and whether that is no more than may be: `left_out=N` is the last line.
    pub(super) fn tell(&self, most: Option<usize>, mut tell: impl FnMut(&str)) -> bool {
        let count = self.cases.len();
        if count > 0 {
            tell("── LEFT OUT: this check has not shown what follows, because this machine has not what it takes");
        }
        self.cases.iter().for_each(|case| tell(&format!("left out: {case}")));
        let is_too_much = most.filter(|most| count > *most);
        if let Some(most) = is_too_much {
            tell(&format!(
                "{count} cases are left out, and at most {most} may be (`--left-out-at-most`): give the machine what they name, or allow more"
            ));
        }
        tell(&format!("left_out={count}"));
        is_too_much.is_none()
    }
}

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

    /// What was left out. Takes the file away.
    ///
    /// # Errors
    /// The file is not there any more, or cannot be read: nobody knows what was left out.
    pub(super) fn end(self) -> anyhow::Result<Told> {
        let text = std::fs::read_to_string(&self.report).with_context(|| {
            format!(
                "cannot read `{}`, where tests say what they leave out",
                self.report.display()
            )
        })?;
        taken_away(&self.report)?;
        // Two tests leave out the same case, and one line says so.
        let cases = text
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        Ok(Told { cases })
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
        let cases: Vec<String> = left_out.end().unwrap().cases.into_iter().collect();
        assert_eq!(cases, ["a: no", "b: no"]);
        assert!(!file.exists());
    }

    #[test]
    fn nothing_left_out_is_said_too_and_a_lost_file_is_an_error() {
        assert!(LeftOut::at(report("nothing")).unwrap().end().unwrap().cases.is_empty());
        let lost = LeftOut::at(report("lost")).unwrap();
        std::fs::remove_file(&lost.report).unwrap();
        let error = lost.end().unwrap_err().to_string();
        assert!(error.contains("where tests say what they leave out"), "{error}");
    }

    #[test]
    fn more_left_out_than_may_be_fails_the_check_and_all_of_it_is_told_with_its_reason() {
        let says = |cases: &[&str], most| {
            let cases = cases.iter().map(|case| (*case).to_owned()).collect();
            let mut said = Vec::new();
            let is_well = Told { cases }.tell(most, |line| said.push(line.to_owned()));
            (is_well, said)
        };
        let two = ["a: no way", "b: no right"];
        for (most, is_well) in [
            (None, true),
            (Some(2), true),
            (Some(3), true),
            (Some(1), false),
            (Some(0), false),
        ] {
            let (seen, said) = says(&two, most);
            assert_eq!(seen, is_well, "{most:?}");
            assert!(said[0].starts_with("── LEFT OUT: "), "{said:?}");
            assert_eq!(said[1..3], ["left out: a: no way", "left out: b: no right"]);
            assert_eq!(said.last().unwrap(), "left_out=2");
            let why = "2 cases are left out, and at most";
            assert_eq!(said.iter().any(|line| line.starts_with(why)), !is_well, "{said:?}");
        }
        for most in [None, Some(0)] {
            assert_eq!(says(&[], most), (true, vec!["left_out=0".to_owned()]));
        }
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
