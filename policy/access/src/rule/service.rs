//! Which calls of HTTP services a rule reaches: host, method, path, and where the service stands by namespace and labels.
//!
//! Allow and forbid read the same words with opposite caution, as for Kubernetes: an allow covers exactly the path that is
//! written; a forbid also covers what many servers take for the same, which is the path in other letter case and with or
//! without a slash at its end.

use std::collections::BTreeMap;
use std::fmt;

use model::service::{HostName, ServiceName};

use super::document::{Effect, ServiceScope};
use super::labels::LabelSelector;

/// The labels of a published service.
pub type ServiceLabels = BTreeMap<String, String>;

/// One call of a published service.
#[derive(Clone, Copy, Debug)]
pub struct ServiceCall<'a> {
    /// The service.
    pub service: &'a ServiceName,
    /// The namespace that it stands in; empty where it stands in none.
    pub namespace: &'a str,
    /// Its labels, of the document or of the annotated Service.
    pub labels: &'a ServiceLabels,
    /// The host name under which it is asked for.
    pub host: &'a HostName,
    /// The HTTP method, as it came: methods are case-sensitive (RFC 9110 §9.1). None is empty; see [`ServiceCall::any`].
    pub method: &'a str,
    /// The decoded path, with its leading slash and without the query.
    pub path: &'a str,
}

impl ServiceCall<'_> {
    /// All calls at once of the service on the host that it names, below its path: for leave to make them past the gateway, where nobody looks at each. An
    /// allow has to cover all of them, a forbid or a demand need cover but one, and a condition on method or path cannot be told.
    /// Its path is the one below which the service stands, empty where it has all of the host.
    #[must_use]
    pub const fn any(self) -> Self {
        Self { method: "", ..self }
    }

    /// Whether it stands for all calls. No method is empty (RFC 9110 §9.1).
    pub(super) const fn is_any(&self) -> bool {
        self.method.is_empty()
    }
}

/// A checked [`ServiceScope`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    hosts: Vec<HostPattern>,
    /// None: any.
    methods: Option<Vec<Box<str>>>,
    paths: Vec<SegmentPattern>,
    /// None: any, and those that stand in none.
    namespaces: Option<Vec<Box<str>>>,
    selector: Option<LabelSelector>,
}

impl Reached {
    /// # Errors
    /// All that is wrong, each with the list it is in.
    pub(super) fn read(scope: &ServiceScope) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        let hosts = each("hosts", &scope.hosts, "write `[\"*\"]`", HostPattern::parse, &mut wrong);
        let methods = each("methods", &scope.methods, "write `[\"*\"]`", method, &mut wrong);
        let paths = each(
            "paths",
            &scope.paths,
            "write `[\"/*\"]`",
            SegmentPattern::parse,
            &mut wrong,
        );
        let namespaces = scope
            .namespaces
            .as_ref()
            .map(|named| each("namespaces", named, "leave it out", namespace, &mut wrong));
        wrong.extend(
            scope
                .selector
                .as_ref()
                .and_then(useless)
                .map(|what| format!("selector: {what}")),
        );
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let any = methods.iter().any(|method| method.as_ref() == "*");
        Ok(Self {
            hosts,
            methods: (!any).then_some(methods),
            paths,
            namespaces,
            selector: scope.selector.clone(),
        })
    }

    /// For a forbid that cannot be read in full.
    pub(super) fn everything() -> Self {
        Self {
            hosts: vec![HostPattern::Any],
            methods: None,
            paths: vec![SegmentPattern {
                segments: Vec::new(),
                and_below: true,
            }],
            namespaces: None,
            selector: None,
        }
    }

    /// Whether the service stands where it is written. Both are known of every service, so that allow and forbid read them alike.
    fn reaches_service(&self, call: &ServiceCall<'_>) -> bool {
        let is_named = |named: &Vec<Box<str>>| named.iter().any(|name| name.as_ref() == call.namespace);
        self.namespaces.as_ref().is_none_or(is_named)
            && self
                .selector
                .as_ref()
                .is_none_or(|selector| selector.matches(call.labels))
    }

    /// Whether some of the calls that `call` stands for may be among those that it reaches.
    pub(super) fn reaches_some(&self, call: &ServiceCall<'_>) -> bool {
        self.reaches_service(call)
            && self.hosts.iter().any(|host| host.covers(call.host.as_str()))
            && self.paths.iter().any(|path| path.meets(call.path))
    }

    pub(super) fn covers(&self, call: &ServiceCall<'_>, effect: Effect) -> bool {
        if call.is_any() {
            let all = self.methods.is_none() && self.paths.iter().any(|path| path.holds(call.path));
            return self.reaches_some(call) && (all || effect == Effect::Forbid);
        }
        // Who may read a page may ask for its head alone (RFC 9110 §9.3.2), and who may not may not.
        let named = |name: &str| name == call.method || (name == "GET" && call.method == "HEAD");
        let methods = self.methods.as_ref();
        self.reaches_service(call)
            && self.hosts.iter().any(|host| host.covers(call.host.as_str()))
            && methods.is_none_or(|methods| methods.iter().any(|name| named(name)))
            && self.paths.iter().any(|path| path.covers(call.path, effect))
    }
}

