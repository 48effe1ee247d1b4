//! The API server's audit log as files, line by line: a log may be of any length, a line may not.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read};
use std::path::Path;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use model::time::Timestamp;

/// No event of the API server is longer: its webhook backend sends at most 10 MB at once, and its log backend writes an event
/// with the objects of one call.
pub(crate) const LONGEST_LINE: usize = 64 << 20;

/// A line that is left out.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("it is longer than {} MiB", LONGEST_LINE >> 20)]
pub(crate) struct TooLong;

/// Where a line stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    /// Its number, from 1.
    pub(crate) number: u64,
    /// Bytes before it.
    pub(crate) byte: u64,
}

/// What takes lines, with their places.
pub(crate) type Take<'t> = dyn FnMut(At, Result<&[u8], TooLong>) -> anyhow::Result<()> + 't;

/// Hands on each line of a file, or of standard input where it is called `-`, with its place.
///
/// # Errors
/// The file cannot be read, or `take` says so.
pub(crate) fn each_line(file: &Path, take: &mut Take<'_>) -> anyhow::Result<()> {
    let what = || format!("cannot read `{}`", file.display());
    let (source, length): (Box<dyn Read>, u64) = if file.as_os_str() == "-" {
        (Box::new(std::io::stdin().lock()), 0)
    } else {
        let open = File::open(file).with_context(what)?;
        let length = open.metadata().with_context(what)?.len();
        (Box::new(open), length)
    };
    let bar = progress(length);
    let mut lines = BufReader::with_capacity(1 << 20, source);
    let mut line = Vec::new();
    let mut byte = 0;
    for number in 1_u64.. {
        line.clear();
        let at = At { number, byte };
        let most = u64::try_from(LONGEST_LINE).unwrap_or(u64::MAX);
        let read = (&mut lines)
            .take(most)
            .read_until(b'\n', &mut line)
            .with_context(what)?;
        if read == 0 {
            break;
        }
        bar.inc(u64::try_from(read).unwrap_or(0));
        if read == LONGEST_LINE && !line.ends_with(b"\n") {
            let skipped = lines.skip_until(b'\n').with_context(what)?;
            byte += u64::try_from(skipped).unwrap_or(u64::MAX);
            take(at, Err(TooLong))?;
        } else {
            take(at, Ok(&line))?;
        }
        byte += u64::try_from(read).unwrap_or(u64::MAX);
    }
    bar.finish_and_clear();
    Ok(())
}

pub(crate) fn progress(length: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = if length == 0 {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::new(length)
    };
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// A time for a person: seconds are enough.
pub(crate) fn second(time: Timestamp) -> String {
    let text = time.to_string();
    let whole = text.split_once('.').map_or(text.as_str(), |(whole, _)| whole);
    whole.replacen('T', " ", 1)
}
