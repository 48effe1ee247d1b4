//! Playing is exact: at any time the screen of whoever plays is the screen that the person had. What vim, top and progress bars
//! really wrote goes to one terminal emulator as it was, and to another one as the gateway's lines, through all that `play` does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Write};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use recording::captures::{FIRST_SIZE, SECOND_SIZE, Seen, capture};
use serde_json::json;

use super::super::stream::event;
use super::*;

const CAPTURES: [&str; 3] = ["vim", "top", "progress"];
/// A timer has no more than milliseconds.
const TIMERS: Duration = Duration::from_millis(2);
const USUAL: (u16, u16) = (80, 24);

/// Everything that a screen shows: letters, colours, cursor, size.
type State = (String, String, (u16, u16), (u16, u16));

fn state(screen: &vt100::Screen) -> State {
    (
        screen.contents_formatted(),
        screen.contents(),
        screen.cursor_position(),
        size_of(screen),
    )
}

fn size_of(screen: &vt100::Screen) -> (u16, u16) {
    let (lines, columns) = screen.size();
    (columns.get(), lines.get())
}

fn side(length: u16) -> NonZeroU16 {
    NonZeroU16::new(length).unwrap()
}

/// A window that is asked for a size, and what the emulator does not draw.
#[derive(Debug, Default)]
struct Window {
    takes_none: bool,
    asked: Vec<(u16, u16)>,
    settings: Settings,
    /// What was kept of modes (XTSAVE), by whomever.
    kept: BTreeMap<u16, bool>,
}

/// How a terminal is set, beyond what the emulator knows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    /// Which letters stand in each of the four sets, and which of them those above U+007F are.
    letters: BTreeMap<u8, u8>,
    right: u8,
    is_protected: bool,
    modes: BTreeMap<u16, bool>,
    kept_colours: u32,
    /// None where they stand in each eighth column.
    tabs: Option<BTreeSet<u16>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            letters: b"()*+".iter().map(|set| (*set, b'B')).collect(),
            right: b'}',
            is_protected: false,
            modes: BTreeMap::new(),
            kept_colours: 0,
            tabs: None,
        }
    }
}

impl vt100::Callbacks for Window {
    fn resize(&mut self, screen: &mut vt100::Screen, (lines, columns): (u16, u16)) {
        self.asked.push((columns, lines));
        if !self.takes_none {
            screen.set_size(side(lines), side(columns));
        }
    }

    fn unhandled_escape(&mut self, screen: &mut vt100::Screen, first: Option<u8>, _: Option<u8>, last: u8) {
        let settings = &mut self.settings;
        match (first, last) {
            (Some(set @ (b'(' | b')' | b'*' | b'+')), letters) => drop(settings.letters.insert(set, letters)),
            (Some(b'-'), letters) => drop(settings.letters.insert(b')', letters)),
            (None, b'~' | b'}' | b'|') => settings.right = last,
            (None, b'H') => drop(settings.tabs.get_or_insert_default().insert(screen.cursor_position().1)),
            _ => {}
        }
    }

    fn unhandled_csi(
        &mut self,
        _: &mut vt100::Screen,
        first: Option<u8>,
        _: Option<u8>,
        params: &[&[u16]],
        last: char,
    ) {
        let settings = &mut self.settings;
        let numbers = params.iter().filter_map(|param| param.first().copied());
        match (first, last) {
            (Some(b'?'), 'h' | 'l') => {
                let own = numbers.filter(|mode| [5, 12, 45].contains(mode));
                settings.modes.extend(own.map(|mode| (mode, last == 'h')));
            }
            (Some(b'?'), 's') => {
                let stand = |mode| (mode, settings.modes.get(&mode).copied().unwrap_or(false));
                self.kept.extend(numbers.map(stand));
            }
            (Some(b'?'), 'r') => {
                let kept = numbers.filter_map(|mode| Some((mode, *self.kept.get(&mode)?)));
                settings.modes.extend(kept);
            }
            (Some(b'?'), 'W') => settings.tabs = None,
            (Some(b'"'), 'q') => settings.is_protected = numbers.eq([1]),
            (Some(b'#'), '{' | 'p') => settings.kept_colours += 1,
            (Some(b'#'), '}' | 'q') => settings.kept_colours = settings.kept_colours.checked_sub(1).unwrap(),
            (None, 'g') => settings.tabs = Some(BTreeSet::new()),
            _ => {}
        }
    }
}

