//! The process as Prometheus' conventions name it, and which release it is. Read at each scrape, from the kernel.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeVal;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use proxy::observe::{Name, Sheet, number};

/// No label: one process.
const NONE: [(&str, &str); 0] = [];

#[derive(Debug)]
pub(crate) struct Process {
    started: f64,
}

impl Process {
    /// To be made when the process begins to serve.
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: since.as_secs_f64(),
        }
    }
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet::new(encoder);
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        sheet.gauges(BUILD, [(build, 1.0)])?;
        sheet.gauges(STARTED, [(NONE, self.started)])?;
        // What the kernel does not tell is left out: a false zero would be believed.
        if let Some(seconds) = cpu_seconds() {
            sheet.counters(CPU, [(NONE, seconds)])?;
        }
        if let Some(bytes) = resident_bytes() {
            sheet.gauges(RESIDENT, [(NONE, number(bytes))])?;
        }
        if let Some(open) = open_descriptors() {
            sheet.gauges(OPEN, [(NONE, number(open))])?;
        }
        if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            sheet.gauges(MOST, [(NONE, number(soft))])?;
        }
        Ok(())
    }
}

fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some(in_seconds(usage.user_time()) + in_seconds(usage.system_time()))
}

fn in_seconds(time: TimeVal) -> f64 {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
    let micros = u64::try_from(time.tv_usec()).unwrap_or_default();
    number(seconds) + number(micros) / 1e6
}

/// `VmRSS` of proc(5), which is in kibibytes whatever the size of a page.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes.saturating_mul(1024))
}

fn open_descriptors() -> Option<u64> {
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
    // The folder itself was open while it was read.
    u64::try_from(count.saturating_sub(1)).ok()
}

const BUILD: Name = Name {
    name: "gatescribe_build_info",
    says: "Always 1; the release that runs.",
};
const STARTED: Name = Name {
    name: "process_start_time_seconds",
    says: "When the gateway began to start, in seconds since the epoch.",
};
const CPU: Name = Name {
    name: "process_cpu_seconds",
    says: "Processor time used, by the program and by the kernel for it.",
};
const RESIDENT: Name = Name {
    name: "process_resident_memory_bytes",
    says: "Memory in use that is in RAM.",
};
const OPEN: Name = Name {
    name: "process_open_fds",
    says: "Open file descriptors.",
};
const MOST: Name = Name {
    name: "process_max_fds",
    says: "Most file descriptors that may be open.",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_the_process_uses() {
        assert!(cpu_seconds().is_some_and(|seconds| seconds > 0.0));
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
        let before = open_descriptors().unwrap();
        let files: Vec<_> = (0..64)
            .map(|_| std::fs::File::open("/proc/self/status").unwrap())
            .collect();
        assert!(open_descriptors().unwrap() > before, "64 files were opened");
        drop(files);
    }
}
