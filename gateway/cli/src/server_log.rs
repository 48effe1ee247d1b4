//! The API server's audit log as files, line by line: a log may be of any length, a line may not.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal as _, Read};
use std::path::Path;

use anyhow::Context as _;
use aws_lc_rs::digest;
use indicatif::{ProgressBar, ProgressStyle};
use model::time::Timestamp;

/// No event of the API server is longer: its webhook backend sends at most 10 MB at once, and its log backend writes an event
/// with the objects of one call.
pub(crate) const LONGEST_LINE: usize = 64 << 20;

/// A line that is left out: how long it is, and what stands for all its bytes, so that it is told from any other.
#[derive(Clone, thiserror::Error)]
#[error("it is longer than {} MiB", LONGEST_LINE >> 20)]
pub(crate) struct TooLong {
    bytes: u64,
    hashed: digest::Context,
}

impl Default for TooLong {
    fn default() -> Self {
        Self {
            bytes: 0,
            hashed: digest::Context::new(&digest::SHA256),
        }
    }
}

impl fmt::Debug for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TooLong")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl TooLong {
    /// Takes its next bytes, which are held no longer.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.hashed.update(bytes);
    }

    /// How many it has so far, without the end of the line.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// SHA-256 of all of them.
    pub(crate) fn digest(&self) -> digest::Digest {
        self.hashed.clone().finish()
    }
}

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
    lines_of((&mut lines, &what), LONGEST_LINE, &mut |at, line| {
        bar.set_position(at.byte);
        take(at, line)
    })?;
    bar.finish_and_clear();
    Ok(())
}

/// As [`each_line`], with lines of `longest` bytes at most; `what` says what cannot be read.
fn lines_of(
    (lines, what): (&mut impl BufRead, &dyn Fn() -> String),
    longest: usize,
    take: &mut Take<'_>,
) -> anyhow::Result<()> {
    let most = u64::try_from(longest).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    let mut byte: u64 = 0;
    for number in 1_u64.. {
        line.clear();
        byte += pass_zeros(lines).with_context(what)?;
        let at = At { number, byte };
        let read = lines
            .by_ref()
            .take(most)
            .read_until(b'\n', &mut line)
            .with_context(what)?;
        if read == 0 {
            break;
        }
        if read == longest && !line.ends_with(b"\n") {
            let (long, skipped) = too_long(&line, lines).with_context(what)?;
            byte += skipped;
            take(at, Err(long))?;
        } else {
            take(at, Ok(&line))?;
        }
        byte += u64::try_from(read).unwrap_or(u64::MAX);
    }
    Ok(())
}

/// Fuzz target: whatever stands in a log, its lines are found in their order, each where it says that it stands, with nothing lost but zeros
/// before a line; and one that is too long is told from any other by all of its bytes.
///
/// # Panics
/// Where that does not hold.
pub fn fuzz_log_lines(data: &[u8]) {
    const LONGEST: usize = 16;
    let (mut end, mut lines) = (0, 0);
    let read = lines_of((&mut &*data, &String::new), LONGEST, &mut |at, line| {
        let begin = usize::try_from(at.byte).unwrap_or(usize::MAX);
        let passed = data.get(end..begin).unwrap_or(b"?");
        assert!(
            passed.iter().all(|byte| *byte == 0),
            "{at:?}: only zeros are passed over"
        );
        lines += 1;
        assert_eq!(at.number, lines);
        let stands = data.get(begin..).unwrap_or_default();
        let length = stands.iter().position(|byte| *byte == b'\n').unwrap_or(stands.len());
        let whole = stands.get(..length).unwrap_or_default();
        let ending = usize::from(stands.len() > length);
        match line {
            Ok(line) => assert_eq!(Some(line), stands.get(..length + ending), "{at:?}"),
            Err(long) => {
                assert!(length >= LONGEST, "{at:?}: {length}");
                assert_eq!(long.bytes(), u64::try_from(length).unwrap_or(u64::MAX));
                assert_eq!(long.digest().as_ref(), digest::digest(&digest::SHA256, whole).as_ref());
            }
        }
        end = begin + length + ending;
        Ok(())
    });
    assert!(read.is_ok(), "{read:?}");
    let behind = data.get(end..).unwrap_or(b"?");
    assert!(behind.iter().all(|byte| *byte == 0), "everything is read");
}

/// A log that was cut while its writer went on where it was begins with zeros, however many, and no line does. How many there were.
fn pass_zeros(lines: &mut impl BufRead) -> std::io::Result<u64> {
    let mut passed: u64 = 0;
    loop {
        let some = lines.fill_buf()?;
        let zeros = some.iter().take_while(|byte| **byte == 0).count();
        let is_over = zeros < some.len() || some.is_empty();
        lines.consume(zeros);
        passed += u64::try_from(zeros).unwrap_or(u64::MAX);
        if is_over {
            return Ok(passed);
        }
    }
}

/// The whole of a line that begins so, and how many bytes of it were still to be read.
fn too_long(begin: &[u8], lines: &mut impl BufRead) -> std::io::Result<(TooLong, u64)> {
    let mut long = TooLong::default();
    long.push(begin);
    let mut read: u64 = 0;
    loop {
        let some = lines.fill_buf()?;
        let end = some.iter().position(|byte| *byte == b'\n');
        let text = some.get(..end.unwrap_or(some.len())).unwrap_or_default();
        long.push(text);
        let used = text.len() + usize::from(end.is_some());
        lines.consume(used);
        read += u64::try_from(used).unwrap_or(u64::MAX);
        if end.is_some() || used == 0 {
            return Ok((long, read));
        }
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_line_of_any_bytes_is_found_where_it_stands(
            data in proptest::collection::vec(prop_oneof![Just(0_u8), Just(b'\n'), Just(b'x'), any::<u8>()], 0..200),
        ) {
            fuzz_log_lines(&data);
        }
    }

    #[test]
    fn promise_4_a_line_behind_any_number_of_zeros_is_read_and_two_that_are_too_long_are_two() {
        let mut log = vec![0; 3 << 20];
        log.extend(b"one\n");
        log.extend([b"a".repeat(40), b"\n".to_vec(), b"a".repeat(41), b"\n\0two".to_vec()].concat());
        let (mut lines, mut long) = (Vec::new(), Vec::new());
        lines_of((&mut &*log, &String::new), 32, &mut |at, line| {
            match line {
                Ok(line) => lines.push((at.byte, line.to_vec())),
                Err(line) => long.push(line.digest().as_ref().to_vec()),
            }
            Ok(())
        })
        .unwrap();
        let begin = 3 << 20;
        assert_eq!(
            lines,
            [(begin, b"one\n".to_vec()), (begin + 4 + 41 + 42 + 1, b"two".to_vec())]
        );
        assert_eq!(long.len(), 2);
        assert_ne!(long[0], long[1]);
    }
}