/// A terminal emulator with its history.
struct Drawn {
    parser: vt100::Parser<Window>,
    bytes: Vec<u8>,
    began: Instant,
    moments: Vec<(Duration, State)>,
    settings: Vec<&'static str>,
    knows_size: bool,
    is_there: bool,
    refuses: Option<ErrorKind>,
}

#[derive(Clone)]
struct Emulated(Arc<Mutex<Drawn>>);

impl Emulated {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Drawn {
            parser: vt100::Parser::new_with_callbacks(side(USUAL.1), side(USUAL.0), 100, Window::default()),
            bytes: Vec::new(),
            began: Instant::now(),
            moments: Vec::new(),
            settings: Vec::new(),
            knows_size: true,
            is_there: true,
            refuses: None,
        })))
    }

    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.0.lock().unwrap()
    }

    fn asked(&self) -> Vec<(u16, u16)> {
        self.drawn().parser.callbacks().asked.clone()
    }
}

impl Write for Emulated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut drawn = self.drawn();
        if let Some(kind) = drawn.refuses {
            return Err(kind.into());
        }
        drawn.parser.process(bytes);
        drawn.bytes.extend_from_slice(bytes);
        let moment = (drawn.began.elapsed(), state(drawn.parser.screen()));
        drawn.moments.push(moment);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Terminal for Emulated {
    fn is_there(&self) -> bool {
        self.drawn().is_there
    }

    fn size(&self) -> Option<(u16, u16)> {
        let drawn = self.drawn();
        drawn.knows_size.then(|| size_of(drawn.parser.screen()))
    }

    fn let_through(&mut self) {
        self.drawn().settings.push("let through");
    }

    fn put_back(&mut self) {
        self.drawn().settings.push("put back");
    }
}

/// The gateway's lines of a capture (`gateway/console/src/api/sessions/stream.rs`), as `play` reads them.
fn events(seen: &[(u64, Seen)]) -> Vec<Event> {
    let lines = seen.iter().map(|(at, seen)| match seen {
        Seen::Output(bytes) => json!({"at": at, "out": STANDARD.encode(bytes)}),
        Seen::Size(columns, lines) => json!({"at": at, "size": [columns, lines]}),
    });
    lines.map(|line| event(&line).unwrap().unwrap()).collect()
}

/// The person's own terminal after each thing that happened.
fn real(seen: &[(u64, Seen)]) -> Vec<State> {
    let mut terminal = vt100::Parser::new(side(USUAL.1), side(USUAL.0), 100);
    let after = |(_, seen): &(u64, Seen)| {
        match seen {
            Seen::Output(bytes) => terminal.process(bytes),
            Seen::Size(columns, lines) => terminal.set_size(side(*lines), side(*columns)),
        }
        state(terminal.screen())
    };
    seen.iter().map(after).collect()
}

fn pace(from: Duration, speed: f64, idle: Duration) -> Pace {
    Pace { from, idle, speed }
}

const AS_IT_WAS: (Duration, f64, Duration) = (Duration::ZERO, 1.0, Duration::MAX);

