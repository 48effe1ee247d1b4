//! What a request asks, by method, path and query: the classifier, and queries as the API server reads them.

use proptest::prelude::*;

use super::*;

fn classify(method: &str, raw: &str) -> Result<RequestFacts, ClassifyError> {
    let target = Target::parse(raw.as_bytes()).unwrap_or_else(|error| panic!("{raw}: {error}"));
    RequestFacts::classify(
        &target,
        Wire {
            method,
            wants_upgrade: false,
            impersonates: false,
        },
    )
}

fn facts(method: &str, raw: &str) -> RequestFacts {
    classify(method, raw).unwrap()
}

/// verb group/version namespace resource/subresource name
fn line(method: &str, raw: &str) -> String {
    let facts = facts(method, raw);
    let or = |text: &str| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text.to_owned()
        }
    };
    format!(
        "{} {}/{} {} {} {}",
        or(facts.verb().as_str()),
        facts.api_group(),
        facts.api_version(),
        or(facts.namespace()),
        or(&facts.combined_resource()),
        or(facts.name())
    )
}

#[test]
fn resource_paths_are_read_as_the_api_server_reads_them() {
    for (method, raw, expected) in [
        ("GET", "/api/v1/pods", "list /v1 - pods -"),
        ("GET", "/api/v1/namespaces/a/pods", "list /v1 a pods -"),
        ("HEAD", "/api/v1/namespaces/a/pods", "list /v1 a pods -"),
        ("GET", "/api/v1/namespaces/a/pods/p", "get /v1 a pods p"),
        ("GET", "/api/v1/namespaces/a/pods/p/", "get /v1 a pods p"),
        ("POST", "/api/v1/namespaces/a/pods", "create /v1 a pods -"),
        (
            "PUT",
            "/apis/apps/v1/namespaces/a/deployments/d/scale",
            "update apps/v1 a deployments/scale d",
        ),
        (
            "PATCH",
            "/apis/example.test/v9/widgets/w",
            "patch example.test/v9 - widgets w",
        ),
        ("DELETE", "/api/v1/namespaces/a/pods", "deletecollection /v1 a pods -"),
        ("DELETE", "/api/v1/namespaces/a/pods/p", "delete /v1 a pods p"),
        ("GET", "/api/v1/namespaces", "list /v1 - namespaces -"),
        ("GET", "/api/v1/namespaces/a", "get /v1 a namespaces a"),
        (
            "PUT",
            "/api/v1/namespaces/a/finalize",
            "update /v1 a namespaces/finalize a",
        ),
        ("GET", "/api/v1/namespaces/a/status/x", "get /v1 a namespaces/status a"),
        (
            "POST",
            "/api/v1/namespaces/a/pods/p/exec/x/y",
            "create /v1 a pods/exec p",
        ),
        ("DELETE", "/api/v1/watch/namespaces/a/pods", "watch /v1 a pods -"),
        (
            "POST",
            "/api/v1/proxy/namespaces/a/services/s/exec",
            "proxy /v1 a services s",
        ),
        ("get", "/api/v1/pods", "- /v1 - pods -"),
        ("PROPFIND", "/api/v1/pods/x", "- /v1 - pods x"),
    ] {
        assert_eq!(line(method, raw), expected, "{method} {raw}");
    }
}

#[test]
fn paths_that_are_no_resource_keep_the_method_in_lower_case() {
    for raw in [
        "/",
        "/api",
        "/api/",
        "/api/v1",
        "/apis/apps/v1",
        "/version",
        "/API/v1/secrets",
        "/healthz/x/y/z",
    ] {
        let facts = facts("GET", raw);
        assert!(!facts.is_resource_request(), "{raw}");
        assert_eq!((facts.verb().as_str(), facts.path()), ("get", raw));
        assert_eq!(facts.parts().count(), 0);
    }
    assert_eq!(facts("PropFind", "/x").verb().as_str(), "propfind");
    assert_eq!(facts("HEAD", "/x").verb().as_str(), "head");
}

#[test]
fn a_special_verb_with_nothing_behind_it_is_an_error() {
    for raw in ["/api/v1/watch", "/api/v1/proxy/", "/apis/apps/v1/watch"] {
        assert_eq!(classify("GET", raw).unwrap_err(), ClassifyError::NoResource, "{raw}");
    }
}

