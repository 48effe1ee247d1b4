//! The file that benches carry: half of it as random as an archive, half of it lines as programs write them, by turns of
//! 64 KiB, so that neither a compressor nor a search for secrets has it easier than with what people carry.

use anyhow::ensure;
use aws_lc_rs::digest::{Context, SHA256};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

/// What stands for a file's or stream's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// How many.
    pub bytes: u64,
    /// Their SHA-256.
    pub digest: Vec<u8>,
}

impl Content {
    /// Whether what arrived is what was sent.
    ///
    /// # Errors
    /// It is not; the error says how long it is.
    pub fn is(&self, arrived: &Self) -> anyhow::Result<()> {
        ensure!(
            arrived.bytes == self.bytes,
            "{} bytes of {} arrived",
            arrived.bytes,
            self.bytes
        );
        ensure!(arrived.digest == self.digest, "other bytes arrived");
        Ok(())
    }
}

const BLOCK: usize = 64 << 10;

/// Writes a file of so many bytes, which is the same each time.
///
/// # Errors
/// The disk refuses.
pub fn write(path: &Path, bytes: u64) -> anyhow::Result<Content> {
    let mut file = BufWriter::new(File::create(path)?);
    let content = copied(Source::default().take(bytes), &mut file)?;
    file.flush()?;
    Ok(content)
}

/// Reads to the end and writes it on; what stands for it.
///
/// # Errors
/// It cannot be read or written.
pub fn copied(mut from: impl Read, to: &mut impl Write) -> std::io::Result<Content> {
    let (mut digest, mut bytes, mut room) = (Context::new(&SHA256), 0, vec![0; 4 * BLOCK]);
    loop {
        let count = match from.read(&mut room) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let piece = room.get(..count).unwrap_or_default();
        digest.update(piece);
        to.write_all(piece)?;
        bytes += count as u64;
    }
    Ok(Content {
        bytes,
        digest: digest.finish().as_ref().to_vec(),
    })
}

/// Endless blocks.
#[derive(Debug)]
struct Source {
    state: u64,
    blocks: u64,
    left: Vec<u8>,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            state: 0x9e37_79b9_7f4a_7c15,
            blocks: 0,
            left: Vec::new(),
        }
    }
}

impl Source {
    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn next_block(&mut self) {
        self.blocks += 1;
        self.left.clear();
        while self.left.len() < BLOCK {
            if self.blocks % 2 == 1 {
                let random = self.random().to_le_bytes();
                self.left.extend(random);
            } else {
                let (id, took) = (self.random() >> 40, self.random() % 1_000);
                let line = format!(
                    "2026-11-21T08:00:00Z level=info msg=\"request served\" path=/api/v1/items/{id} status=200 took={took}ms\n"
                );
                self.left.extend(line.bytes());
            }
        }
        self.left.truncate(BLOCK);
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.left.is_empty() {
            self.next_block();
        }
        let count = into.len().min(self.left.len());
        for (place, byte) in into.iter_mut().zip(self.left.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_less_more_or_other_is_not_what_was_sent() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("sent");
        let sent = write(&path, 200_001)?;
        let mut bytes = std::fs::read(&path)?;
        let read = |bytes: &[u8]| copied(bytes, &mut std::io::sink());
        assert_eq!(bytes.len(), 200_001);
        sent.is(&read(&bytes)?)?;
        bytes[100_000] ^= 1;
        assert_eq!(sent.is(&read(&bytes)?).unwrap_err().to_string(), "other bytes arrived");
        bytes[100_000] ^= 1;
        bytes.swap(0, 1);
        assert!(sent.is(&read(&bytes)?).is_err(), "swapped");
        bytes.swap(0, 1);
        assert_eq!(
            sent.is(&read(&bytes[1..])?).unwrap_err().to_string(),
            "200000 bytes of 200001 arrived"
        );
        bytes.push(0);
        assert!(sent.is(&read(&bytes)?).is_err(), "one more");
        Ok(())
    }

    #[test]
    fn it_is_the_same_each_time_and_no_block_is_another_again() -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        let first = copied(Source::default().take(4 * BLOCK as u64), &mut bytes)?;
        assert_eq!(
            copied(Source::default().take(4 * BLOCK as u64), &mut std::io::sink())?,
            first
        );
        let blocks: std::collections::HashSet<_> = bytes.chunks(BLOCK).collect();
        assert_eq!(blocks.len(), 4);
        Ok(())
    }
}