/// Plays a capture to its end; all that was drawn, and when.
async fn play(seen: &[(u64, Seen)], (from, speed, idle): (Duration, f64, Duration)) -> Vec<(Duration, State)> {
    let emulated = Emulated::new();
    let mut playback = Playback::new(emulated.clone(), true, Some(pace(from, speed, idle)), Passing::Harmless);
    for event in events(seen) {
        assert_eq!(playback.take(event).await.unwrap(), Next::More);
    }
    let moments = emulated.drawn().moments.clone();
    assert!(playback.end().is_empty());
    moments
}

/// When each thing is to be seen: pauses as they were but for what is skipped, cut and hurried.
fn due(seen: &[(u64, Seen)], (from, speed, idle): (Duration, f64, Duration)) -> Vec<Duration> {
    let (mut clock, mut last) = (Duration::ZERO, from);
    let at = |(at, _): &(u64, Seen)| {
        let at = Duration::from_micros(*at);
        clock += at.saturating_sub(last).min(idle).div_f64(speed);
        last = last.max(at);
        clock
    };
    seen.iter().map(at).collect()
}

/// The same screens in the same order, each as long as it was: so at any time the same one.
#[track_caller]
fn is_exact(name: &str, moments: &[(Duration, State)], real: &[State], due: &[Duration]) {
    assert_eq!(moments.len(), real.len(), "{name}");
    for (place, ((drawn_at, drawn), (real, due))) in moments.iter().zip(real.iter().zip(due)).enumerate() {
        let late = drawn_at.checked_sub(*due);
        assert!(
            late.is_some_and(|late| late <= TIMERS),
            "{name} {place}: at {drawn_at:?} instead of {due:?}"
        );
        assert_eq!(drawn, real, "{name} {place}, at {due:?}");
    }
}

async fn is_played_exactly(name: &str) {
    let seen = capture(name);
    let real = real(&seen);
    let all = Duration::from_micros(seen.last().unwrap().0);
    let half = Duration::from_millis(500);
    for played in [
        AS_IT_WAS,
        (Duration::ZERO, 4.0, Duration::MAX),
        (Duration::ZERO, 0.25, Duration::MAX),
        (Duration::ZERO, 1.0, half),
        (Duration::ZERO, 100.0, Duration::ZERO),
        (all / 3, 2.0, half),
    ] {
        let moments = play(&seen, played).await;
        is_exact(&format!("{name} {played:?}"), &moments, &real, &due(&seen, played));
    }
}

#[tokio::test(start_paused = true)]
async fn vim_is_played_exactly() {
    is_played_exactly("vim").await;
}

#[tokio::test(start_paused = true)]
async fn top_is_played_exactly() {
    is_played_exactly("top").await;
}

#[tokio::test(start_paused = true)]
async fn progress_bars_are_played_exactly() {
    is_played_exactly("progress").await;
}

