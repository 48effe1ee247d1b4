use super::writer::{MASK, SpdyWriter, spdy_data, spdy_last, ws_down, ws_frame, ws_up};
use super::*;
use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

const V5: Protocol = Protocol::WebSocketCommand {
    base64: false,
    version: Version::V5,
};
const V4: Protocol = Protocol::WebSocketCommand {
    base64: false,
    version: Version::V4,
};
const V4_BASE64: Protocol = Protocol::WebSocketCommand {
    base64: true,
    version: Version::V4,
};

fn up(frames: &[&[u8]]) -> (Way, Vec<u8>) {
    (UP, frames.concat())
}

fn down(frames: &[&[u8]]) -> (Way, Vec<u8>) {
    (DOWN, frames.concat())
}

#[test]
fn a_terminal_is_read_with_its_size_its_input_its_output_and_its_end() {
    let pieces = [
        down(&[&ws_down(b"\x01")]), // the empty message by which a server says that it is ready
        up(&[
            &ws_up(b"\x04{\"Width\":80,\"Height\":24}\n"),
            &ws_frame(0x89, Some(MASK), b""),
            &ws_up(b"\x00ls\r"),
        ]),
        down(&[
            &ws_frame(0x8a, None, b""),
            &ws_down(b"\x01ls\r\n"),
            &ws_down(b"\x01file\r\n"),
            &ws_down(b"\x03{\"status\":\"Success\"}"),
            &ws_frame(0x88, None, b"\x03\xe8"),
        ]),
        up(&[&ws_frame(0x88, Some(MASK), b"\x03\xe8")]),
    ];
    for protocol in [V4, V5] {
        assert_eq!(
            told(protocol, &pieces),
            [
                data(UP, Channel::Resize, "{\"Width\":80,\"Height\":24}\n"),
                data(UP, Channel::Stdin, "ls\r"),
                data(DOWN, Channel::Stdout, "ls\r\nfile\r\n"),
                data(DOWN, Channel::Status, "{\"status\":\"Success\"}"),
                left(DOWN),
                left(UP),
            ]
        );
    }
}

#[test]
fn standard_error_stays_apart_and_long_messages_come_whole() {
    let long: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let pieces = [
        down(&[
            &ws_down(&[b"\x01".as_slice(), &long].concat()),
            &ws_down(b"\x02oops"),
            &ws_down(&[b"\x01".as_slice(), &long[..300]].concat()),
        ]),
        up(&[&ws_up(&[b"\x00".as_slice(), &long].concat())]),
    ];
    assert_eq!(
        told(V5, &pieces),
        [
            data(DOWN, Channel::Stdout, &long),
            data(DOWN, Channel::Stderr, "oops"),
            data(DOWN, Channel::Stdout, &long[..300]),
            data(UP, Channel::Stdin, &long),
        ]
    );
}

#[test]
fn h_15_a_message_in_fragments_has_its_channel_once_and_pings_may_come_between() {
    let pieces = [down(&[
        &ws_frame(0x02, None, b"\x02ab"),
        &ws_frame(0x89, None, b"ping"),
        &ws_frame(0x00, None, b"\x01c"),
        &ws_frame(0x00, None, b""),
        &ws_frame(0x8a, None, b""),
        &ws_frame(0x80, None, b"d"),
        &ws_frame(0x02, None, b""), // the channel may stand in a later frame
        &ws_frame(0x80, None, b"\x01e"),
    ])];
    assert_eq!(
        told(V5, &pieces),
        [
            data(DOWN, Channel::Stderr, "ab\x01cd"),
            data(DOWN, Channel::Stdout, "e")
        ]
    );
}

