//! A session may show what has no end; reading it as lines needs no more memory for that. In a process of its own, since it measures one.
#![cfg(target_os = "linux")]

use recording::Transcript;

const PIECE: usize = 64 << 10;
const PIECES: usize = 128;
/// Of the 8 MiB that pass behind each beginning; a kernel may give memory in pieces of 2 MiB.
const MOST_KIB: u64 = 4 << 10;

/// The most that was ever resident, in KiB (proc(5)).
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[test]
fn what_has_no_end_is_read_in_bounded_memory() {
    for begins in [
        "\x1b]0;",
        "\x1b]52;c;",
        "\x1b]",
        "\x1bP",
        "\x1bP1$q",
        "\x1b_",
        "\x1b^",
        "\x1bX",
        "\x1b[",
        "\x1b[1;",
        "",
    ] {
        for goes_on in ["a", "1", ";"] {
            let mut transcript = Transcript::default();
            let piece = goes_on.repeat(PIECE).into_bytes();
            let mut came = transcript.read(begins.as_bytes()).len() + transcript.read(&piece).len();
            let before = peak_kib().unwrap();
            for _ in 0..PIECES {
                came += transcript.read(&piece).len();
            }
            // The kernel counts for each thread and sums up now and then, so that a later sum may be the smaller one.
            let more = peak_kib().unwrap().saturating_sub(before);
            assert!(
                more <= MOST_KIB,
                "{more} KiB more behind {begins:?} and {goes_on:?} for ever"
            );
            std::hint::black_box(came);
        }
    }
}
