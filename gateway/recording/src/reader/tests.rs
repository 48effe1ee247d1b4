//! Files that are whole, cut, changed and swapped.

use std::path::PathBuf;

use model::time::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::head::{Ended, Kind, Rules};
use crate::recorder::Recorder;
use crate::seal::{SealError, Sealed, Sealer};
use crate::tap::{Channel, Event, Way};

const KEY: [u8; 32] = [5; 32];

fn head(session: u128) -> Head {
    Head {
        session: Uuid::from_u128(session),
        kind: Kind::Exec,
        cluster: "demo".into(),
        who: "alice".into(),
        namespace: "default".into(),
        pod: "web-0".into(),
        container: None,
        command: vec!["cat".into()],
        terminal: false,
        input_kept: false,
        reason: None,
        started: Timestamp::from_unix_seconds(1_800_000_000),
    }
}

struct Made {
    folder: tempfile::TempDir,
    path: PathBuf,
    sealed: Vec<Sealed>,
    bytes: Vec<u8>,
}

impl Made {
    /// A recording with these chunks of output, one second each; closed if `ends`.
    fn of(session: u128, outputs: &[&[u8]], ends: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut sealer = Sealer::create(folder.path(), Uuid::from_u128(session), &SessionKey::new(KEY)).unwrap();
        let mut recorder = Recorder::new(head(session), Rules::default());
        let mut sealed = Vec::new();
        for (second, output) in outputs.iter().enumerate() {
            let at = second as u64 * 1_000_000;
            let channel = Channel::Stdout;
            recorder.event(at, Way::Down, Event::Data { channel, bytes: output });
            sealed.push(sealer.seal(&recorder.take(at + 500_000).unwrap()).unwrap());
        }
        if ends {
            let ended = Ended {
                how: "ended".into(),
                why: None,
            };
            for chunk in recorder.finish(outputs.len() as u64 * 1_000_000, ended) {
                sealed.push(sealer.seal(&chunk).unwrap());
            }
        }
        let path = sealer.path().to_owned();
        let root = sealer.close().unwrap();
        assert_eq!(root.chunks, sealed.len() as u64);
        let bytes = std::fs::read(&path).unwrap();
        Self {
            folder,
            path,
            sealed,
            bytes,
        }
    }

    fn anchors(&self) -> Vec<Anchor> {
        self.sealed
            .iter()
            .map(|sealed| Anchor {
                number: sealed.number,
                hash: sealed.hash,
            })
            .collect()
    }

    /// Where each chunk begins and ends.
    fn spans(&self) -> Vec<std::ops::Range<usize>> {
        let mut at = 28;
        let span = |sealed: &Sealed| {
            let start = at;
            at += usize::try_from(sealed.length).unwrap();
            start..at
        };
        self.sealed.iter().map(span).collect()
    }

    fn chunk(&self, number: usize) -> Vec<u8> {
        self.bytes[self.spans()[number].clone()].to_vec()
    }

    /// Opens other bytes in this one's place.
    fn open_as(&self, bytes: &[u8], anchors: &[Anchor]) -> Recording {
        let path = self.folder.path().join("changed.rec");
        std::fs::write(&path, bytes).unwrap();
        Recording::open(&path, &SessionKey::new(KEY), anchors).unwrap()
    }
}

/// The output that can be read, and how reading ended.
fn output(recording: &Recording) -> (Vec<u8>, Result<(), ReadError>) {
    let mut out = Vec::new();
    let mut frames = recording.frames();
    loop {
        match frames.next() {
            Ok(Some(stamped)) => {
                if let Frame::Data { bytes, .. } = stamped.frame {
                    out.extend_from_slice(bytes);
                }
            }
            Ok(None) => return (out, Ok(())),
            Err(error) => return (out, Err(error)),
        }
    }
}