#[test]
fn h_15_fragments_of_a_client_are_not_read_where_servers_take_them_for_messages() {
    let fragments = [up(&[
        &ws_frame(0x02, Some(MASK), b"\x04{}"),
        &ws_frame(0x80, Some(MASK), b"\x00rm -rf /\r"),
    ])];
    for protocol in [V4, V5, V4_BASE64, Protocol::WebSocketForward { base64: false }] {
        let why = why(protocol, &fragments);
        assert_eq!(
            why,
            "a message of a client in fragments, which servers take for several messages"
        );
    }
    let harmless = [up(&[
        &ws_frame(0x02, Some(MASK), b"\x00ab"),
        &ws_frame(0x80, Some(MASK), b""),
    ])];
    assert_eq!(told(V5, &harmless), [data(UP, Channel::Stdin, "ab")]);
    let plain = told(Protocol::WebSocketPlain, &fragments);
    let is_text = false;
    assert_eq!(plain, [data(UP, Channel::Message { is_text }, "\x04{}\0rm -rf /\r")]);
}

#[test]
fn h_13_a_v5_close_message_closes_the_channel_that_it_names() {
    let pieces = [up(&[
        &ws_up(b"\x00abc"),
        &ws_up(b"\xff\x00"),
        &ws_up(b"\xff\x00"),
        &ws_up(b"\x00nobody reads this"),
        &ws_up(b"\x04{}"),
    ])];
    assert_eq!(
        told(V5, &pieces),
        [
            data(UP, Channel::Stdin, "abc"),
            closed(UP, Channel::Stdin),
            data(UP, Channel::Resize, "{}"),
        ]
    );
    let before_v5 = told(V4, &pieces);
    let stdin = "abcnobody reads this";
    assert_eq!(
        before_v5,
        [data(UP, Channel::Stdin, stdin), data(UP, Channel::Resize, "{}")]
    );
}

#[test]
fn a_close_message_of_another_shape_is_not_read() {
    let why = |message: &[u8]| why(V5, &[up(&[&ws_up(message)])]);
    assert_eq!(why(b"\xff"), "a close message of no channel");
    assert_eq!(why(b"\xff\x00\x00"), "a close message of more than one channel");
    assert_eq!(why(b"\xff\x05"), "a close message of an unknown channel");
}

#[test]
fn what_is_sent_on_a_channel_that_nobody_reads_is_not_told() {
    let pieces = [up(&[
        &ws_up(b"\x01forged output"),
        &ws_up(b"\x03{\"status\":\"Success\"}"),
        &ws_up(b"\x05?"),
        &ws_up(b"\xfe?"),
        &ws_up(b""),
    ])];
    assert_eq!(told(V5, &pieces), []);
    assert_eq!(told(V4, &pieces), []);
}

#[test]
fn what_a_server_says_on_a_channel_that_nobody_reads_is_torn() {
    let unread = "a message of a server on a channel that nobody reads";
    let forward = Protocol::WebSocketForward { base64: false };
    for (protocol, number) in [
        (V4, 0),
        (V4, 4),
        (V5, 5),
        (V5, 9),
        (V4, 255),
        (forward, 4),
        (forward, 255),
    ] {
        let said = |bytes: &[u8]| down(&[&ws_frame(0x02, None, &[number]), &ws_frame(0x80, None, bytes)]);
        assert_eq!(why(protocol, &[said(b"?")]), unread, "{protocol:?} {number}");
        assert_eq!(told(protocol, &[said(b"")]), [], "{protocol:?} {number}");
    }
    assert_eq!(why(V4_BASE64, &[down(&[&ws_frame(0x81, None, b"9Pw==")])]), unread);
    let closed = [down(&[&ws_down(b"\xff\x01"), &ws_down(b"\x01?")])];
    assert_eq!(why(V5, &closed), unread, "behind its own end");
}

#[test]
fn h_14_base64_is_decoded_however_it_is_cut() {
    let text = |message: &str| ws_frame(0x81, None, message.as_bytes());
    let pieces = [
        down(&[
            &text("1aGVsbG8="),
            &text("1IA=="),
            &text("1d29y\r\nbGQ\n="),
            &text("1"),
            &text("2b29wcw=="),
            &ws_frame(0x01, None, b"1Z"),
            &ws_frame(0x00, None, b"nJh"),
            &ws_frame(0x80, None, b"Z20="),
        ]),
        up(&[&ws_frame(0x81, Some(MASK), b"0bHMN")]),
    ];
    assert_eq!(
        told(V4_BASE64, &pieces),
        [
            data(DOWN, Channel::Stdout, "hello world"),
            data(DOWN, Channel::Stderr, "oops"),
            data(DOWN, Channel::Stdout, "fragm"),
            data(UP, Channel::Stdin, "ls\r"),
        ]
    );
}

