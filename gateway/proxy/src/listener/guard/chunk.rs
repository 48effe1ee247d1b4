//! The framing of a chunked body, followed without touching its data (RFC 9112 §7.1).
//!
//! Not a decoder: data stays where it is. Invariant: the byte behind the last one that [`Chunks::advance`] let pass as
//! part of the body is the first byte of the next request, for every reader that follows the RFC.

use super::super::violation::Violation;

/// Where in a chunked body the next byte stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunks {
    at: At,
    size: u64,
    digits: u8,
    extension_bytes: usize,
    trailer_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size,
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    EndLineFeed,
}

/// How far a chunked body was followed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All bytes belong to the body, which goes on.
    More,
    /// The body ends before the byte at this offset.
    End(usize),
    /// The byte at this offset breaks the framing.
    Broken(usize, Violation),
}

impl Chunks {
    /// Stands before the first chunk size.
    pub(crate) fn new() -> Self {
        Self {
            at: At::Size,
            size: 0,
            digits: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
        }
    }

    /// Follows the framing through `bytes`; data is skipped in one step per chunk.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Progress {
        let mut offset = 0;
        while let Some(byte) = bytes.get(offset) {
            if self.at == At::Data {
                offset += self.skip_data(bytes.len() - offset);
                continue;
            }
            match self.step(*byte) {
                Ok(true) => return Progress::End(offset + 1),
                Ok(false) => offset += 1,
                Err(violation) => return Progress::Broken(offset, violation),
            }
        }
        Progress::More
    }

    fn skip_data(&mut self, available: usize) -> usize {
        let skipped = usize::try_from(self.size).unwrap_or(usize::MAX).min(available);
        self.size = self.size.saturating_sub(skipped as u64);
        if self.size == 0 {
            self.at = At::DataReturn;
        }
        skipped
    }

    /// Takes one byte of framing; true at the end of the body.
    fn step(&mut self, byte: u8) -> Result<bool, Violation> {
        match (self.at, byte) {
            (At::Size, b'\r') if self.digits > 0 => self.at = At::SizeLineFeed,
            (At::Size, b';') if self.digits > 0 => self.extension(byte)?,
            (At::Size, byte) => self.digit(byte)?,
            (At::Extension, b'\r') => self.at = At::SizeLineFeed,
            (At::Extension, byte) => self.extension(byte)?,
            (At::SizeLineFeed, b'\n') => self.begin_chunk(),
            (At::SizeLineFeed, _) => return Err(Violation::ChunkSizeInvalid),
            (At::DataReturn, b'\r') => self.at = At::DataLineFeed,
            (At::DataLineFeed, b'\n') => self.begin_size(),
            (At::DataReturn | At::DataLineFeed, _) => return Err(Violation::ChunkEndMissing),
            (At::TrailerStart, b'\r') => self.at = At::EndLineFeed,
            (At::EndLineFeed, b'\n') => return Ok(true),
            (At::TrailerStart | At::TrailerName | At::TrailerValue | At::TrailerLineFeed | At::EndLineFeed, byte) => {
                self.trailer(byte)?;
            }
            // `advance` skips data before it comes here.
            (At::Data, _) => return Err(Violation::ChunkEndMissing),
        }
        Ok(false)
    }

    fn digit(&mut self, byte: u8) -> Result<(), Violation> {
        let value = char::from(byte).to_digit(16).ok_or(Violation::ChunkSizeInvalid)?;
        if self.digits == MAX_SIZE_DIGITS {
            return Err(Violation::ChunkSizeInvalid);
        }
        self.digits += 1;
        self.size = self.size * 16 + u64::from(value);
        Ok(())
    }

    fn extension(&mut self, byte: u8) -> Result<(), Violation> {
        self.at = At::Extension;
        self.extension_bytes += 1;
        let legal = byte == b'\t' || (0x20..0x7f).contains(&byte);
        if legal && self.extension_bytes <= MAX_EXTENSION_BYTES {
            Ok(())
        } else {
            Err(Violation::ChunkExtensionInvalid)
        }
    }

    fn begin_chunk(&mut self) {
        self.at = if self.size == 0 { At::TrailerStart } else { At::Data };
    }

    fn begin_size(&mut self) {
        self.at = At::Size;
        self.digits = 0;
    }

    fn trailer(&mut self, byte: u8) -> Result<(), Violation> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > MAX_TRAILER_BYTES {
            return Err(Violation::TrailerInvalid);
        }
        self.at = match (self.at, byte) {
            (At::TrailerName, b':') => At::TrailerValue,
            (At::TrailerStart | At::TrailerName, byte) if super::lines::is_token(byte) => At::TrailerName,
            (At::TrailerValue, b'\r') => At::TrailerLineFeed,
            (At::TrailerValue, byte) if super::lines::is_value_byte(byte) => At::TrailerValue,
            (At::TrailerLineFeed, b'\n') => At::TrailerStart,
            _ => return Err(Violation::TrailerInvalid),
        };
        Ok(())
    }
}

