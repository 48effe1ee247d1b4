//! What needs no socket.

use http::{HeaderMap, HeaderName, StatusCode};
use prometheus_client::registry::Registry;

use super::super::outgoing::Outgoing;
use super::*;

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    map
}

#[test]
fn i5_exactly_one_user_and_the_right_one() {
    let expected = Expected::User(HeaderValue::from_static("ada"));
    assert_eq!(
        assert_identity(
            &map(&[("impersonate-user", "ada"), ("impersonate-group", "dev")]),
            &expected
        ),
        Ok(())
    );
    let group_alone = map(&[("impersonate-group", "dev")]);
    assert_eq!(assert_identity(&group_alone, &expected), Err(IdentityBroken::Missing));
    assert_eq!(
        assert_identity(&group_alone, &Expected::Nobody),
        Err(IdentityBroken::Unexpected)
    );
    assert_eq!(assert_identity(&HeaderMap::new(), &Expected::Nobody), Ok(()));
    let case = map(&[("impersonate-user", "Ada")]);
    assert_eq!(assert_identity(&case, &expected), Err(IdentityBroken::Other));
}

/// As `k8s.io/apimachinery` answers who offers no protocol: with the name of none.
#[test]
fn g_12_a_switch_that_names_no_protocol_has_chosen_none_and_one_that_was_not_offered_is_wrong() {
    let asked = map(&[
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]);
    for (protocol, is_right) in [("", true), ("binary.k8s.io", false), (", binary.k8s.io", false)] {
        let answered = map(&[
            ("upgrade", "websocket"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("sec-websocket-protocol", protocol),
        ]);
        let checked = answer::check_status(StatusCode::SWITCHING_PROTOCOLS, StreamClass::Upgrade, &asked, &answered);
        assert_eq!(checked.is_ok(), is_right, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_body_begins_again_until_more_has_passed_than_is_kept() {
    let (feed, body) = fed();
    let mut outgoing = Outgoing::new(request(Method::POST, "/", body));
    assert!(outgoing.rewind(), "untouched");
    for _ in 0..2 {
        feed.send(Ok(vec![b'a'; 30_000].into())).unwrap();
    }
    let (head, mut body) = outgoing.into_parts();
    body.frame().await.unwrap().unwrap();
    let mut outgoing = Outgoing::from_parts(head, body);
    assert!(outgoing.rewind());
    assert!(
        matches!(outgoing.give_back(Why::Refused), SendError::Unprocessed { .. }),
        "touched is not given back"
    );

    let (feed, body) = fed();
    let (head, mut body) = Outgoing::new(request(Method::POST, "/", body)).into_parts();
    for byte in [b'a', b'b', b'c'] {
        feed.send(Ok(vec![byte; 20_000].into())).unwrap();
        body.frame().await.unwrap().unwrap();
    }
    let mut outgoing = Outgoing::from_parts(head, body);
    // Twice, and part of the second time: the order must survive.
    assert!(outgoing.rewind());
    let (head, mut body) = outgoing.into_parts();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap()[0], b'a');
    let mut outgoing = Outgoing::from_parts(head, body);
    assert!(outgoing.rewind());
    let (head, mut body) = outgoing.into_parts();
    drop(feed);
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        seen.push(frame.unwrap().into_data().unwrap()[0]);
    }
    assert_eq!(seen, *b"abc");

    let (feed, body) = fed();
    feed.send(Ok(vec![b'x'; 65_537].into())).unwrap();
    drop((head, feed));
    let (head, mut body) = Outgoing::new(request(Method::POST, "/", body)).into_parts();
    body.frame().await.unwrap().unwrap();
    assert!(!Outgoing::from_parts(head, body).rewind());
}

#[test]
fn metrics_are_declared_once_with_bounded_labels() {
    let counted = UpstreamMetrics::default();
    let mut registry = Registry::default();
    counted.register(&mut registry);
    counted
        .open_streams
        .get_or_create(&metrics::ByClass::of(StreamClass::FollowLog))
        .inc();
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(
        text.contains("gateway_upstream_open_streams{class=\"FollowLog\"} 1"),
        "{text}"
    );
    assert!(text.contains("gateway_upstream_unauthorized_total 0"), "{text}");
}
