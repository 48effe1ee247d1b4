//! Forwarded connections: told apart, counted, and given up.

use super::*;

#[test]
fn a_port_forward_is_kept_as_connections_and_digests() {
    let web = Channel::Forward {
        connection: 0,
        port: 80,
    };
    let gone = Channel::Forward {
        connection: 1,
        port: 81,
    };
    let error = Channel::ForwardError {
        connection: 1,
        port: 81,
    };
    let said = record(
        head(&[], false),
        &[
            (1, Way::Up, Event::Opened { channel: web }),
            (2, Way::Up, data(web, b"GET /")),
            (3, Way::Down, data(web, b"ok")),
            (4, Way::Up, Event::Closed { channel: web }),
            (5, Way::Down, Event::Closed { channel: web }),
            (6, Way::Down, data(error, b"dial: token=abc")),
            (7, Way::Down, Event::Reset { channel: gone }),
        ],
    );
    assert!(!format!("{said:?}").contains("GET"));
    let others = others(&said);
    let hash = format!(
        "{:?}",
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"GET /").as_ref()
    );
    let first = "Connection(Connection { channel: Forward { connection: 0, port: 80 }, opened_micros: 1, up: 5, down: 2, up_sha256: ";
    assert!(others[4].starts_with(&format!("{first}{hash}")), "{}", others[4]);
    assert!(others[7].contains("was_reset: true"));
    assert!(
        others[7].contains(&format!("{:?}", b"dial: token=***")),
        "{}",
        others[7]
    );
    let end = others.last().unwrap();
    assert!(
        end.contains(r#""up":5,"down":2,"masked":1,"files":0,"connections":2"#),
        "{end}"
    );
}

