//! A service with everything that is hard to carry: see the head of `tests/counterparts/backends/web/main.go` for its addresses.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use aws_lc_rs::digest::{Context, SHA256};
use serde_json::Value;

use super::{Server, body_of};
use crate::counterparts::program;
use crate::pki::Identity;
use crate::process::Folder;

const SOCKET: &str = "web.sock";

/// A running one.
#[derive(Debug)]
pub struct Web {
    /// Its server.
    pub server: Server,
}

impl Web {
    /// Starts it on HTTP/1.1 without TLS.
    ///
    /// # Errors
    /// It is not built, or does not start.
    pub fn start() -> anyhow::Result<Self> {
        Self::with(|_| Ok(Vec::new()))
    }

    /// Over TLS with this certificate, HTTP/1.1 and HTTP/2. [`Web::say`] and its like do not reach it.
    ///
    /// # Errors
    /// As [`Web::start`].
    pub fn over_tls(identity: &Identity) -> anyhow::Result<Self> {
        Self::with(|folder| super::tls(folder, identity))
    }

    /// On HTTP/2 too, without TLS.
    ///
    /// # Errors
    /// As [`Web::start`].
    pub fn over_h2c() -> anyhow::Result<Self> {
        Self::with(|_| Ok(vec!["-h2c".into()]))
    }

    fn with(more: impl FnOnce(&Folder) -> anyhow::Result<Vec<OsString>>) -> anyhow::Result<Self> {
        let server = Server::start("web", |folder, listen| {
            let mut command = Command::new(program("backend-web")?);
            command.arg("-listen").arg(listen.to_string());
            command
                .arg("-socket")
                .arg(folder.path().join(SOCKET))
                .args(more(folder)?);
            Ok(command)
        })?;
        Ok(Self { server })
    }

    /// The unix socket on which it listens besides.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.server.folder().path().join(SOCKET)
    }

    /// How many streams are open and have ended by name, and how many answers wait at which gate.
    ///
    /// # Errors
    /// It does not say.
    pub fn state(&self) -> anyhow::Result<Value> {
        let answer = self.server.ask("GET /state", "")?;
        serde_json::from_slice(body_of(answer.as_bytes())?).context(answer)
    }

    /// Waits until `/state` has this number at `kind` (`open`, `ended`, `waiting`) of `name`.
    ///
    /// # Errors
    /// It never has.
    pub fn has(&self, kind: &str, name: &str, number: u64) -> anyhow::Result<()> {
        crate::wait::try_until(&format!("{number} {kind} of {name}"), crate::wait::PATIENCE, || {
            let state = self.state()?;
            let found = state
                .get(kind)
                .and_then(|names| names.get(name))
                .and_then(Value::as_u64);
            ensure!(found.unwrap_or(0) == number, "{state}");
            Ok(())
        })
    }

    /// Says words on a stream; how many heard them.
    ///
    /// # Errors
    /// It does not take them.
    pub fn say(&self, stream: &str, words: &str) -> anyhow::Result<u64> {
        let answer = self.post(&format!("/say?stream={stream}"), words)?;
        let heard = String::from_utf8_lossy(body_of(answer.as_bytes())?).trim().parse();
        heard.context(answer)
    }

    /// Lets what waits at a gate go on.
    ///
    /// # Errors
    /// It does not answer.
    pub fn release(&self, gate: &str) -> anyhow::Result<()> {
        let answer = self.post(&format!("/release?gate={gate}"), "")?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        Ok(())
    }

    fn post(&self, target: &str, body: &str) -> anyhow::Result<String> {
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.server.address(),
            body.len()
        );
        Ok(String::from_utf8_lossy(&self.server.exchange(request.as_bytes())?).into_owned())
    }
}

/// The size of what is called large.
pub const GIBIBYTE: u64 = 1 << 30;

/// A block of `/bytes`: its number in eight bytes, and behind it what is the same in each.
const BLOCK: usize = 64 << 10;

/// The content of `/bytes`: what stands in `size` bytes from the first on, in pieces that are handed to `each`.
///
/// # Errors
/// `each` fails.
pub fn generated(size: u64, mut each: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let words = (0..BLOCK as u64 / 8).flat_map(|word| word.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    let mut block: Vec<u8> = words.collect();
    let (mut rest, mut number) = (size, 0_u64);
    while rest > 0 {
        if let Some(begin) = block.first_chunk_mut() {
            *begin = number.to_be_bytes();
        }
        let piece = usize::try_from(rest).unwrap_or(BLOCK).min(BLOCK);
        each(block.get(..piece).unwrap_or_default())?;
        rest -= piece as u64;
        number += 1;
    }
    Ok(())
}

/// Length and SHA-256 (hexadecimal) of that content.
#[must_use]
pub fn digest_of(size: u64) -> String {
    let mut hash = Context::new(&SHA256);
    let hashed = generated(size, |piece| {
        hash.update(piece);
        Ok(())
    });
    hashed.map(|()| hex::encode(hash.finish())).unwrap_or_default()
}

/// Reads a body to its end without keeping it; length and SHA-256.
///
/// # Errors
/// The connection broke.
pub fn digest_read(from: &mut impl Read) -> anyhow::Result<(u64, String)> {
    let (mut hash, mut length) = (Context::new(&SHA256), 0);
    let mut piece = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut piece)?;
        let Some(piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else {
            return Ok((length, hex::encode(hash.finish())));
        };
        hash.update(piece);
        length += read as u64;
    }
}

/// Reads the head of an answer from a connection, byte by byte, so that nothing behind it is taken.
///
/// # Errors
/// The connection ends within it.
pub fn read_head(from: &mut impl Read) -> anyhow::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        from.read_exact(&mut byte)
            .with_context(|| String::from_utf8_lossy(&head).into_owned())?;
        head.extend(byte);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Sends all of `/bytes`' content of this size as a body; the head was sent before.
///
/// # Errors
/// The connection broke.
pub fn send_generated(to: &mut impl Write, size: u64) -> anyhow::Result<()> {
    generated(size, |piece| Ok(to.write_all(piece)?))
}
