//! Cases that a machine cannot show. A story that leaves one out says so where it is read, and shows what it can instead: a
//! silent skip is a defect.
//!
//! `cargo xtask check` names a file in [`REPORT`]. What is left out is written there, told again at the end of the check and
//! counted. What a machine may lack is a closed list ([`Lack`]): all of it is the kernel's or the file system's to give, and a
//! container on a build machine often has none of it. A program that is missing is not among it, because a person can install
//! it: in a check that is a failure.
//!
//! It needs the standard library alone, since crates below the tests take this very file for their own tests.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

/// Names the file to which a check has written what is left out.
pub const REPORT: &str = "GATESCRIBE_LEFT_OUT";

/// With this code a shell ends that finds no such program.
const NOT_FOUND: i32 = 127;

/// What a machine may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// A way from the API server to pods.
    Route,
    /// The right to mount a file system that nobody else sees.
    FileSystem,
    /// The right to a network of one's own.
    Network,
    /// The right to trace a process that runs.
    Tracing,
    /// A file system whose times say every change of a file.
    Times,
    /// A file system that exchanges the blocks of two files (`EXT4_IOC_MOVE_EXT`).
    Exchange,
}

impl Lack {
    /// Why the check goes on without it.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::Route => {
                "the API server proxies to no loopback address, and without a route outward the pods of this machine have no other"
            }
            Self::FileSystem => {
                "this machine gives no mount namespace of one's own (`unshare -rm`), as most containers do not"
            }
            Self::Network => {
                "this machine gives no network namespace of one's own (`unshare -rn`), as most containers do not"
            }
            Self::Tracing => {
                "this machine lets nobody trace a process that runs (`kernel.yama.ptrace_scope`, or a container)"
            }
            Self::Times => {
                "the times of this file system do not say every change, as those of a container's layers and of memory do not; they do on ext4, XFS and Btrfs"
            }
            Self::Exchange => "this file system exchanges no blocks of files; ext4 does",
        }
    }
}

/// Says on standard error that a case is left out, and why; in a check it is written down, too. The test runner keeps back what a
/// test that passes prints; this goes past it. `seen` is what the machine said, where it said anything.
///
/// # Errors
/// The check's file cannot be written: nobody would count it.
pub fn left_out(case: &str, lack: Lack, seen: &str) -> io::Result<()> {
    let report = report();
    tell(&mut to_whoever_reads(&report), case, lack, seen)
}

/// Whether a command works that shows what a case needs. Where it does not, the case is [left out](left_out).
///
/// # Errors
/// In a check: a program of it is missing.
pub fn is_there(case: &str, lack: Lack, command: &mut Command) -> io::Result<bool> {
    let report = report();
    has(&mut to_whoever_reads(&report), case, lack, command)
}

fn report() -> Option<OsString> {
    std::env::var_os(REPORT)
}

/// Where it is said.
struct Told<'a, W> {
    /// To a person, who may not listen any more.
    person: W,
    /// To the check.
    report: Option<&'a Path>,
}

fn to_whoever_reads(report: &Option<OsString>) -> Told<'_, io::Stderr> {
    Told {
        person: io::stderr(),
        report: report.as_deref().map(Path::new),
    }
}

fn has(told: &mut Told<'_, impl io::Write>, case: &str, lack: Lack, command: &mut Command) -> io::Result<bool> {
    let (is_missing, seen) = match command.output() {
        Ok(output) if output.status.success() => return Ok(true),
        Ok(output) => (
            output.status.code() == Some(NOT_FOUND),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ),
        Err(error) => (
            error.kind() == io::ErrorKind::NotFound,
            format!("{}: {error}", command.get_program().display()),
        ),
    };
    if is_missing && told.report.is_some() {
        return Err(io::Error::other(format!(
            "a program is missing that {case} needs, and a check leaves nothing out for that ({}): CONTRIBUTING.md says what to install",
            seen.trim()
        )));
    }
    tell(told, case, lack, &seen).map(|()| false)
}

fn tell(told: &mut Told<'_, impl io::Write>, case: &str, lack: Lack, seen: &str) -> io::Result<()> {
    let mut line = format!("{case}: {}", lack.why());
    if !seen.trim().is_empty() {
        line = format!("{line} ({})", seen.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let _ = writeln!(told.person, "left out: {line}");
    let Some(report) = told.report else { return Ok(()) };
    // The file is there: who made it counts what is in it. One write, so that two tests do not mix their lines.
    OpenOptions::new()
        .append(true)
        .open(report)
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
        .map_err(|error| io::Error::new(error.kind(), format!("cannot write to `{}`: {error}", report.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(report: Option<&Path>) -> Told<'_, Vec<u8>> {
        Told {
            person: Vec::new(),
            report,
        }
    }

    #[test]
    fn what_a_machine_lacks_is_said_and_written_to_the_checks_file_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("left-out");
        std::fs::write(&report, "").unwrap();
        let mut told = told(Some(&report));
        tell(&mut told, "one", Lack::Exchange, "").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no >&2; echo way >&2; exit 1"]);
        assert!(!has(&mut told, "two", Lack::Network, &mut command).unwrap());
        assert!(has(&mut told, "three", Lack::Network, &mut Command::new("true")).unwrap());
        let one = format!("one: {}\n", Lack::Exchange.why());
        let two = format!("two: {} (no way)\n", Lack::Network.why());
        assert_eq!(std::fs::read_to_string(&report).unwrap(), format!("{one}{two}"));
        assert_eq!(
            String::from_utf8(told.person).unwrap(),
            format!("left out: {one}left out: {two}")
        );
    }

    #[test]
    fn what_nobody_would_count_fails() {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("nothing-there");
        let error = tell(&mut told(Some(&report)), "one", Lack::Exchange, "").unwrap_err();
        assert!(error.to_string().starts_with("cannot write to `"), "{error}");
        assert!(!report.exists());
    }

    #[test]
    fn a_missing_program_fails_a_check_and_is_left_out_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("left-out");
        std::fs::write(&report, "").unwrap();
        let commands = || {
            let mut inside = Command::new("sh");
            inside.args(["-c", "gatescribe-has-no-such-program"]);
            [Command::new("gatescribe-has-no-such-program"), inside]
        };
        for mut command in commands() {
            let error = has(&mut told(Some(&report)), "a case", Lack::Network, &mut command).unwrap_err();
            let said = error.to_string();
            assert!(said.starts_with("a program is missing that a case needs"), "{said}");
            assert!(said.contains("gatescribe-has-no-such-program"), "{said}");
        }
        assert_eq!(std::fs::read_to_string(&report).unwrap(), "");
        for mut command in commands() {
            assert!(!has(&mut told(None), "a case", Lack::Network, &mut command).unwrap());
        }
    }
}