#[test]
fn what_is_not_base64_is_not_read_and_what_came_before_it_stands() {
    let cases = [
        ("1aGVsbG8", "hel"),
        ("1a", ""),
        ("1aG=", ""),
        ("1aG=s", ""),
        ("1aG=sbA==", ""),
        ("1=", ""),
        ("1a===", ""),
        ("1aGVs!", "hel"),
        ("1aGVs ", "hel"),
        ("1aGVs-_==", "hel"),
        ("1aGV=bG8=", "he"),
        ("1aA==aA==", "h"),
    ];
    for (bad, before) in cases {
        let (told, torn) = outcome(V4_BASE64, &[down(&[&ws_frame(0x81, None, bad.as_bytes())])]);
        assert_eq!(torn.map(|torn| torn.why), Some("a message that is not base64"), "{bad}");
        let before = Some(data(DOWN, Channel::Stdout, before)).filter(|_| !before.is_empty());
        assert_eq!(told, Vec::from_iter(before), "{bad}");
    }
}

#[test]
fn a_port_forward_has_two_channels_for_each_port_behind_its_greeting() {
    let pieces = [
        down(&[
            &ws_down(&[0, 80, 0]),
            &ws_down(&[1, 80, 0]),
            &ws_frame(0x02, None, &[2, 0xbb]),
            &ws_frame(0x80, None, &[0x01]),
            &ws_down(&[3, 0xbb, 0x01]),
            &ws_down(b"\x00HTTP"),
            &ws_down(b"\x03refused"),
        ]),
        up(&[&ws_up(b"\x02GET"), &ws_up(b"\x01nobody reads this")]),
    ];
    assert_eq!(
        told(Protocol::WebSocketForward { base64: false }, &pieces),
        [
            data(DOWN, forward(0, 80), "HTTP"),
            data(DOWN, forward_error(1, 443), "refused"),
            data(UP, forward(1, 443), "GET"),
        ]
    );
    let base64 = [down(&[
        &ws_frame(0x81, None, b"0UAA="),
        &ws_frame(0x81, None, b"0SFRUUA=="),
        &ws_frame(0x81, None, b"1UABubw=="),
    ])];
    assert_eq!(
        told(Protocol::WebSocketForward { base64: true }, &base64),
        [
            data(DOWN, forward(0, 80), "HTTP"),
            data(DOWN, forward_error(0, 80), "no")
        ]
    );
}

#[test]
fn other_websockets_are_read_as_messages() {
    let pieces = [
        down(&[
            &ws_frame(0x81, None, b"{}"),
            &ws_frame(0x02, None, b"\x01"),
            &ws_frame(0x80, None, b"\x02"),
        ]),
        up(&[&ws_frame(0x81, Some(MASK), b"hello"), &ws_up(b"")]),
    ];
    let message = |is_text| Channel::Message { is_text };
    assert_eq!(
        told(Protocol::WebSocketPlain, &pieces),
        [
            data(DOWN, message(true), "{}"),
            data(DOWN, message(false), [1, 2]),
            data(UP, message(true), "hello"),
        ]
    );
}