#[test]
fn what_comes_behind_a_connections_end_opens_it_no_second_time() {
    let (channel, error) = (
        Channel::Forward {
            connection: 0,
            port: 80,
        },
        Channel::ForwardError {
            connection: 0,
            port: 80,
        },
    );
    let closed = [
        (3, Way::Up, Event::Closed { channel }),
        (3, Way::Down, Event::Closed { channel }),
    ];
    let reset = [(3, Way::Up, Event::Reset { channel })];
    for ends in [&closed[..], &reset] {
        let begins = [
            (1, Way::Up, Event::Opened { channel }),
            (2, Way::Down, data(channel, b"ok")),
        ];
        let behind = [
            (4, Way::Down, data(channel, b"more")),
            (5, Way::Down, data(error, b"broken pipe")),
        ];
        let said = record(head(&[], false), &[&begins, ends, &behind].concat());
        let told = others(&said).into_iter().filter(|one| one.starts_with("Connection("));
        assert_eq!(told.count(), 1, "{said:?}");
        let end = others(&said).last().unwrap().to_string();
        assert!(
            end.contains(r#""down":6"#) && end.contains(r#""connections":1"#),
            "{end}"
        );
    }
}

/// The connections that are told: bytes down, their digest, whether it was given up.
fn connections_told(chunks: &[Chunk]) -> Vec<(u32, u64, [u8; 32], bool)> {
    let mut told = Vec::new();
    for chunk in chunks {
        for stamped in FrameIter::new(chunk.bytes()).unwrap() {
            if let Frame::Connection(one) = stamped.unwrap().frame
                && let Channel::Forward { connection, .. } = one.channel
            {
                told.push((connection, one.down, one.down_sha256, one.was_reset));
            }
        }
    }
    told
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().unwrap()
}

#[test]
fn promise_3_a_client_that_gives_a_connection_up_hides_nothing_of_what_the_pod_sends_it() {
    let channel = Channel::Forward {
        connection: 0,
        port: 5432,
    };
    let reset = (3, Way::Up, Event::Reset { channel });
    let closed = |way| (5, way, Event::Closed { channel });
    let (closed_up, closed_down) = (closed(Way::Up), closed(Way::Down));
    let reset_down = (5, Way::Down, Event::Reset { channel });
    // However it ends behind that: by the pod's end, by its reset, by the session's; also of a client that ended its half before.
    for (before, behind) in [
        (vec![], vec![closed_down]),
        (vec![], vec![reset_down]),
        (vec![], vec![]),
        (vec![closed_up], vec![closed_down]),
        (vec![], vec![reset, closed_up, closed_down]),
    ] {
        let mut recorder = Recorder::new(head(&[], false), Rules::default());
        let begins = [
            (1, Way::Up, Event::Opened { channel }),
            (2, Way::Up, data(channel, b"COPY t TO STDOUT")),
        ];
        let table = [
            (4, Way::Down, data(channel, b"alice,")),
            (4, Way::Down, data(channel, b"bob")),
        ];
        for (at, way, event) in [&begins[..], &before, &[reset], &table, &behind].concat() {
            recorder.event(at, way, event);
        }
        let chunks = recorder.finish(9, ended());
        assert_eq!(
            connections_told(&chunks),
            [(0, 9, sha256(b"alice,bob"), true)],
            "{before:?} {behind:?}"
        );
    }
}

#[test]
fn of_more_connections_than_are_told_apart_those_that_were_given_up_first_make_room() {
    let mut recorder = Recorder::new(head(&[], false), Rules::default());
    let channel = |connection| Channel::Forward { connection, port: 1 };
    for connection in 0..4096 {
        let channel = channel(connection);
        recorder.event(1, Way::Up, Event::Opened { channel });
    }
    for connection in [7, 3, 5] {
        let channel = channel(connection);
        recorder.event(2, Way::Up, Event::Reset { channel });
    }
    recorder.event(2, Way::Down, Event::Reset { channel: channel(3) });
    for connection in 4096..4099 {
        let channel = channel(connection);
        recorder.event(3, Way::Up, Event::Opened { channel });
        recorder.event(3, Way::Down, data(channel, b"x"));
    }
    recorder.event(4, Way::Down, data(channel(9), b"y"));
    let chunks = recorder.finish(5, ended());
    let told = connections_told(&chunks);
    let order: Vec<u32> = told.iter().take(3).map(|one| one.0).collect();
    assert_eq!(order, [3, 7, 5]);
    assert_eq!(told.len(), 4099);
    assert_eq!(told.iter().map(|one| one.1).sum::<u64>(), 4);
    assert!(!format!("{:?}", said(&chunks)).contains("ConnectionsUnlisted"));
}

#[test]
fn what_an_open_connection_carried_is_counted_with_each_chunk() {
    let channel = Channel::Forward {
        connection: 0,
        port: 80,
    };
    let mut recorder = Recorder::new(head(&[], false), Rules::default());
    drop(recorder.take(0));
    let mut counted = Vec::new();
    for (at, bytes) in [(1, &b"GET /"[..]), (2, b"ok")] {
        let way = if at == 1 { Way::Up } else { Way::Down };
        recorder.event(at, way, data(channel, bytes));
        assert!(recorder.is_due(at + 2_000_000));
        let chunk = recorder.take(at).unwrap();
        for stamped in FrameIter::new(chunk.bytes()).unwrap() {
            if let Frame::Counted { way, bytes, .. } = stamped.unwrap().frame {
                counted.push((way, bytes));
            }
        }
        assert!(recorder.take(at).is_none(), "nothing is told twice");
    }
    assert_eq!(counted, [(Way::Up, 5), (Way::Down, 2)]);
}

#[test]
fn more_connections_than_are_told_apart_are_counted() {
    let mut recorder = Recorder::new(head(&[], false), Rules::default());
    for connection in 0..5000 {
        let channel = Channel::Forward { connection, port: 1 };
        recorder.event(1, Way::Up, Event::Opened { channel });
        recorder.event(1, Way::Up, data(channel, b"x"));
    }
    let said = said(&recorder.finish(2, ended()));
    let note = "Note { noted: ConnectionsUnlisted, count: 904, text: [] }";
    assert!(others(&said).contains(&note));
}