fn each<T>(
    list: &str,
    texts: &[String],
    all: &str,
    read: impl Fn(&str) -> Result<T, String>,
    wrong: &mut Vec<String>,
) -> Vec<T> {
    if texts.is_empty() {
        wrong.push(format!("{list}: an empty list matches nothing; {all} for all"));
    }
    let mut kept = Vec::with_capacity(texts.len());
    for text in texts {
        match read(text) {
            Ok(read) => kept.push(read),
            Err(what) => wrong.push(format!("{list}: {what}")),
        }
    }
    kept
}

/// A namespace by its name, which is no pattern.
fn namespace(text: &str) -> Result<Box<str>, String> {
    if text.is_empty() || text.contains('*') {
        return Err(format!(
            "`{text}` is no namespace: each is named by itself, without a star"
        ));
    }
    Ok(text.into())
}

/// Why a selector is none.
fn useless(selector: &LabelSelector) -> Option<String> {
    let empty = || {
        selector
            .is_empty()
            .then(|| "it has no condition; leave it out for any".to_owned())
    };
    selector.problem().or_else(empty)
}

/// A method (RFC 9110 §5.6.2 token); all that are registered are written in capitals.
fn method(text: &str) -> Result<Box<str>, String> {
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
    if text == "*" || (!text.is_empty() && text.bytes().all(fits)) {
        Ok(text.into())
    } else {
        Err(format!(
            "`{text}` is no method: methods are written in capitals, such as `GET`"
        ))
    }
}

/// `*`, `*.example.com` for every name below, or one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostPattern {
    Any,
    /// With its leading dot.
    Below(Box<str>),
    Exactly(HostName),
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Below(end) => write!(f, "*{end}"),
            Self::Exactly(host) => write!(f, "{host}"),
        }
    }
}

impl HostPattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        match text.strip_prefix("*.") {
            Some(rest) => HostName::new(rest)
                .map(|name| Self::Below(format!(".{name}").into()))
                .map_err(|error| error.to_string()),
            None => HostName::new(text)
                .map(Self::Exactly)
                .map_err(|error| error.to_string()),
        }
    }

    pub(super) fn covers(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Below(end) => host.len() > end.len() && host.ends_with(end.as_ref()),
            Self::Exactly(own) => own.as_str() == host,
        }
    }
}

/// A path by whole segments: a `*` is one segment, and as the last one all that stands below.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SegmentPattern {
    segments: Vec<Segment>,
    and_below: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// One that is not empty.
    Any,
    Exactly(Box<str>),
}

impl SegmentPattern {
    fn parse(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('/') else {
            return Err(format!("`{text}`: a path begins with `/`"));
        };
        if let Some(character) = text
            .chars()
            .find(|character| matches!(character, '%' | ';' | '?' | '#' | '\\'))
        {
            return Err(format!(
                "`{text}`: paths are compared decoded and without the query, so that `{character}` is in none"
            ));
        }
        let (path, and_below) = match path {
            "*" => ("", true),
            _ => path.strip_suffix("/*").map_or((path, false), |path| (path, true)),
        };
        if and_below && path.is_empty() {
            return Ok(Self {
                segments: Vec::new(),
                and_below,
            });
        }
        let last = path.matches('/').count();
        let segments = path.split('/').enumerate().map(|(at, segment)| match segment {
            "" if at != last || and_below => Err(format!("`{text}`: `//` is in no path")),
            "." | ".." => Err(format!("`{text}`: a segment `{segment}` is in no path")),
            "*" => Ok(Segment::Any),
            _ if segment.contains('*') => Err(format!(
                "`{text}`: a star stands for a whole segment, or at the end for all below, never for a part of a name"
            )),
            _ => Ok(Segment::Exactly(segment.into())),
        });
        Ok(Self {
            segments: segments.collect::<Result<_, _>>()?,
            and_below,
        })
    }

