//! What of a stranger's words may stand in a record: only what has the form of something harmless (promise 6).
//!
//! Default-deny: a word is kept because it looks like a product name, a path segment or a query key, never because it does
//! not look like a secret. What is cut is cut as a whole; nothing of it remains.

use std::borrow::Cow;

use memchr::memmem;
use model::request::Pairs;
use percent_encoding::percent_decode_str;

/// A product name (`kubectl`) or its version.
const MOST_PRODUCT: usize = 32;
const MOST_VERSION: usize = 24;
/// A remark in parentheses (`(linux/amd64)`), and each word of it.
const MOST_REMARK: usize = 80;
const MOST_REMARK_WORD: usize = 24;
/// A segment of a path that is no resource's.
const MOST_SEGMENT: usize = 32;
/// A path, as any text of a record.
const MOST_PATH: usize = 1_024;
/// A query key.
const MOST_KEY: usize = 32;
/// A segment of a service's path, its digits together, a word in it, a number alone and at a word; how many parts may be of letters and digits,
/// and how much of them no word.
const MOST_NAME: usize = 64;
const MOST_DIGITS: usize = 14;
const MOST_WORD: usize = 16;
const MOST_NUMBER: usize = 10;
const MOST_AT_WORD: usize = 4;
const MOST_MIXED: usize = 3;
const MOST_JUMBLED: usize = 5;

fn is_plain(text: &str, most: usize, marks: &str) -> bool {
    let marks = marks.as_bytes();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || marks.contains(&byte);
    !text.is_empty() && text.len() <= most && text.bytes().all(is_plain)
}

/// The beginning of a `User-Agent` as far as it consists of products and remarks (RFC 9110 §10.1.5).
#[must_use]
pub fn agent(text: &str) -> &str {
    let mut end = 0;
    let mut rest = text;
    loop {
        let trimmed = rest.trim_start_matches(' ');
        let Some(length) = product(trimmed).or_else(|| remark(trimmed)) else {
            break;
        };
        end = text.len().saturating_sub(trimmed.len()).saturating_add(length);
        rest = trimmed.get(length..).unwrap_or_default();
        if !rest.is_empty() && !rest.starts_with(' ') {
            break;
        }
    }
    text.get(..end).unwrap_or_default()
}

fn product(text: &str) -> Option<usize> {
    let word = text.split(' ').next()?;
    let (name, version) = word.split_once('/').unwrap_or((word, "0"));
    (is_plain(name, MOST_PRODUCT, "-_.") && is_plain(version, MOST_VERSION, "-_.+")).then_some(word.len())
}

fn remark(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('(')?;
    let inside = inside.get(..inside.find(')')?)?;
    let words = |c: char| c == ' ' || c == ';' || c == ',' || c == '/';
    let fits = inside.len() <= MOST_REMARK
        && inside
            .split(words)
            .filter(|word| !word.is_empty())
            .all(|word| is_plain(word, MOST_REMARK_WORD, "-_.:"));
    fits.then(|| inside.len().saturating_add(2))
}

/// The part of a raw path that may be recorded: all of it when it names Kubernetes resources, but not what stands behind
/// `/proxy/`, which belongs to a backend; elsewhere its segments up to the first that is not short and plain.
pub(super) fn path(raw: &str) -> &str {
    // Nearly always: a tail needs the word `proxy`, plain or percent-encoded.
    let is_kubernetes = raw.starts_with("/api/") || raw.starts_with("/apis/");
    if is_kubernetes
        && memchr::memchr(b'%', raw.as_bytes()).is_none()
        && memmem::find(raw.as_bytes(), b"/proxy").is_none()
    {
        return raw;
    }
    let segments: Vec<&str> = raw.split('/').skip(1).collect();
    let kept = match segments.first().copied() {
        Some("api") => before_tail(&segments, 2),
        Some("apis") => before_tail(&segments, 3),
        _ => before_first(&segments, |segment| !is_plain(segment, MOST_SEGMENT, "-_.~")),
    };
    up_to(raw, &segments, kept)
}

/// What stands in a record where the rest of a service's path is left out. No path has it: all are ASCII.
const LEFT_OUT: &str = "…";

/// The path of a call to an HTTP service as a record has it: its segments up to the first that is not made of words and small numbers, and
/// where that is not all, a mark. A service chooses its paths, whatever they begin with, and puts what opens a door into some: the key of a
/// snapshot, of an invitation, of a webhook. Those are drawn by lot, and nearly never look like words.
pub(super) fn service_path(raw: &str) -> Cow<'_, str> {
    let kept = told_of_service(raw);
    if kept.len() == raw.len() {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(format!("{kept}{LEFT_OUT}"))
}

