//! What the recorder keeps of which session.

mod connections;

use model::time::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::frame::FrameIter;
use crate::head::Kind;
use crate::mask::Secret;

fn head(command: &[&str], terminal: bool) -> Head {
    Head {
        session: Uuid::from_u128(7),
        kind: Kind::Exec,
        cluster: "demo".into(),
        who: "alice@example.com".into(),
        namespace: "default".into(),
        pod: "web-0".into(),
        container: None,
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        terminal,
        input_kept: false,
        reason: None,
        started: Timestamp::from_unix_seconds(1_800_000_000),
    }
}

fn ended() -> Ended {
    Ended {
        how: "ended".into(),
        why: None,
    }
}

fn data(channel: Channel, bytes: &[u8]) -> Event<'_> {
    Event::Data { channel, bytes }
}

/// What a recording says: neighbouring data of one stream as one, everything else as text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Data(Way, Channel, Vec<u8>),
    Other(String),
}

fn said(chunks: &[Chunk]) -> Vec<Said> {
    let mut out = Vec::new();
    let mut number = 0;
    for (place, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk.number(), place as u64);
        assert!(chunk.bytes().len() <= crate::MAX_PLAIN_BYTES);
        let mut last = chunk.from_micros();
        let mut frames = 0;
        for stamped in FrameIter::new(chunk.bytes()).unwrap() {
            let stamped = stamped.unwrap();
            assert_eq!(stamped.number, number, "frames are numbered over all chunks");
            assert!(stamped.at_micros >= last, "time never goes back");
            (last, number, frames) = (stamped.at_micros, number + 1, frames + 1);
            match (stamped.frame, out.last_mut()) {
                (Frame::Data { way, channel, bytes }, Some(Said::Data(w, c, all))) if (way, channel) == (*w, *c) => {
                    all.extend_from_slice(bytes);
                }
                (Frame::Data { way, channel, bytes }, _) => out.push(Said::Data(way, channel, bytes.to_vec())),
                (Frame::Head(json) | Frame::End(json), _) => {
                    out.push(Said::Other(String::from_utf8(json.to_vec()).unwrap()));
                }
                (frame, _) => out.push(Said::Other(format!("{frame:?}"))),
            }
        }
        assert_eq!((frames, last), (chunk.frames(), chunk.until_micros()));
        assert_eq!(chunk.is_last(), place + 1 == chunks.len());
    }
    out
}