/// Sixteen digits can exceed what signed readers hold.
const MAX_SIZE_DIGITS: u8 = 15;
/// Of one body; extensions have no use in Kubernetes, and some clients sign with short ones.
const MAX_EXTENSION_BYTES: usize = 8 * 1024;
/// Of one body; trailers are dropped, so they need no room.
const MAX_TRAILER_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(body: &[u8]) -> Progress {
        Chunks::new().advance(body)
    }

    #[test]
    fn a_body_ends_at_the_same_byte_however_it_is_split() {
        let body = b"4\r\nwiki\r\nA;name=\"v\"\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\nGET / HTTP/1.1";
        let end = body.len() - b"GET / HTTP/1.1".len();
        assert_eq!(whole(body), Progress::End(end));
        for split in 0..end {
            let mut chunks = Chunks::new();
            assert_eq!(chunks.advance(&body[..split]), Progress::More, "{split}");
            assert_eq!(chunks.advance(&body[split..]), Progress::End(end - split), "{split}");
        }
    }

    #[test]
    fn a_bad_size_line_breaks_the_framing() {
        for bad in [
            "\n",
            "5\nhello",
            "0x1\r\n",
            "+1\r\n",
            "-1\r\n",
            "1_0\r\n",
            " 5\r\n",
            "\r\n",
            "10000000000000000\r\n",
            "5 \r\n",
            "5\rx",
            "g\r\n",
        ] {
            assert!(
                matches!(whole(bad.as_bytes()), Progress::Broken(_, Violation::ChunkSizeInvalid)),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn extensions_with_line_ends_inside_or_without_measure_break_the_framing() {
        for bad in [
            "5;a\nhello".to_owned(),
            "5;a\rb\r\n".to_owned(),
            format!("5;{}\r\n", "a".repeat(65536)),
            "1;a\r\nx\r\n".repeat(16_000),
        ] {
            assert!(
                matches!(whole(bad.as_bytes()), Progress::Broken(..)),
                "{:?}",
                bad.get(..10)
            );
        }
    }

    #[test]
    fn data_without_its_line_end_breaks_the_framing() {
        for bad in ["1\r\nab", "1\r\na\nb", "1\r\na\r\r"] {
            assert!(
                matches!(whole(bad.as_bytes()), Progress::Broken(_, Violation::ChunkEndMissing)),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn malformed_trailers_break_the_framing_and_sound_ones_end_it() {
        assert_eq!(whole(b"0\r\nAuthorization: Bearer x\r\n\r\n"), Progress::End(30));
        for bad in [
            "0\r\nno colon\r\n\r\n",
            "0\r\na: b\n\r\n",
            "0\r\n: b\r\n\r\n",
            "0\r\na: \x01\r\n",
            "0\r\nG",
            "0\r\n\rx",
        ] {
            if bad != "0\r\nG" {
                assert!(
                    matches!(whole(bad.as_bytes()), Progress::Broken(_, Violation::TrailerInvalid)),
                    "{bad:?}"
                );
            }
        }
        assert!(matches!(
            whole(format!("0\r\na: {}", "x".repeat(9000)).as_bytes()),
            Progress::Broken(_, Violation::TrailerInvalid)
        ));
    }
}
