//! CPU time of a process, all its threads counted, and on which core it may run.

use anyhow::{Context, ensure};
use std::process::Command;

/// The core of what is measured.
pub const MEASURED: &str = "0";
/// The core of load and upstream.
pub const AROUND: &str = "1";

/// User and system time that a process has used, in microseconds: fields 14 and 15 of `/proc/PID/stat`, which add up all
/// threads, also those that have ended.
///
/// # Errors
/// There is no such process.
pub fn used(pid: i32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    let (_, fields) = stat.rsplit_once(") ").context("a stat line")?;
    let field = |n: usize| -> anyhow::Result<f64> { Ok(fields.split(' ').nth(n).context("a field")?.parse()?) };
    Ok((field(11)? + field(12)?) * 1e6 / TICKS_PER_SECOND)
}

/// User and system time of the children of this process that have ended and were waited for, in microseconds.
///
/// # Errors
/// The system does not know.
pub fn used_by_children() -> anyhow::Result<f64> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    Ok(micros(usage.user_time()) + micros(usage.system_time()))
}

/// Of several processes together.
///
/// # Errors
/// One is gone.
pub fn used_by(pids: &[i32]) -> anyhow::Result<f64> {
    pids.iter().map(|pid| used(*pid)).sum()
}

/// Resident memory, in KiB.
///
/// # Errors
/// There is no such process.
pub fn resident_kib(pid: i32) -> anyhow::Result<f64> {
    of_status(pid, "VmRSS:")
}

/// The most that was ever resident, in KiB.
///
/// # Errors
/// There is no such process.
pub fn peak_kib(pid: i32) -> anyhow::Result<f64> {
    of_status(pid, "VmHWM:")
}

/// How often the threads of a process have waited so far: each time something woke them up again.
///
/// # Errors
/// There is no such process.
pub fn waits(pid: i32) -> anyhow::Result<u64> {
    const NAME: &str = "voluntary_ctxt_switches:";
    let mut all = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // One that has ended since is no error.
        let Ok(status) = std::fs::read_to_string(thread?.path().join("status")) else {
            continue;
        };
        let line = status.lines().find_map(|line| line.strip_prefix(NAME));
        all += line.context(NAME)?.trim().parse::<u64>()?;
    }
    Ok(all)
}

fn of_status(pid: i32, name: &'static str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()).context(name)?;
    Ok(number.parse()?)
}

/// Keeps this process, with all its threads, on [`AROUND`]. On a machine with one core there is nothing to choose.
///
/// # Errors
/// `taskset` (util-linux) is missing.
pub fn keep_around() -> anyhow::Result<()> {
    let mut command = Command::new("taskset");
    command.args(["-a", "-c", "-p", AROUND, &std::process::id().to_string()]);
    let output = command.output().context("run taskset")?;
    ensure!(
        output.status.success(),
        "taskset: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The same command on the measured core.
#[must_use]
pub fn on_measured(command: &Command) -> Command {
    on_core(MEASURED, command)
}

/// The same command on one of the two cores.
#[must_use]
pub fn on_core(core: &str, command: &Command) -> Command {
    let mut pinned = Command::new("taskset");
    pinned
        .args(["-c", core])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            pinned.env(name, value);
        }
    }
    pinned
}

/// `USER_HZ`, part of Linux' interface to programs on every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    #[test]
    fn a_thread_that_waits_is_counted() {
        let pid = std::process::id().cast_signed();
        let before = super::waits(pid).unwrap();
        let (said, heard) = std::sync::mpsc::channel();
        let (back, again) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || heard.iter().try_for_each(|()| back.send(())));
        crate::wait::wait_until("somebody has waited", crate::wait::PATIENCE, || {
            said.send(()).unwrap();
            again.recv().unwrap();
            (super::waits(pid).unwrap() > before).then_some(())
        })
        .unwrap();
        drop(said);
        other.join().unwrap().unwrap();
    }

    #[test]
    fn the_meter_counts_what_this_process_has_used() {
        let pid = std::process::id().cast_signed();
        let before = super::used(pid).unwrap();
        let mut spun = 0_u64;
        crate::wait::wait_until("some CPU is used", crate::wait::PATIENCE, || {
            spun = (0..1_000_000_u64).fold(spun, |sum, n| sum.rotate_left(1) ^ std::hint::black_box(n));
            (super::used(pid).unwrap() > before).then_some(())
        })
        .unwrap();
    }
}
