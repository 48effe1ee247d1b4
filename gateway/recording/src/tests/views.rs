//! Casts, transcripts and playing.

use proptest::prelude::*;

use super::*;
use crate::{CastVersion, Damage, ReadError, ViewError};

fn cast(recording: &Recording, version: CastVersion) -> Vec<String> {
    let out = recording.write_cast(version, Vec::new(), "no end").unwrap();
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

fn text(recording: &Recording) -> String {
    String::from_utf8(recording.write_text(Vec::new(), "no end").unwrap()).unwrap()
}

fn size(text: &str) -> (Way, Event<'_>) {
    let (channel, bytes) = (Channel::Resize, text.as_bytes());
    (Way::Up, Event::Data { channel, bytes })
}

#[test]
fn a_terminal_becomes_a_cast_of_both_versions() {
    let failed = br#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
    let (_folder, recording) = recorded(
        head(&["sh", "-l"], true),
        &[
            (1_000, down(Channel::Stdout, b"$ \xe2\x82")),
            (2_500, size(r#"{"Width":100,"Height":30}"#)),
            (2_500_001, down(Channel::Stdout, b"\xac\r\n\xff\x1b[1m\"")),
            (2_600_000, size(r#"{"Width":90,"Height":30}"#)),
            (2_600_000, size(r#"{"Width":90,"Height":30}"#)),
            (3_000_000, down(Channel::Status, failed)),
        ],
    );
    let v3 = cast(&recording, CastVersion::V3);
    assert_eq!(
        v3,
        [
            r#"{"version":3,"term":{"cols":100,"rows":30},"timestamp":1800000000,"command":"sh -l","title":"web-0"}"#,
            r#"[0.001000, "o", "$ "]"#,
            r#"[2.499001, "o", "€\r\n�\u001b[1m\""]"#,
            r#"[0.099999, "r", "90x30"]"#,
            r#"[0.400000, "x", "3"]"#,
        ]
    );
    let v2 = cast(&recording, CastVersion::V2);
    assert_eq!(
        v2,
        [
            r#"{"version":2,"width":100,"height":30,"timestamp":1800000000,"command":"sh -l","title":"web-0"}"#,
            r#"[0.001000, "o", "$ "]"#,
            r#"[2.500001, "o", "€\r\n�\u001b[1m\""]"#,
            r#"[2.600000, "r", "90x30"]"#,
        ]
    );
}

#[test]
fn without_a_size_a_cast_has_the_usual_one() {
    let (_folder, recording) = recorded(
        head(&["sh"], true),
        &[
            (1, down(Channel::Stdout, b"a")),
            (500_002, size(r#"{"Width":100,"Height":30}"#)),
            (500_003, down(Channel::Stdout, b"b")),
        ],
    );
    let lines = cast(&recording, CastVersion::V3);
    assert!(lines[0].contains(r#""term":{"cols":80,"rows":24}"#));
    assert_eq!(lines[2], r#"[0.500001, "r", "100x30"]"#);
}

#[test]
fn without_a_terminal_lines_end_as_a_screen_needs_it() {
    let stdin = (
        Way::Up,
        Event::Data {
            channel: Channel::Stdin,
            bytes: b"in\n",
        },
    );
    let (_folder, recording) = recorded(
        head(&["cat"], false),
        &[
            (1, stdin),
            (2, down(Channel::Stdout, b"a\nb\r")),
            (3, down(Channel::Stderr, b"e\n")),
            (4, down(Channel::Stdout, b"\nghp_x")),
            (5, down(Channel::Stdout, b"\xc3")),
        ],
    );
    let lines = cast(&recording, CastVersion::V3);
    assert_eq!(
        lines[1..],
        [
            r#"[0.000001, "i", "in\n"]"#,
            r#"[0.000001, "o", "a\r\nb\r"]"#,
            r#"[0.000001, "o", "e\r\n"]"#,
            r#"[0.000001, "o", "\nghp_*"]"#,
            r#"[0.000001, "m", "masked: GitHub token (1)"]"#,
            r#"[0.000000, "o", "�"]"#,
        ]
    );
}

#[test]
fn a_transcript_is_what_the_lines_came_to() {
    let (_folder, recording) = recorded(
        head(&["sh"], true),
        &[
            (1, down(Channel::Stdout, b"\x1b]0;title\x07$ \x1b[32mls\x1b[0m\r\n")),
            (2, down(Channel::Stdout, b"10%\r50%\r100% done   \r\n")),
            (
                3,
                down(
                    Channel::Stdout,
                    b"mistooke\x08\x08\x08\x1b[Kke\r\nabcdef\x1b[3D\x1b[2Px\r\n",
                ),
            ),
            (
                4,
                down(
                    Channel::Stdout,
                    b"\x1b[?1049h\x1b[Hfull screen\x1b[2;2Hvim\x1b[?1049l$ \xe2\x82",
                ),
            ),
            (5, down(Channel::Stdout, b"\xac")),
        ],
    );
    assert_eq!(
        text(&recording),
        "$ ls\n100% done\nmistoke\nabcx\n[a full-screen program: 31 bytes left out]\n$ €\n"
    );
}

#[test]
fn what_the_cluster_says_is_one_line_of_a_transcript() {
    let said = "no such\x1b[2J\u{202e} file\r\n[exit 0]\n";
    let (_folder, recording) = recorded(head(&["sh"], true), &[(1, down(Channel::Status, said.as_bytes()))]);
    assert_eq!(text(&recording), "[no such\\u{1b}[2J\\u{202e} file\\r\\n[exit 0]]\n");
}

/// Somebody who is recorded types what would hide, erase or forge what stands behind it.
#[test]
fn nothing_that_is_typed_hides_what_is_typed_behind_it() {
    let (channel, message) = (Channel::Stdin, Channel::Message { is_text: true });
    let up = |channel, bytes: &'static [u8]| (Way::Up, Event::Data { channel, bytes });
    let (_folder, recording) = recorded(
        head(&["sh"], false),
        &[
            (1, up(channel, b"# \x1b[?1049h\n")),
            (2, up(channel, b"cat secret\n# \x1b]0;")),
            (3, up(channel, b"never\nrm -rf /\r# nothing\x08\x1b[2K\n\n")),
            (4, down(Channel::Stdout, b"out\n")),
        ],
    );
    assert_eq!(
        text(&recording),
        "> # \\u{1b}[?1049h\n> cat secret\n> # \\u{1b}]0;never\n> rm -rf /\\r# nothing\\u{8}\\u{1b}[2K\n> \nout\n"
    );
    let back = (
        Way::Down,
        Event::Data {
            channel: message,
            bytes: b"\x1b[?1049h\nanswer\n",
        },
    );
    let (_folder, recording) = recorded(
        head(&[], false),
        &[
            (1, up(message, b"\x1b[?1049h\nask\n")),
            (2, back),
            (3, up(message, b"\x1b[?1049l")),
        ],
    );
    let said = text(&recording);
    let lines: Vec<_> = said.lines().take(5).collect();
    assert_eq!(
        lines,
        [
            "> \\u{1b}[?1049h",
            "> ask",
            "< \\u{1b}[?1049h",
            "< answer",
            "> \\u{1b}[?1049l"
        ]
    );
}

#[test]
fn no_line_of_output_looks_like_one_of_ours() {
    let failed = br#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
    for (shown, told) in [
        ("> typed", "\\> typed"),
        ("< answered", "\\< answered"),
        ("! an error", "\\! an error"),
        ("[exit 0]", "\\[exit 0]"),
        (
            "[a full-screen program: 7 bytes left out]",
            "\\[a full-screen program: 7 bytes left out]",
        ),
        ("\\[exit 0]", "\\\\[exit 0]"),
        ("\x1b[5G[exit 0]", "    [exit 0]"),
        ("forged\r[exit 0]", "\\[exit 0]"),
        (" [exit 0]", " [exit 0]"),
        ("\u{200b}[exit 0]", "\\\u{200b}[exit 0]"),
        ("\u{feff}\u{200a}> typed", "\\\u{feff}\u{200a}> typed"),
        ("\x7f[exit\x7f 0]", "\\[exit 0]"),
        ("out\u{2028}[exit 0]", "out\u{fffd}[exit 0]"),
        ("\u{202e}]0 tixe[", "\u{fffd}]0 tixe["),
        ("plain [1]", "plain [1]"),
        ("'>'", "'>'"),
    ] {
        let shown = format!("{shown}\r\n");
        let (_folder, recording) = recorded(
            head(&["sh"], true),
            &[
                (1, down(Channel::Stdout, shown.as_bytes())),
                (2, down(Channel::Status, failed)),
            ],
        );
        assert_eq!(text(&recording), format!("{told}\n[exit 3]\n"), "{shown:?}");
    }
    // Without a terminal nothing moves or hides anything.
    for (shown, told) in [
        ("> typed", "\\> typed"),
        ("[exit 0]", "\\[exit 0]"),
        ("\\[exit 0]", "\\\\[exit 0]"),
        ("\x1b[5G[exit 0]", "\\u{1b}[5G[exit 0]"),
        ("forged\r[exit 0]", "forged\\r[exit 0]"),
        (" [exit 0]", " [exit 0]"),
        ("\u{200b}[exit 0]", "\\\u{200b}[exit 0]"),
        ("\x7f[exit\x7f 0]", "\\u{7f}[exit\\u{7f} 0]"),
        ("out\u{2028}[exit 0]", "out\\u{2028}[exit 0]"),
        ("plain [1]", "plain [1]"),
    ] {
        let shown = format!("{shown}\n");
        let (_folder, recording) = recorded(
            head(&["sh"], false),
            &[
                (1, down(Channel::Stdout, shown.as_bytes())),
                (2, down(Channel::Status, failed)),
            ],
        );
        assert_eq!(text(&recording), format!("{told}\n[exit 3]\n"), "{shown:?}");
    }
    let long = [vec![b'a'; 4096], b"[exit 0]\n".to_vec()].concat();
    let (_folder, recording) = recorded(head(&["sh"], true), &[(1, down(Channel::Stdout, &long))]);
    assert!(
        text(&recording).ends_with("a\n\\[exit 0]\n"),
        "a line that was broken off"
    );
    let error = down(Channel::Stderr, b"! [exit 0]\n");
    let (_folder, recording) = recorded(head(&["sh"], false), &[(1, error)]);
    assert_eq!(text(&recording), "! ! [exit 0]\n", "its mark stands in front");
}

/// No terminal swallows what goes into a file.
#[test]
fn without_a_terminal_no_output_hides_output() {
    for hides in [
        "\x1b]",
        "\x1bP",
        "\x1b_",
        "\x1b^",
        "\x1bX",
        "\x1b[?1049h",
        "\x1b",
        "a\r",
        "\x1b[2K\x1b[1A",
        "\x1b[8m",
    ] {
        let shown = format!("{hides}\ncustomer 1\r\ncustomer 2");
        for (channel, mark) in [(Channel::Stdout, ""), (Channel::Stderr, "! ")] {
            let (_folder, recording) = recorded(head(&["sh"], false), &[(1, down(channel, shown.as_bytes()))]);
            let escaped = hides.replace('\x1b', "\\u{1b}").replace('\r', "\\r");
            assert_eq!(
                text(&recording),
                format!("{mark}{escaped}\n{mark}customer 1\\r\n{mark}customer 2\n"),
                "{hides:?}"
            );
        }
    }
}

/// A terminal draws nothing of these, so no line of text shows it: how much it was is said.
#[test]
fn what_a_terminal_swallows_is_counted_where_it_is_long_or_has_no_end() {
    let long = "x".repeat(5000);
    for (begins, swallowed, ends) in [
        ("\x1b]0;", long.clone(), "\x07"),
        ("\x1b]52;c;", long.clone(), "\x1b\\"),
        ("\x1bP", long.clone(), "\x1b\\"),
        ("\x1bP1;2$q", long.clone(), "\x18"),
        ("\x1bP1<", long.clone(), "\x1b\\"),
        ("\x1bX", long.clone(), "\x1a"),
        ("\x1b^", long.clone(), "\x1b\\"),
        ("\x1b_", long, "\x1b\\"),
        // Not only strings: what no sequence has, or has without an end.
        ("\x1b[", "4111;".repeat(1000), "m"),
        ("\x1b[", "漢".repeat(5000), "m"),
        ("\x1b", "漢".repeat(5000), "c"),
        ("\x1b(", "#".repeat(5000), "B"),
    ] {
        // All behind ESC.
        let letters = begins.chars().count() - 1 + swallowed.chars().count();
        let note = format!("[a control string: {letters} letters left out]\n");
        let shown = |output: &str, cut: usize| {
            let pieces: Vec<_> = output
                .as_bytes()
                .chunks(cut)
                .map(|piece| (1, down(Channel::Stdout, piece)))
                .collect();
            let (_folder, recording) = recorded(head(&["sh"], true), &pieces);
            text(&recording)
        };
        for cut in [777, 4096, 100_000] {
            let whole = format!("before\r\n{begins}{swallowed}{ends}\r\nbehind\r\n");
            let told = shown(&whole, cut);
            assert!(
                told.starts_with(&format!("before\n{note}")) && told.ends_with("behind\n"),
                "{begins:?} {cut}: {told}"
            );
            assert_eq!(told.matches("left out").count(), 1, "{begins:?} {cut}");
            // It has no end: also where it is short.
            for (part, letters) in [
                (swallowed.as_str(), letters),
                ("#", letters - swallowed.chars().count() + 1),
            ] {
                let told = shown(&format!("before\r\n{begins}{part}"), cut);
                assert_eq!(
                    told,
                    format!("before\n[a control string: {letters} letters left out]\n"),
                    "{begins:?} {cut}"
                );
            }
        }
        let short = shown(&format!("before\r\n{begins}{ends}behind\r\n"), 100);
        assert!(!short.contains("left out"), "{short}");
    }
    // What a program on the other screen draws is counted with all else there.
    let shown = format!("\x1b[?1049h\x1b]0;{}\x07\x1b[?1049l", "x".repeat(5000));
    let (_folder, recording) = recorded(head(&["sh"], true), &[(1, down(Channel::Stdout, shown.as_bytes()))]);
    assert_eq!(text(&recording), "[a full-screen program: 5013 bytes left out]\n");
}

#[test]
fn a_transcript_without_a_terminal_tells_the_streams_apart() {
    let stdin = (
        Way::Up,
        Event::Data {
            channel: Channel::Stdin,
            bytes: b"in\n",
        },
    );
    let (_folder, recording) = recorded(
        head(&["cat"], false),
        &[
            (1, stdin),
            (2, down(Channel::Stdout, b"out\n")),
            (3, down(Channel::Stderr, b"err")),
            (4, down(Channel::Status, br#"{"status":"Success"}"#)),
        ],
    );
    assert_eq!(text(&recording), "> in\nout\n! err\n[exit 0]\n");
}

#[test]
fn messages_of_a_websocket_are_no_output_and_stand_in_their_order() {
    let channel = Channel::Message { is_text: true };
    let message = |way, text: &'static str| {
        let bytes = text.as_bytes();
        (way, Event::Data { channel, bytes })
    };
    let (_folder, recording) = recorded(
        head(&[], false),
        &[
            (1, message(Way::Up, r#"{"ask":1}"#)),
            (2, message(Way::Down, "one\n")),
            (3, message(Way::Down, "two")),
            (4, message(Way::Up, r#"{"ask":2}"#)),
            (5, message(Way::Down, "three")),
        ],
    );
    assert_eq!(
        text(&recording),
        "> {\"ask\":1}\n< one\n< two\n> {\"ask\":2}\n< three\n[messages: 18 bytes sent, 12 received]\n"
    );
}

#[test]
fn files_and_connections_stand_in_a_transcript() {
    let web = Channel::Forward {
        connection: 0,
        port: 80,
    };
    let (_folder, recording) = recorded(
        head(&[], false),
        &[
            (
                1,
                (
                    Way::Up,
                    Event::Data {
                        channel: web,
                        bytes: b"GET",
                    },
                ),
            ),
            (2, (Way::Up, Event::Closed { channel: web })),
            (2, (Way::Down, Event::Closed { channel: web })),
        ],
    );
    assert_eq!(
        text(&recording),
        "[connection 0 to port 80: 3 bytes to the pod, 0 from it]\n"
    );
    assert_eq!(
        cast(&recording, CastVersion::V3)[1..],
        [r#"[0.000002, "m", "connection 0 to port 80: 3 bytes to the pod, 0 from it"]"#]
    );
    let (_folder, recording) = recorded(head(&["sh"], false), &[(1, down(Channel::Status, b"no such file"))]);
    for version in [CastVersion::V2, CastVersion::V3] {
        assert_eq!(cast(&recording, version)[1..], [r#"[0.000001, "m", "no such file"]"#]);
    }
}

#[test]
fn a_damaged_recording_is_shown_up_to_the_damage_and_says_so() {
    let events: Vec<_> = (1..=9_u64)
        .map(|second| (second * 3_000_000, down(Channel::Stdout, b"line\n")))
        .collect();
    let (folder, recording) = recorded(head(&["sh"], true), &events);
    let path = std::fs::read_dir(folder.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert!(recording.survey().root.chunks > 3);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let damaged = Recording::open(&path, &SessionKey::new(KEY), &[]).unwrap();
    let mut out = Vec::new();
    let error = damaged.write_text(&mut out, "no end").unwrap_err();
    assert!(
        matches!(error, ViewError::Read(ReadError::Damaged(Damage::Corrupt { .. }))),
        "{error:?}"
    );
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with("line\nline\n"));
    assert!(
        out.ends_with("line\n[the recording cannot be shown further: the recording is damaged]\n"),
        "{out}"
    );
    let mut out = Vec::new();
    damaged.write_cast(CastVersion::V2, &mut out, "no end").unwrap_err();
    let out = String::from_utf8(out).unwrap();
    let last = out.lines().last().unwrap();
    assert!(
        last.ends_with(r#", "m", "the recording cannot be shown further: the recording is damaged"]"#),
        "{last}"
    );
}

/// As a crash leaves it.
#[test]
fn a_view_says_that_the_recording_has_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let head = head(&["sh"], true);
    let mut sealer = Sealer::create(folder.path(), head.session, &SessionKey::new(KEY)).unwrap();
    let mut recorder = Recorder::new(head, Rules::default());
    let (way, event) = down(Channel::Stdout, b"$ \xe2");
    recorder.event(1, way, event);
    sealer.seal(&recorder.take(2).unwrap()).unwrap();
    let recording = Recording::open(sealer.path(), &SessionKey::new(KEY), &[]).unwrap();
    assert_eq!(text(&recording), "$\n[no end]\n");
    for version in [CastVersion::V2, CastVersion::V3] {
        let lines = cast(&recording, version);
        let last = lines.last_chunk::<2>().unwrap();
        assert!(last[0].ends_with(r#", "o", "�"]"#), "{lines:?}");
        assert!(last[1].ends_with(r#", "m", "no end"]"#), "{lines:?}");
    }
}

proptest! {
    #[test]
    fn any_frames_make_a_cast_of_json_lines(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        crate::fuzz_asciicast(&bytes);
    }

    #[test]
    fn data_frames_make_a_cast_of_json_lines(
        frames in prop::collection::vec((prop::sample::select(vec![0x80_u8, 1, 2]), prop::collection::vec(any::<u8>(), 0..40)), 0..12),
        first: u8,
    ) {
        let mut bytes = vec![first];
        for (channel, data) in &frames {
            bytes.extend([2, 9, u8::try_from(data.len() + 1).unwrap(), *channel]);
            bytes.extend(data);
        }
        crate::fuzz_asciicast(&bytes);
    }

    #[test]
    fn text_that_is_cut_anywhere_is_the_same_text(text in ".{0,60}", cut in 1..7_usize) {
        let mut utf8 = crate::cast::Utf8::default();
        let mut out: String = text.as_bytes().chunks(cut).map(|piece| utf8.text(piece)).collect();
        out.push_str(&utf8.finish());
        prop_assert_eq!(out, text);
    }
}

#[test]
fn promise_8_a_view_is_given_up_also_where_it_has_nothing_to_write() {
    let large = b"a".repeat(1 << 20);
    let (channel, port) = (
        Channel::Forward { connection: 0, port: 1 },
        Channel::Message { is_text: false },
    );
    let silent = [
        down(Channel::Stdout, b"\x1b]"),
        down(Channel::Stdout, &large),
        down(channel, &large),
        down(port, b"a"),
    ];
    let events: Vec<_> = silent
        .iter()
        .copied()
        .cycle()
        .take(40)
        .zip(1..)
        .map(|(event, at)| (at, event))
        .collect();
    let (_folder, recording) = recorded(head(&["sh"], true), &events);
    for gives_up_after in [0, 1, 7, 30] {
        let mut asked = 0;
        let mut go_on = || {
            asked += 1;
            asked <= gives_up_after
        };
        let text = recording.write_text_while(Vec::new(), "no end", &mut go_on);
        assert!(matches!(text, Err(ViewError::GivenUp)), "{text:?}");
        assert_eq!(std::mem::take(&mut asked), gives_up_after + 1, "it is asked no more");
        let mut go_on = || {
            asked += 1;
            asked <= gives_up_after
        };
        let cast = recording.write_cast_while(CastVersion::V3, Vec::new(), "no end", &mut go_on);
        assert!(matches!(cast, Err(ViewError::GivenUp)), "{cast:?}");
        assert_eq!(asked, gives_up_after + 1);
    }
    // A large frame is a long way, too.
    let mut asked = 0_usize;
    let mut go_on = || {
        asked += 1;
        true
    };
    recording.write_text_while(Vec::new(), "no end", &mut go_on).unwrap();
    assert!(asked >= 10 * (1 << 20) / 4096, "{asked}");
}

/// A line that a program shifts, erases and writes anew for ever comes to what a terminal would show.
#[test]
fn a_line_that_is_moved_out_of_sight_is_what_is_left_of_it() {
    let line = "abc".repeat(2000);
    let shown = |bytes: &[u8]| {
        let (_folder, recording) = recorded(head(&["sh"], true), &[(1, down(Channel::Stdout, bytes))]);
        text(&recording)
    };
    assert_eq!(shown(b"abcdef\x1b[4G\x1b[2@\r\n"), "abc  def\n");
    assert_eq!(shown(b"abcdef\x1b[4G\x1b[4096@x\r\n"), "abcx\n");
    assert_eq!(shown(b"abcdef\x1b[4G\x1b[K\x1b[2@x\r\n"), "abcx\n");
    assert_eq!(shown(b"abcdef\x1b[9G\x1b[2@x\r\n"), "abcdef  x\n");
    let shifted = [&line.as_bytes()[..4096], b"\r\x1b[4095@\r\n"].concat();
    assert_eq!(shown(&shifted), format!("{}a\n", " ".repeat(4095)));
    assert_eq!(shown(b"abcdef\x1b[3G\x1b[1K\x1b[6Gx\r\n"), "   dex\n");
}

#[test]
fn what_control_frames_carried_stands_in_every_view() {
    let control = |way, kind, bytes| (way, Event::Control { kind, bytes });
    let (_folder, recording) = recorded(
        head(&[], false),
        &[
            (1, control(Way::Up, Control::Ping, b"\x1b]52;\xff\n[exit 0]")),
            (2, control(Way::Down, Control::Pong, b"answer")),
            (3, control(Way::Down, Control::Close, b"\x03\xe8bye ")),
            (4, control(Way::Up, Control::Close, b"\x03\xe9")),
        ],
    );
    let told = [
        r"ping sent: \x1b]52;\xff\n[exit 0]",
        "pong received: answer",
        "close received: 1000 bye",
        "close sent: 1001",
    ];
    let lines: String = told.iter().map(|line| format!("[{line}]\n")).collect();
    assert_eq!(text(&recording), lines);
    let marks: Vec<String> = cast(&recording, CastVersion::V2).into_iter().skip(1).collect();
    for (mark, told) in marks.iter().zip(told) {
        assert!(mark.contains(&serde_json::to_string(told).unwrap()), "{mark}");
    }
    assert_eq!(marks.len(), told.len());
}
