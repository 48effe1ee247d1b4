//! Which commands are a `cp`: those that `kubectl cp` sends, and the same written by hand.
//!
//! Only plain forms count. An option that makes tar run programs or write elsewhere (`--to-command`, `-I`) makes it a
//! command like any other, whose bytes are all kept; and what does not come out as tar is kept anyway.

use crate::tap::{Channel, Way};

/// So many bytes of the arguments stand in a head.
const MAX_COMMAND: usize = 32 << 10;

/// The stream of a `cp` that carries the archive.
pub(super) fn of(command: &[String]) -> Option<(Way, Channel)> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match words.as_slice() {
        // `kubectl cp --retries` reads from a byte on; only the first try is an archive from its beginning.
        ["sh", "-c", script] => {
            let (tar, tail) = script.split_once(" | tail -c+")?;
            let is_whole = matches!(tail, "0" | "1") && tar.bytes().all(is_plain);
            // A shell only takes archives out, as kubectl asks.
            of_tar(&tar.split(' ').collect::<Vec<_>>()).filter(|(way, _)| is_whole && *way == Way::Down)
        }
        words => of_tar(words),
    }
}

/// What a shell takes as it stands.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'-' | b'.' | b'/' | b'_')
}

fn of_tar(words: &[&str]) -> Option<(Way, Channel)> {
    let (program, rest) = words.split_first()?;
    if !matches!(*program, "tar" | "/bin/tar" | "/usr/bin/tar") {
        return None;
    }
    let mut rest = rest.iter();
    let mut flags = rest.next()?;
    while matches!(*flags, "--no-same-permissions" | "--no-same-owner") {
        flags = rest.next()?;
    }
    let letters = flags.strip_prefix('-').unwrap_or(flags);
    let is_short = letters.ends_with('f') && letters.bytes().all(|letter| b"cxvmpf".contains(&letter));
    let is_safe = rest.next() == Some(&"-") && rest.all(|word| *word == "-C" || !word.starts_with('-'));
    if !is_short || !is_safe {
        return None;
    }
    match (letters.contains('c'), letters.contains('x')) {
        (true, false) => Some((Way::Down, Channel::Stdout)),
        (false, true) => Some((Way::Up, Channel::Stdin)),
        _ => None,
    }
}

/// Cuts arguments that would make the head larger than a frame should be.
pub(super) fn shorten(command: &mut Vec<String>) {
    let mut left = MAX_COMMAND;
    for at in 0..command.len() {
        let Some(argument) = command.get_mut(at) else { return };
        if argument.len() > left {
            let cut = argument.floor_char_boundary(left);
            argument.truncate(cut);
            argument.push('…');
            command.truncate(at.saturating_add(1));
            return;
        }
        left = left.saturating_sub(argument.len().saturating_add(1));
    }
}
