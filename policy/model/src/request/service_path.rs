//! The path of a call to an HTTP service: read so that every server behind the gateway reads the same (protocol N-02).
//!
//! Paths of the Kubernetes API hold visible ASCII only; those of services hold what people type, so that escapes may stand
//! for any text in UTF-8. Refused is what servers are known to read in two ways: escaped separators, dot segments, empty
//! segments, path parameters behind `;`, and characters that some servers fold into a dot, a slash or the like.

use super::target::{TargetError, decode};

/// Checks the path of a target whose bytes are visible ASCII and whose escapes are well formed.
pub(super) fn check(path: &str) -> Result<(), TargetError> {
    let mut at = 1;
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if segment.is_empty() && !is_last {
            return Err(TargetError::EmptySegment { at });
        }
        check_segment(segment, at)?;
        at += segment.len() + 1;
    }
    Ok(())
}

fn check_segment(segment: &str, at: usize) -> Result<(), TargetError> {
    if let Some(offset) = segment.find(';') {
        return Err(TargetError::Parameter { at: at + offset });
    }
    let escapes = segment.match_indices('%').filter_map(|(offset, _)| {
        let digits = segment.get(offset + 1..offset + 3)?;
        Some((offset, u8::from_str_radix(digits, 16).ok()?))
    });
    for (offset, byte) in escapes {
        if matches!(byte, 0..=0x1f | 0x7f | b'/' | b'\\' | b'%' | b';' | b'?' | b'#') {
            let at = at + offset;
            return Err(TargetError::EscapedByte { byte, at });
        }
    }
    let decoded = decode(segment.as_bytes());
    // Also overlong forms, which are no UTF-8 (RFC 3629 §3).
    let text = std::str::from_utf8(&decoded).map_err(|_| TargetError::NotUtf8 { at })?;
    if matches!(text, "." | "..") {
        return Err(TargetError::DotSegment { at });
    }
    match text.chars().find(|character| is_folded(*character)) {
        Some(character) => Err(TargetError::Folded { character, at }),
        None => Ok(()),
    }
}