/// The part of a service's raw path that is kept beside its record: what [`service_path`] leaves out, or all of it where the record cuts that.
pub(super) fn beside_service(raw: &str) -> &str {
    let kept = told_of_service(raw).len();
    let is_cut = kept.saturating_add(LEFT_OUT.len()) > MOST_PATH;
    let from = if is_cut { 0 } else { kept };
    raw.get(from..).unwrap_or_default()
}

fn told_of_service(raw: &str) -> &str {
    let segments: Vec<&str> = raw.split('/').skip(1).collect();
    up_to(raw, &segments, before_first(&segments, |segment| !is_in_words(segment)))
}

/// Whether it is a name as people and programs write them, and no word of chance: words and small numbers, joined by marks.
fn is_in_words(segment: &str) -> bool {
    let (mut digits, mut mixed, mut jumbled) = (0_usize, 0_usize, 0_usize);
    for part in segment.split("%20").flat_map(|part| part.split(['-', '_', '.', '~'])) {
        let of_part = part.bytes().filter(u8::is_ascii_digit).count();
        digits = digits.saturating_add(of_part);
        mixed = mixed.saturating_add(usize::from(of_part > 0 && of_part < part.len()));
        if !is_word(part) {
            jumbled = jumbled.saturating_add(part.len());
            if !is_plain(part, MOST_JUMBLED, "") {
                return false;
            }
        }
    }
    // What is short may be anything (`k8s`, `iX`), and what is joined of many short ones may be a key.
    segment.len() <= MOST_NAME && digits <= MOST_DIGITS && mixed <= MOST_MIXED && jumbled <= MOST_JUMBLED
}

/// `reports`, `README`, `getUser`, `2026`, `Q3`, `2nd`, `v1beta1`, nothing.
fn is_word(part: &str) -> bool {
    let is_digit = |c: char| c.is_ascii_digit();
    let in_letters = |text: &str| text.len() <= MOST_WORD && is_spelled(text);
    let (before, behind) = (part.trim_end_matches(is_digit), part.trim_start_matches(is_digit));
    let (at_end, at_begin) = (
        part.len().saturating_sub(before.len()),
        part.len().saturating_sub(behind.len()),
    );
    before.is_empty() && at_end <= MOST_NUMBER
        || in_letters(before) && at_end <= MOST_AT_WORD
        || in_letters(behind) && at_begin <= MOST_AT_WORD
        || is_version(part)
}

/// Letters as words have them: small, capital, or each capital one before two small ones at least (`getUserNames`).
fn is_spelled(text: &str) -> bool {
    let is = |byte: Option<&u8>, class: fn(&u8) -> bool| byte.is_some_and(class);
    let bytes = text.as_bytes();
    let small_behind = |at: usize| {
        let mut next = [1_usize, 2].into_iter().map(|more| bytes.get(at.saturating_add(more)));
        next.all(|byte| is(byte, u8::is_ascii_lowercase))
    };
    let begins_words =
        |(at, byte): (usize, &u8)| byte.is_ascii_lowercase() || byte.is_ascii_uppercase() && small_behind(at);
    bytes.iter().all(u8::is_ascii_uppercase) || bytes.iter().enumerate().all(begins_words)
}

/// `v1alpha1`, `v2beta3`: versions of an API.
fn is_version(part: &str) -> bool {
    let numbers = part.strip_prefix('v').and_then(|rest| {
        let pair = rest.split_once("alpha").or_else(|| rest.split_once("beta"));
        pair.map(<[&str; 2]>::from)
    });
    let is_number = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|numbers| numbers.into_iter().all(is_number))
}

/// How many segments stand before the first that may not be told.
fn before_first(segments: &[&str], is_untold: impl Fn(&str) -> bool) -> usize {
    let told = segments
        .iter()
        .take_while(|segment| segment.is_empty() || !is_untold(segment));
    told.count()
}

/// The beginning of a path with so many of its segments.
fn up_to<'p>(raw: &'p str, segments: &[&str], kept: usize) -> &'p str {
    if kept >= segments.len() {
        return raw;
    }
    let length: usize = segments
        .iter()
        .take(kept)
        .map(|segment| segment.len().saturating_add(1))
        .sum();
    raw.get(..length.saturating_add(1)).unwrap_or_default()
}