fn record(head: Head, events: &[(u64, Way, Event<'_>)]) -> Vec<Said> {
    let mut recorder = Recorder::new(head, Rules::default());
    for (at, way, event) in events {
        recorder.event(*at, *way, *event);
    }
    let at = events.last().map_or(0, |(at, ..)| *at);
    said(&recorder.finish(at, ended()))
}

/// All bytes of one stream.
fn stream(said: &[Said], wanted: Channel) -> Vec<u8> {
    let of = |said: &Said| match said {
        Said::Data(_, channel, bytes) if *channel == wanted => bytes.clone(),
        _ => Vec::new(),
    };
    said.iter().flat_map(of).collect()
}

fn others(said: &[Said]) -> Vec<&str> {
    said.iter()
        .filter_map(|said| match said {
            Said::Other(text) => Some(text.as_str()),
            Said::Data(..) => None,
        })
        .collect()
}

#[test]
fn without_a_terminal_each_byte_of_each_stream_is_kept_in_order() {
    let all: Vec<u8> = (0..=255).collect();
    let said = record(
        head(&["cat"], false),
        &[
            (1, Way::Up, data(Channel::Stdin, &all)),
            (2, Way::Down, data(Channel::Stdout, b"one")),
            (3, Way::Down, data(Channel::Stderr, b"two")),
            (4, Way::Down, data(Channel::Stdout, b"three")),
            (
                5,
                Way::Up,
                Event::Closed {
                    channel: Channel::Stdin,
                },
            ),
        ],
    );
    assert_eq!(said[1], Said::Data(Way::Up, Channel::Stdin, all));
    assert_eq!(said[2], Said::Data(Way::Down, Channel::Stdout, b"one".to_vec()));
    assert_eq!(said[3], Said::Data(Way::Down, Channel::Stderr, b"two".to_vec()));
    assert_eq!(said[4], Said::Data(Way::Down, Channel::Stdout, b"three".to_vec()));
    assert_eq!(said[5], Said::Other("Closed { way: Up, channel: Stdin }".into()));
    let end = others(&said).last().unwrap().to_string();
    assert_eq!(
        end,
        r#"{"how":"ended","up":256,"down":11,"masked":0,"files":0,"connections":0}"#
    );
}

#[test]
fn what_is_typed_into_a_terminal_is_counted_and_not_kept() {
    let said = record(
        head(&["sh"], true),
        &[
            (1, Way::Down, data(Channel::Stdout, b"Password: ")),
            (2, Way::Up, data(Channel::Stdin, b"hunt")),
            (3, Way::Up, data(Channel::Stdin, b"er2\r")),
        ],
    );
    assert_eq!(stream(&said, Channel::Stdin), b"");
    assert_eq!(stream(&said, Channel::Stdout), b"Password: ");
    let others = others(&said);
    assert_eq!(others[1], "Note { noted: InputNotKept, count: 1, text: [] }");
    assert_eq!(others[2], "Counted { way: Up, channel: Stdin, bytes: 8 }");
    assert!(!format!("{said:?}").contains("hunt"));
}

#[test]
fn what_is_typed_is_kept_where_nobody_can_say_that_it_echoes() {
    let typed = |line: &'static [u8]| (1, Way::Up, data(Channel::Stdin, line));
    let says = |line: &'static [u8]| (2, Way::Down, data(Channel::Stdout, line));
    let kept = |kind, input_kept, events: &[(u64, Way, Event<'static>)]| {
        let head = Head {
            kind,
            input_kept,
            ..head(&[], true)
        };
        String::from_utf8(stream(&record(head, events), Channel::Stdin)).unwrap()
    };
    assert_eq!(kept(Kind::Exec, true, &[typed(b"id\r")]), "id\r");
    // Of an attached process its output tells: a terminal returns before each line feed.
    let attach = |events: &[_]| kept(Kind::Attach, false, events);
    assert_eq!(
        attach(&[typed(b"hunter2\r"), says(b"no line")]),
        "",
        "what may be a password"
    );
    assert_eq!(attach(&[typed(b"id\n"), says(b"uid=0\n"), typed(b"ls\n")]), "id\nls\n");
    assert_eq!(attach(&[says(b"user:\r"), says(b"\npass: "), typed(b"hunter2\r")]), "");
    assert_eq!(attach(&[typed(b"hunter2\r"), says(b"\r\n"), typed(b"x")]), "");
    assert_eq!(
        attach(&[says(b"no\n"), typed(b"seen"), says(b"ok\r\n"), typed(b"hidden")]),
        "seen"
    );
    let raw_mode = [
        says(b"$ vi\r\n"),
        says(b"~\n~\n"),
        typed(b":q\r"),
        says(b"$ "),
        typed(b"hunter2\r"),
    ];
    assert_eq!(attach(&raw_mode), "", "a terminal in raw mode is one still");
}

#[test]
fn more_than_may_wait_for_a_line_of_output_is_counted() {
    let head = Head {
        kind: Kind::Attach,
        ..head(&[], true)
    };
    let long = vec![b'x'; MOST_WAITING + 1];
    let (up, down) = (
        |bytes| (1, Way::Up, data(Channel::Stdin, bytes)),
        |bytes| (2, Way::Down, data(Channel::Stdout, bytes)),
    );
    let said = record(head, &[up(&long), up(b"id\n"), down(b"uid=0\n"), up(b"ls\n")]);
    assert_eq!(
        stream(&said, Channel::Stdin),
        b"id\nls\n",
        "as soon as there is no terminal, it is kept"
    );
    let counted = format!("Counted {{ way: Up, channel: Stdin, bytes: {} }}", long.len());
    assert!(others(&said).contains(&counted.as_str()), "{:?}", others(&said));
}

#[test]
fn messages_of_another_meaning_are_kept_masked_and_counted() {
    let text = Channel::Message { is_text: true };
    let said = record(
        Head {
            kind: Kind::Proxy,
            ..head(&[], false)
        },
        &[
            (1, Way::Up, data(text, b"login password=hunter2\n")),
            (2, Way::Down, data(text, b"welcome")),
            (9_000_000, Way::Down, data(text, b"!")),
        ],
    );
    let kept = String::from_utf8(stream(&said, text)).unwrap();
    assert_eq!(kept, "login password=*******\nwelcome!");
    let others = others(&said);
    assert!(!others.iter().any(|one| one.starts_with("Counted")), "{others:?}");
    let end = others.iter().find(|one| one.starts_with("Connection")).unwrap();
    assert!(end.contains("up: 23, down: 8"), "{end}");
}

#[test]
fn secrets_are_masked_counted_and_told() {
    let said = record(
        head(&["mysql", "--password", "hunter2", "-e", "x"], false),
        &[
            (1, Way::Down, data(Channel::Stdout, b"TOKEN=ab")),
            (2, Way::Down, data(Channel::Stderr, b"ghp_zz")),
            (3, Way::Down, data(Channel::Stdout, b"cd\n")),
        ],
    );
    assert_eq!(stream(&said, Channel::Stdout), b"TOKEN=****\n");
    assert_eq!(stream(&said, Channel::Stderr), b"ghp_**");
    let others = others(&said);
    assert!(
        others[0].contains(r#""command":["mysql","--password","*******","-e","x"]"#),
        "{}",
        others[0]
    );
    assert_eq!(others[1], "Note { noted: Masked(GithubToken), count: 1, text: [] }");
    assert_eq!(others[2], "Note { noted: Masked(Assignment), count: 2, text: [] }");
    assert!(others[3].contains(r#""masked":3"#));
}

#[test]
fn with_masking_off_everything_is_kept() {
    let rules = Rules {
        masking: Masking::DangerOff,
        ..Rules::default()
    };
    let mut recorder = Recorder::new(head(&["x", "--token=abc"], false), rules);
    recorder.event(1, Way::Down, data(Channel::Stdout, b"TOKEN=abc"));
    let said = said(&recorder.finish(2, ended()));
    assert!(others(&said)[0].contains("--token=abc"));
    assert_eq!(stream(&said, Channel::Stdout), b"TOKEN=abc");
}

#[test]
fn sizes_of_the_terminal_are_read_however_they_are_cut() {
    let text = br#"{"Width":120,"Height":40}
{"Width":80,"Height":24}"#;
    for piece in [1, 3, 7, 100] {
        let events: Vec<_> = text
            .chunks(piece)
            .map(|piece| (1, Way::Up, data(Channel::Resize, piece)))
            .collect();
        let said = record(head(&["sh"], true), &events);
        assert_eq!(
            others(&said)[1..3],
            ["Resize { columns: 120, rows: 40 }", "Resize { columns: 80, rows: 24 }"]
        );
    }
    for bad in [
        &b"{\"Width\":-1,\"Height\":2}{\"Width\":1,\"Height\":2}"[..],
        &[b'x'; 1000],
    ] {
        let said = record(head(&["sh"], true), &[(1, Way::Up, data(Channel::Resize, bad))]);
        assert_eq!(others(&said)[1], "Note { noted: SizeUnread, count: 1, text: [] }");
        assert_eq!(others(&said).len(), 3, "it is told once");
    }
}

fn exit_of_status(status: &str) -> (Option<u32>, String) {
    let mut found = Vec::new();
    for piece in [1, 5, 10_000] {
        let mut recorder = Recorder::new(head(&["sh"], false), Rules::default());
        for piece in status.as_bytes().chunks(piece) {
            recorder.event(1, Way::Down, data(Channel::Status, piece));
        }
        let mut text = None;
        let mut totals = None;
        for chunk in recorder.finish(2, ended()) {
            for stamped in FrameIter::new(chunk.bytes()).unwrap() {
                match stamped.unwrap().frame {
                    Frame::Status { text: said, .. } => text = Some(String::from_utf8(said.to_vec()).unwrap()),
                    Frame::End(json) => totals = serde_json::from_slice::<Finish>(json).ok(),
                    _ => {}
                }
            }
        }
        found.push((totals.unwrap().totals.exit, text.unwrap()));
    }
    assert!(found.iter().all(|one| *one == found[0]), "{found:?}");
    found.remove(0)
}

#[test]
fn the_exit_code_is_read_from_the_status() {
    let success = r#"{"metadata":{},"status":"Success"}"#;
    assert_eq!(exit_of_status(success), (Some(0), String::new()));
    let failure = r#"{"metadata":{},"status":"Failure","message":"command terminated with \"}\" exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
    let said = "command terminated with \"}\" exit code 3".to_owned();
    assert_eq!(exit_of_status(failure), (Some(3), said));
    let internal =
        r#"{"status":"Failure","message":"container gone, password=abc","reason":"InternalError","code":500}"#;
    assert_eq!(exit_of_status(internal), (None, "container gone, password=***".into()));
    assert_eq!(
        exit_of_status("exit status 2"),
        (None, "exit status 2".into()),
        "protocols v1 to v3"
    );
    assert_eq!(exit_of_status("{\"status\":").0, None);
}

#[test]
fn a_copy_out_of_the_pod_is_kept_as_names_and_digests() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret.txt"), b"contents").unwrap();
    let tar = std::process::Command::new("tar")
        .args(["-cf", "-", "-C"])
        .arg(folder.path())
        .arg("secret.txt")
        .output()
        .unwrap()
        .stdout;
    for command in [
        &["tar", "cf", "-", "/data/secret.txt"][..],
        &["sh", "-c", "tar cf - /data/secret.txt | tail -c+0"],
    ] {
        let events: Vec<_> = tar
            .chunks(100)
            .map(|piece| (1, Way::Down, data(Channel::Stdout, piece)))
            .collect();
        let said = record(head(command, false), &events);
        assert_eq!(stream(&said, Channel::Stdout), b"");
        let file = others(&said)[1];
        assert!(file.starts_with("File(TarFile { way: Down, kind: 48,"), "{file}");
        assert!(others(&said)[2].contains(r#""files":1"#));
    }
}

#[test]
fn what_is_no_archive_is_kept_although_the_command_is_tar() {
    let said = record(
        head(&["tar", "-xmf", "-", "-C", "/tmp"], false),
        &[
            (1, Way::Up, data(Channel::Stdin, b"rm -rf")),
            (2, Way::Up, data(Channel::Stdin, &[b' '; 600])),
            (
                3,
                Way::Down,
                data(Channel::Stderr, b"tar: This does not look like a tar archive"),
            ),
        ],
    );
    let kept = stream(&said, Channel::Stdin);
    assert_eq!((kept.len(), &kept[..6]), (606, &b"rm -rf"[..]));
    assert!(others(&said)[1].starts_with("Note { noted: TarUnread"));
    assert!(stream(&said, Channel::Stderr).starts_with(b"tar: This"));
    let cut = record(
        head(&["tar", "xf", "-"], false),
        &[(1, Way::Up, data(Channel::Stdin, b"short"))],
    );
    assert_eq!(stream(&cut, Channel::Stdin), b"short");
}

#[test]
fn only_plain_tar_commands_are_a_copy() {
    let of = |words: &[&str]| copy::of(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    let (down, up) = (Some((Way::Down, Channel::Stdout)), Some((Way::Up, Channel::Stdin)));
    assert_eq!(of(&["tar", "cf", "-", "/etc/hosts"]), down);
    assert_eq!(of(&["tar", "-xmf", "-"]), up);
    assert_eq!(of(&["tar", "-xmf", "-", "-C", "/tmp"]), up);
    assert_eq!(
        of(&[
            "tar",
            "--no-same-permissions",
            "--no-same-owner",
            "-xmf",
            "-",
            "-C",
            "/"
        ]),
        up
    );
    assert_eq!(of(&["sh", "-c", "tar cf - /data | tail -c+0"]), down);
    for other in [
        &["tar", "czf", "-", "/etc"][..],
        &["tar", "cf", "/tmp/x", "/etc"],
        &["tar", "cf", "-", "--to-command=sh"],
        &["tar", "cf", "-", "-Ish"],
        &["tar"],
        &["cat", "cf", "-"],
        &["sh", "-c", "tar cf - /data | tail -c+512"],
        &["sh", "-c", "tar cf - $(id) | tail -c+0"],
        &["sh", "-c", "tar cf - x; id | tail -c+0"],
        &["sh", "-c", "tar cf - '--to-command=sh' | tail -c+1"],
        &["sh", "-c", "tar cf - x\t--to-command=sh | tail -c+1"],
        &["sh", "-c", "tar xf - | tail -c+1"],
        &[],
    ] {
        assert_eq!(of(other), None, "{other:?}");
    }
}

#[test]
fn a_chunk_is_due_when_it_is_full_or_old() {
    let mut recorder = Recorder::new(head(&["cat"], false), Rules::default());
    assert!(!recorder.is_due(1_999_999));
    assert!(recorder.is_due(2_000_000));
    assert_eq!(recorder.take(2_000_000).unwrap().frames(), 1);
    assert!(recorder.take(2_000_000).is_none(), "nothing came since");
    assert!(!recorder.is_due(9_000_000), "nothing waits");
    recorder.event(10_000_000, Way::Down, data(Channel::Stdout, b"x"));
    assert!(!recorder.is_due(11_999_999));
    assert!(recorder.is_due(12_000_000));
    recorder.event(12_000_000, Way::Down, data(Channel::Stdout, &vec![b'x'; 3 << 20]));
    assert!(recorder.is_due(12_000_000));
    assert!(recorder.waiting_bytes() >= 3 << 20);
    let mut taken = 0;
    while recorder.is_due(12_000_000) {
        let chunk = recorder.take(12_000_000).unwrap();
        assert!(chunk.bytes().len() <= (1 << 20) + 4096);
        taken += 1;
    }
    assert!(taken >= 3);
}

#[test]
fn typing_alone_makes_a_chunk_due() {
    let mut recorder = Recorder::new(head(&["sh"], true), Rules::default());
    recorder.event(1, Way::Up, data(Channel::Stdin, b"a"));
    drop(recorder.take(2));
    recorder.event(10, Way::Up, data(Channel::Stdin, b"b"));
    assert!(recorder.is_due(2_000_010));
    assert_eq!(recorder.take(2_000_010).unwrap().frames(), 1);
}

#[test]
fn a_direction_that_cannot_be_read_is_noted() {
    let mut recorder = Recorder::new(head(&["sh"], false), Rules::default());
    let torn = Torn {
        way: Way::Up,
        why: "a frame of no known type",
    };
    recorder.torn(5, &torn);
    let said = said(&recorder.finish(6, ended()));
    assert!(others(&said)[1].starts_with("Note { noted: Torn(Up), count: 1"));
}

#[test]
fn a_very_long_command_is_cut() {
    let long = "ä".repeat(40_000);
    let said = record(head(&["echo", &long, "more"], false), &[]);
    assert!(others(&said)[0].len() < 64 << 10);
    assert!(others(&said)[0].contains("ä…\""));
}

fn channel() -> impl Strategy<Value = (Way, Channel)> {
    prop::sample::select(vec![
        (Way::Up, Channel::Stdin),
        (Way::Down, Channel::Stdout),
        (Way::Down, Channel::Stderr),
        (Way::Up, Channel::Resize),
        (Way::Down, Channel::Status),
        (
            Way::Up,
            Channel::Forward {
                connection: 300,
                port: 8080,
            },
        ),
        (
            Way::Down,
            Channel::Forward {
                connection: 300,
                port: 8080,
            },
        ),
        (
            Way::Down,
            Channel::ForwardError {
                connection: 300,
                port: 8080,
            },
        ),
        (Way::Down, Channel::Message { is_text: true }),
    ])
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 1..60),
        "(token|=|ghp_|abc|\"| |\n|\\{\"Width\":1,\"Height\":2\\}){1,9}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn cuts_of_events_make_no_difference(
        events in prop::collection::vec((channel(), piece()), 0..20),
        cut in 1..20_usize,
        terminal: bool,
    ) {
        let command: &[&str] = if cut % 2 == 0 { &["tar", "cf", "-", "x"] } else { &["sh"] };
        let whole: Vec<_> = events.iter().map(|((way, channel), bytes)| (1, *way, data(*channel, bytes))).collect();
        let cut: Vec<_> = events
            .iter()
            .flat_map(|((way, channel), bytes)| bytes.chunks(cut).map(|piece| (1, *way, data(*channel, piece))))
            .collect();
        prop_assert_eq!(record(head(command, terminal), &whole), record(head(command, terminal), &cut));
    }

    /// Whatever an attached terminal shows, in whatever mode: nothing is kept of what is typed behind its first line.
    #[test]
    fn nothing_typed_into_a_terminal_that_has_shown_itself_is_kept(
        lines in prop::collection::vec(("(\r\n|\n|\r|x|\u{1b}\\[H){0,6}", "[a-z]{0,9}"), 0..12),
        cut in 1..9_usize,
    ) {
        let head = Head { kind: Kind::Attach, ..head(&[], true) };
        let mut recorder = Recorder::new(head, Rules::default());
        recorder.event(1, Way::Up, data(Channel::Stdin, b"before"));
        recorder.event(1, Way::Down, data(Channel::Stdout, b"$ \r\n"));
        for (says, types) in &lines {
            for piece in says.as_bytes().chunks(cut) {
                recorder.event(1, Way::Down, data(Channel::Stdout, piece));
            }
            recorder.event(1, Way::Up, data(Channel::Stdin, types.as_bytes()));
        }
        let chunks = recorder.finish(2, ended());
        prop_assert_eq!(stream(&said(&chunks), Channel::Stdin), b"");
    }

    #[test]
    fn no_cut_and_no_chunk_lets_a_secret_through(
        before in "[ -~]{0,300}",
        cuts in prop::collection::vec((1..40_usize, any::<bool>()), 1..30),
    ) {
        let text = format!("{before}\n ghp_SECRETSECRET\npassword=SECRETSECRET");
        let rules = Rules { chunk_bytes: 0, ..Rules::default() };
        let mut recorder = Recorder::new(head(&["sh"], false), rules);
        let (mut rest, mut chunks) = (text.as_bytes(), Vec::new());
        for (cut, takes) in cuts.iter().cycle() {
            let (piece, behind) = rest.split_at(rest.len().min(*cut));
            recorder.event(1, Way::Down, data(Channel::Stdout, piece));
            if *takes {
                chunks.extend(recorder.take(2));
            }
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        while recorder.is_due(2) {
            chunks.extend(recorder.take(2));
        }
        chunks.extend(recorder.finish(3, ended()));
        let kept = stream(&said(&chunks), Channel::Stdout);
        prop_assert_eq!(kept.len(), text.len());
        prop_assert!(!String::from_utf8_lossy(&kept).contains("SECRETSECRET"));
    }
}

#[test]
fn the_kinds_of_secrets_have_codes_that_stay() {
    for (place, secret) in Secret::ALL.into_iter().enumerate() {
        assert_eq!(usize::from(secret.code()), place + 1);
        assert_eq!(Secret::from_code(secret.code()), Some(secret));
    }
    assert_eq!(Secret::from_code(0), None);
    assert_eq!(Secret::from_code(11), None);
}

#[test]
fn what_control_frames_carry_is_kept_masked_and_is_no_message() {
    let control = |kind, bytes| Event::Control { kind, bytes };
    let said = record(
        head(&[], false),
        &[
            (1, Way::Up, control(Control::Ping, b"password=hunter2")),
            (2, Way::Down, control(Control::Close, b"\x03\xe8")),
        ],
    );
    let others = others(&said);
    let masked = format!("Control {{ way: Up, kind: Ping, bytes: {:?} }}", b"password=*******");
    assert!(others.contains(&masked.as_str()), "{others:?}");
    assert!(
        others.contains(&"Control { way: Down, kind: Close, bytes: [3, 232] }"),
        "{others:?}"
    );
    let end = others.last().unwrap();
    assert!(
        end.contains(r#""up":0,"down":0"#) && end.contains(r#""connections":0"#),
        "{end}"
    );
}