/// Whether some server makes a character with a meaning in paths of it, by compatibility normalisation (NFKC) or by a best-fit
/// table; or whether it cannot be seen at all.
const fn is_folded(character: char) -> bool {
    matches!(
        character,
        // Controls beyond ASCII, and what steers or hides text.
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        // To `.`, `..`, `...`, and numbers that end in a dot.
        | '\u{2024}'..='\u{2026}' | '\u{fe19}' | '\u{fe30}' | '\u{fe52}' | '\u{ff0e}' | '\u{ff61}' | '\u{2488}'..='\u{249b}' | '\u{1f100}'
        // To `/` or `\`.
        | '\u{2044}' | '\u{2215}' | '\u{29f8}' | '\u{29f5}' | '\u{2216}' | '\u{ff0f}' | '\u{ff3c}' | '\u{fe68}'
        | '\u{2100}' | '\u{2101}' | '\u{2105}' | '\u{2106}'
        // To `%`, `;`, `?`, `#`.
        | '\u{ff05}' | '\u{fe6a}' | '\u{ff1b}' | '\u{fe54}' | '\u{fe14}' | '\u{37e}' | '\u{ff1f}' | '\u{fe56}' | '\u{fe16}'
        | '\u{2047}'..='\u{2049}' | '\u{ff03}' | '\u{fe5f}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::request::{Target, TargetError};

    fn of_service(raw: &str) -> Result<Target, TargetError> {
        Target::of_service(raw.as_bytes())
    }

    #[test]
    fn paths_that_people_type_are_read() {
        for (raw, path) in [
            ("/", "/"),
            ("/a/b/", "/a/b/"),
            (
                "/lab/tree/B%C3%BCcher/Notizen%201.ipynb?reset",
                "/lab/tree/Bücher/Notizen 1.ipynb",
            ),
            (
                "/d/abc/über%20alles".replace('ü', "%c3%bc").as_str(),
                "/d/abc/über alles",
            ),
            ("/api/v1/label/__name__/values", "/api/v1/label/__name__/values"),
            ("/a/...", "/a/..."),
            ("/a/.well-known/x", "/a/.well-known/x"),
            ("/@scope/pkg,v=1:2+3!$&'()*~", "/@scope/pkg,v=1:2+3!$&'()*~"),
            ("/%E6%97%A5%E6%9C%AC", "/日本"),
        ] {
            let target = of_service(raw).unwrap_or_else(|error| panic!("{raw}: {error}"));
            assert_eq!(std::str::from_utf8(target.path()).unwrap(), path);
            assert_eq!(target.raw(), raw, "forwarded as it came");
        }
    }

    /// PATH-05 and PATH-10 as well.
    #[test]
    fn n_02_path_01_path_02_path_03_path_04_path_08_what_servers_read_in_two_ways_is_refused() {
        for raw in [
            "/a/../b",
            "/..",
            "/a/.",
            "/a/%2e%2e/b",
            "/a/%2E./b",
            "/a/%2e",
            "/a/%252e%252e/b",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/a%0d%0ab",
            "/a%7f",
            "/a%3bb",
            "/a%23",
            "/a%3f",
            "/a#b",
            "/a;x=1/b",
            "/app/..;/admin",
            "//a",
            "/a//b",
            "/a//",
            "/%c0%af",
            "/%c0%ae%c0%ae/",
            "/%ff",
            "/%zz",
            "/%ef%bc%8f",
            "/%e2%88%95",
            "/%e2%80%a4%e2%80%a4/admin",
            "/%e2%80%8badmin",
            "/%c2%85",
            "/ä",
            "/a b",
            "a",
            "",
            "http://other.example/a",
            "*",
        ] {
            assert!(of_service(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn the_query_is_not_read_as_a_path() {
        let target = of_service("/a?next=/../b;c//%2f%ff").unwrap();
        assert_eq!(target.path_raw(), "/a");
        assert_eq!(target.query_raw(), Some("next=/../b;c//%2f%ff"));
    }

    #[test]
    fn promise_2_n_07_a_target_loses_whole_segments_and_nothing_else() {
        for (raw, count, left) in [
            ("/app/a%20b?c=%2f&d", 1, "/a%20b?c=%2f&d"),
            ("/%61pp/%61", 1, "/%61"),
            ("/app", 1, "/"),
            ("/app?x", 1, "/?x"),
            ("/app?", 1, "/?"),
            ("/app/", 1, "/"),
            ("/a/b/c/", 2, "/c/"),
            ("/a/B%C3%BCcher/x", 2, "/x"),
            ("/a", 0, "/a"),
        ] {
            let target = of_service(raw).unwrap().without_first(count).unwrap();
            assert_eq!(target.raw(), left, "{raw}");
        }
        assert_eq!(
            of_service("/a").unwrap().without_first(2),
            Err(TargetError::NotOriginForm)
        );
    }

    proptest! {
        /// What is forwarded reads as the rest of what was decided, and is the rest of its bytes.
        #[test]
        fn promise_2_a_target_without_its_first_segment_reads_as_the_rest_of_it(
            raw in "(/([a-z.]|%2e|%25|%c3%a4|%20|%41){1,4}){1,4}/?(\\?[a-z/%]{0,4})?"
        ) {
            if let Ok(target) = of_service(&raw) {
                let rest = target.without_first(1).unwrap();
                let bare = format!("/{}", raw.strip_prefix(target.path_raw()).unwrap());
                prop_assert!(raw.ends_with(rest.raw()) || rest.raw() == bare, "{raw} → {}", rest.raw());
                let whole = std::str::from_utf8(target.path()).unwrap();
                let expected: Vec<_> = whole.split('/').skip(2).collect();
                let found: Vec<_> = std::str::from_utf8(rest.path()).unwrap().split('/').skip(1).collect();
                prop_assert!(found == expected || (expected.is_empty() && found == [""]), "{whole} → {found:?}");
                prop_assert!(!rest.raw().starts_with("//"));
            }
        }

        /// Whatever is read has segments that a second decoding, a normalisation or a trimming of parameters leaves alone.
        #[test]
        fn promise_2_an_accepted_path_reads_the_same_to_every_server(
            raw in "(/([a-z.;%]|%2e|%2f|%25|%5c|%c3%a4|%3b|%20|\\\\|%00|%e2%80%a4){0,6}){1,5}"
        ) {
            if let Ok(target) = of_service(&raw) {
                let path = std::str::from_utf8(target.path()).unwrap();
                prop_assert_eq!(path.matches('/').count(), target.path_raw().matches('/').count(), "no segment appears or goes");
                prop_assert!(!path.contains(['%', ';', '\\', '\0', '#', '?']), "{path}");
                prop_assert!(!path.contains("//"), "{path}");
                prop_assert!(path.split('/').all(|segment| !matches!(segment, "." | "..")), "{path}");
            }
        }
    }
}
