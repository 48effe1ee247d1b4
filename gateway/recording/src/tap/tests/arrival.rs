//! What a client sends that its server reads or not, by what it does with it (moby/spdystream, k8s.io/cri-streaming): told is what
//! is read, passed over what is certainly dropped, and all else is torn. No client of Kubernetes (client-go, kubectl from 1.28 on)
//! sends what is torn here.

use super::spdy::*;
use super::writer::*;
use super::*;

#[test]
fn a_stream_of_no_known_kind_or_port_is_not_told() {
    let unread = "SPDY data of a client that nobody reads";
    for pairs in [
        &[("streamtype", "data"), ("port", "0")][..],
        &[("streamtype", "data"), ("port", "+80")],
        &[("streamtype", "data")],
        &[("streamtype", "stdin"), ("port", "80")],
        &[("port", "80")],
        &[],
    ] {
        let opened = [(UP, SpdyWriter::new().syn_stream(1, pairs)), replies(&[1])];
        let ended = [opened.as_slice(), &[(UP, [spdy_last(1, b""), rst(1)].concat())]].concat();
        assert_eq!(told(FORWARD, &ended), [], "{pairs:?}");
        let written_to = [opened.as_slice(), &[(UP, spdy_data(1, b"x"))]].concat();
        assert_eq!(why(FORWARD, &written_to), unread, "{pairs:?}");
    }
    for kind in ["data", "STDIN", ""] {
        let opening = SpdyWriter::new().syn_stream(1, &[("streamtype", kind)]);
        let opened = [(UP, opening), replies(&[1])];
        assert_eq!(told(V4, &opened), [], "{kind}");
        let written_to = [opened.as_slice(), &[(UP, spdy_data(1, b"x"))]].concat();
        assert_eq!(why(V4, &written_to), unread, "{kind}");
    }
}

/// Its reader waits for a reader of that for ever, and with it whatever else of the connection goes through the same hands.
#[test]
fn data_on_a_stream_that_nobody_reads_are_not_read() {
    for stream in [1, 5, 7] {
        let forged = [begun(), vec![(UP, spdy_data(stream, b"forged output"))]].concat();
        let (told, torn) = outcome(V4, &forged);
        assert_eq!(told, all_opened());
        assert_eq!(torn.unwrap().why, "SPDY data of a client that nobody reads", "{stream}");
    }
    let opened = (UP, connection(&mut SpdyWriter::new(), 0));
    let forged = [opened, replies(&[1, 3]), (UP, spdy_data(1, b"forged error"))];
    assert_eq!(why(FORWARD, &forged), "SPDY data of a client that nobody reads");
}

/// The runtime waits for as many streams as were asked for and takes no more: input for another never reaches the pod. Clients of
/// Go wait for each reply before they open the next (`CreateStream`).
#[test]
fn data_in_front_of_the_servers_reply_are_not_read() {
    let early = "SPDY data in front of its server's reply";
    let input = (UP, spdy_data(3, b"id"));
    let opened = (UP, command(&mut SpdyWriter::new()));
    assert_eq!(why(V4, &[opened.clone(), input.clone()]), early);
    // Of a command all wait for all: the reader of one may be held up by another that is not taken.
    let some = [opened.clone(), replies(&[1, 3, 5]), input.clone()];
    assert_eq!(why(V4, &some), early);
    let mut with_one_more = SpdyWriter::new();
    let up = [
        command(&mut with_one_more),
        with_one_more.syn_stream(13, &[("streamtype", "of no meaning")]),
    ];
    let one_more = [(UP, up.concat()), replies(&[1, 3, 5, 7]), input.clone()];
    assert_eq!(why(V4, &one_more), early);
    // A stream that the server refuses is not waited for, nor one that the client ends or gives up meanwhile.
    let refused = [
        opened.clone(),
        replies(&[1, 3, 5]),
        (DOWN, rst(7)),
        (UP, spdy_last(3, b"id")),
    ];
    assert!(told(V4, &refused).contains(&data(UP, Channel::Stdin, "id")));
    let given_up = [opened, (UP, [spdy_last(3, b""), rst(1), goaway(0)].concat())];
    assert!(told(V4, &given_up).contains(&left(UP)));
    // Connections of a port-forward do not wait for one another.
    let mut client = SpdyWriter::new();
    let two = [connection(&mut client, 0), connection(&mut client, 1)].concat();
    let pieces = |stream| [(UP, two.clone()), replies(&[1, 3, 5]), (UP, spdy_data(stream, b"GET"))];
    assert!(told(FORWARD, &pieces(3)).contains(&data(UP, forward(0, 80), "GET")));
    assert_eq!(why(FORWARD, &pieces(7)), early);
}

