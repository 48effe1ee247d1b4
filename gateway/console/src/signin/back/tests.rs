//! Where a sign-in may lead back to: the corpus of addresses that lead elsewhere, and properties of what is accepted.

use proptest::prelude::*;
use url::Url;

use super::corpus::corpus;
use super::*;
use crate::signin::Purpose;

const SERVICE: &str = "grafana.example.com";

/// Each gateway with a service that stands behind it, and what a browser has to find itself at.
const GATEWAYS: &[(&str, &str, &str)] = &[
    ("https://gate.example.com", SERVICE, "https://grafana.example.com"),
    (
        "https://gate.example.com:8443",
        SERVICE,
        "https://grafana.example.com:8443",
    ),
    ("https://gate.example.com:443", SERVICE, "https://grafana.example.com"),
    (
        "http://127.0.0.1:8080",
        "grafana.localhost",
        "http://grafana.localhost:8080",
    ),
    (
        "http://[::1]:8080",
        "grafana.localhost",
        "http://grafana.localhost:8080",
    ),
];

fn url(text: &str) -> GatewayUrl {
    GatewayUrl::parse(text).unwrap()
}

const fn none_is_published(_: &HostName) -> bool {
    false
}

fn is(name: &str) -> impl Fn(&HostName) -> bool + '_ {
    move |host| host.as_str() == name
}

/// The origin at which a browser ends that is sent to this address from any page.
fn origin_of(address: &str) -> String {
    let page = Url::parse("https://elsewhere.test/some/page?x#y").unwrap();
    page.join(address).unwrap().origin().ascii_serialization()
}

/// Where this leads at each gateway, as a browser sees it; none where it is refused.
fn judge(host: Option<&str>, target: &str) -> Vec<String> {
    let mut addresses = Vec::new();
    for (gateway, service, expected) in GATEWAYS {
        // `SERVICE` in the corpus stands for the service of the gateway at hand.
        let host = host.map(|host| if host == SERVICE { service } else { host });
        let Ok(back) = Back::read(host, target, &url(gateway), is(service)) else {
            continue;
        };
        let address = back.address(&url(gateway), is(service));
        let expected = match host {
            Some(host) if host == *service => (*expected).to_owned(),
            None => origin_of(gateway),
            Some(host) => {
                assert_eq!(host, url(gateway).host(), "accepted as a host: {host:?}");
                origin_of(gateway)
            }
        };
        assert_eq!(origin_of(&address), expected, "{host:?} {target:?} led to {address:?}");
        let seen = Url::parse(&address).unwrap();
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
        let (path, query) = target
            .split_once('?')
            .map_or((target, None), |(path, query)| (path, Some(query)));
        assert_eq!(decoded(seen.path()), decoded(path), "another path: {address:?}");
        assert_eq!(
            seen.query().map(decoded),
            query.map(decoded),
            "another query: {address:?}"
        );
        assert_eq!((seen.fragment(), seen.username(), seen.password()), (None, "", None));
        assert!(address.ends_with(target), "byte for byte: {address:?}");
        assert!(http::HeaderValue::from_str(&address).is_ok(), "{address:?}");
        addresses.push(address);
    }
    addresses
}

/// WEB-01, WEB-02, N-04.
#[test]
fn n_04_web_01_web_02_no_value_of_the_corpus_leads_a_browser_elsewhere() {
    let corpus = corpus();
    assert!(corpus.len() >= 500, "{}", corpus.len());
    let mut accepted = 0;
    for value in &corpus {
        accepted += judge(None, value).len();
        accepted += judge(Some(SERVICE), value).len();
        judge(Some(value), "/");
        judge(Some(value), value);
    }
    assert!(
        accepted > 0,
        "a corpus of which nothing passes says nothing about what passes"
    );
}

/// The corpus attacks: it sends a browser away from whoever does what gateways have done.
#[test]
fn web_01_the_corpus_leads_browsers_away_from_careless_readers() {
    let corpus = corpus();
    let gate = "https://gate.example.com:8443";
    let base = Url::parse(gate).unwrap();
    let leads_away = |address: &str| {
        base.join(address)
            .is_ok_and(|url| url.origin().ascii_serialization() != gate)
    };
    let count = |reader: &dyn Fn(&str) -> Option<String>| {
        let addresses = corpus.iter().filter_map(|value| reader(value));
        addresses.filter(|address| leads_away(address)).count()
    };
    let as_it_came = count(&|value| Some(value.to_owned()));
    let behind_the_origin = count(&|value| Some(format!("{gate}{value}")));
    let one_slash = count(&|value| (value.starts_with('/') && !value.starts_with("//")).then(|| value.to_owned()));
    let names_us = count(&|value| value.contains("gate.example.com").then(|| value.to_owned()));
    for (reader, least, found) in [
        ("as it came", 3000, as_it_came),
        ("behind the origin", 200, behind_the_origin),
        ("one slash and not two", 40, one_slash),
        ("our name is in it", 300, names_us),
    ] {
        assert!(found >= least, "{reader}: {found} of {}", corpus.len());
    }
}

