//! The machine over bytes: one verdict per input, the same however the bytes are split.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Queue(VecDeque<Head>);

impl Heads for Queue {
    fn has_room(&self) -> bool {
        self.0.len() < 64
    }
    fn push(&mut self, head: Head) {
        self.0.push_back(head);
    }
}

fn scan(bytes: &[u8]) -> (Scan, VecDeque<Head>) {
    let mut queue = Queue::default();
    let scan = Machine::new(HeadLimits::default(), Scheme::Https).scan(bytes, &mut queue);
    (scan, queue.0)
}

fn violation(bytes: &str) -> Option<Violation> {
    scan(bytes.as_bytes()).1.pop_back().and_then(|head| head.violation)
}

/// Feeds the bytes in pieces as a socket would; returns what passed, the last stop and the heads.
fn scan_in_pieces(bytes: &[u8], sizes: &[usize]) -> (Vec<u8>, Stop, VecDeque<Head>) {
    let mut machine = Machine::new(HeadLimits::default(), Scheme::Https);
    let (mut queue, mut held, mut passed, mut stop) = (Queue::default(), Vec::new(), Vec::new(), Stop::Exhausted);
    let (mut at, mut sizes) = (0, sizes.iter().cycle());
    while at < bytes.len() {
        let size = (*sizes.next().unwrap()).max(1).min(bytes.len() - at);
        held.extend_from_slice(&bytes[at..at + size]);
        at += size;
        let scan = machine.scan(&held, &mut queue);
        passed.extend(held.drain(..scan.passed));
        stop = scan.stop;
        if !matches!(stop, Stop::Exhausted | Stop::PartialHead) {
            break;
        }
    }
    (passed, stop, queue.0)
}

#[test]
fn pipelined_requests_are_facts_in_order_up_to_the_first_violation() {
    let sound = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcPUT /3 HTTP/1.1\r\nHost: A.:443\r\n\
                 Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let bytes = format!("{sound}GET /4 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nGET /5 HTTP/1.1\r\nHost: a\r\n\r\n");
    let (scan, heads) = scan(bytes.as_bytes());
    assert_eq!((scan.passed, scan.stop), (sound.len(), Stop::Refused));
    let targets: Vec<&[u8]> = heads.iter().map(|head| &head.target[..]).collect();
    assert_eq!(targets, [b"/1", b"/2", b"/3", b"/4"]);
    assert_eq!(heads[2].host.as_ref().unwrap().to_string(), "a:443");
    assert_eq!(heads[3].violation, Some(Violation::HostRepeated));
}

#[test]
fn nothing_passes_behind_an_upgrade_request() {
    let head = "GET /exec HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    let (scan, heads) = scan(format!("{head}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    assert_eq!((scan.passed, scan.stop, heads.len()), (head.len(), Stop::Upgrade, 1));
}

#[test]
fn a_full_queue_holds_the_next_head_back() {
    let one = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (scan, heads) = scan(one.repeat(100).as_bytes());
    assert_eq!(
        (scan.passed, scan.stop, heads.len()),
        (one.len() * 64, Stop::QueueFull, 64)
    );
}

#[test]
fn limits_are_refused_before_the_rest_arrives() {
    assert_eq!(
        violation(&format!("GET /{}", "a".repeat(70_000))),
        Some(Violation::TargetTooLong)
    );
    assert_eq!(
        violation(&format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(70_000))),
        Some(Violation::HeaderLineTooLarge)
    );
    assert_eq!(
        violation(&format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(401))),
        Some(Violation::TooManyHeaders)
    );
    let line = format!("A: {}\r\n", "a".repeat(50_000));
    assert_eq!(
        violation(&format!("GET / HTTP/1.1\r\n{}", line.repeat(5))),
        Some(Violation::HeadTooLarge)
    );
    assert_eq!(violation("\u{16}\u{3}\u{1}"), Some(Violation::RequestLineMalformed));
}

proptest! {
    #[test]
    fn a_verdict_does_not_depend_on_how_the_bytes_are_split(
        parts in proptest::collection::vec(prop_oneof![
            Just("GET / HTTP/1.1\r\n".to_owned()), Just("POST /x HTTP/1.1\r\n".to_owned()), Just("Host: a\r\n".to_owned()),
            Just("Content-Length: 5\r\n".to_owned()), Just("Transfer-Encoding: chunked\r\n".to_owned()), Just("\r\n".to_owned()),
            Just("5\r\nhello\r\n".to_owned()), Just("0\r\n\r\n".to_owned()), Just("hello".to_owned()), Just("\n".to_owned()),
            Just("Connection: upgrade\r\nUpgrade: websocket\r\n".to_owned()), "[ -~\r\n]{0,12}",
        ], 0..24),
        sizes in proptest::collection::vec(1_usize..9, 1..6),
    ) {
        let bytes = parts.concat().into_bytes();
        let (whole, heads) = scan(&bytes);
        let (passed, stop, piecewise) = scan_in_pieces(&bytes, &sizes);
        prop_assert_eq!(&bytes[..whole.passed], &passed[..]);
        prop_assert_eq!(heads.iter().map(|head| (head.target.clone(), head.violation)).collect::<Vec<_>>(),
            piecewise.iter().map(|head| (head.target.clone(), head.violation)).collect::<Vec<_>>());
        if whole.stop != Stop::Upgrade {
            prop_assert_eq!(whole.stop, stop);
        }
    }

    #[test]
    fn no_bytes_make_the_machine_panic_or_pass_more_than_it_was_given(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (scan, _) = scan(&bytes);
        prop_assert!(scan.passed <= bytes.len());
    }
}
