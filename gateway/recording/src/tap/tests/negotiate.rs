use super::*;
use proptest::prelude::*;

fn websocket(act: Act, subprotocol: Option<&str>) -> Option<Protocol> {
    let stream_version = None;
    Protocol::of(&Upgrade {
        act,
        upgrade: "websocket",
        subprotocol,
        stream_version,
    })
}

fn spdy(act: Act, stream_version: Option<&str>) -> Option<Protocol> {
    let subprotocol = None;
    Protocol::of(&Upgrade {
        act,
        upgrade: "SPDY/3.1",
        subprotocol,
        stream_version,
    })
}

#[test]
fn each_protocol_of_a_command_is_known_by_its_name() {
    let named = |name| websocket(Act::Command, name);
    let command = |base64, version| Some(Protocol::WebSocketCommand { base64, version });
    assert_eq!(named(None), command(false, Version::V1));
    assert_eq!(named(Some("channel.k8s.io")), command(false, Version::V1));
    assert_eq!(named(Some("base64.channel.k8s.io")), command(true, Version::V1));
    assert_eq!(named(Some("v4.channel.k8s.io")), command(false, Version::V4));
    assert_eq!(named(Some("v4.base64.channel.k8s.io")), command(true, Version::V4));
    assert_eq!(named(Some("v5.channel.k8s.io")), command(false, Version::V5));
    let named = |name| spdy(Act::Command, name);
    let command = |version| Some(Protocol::SpdyCommand { version });
    assert_eq!(named(None), command(Version::V1));
    assert_eq!(named(Some("channel.k8s.io")), command(Version::V1));
    assert_eq!(named(Some("v2.channel.k8s.io")), command(Version::V2));
    assert_eq!(named(Some("v3.channel.k8s.io")), command(Version::V3));
    assert_eq!(named(Some("v4.channel.k8s.io")), command(Version::V4));
    assert_eq!(named(Some("v5.channel.k8s.io")), command(Version::V5));
}

#[test]
fn each_protocol_of_a_port_forward_is_known_by_its_name() {
    let named = |name| websocket(Act::Forward, name);
    assert_eq!(named(None), Some(Protocol::WebSocketForward { base64: false }));
    assert_eq!(
        named(Some("v4.channel.k8s.io")),
        Some(Protocol::WebSocketForward { base64: false })
    );
    assert_eq!(
        named(Some("v4.base64.channel.k8s.io")),
        Some(Protocol::WebSocketForward { base64: true })
    );
    assert_eq!(
        named(Some("SPDY/3.1+portforward.k8s.io")),
        Some(Protocol::WebSocketTunnel)
    );
    assert_eq!(
        spdy(Act::Forward, Some("portforward.k8s.io")),
        Some(Protocol::SpdyForward)
    );
    assert_eq!(spdy(Act::Forward, None), Some(Protocol::SpdyForward));
}

#[test]
fn an_unknown_name_is_nothing_that_could_be_read_where_its_meaning_counts() {
    for name in [
        "v6.channel.k8s.io",
        "V4.CHANNEL.K8S.IO",
        "SPDY/3.1+v5.channel.k8s.io",
        "chat",
    ] {
        for act in [Act::Command, Act::Forward] {
            assert_eq!(websocket(act, Some(name)), None, "{act:?} {name}");
        }
        assert_eq!(
            websocket(Act::Other, Some(name)),
            Some(Protocol::WebSocketPlain),
            "{name}"
        );
        for act in [Act::Command, Act::Forward, Act::Other] {
            assert_eq!(spdy(act, Some(name)), None, "{act:?} {name}");
        }
    }
    assert_eq!(websocket(Act::Other, None), Some(Protocol::WebSocketPlain));
    assert_eq!(spdy(Act::Other, None), None);
}

#[test]
fn what_is_behind_a_proxy_does_not_choose_how_it_is_read() {
    for name in [
        "channel.k8s.io",
        "base64.channel.k8s.io",
        "v4.channel.k8s.io",
        "v4.base64.channel.k8s.io",
        "v5.channel.k8s.io",
        "SPDY/3.1+portforward.k8s.io",
        "",
    ] {
        let read = websocket(Act::Other, Some(name));
        assert_eq!(read, Some(Protocol::WebSocketPlain), "{name}");
    }
}

#[test]
fn the_kind_of_upgrade_is_known_in_any_case_and_others_are_not() {
    let of = |upgrade| {
        Protocol::of(&Upgrade {
            act: Act::Command,
            upgrade,
            subprotocol: Some("v5.channel.k8s.io"),
            stream_version: Some("v4.channel.k8s.io"),
        })
    };
    assert!(matches!(of("WebSocket"), Some(Protocol::WebSocketCommand { .. })));
    assert!(matches!(of("spdy/3.1"), Some(Protocol::SpdyCommand { .. })));
    for other in ["", "h2c", "SPDY/3", "websocket, SPDY/3.1", "TLS/1.0"] {
        assert_eq!(of(other), None, "{other}");
    }
}

#[test]
fn ports_are_read_as_the_servers_read_them() {
    let read = |values: &[&str]| ports(values.iter());
    assert_eq!(read(&[]), None, "without ports there are no channels to read");
    assert_eq!(read(&["80"]), Some(vec![80]));
    assert_eq!(read(&["80,443", "0008080"]), Some(vec![80, 443, 8080]));
    for bad in ["", "80,", "0", "65536", "+80", "-1", "8 0", "0x50", "80;81"] {
        assert_eq!(read(&[bad]), None, "{bad:?}");
    }
    let many = |count| ports(std::iter::repeat_n("1", count));
    assert_eq!(many(127).map(|ports| ports.len()), Some(127));
    assert_eq!(many(128), None);
}

#[test]
fn only_v4_and_v5_end_with_a_status() {
    let with: Vec<bool> = [Version::V1, Version::V2, Version::V3, Version::V4, Version::V5]
        .map(Version::ends_with_status)
        .to_vec();
    assert_eq!(with, [false, false, false, true, true]);
}

proptest! {
    #[test]
    fn any_heads_are_negotiated(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz_stream_protocol(&data);
    }

    #[test]
    fn any_heads_of_known_words_are_negotiated(
        act in "command|forward|other",
        upgrade in "websocket|WEBSOCKET|SPDY/3.1|spdy/3.1|h2c|",
        names in "(v[1-6]\\.)?(base64\\.)?channel\\.k8s\\.io|(SPDY/3\\.1\\+)?portforward\\.k8s\\.io|",
        version in "(v[1-6]\\.)?channel\\.k8s\\.io|portforward\\.k8s\\.io|",
        ports in "[0-9,\n]{0,12}",
    ) {
        fuzz_stream_protocol(format!("{act}\n{upgrade}\n{names}\n{version}\n{ports}").as_bytes());
    }
}
