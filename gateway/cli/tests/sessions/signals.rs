//! A terminal is left as a shell expects it, whatever ends or stops what is shown in it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::gateway::Then;
use crate::machine::{ID, Machine};
use crate::terminal::Terminal;

/// The other screen, no cursor, and a line.
fn drawn(line: &str) -> Value {
    use base64::Engine as _;
    let bytes = format!("\x1b[?1049h\x1b[?25l{line}\r\n");
    json!({"at": 0, "out": base64::engine::general_purpose::STANDARD.encode(bytes)})
}

const SHOWN: &str = "trap : INT QUIT HUP\necho before $(stty -g)\nsh -c 'echo pid $$; exec GATE session watch ID'\necho code $?\necho \
                     after $(stty -g)\n";

#[test]
fn whatever_ends_it_the_terminal_is_as_it_was() {
    for (signal, key, code) in [
        (Signal::SIGTERM, None, "143"),
        (Signal::SIGHUP, None, "129"),
        (Signal::SIGQUIT, Some("\x1c"), "131"),
        (Signal::SIGINT, Some("\x03"), "130"),
    ] {
        let machine = Machine::with_recording(&[drawn("first")], Then::HoldOn);
        let mut terminal = Terminal::runs(&machine, SHOWN);
        let before = terminal.shows("before ");
        let pid: i32 = terminal.shows("pid ").parse().unwrap();
        terminal.shows("first");
        match key {
            Some(key) => terminal.types(key),
            None => kill(Pid::from_raw(pid), signal).unwrap(),
        }
        assert_eq!(terminal.shows("code "), code, "{signal}");
        assert_eq!(terminal.shows("after "), before, "{signal}");
        let shown = terminal.end();
        for back in ["\x1b[?1049l", "\x1b[?25h", "\x1b[0m"] {
            assert!(shown.contains(back), "{signal}: no {back:?} in {shown:?}");
        }
    }
}

/// Ctrl-Z gives the shell its terminal, and `fg` shows what there is by then.
#[test]
fn what_is_shown_can_be_stopped_and_taken_up_again() {
    let machine = Machine::with_recording(&[drawn("first")], Then::HoldOn);
    let steps = "set -m\necho before $(stty -g)\nGATE session watch ID\necho stopped $(stty -g)\nfg\necho code $?\necho after $(stty -g)\n";
    let mut terminal = Terminal::runs(&machine, steps);
    let before = terminal.shows("before ");
    terminal.shows("first");
    machine.records(&[drawn("second"), json!({"end": {"standing": "whole"}})], Then::End);
    terminal.types("\x1a");
    assert_eq!(terminal.shows("stopped "), before);
    terminal.shows("second");
    assert_eq!(terminal.shows("code "), "0");
    assert_eq!(terminal.shows("after "), before);
    let shown = terminal.end();
    let (first, second) = shown.split_once("stopped ").unwrap();
    for part in [first, second] {
        assert!(part.contains("\x1b[?1049l") && part.contains("\x1b[?25h"), "{part:?}");
    }
    let asked = machine.gateway.asked();
    let again = asked
        .iter()
        .filter(|asked| asked.starts_with(&format!("/sessions/{ID}/recording")));
    assert_eq!(again.count(), 2, "{asked:?}");
}

/// Where no shell could let it go on again, it goes on: the kernel stops no orphaned group either.
#[test]
fn what_no_shell_could_take_up_again_is_not_stopped() {
    let machine = Machine::with_recording(&[drawn("first")], Then::HoldOn);
    let mut terminal = Terminal::runs(&machine, SHOWN);
    terminal.shows("first");
    terminal.types("\x1a\x03");
    assert_eq!(terminal.shows("code "), "130");
    terminal.end();
}
