//! What is kept is exact: at any time the screen that the frames draw is the screen that the person had. What vim, top and two
//! progress bars really wrote (tests/captures) goes to one terminal emulator as it was, and to another through recorder and file.
//! That a player draws the same is the command line's to show (`gateway/cli/src/client/sessions/playback`).

use std::num::NonZeroU16;

use super::full_screen::{emulated, written};
use crate::captures::{PROGRESS_SIZE, RESIZED_MICROS, SECOND_SIZE, Seen, capture};
use crate::tap::{Channel, Event, Way};
use crate::{CastVersion, Ended, Frame, Head, Kind, Masking, Recorder, Recording, Rules, Sealer, SessionKey};
use model::time::Timestamp;
use uuid::Uuid;

/// Records what was seen, in pieces of at most `piece` bytes.
fn record(seen: &[(u64, Seen)], piece: usize, rules: Rules) -> (tempfile::TempDir, Recording) {
    let folder = tempfile::tempdir().unwrap();
    let key = SessionKey::new([1; 32]);
    let head = Head {
        session: Uuid::from_u128(1),
        kind: Kind::Exec,
        cluster: "demo".into(),
        who: "alice".into(),
        namespace: "default".into(),
        pod: "web-0".into(),
        container: None,
        command: vec!["sh".into()],
        terminal: true,
        input_kept: false,
        reason: None,
        started: Timestamp::from_unix_seconds(1_800_000_000),
    };
    let mut sealer = Sealer::create(folder.path(), head.session, &key).unwrap();
    let mut recorder = Recorder::new(head, rules);
    for (at, seen) in seen {
        while recorder.is_due(*at) {
            sealer.seal(&recorder.take(*at).unwrap()).unwrap();
        }
        match seen {
            Seen::Output(bytes) => {
                for bytes in bytes.chunks(piece) {
                    let channel = Channel::Stdout;
                    recorder.event(*at, Way::Down, Event::Data { channel, bytes });
                }
            }
            Seen::Size(columns, rows) => {
                let bytes = format!("{{\"Width\":{columns},\"Height\":{rows}}}\n");
                let channel = Channel::Resize;
                let bytes = bytes.as_bytes();
                recorder.event(*at, Way::Up, Event::Data { channel, bytes });
            }
        }
    }
    let ended = Ended {
        how: "ended".into(),
        why: None,
    };
    for chunk in recorder.finish(seen.last().unwrap().0, ended) {
        sealer.seal(&chunk).unwrap();
    }
    let recording = Recording::open(sealer.path(), &key, &[]).unwrap();
    (folder, recording)
}

fn terminal() -> vt100::Parser {
    vt100::Parser::new(side(24), side(80), 100)
}

fn side(length: u16) -> NonZeroU16 {
    NonZeroU16::new(length).unwrap()
}

/// The person's terminal at this time.
fn real(seen: &[(u64, Seen)], until: u64) -> vt100::Parser {
    let mut terminal = terminal();
    for (_, seen) in seen.iter().take_while(|(at, _)| *at <= until) {
        match seen {
            Seen::Output(bytes) => terminal.process(bytes),
            Seen::Size(columns, rows) => terminal.set_size(side(*rows), side(*columns)),
        }
    }
    terminal
}

/// The terminal that the frames draw, at this time.
fn drawn(recording: &Recording, until: u64) -> vt100::Parser {
    let mut terminal = terminal();
    let mut frames = recording.frames();
    while let Some(stamped) = frames.next().unwrap() {
        if stamped.at_micros > until {
            break;
        }
        match stamped.frame {
            Frame::Data { bytes, .. } => terminal.process(bytes),
            Frame::Resize { columns, rows } => terminal.set_size(side(rows), side(columns)),
            _ => {}
        }
    }
    terminal
}

/// Everything that a screen shows: letters, colours, cursor, modes, title.
fn state(terminal: &vt100::Parser) -> (String, String, (u16, u16), (u16, u16)) {
    let screen = terminal.screen();
    let (rows, columns) = screen.size();
    let size = (rows.get(), columns.get());
    (
        screen.state_formatted(),
        screen.contents(),
        screen.cursor_position(),
        size,
    )
}

/// Times before, at and between all that happened.
fn times(seen: &[(u64, Seen)]) -> Vec<u64> {
    let mut times: Vec<u64> = seen
        .iter()
        .flat_map(|(at, _)| [at.saturating_sub(1), *at, at + 20_000])
        .collect();
    times.dedup();
    times
}

#[track_caller]
fn is_exact(name: &str, piece: usize, rules: Rules) {
    let seen = capture(name);
    let (_folder, recording) = record(&seen, piece, rules);
    for at in times(&seen) {
        assert_eq!(
            state(&real(&seen, at)),
            state(&drawn(&recording, at)),
            "{name} at {at} µs"
        );
    }
}

/// There is a password in the file that vim shows, and this is about everything else.
fn unmasked() -> Rules {
    Rules {
        masking: Masking::DangerOff,
        ..Rules::default()
    }
}

