//! A long body for a cluster that does not take it.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, ensure};
use aws_lc_rs::digest::{Context as Digest, SHA256};
use aws_lc_rs::hmac;
use tests::caller::both;
use tests::http::{Stream, field};
use tests::wait::PATIENCE;

use super::silence::{MOST_KIB, Pour};
use super::stage::Stage;

const WHOLE: usize = 256 << 20;
/// Half of it; what the systems between client and server hold is far less.
const MOST_UNDER_WAY: usize = WHOLE / 2;

const PIECE: usize = 64 << 10;

/// 64 KiB that differ from all others of the upload.
fn piece(number: usize) -> Vec<u8> {
    let words = (0..PIECE as u64 / 8).map(|word| (word << 32 | number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    words.flat_map(u64::to_le_bytes).collect()
}

/// Asks to send all of it.
fn begin(stage: &Stage, target: &str) -> anyhow::Result<Stream> {
    let mut stream = stage.gateway.client()?.open()?;
    let (token, host) = (&stage.alice.token, stage.gateway.address);
    write!(
        stream,
        "POST {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {WHOLE}\r\n\r\n"
    )?;
    Ok(stream)
}

/// The keyed digest of a body to the pods of the bench, as docs/reference/record-fields.md says it.
fn keyed(secret: &[u8], sha256: &str) -> String {
    let mut tag = secret.to_vec();
    for text in ["gatescribe body v1\0bench", "\0pods\0", sha256] {
        tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &tag), text.as_bytes())
            .as_ref()
            .to_vec();
    }
    hex::encode(tag)
}

/// The head of an answer.
fn head(stream: &mut Stream) -> anyhow::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(String::from_utf8(head)?)
}

#[test]
fn j_01_ups_14_a_quarter_of_a_gibibyte_for_a_server_that_stands_still_waits_at_its_client_and_arrives_whole()
-> anyhow::Result<()> {
    let stage = Stage::new()?;
    let mut neighbour = stage.neighbour()?;
    for target in [
        "/clusters/bench/api/v1/namespaces/free/services/web/proxy/upload",
        "/clusters/bench/api/v1/namespaces/free/pods",
    ] {
        let before = stage.peak_kib()?;
        stage.fake.read_no_bodies(true);
        let mut stream = begin(&stage, target)?;
        let (mut pour, mut digest) = (Pour::default(), Digest::new(&SHA256));
        let mut pieces = (0..WHOLE / PIECE).map(|number| {
            let piece = piece(number);
            digest.update(&piece);
            piece
        });
        pour.is_stopped(&mut stream, &mut neighbour, || pieces.next())?;
        let under_way = pour.taken;
        assert!(
            under_way < MOST_UNDER_WAY,
            "{target}: {under_way} bytes were taken for nobody"
        );
        let grown = stage.peak_kib()? - before;
        println!("peak_grown_kib={grown} under_way_kib={}", under_way >> 10);
        assert!(grown < MOST_KIB, "{target}: {grown} KiB more");

        stage.fake.read_no_bodies(false);
        pour.pours(&mut stream, PATIENCE, || pieces.next())?;
        drop(pieces);
        let head = head(&mut stream)?;
        ensure!(head.starts_with("HTTP/1.1 201 "), "{target}: {head}");
        let (_, outcome) = both(&stage.gateway, field(&head, "audit-id").context("an id")?)?;
        assert_eq!(outcome["outcome"]["bytes_in"], WHOLE, "{outcome}");
        let sent = hex::encode(digest.finish());
        let keyed = keyed(&std::fs::read(stage.gateway.folder().join("data/keys/digests"))?, &sent);
        let wanted = (!target.contains("/proxy/")).then_some(keyed.as_str());
        assert_eq!(outcome["outcome"]["body_hmac"].as_str(), wanted, "{outcome}");
        let grown = stage.peak_kib()? - before;
        println!("peak_grown_kib={grown} whole_kib={}", WHOLE >> 10);
        assert!(grown < MOST_KIB, "{target}: {grown} KiB more for all of it");
    }
    neighbour.leaves(&stage.gateway)?;
    stage.each_session_has_one_end()?;
    Ok(())
}
