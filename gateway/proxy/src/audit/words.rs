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
        _ => segments
            .iter()
            .take_while(|segment| segment.is_empty() || is_plain(segment, MOST_SEGMENT, "-_.~"))
            .count(),
    };
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
        fn whatever_comes_only_a_beginning_of_it_stays(text in any::<String>()) {
            prop_assert!(text.starts_with(agent(&text)));
            prop_assert!(text.starts_with(path(&text)));
        }

        #[test]
        fn a_long_word_never_stays_in_an_agent(before in "[a-z]{1,8}/[0-9.]{1,6}", secret in "[A-Za-z0-9_.=-]{33,80}") {
            let text = format!("{before} {secret} more/1");
            prop_assert_eq!(agent(&text), before);
        }
    }
}