#[tokio::test(start_paused = true)]
async fn wherever_one_begins_the_screen_is_the_one_of_that_moment() {
    for name in CAPTURES {
        let seen = capture(name);
        let real = real(&seen);
        let all = Duration::from_micros(seen.last().unwrap().0);
        for part in 0..=20 {
            let from = all * part / 20;
            let moments = play(&seen, (from, 1.0, Duration::MAX)).await;
            let before = |at: &Duration| *at <= from;
            let before = seen
                .iter()
                .filter(|(at, _)| before(&Duration::from_micros(*at)))
                .count();
            let at_once = moments.iter().take_while(|(at, _)| *at <= TIMERS).count();
            assert!(at_once >= before, "{name} from {from:?}: {at_once} of {before}");
            let behind = due(&seen, (from, 1.0, Duration::MAX));
            is_exact(&format!("{name} from {from:?}"), &moments, &real, &behind);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_window_has_the_size_of_the_recorded_one_and_its_own_again_at_the_end() {
    let emulated = Emulated::new();
    let seen = capture("vim");
    let mut playback = Playback::new(
        emulated.clone(),
        true,
        Some(pace(Duration::ZERO, 100.0, Duration::ZERO)),
        Passing::Harmless,
    );
    for event in events(&seen) {
        playback.take(event).await.unwrap();
    }
    assert_eq!(emulated.asked(), [FIRST_SIZE, SECOND_SIZE]);
    assert!(playback.end().is_empty());
    assert_eq!(emulated.asked(), [FIRST_SIZE, SECOND_SIZE, USUAL]);
    assert_eq!(emulated.drawn().settings, ["let through", "put back"]);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_takes_no_size_is_asked_once_and_it_is_said() {
    let emulated = Emulated::new();
    emulated.drawn().parser.callbacks_mut().takes_none = true;
    let mut playback = Playback::new(emulated.clone(), true, None, Passing::Harmless);
    for (columns, lines) in [(100, 30), (90, 30)] {
        playback
            .take(Event::Size(Duration::ZERO, columns, lines))
            .await
            .unwrap();
    }
    playback.take(Event::Words("exit 3".to_owned())).await.unwrap();
    let notes = playback.end();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert_eq!(notes[0], "exit 3");
    assert!(
        notes[1].starts_with("this terminal does not take the size of the recorded one, 90 columns and 30 lines"),
        "{notes:?}"
    );
    assert_eq!(emulated.asked(), [(100, 30)], "nothing is put back that was not taken");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_drawn_is_said_at_the_end() {
    let mut playback = Playback::new(Emulated::new(), true, None, Passing::Harmless);
    let endless = format!("$ \x1b]{}", "x".repeat(9));
    playback
        .take(Event::Out(Duration::ZERO, endless.into_bytes()))
        .await
        .unwrap();
    for _ in 0..2 {
        playback.take(Event::In).await.unwrap();
    }
    assert_eq!(
        playback.end(),
        [
            INPUT,
            "9 bytes of control strings were not drawn; gatescribe session watch --raw has them"
        ]
    );
}

/// The newest are kept, as the exit code is the last of them.
#[tokio::test(start_paused = true)]
async fn of_very_many_notes_the_last_are_told_and_how_many_are_not() {
    for (all, first, left_out) in [
        (100, 0, None),
        (101, 1, Some("1 note is left out here")),
        (250, 150, Some("150 notes are left out here")),
    ] {
        let mut playback = Playback::new(Emulated::new(), true, None, Passing::Harmless);
        for number in 0..all {
            playback.take(Event::Words(format!("note {number}"))).await.unwrap();
        }
        let notes = playback.end();
        let (said, kept) = notes.split_at(notes.len() - 100);
        assert_eq!(kept.first().unwrap(), &format!("note {first}"));
        assert_eq!(kept.last().unwrap(), &format!("note {}", all - 1));
        assert_eq!(said.len(), usize::from(left_out.is_some()), "{said:?}");
        assert!(left_out.is_none_or(|words| said[0].starts_with(words)), "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_terminal_that_does_not_know_its_size_is_asked_each_time_and_nobody_waits_for_it() {
    let emulated = Emulated::new();
    emulated.drawn().knows_size = false;
    let mut playback = Playback::new(emulated.clone(), true, None, Passing::Harmless);
    // A size of nothing would ask for the largest window, and one beyond all windows for memory.
    for (columns, lines) in [(0, 0), (100, 30), (65_535, 65_535), (90, 30)] {
        playback
            .take(Event::Size(Duration::ZERO, columns, lines))
            .await
            .unwrap();
    }
    assert_eq!(emulated.drawn().began.elapsed(), Duration::ZERO);
    assert!(playback.end().is_empty());
    assert_eq!(emulated.asked(), [(100, 30), (90, 30)]);
}

/// Ctrl-C drops the playback wherever it stands (`play.rs`).
#[tokio::test(start_paused = true)]
async fn a_playback_that_is_broken_off_leaves_a_terminal_for_a_shell() {
    for name in CAPTURES {
        let all = events(&capture(name));
        for most in (1..=all.len()).step_by(all.len() / 40 + 1).chain([all.len()]) {
            let emulated = Emulated::new();
            let fast = pace(Duration::ZERO, 100.0, Duration::ZERO);
            let mut playback = Playback::new(emulated.clone(), true, Some(fast), Passing::Harmless);
            for event in events(&capture(name)).into_iter().take(most) {
                playback.take(event).await.unwrap();
            }
            drop(playback);
            is_a_shells(&emulated, &format!("{name}, {most} of {}", all.len()));
        }
    }
}

/// What the captures do not leave behind, each alone, and sequences that never end.
#[tokio::test(start_paused = true)]
async fn nothing_that_a_program_can_leave_behind_stays() {
    for left in [
        "\x1b[?1049h\x1b[?25l\x1b[?1h\x1b=",
        "\x1b[?1000h\x1b[?1002h\x1b[?1006h\x1b[?2004h",
        "\x1b[31;44;1;4;7m",
        "\x1b[5;10r",
        "\x1b[5;10r\x1b[?6h",
        "\x1b[5;10r\x1b[?6h\x1b[?1049h",
        "\x1b[5;10r\x1b[?6h\x1b7",
        "\x1b[?69h\x1b[10;20s",
        "\x1b]0;a title without an end",
        "\x1bP a string without an end",
        "\x1b[38;5;",
        "\x1b",
    ] {
        let emulated = Emulated::new();
        let mut playback = Playback::new(emulated.clone(), true, None, Passing::Harmless);
        playback
            .take(Event::Out(Duration::ZERO, left.as_bytes().to_vec()))
            .await
            .unwrap();
        drop(playback);
        is_a_shells(&emulated, &format!("{left:?}"));
    }
}

/// What the person's own terminal is in: reversed, a cursor that blinks, lines that break backwards, something kept of each; and
/// no stops of tabs but one.
fn own() -> Window {
    let modes: BTreeMap<u16, bool> = [(5, true), (12, true), (45, true)].into();
    let settings = Settings {
        modes: modes.clone(),
        kept_colours: 3,
        tabs: Some([17].into()),
        ..Settings::default()
    };
    Window {
        settings,
        ..Window::default()
    }
}

/// What the emulator does not know: letters of another set, protected ones, colours that are kept, stops of tabs, how screen and cursor look.
#[tokio::test(start_paused = true)]
async fn the_persons_own_settings_are_theirs_again() {
    for left in [
        "",
        "\x1b(0\x1b)0\x1b*<\x1b+A\x1b-A\x0e",
        "\x1b~",
        "\x1b|\x1b+0",
        "\x1b[1\"q",
        "\x1b[?5l\x1b[?12l\x1b[?45l",
        "\x1b[?5;12;45s\x1b[?5;12;45l\x1b[?5;12;45s",
        "\x1b[?5;12;45r\x1b[?1049r",
        "\x1b[#{\x1b[#p",
        "\x1b[#}\x1b[#}\x1b[#q",
        "\x1bc",
        "\x1b[!p",
    ] {
        let emulated = Emulated::new();
        *emulated.drawn().parser.callbacks_mut() = own();
        let mut playback = Playback::new(emulated.clone(), true, None, Passing::Harmless);
        let shown = Event::Out(Duration::ZERO, left.as_bytes().to_vec());
        playback.take(shown).await.unwrap();
        drop(playback);
        let mut expected = own().settings;
        if left == "\x1bc" {
            expected.tabs = None;
        }
        assert_eq!(emulated.drawn().parser.callbacks().settings, expected, "{left:?}");
    }
    for tabs in ["\x1b[3g", "\x1b[5G\x1bH", "\x1b[?5W", "\x1b[g"] {
        let emulated = Emulated::new();
        let mut playback = Playback::new(emulated.clone(), true, None, Passing::Harmless);
        let shown = Event::Out(Duration::ZERO, tabs.as_bytes().to_vec());
        playback.take(shown).await.unwrap();
        drop(playback);
        assert_eq!(emulated.drawn().parser.callbacks().settings.tabs, None, "{tabs:?}");
        let bytes = String::from_utf8(emulated.drawn().bytes.clone()).unwrap();
        let stops: String = (9..80)
            .step_by(8)
            .map(|column| format!("\x1b[{column}G\x1bH"))
            .collect();
        assert!(
            bytes.ends_with(&format!("\x1b[3g{stops}\r\x1b[?5W")),
            "where DECST8C is not known: {bytes:?}"
        );
    }
}

/// The shape of a cursor is the person's, and nothing says which it was; lines of double size are on the screen as long as it is.
#[tokio::test(start_paused = true)]
async fn what_a_recording_did_not_touch_is_not_put_back() {
    for (shown, sequence) in [
        ("\x1b[3 q", "\x1b[0 q"),
        ("\x1b#6", "\x1b[999H"),
        ("\x1bH", "\x1b[3g"),
        ("\x1b[?6h", "\x1b[?6l"),
    ] {
        for (said, is_put_back) in [(shown, true), ("plain", false)] {
            let emulated = Emulated::new();
            let mut playback = Playback::new(emulated.clone(), true, None, Passing::Harmless);
            playback.take(Event::Out(Duration::ZERO, said.into())).await.unwrap();
            drop(playback);
            let bytes = String::from_utf8(emulated.drawn().bytes.clone()).unwrap();
            let (_, end) = bytes.split_once('\x18').unwrap();
            assert_eq!(end.contains(sequence), is_put_back, "{said:?}: {end:?}");
        }
    }
}

/// However the person's terminal was: a recording is drawn as in one that nobody has set.
#[tokio::test(start_paused = true)]
async fn a_recording_begins_in_a_usual_terminal() {
    let emulated = Emulated::new();
    {
        let mut drawn = emulated.drawn();
        *drawn.parser.callbacks_mut() = own();
        drawn
            .parser
            .process(b"$ play\r\n\x1b[31m\x1b[?25l\x1b)0\x1b~\x1b[1\"q\x1b[2;5r\x1b[7;1H");
    }
    let mut playback = Playback::new(emulated.clone(), true, None, Passing::Harmless);
    playback
        .take(Event::Out(Duration::ZERO, b"shown".to_vec()))
        .await
        .unwrap();
    let mut drawn = emulated.drawn();
    let settings = drawn.parser.callbacks().settings.clone();
    assert_eq!(settings.letters, Settings::default().letters);
    assert_eq!(
        (settings.right, settings.is_protected, settings.modes[&45]),
        (b'}', false, false)
    );
    let screen = drawn.parser.screen();
    assert_eq!((screen.fgcolor(), screen.hide_cursor()), (vt100::Color::Default, false));
    assert_eq!(screen.cursor_position(), (6, 5), "where it was");
    drawn.parser.process(&[b'\n'; 100]);
    assert_eq!(drawn.parser.screen().cursor_position().0, USUAL.1 - 1, "no margins");
}

#[track_caller]
fn is_a_shells(emulated: &Emulated, what: &str) {
    let mut drawn = emulated.drawn();
    assert_eq!(drawn.settings, ["let through", "put back"], "{what}");
    drawn.parser.process(b"$ ls");
    let screen = drawn.parser.screen();
    assert_eq!(size_of(screen), USUAL, "{what}");
    assert!(
        screen.contents().trim_end().ends_with("$ ls"),
        "{what}: {:?}",
        screen.contents()
    );
    let modes = [
        ("another screen", screen.alternate_screen()),
        ("keys", screen.application_keypad() || screen.application_cursor()),
        ("no cursor", screen.hide_cursor()),
        ("pasting", screen.bracketed_paste()),
        ("mouse", screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None),
        (
            "colours",
            screen.fgcolor() != vt100::Color::Default || screen.bgcolor() != vt100::Color::Default,
        ),
        ("letters", screen.bold() || screen.underline() || screen.inverse()),
    ];
    for (mode, is_left) in modes {
        assert!(!is_left, "{what}: {mode}");
    }
    drawn.parser.process(&[b'\n'; 100]);
    assert_eq!(
        drawn.parser.screen().cursor_position().0,
        USUAL.1 - 1,
        "{what}: margins"
    );
    for before in ["", "\x1b8"] {
        drawn.parser.process(format!("{before}\x1b[H").as_bytes());
        assert_eq!(drawn.parser.screen().cursor_position(), (0, 0), "{what}: origin");
    }
}

/// What goes into a pipe: the process' own words, and nothing of ours (sizes, settings of the terminal).
async fn piped(passing: Passing) -> String {
    let emulated = Emulated::new();
    emulated.drawn().is_there = false;
    let mut playback = Playback::new(emulated.clone(), true, None, passing);
    playback.take(Event::Size(Duration::ZERO, 100, 30)).await.unwrap();
    // Cut in the middle of a string that would set a clipboard.
    for piece in [
        "one\r\n\x1b[1mtwo\x1b[0m\x1b]52;c;cm0",
        "gLXJmIH4=\x07\x1b[6n\x1b[?1000h\r\n",
    ] {
        let event = Event::Out(Duration::ZERO, piece.into());
        assert_eq!(playback.take(event).await.unwrap(), Next::More);
    }
    assert_eq!(
        playback.take(Event::End(Standing::Whole)).await.unwrap(),
        Next::Over(Standing::Whole)
    );
    playback.end();
    assert!(emulated.drawn().settings.is_empty());
    String::from_utf8(emulated.drawn().bytes.clone()).unwrap()
}

/// Behind `grep` there is a terminal again.
#[tokio::test(start_paused = true)]
async fn into_a_pipe_goes_what_the_process_drew_and_nothing_else() {
    assert_eq!(piped(Passing::Harmless).await, "one\r\n\x1b[1mtwo\x1b[0m\r\n");
}

#[tokio::test(start_paused = true)]
async fn into_a_pipe_goes_every_byte_only_where_that_is_asked_for() {
    assert_eq!(
        piped(Passing::Raw).await,
        "one\r\n\x1b[1mtwo\x1b[0m\x1b]52;c;cm0gLXJmIH4=\x07\x1b[6n\x1b[?1000h\r\n"
    );
}

/// A disk that is full, a terminal that has gone: not all was shown. Whoever wants no more (`| head`) is no mistake.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_is_an_error_and_a_reader_that_has_gone_is_none() {
    for (kind, is_gone) in [
        (ErrorKind::BrokenPipe, true),
        (ErrorKind::StorageFull, false),
        (ErrorKind::Other, false),
    ] {
        let emulated = Emulated::new();
        emulated.drawn().is_there = false;
        emulated.drawn().refuses = Some(kind);
        let mut playback = Playback::new(emulated.clone(), true, None, Passing::Harmless);
        let shown = playback.take(Event::Out(Duration::ZERO, b"one".to_vec())).await;
        assert_eq!(matches!(shown, Ok(Next::Unread)), is_gone, "{kind:?}: {shown:?}");
        assert_eq!(shown.is_err(), !is_gone, "{kind:?}: {shown:?}");
    }
}

/// Whoever asked for raw bytes is refused where there is a terminal (`play.rs`); what comes here all the same is harmless.
#[tokio::test(start_paused = true)]
async fn a_terminal_never_gets_raw_bytes() {
    let emulated = Emulated::new();
    let mut playback = Playback::new(emulated.clone(), true, None, Passing::Raw);
    playback
        .take(Event::Out(Duration::ZERO, b"a\x1b[6nb".to_vec()))
        .await
        .unwrap();
    assert!(emulated.drawn().bytes.ends_with(b"\x1b[?25hab"));
}
