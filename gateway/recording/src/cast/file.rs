//! A file that `cp` carried, in words: what it is, its name, where a link points, and what came of it.

use std::fmt::Write;

use crate::frame::TarFile;
use crate::tap::Way;

/// What a file was, for people; always one line.
pub(crate) fn file_text(file: &TarFile<'_>) -> String {
    let way = match file.way {
        Way::Up => "into the pod",
        Way::Down => "out of the pod",
    };
    let name = name_text(file.name);
    let mut text = match kind_text(file.kind) {
        None => format!("{way}: {name}"),
        Some(kind) => format!("{way}: {kind} {name}"),
    };
    if matches!(file.kind, b'1' | b'2') || !file.link.is_empty() {
        let _ = write!(text, " -> {}", name_text(file.link));
    }
    if file.mode & SPECIAL_BITS != 0 {
        let _ = write!(text, ", mode {:o}", file.mode);
    }
    if has_content(file) {
        let _ = write!(text, ", {} bytes", file.size);
    }
    if file.seen < file.size {
        let _ = write!(text, ", of which {} came", file.seen);
    }
    if let Some(sha256) = &file.sha256 {
        text.push_str(", sha256 ");
        sha256.iter().for_each(|byte| {
            let _ = write!(text, "{byte:02x}");
        });
    }
    text
}

/// By the type flag of its header (IEEE Std 1003.1 `pax`, and GNU tar's `tar.h`); none for a plain file.
fn kind_text(kind: u8) -> Option<String> {
    let known = match kind {
        b'0' | b'7' => return None,
        b'1' => "hard link",
        b'2' => "symlink",
        b'3' => "character device",
        b'4' => "block device",
        b'5' => "folder",
        b'6' => "fifo",
        b'D' => "folder with its list",
        b'M' => "rest of a file",
        b'S' => "sparse file",
        b'V' => "name of the archive",
        other => return Some(format!("entry of type {}", other.escape_ascii())),
    };
    Some(known.to_owned())
}

/// Links, folders and devices have none, and a size only by mistake.
fn has_content(file: &TarFile<'_>) -> bool {
    !matches!(file.kind, b'1'..=b'6') || file.size > 0
}

/// As it stands where it is plain; else in quotes and escaped, so that no name looks like another line, file or link, or moves the
/// cursor of whoever reads it.
fn name_text(name: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(name) else {
        return format!("\"{}\"", name.escape_ascii());
    };
    let is_plain = |letter: char| {
        !letter.is_whitespace() && !matches!(letter, '"' | '\\') && {
            let mut shown = letter.escape_debug();
            letter == '\'' || (shown.next() == Some(letter) && shown.next().is_none())
        }
    };
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}

/// Set-user-id, set-group-id and sticky.
const SPECIAL_BITS: u32 = 0o7000;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: u8, name: &str, link: &str) -> String {
        let has_content = !matches!(kind, b'1'..=b'6');
        file_text(&TarFile {
            way: Way::Up,
            kind,
            mode: 0o755,
            size: if has_content { 3 } else { 0 },
            seen: if has_content { 3 } else { 0 },
            sha256: has_content.then_some([0xab; 32]),
            name: name.as_bytes(),
            link: link.as_bytes(),
        })
    }

    #[test]
    fn a_file_says_what_it_is_and_a_link_where_it_points() {
        let hash = "ab".repeat(32);
        let content = format!(", 3 bytes, sha256 {hash}");
        for (kind, said) in [
            (b'0', format!("into the pod: a{content}")),
            (b'7', format!("into the pod: a{content}")),
            (b'1', "into the pod: hard link a -> b".to_owned()),
            (b'2', "into the pod: symlink a -> b".to_owned()),
            (b'S', format!("into the pod: sparse file a{content}")),
            (b'Z', format!("into the pod: entry of type Z a{content}")),
            (0x1b, format!("into the pod: entry of type \\x1b a{content}")),
        ] {
            let link = if matches!(kind, b'1' | b'2') { "b" } else { "" };
            assert_eq!(text(kind, "a", link), said);
        }
        for (kind, said) in [
            (b'3', "character device"),
            (b'4', "block device"),
            (b'5', "folder"),
            (b'6', "fifo"),
        ] {
            assert_eq!(text(kind, "a/", ""), format!("into the pod: {said} a/"));
        }
        assert_eq!(text(b'2', "a", ""), "into the pod: symlink a -> \"\"");
        assert_eq!(
            text(b'5', "a/", "b"),
            "into the pod: folder a/ -> b",
            "whatever it says is told"
        );
    }

    #[test]
    fn what_broke_off_and_what_runs_as_its_owner_is_said() {
        let file = TarFile {
            way: Way::Down,
            kind: b'0',
            mode: 0o4755,
            size: 10,
            seen: 4,
            sha256: None,
            name: b"su",
            link: b"",
        };
        let said = "out of the pod: su, mode 4755, 10 bytes, of which 4 came";
        assert_eq!(file_text(&file), said);
    }

    #[test]
    fn no_name_looks_like_something_else() {
        for (name, said) in [
            ("d\u{e9}j\u{e0}/it's", "d\u{e9}j\u{e0}/it's"),
            ("my file", "\"my file\""),
            ("a -> b", "\"a -> b\""),
            ("a\nout of the pod: b", "\"a\\nout of the pod: b\""),
            ("\u{1b}[2J", "\"\\u{1b}[2J\""),
            ("\u{202e}txt.exe", "\"\\u{202e}txt.exe\""),
            ("\"a\"", "\"\\\"a\\\"\""),
            ("a\\b", "\"a\\\\b\""),
        ] {
            assert_eq!(text(b'5', name, ""), format!("into the pod: folder {said}"));
            assert_eq!(text(b'2', "l", name), format!("into the pod: symlink l -> {said}"));
        }
        assert_eq!(name_text(b"\xff\n"), "\"\\xff\\n\"");
    }
}