#[test]
fn watch_is_read_in_every_spelling_of_the_api_server() {
    let watch = |query: &str| *facts("GET", &format!("/api/v1/pods?{query}")).verb() == Verb::Watch;
    for on in [
        "watch",
        "watch=",
        "watch=1",
        "watch=TRUE",
        "watch=yes",
        "%77atch=1",
        "watch=1&watch=0",
        "x&watch=00",
    ] {
        assert!(watch(on), "{on}");
    }
    for off in [
        "watch=0",
        "watch=false",
        "watch=FALSE",
        "Watch=1",
        "watch=0&watch=1",
        "watch=1;x",
        "watch=fal%C5%BFe",
    ] {
        assert!(!watch(off), "{off}");
    }
    // One undecodable option drops the others, but not the watch.
    assert!(watch("watch=1&limit=abc"));
    assert!(
        watch("watch=fal%C5%BFe&limit=abc"),
        "the second reading folds ASCII only"
    );
    assert!(!watch("watch=False&labelSelector=((("));
}

#[test]
fn a_name_comes_from_the_selector_only_where_the_api_server_takes_one() {
    let name = |query: &str| facts("GET", &format!("/api/v1/pods?{query}")).name().to_owned();
    assert_eq!(name("fieldSelector=metadata.name=x"), "x");
    assert_eq!(name("fieldSelector=metadata.name%3D%3Dx"), "x");
    assert_eq!(name("fieldSelector=status.phase!=y,metadata.name=x"), "x");
    assert_eq!(
        name("fieldSelector=metadata.name=y,metadata.name==x"),
        "x",
        "terms are sorted first"
    );
    assert_eq!(name("fieldSelector=metadata.name=a&fieldSelector=metadata.name=b"), "a");
    for none in [
        "fieldSelector=metadata.name!=x",
        "fieldSelector=metadata.name=a%2Fb",
        "fieldSelector=metadata.name=..",
        "fieldSelector=metadata.name=x&limit=1x",
        "fieldSelector=metadata.name=x&labelSelector=a+b",
        "fieldSelector=metadata.name=x,zzz",
        "fieldSelector=metadata.name=x;y",
    ] {
        assert_eq!(name(none), "", "{none}");
    }
    assert_eq!(
        facts("DELETE", "/api/v1/namespaces/a/pods?fieldSelector=metadata.name=x").name(),
        ""
    );
    let watch = facts("GET", "/api/v1/watch/pods?fieldSelector=metadata.name=x");
    assert_eq!((watch.name(), watch.field_selector()), ("", None));
}

#[test]
fn selectors_are_attributes_of_collections_even_when_unreadable() {
    let facts = facts(
        "DELETE",
        "/api/v1/namespaces/a/pods?labelSelector=(((&fieldSelector=a%20b&labelSelector=x",
    );
    assert_eq!(
        (facts.label_selector(), facts.field_selector()),
        (Some("((("), Some("a b"))
    );
    assert_eq!(
        classify("GET", "/api/v1/pods?fieldSelector=%ff").unwrap_err(),
        ClassifyError::SelectorNotText
    );
    assert!(
        classify("POST", "/api/v1/namespaces/a/pods/p/exec?command=%ff").is_ok(),
        "commands may be any bytes"
    );
}

#[test]
fn entering_is_one_class_whatever_the_method() {
    for (raw, action) in [
        ("/api/v1/namespaces/a/pods/p/exec?command=id", Action::Exec),
        ("/api/v1/namespaces/a/pods/p/attach/", Action::Attach),
        ("/api/v1/namespaces/a/pods/p/portforward", Action::PortForward),
        ("/api/v1/namespaces/a/pods/p/proxy", Action::Proxy),
        ("/api/v1/namespaces/a/services/https:s:443/proxy/x", Action::Proxy),
        ("/api/v1/nodes/n/proxy/run/a/p/c", Action::Proxy),
        ("/api/v1/proxy/nodes/n", Action::Proxy),
        (
            "/api/v1/namespaces/a/pods/p/ephemeralcontainers",
            Action::EphemeralContainers,
        ),
    ] {
        for method in ["GET", "POST", "PATCH"] {
            let facts = facts(method, raw);
            assert_eq!((facts.action(), facts.kind()), (action, Kind::Effect), "{method} {raw}");
            let own = if action.streams() {
                "create"
            } else {
                facts.verb().as_str()
            };
            assert_eq!(facts.authorization_verb(), own, "{method} {raw}");
        }
    }
    assert_eq!(
        facts("BREW", "/api/v1/namespaces/a/pods/p/exec").authorization_verb(),
        ""
    );
}