#[test]
fn h_03_a_tunnel_carries_spdy_wherever_its_messages_end() {
    let (mut client, mut server) = (SpdyWriter::new(), SpdyWriter::new());
    let spdy_up = [
        client.syn_stream(1, &[("streamtype", "error"), ("port", "80"), ("requestid", "0")]),
        spdy_last(1, b""),
        client.syn_stream(3, &[("streamtype", "data"), ("port", "80"), ("requestid", "0")]),
    ]
    .concat();
    let taken = [server.syn_reply(1), server.syn_reply(3)].concat();
    let messages = |bytes: &[u8], frame: fn(&[u8]) -> Vec<u8>| bytes.chunks(13).flat_map(frame).collect();
    let pieces = [
        (UP, messages(&spdy_up, ws_up)),
        (DOWN, messages(&taken, ws_down)),
        (UP, messages(&spdy_data(3, b"GET / HTTP/1.0\r\n\r\n"), ws_up)),
        (DOWN, messages(&spdy_data(3, b"HTTP/1.0 200 OK"), ws_down)),
        (UP, ws_frame(0x88, Some(MASK), b"")),
    ];
    assert_eq!(
        told(Protocol::WebSocketTunnel, &pieces),
        [
            opened(forward_error(0, 80)),
            closed(UP, forward_error(0, 80)),
            opened(forward(0, 80)),
            data(UP, forward(0, 80), "GET / HTTP/1.0\r\n\r\n"),
            data(DOWN, forward(0, 80), "HTTP/1.0 200 OK"),
            left(UP),
        ]
    );
    let text = [down(&[&ws_frame(0x81, None, b"")])];
    assert_eq!(why(Protocol::WebSocketTunnel, &text), "a text message in a tunnel");
    let torn = [down(&[&ws_down(&[0; 8])])];
    assert_eq!(why(Protocol::WebSocketTunnel, &torn), "SPDY data of stream 0");
}

#[test]
fn res_14_malformed_frames_are_not_read() {
    let cases: [(&str, Way, Vec<u8>); 15] = [
        ("a WebSocket frame with reserved bits", DOWN, vec![0xc2]), // compression, never agreed upon
        ("a WebSocket frame with reserved bits", DOWN, vec![0xa2]),
        ("a WebSocket frame with reserved bits", DOWN, vec![0x92]),
        ("a WebSocket frame of a reserved kind", DOWN, vec![0x83]),
        ("a WebSocket frame of a reserved kind", UP, vec![0x8b]),
        ("a WebSocket control frame in fragments", DOWN, vec![0x09]),
        ("a WebSocket control frame in fragments", UP, vec![0x08]),
        (
            "a WebSocket control frame of more than 125 bytes",
            DOWN,
            vec![0x89, 126],
        ),
        ("a WebSocket continuation of nothing", UP, vec![0x80]),
        (
            "a WebSocket continuation of nothing",
            DOWN,
            [ws_down(b"\x01"), vec![0x00]].concat(),
        ),
        (
            "a WebSocket message within a message",
            DOWN,
            [ws_frame(0x02, None, b"\x01"), vec![0x82]].concat(),
        ),
        ("an unmasked WebSocket frame of a client", UP, vec![0x82, 0x03]),
        ("a masked WebSocket frame of a server", DOWN, vec![0x82, 0x83]),
        ("a WebSocket frame of 2^63 bytes or more", DOWN, vec![0x82, 127, 0x80]),
        ("a WebSocket frame of 2^63 bytes or more", UP, vec![0x82, 0xff, 0xff]),
    ];
    for (expected, way, bytes) in cases {
        assert_eq!(why(V5, &[(way, bytes.clone())]), expected, "{bytes:x?}");
    }
}

#[test]
fn a_torn_tap_is_silent_in_both_directions() {
    let mut tap = Tap::new(V5, vec![]);
    let mut told = 0;
    let mut feed = |way, bytes: &[u8]| tap.feed(way, bytes, &mut |_, _| told += 1);
    assert_eq!(feed(DOWN, &ws_down(b"\x01a")), Ok(()));
    let torn = feed(UP, &[0x83]).unwrap_err();
    assert_eq!(
        torn.to_string(),
        "what went to the pod could not be read: a WebSocket frame of a reserved kind"
    );
    assert_eq!(feed(UP, &[0x83]), Ok(()));
    assert_eq!(feed(DOWN, &ws_down(b"\x01b")), Ok(()));
    assert_eq!(told, 1);
}

#[test]
fn behind_a_close_frame_only_control_frames_are_read_that_way() {
    let close = ws_frame(0x88, Some(MASK), b"\x03\xe8bye");
    let ping = ws_frame(0x89, Some(MASK), b"");
    let pieces = [up(&[&close, &ping, &close]), down(&[&ws_down(b"\x01late output")])];
    assert_eq!(
        told(V5, &pieces),
        [left(UP), data(DOWN, Channel::Stdout, "late output")]
    );
    // A peer that reads on would take it, so it must not pass unseen.
    let mut tap = Tap::new(V5, vec![]);
    let mut see = |_, _: Event<'_>| {};
    tap.feed(UP, &close, &mut see).unwrap();
    let torn = tap.feed(UP, &ws_up(b"\x00ls"), &mut see).unwrap_err();
    assert_eq!(torn.why, "a WebSocket message behind a close frame");
}

