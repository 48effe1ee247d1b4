use super::writer::*;
use super::*;

const V4: Version = Version::V4;

fn words() -> Farewell {
    Farewell {
        status: "{\"status\":\"Failure\"}".to_owned(),
        text: "ended by ana: lunch".to_owned(),
    }
}

fn websocket_command(base64: bool, version: Version) -> Protocol {
    Protocol::WebSocketCommand { base64, version }
}

fn close(code: u16, text: &str) -> Vec<u8> {
    ws_frame(0x88, None, &[code.to_be_bytes().as_slice(), text.as_bytes()].concat())
}

/// What the client is sent behind `pieces`.
fn farewell(protocol: Protocol, pieces: &[(Way, Vec<u8>)]) -> Option<Vec<u8>> {
    let mut tap = Tap::new(protocol, vec![80, 443]);
    for (way, bytes) in pieces {
        tap.feed(*way, bytes, &mut |_, _| {}).unwrap();
    }
    tap.farewell(&words())
}

fn connections(client: &mut SpdyWriter, count: u32) -> Vec<u8> {
    let mut open = |id: u32, kind| {
        let request = (id / 4).to_string();
        client.syn_stream(id, &[("streamtype", kind), ("port", "80"), ("requestid", &request)])
    };
    (0..count)
        .flat_map(|number| [open(4 * number + 1, "error"), open(4 * number + 3, "data")].concat())
        .collect()
}

#[test]
fn a_status_is_one_that_kubectl_prints_and_an_exit_code_to_others() {
    let farewell = Farewell::of("ended by \"ana\"");
    let status: serde_json::Value = serde_json::from_str(&farewell.status).unwrap();
    assert_eq!(farewell.text, "ended by \"ana\"");
    assert_eq!(status["status"], "Failure");
    assert_eq!(status["message"], "ended by \"ana\"");
    assert_ne!(status["reason"], "NonZeroExitCode"); // kubectl would look for a code and drop the message
    assert_eq!(status["details"]["causes"][0]["reason"], "ExitCode");
    assert_eq!(status["details"]["causes"][0]["message"], "1"); // that of kubectl, for the Python client
}

#[test]
fn h_18_a_websocket_command_ends_with_a_status_and_a_normal_close() {
    let status = b"\x03{\"status\":\"Failure\"}";
    let expected = [ws_down(status), close(1000, "ended by ana: lunch")].concat();
    for version in [Version::V4, Version::V5] {
        assert_eq!(farewell(websocket_command(false, version), &[]), Some(expected.clone()));
    }
    let encoded = ws_frame(0x81, None, b"3eyJzdGF0dXMiOiJGYWlsdXJlIn0=");
    assert_eq!(
        farewell(websocket_command(true, V4), &[]),
        Some([encoded, close(1000, "ended by ana: lunch")].concat())
    );
    let text = ws_down(b"\x03ended by ana: lunch");
    assert_eq!(
        farewell(websocket_command(false, Version::V1), &[]),
        Some([text, close(1000, "ended by ana: lunch")].concat())
    );
}

#[test]
fn h_18_other_websockets_end_with_a_close_for_policy() {
    let expected = close(1008, "ended by ana: lunch");
    assert_eq!(farewell(Protocol::WebSocketPlain, &[]), Some(expected.clone()));
    let greeted = [(
        DOWN,
        [ws_down(&[0, 80, 0]), ws_down(&[1, 80, 0]), ws_down(&[3, 0xbb])].concat(),
    )];
    let error = ws_down(b"\x01ended by ana: lunch");
    assert_eq!(
        farewell(Protocol::WebSocketForward { base64: false }, &greeted),
        Some([error, expected.clone()].concat())
    );
    let tunnel = farewell(Protocol::WebSocketTunnel, &[]);
    assert_eq!(tunnel, Some([ws_down(&goaway(0)), expected].concat()));
}

#[test]
fn h_18_a_spdy_command_ends_with_its_error_stream_and_a_goaway() {
    let mut client = SpdyWriter::new();
    let up = [
        client.syn_stream(1, &[("streamtype", "error")]),
        client.syn_stream(3, &[("streamtype", "stdout")]),
    ];
    let opened = [(UP, up.concat())];
    let status = spdy_last(1, b"{\"status\":\"Failure\"}");
    assert_eq!(
        farewell(Protocol::SpdyCommand { version: V4 }, &opened),
        Some([status, goaway(3)].concat())
    );
    let text = spdy_last(1, b"ended by ana: lunch");
    let version = Version::V3;
    assert_eq!(
        farewell(Protocol::SpdyCommand { version }, &opened),
        Some([text, goaway(3)].concat())
    );
    let ended = [opened[0].clone(), (DOWN, spdy_last(1, b"{}"))];
    assert_eq!(farewell(Protocol::SpdyCommand { version: V4 }, &ended), Some(goaway(3)));
}

#[test]
fn h_18_a_port_forward_ends_its_connections_and_leaves_the_goaway_to_the_client() {
    let opened = [(UP, connections(&mut SpdyWriter::new(), 2)), (DOWN, spdy_last(7, b""))];
    let expected = [
        spdy_last(1, b"ended by ana: lunch"),
        spdy_last(3, b""),
        spdy_last(5, b"ended by ana: lunch"),
    ];
    let expected = expected.concat();
    assert_eq!(farewell(Protocol::SpdyForward, &opened), Some(expected.clone()));
    assert_eq!(farewell(Protocol::SpdyForward, &[]), Some(goaway(0)));
    let tunnelled = [(UP, ws_up(&opened[0].1)), (DOWN, ws_down(&opened[1].1))];
    assert_eq!(
        farewell(Protocol::WebSocketTunnel, &tunnelled),
        Some(ws_down(&expected))
    );
}

