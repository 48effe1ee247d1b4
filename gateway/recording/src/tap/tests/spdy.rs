use super::writer::*;
use super::*;
use proptest::prelude::*;

pub(super) const V4: Protocol = Protocol::SpdyCommand { version: Version::V4 };
pub(super) const FORWARD: Protocol = Protocol::SpdyForward;

/// The streams of a command without a terminal: error 1, stdin 3, stdout 5, stderr 7.
pub(super) fn command(client: &mut SpdyWriter) -> Vec<u8> {
    let kinds = [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")];
    kinds
        .iter()
        .flat_map(|(id, kind)| client.syn_stream(*id, &[("streamtype", kind)]))
        .collect()
}

pub(super) fn all_opened() -> Vec<Told> {
    vec![
        opened(Channel::Status),
        opened(Channel::Stdin),
        opened(Channel::Stdout),
        opened(Channel::Stderr),
    ]
}

/// What the server says first: it takes these streams.
pub(super) fn replies(ids: &[u32]) -> (Way, Vec<u8>) {
    let mut server = SpdyWriter::new();
    (DOWN, ids.iter().flat_map(|id| server.syn_reply(*id)).collect())
}

/// A command without a terminal as it begins.
pub(super) fn begun() -> Vec<(Way, Vec<u8>)> {
    vec![(UP, command(&mut SpdyWriter::new())), replies(&[1, 3, 5, 7])]
}

#[test]
fn a_command_is_read_from_its_streams_to_its_status() {
    let pieces = [
        (UP, command(&mut SpdyWriter::new())),
        replies(&[1, 3, 5, 7]),
        (DOWN, [spdy_data(5, b"out"), spdy_data(7, b"err")].concat()),
        (UP, [spdy_data(3, b"in"), ping(1), spdy_last(3, b"put")].concat()),
        (
            DOWN,
            [
                ping(1),
                spdy_data(5, b"more"),
                spdy_last(1, b"{\"status\":\"Success\"}"),
                spdy_last(5, b""),
                spdy_last(7, b""),
                goaway(7),
            ]
            .concat(),
        ),
        (
            UP,
            [spdy_last(1, b""), spdy_last(5, b""), spdy_last(7, b""), goaway(0)].concat(),
        ),
    ];
    let mut expected = all_opened();
    expected.extend([
        data(DOWN, Channel::Stdout, "out"),
        data(DOWN, Channel::Stderr, "err"),
        data(UP, Channel::Stdin, "input"),
        closed(UP, Channel::Stdin),
        data(DOWN, Channel::Stdout, "more"),
        data(DOWN, Channel::Status, "{\"status\":\"Success\"}"),
        closed(DOWN, Channel::Status),
        closed(DOWN, Channel::Stdout),
        closed(DOWN, Channel::Stderr),
        left(DOWN),
        closed(UP, Channel::Status),
        closed(UP, Channel::Stdout),
        closed(UP, Channel::Stderr),
        left(UP),
    ]);
    assert_eq!(told(V4, &pieces), expected);
}

#[test]
fn a_terminal_tells_its_size_on_a_stream_of_its_own() {
    let pieces = [
        (UP, SpdyWriter::new().syn_stream(1, &[("streamtype", "resize")])),
        replies(&[1]),
        (UP, spdy_data(1, b"{\"Width\":80,\"Height\":24}\n")),
    ];
    let expected = [
        opened(Channel::Resize),
        data(UP, Channel::Resize, "{\"Width\":80,\"Height\":24}\n"),
    ];
    for version in [Version::V3, Version::V4, Version::V5] {
        assert_eq!(
            told(Protocol::SpdyCommand { version }, &pieces),
            expected,
            "{version:?}"
        );
    }
    // Before v3 the runtime looks at no size.
    for version in [Version::V1, Version::V2] {
        let why = why(Protocol::SpdyCommand { version }, &pieces);
        assert_eq!(why, "SPDY data of a client that nobody reads", "{version:?}");
    }
}

#[test]
fn h_16_every_kind_of_header_block_goes_through_the_same_state() {
    let (mut client, mut server, long) = (SpdyWriter::new(), SpdyWriter::new(), "word ".repeat(200));
    let up = [
        client.syn_stream(1, &[("streamtype", "stdin"), ("x-long", &long)]),
        client.syn_stream(3, &[("x-long", &long), ("streamtype", "resize")]),
    ];
    let down = [
        server.syn_reply(1),
        server.headers(1, 0, &[("x-long", &long), ("streamtype", "stdout")]), // changes nothing
        server.syn_reply(3),
        server.headers(3, 1, &[("x-long", &long)]),
    ];
    let behind = [
        spdy_data(1, b"a"),
        spdy_data(3, b"b"),
        client.syn_stream(5, &[("x-long", &long), ("streamtype", "stdout")]),
    ];
    assert_eq!(
        told(V4, &[(UP, up.concat()), (DOWN, down.concat()), (UP, behind.concat())]),
        [
            opened(Channel::Stdin),
            opened(Channel::Resize),
            closed(DOWN, Channel::Resize),
            data(UP, Channel::Stdin, "a"),
            data(UP, Channel::Resize, "b"),
            opened(Channel::Stdout),
        ]
    );
}

#[test]
fn h_16_control_frames_that_say_nothing_of_a_stream_are_stepped_over() {
    let mut client = SpdyWriter::new();
    let up = [
        settings(&[]),
        settings(&[(4, 100), (7, 65536)]),
        control(9, 0, &[0, 0, 0, 1, 0, 1, 0, 0]),
        ping(1),
        client.syn_stream(1, &[("streamtype", "stdin")]),
    ];
    assert_eq!(
        told(V4, &[(UP, up.concat()), replies(&[1]), (UP, spdy_data(1, b"ls"))]),
        [opened(Channel::Stdin), data(UP, Channel::Stdin, "ls")]
    );
}

/// Go's server reads nothing behind such a frame, so that what seems to be input there reaches no pod; and what a frame of an
/// unknown kind carries is recorded nowhere.
#[test]
fn h_16_frames_behind_which_go_reads_no_more_are_not_read() {
    let flags = "a SPDY frame with flags that its kind has not";
    let cases = [
        ("a SPDY frame of an unknown kind", control(0, 0, b"")),
        ("a SPDY frame of an unknown kind", control(5, 0, b"")),
        ("a SPDY frame of an unknown kind", control(10, 0, b"credentials, say")),
        ("a SPDY frame of an unknown kind", control(0xffff, 0, &[0xff; 100_000])),
        ("a SPDY ping without a number", ping(0)),
        (
            "a SPDY reset without a reason",
            control(3, 0, &[0, 0, 0, 1, 0, 0, 0, 0]),
        ),
        (flags, control(3, 1, &[0, 0, 0, 1, 0, 0, 0, 5])),
        (flags, control(6, 1, &[0, 0, 0, 1])),
        (flags, control(7, 0x80, &[0; 8])),
        (flags, control(9, 2, &[0, 0, 0, 1, 0, 1, 0, 0])),
    ];
    for way in [UP, DOWN] {
        for (expected, frame) in &cases {
            let why = why(FORWARD, &[(way, frame.clone())]);
            assert_eq!(why, *expected, "{way:?} {:x?}", &frame[..8]);
        }
    }
}

#[test]
fn h_16_stream_ids_have_31_bits() {
    let mut client = SpdyWriter::new();
    let up = [
        client.syn_stream(0x0123_4567, &[("streamtype", "stdin")]),
        client.syn_stream(0x7fff_ffff, &[("streamtype", "resize")]),
    ];
    let behind = [
        spdy_data(0x7fff_ffff, b"{}"),
        spdy_data(0x0023_4567, b"of no stream"),
        spdy_data(0x0123_4567, b"ls"),
    ];
    let taken = replies(&[0x0123_4567, 0x7fff_ffff]);
    assert_eq!(
        told(V4, &[(UP, up.concat()), taken, (UP, behind.concat())]),
        [
            opened(Channel::Stdin),
            opened(Channel::Resize),
            data(UP, Channel::Resize, "{}"),
            data(UP, Channel::Stdin, "ls"),
        ]
    );
}

#[test]
fn the_largest_data_frame_passes_without_being_held() {
    let mut client = SpdyWriter::new();
    let mut tap = Tap::new(V4, vec![]);
    let mut bytes = 0;
    let mut feed = |way, piece: &[u8]| {
        tap.feed(way, piece, &mut |_, event| {
            if let Event::Data { bytes: piece, .. } = event {
                bytes += piece.len();
            }
        })
        .unwrap();
        assert!(tap.held_bytes() < 4096, "{}", tap.held_bytes());
    };
    feed(UP, &client.syn_stream(1, &[("streamtype", "stdout")]));
    feed(DOWN, &[0, 0, 0, 1, 1, 0xff, 0xff, 0xff]);
    for _ in 0..255 {
        feed(DOWN, &[b'x'; 65536]);
    }
    feed(DOWN, &[b'x'; 65535]);
    assert_eq!(bytes, (1 << 24) - 1);
}

#[test]
fn the_connections_of_a_port_forward_are_counted_and_paired_by_request() {
    let mut client = SpdyWriter::new();
    let mut open = |id, kind, port, request| {
        client.syn_stream(id, &[("streamtype", kind), ("port", port), ("requestid", request)])
    };
    let up = [
        open(1, "error", "80", "0"),
        open(3, "error", "443", "1"),
        open(5, "data", "443", "1"),
        open(7, "data", "80", "0"),
        open(9, "data", "8080", "0"),  // free again since its pair is complete
        open(11, "data", "8080", "0"), // refused by the server
        open(13, "error", "8080", "0"),
    ];
    let data_up = [spdy_data(5, b"a"), spdy_data(7, b"b"), spdy_data(9, b"c")];
    let down = [spdy_data(3, b"refused"), spdy_data(13, b"d")];
    let pieces = [
        (UP, up.concat()),
        replies(&[1, 3, 5, 7, 9, 11, 13]),
        (UP, data_up.concat()),
        (DOWN, down.concat()),
    ];
    assert_eq!(
        told(FORWARD, &pieces),
        [
            opened(forward_error(0, 80)),
            opened(forward_error(1, 443)),
            opened(forward(1, 443)),
            opened(forward(0, 80)),
            opened(forward(2, 8080)),
            opened(forward(3, 8080)),
            opened(forward_error(2, 8080)),
            data(UP, forward(1, 443), "a"),
            data(UP, forward(0, 80), "b"),
            data(UP, forward(2, 8080), "c"),
            data(DOWN, forward_error(1, 443), "refused"),
            data(DOWN, forward_error(2, 8080), "d"),
        ]
    );
}

#[test]
fn streams_without_a_request_id_are_paired_by_their_ids() {
    let mut client = SpdyWriter::new();
    let mut open = |id, kind| client.syn_stream(id, &[("streamtype", kind), ("port", "80")]);
    let up = [open(1, "error"), open(3, "data"), open(5, "error"), open(7, "data")];
    assert_eq!(
        told(FORWARD, &[(UP, up.concat())]),
        [
            opened(forward_error(0, 80)),
            opened(forward(0, 80)),
            opened(forward_error(1, 80)),
            opened(forward(1, 80)),
        ]
    );
}

/// A client has its streams opened as the first frame says; then the pod's output comes.
fn output_behind(opening: Vec<u8>) -> Outcome {
    let down = [spdy_data(5, b"root@pod:/# "), spdy_data(5, b"cat /etc/shadow")];
    outcome(V4, &[(UP, opening), (DOWN, down.concat())])
}

#[test]
fn no_word_of_a_client_hides_what_the_pod_writes() {
    let mut client = SpdyWriter::new();
    let told_all = |opening: Vec<u8>| {
        let (told, torn) = output_behind(opening);
        let is_told = told.contains(&data(DOWN, Channel::Stdout, "root@pod:/# cat /etc/shadow"));
        (is_told, torn.map(|torn| (torn.way, torn.why)))
    };
    let open = command(&mut client);
    assert_eq!(told_all(open.clone()), (true, None));
    assert_eq!(told_all([open.clone(), spdy_last(5, b"")].concat()), (true, None));
    assert_eq!(told_all([open.clone(), rst(5)].concat()), (true, None));
    assert_eq!(
        told_all([open.clone(), spdy_last(5, b""), rst(5)].concat()),
        (true, None)
    );
    assert_eq!(told_all([open, goaway(0)].concat()), (true, None));
    // What Go's server writes to all the same.
    for flags in 1..=255 {
        let mut client = SpdyWriter::new();
        let opening = [
            client.syn_stream(1, &[("streamtype", "error")]),
            client.syn_stream_with(5, flags, &[("streamtype", "stdout")]),
        ];
        let why = "a SPDY stream that is opened with flags, which no client sets";
        assert_eq!(told_all(opening.concat()), (false, Some((UP, why))), "{flags}");
    }
}

#[test]
fn what_a_server_says_where_nobody_reads_is_torn() {
    let mut client = SpdyWriter::new();
    let open = [
        command(&mut client),
        client.syn_stream(9, &[("streamtype", "of no meaning")]),
    ];
    let down = |bytes: Vec<u8>| why(V4, &[(UP, open.concat()), (DOWN, bytes)]);
    assert_eq!(down(spdy_data(11, b"x")), "SPDY data of a stream that is not known");
    for stream in [3, 9] {
        assert_eq!(
            down(spdy_data(stream, b"x")),
            "SPDY data of a server that nobody reads",
            "{stream}"
        );
    }
    let stream = SpdyWriter::new().syn_stream(2, &[("streamtype", "stdout")]);
    assert_eq!(down(stream), "a SPDY stream that a server opens");
    // An end carries nothing.
    assert_eq!(told(V4, &[(DOWN, [spdy_last(11, b""), rst(11)].concat())]), []);
}

#[test]
fn a_reset_by_the_client_does_not_hide_what_the_server_still_writes() {
    let mut client = SpdyWriter::new();
    let pieces = [
        (
            UP,
            [
                command(&mut client),
                rst(5),
                rst(5),
                rst(3),
                spdy_data(3, b"dropped by the server"),
            ]
            .concat(),
        ),
        (
            DOWN,
            [
                spdy_data(5, b"secret"),
                spdy_last(5, b""),
                spdy_data(5, b"behind its end"),
            ]
            .concat(),
        ),
        (DOWN, [rst(7), rst(3), rst(3), spdy_data(7, b"on its way")].concat()),
        (UP, [spdy_data(7, b"in flight"), rst(7)].concat()),
    ];
    let mut expected = all_opened();
    expected.extend([
        reset(UP, Channel::Stdout),
        reset(UP, Channel::Stdin),
        data(DOWN, Channel::Stdout, "secret"),
        closed(DOWN, Channel::Stdout),
        data(DOWN, Channel::Stdout, "behind its end"),
        reset(DOWN, Channel::Stderr),
        reset(DOWN, Channel::Stdin),
        data(DOWN, Channel::Stderr, "on its way"),
    ]);
    assert_eq!(told(V4, &pieces), expected);
}

/// Go's copy of what a pod says may write once more behind the end.
#[test]
fn what_comes_right_behind_the_end_of_a_connection_is_told() {
    let (mut client, mut tap) = (SpdyWriter::new(), Tap::new(FORWARD, vec![]));
    let mut told = Vec::new();
    let mut feed = |way, bytes: &[u8]| {
        tap.feed(way, bytes, &mut |_, event| {
            if let Event::Data { channel, bytes } = event {
                told.push((channel, bytes.to_vec()));
            }
        })
    };
    for number in 0..200 {
        let (error, bytes) = (4 * number + 1, 4 * number + 3);
        feed(UP, &connection(&mut client, number)).unwrap();
        feed(UP, &[spdy_last(error, b""), spdy_last(bytes, b"")].concat()).unwrap();
        feed(DOWN, &[spdy_last(error, b""), spdy_last(bytes, b"")].concat()).unwrap();
    }
    feed(DOWN, &spdy_data(4 * 199 + 3, b"last words")).unwrap();
    // 256 streams behind it, nobody knows the first any more.
    let torn = feed(DOWN, &spdy_data(3, b"?")).unwrap_err();
    assert_eq!(torn.why, "SPDY data of a stream that is not known");
    assert_eq!(told, [(forward(199, 80), b"last words".to_vec())]);
}

/// Frames that cannot be read, behind the opening of stream 1 as standard input.
#[test]
fn malformed_frames_are_not_read() {
    let id = |id: u32| id.to_be_bytes();
    let too_short = "a SPDY frame too short for its kind";
    let another = "a SPDY frame of another length than its kind has";
    let zero = "a SPDY frame of stream 0";
    let cases = [
        ("SPDY data of stream 0", spdy_data(0, b"x")),
        ("a SPDY frame of another version", vec![0x80, 2, 0, 6, 0, 0, 0, 4]),
        ("a SPDY frame of another version", vec![0x83, 3, 0, 6, 0, 0, 0, 4]),
        (too_short, control(1, 0, &[0; 9])),
        (too_short, control(2, 0, &[0; 3])),
        (too_short, control(8, 0, &[0; 3])),
        // What Go's reader would take for further frames.
        (another, control(3, 0, &[0; 16])),
        (another, control(6, 0, &[0; 12])),
        (another, control(7, 0, &[0; 4])),
        (another, control(9, 0, &[0; 9])),
        ("SPDY settings of another length than they say", control(4, 0, &[0; 12])),
        (
            "SPDY settings of another length than they say",
            control(4, 0, &[0, 0, 0, 2, 0, 0, 0, 4]),
        ),
        (
            "SPDY settings of another length than they say",
            control(4, 0, &[0xff; 12]),
        ),
        ("SPDY settings of another length than they say", control(4, 0, &[])),
        ("too many SPDY settings", settings(&[(1, 1); 1000])),
        (zero, rst(0)),
        ("a SPDY stream id of 32 bits", rst(0x8000_0001)),
        (
            "a SPDY header block of more than 64 KiB",
            vec![0x80, 3, 0, 1, 0, 1, 0, 11],
        ),
        (
            "a SPDY header block of more than 64 KiB",
            vec![0x80, 3, 0, 8, 0, 0xff, 0xff, 0xff],
        ),
    ];
    let opening = SpdyWriter::new().syn_stream(1, &[("streamtype", "stdin")]);
    for (expected, bad) in cases {
        for way in [UP, DOWN] {
            let why = why(V4, &[(UP, opening.clone()), (way, bad.clone())]);
            assert_eq!(why, expected, "{way:?} {:x?}", &bad[..bad.len().min(24)]);
        }
    }
    let of_a_server = [
        (zero, control(8, 0, &[&id(0), b"".as_slice()].concat())),
        (
            "a SPDY header block that does not inflate",
            control(8, 0, &[&id(1), b"garbage".as_slice()].concat()),
        ),
        ("a SPDY header block shorter than its list", control(8, 0, &id(1))),
    ];
    for (expected, bad) in of_a_server {
        let why = why(V4, &[(UP, opening.clone()), (DOWN, bad.clone())]);
        assert_eq!(why, expected, "{:x?}", &bad);
    }
}

#[test]
fn header_blocks_that_go_would_read_otherwise_are_not_read() {
    let stdin = list(&[("streamtype", "stdin")]);
    let twice = "a SPDY stream that says twice what it is";
    let refused = "a SPDY header that Go's reader refuses";
    let cases = [
        (
            "a SPDY header block longer than its list",
            [stdin.as_slice(), &stdin].concat(),
        ),
        (
            "a SPDY header block shorter than its list",
            stdin[..stdin.len() - 1].to_vec(),
        ),
        (
            "a SPDY header block shorter than its list",
            vec![0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff],
        ),
        ("a SPDY header block shorter than its list", vec![0, 0, 0]),
        ("too many SPDY headers", list(&[("a", "b"); 257])),
        ("too many SPDY headers", vec![0xff; 100]),
        (refused, list(&[("streamType", "stdin")])),
        (refused, list(&[("connection", "x")])),
        (refused, list(&[("streamtype", "stdin"), ("host", "x")])),
        (refused, list(&[("keep-alive", "x")])),
        (refused, list(&[("proxy-connection", "x")])),
        (refused, list(&[("transfer-encoding", "x")])),
        (refused, list(&[("STREAMTYPE", "stdin")])),
        (refused, list(&[("\u{c9}t\u{e9}", "x")])),
        (refused, list(&[("x y", "x")])),
        (twice, list(&[("1", "x"), ("x", "x"), ("1", "x")])),
        ("too many SPDY headers", list(&[("a", "b"); 17])),
        (twice, list(&[("streamtype", "resize"), ("streamtype", "stdin")])),
        (twice, list(&[("streamtype", "resize\0stdin")])),
        (twice, list(&[("port", "80"), ("port", "22")])),
        (twice, list(&[("requestid", "1"), ("requestid", "2")])),
        (
            "a SPDY request id of more than 64 bytes",
            list(&[("requestid", &"9".repeat(65))]),
        ),
        (
            "a SPDY header block that inflates to more than 64 KiB",
            list(&[("x", &"y".repeat(65536))]),
        ),
    ];
    for (expected, plain) in cases {
        let mut client = SpdyWriter::new();
        let block = client.compress(&plain);
        assert_eq!(why(FORWARD, &[(UP, syn_stream(1, 0, &block))]), expected);
    }
}

/// Go's reader wants no more of a block than its list takes, and has it behind the first empty piece that the compressor's flush
/// leaves; whether it takes what follows depends on how the bytes were cut on their way to it.
#[test]
fn a_header_block_ends_where_its_compressor_was_flushed() {
    let why_of = |tail: &[u8]| {
        let mut client = SpdyWriter::new();
        let block = [client.block(&[("streamtype", "resize")]).as_slice(), tail].concat();
        why(V4, &[(UP, syn_stream(1, 0, &block))])
    };
    let behind = "a SPDY header block that does not end with its list";
    assert_eq!(why_of(b"\0\0\0\xff\xff"), behind);
    assert_eq!(why_of(&b"\0\0\0\xff\xff".repeat(2000)), behind);
    assert_eq!(why_of(&[0]), behind);
    let mut unflushed = SpdyWriter::new().block(&[("streamtype", "resize")]);
    unflushed.truncate(unflushed.len() - 1);
    assert_eq!(why(V4, &[(UP, syn_stream(1, 0, &unflushed))]), behind);
}

#[test]
fn a_bomb_of_headers_costs_64_kib() {
    let mut client = SpdyWriter::new();
    let block = client.compress(&list(&[("x", &"y".repeat(16 << 20))]));
    assert!(block.len() < 60_000, "{} bytes are too many to be a bomb", block.len());
    let mut tap = Tap::new(V4, vec![]);
    let torn = tap.feed(UP, &syn_stream(1, 0, &block), &mut |_, _| {}).unwrap_err();
    assert_eq!(torn.why, "a SPDY header block that inflates to more than 64 KiB");
    assert!(tap.held_bytes() < 140 << 10, "{}", tap.held_bytes());
    let many_pairs = [vec![0, 0, 0xff, 0xff], vec![0; 16 << 20]].concat();
    let block = SpdyWriter::new().compress(&many_pairs);
    assert_eq!(
        why(V4, &[(UP, syn_stream(1, 0, &block))]),
        "a SPDY header block that inflates to more than 64 KiB"
    );
}

#[test]
fn a_header_block_of_just_64_kib_is_read_and_its_room_given_back() {
    let mut client = SpdyWriter::new();
    let room = 65536 - list(&[("streamtype", "stdin"), ("x", "")]).len();
    let up = client.syn_stream(1, &[("streamtype", "stdin"), ("x", &"y".repeat(room))]);
    let mut tap = Tap::new(V4, vec![]);
    tap.feed(UP, &up, &mut |_, _| {}).unwrap();
    // Hardly smaller when compressed: its frame is held, too.
    let digits = |number: u64| format!("{:016x}", (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let text: String = (0..3000).map(digits).collect();
    let up = client.syn_stream(3, &[("x", &text)]);
    assert!(up.len() > 20_000, "{}", up.len());
    tap.feed(UP, &up, &mut |_, _| {}).unwrap();
    tap.feed(UP, &client.syn_stream(5, &[]), &mut |_, _| {}).unwrap();
    assert!(tap.held_bytes() < 8192, "{}", tap.held_bytes());
}

#[test]
fn header_compression_has_one_beginning_and_no_end() {
    let mut ended = Vec::with_capacity(1024);
    let mut compress = flate2::Compress::new(flate2::Compression::fast(), true);
    compress.set_dictionary(super::super::spdy::DICTIONARY).unwrap();
    compress
        .compress_vec(&list(&[]), &mut ended, flate2::FlushCompress::Finish)
        .unwrap();
    assert_eq!(
        why(V4, &[(UP, syn_stream(1, 0, &ended))]),
        "an end of SPDY header compression"
    );
    let another_dictionary = {
        let mut block = Vec::with_capacity(1024);
        let mut compress = flate2::Compress::new(flate2::Compression::fast(), true);
        compress.set_dictionary(b"of another protocol").unwrap();
        compress
            .compress_vec(&list(&[]), &mut block, flate2::FlushCompress::Sync)
            .unwrap();
        block
    };
    assert_eq!(
        why(V4, &[(UP, syn_stream(1, 0, &another_dictionary))]),
        "a SPDY header block that does not inflate"
    );
    let (first, second) = (
        SpdyWriter::new().syn_stream(1, &[]),
        SpdyWriter::new().syn_stream(3, &[]),
    );
    assert_eq!(
        why(V4, &[(UP, [first, second].concat())]),
        "a SPDY header block that does not inflate"
    );
}

#[test]
fn an_id_means_one_stream_for_ever() {
    let used = "a SPDY stream id that its server refuses";
    let mut client = SpdyWriter::new();
    let again = [
        client.syn_stream(3, &[("streamtype", "stdin")]),
        client.syn_stream(3, &[("streamtype", "resize")]),
    ];
    assert_eq!(why(V4, &[(UP, again.concat())]), used);
    let mut client = SpdyWriter::new();
    let lower = [
        client.syn_stream(3, &[("streamtype", "stdin")]),
        client.syn_stream(1, &[("streamtype", "resize")]),
    ];
    assert_eq!(why(V4, &[(UP, lower.concat())]), used);
    let mut client = SpdyWriter::new();
    let next = [
        client.syn_stream(3, &[("streamtype", "stdin")]),
        client.syn_stream(4, &[("streamtype", "resize")]),
    ];
    assert_eq!(why(V4, &[(UP, next.concat())]), used);
    let mut client = SpdyWriter::new();
    let zero = client.syn_stream(0, &[("streamtype", "stdin")]);
    assert_eq!(why(V4, &[(UP, zero)]), "a SPDY frame of stream 0");
}

#[test]
fn data_of_a_client_behind_the_end_of_its_stream_is_not_read() {
    let mut client = SpdyWriter::new();
    let opened = (UP, client.syn_stream(1, &[("streamtype", "stdin")]));
    let up = (UP, [spdy_last(1, b"a"), spdy_data(1, b"b")].concat());
    let pieces = [opened.clone(), replies(&[1]), up.clone()];
    assert_eq!(why(V4, &pieces), "SPDY data behind the end of its stream");
    let ended_by_both = [
        opened,
        replies(&[1]),
        (UP, spdy_last(1, b"a")),
        (DOWN, spdy_last(1, b"")),
        up,
    ];
    assert_eq!(why(V4, &ended_by_both), "SPDY data behind the end of its stream");
}

#[test]
fn data_of_a_server_behind_the_end_of_its_stream_is_told() {
    let mut client = SpdyWriter::new();
    let pieces = [
        (UP, client.syn_stream(1, &[("streamtype", "stdout")])),
        (
            DOWN,
            [spdy_last(1, b"a"), spdy_data(1, b"b"), spdy_last(1, b"")].concat(),
        ),
    ];
    assert_eq!(
        told(V4, &pieces),
        [
            opened(Channel::Stdout),
            data(DOWN, Channel::Stdout, "a"),
            closed(DOWN, Channel::Stdout),
            data(DOWN, Channel::Stdout, "b"),
        ]
    );
}

pub(super) fn connection(client: &mut SpdyWriter, number: u32) -> Vec<u8> {
    let request = number.to_string();
    let mut open = |id, kind| client.syn_stream(id, &[("streamtype", kind), ("port", "80"), ("requestid", &request)]);
    [open(4 * number + 1, "error"), open(4 * number + 3, "data")].concat()
}

#[test]
fn more_than_4096_streams_at_once_are_not_read() {
    let mut client = SpdyWriter::new();
    let mut tap = Tap::new(FORWARD, vec![]);
    for number in 0..2048 {
        tap.feed(UP, &connection(&mut client, number), &mut |_, _| {}).unwrap();
    }
    assert!(tap.held_bytes() < 2 << 20, "{}", tap.held_bytes());
    let torn = tap
        .feed(UP, &connection(&mut client, 2048), &mut |_, _| {})
        .unwrap_err();
    assert_eq!(torn.why, "more than 4096 SPDY streams at once");
}

#[test]
fn a_port_forward_may_have_any_number_of_connections_one_after_another() {
    let (mut client, mut tap) = (SpdyWriter::new(), Tap::new(FORWARD, vec![]));
    let mut most_held = 0;
    for number in 0..20_000 {
        let (error, bytes) = (4 * number + 1, 4 * number + 3);
        // Ended by both, given up by the client alone, refused by the server, by turns.
        let (up, down) = match number % 3 {
            0 => (
                [spdy_last(error, b""), spdy_last(bytes, b"")],
                [spdy_last(error, b""), spdy_last(bytes, b"")],
            ),
            1 => ([spdy_last(error, b""), rst(bytes)], [spdy_last(error, b""), ping(2)]),
            _ => ([rst(error), spdy_last(bytes, b"")], [rst(error), rst(bytes)]),
        };
        tap.feed(
            UP,
            &[connection(&mut client, number), up.concat()].concat(),
            &mut |_, _| {},
        )
        .unwrap();
        tap.feed(DOWN, &down.concat(), &mut |_, _| {}).unwrap();
        most_held = most_held.max(tap.held_bytes());
    }
    assert!(most_held < 2 << 20, "{most_held}");
}

#[test]
fn streams_that_the_client_gave_up_and_the_server_ended_are_forgotten() {
    let (mut client, mut tap) = (SpdyWriter::new(), Tap::new(FORWARD, vec![]));
    for number in 0..40_000 {
        let id = 2 * number + 1;
        let up = [
            client.syn_stream(id, &[("streamtype", "data"), ("port", "80")]),
            rst(id),
        ];
        tap.feed(UP, &up.concat(), &mut |_, _| {}).unwrap();
        tap.feed(DOWN, &rst(id), &mut |_, _| {}).unwrap();
    }
    assert!(tap.held_bytes() < 100 << 10, "{}", tap.held_bytes());
}

#[test]
fn a_second_stream_of_a_kind_is_torn_since_nobody_can_say_which_is_read() {
    let (mut client, mut tap) = (SpdyWriter::new(), Tap::new(V4, vec![]));
    let up =
        [1, 3, 5].map(|id| client.syn_stream(id, &[("streamtype", ["stdin", "stdout", "stdin"][id as usize / 2])]));
    let torn = tap.feed(UP, &up.concat(), &mut |_, _| {}).unwrap_err();
    assert_eq!(torn.why, "a second SPDY stream for the same channel");
}

#[test]
fn a_command_does_not_forget_streams_to_make_room() {
    let (mut client, mut tap) = (SpdyWriter::new(), Tap::new(V4, vec![]));
    let torn = (0..5000_u32).find_map(|number| {
        let id = 2 * number + 1;
        let up = [client.syn_stream(id, &[("streamtype", "of no meaning")]), rst(id)].concat();
        tap.feed(UP, &up, &mut |_, _| {}).err()
    });
    assert_eq!(torn.map(|torn| torn.why), Some("more than 4096 SPDY streams at once"));
}

#[test]
fn the_dictionary_is_that_of_the_draft() {
    let dictionary = super::super::spdy::DICTIONARY;
    let (low, high) = dictionary.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    assert_eq!((dictionary.len(), high << 16 | low), (1423, 0xe3c6_a7c2));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(pieces in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz_spdy_tap(&pieces);
    }

    #[test]
    fn any_frames_are_read_or_refused(
        frames in proptest::collection::vec(
            (0_u16..12, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..24)), 0..8),
        protocol in prop_oneof![Just(V4), Just(FORWARD)],
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(kind, flags, body)| control(*kind, *flags, body)).collect();
        outcome(protocol, &[(UP, bytes)]);
    }
}