#[test]
fn res_14_an_endless_message_and_a_million_pings_cost_no_memory() {
    let mut tap = Tap::new(V5, vec![]);
    let mut bytes = 0_u64;
    let mut feed = |way, piece: &[u8]| {
        tap.feed(way, piece, &mut |_, event| {
            if let Event::Data { bytes: piece, .. } = event {
                bytes += piece.len() as u64;
            }
        })
        .unwrap();
        assert_eq!(tap.held_bytes(), 0);
    };
    feed(DOWN, &[0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    for _ in 0..100 {
        feed(DOWN, &[b'x'; 65536]);
    }
    let pings = ws_frame(0x89, Some(MASK), b"").repeat(10_000);
    for _ in 0..100 {
        feed(UP, &pings);
    }
    let tiny = ws_up(b"\x00x").repeat(10_000);
    feed(UP, &tiny);
    assert_eq!(bytes, 100 * 65536 + 10_000);
}

proptest! {
    #[test]
    fn base64_reads_what_another_encoder_wrote(plain in proptest::collection::vec(any::<u8>(), 1..3000)) {
        let message = ws_frame(0x81, None, format!("1{}", STANDARD.encode(&plain)).as_bytes());
        let (told, torn) = read(V4_BASE64, [(DOWN, message.as_slice())].into_iter(), 700);
        prop_assert_eq!(torn, None);
        prop_assert_eq!(told, [data(DOWN, Channel::Stdout, &plain)]);
    }

    #[test]
    fn any_bytes_are_read_or_refused(pieces in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz_websocket_tap(&pieces);
    }
}

/// Nobody at the end of Kubernetes' own protocols reads them; behind a `proxy` stands whoever the caller put there.
#[test]
fn promise_3_what_pings_pongs_and_closes_carry_is_told_of_plain_messages() {
    let control = |way, kind, bytes: &[u8]| Told::Other(way, format!("{:?}", Event::Control { kind, bytes }));
    let longest = vec![b'x'; 125];
    let (is_text, close) = (false, b"\x03\xe8bye".as_slice());
    let pieces = [
        up(&[
            &ws_frame(0x89, Some(MASK), b"secret up"),
            &ws_frame(0x02, Some(MASK), b"one "),
            &ws_frame(0x8a, Some(MASK), &longest),
            &ws_frame(0x80, Some(MASK), b"message"),
            &ws_frame(0x89, Some(MASK), b""),
        ]),
        down(&[&ws_frame(0x8a, None, b"secret down"), &ws_frame(0x88, None, close)]),
        up(&[
            &ws_frame(0x88, Some(MASK), close),
            &ws_frame(0x88, Some(MASK), b"\x03\xe9"),
        ]),
    ];
    assert_eq!(
        told(Protocol::WebSocketPlain, &pieces),
        [
            control(UP, Control::Ping, b"secret up"),
            data(UP, Channel::Message { is_text }, "one "),
            control(UP, Control::Pong, &longest),
            data(UP, Channel::Message { is_text }, "message"),
            control(DOWN, Control::Pong, b"secret down"),
            control(DOWN, Control::Close, close),
            left(DOWN),
            control(UP, Control::Close, close),
            left(UP),
            control(UP, Control::Close, b"\x03\xe9"),
        ]
    );
    // Of a session of Kubernetes' own they mean nothing.
    let pings = [
        up(&[&ws_frame(0x89, Some(MASK), b"x")]),
        down(&[&ws_frame(0x8a, None, b"x")]),
    ];
    for protocol in [
        V5,
        Protocol::WebSocketTunnel,
        Protocol::WebSocketForward { base64: false },
    ] {
        assert_eq!(told(protocol, &pings), []);
    }
}