#[test]
fn h_18_nothing_is_said_within_a_frame_or_a_message() {
    let down = [
        ws_down(b"\x01abc"),
        ws_frame(0x02, None, b"\x01a"),
        ws_frame(0x89, None, b"ping"),
        ws_frame(0x80, None, &[b'b'; 300]),
    ]
    .concat();
    let between = [0, 6, down.len()];
    for at in 0..=down.len() {
        let said = farewell(websocket_command(false, V4), &[(DOWN, down[..at].to_vec())]);
        assert_eq!(said.is_some(), between.contains(&at), "{at}");
    }
    let (opened, mut server) = (connections(&mut SpdyWriter::new(), 1), SpdyWriter::new());
    let frames = [server.syn_reply(1), ping(2), spdy_data(1, b"abc"), spdy_data(1, b"")];
    let mut between = vec![0];
    between.extend(frames.iter().scan(0, |end, frame| {
        *end += frame.len();
        Some(*end)
    }));
    let down = frames.concat();
    for at in 0..=down.len() {
        let pieces = [(UP, opened.clone()), (DOWN, down[..at].to_vec())];
        let said = farewell(Protocol::SpdyForward, &pieces);
        assert_eq!(said.is_some(), between.contains(&at), "{at}");
    }
    let (head, tail) = down.split_at(3);
    let half_a_frame = [(DOWN, ws_down(head))];
    assert_eq!(farewell(Protocol::WebSocketTunnel, &half_a_frame), None);
    let whole = [(UP, ws_up(&opened)), (DOWN, [ws_down(head), ws_down(tail)].concat())];
    assert!(farewell(Protocol::WebSocketTunnel, &whole).is_some());
}

#[test]
fn where_the_client_stands_does_not_matter() {
    let up = [(UP, ws_frame(0x02, Some(MASK), b"\x00abc")[..5].to_vec())];
    assert!(farewell(websocket_command(false, V4), &up).is_some());
    assert!(farewell(Protocol::SpdyForward, &[(UP, vec![0x80])]).is_some());
}

#[test]
fn where_the_client_is_torn_its_person_is_still_told() {
    let mut tap = Tap::new(websocket_command(false, Version::V5), vec![]);
    let mut told = 0;
    let mut feed = |way, bytes: &[u8]| {
        let outcome = tap.feed(way, bytes, &mut |_, _| told += 1);
        (outcome.is_err(), tap.is_torn(), tap.farewell(&words()).is_some())
    };
    assert_eq!(feed(UP, &[0x83]), (true, true, true));
    assert_eq!(feed(UP, &[0x83]), (false, true, true));
    assert_eq!(feed(DOWN, &ws_down(b"\x01a")[..3]), (false, true, false));
    assert_eq!(feed(DOWN, &ws_down(b"\x01a")[3..]), (false, true, true));
    assert_eq!(feed(DOWN, &[0x83]), (false, true, false));
    assert_eq!(told, 0);
    let mut tap = Tap::new(Protocol::SpdyForward, vec![]);
    assert!(tap.feed(DOWN, &[0; 8], &mut |_, _| {}).is_err());
    assert_eq!(tap.farewell(&words()), None);
}

#[test]
fn nothing_is_said_behind_a_farewell() {
    let closed = [(DOWN, close(1000, ""))];
    assert_eq!(farewell(websocket_command(false, V4), &closed), None);
    assert_eq!(farewell(Protocol::WebSocketTunnel, &closed), None);
    assert_eq!(farewell(Protocol::SpdyForward, &[(DOWN, goaway(1))]), None);
    let by_the_client = [(UP, goaway(0))];
    assert!(farewell(Protocol::SpdyForward, &by_the_client).is_some());
}

#[test]
fn a_long_text_is_cut_between_characters_in_a_close_frame() {
    let text = format!("x{}", "é".repeat(100));
    let words = Farewell {
        status: String::new(),
        text: text.clone(),
    };
    let said = Tap::new(Protocol::WebSocketPlain, vec![]).farewell(&words).unwrap();
    assert_eq!(said, close(1008, text.get(..123).unwrap()));
    let words = Farewell {
        status: String::new(),
        text: "é".repeat(100),
    };
    let said = Tap::new(Protocol::WebSocketPlain, vec![]).farewell(&words).unwrap();
    assert_eq!(said, close(1008, &"é".repeat(61)));
    let long = Farewell::of(&"x".repeat(70_000));
    let said = Tap::new(websocket_command(false, V4), vec![]).farewell(&long).unwrap();
    let (told, torn) = outcome(websocket_command(false, V4), &[(DOWN, said)]);
    assert_eq!(torn, None);
    assert_eq!(told, [data(DOWN, Channel::Status, &long.status), left(DOWN)]);
}

#[test]
fn a_tap_reads_what_it_says() {
    let up = connections(&mut SpdyWriter::new(), 1);
    let all = [
        (Protocol::SpdyForward, up.clone(), true),
        (Protocol::WebSocketTunnel, ws_up(&up), true),
        (Protocol::SpdyForward, vec![], false),
        (Protocol::WebSocketTunnel, vec![], false),
    ];
    for (protocol, up, is_open) in all {
        let said = farewell(protocol, &[(UP, up.clone())]).unwrap();
        let told = told(protocol, &[(UP, up), (DOWN, said)]);
        let text = data(DOWN, forward_error(0, 80), "ended by ana: lunch");
        assert_eq!(told.contains(&text), is_open, "{told:?}");
        assert_eq!(told.contains(&left(DOWN)), !is_open, "{told:?}");
    }
}