    fn covers(&self, path: &str, effect: Effect) -> bool {
        let path = path.strip_prefix('/').unwrap_or(path);
        match effect {
            Effect::Allow => self.covers_segments(path.split('/'), |own, asked| own == asked),
            Effect::Forbid => {
                let bare = path.strip_suffix('/').unwrap_or(path);
                let same = |own: &str, asked: &str| own.to_lowercase() == asked.to_lowercase();
                self.covers_segments(path.split('/'), same)
                    || self.covers_segments(bare.split('/'), same)
                    // `/admin/` where `/admin/*` or `/admin/` is written, and `/admin` too.
                    || self.covers_segments(bare.split('/').chain([""]), same)
            }
        }
    }

    /// Whether every path below this one is covered as it is written.
    fn holds(&self, below: &str) -> bool {
        let mut asked = segments_of(below);
        let fits = |own: &Segment| match (own, asked.next()) {
            (Segment::Any, Some(_)) => true,
            (Segment::Exactly(own), Some(segment)) => own.as_ref() == segment,
            (_, None) => false,
        };
        self.and_below && self.segments.iter().all(fits)
    }

    /// Whether some path below this one may be covered, in whatever spelling.
    fn meets(&self, below: &str) -> bool {
        let mut own = self.segments.iter();
        for asked in segments_of(below) {
            match own.next() {
                Some(Segment::Exactly(own)) if own.to_lowercase() != asked.to_lowercase() => return false,
                Some(_) => {}
                None => return self.and_below,
            }
        }
        true
    }

    fn covers_segments<'p>(&self, mut asked: impl Iterator<Item = &'p str>, same: impl Fn(&str, &str) -> bool) -> bool {
        for own in &self.segments {
            let fits = match (own, asked.next()) {
                (Segment::Any, Some(segment)) => !segment.is_empty(),
                (Segment::Exactly(own), Some(segment)) => same(own, segment),
                (_, None) => false,
            };
            if !fits {
                return false;
            }
        }
        // All below begins behind a slash, so that `/app/*` is not `/app`.
        match asked.next() {
            Some(_) => self.and_below,
            None => !self.and_below,
        }
    }
}