/// Go's server sorts what waits for one of its hands by the priority of its stream, and knows none of a stream that is not open.
#[test]
fn what_go_may_take_in_another_order_is_not_read() {
    let in_front = "a SPDY frame of a client in front of its stream";
    for frame in [spdy_data(3, b"id"), spdy_last(3, b""), rst(3)] {
        assert_eq!(why(V4, &[(UP, frame.clone())]), in_front);
        let opened = SpdyWriter::new().syn_stream(1, &[("streamtype", "stdin")]);
        assert_eq!(why(V4, &[(UP, [opened, frame].concat())]), in_front);
    }
    // What was passed over is no stream, and never becomes one.
    let opened = SpdyWriter::new().syn_stream(5, &[("streamtype", "stdin")]);
    let of_none = [opened.clone(), spdy_data(3, b"id"), spdy_last(3, b""), rst(3)];
    assert_eq!(told(V4, &[(UP, of_none.concat())]), [super::opened(Channel::Stdin)]);
    for place in 8 + 4..8 + 4 + 6 {
        let mut prior = opened.clone();
        prior[place] = 1;
        let why = why(V4, &[(UP, prior)]);
        assert_eq!(
            why, "a SPDY stream with a parent or a priority, which no client gives it",
            "{place}"
        );
    }
}

/// Go's server hands them to a reader of the stream's headers, and there is none: what comes behind waits for ever.
#[test]
fn a_reply_or_later_headers_of_a_client_are_not_read() {
    let mut client = SpdyWriter::new();
    let opened = client.syn_stream(1, &[("streamtype", "stdin")]);
    for frame in [client.syn_reply(1), client.headers(1, 0, &[("x", "y")])] {
        let why = why(V4, &[(UP, opened.clone()), replies(&[1]), (UP, frame)]);
        assert_eq!(why, "a SPDY reply or later headers of a client");
    }
}

/// Go's server reads nothing behind its client's GOAWAY, and a client may write there.
#[test]
fn what_a_client_says_behind_its_farewell_is_not_told() {
    let mut client = SpdyWriter::new();
    let behind = |client: &mut SpdyWriter| {
        [
            spdy_data(3, b"never read"),
            client.syn_stream(9, &[("streamtype", "resize"), ("port", "80")]),
            spdy_data(9, b"nor this"),
            spdy_last(3, b""),
            rst(5),
            goaway(0),
        ]
        .concat()
    };
    let up = [command(&mut client), goaway(0), behind(&mut client)].concat();
    let mut expected = all_opened();
    expected.extend([left(UP), data(DOWN, Channel::Stdout, "still told")]);
    let down = (DOWN, spdy_data(5, b"still told"));
    assert_eq!(told(V4, &[(UP, up), down]), expected);
    let mut client = SpdyWriter::new();
    let opened = (UP, connection(&mut client, 0));
    let up = (UP, [goaway(0), behind(&mut client)].concat());
    let told = told(FORWARD, &[opened, replies(&[1, 3]), up]);
    assert_eq!(told[2..], [left(UP)]);
}

/// With a GOAWAY a server takes no more streams. It has given up those of a command; connections of a port-forward may go on.
#[test]
fn what_a_client_says_behind_the_servers_farewell_is_told_where_it_is_read() {
    let mut pieces = begun();
    pieces.push((DOWN, goaway(7)));
    pieces.push((
        UP,
        [spdy_data(3, b"too late"), spdy_last(3, b""), spdy_data(3, b"again")].concat(),
    ));
    let mut expected = all_opened();
    expected.extend([left(DOWN), closed(UP, Channel::Stdin)]);
    assert_eq!(told(V4, &pieces), expected);
    let mut client = SpdyWriter::new();
    let pieces = [
        (UP, connection(&mut client, 0)),
        replies(&[1, 3]),
        (DOWN, goaway(3)),
        (UP, [spdy_data(3, b"goes on"), connection(&mut client, 1)].concat()),
        (UP, [spdy_data(7, b"dropped"), spdy_last(5, b""), rst(7)].concat()),
    ];
    let told = told(FORWARD, &pieces);
    assert_eq!(told[2..], [left(DOWN), data(UP, forward(0, 80), "goes on")]);
}

/// client-go ends standard input when the server has, and may be copying to it still.
#[test]
fn input_that_both_have_ended_may_be_written_to() {
    let mut pieces = begun();
    pieces.push((DOWN, spdy_last(3, b"")));
    pieces.push((
        UP,
        [spdy_data(3, b"read"), spdy_last(3, b""), spdy_data(3, b"dropped")].concat(),
    ));
    let mut expected = all_opened();
    expected.extend([
        closed(DOWN, Channel::Stdin),
        data(UP, Channel::Stdin, "read"),
        closed(UP, Channel::Stdin),
    ]);
    assert_eq!(told(V4, &pieces), expected);
}
