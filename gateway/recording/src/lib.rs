//! Session recordings: what passes through an exec, attach or port-forward is read on the way, kept, and played again.
//!
//! ```text
//! bytes ─► tap ─► Event ─► Recorder ─► Chunk ─► Sealer ─► <id>.rec ─► Recording ─► Frames ─► cast, transcript, a player
//!                 (masks, counts,      (zstd, AEAD,         (checks the
//!                  reads tar)           chain, sync)          chain)
//! ```
//!
//! What it is not: it moves no bytes. Whoever carries a session shows each piece to a [`tap`] after it has decided to pass it on;
//! nothing here delays or alters it. There is no async runtime, no socket and no clock in this crate; [`Sealer`] and
//! [`Recording`] block on files and belong on a thread that may.
//!
//! Why an own format and not asciicast: that is text, so bytes that are no UTF-8 cannot be kept, stdout and stderr are one, and
//! nothing says whether a line is missing. Frames are the evidence; casts and transcripts are views of them. The format is
//! described in `docs/explanation/recording-format.md`.

#[cfg(any(test, feature = "captures"))]
pub mod captures;
mod cast;
mod chunk;
mod frame;
mod head;
mod mask;
mod reader;
mod recorder;
mod seal;
mod status;
pub mod tap;
mod tar;
mod transcript;

pub use cast::{CastVersion, CastWriter, ViewError, fuzz_asciicast};
pub use chunk::{Chunk, MAX_PLAIN_BYTES};
pub use frame::{Connection, Frame, FrameError, FrameIter, Noted, Stamped, TarFile};
pub use head::{Ended, Finish, Head, Kind, Masking, Rules, Totals};
pub use mask::Secret;
pub use reader::{Anchor, Damage, Frames, ReadError, Recording, Survey, Tail, fuzz_recording_reader};
pub use recorder::{Recorder, mask_words};
pub use seal::{Root, SealError, Sealed, Sealer, SessionKey, Trouble};
pub use status::{Exit, StatusReader, fuzz_exit_status};
pub use tar::fuzz_tar_reader;
pub use transcript::{Transcript, fuzz_transcript, in_words};

#[cfg(test)]
mod tests;