#[test]
fn vim_is_kept_exactly() {
    is_exact("vim", 4096, unmasked());
    is_exact("vim", 7, unmasked());
}

#[test]
fn top_is_kept_exactly() {
    is_exact("top", 4096, Rules::default());
    is_exact("top", 11, Rules::default());
}

#[test]
fn progress_bars_are_kept_exactly() {
    is_exact("progress", 4096, Rules::default());
    is_exact("progress", 1, Rules::default());
}

#[test]
fn small_chunks_change_nothing() {
    let rules = Rules {
        chunk_bytes: 256,
        chunk_micros: 1,
        ..unmasked()
    };
    for name in ["vim", "top", "progress"] {
        is_exact(name, 100, rules);
    }
}

#[test]
fn the_captures_are_what_they_claim() {
    let vim = capture("vim");
    let middle = real(&vim, RESIZED_MICROS - 1);
    assert!(middle.screen().alternate_screen());
    assert!(middle.screen().contents().contains("fn main()") || middle.screen().contents().contains("long file"));
    assert_eq!(state(&real(&vim, u64::MAX)).3, (SECOND_SIZE.1, SECOND_SIZE.0));
    assert!(
        real(&capture("top"), 2_000_000)
            .screen()
            .contents()
            .contains("load average")
    );
    let progress = real(&capture("progress"), u64::MAX);
    assert!(progress.screen().contents().contains("copied"));
    // curl's bar takes a whole line.
    let bar = progress.screen().contents().lines().next().unwrap().to_owned();
    assert!(bar.ends_with("100.0%"), "{bar}");
    assert_eq!(state(&progress).3, (PROGRESS_SIZE.1, PROGRESS_SIZE.0));
    assert_eq!(bar.len(), usize::from(PROGRESS_SIZE.0), "{bar}");
}

/// The same screen, but for the letters that are masked: vim draws `let password = "hunter2-ünï";` in colours and in two pieces.
#[test]
fn a_masked_secret_in_vim_moves_nothing_on_the_screen() {
    let seen = capture("vim");
    let (_one, open) = record(&seen, 4096, unmasked());
    let (_two, masked) = record(&seen, 4096, Rules::default());
    let mut hidden = 0;
    for at in times(&seen) {
        let (open, masked) = (drawn(&open, at), drawn(&masked, at));
        assert_eq!(open.screen().cursor_position(), masked.screen().cursor_position());
        let (rows, columns) = open.screen().size();
        for (row, column) in (0..rows.get()).flat_map(|row| (0..columns.get()).map(move |column| (row, column))) {
            let [open, masked] = [&open, &masked].map(|terminal| terminal.screen().cell(row, column).unwrap());
            assert_eq!(open.fgcolor(), masked.fgcolor());
            assert_eq!(open.is_wide(), masked.is_wide());
            if open.contents() != masked.contents() {
                assert!(["*", "·"].contains(&masked.contents()), "{:?}", masked.contents());
                hidden += 1;
            }
        }
        let text = masked.screen().contents();
        assert!(!text.contains("hunter2") && !text.contains("nï"), "{text}");
    }
    assert!(hidden > 0, "something was masked");
}

#[test]
fn a_cast_draws_the_same_screen() {
    for name in ["vim", "top", "progress"] {
        let seen = capture(name);
        let (_folder, recording) = record(&seen, 1000, unmasked());
        for version in [CastVersion::V2, CastVersion::V3] {
            let cast = String::from_utf8(recording.write_cast(version, Vec::new(), "").unwrap()).unwrap();
            let Seen::Size(columns, rows) = seen[0].1 else {
                panic!("{name} begins with its window")
            };
            let mut terminal = vt100::Parser::new(side(rows), side(columns), 100);
            for line in cast.lines().skip(1) {
                let (_, code, data): (f64, String, String) = serde_json::from_str(line).unwrap();
                match code.as_str() {
                    "o" => terminal.process(data.as_bytes()),
                    "r" => {
                        let (columns, rows) = data.split_once('x').unwrap();
                        terminal.set_size(rows.parse().unwrap(), columns.parse().unwrap());
                    }
                    _ => {}
                }
            }
            assert_eq!(state(&terminal), state(&real(&seen, u64::MAX)), "{name} {version:?}");
        }
    }
}

#[test]
fn a_transcript_of_progress_bars_is_their_last_state() {
    let (_folder, recording) = record(&capture("progress"), 50, Rules::default());
    let text = String::from_utf8(recording.write_text(Vec::new(), "").unwrap()).unwrap();
    assert!(text.contains("100.0%\n"), "{text}");
    assert!(!text.contains('\x1b') && !text.contains('\r'));
    let (_folder, recording) = record(&capture("vim"), 50, unmasked());
    let text = String::from_utf8(recording.write_text(Vec::new(), "").unwrap()).unwrap();
    let left_out = emulated(&written(capture("vim"))).0;
    assert_eq!(text, format!("[a full-screen program: {left_out} bytes left out]\n"));
}