#[test]
fn only_plain_reads_are_pure() {
    let kind = |method, raw, wants_upgrade, impersonates| {
        let target = Target::parse(raw).unwrap();
        RequestFacts::classify(
            &target,
            Wire {
                method,
                wants_upgrade,
                impersonates,
            },
        )
        .unwrap()
        .kind()
    };
    for raw in [
        &b"/api/v1/pods"[..],
        b"/api/v1/pods?watch=1",
        b"/api/v1/namespaces/a/pods/p/log",
        b"/version",
    ] {
        assert_eq!(kind("GET", raw, false, false), Kind::PureRead);
        assert_eq!(kind("GET", raw, true, false), Kind::Effect, "an upgrade");
        assert_eq!(kind("GET", raw, false, true), Kind::Effect, "nested impersonation");
        assert_eq!(kind("get", raw, false, false), Kind::Effect, "an unknown method");
    }
    assert_eq!(kind("POST", b"/api/v1/watch/pods", false, false), Kind::Effect);
    assert_eq!(
        kind(
            "GET",
            b"/apis/subresources.kubevirt.io/v1/namespaces/a/vms/v/portforward",
            false,
            false
        ),
        Kind::Effect
    );
}

#[test]
fn targets_that_could_be_read_in_two_ways_are_refused() {
    use TargetError as E;
    for (raw, expected) in [
        ("", E::NotOriginForm),
        ("*", E::NotOriginForm),
        ("http://x/api", E::NotOriginForm),
        ("/a b", E::NotVisibleAscii { at: 2 }),
        ("/a\tb", E::NotVisibleAscii { at: 2 }),
        ("/ä", E::NotVisibleAscii { at: 1 }),
        ("/a#b", E::Fragment { at: 2 }),
        ("/a?b#c", E::Fragment { at: 4 }),
        ("/a\\b", E::Backslash { at: 2 }),
        ("/a?b\\c", E::Backslash { at: 4 }),
        ("/%zz", E::InvalidEscape { at: 1 }),
        ("/a?x=%4", E::InvalidEscape { at: 5 }),
        ("/a%", E::InvalidEscape { at: 2 }),
        (
            "/api/v1/namespaces/n/pods/p%2Fexec",
            E::EscapedByte { byte: b'/', at: 27 },
        ),
        ("/api/v1/x%5cy", E::EscapedByte { byte: b'\\', at: 9 }),
        ("/api/v1/x%00", E::EscapedByte { byte: 0, at: 9 }),
        ("/api/v1/%252e%252e", E::EscapedByte { byte: b'%', at: 8 }),
        ("/api/v1/x%3b", E::EscapedByte { byte: b';', at: 9 }),
        ("/api/v1/x%3F", E::EscapedByte { byte: b'?', at: 9 }),
        ("/api/v1/x%23", E::EscapedByte { byte: b'#', at: 9 }),
        ("/api/%c0%af", E::EscapedByte { byte: 0xc0, at: 5 }),
        ("/api/v1/namespaces/a/../b/secrets", E::DotSegment { at: 21 }),
        ("/..", E::DotSegment { at: 1 }),
        ("/api/./v1", E::DotSegment { at: 5 }),
        ("/api/%2e%2E/v1", E::DotSegment { at: 5 }),
        ("/api/.%2e", E::DotSegment { at: 5 }),
        ("//api/v1/secrets", E::EmptySegment { at: 1 }),
        ("/api//v1/secrets", E::EmptySegment { at: 5 }),
        ("/api/v1/namespaces/a/secrets//x", E::EmptySegment { at: 29 }),
        ("/api/v1/secrets//", E::EmptySegment { at: 16 }),
        ("/api/v1/proxy/nodes/n/../x", E::DotSegment { at: 22 }),
        ("/api/v1/namespaces/a/pods/proxy/../x", E::DotSegment { at: 32 }),
        ("/healthz/a/b/proxy/../x", E::DotSegment { at: 19 }),
    ] {
        assert_eq!(
            Target::parse(raw.as_bytes()).map(|t| t.raw().to_owned()),
            Err(expected),
            "{raw}"
        );
        assert!(!expected.why().is_empty() && !expected.remedy().is_empty());
        assert_eq!(expected.status(), 400);
    }
    let long = format!("/{}", "a".repeat(MAX_TARGET_BYTES));
    assert_eq!(Target::parse(long.as_bytes()).unwrap_err().status(), 414);
    assert!(Target::parse(&long.as_bytes()[..MAX_TARGET_BYTES]).is_ok());
    let many = format!("/a?{}", "&".repeat(MAX_PARAMETERS));
    assert_eq!(Target::parse(many.as_bytes()).unwrap_err(), E::TooManyParameters);
}