/// Of a path such as `/app`, or of none.
fn segments_of(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> SegmentPattern {
        SegmentPattern::parse(text).unwrap()
    }

    fn allows(text: &str, path: &str) -> bool {
        pattern(text).covers(path, Effect::Allow)
    }

    fn forbids(text: &str, path: &str) -> bool {
        pattern(text).covers(path, Effect::Forbid)
    }

    #[test]
    fn path_10_an_allowed_path_is_exactly_what_is_written_by_whole_segments() {
        for (text, covered, others) in [
            ("/", &["/"][..], &["/a", "/a/"][..]),
            ("/app", &["/app"], &["/app/", "/apple", "/App", "/app/x", "/"]),
            ("/app/", &["/app/"], &["/app", "/app/x"]),
            (
                "/app/*",
                &["/app/", "/app/x", "/app/x/y/"],
                &["/app", "/apple", "/APP/x", "/"],
            ),
            ("/*", &["/", "/a", "/a/b/"], &[]),
            ("/a/*/c", &["/a/b/c"], &["/a//c", "/a/c", "/a/b/b/c", "/a/b/c/"]),
            ("/a/*/c/*", &["/a/b/c/", "/a/b/c/d"], &["/a/b/c"]),
            ("/Bücher/日本", &["/Bücher/日本"], &["/bücher/日本"]),
        ] {
            for path in covered {
                assert!(allows(text, path), "{text} {path}");
            }
            for path in others {
                assert!(!allows(text, path), "{text} {path}");
            }
        }
    }

    #[test]
    fn a_forbidden_path_is_also_what_servers_take_for_the_same() {
        for (text, covered, others) in [
            (
                "/admin",
                &["/admin", "/admin/", "/ADMIN", "/Admin/"][..],
                &["/admins", "/admin/x", "/"][..],
            ),
            ("/admin/", &["/admin", "/admin/"], &["/admin/x"]),
            (
                "/admin/*",
                &["/admin", "/admin/", "/admin/x", "/aDmin/X/"],
                &["/adminx", "/"],
            ),
            ("/a/*/c", &["/a/b/c", "/A/b/C/"], &["/a/b", "/a/b/c/d"]),
            ("/", &["/"], &["/a"]),
            ("/*", &["/", "/a"], &[]),
        ] {
            for path in covered {
                assert!(forbids(text, path), "{text} {path}");
            }
            for path in others {
                assert!(!forbids(text, path), "{text} {path}");
            }
        }
    }

    #[test]
    fn what_can_be_in_no_path_is_refused() {
        for (text, part) in [
            ("app", "begins with `/`"),
            ("*", "begins with `/`"),
            ("", "begins with `/`"),
            ("//", "`//`"),
            ("/a//b", "`//`"),
            ("/a//*", "`//`"),
            ("/a/../b", "segment `..`"),
            ("/a/.", "segment `.`"),
            ("/a%20b", "decoded"),
            ("/a?b=c", "without the query"),
            ("/a;b", "`;`"),
            ("/a#b", "`#`"),
            ("/app*", "whole segment"),
            ("/a*b/c", "whole segment"),
            ("/**", "whole segment"),
        ] {
            let told = SegmentPattern::parse(text).unwrap_err();
            assert!(told.contains(part), "{text}: {told}");
        }
    }

    #[test]
    fn a_host_is_one_name_or_all_names_below_one() {
        let covers = |text: &str, host: &str| HostPattern::parse(text).unwrap().covers(host);
        assert!(covers("*", "a.example"));
        assert!(covers("a.example", "a.example"));
        assert!(covers("*.example", "a.example") && covers("*.example", "b.a.example"));
        for (text, host) in [
            ("a.example", "b.a.example"),
            ("*.example", "example"),
            ("*.example", "aexample"),
            ("*.example", "a.example.evil"),
        ] {
            assert!(!covers(text, host), "{text} {host}");
        }
        for bad in [
            "",
            "A.example",
            "a*.example",
            "*.*.example",
            "a.example:443",
            "https://a.example",
            "127.0.0.1",
        ] {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        /// What stands for all calls below a path is allowed by nothing that leaves one of them out, and forbidden by whatever
        /// forbids one of them.
        #[test]
        fn promise_3_all_calls_are_allowed_where_each_is_and_forbidden_where_one_is(
            text in "(/(\\*|[aA]{1,2}|b)){0,3}(/|/\\*)?",
            below in "(/([aAbB]{1,2})){0,2}",
            rest in "/([aAbB]{0,2}(/[aAbB]{1,2}){0,2}/?)",
        ) {
            if let Ok(pattern) = SegmentPattern::parse(&text) {
                let path = format!("{below}{rest}");
                prop_assert!(!pattern.holds(&below) || pattern.covers(&path, Effect::Allow), "{text} {path}");
                prop_assert!(!pattern.covers(&path, Effect::Forbid) || pattern.meets(&below), "{text} {path}");
                prop_assert!(!pattern.holds(&below) || pattern.meets(&below), "{text} {below}");
            }
        }

        /// What an allow covers a forbid with the same words covers, too.
        #[test]
        fn promise_3_a_forbid_covers_all_that_an_allow_of_the_same_words_does(
            text in "(/(\\*|[aA]{1,2}|b)){0,3}(/|/\\*)?",
            path in "(/([aAbB]{1,2})){0,3}/?",
        ) {
            if let Ok(pattern) = SegmentPattern::parse(&text) {
                prop_assert!(!pattern.covers(&path, Effect::Allow) || pattern.covers(&path, Effect::Forbid), "{text} {path}");
            }
        }
    }
}
