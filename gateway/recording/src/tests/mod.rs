//! Frames as bytes, views of whole recordings, and the frozen format.

mod frames;
mod frozen;
mod full_screen;
mod terminals;
mod views;

use model::time::Timestamp;
use uuid::Uuid;

use crate::tap::{Channel, Control, Event, Way};
use crate::{Ended, Head, Kind, Recorder, Recording, Rules, Sealer, SessionKey};

const KEY: [u8; 32] = [7; 32];

pub(crate) fn head(command: &[&str], terminal: bool) -> Head {
    Head {
        session: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
        kind: Kind::Exec,
        cluster: "demo".into(),
        who: "alice@example.com".into(),
        namespace: "default".into(),
        pod: "web-0".into(),
        container: Some("app".into()),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        terminal,
        input_kept: false,
        reason: Some("ticket 1".into()),
        started: Timestamp::from_unix_seconds(1_800_000_000),
    }
}

fn ended() -> Ended {
    Ended {
        how: "ended".into(),
        why: None,
    }
}

pub(crate) fn down(channel: Channel, bytes: &[u8]) -> (Way, Event<'_>) {
    (Way::Down, Event::Data { channel, bytes })
}

/// A recording of these events; a chunk is taken whenever one is due.
pub(crate) fn recorded(head: Head, events: &[(u64, (Way, Event<'_>))]) -> (tempfile::TempDir, Recording) {
    let folder = tempfile::tempdir().unwrap();
    let mut sealer = Sealer::create(folder.path(), head.session, &SessionKey::new(KEY)).unwrap();
    let mut recorder = Recorder::new(head, Rules::default());
    let mut last = 0;
    for (at, (way, event)) in events {
        if recorder.is_due(*at) {
            sealer.seal(&recorder.take(*at).unwrap()).unwrap();
        }
        recorder.event(*at, *way, *event);
        last = *at;
    }
    for chunk in recorder.finish(last, ended()) {
        sealer.seal(&chunk).unwrap();
    }
    let recording = Recording::open(sealer.path(), &SessionKey::new(KEY), &[]).unwrap();
    (folder, recording)
}

#[test]
fn recorder_and_sealer_may_go_to_other_threads() {
    fn may_go<T: Send>() {}
    may_go::<Recorder>();
    may_go::<Sealer>();
    may_go::<Recording>();
    may_go::<crate::Chunk>();
}