#[test]
fn a_proxy_tail_is_kept_as_it_came() {
    for (raw, tail) in [
        (
            "/api/v1/nodes/n/proxy/../../%2e%2e%2fsecrets//x",
            "/../../%2e%2e%2fsecrets//x",
        ),
        (
            "/api/v1/namespaces/a/services/http:x:80/proxy/http://x/%00%ff",
            "/http://x/%00%ff",
        ),
        ("/apis/g/v1/namespaces/a/things/t/proxy/a//b?x=1", "/a//b"),
        ("/api/v1/watch/namespaces/a/pods/p/proxy//", "//"),
    ] {
        let target = Target::parse(raw.as_bytes()).unwrap();
        assert_eq!((target.proxy_tail_raw(), target.raw()), (Some(tail), raw));
        let facts = facts("GET", raw);
        assert_eq!(
            (facts.subresource(), facts.name().is_empty()),
            ("proxy", false),
            "{raw}"
        );
    }
    assert_eq!(Target::parse(b"/api/v1/nodes/n/proxy").unwrap().proxy_tail_raw(), None);
}

#[test]
fn path_and_query_are_kept_byte_for_byte() {
    let raw = "/ap%69/v1/pods/%70?command=a%20b&x=1;y&%77atch";
    let target = Target::parse(raw.as_bytes()).unwrap();
    assert_eq!((target.raw(), target.path_raw()), (raw, "/ap%69/v1/pods/%70"));
    assert_eq!(target.query_raw(), Some("command=a%20b&x=1;y&%77atch"));
    assert_eq!(target.path(), b"/api/v1/pods/p");
    assert_eq!(Target::parse(b"/a?").unwrap().query_raw(), Some(""));
    assert_eq!(Target::parse(b"/a").unwrap().query_raw(), None);
    let keys: Vec<_> = target
        .query()
        .map(|(key, _)| String::from_utf8(key.into_owned()).unwrap())
        .collect();
    assert_eq!(
        keys,
        ["command", "watch"],
        "a parameter with `;` is dropped, as Go drops it"
    );
    let raw: Vec<_> = target.query().raw().map(|(_, value)| value).collect();
    assert_eq!(raw, [Some("a%20b"), None], "values stay as they came");
}

#[test]
fn a_cluster_prefix_is_split_off_the_raw_target_once() {
    let split = |raw: &'static str| split_cluster_prefix(raw.as_bytes()).map(|p| (p.cluster, p.rest));
    assert_eq!(split("/clusters/prod/api/v1"), Some(("prod", &b"/api/v1"[..])));
    assert_eq!(split("/clusters/prod"), Some(("prod", &b"/"[..])));
    assert_eq!(split("/clusters/a/clusters/b/x"), Some(("a", &b"/clusters/b/x"[..])));
    for none in [
        "/clusters//x",
        "/clusters/Prod/x",
        "/clusters/%61/x",
        "/cluster/a",
        "/clusters/a?x",
        "//clusters/a",
    ] {
        assert_eq!(split(none), None, "{none}");
    }
}

#[test]
fn long_running_is_what_the_api_server_calls_so() {
    for raw in [
        "/api/v1/pods?watch=1",
        "/api/v1/namespaces/a/pods/p/log",
        "/debug/pprof/profile",
        "/api/v1/proxy/nodes/n",
    ] {
        assert!(facts("GET", raw).long_running(), "{raw}");
    }
    for raw in [
        "/api/v1/pods",
        "/debug/pprof",
        "/api/v1/namespaces/a/pods/p/status",
        "/x/y/z/exec",
    ] {
        assert!(!facts("GET", raw).long_running(), "{raw}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_target_or_a_refusal(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz_target(&data);
        fuzz_request_info(&data);
    }

    #[test]
    fn near_miss_targets_never_panic(
        method in "(GET|POST|get|WATCH|DELETE|X)",
        raw in "/(api|apis|a%70i)?(/(v1|watch|proxy|namespaces|pods|exec|%2e|%2F|\\.\\.|status|a|)){0,8}(\\?[a-zA-Z.=&;%+!,()0-9]{0,40})?",
    ) {
        fuzz_target(raw.as_bytes());
        fuzz_request_info(format!("{method}\n{raw}").as_bytes());
    }
}