/// The part of a raw path that is kept beside its record: what [`path`] leaves out, or all of it where the record cuts it.
pub(super) fn beside(raw: &str) -> &str {
    let kept = path(raw).len();
    let from = if kept > MOST_PATH { 0 } else { kept };
    raw.get(from..).unwrap_or_default()
}

/// How many segments stand before a proxy's tail. `at` is the resource's place: `/api/v1/namespaces/N/services/S/proxy/…`,
/// `/api/v1/nodes/N/proxy/…`, and the old form `/api/v1/proxy/…`.
fn before_tail(segments: &[&str], at: usize) -> usize {
    let is = |place: usize, word: &str| {
        let segment = segments.get(place).copied().unwrap_or_default();
        percent_decode_str(segment).eq(word.bytes())
    };
    let name = if is(at, "namespaces") {
        at.saturating_add(4)
    } else {
        at.saturating_add(2)
    };
    if is(at, "proxy") {
        at.saturating_add(1)
    } else if is(name, "proxy") {
        name.saturating_add(1)
    } else {
        segments.len()
    }
}

/// The parameters of a raw query that have a value, as the API server reads them: keys decoded, since `%63ommand` is
/// `command` to it, values as they came.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    let text = |key| match key {
        Cow::Borrowed(key) => String::from_utf8_lossy(key),
        Cow::Owned(key) => Cow::Owned(String::from_utf8_lossy(&key).into_owned()),
    };
    let read = Pairs::new(query).raw();
    read.filter_map(move |(key, value)| Some((text(key), value?)))
}