/// What reading says is wrong; what was read before.
fn damage(recording: &Recording) -> (Vec<u8>, Damage) {
    match output(recording) {
        (out, Err(ReadError::Damaged(damage))) => (out, damage),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_recording_leaves_the_room_that_it_was_told_to_leave() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::new(head(7), Rules::default());
    let chunk = recorder.take(0).unwrap();
    let sealer = Sealer::create(folder.path(), Uuid::from_u128(7), &SessionKey::new(KEY)).unwrap();
    let mut sealer = sealer.keeping_free(u64::MAX);
    let full = sealer.seal(&chunk).unwrap_err();
    assert!(matches!(full, SealError::Room { .. }), "{full}");
    // The same chunk may come again.
    sealer = sealer.keeping_free(1);
    assert_eq!(sealer.seal(&chunk).unwrap().number, 0);
}

#[test]
fn a_file_is_looked_through_for_as_long_as_somebody_waits_for_it() {
    let made = Made::of(1, &[b"one ", b"two ", b"three"], true);
    let key = SessionKey::new(KEY);
    let chunks = made.sealed.len();
    for patience in 0..=chunks + 1 {
        let mut asked = 0;
        let opened = Recording::open_while(&made.path, &key, &made.anchors(), &mut || {
            asked += 1;
            asked <= patience
        });
        match opened {
            Ok(recording) => assert_eq!((recording.tail(), patience >= chunks), (Tail::Closed, true)),
            Err(error) => assert!(
                matches!(error, ReadError::GivenUp) && patience < chunks,
                "{error} {patience}"
            ),
        }
    }
}

#[test]
fn what_was_sealed_is_read_and_agrees_with_the_ledger() {
    let made = Made::of(1, &[b"one ", b"two ", b"three"], true);
    let recording = Recording::open(&made.path, &SessionKey::new(KEY), &made.anchors()).unwrap();
    let (out, end) = output(&recording);
    assert_eq!(out, b"one two three");
    assert!(end.is_ok());
    assert_eq!(recording.tail(), Tail::Closed);
    assert_eq!(recording.head().unwrap().unwrap(), head(1));
    assert_eq!(recording.finish().unwrap().unwrap().totals.down, 13);
    let survey = Survey::of(&made.path, &made.anchors()).unwrap();
    assert_eq!(survey, recording.survey());
    assert_eq!(survey.root.hash, made.sealed[3].hash);
    let of_root = Anchor::of_root(survey.root.chunks, survey.root.hash);
    assert_eq!(of_root, made.anchors().last().copied());
    assert_eq!(Anchor::of_root(0, [0; 32]), None);
    assert_eq!((survey.root.chunks, survey.until_micros), (4, 3_000_000));
    assert_eq!(survey.session, Uuid::from_u128(1));
}

#[test]
fn the_file_is_private_and_shows_nothing_of_what_passed() {
    use std::os::unix::fs::MetadataExt as _;
    let made = Made::of(1, &[b"a text that would be found"], true);
    assert_eq!(std::fs::metadata(&made.path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(
        made.path.file_name().unwrap(),
        "00000000-0000-0000-0000-000000000001.rec"
    );
    let shown = |needle: &[u8]| made.bytes.windows(needle.len()).any(|bytes| bytes == needle);
    assert!(!shown(b"text") && !shown(b"alice") && !shown(&KEY[..8]));
}

#[test]
fn one_session_has_one_recording() {
    let made = Made::of(1, &[], false);
    let again = Sealer::create(made.folder.path(), Uuid::from_u128(1), &SessionKey::new(KEY));
    assert!(matches!(again, Err(SealError::Create { .. })));
    let nowhere = Sealer::create(
        &made.folder.path().join("none"),
        Uuid::from_u128(2),
        &SessionKey::new(KEY),
    );
    assert!(matches!(nowhere, Err(SealError::Create { .. })));
}

#[test]
fn chunks_are_sealed_in_their_order_only() {
    let folder = tempfile::tempdir().unwrap();
    let mut sealer = Sealer::create(folder.path(), Uuid::from_u128(1), &SessionKey::new(KEY)).unwrap();
    let mut recorder = Recorder::new(head(1), Rules::default());
    let first = recorder.take(1).unwrap();
    recorder.event(
        2,
        Way::Down,
        Event::Data {
            channel: Channel::Stdout,
            bytes: b"x",
        },
    );
    let second = recorder.take(3).unwrap();
    let error = sealer.seal(&second).unwrap_err();
    assert_eq!(error.to_string(), "chunk 1 of the recording came where 0 belongs");
    sealer.seal(&first).unwrap();
    assert!(sealer.seal(&first).is_err(), "a number is used once");
    sealer.seal(&second).unwrap();
    let ended = Ended {
        how: "ended".into(),
        why: None,
    };
    let last = recorder.finish(4, ended);
    sealer.seal(&last[0]).unwrap();
    assert!(sealer.seal(&last[0]).is_err(), "nothing follows the end");
}

/// The disk that is full is a limit on the size of files, which holds for a whole process: this test runs itself in one of its own.
#[test]
fn a_chunk_that_a_full_disk_refused_is_sealed_when_there_is_room() {
    const LIMITED: &str = "GATESCRIBE_TEST_LIMITED";
    if std::env::var_os(LIMITED).is_none() {
        let script = "trap '' XFSZ; ulimit -S -f 16; exec \"$@\"";
        let name = "reader::tests::a_chunk_that_a_full_disk_refused_is_sealed_when_there_is_room";
        let run = std::process::Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(LIMITED, "1")
            .output()
            .unwrap();
        let said = String::from_utf8([run.stdout, run.stderr].concat()).unwrap();
        assert!(run.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    let folder = tempfile::tempdir().unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, 10, hard).unwrap();
    let refused = Sealer::create(folder.path(), Uuid::from_u128(1), &SessionKey::new(KEY));
    assert!(matches!(refused, Err(SealError::Create { .. })));
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing of it is left"
    );
    setrlimit(Resource::RLIMIT_FSIZE, soft, hard).unwrap();
    let mut sealer = Sealer::create(folder.path(), Uuid::from_u128(1), &SessionKey::new(KEY)).unwrap();
    let off = Rules {
        masking: crate::Masking::DangerOff,
        ..Rules::default()
    };
    let mut recorder = Recorder::new(head(1), off);
    let noise = noise(100_000);
    let (channel, bytes) = (Channel::Stdout, noise.as_slice());
    recorder.event(1, Way::Down, Event::Data { channel, bytes });
    let chunk = recorder.take(2).unwrap();
    for _ in 0..2 {
        assert!(matches!(sealer.seal(&chunk), Err(SealError::Write(_))));
        let length = std::fs::metadata(sealer.path()).unwrap().len();
        assert_eq!(length, 28, "nothing of it is left");
    }
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
    sealer.seal(&chunk).unwrap();
    // Now it ends with a block, and the next goes past the cache; the disk takes half of it.
    let end = sealer.root().bytes;
    recorder.event(3, Way::Down, Event::Data { channel, bytes });
    let chunk = recorder.take(4).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, end + 50_001, hard).unwrap();
    for _ in 0..2 {
        assert!(matches!(sealer.seal(&chunk), Err(SealError::Write(_))));
        assert_eq!(
            std::fs::metadata(sealer.path()).unwrap().len(),
            end,
            "nothing of it is left"
        );
    }
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
    sealer.seal(&chunk).unwrap();
    let recording = Recording::open(sealer.path(), &SessionKey::new(KEY), &[]).unwrap();
    assert_eq!(output(&recording).0, [noise.as_slice(), &noise].concat());
}

#[test]
fn a_cut_at_any_byte_leaves_all_whole_chunks() {
    let made = Made::of(1, &[b"one ", b"two ", b"three"], true);
    let spans = made.spans();
    for length in 28..made.bytes.len() {
        let recording = made.open_as(&made.bytes[..length], &[]);
        let whole = spans.iter().filter(|span| span.end <= length).count();
        let at_end = length == 28 || spans.iter().any(|span| span.end == length);
        let torn = |start: usize| Tail::Torn {
            at: start as u64,
            bytes: (length - start) as u64,
        };
        let start = spans
            .iter()
            .map(|span| span.end)
            .filter(|end| *end <= length)
            .max()
            .unwrap_or(28);
        assert_eq!(
            recording.tail(),
            if at_end { Tail::Open } else { torn(start) },
            "{length}"
        );
        let (out, end) = output(&recording);
        assert_eq!(
            out,
            [&b"one "[..], b"two ", b"three", b""][..whole].concat(),
            "{length}"
        );
        assert!(end.is_ok());
        assert!(recording.finish().unwrap().is_none());
    }
    for length in 0..28 {
        std::fs::write(made.folder.path().join("short.rec"), &made.bytes[..length]).unwrap();
        let opened = Recording::open(&made.folder.path().join("short.rec"), &SessionKey::new(KEY), &[]);
        assert!(matches!(opened, Err(ReadError::NotARecording)));
    }
}

#[test]
fn a_cut_is_found_with_what_the_ledger_says() {
    let made = Made::of(1, &[b"one ", b"two "], true);
    let cut = made.open_as(&made.bytes[..made.spans()[0].end], &made.anchors());
    let (out, damage) = damage(&cut);
    assert_eq!(out, b"one ");
    assert_eq!(damage, Damage::Cut { chunks: 1, anchored: 2 });
    assert_eq!(
        damage.to_string(),
        "the file ends after 1 chunks, but the ledger knows chunk 2"
    );
}

#[test]
fn a_missing_chunk_and_swapped_chunks_are_named() {
    let made = Made::of(1, &[b"one ", b"two ", b"three"], true);
    let start = made.bytes[..28].to_vec();
    let [a, b, c, d] = [0, 1, 2, 3].map(|number| made.chunk(number));
    let missing = made.open_as(&[&start[..], &a, &c, &d].concat(), &[]);
    let (out, found) = damage(&missing);
    assert_eq!(out, b"one ");
    assert_eq!(found, Damage::Missing { expected: 1, found: 2 });
    let swapped = made.open_as(&[&start[..], &a, &c, &b, &d].concat(), &[]);
    assert_eq!(damage(&swapped).1, Damage::Swapped { expected: 1, found: 2 });
    let twice = made.open_as(&[&start[..], &a, &a, &b].concat(), &[]);
    assert_eq!(damage(&twice).1, Damage::Swapped { expected: 1, found: 0 });
    let surplus = made.open_as(&[&made.bytes[..], b"x"].concat(), &[]);
    let at = made.bytes.len() as u64;
    assert_eq!(damage(&surplus).1, Damage::Surplus { at });
}

#[test]
fn a_chunk_of_another_recording_is_named() {
    let made = Made::of(1, &[b"one ", b"two ", b"three"], true);
    let other = Made::of(2, &[b"ONE ", b"TWO ", b"THREE"], true);
    let start = &made.bytes[..28];
    let mixed = made.open_as(&[start, &made.chunk(0), &other.chunk(1), &made.chunk(2)].concat(), &[]);
    assert_eq!(damage(&mixed).1, Damage::Unchained { number: 1 });
    let other_file = made.open_as(&[start, &other.bytes[28..]].concat(), &[]);
    assert_eq!(damage(&other_file).1, Damage::Unchained { number: 0 });
    let whole = made.open_as(&other.bytes, &made.anchors());
    assert_eq!(damage(&whole).1, Damage::NotAnchored { number: 0 });
}

#[test]
fn a_forged_chunk_does_not_open() {
    // Whoever lacks the key can mend checksum and chain, not the tag.
    let made = Made::of(1, &[b"one "], false);
    let mut bytes = made.bytes.clone();
    let span = made.spans()[0].clone();
    bytes[span.end - 20] ^= 1;
    let covered = bytes[span.start..span.start + 80].try_into().unwrap();
    let check = crate::seal::format::check(&covered, &bytes[span.start + 84..span.end]);
    bytes[span.start + 80..span.start + 84].copy_from_slice(&check.to_le_bytes());
    let forged = made.open_as(&bytes, &[]);
    assert_eq!(forged.tail(), Tail::Open, "the chain alone does not show it");
    assert_eq!(damage(&forged).1, Damage::Foreign { number: 0 });
    assert_eq!(
        damage(&made.open_as(&bytes, &made.anchors())).1,
        Damage::NotAnchored { number: 0 }
    );
    let wrong = Recording::open(&made.path, &SessionKey::new([6; 32]), &[]).unwrap();
    assert_eq!(damage(&wrong).1, Damage::Foreign { number: 0 });
}

#[test]
fn each_changed_bit_is_found() {
    let made = Made::of(1, &[b"one ", b"two "], true);
    let last = made.spans()[2].clone();
    for at in 28..made.bytes.len() {
        let mut bytes = made.bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        let changed = made.open_as(&bytes, &made.anchors());
        assert!(
            matches!(changed.tail(), Tail::Damaged(_)),
            "byte {at}: {:?}",
            changed.tail()
        );
        // Without the ledger the last chunk may look as if a crash had torn it; it is not read either way.
        let alone = made.open_as(&bytes, &[]);
        let is_torn = matches!(alone.tail(), Tail::Torn { .. });
        assert!(is_torn || matches!(alone.tail(), Tail::Damaged(_)), "byte {at}");
        assert!(!is_torn || last.contains(&at) || is_length(&made, at), "byte {at}");
    }
}

/// The length of a chunk that is not the last may reach behind the end of the file, as a torn one's does.
fn is_length(made: &Made, at: usize) -> bool {
    made.spans()
        .iter()
        .any(|span| (span.start..span.start + 4).contains(&at))
}

#[test]
fn zeros_that_a_crash_leaves_are_torn_and_other_bytes_are_not() {
    let made = Made::of(1, &[b"one "], false);
    let zeros = [&made.bytes[..], &[0; 300]].concat();
    let at = made.bytes.len() as u64;
    assert_eq!(made.open_as(&zeros, &[]).tail(), Tail::Torn { at, bytes: 300 });
    let other = [&made.bytes[..], &[0; 300], b"x"].concat();
    assert_eq!(damage(&made.open_as(&other, &[])).1, Damage::Malformed { at });
}

#[test]
fn chunks_that_come_while_it_is_read_are_found() {
    let made = Made::of(1, &[b"one ", b"two "], true);
    let path = made.folder.path().join("live.rec");
    let spans = made.spans();
    std::fs::write(&path, &made.bytes[..spans[0].end + 10]).unwrap();
    let mut recording = Recording::open(&path, &SessionKey::new(KEY), &[]).unwrap();
    assert!(matches!(recording.tail(), Tail::Torn { .. }), "a write is under way");
    assert_eq!(recording.refresh().unwrap(), 0);
    std::fs::write(&path, &made.bytes).unwrap();
    assert_eq!(recording.refresh().unwrap(), 2);
    assert_eq!(recording.tail(), Tail::Closed);
    assert_eq!(output(&recording).0, b"one two ");
    let later = recording.chunk(1).unwrap().unwrap();
    let first = FrameIter::new(&later).unwrap().next().unwrap().unwrap();
    assert_eq!(first.at_micros, 1_000_000);
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn large_chunks_that_do_not_compress_are_read() {
    let noise = noise(2_500_000);
    let folder = tempfile::tempdir().unwrap();
    let mut sealer = Sealer::create(folder.path(), Uuid::from_u128(1), &SessionKey::new(KEY)).unwrap();
    let rules = Rules {
        masking: crate::Masking::DangerOff,
        ..Rules::default()
    };
    let mut recorder = Recorder::new(head(1), rules);
    let channel = Channel::Stdout;
    recorder.event(1, Way::Down, Event::Data { channel, bytes: &noise });
    while let Some(chunk) = recorder.take(2) {
        sealer.seal(&chunk).unwrap();
    }
    let recording = Recording::open(sealer.path(), &SessionKey::new(KEY), &[]).unwrap();
    assert_eq!(output(&recording).0, noise);
}

#[test]
fn a_large_chunk_ends_with_a_block_of_the_disk_and_a_small_one_where_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut sealer = Sealer::create(folder.path(), Uuid::from_u128(1), &SessionKey::new(KEY)).unwrap();
    let rules = Rules {
        masking: crate::Masking::DangerOff,
        ..Rules::default()
    };
    let mut recorder = Recorder::new(head(1), rules);
    let (noise, mut expected, mut at) = (noise(200_000), Vec::new(), 1);
    for length in [200_000, 70_000, 10, 90_000, 20_000, 200_000, 200_000] {
        let (channel, bytes) = (Channel::Stdout, &noise[..length]);
        recorder.event(at, Way::Down, Event::Data { channel, bytes });
        expected.extend_from_slice(bytes);
        at += 1;
        let chunk = recorder.take(at).unwrap();
        let sealed = sealer.seal(&chunk).unwrap();
        recorder.give_back(chunk);
        let is_whole = sealer.root().bytes.is_multiple_of(4096);
        assert_eq!(is_whole, length >= 70_000, "{length} bytes became {}", sealed.length);
        let padded = sealed.length - u64::try_from(length).unwrap();
        assert!(padded < 4096 + 1000, "{padded}");
        let recording = Recording::open(sealer.path(), &SessionKey::new(KEY), &[]).unwrap();
        assert_eq!(output(&recording).0, expected);
    }
}

proptest! {
    #[test]
    fn garbage_behind_a_header_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        fuzz_recording_reader(&bytes);
    }

    #[test]
    fn a_changed_file_never_panics(at in 0..2000_usize, with: u8, length in 0..2000_usize) {
        let made = Made::of(1, &[b"one ", b"two "], true);
        let mut bytes = made.bytes.clone();
        let place = at % bytes.len();
        bytes[place] = with;
        bytes.truncate(length.max(28));
        std::fs::write(made.folder.path().join("changed.rec"), &bytes).unwrap();
        if let Ok(recording) = Recording::open(&made.folder.path().join("changed.rec"), &SessionKey::new(KEY), &[]) {
            let _ = output(&recording);
        }
    }
}