#[test]
fn a_deep_link_is_kept_byte_for_byte() {
    for target in [
        "/",
        "/d/abc/overview?orgId=1&from=now-6h&to=now&var-x=$__all",
        "/graph?g0.expr=rate(http_requests_total%7Bjob%3D%22a%22%7D%5B5m%5D)&g0.tab=0",
        "/lab/tree/B%C3%BCcher/Notizen%201.ipynb?reset",
        "/a/?",
        "/a?next=//evil.test/..;/%2f",
        "/@scope/pkg,v=1:2+3!$&'()*~",
        "/x?'\"<>`{}|^[]",
    ] {
        assert_eq!(judge(None, target).len(), GATEWAYS.len(), "{target}");
        assert_eq!(judge(Some(SERVICE), target).len(), GATEWAYS.len(), "{target}");
    }
}

#[test]
fn a_host_is_compared_and_never_read() {
    let gate = url("https://gate.example.com:8443");
    let read = |host| Back::read(Some(host), "/x", &gate, is(SERVICE));
    let address = |host| read(host).unwrap().address(&gate, is(SERVICE));
    assert_eq!(address(SERVICE), "https://grafana.example.com:8443/x");
    assert_eq!(address("gate.example.com"), "https://gate.example.com:8443/x");
    assert_eq!(
        read("other.example.com").unwrap_err().to_string(),
        "no service is published under `other.example.com`, or none that this gateway may send a browser to"
    );
    for host in [
        "Grafana.example.com",
        "grafana.example.com.",
        "grafana.example.com:8443",
        "gate.example.com:8443",
        "10.0.0.1",
    ] {
        assert_eq!(
            read(host).unwrap_err().to_string(),
            "it would not lead to a host name",
            "{host}"
        );
    }
    let plain = url("http://127.0.0.1:8080");
    let error = Back::read(Some(SERVICE), "/x", &plain, is(SERVICE)).unwrap_err();
    assert!(
        matches!(error, BackError::NotPublished(_)),
        "plain http would leave this machine: {error}"
    );
}

#[test]
fn what_is_too_long_to_keep_is_refused_whole() {
    let gate = url("https://gate.example.com");
    let of = |length: usize| format!("/{}", "a".repeat(length - 1));
    assert!(Back::read(None, &of(4096), &gate, none_is_published).is_ok());
    let error = Back::read(None, &of(4097), &gate, none_is_published).unwrap_err();
    assert_eq!(error.to_string(), "its path and query are longer than 4096 bytes");
    let error = Back::read(None, "//evil.test", &gate, none_is_published).unwrap_err();
    assert_eq!(
        error.to_string(),
        "its path and query are none that a service could be asked for"
    );
}

#[test]
fn a_service_that_is_withdrawn_during_the_sign_in_is_not_come_back_to() {
    let gate = url("https://gate.example.com");
    let back = Back::read(Some(SERVICE), "/d/x", &gate, is(SERVICE)).unwrap();
    assert_eq!(back.address(&gate, is(SERVICE)), "https://grafana.example.com/d/x");
    assert_eq!(back.address(&gate, none_is_published), "https://gate.example.com/");
}

#[test]
fn a_sign_in_under_way_goes_on_behind_an_upgrade() {
    let purpose = |text: &str| match serde_json::from_str(text).unwrap() {
        Purpose::Browser(back) => back,
        other => panic!("{other:?}"),
    };
    let gate = url("https://gate.example.com");
    let former = purpose(r#"{"Browser":{"return_to":"/audit?q=a%20b"}}"#);
    assert_eq!(
        former.address(&gate, none_is_published),
        "https://gate.example.com/audit?q=a%20b"
    );
    for unreadable in [
        r#"{"Browser":{"return_to":"//evil.test"}}"#,
        r#"{"Browser":{"return_to":"/x","return_host":"EVIL.test"}}"#,
    ] {
        assert_eq!(purpose(unreadable), Back::home(), "{unreadable}");
    }
    let service = Back::read(Some(SERVICE), "/d/x?y", &gate, is(SERVICE)).unwrap();
    let kept = serde_json::to_string(&Purpose::Browser(service.clone())).unwrap();
    assert_eq!(
        kept,
        r#"{"Browser":{"return_to":"/d/x?y","return_host":"grafana.example.com"}}"#
    );
    assert_eq!(purpose(&kept), service);
}

proptest! {
    /// WEB-02: whatever is accepted, a browser ends where we say.
    #[test]
    fn n_04_web_02_whatever_is_accepted_leads_to_an_origin_of_ours(
        slashes in "[/\\\\]{0,3}",
        text in "([a-z0-9.:@;?#/\\\\%&=+~|{}<>\"'`^ \t\r\n]|%2f|%5c|%2e|%09|%00|\\PC){0,24}",
        host in prop_oneof![Just(None), Just(Some(SERVICE.to_owned())), "[a-zA-Z0-9.:@/\\\\%\\[\\]-]{0,24}".prop_map(Some)],
    ) {
        judge(host.as_deref(), &format!("{slashes}{text}"));
    }

    #[test]
    fn no_bytes_break_what_holds_for_every_return_address(data in proptest::collection::vec(any::<u8>(), 0..64)) {
        fuzz_return_address(&data);
        fuzz_return_address(&[b"grafana.example.com\n/", &*data].concat());
    }
}