/// Whether it is a label of RFC 1123, as names of containers are.
pub(crate) fn is_label(name: &str) -> bool {
    is_plain(name, 63, "-") && !name.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Whether it is a name of a pod: a subdomain of RFC 1123 whose labels, as everywhere in Kubernetes, may be longer than 63.
pub(crate) fn is_subdomain(name: &str) -> bool {
    let is_part = |part: &str| is_plain(part, 253, "-") && !part.starts_with('-') && !part.ends_with('-');
    name.len() <= 253 && !name.bytes().any(|byte| byte.is_ascii_uppercase()) && name.split('.').all(is_part)
}

/// What stands for a query key that is no name.
pub(super) const NOT_A_NAME: &str = "(not a name)";

/// A decoded query key, or a mark where it is none.
pub(super) fn query_key(decoded: &str) -> &str {
    if is_plain(decoded, MOST_KEY, "-_.") {
        decoded
    } else {
        NOT_A_NAME
    }
}

/// `Kubectl-Command`: words of lower-case letters.
pub(super) fn command(text: &str) -> Option<&str> {
    let is_word = |word: &str| word.len() <= 16 && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    (text.len() <= 64 && text.split(' ').all(is_word)).then_some(text)
}

/// `Kubectl-Session`: a UUID.
pub(super) fn session(text: &str) -> Option<&str> {
    let fits = text.len() <= 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    fits.then_some(text)
}

/// The media types that a record names: those that Kubernetes and its clients send, and the commonest of others. A client may write any word
/// there, also a secret, so that a list and no form decides.
const MEDIA_TYPES: [&str; 24] = [
    "application/apply-patch+cbor",
    "application/apply-patch+yaml",
    "application/cbor",
    "application/gzip",
    "application/javascript",
    "application/json",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/octet-stream",
    "application/openmetrics-text",
    "application/pdf",
    "application/strategic-merge-patch+json",
    "application/vnd.kubernetes.protobuf",
    "application/x-protobuf",
    "application/x-tar",
    "application/x-www-form-urlencoded",
    "application/x-yaml",
    "application/xml",
    "application/yaml",
    "application/zip",
    "multipart/form-data",
    "text/css",
    "text/html",
    "text/plain",
];

/// The media type alone, without parameters and in lower case, where it is one that is named.
pub(super) fn media_type(text: &str) -> Option<&'static str> {
    let media = text.split(';').next()?.trim();
    MEDIA_TYPES.into_iter().find(|known| known.eq_ignore_ascii_case(media))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// promise_6: what a client says that a body is, is named where the list has it.
    #[test]
    fn promise_6_a_media_type_is_one_of_a_list() {
        assert_eq!(
            media_type("application/JSON; charset=hunter2"),
            Some("application/json")
        );
        assert_eq!(media_type("text/plain"), Some("text/plain"));
        for other in [
            "application/hunter2",
            "hunter2/json",
            "application/vnd.correct.horse.battery",
            "",
            "json",
        ] {
            assert_eq!(media_type(other), None, "{other}");
        }
        assert!(MEDIA_TYPES.is_sorted());
    }

    #[test]
    fn the_agents_of_real_clients_stay_whole() {
        for text in [
            "kubectl/v1.36.3 (linux/amd64) kubernetes/0000000",
            "curl/8.5.0",
            "Helm/3.15.1",
            "kube-controller-manager/v1.36.3 (linux/amd64) kubernetes/d2b7d5a/leader-election",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
        ] {
            let whole = text.strip_suffix("/leader-election").unwrap_or(text);
            assert!(
                agent(text) == text || agent(text).len() >= whole.rfind(' ').unwrap_or(0),
                "{text}: {}",
                agent(text)
            );
        }
        assert_eq!(agent("kubectl/v1 token=abc"), "kubectl/v1");
        assert_eq!(agent("kubectl/v1 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), "kubectl/v1");
        assert_eq!(agent("(Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6Ing)"), "");
        assert_eq!(agent("é"), "");
    }

    #[test]
    fn a_key_is_what_the_api_server_reads_however_it_is_spelled() {
        let query = "%63ommand=sh&command=a%20b&command=x;y&comm+and=1&watch&%77atch=true&=1";
        let read: Vec<_> = pairs(query).map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(read, ["command=sh", "command=a%20b", "comm and=1", "watch=true", "=1"]);
    }

    #[test]
    fn no_name_that_is_none_becomes_a_path() {
        let long = "a".repeat(100);
        for name in ["web-0", "kube-proxy-n.1", "0", long.as_str()] {
            assert!(is_subdomain(name), "{name}");
        }
        let longest = "a".repeat(254);
        for name in [
            "",
            ".",
            "..",
            "a..b",
            "a/b",
            "a?b",
            "a%2fb",
            "Web",
            "-a",
            "a-",
            "a.-b",
            "https:a:1",
            "é",
            longest.as_str(),
        ] {
            assert!(!is_subdomain(name), "{name}");
        }
    }

    #[test]
    fn what_stands_behind_proxy_belongs_to_the_backend() {
        for (raw, kept) in [
            (
                "/api/v1/namespaces/a/services/b/proxy/reset/s3cret",
                "/api/v1/namespaces/a/services/b/proxy/",
            ),
            (
                "/api/v1/namespaces/a/services/b/pr%6Fxy/x",
                "/api/v1/namespaces/a/services/b/pr%6Fxy/",
            ),
            ("/api/v1/nodes/n/proxy/x", "/api/v1/nodes/n/proxy/"),
            ("/api/v1/proxy/namespaces/a/services/b/x", "/api/v1/proxy/"),
            (
                "/api/v1/namespaces/proxy/pods/proxy",
                "/api/v1/namespaces/proxy/pods/proxy",
            ),
            (
                "/apis/g/v1/namespaces/a/things/b/proxy/x",
                "/apis/g/v1/namespaces/a/things/b/proxy/",
            ),
            ("/apis/g/v1/namespaces/a/things/b", "/apis/g/v1/namespaces/a/things/b"),
            ("/openapi/v3/apis/apps/v1", "/openapi/v3/apis/apps/v1"),
            ("/reset/0123456789012345678901234567890123456789/x", "/reset/"),
            ("/", "/"),
            ("", ""),
        ] {
            assert_eq!(path(raw), kept, "{raw}");
        }
    }

    #[test]
    fn promise_6_no_path_of_a_service_is_taken_for_one_of_kubernetes() {
        let token = "0123456789012345678901234567890123456789";
        for (raw, kept) in [
            (format!("/api/reset/{token}/x"), "/api/reset/…"),
            (format!("/apis/v1/{token}"), "/apis/v1/…"),
            (
                format!("/api/v1/namespaces/a/services/b/{token}"),
                "/api/v1/namespaces/a/services/b/…",
            ),
            ("/api/invite/a%40b.example".to_owned(), "/api/invite/…"),
            ("/d/7".to_owned(), "/d/7"),
            ("/".to_owned(), "/"),
        ] {
            assert_eq!(service_path(&raw), kept, "{raw}");
        }
    }

    /// What is left of [`service_path`] and what is beside it are the path.
    fn is_whole(raw: &str) -> bool {
        let (told, beside) = (service_path(raw), beside_service(raw));
        beside == raw || format!("{}{beside}", told.strip_suffix(LEFT_OUT).unwrap_or(&told)) == raw
    }

    #[test]
    fn promise_6_what_opens_a_door_at_a_service_is_not_in_the_path_of_a_record() {
        for secret in [
            "8f14e45fceea167a5a36dedd4bea2543", // a public dashboard of Grafana, a session of PHP
            "VwLzu8CzxRbQ3dXp9aHkT2mN5sYe7uJf", // a snapshot of Grafana
            "XXXXXXXXXXXXXXXXXXXXXXXX",         // a webhook of Slack
            "ZyXwVuTsRqPoNmLkJiHgFe",           // letters alone, by lot
            "5x2-3f1c8a9be7d24c6f90ab",         // a new password of Django
            "a8Kd72Lq",                         // an invitation
            "rYdddlPWk",                        // by lot, too
            "3f2504e0-4f89-11d3-9a0c-0305e82c3301", // a UUID
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln",
            "AKIAIOSFODNN7EXAMPLE",
            "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "4111-1111-1111-1111",
            "48151623421",
            "VK7JG-NPHTM-C97JM-9MPGT-3V66T", // a key of a product
            "ab12-cd34-ef56-gh78",
            "bob@example.com",
            "b%C3%BCcher",
            "a%2Fb",
        ] {
            let raw = format!("/reset/{secret}/done");
            assert_eq!(service_path(&raw), "/reset/…", "{secret}");
            assert_eq!(beside_service(&raw), format!("{secret}/done"));
        }
    }

    #[test]
    fn what_was_asked_of_a_service_is_told_where_it_is_in_words() {
        for raw in [
            "/reports/2026-11/Q3.pdf",
            "/reports/Quarterly%20Report%202026%20-%20final_v2.xlsx",
            "/IMG_20261123_101112.jpg",
            "/api/v1beta1/getUserNames/17",
            "/apis/v2alpha11/k8s/i18n/oauth2/README.md",
            "/.well-known/openid-configuration",
            "/static/app.min.js",
            "/orders/1795000000/lines/2nd/",
            "/user/alice/lab/tree/notebooks~old",
            "//",
        ] {
            assert_eq!(service_path(raw), raw);
            assert_eq!(beside_service(raw), "");
        }
        let long = "/reports".repeat(127);
        let (told, longer) = (format!("{long}/x0y0z0w0"), format!("{long}/abcdef/x0y0z0w0"));
        assert_eq!((service_path(&told).len(), beside_service(&told)), (1_020, "x0y0z0w0"));
        assert_eq!(
            beside_service(&longer),
            longer,
            "its record cuts it within what is told"
        );
    }

    /// As records were written before the query had one reader: what stands in them must not change with it.
    fn pairs_by_their_own_reader(query: &str) -> Vec<(String, &str)> {
        let read = query.split('&').filter(|pair| !pair.contains(';'));
        let read = read.filter_map(|pair| pair.split_once('='));
        let decoded = |key: &str| {
            let spaced = key.replace('+', " ");
            percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
        };
        read.map(|(key, value)| (decoded(key), value)).collect()
    }

    proptest! {
        #[test]
        fn one_reader_of_queries_gives_what_records_have_always_had(
            query in "(([a-z]|%[0-9a-fA-F]{2}|%|\\+|=|;|&|é){0,6}[&=;]){0,8}",
            any in any::<String>(),
        ) {
            for query in [&query, &any] {
                let read: Vec<_> = pairs(query).map(|(key, value)| (key.into_owned(), value)).collect();
                prop_assert_eq!(read, pairs_by_their_own_reader(query));
            }
        }

        #[test]
        fn promise_6_what_is_drawn_by_lot_is_not_told_of_a_path(
            drawn in "[0-9a-zA-Z]{24,32}|[0-9a-f]{16,32}[a-f][0-9][a-f][0-9]|[0-9a-zA-Z]{11}[0-9][a-zA-Z][0-9][a-zA-Z]"
        ) {
            let raw = format!("/a/{drawn}");
            prop_assert_eq!(service_path(&raw), "/a/…");
        }

        #[test]
        fn whatever_comes_only_a_beginning_of_it_stays(text in any::<String>()) {
            prop_assert!(text.starts_with(agent(&text)));
            prop_assert!(text.starts_with(path(&text)));
            prop_assert!(text.starts_with(told_of_service(&text)));
            let target = format!("/{text}");
            prop_assert!(is_whole(&target));
        }

        #[test]
        fn a_long_word_never_stays_in_an_agent(before in "[a-z]{1,8}/[0-9.]{1,6}", secret in "[A-Za-z0-9_.=-]{33,80}") {
            let text = format!("{before} {secret} more/1");
            prop_assert_eq!(agent(&text), before);
        }
    }
}
