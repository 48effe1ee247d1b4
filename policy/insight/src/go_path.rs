//! A path as the API server's log has it. Its events hold Go's `URL.RequestURI()`, which leaves a path as it came only where each byte may stand in one;
//! else it writes all of it anew, from what it decodes to (`net/url`: `setPath`, `EscapedPath`, `validEncoded`).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// What is escaped where a path is written anew.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// What a log has in place of the bytes that the gateway forwards in a path and that make it be written anew: `^` and `|`.
const CAUSES: [&str; 2] = ["%5E", "%7C"];

/// Whether a path stays as it came.
fn is_left(path: &str) -> bool {
    let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*[]%".contains(&byte);
    path.bytes().all(may_stand)
}

/// A path written anew.
fn anew(path: &str) -> String {
    percent_encode(&percent_decode(path.as_bytes()).collect::<Vec<u8>>(), ESCAPED).to_string()
}

/// Whether `logged` is how the log has `came`.
pub(crate) fn is_of(logged: &str, came: &str) -> bool {
    if is_left(came) {
        logged == came
    } else {
        logged == anew(came)
    }
}

/// Whether `logged` is how the log may have a path that begins with `beginning` and has `len` bytes, if that is known: what makes it be written anew may
/// stand behind the beginning. A path that stayed as it came is not looked at here.
pub(crate) fn may_begin(logged: &str, beginning: &str, len: Option<usize>) -> bool {
    let has_cause = CAUSES.iter().any(|cause| logged.contains(cause));
    if !has_cause || anew(logged) != logged {
        return false;
    }
    // An escape may have been cut in two.
    let whole = match beginning.as_bytes() {
        [.., b'%', _] => beginning.len() - 2,
        [.., b'%'] => beginning.len() - 1,
        all => all.len(),
    };
    // One byte is written as three at most, and the reverse.
    let is_as_long = |len: usize| logged.len() <= len.saturating_mul(3) && len <= logged.len().saturating_mul(3);
    logged.starts_with(&anew(beginning.get(..whole).unwrap_or_default())) && len.is_none_or(is_as_long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_left_or_written_anew_as_go_does_it() {
        // What `url.ParseRequestURI(came).RequestURI()` of Go 1.26 gives.
        for (came, logged) in [
            ("/openapi/a", "/openapi/a"),
            ("/openapi/%2f(%41)", "/openapi/%2f(%41)"),
            ("/openapi/\"", "/openapi/%22"),
            ("/openapi/{a}|^`<>", "/openapi/%7Ba%7D%7C%5E%60%3C%3E"),
            ("/openapi/\"(%41)", "/openapi/%22%28A%29"),
            (
                "/openapi/\"$&+,:;=@[~]!'*%2b%2F%3f",
                "/openapi/%22$&+,:;=@%5B~%5D%21%27%2A+/%3F",
            ),
        ] {
            assert!(is_of(logged, came), "{came}: {}", anew(came));
            assert!(!is_of(&format!("{logged}x"), came), "{came}");
        }
        assert!(!is_of("/openapi/%28", "/openapi/("), "it would have been left");
        assert!(
            may_begin("/openapi/%28a%7C", "/openapi/(", Some(12)),
            "what makes it be written anew is behind"
        );
        assert!(may_begin("/openapi/%C3%A9%7C", "/openapi/%C3%A", Some(16)));
        for wrong in [
            "/openapi/(a%22",
            "/openapi/%5Ba%22",
            "/openapi%22",
            "/openapi/%28%61%22",
        ] {
            assert!(!may_begin(wrong, "/openapi/(", None), "{wrong}");
        }
        assert!(!may_begin("/openapi/%28%7C", "/openapi/(", Some(100)));
        assert!(
            !may_begin("/openapi/%28a", "/openapi/(", None),
            "nothing made it be written anew"
        );
    }
}
