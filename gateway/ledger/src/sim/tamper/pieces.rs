//! A segment taken apart into its frames, and put together again.

use crate::frame::{Frame, FrameKind, read_frame, write_frame};
use crate::segment::{Footer, Header};
use crate::tree::{Frontier, leaf_hash};

/// A segment taken apart.
#[derive(Clone, Debug)]
pub(super) struct Pieces {
    pub(super) header: Header,
    pub(super) frames: Vec<Piece>,
    pub(super) is_sealed: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) kind: FrameKind,
    pub(super) starts_batch: bool,
    pub(super) seq: u64,
    pub(super) body: Vec<u8>,
}

impl Piece {
    pub(super) fn len(&self) -> usize {
        crate::frame::FRAME_HEADER_LEN + self.body.len()
    }
}

impl Pieces {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (header, mut at) = Header::decode(bytes)?;
        let mut frames = Vec::new();
        while let Ok(Frame {
            kind,
            starts_batch,
            seq,
            body,
        }) = read_frame(bytes.get(at..)?)
        {
            let piece = Piece {
                kind,
                starts_batch,
                seq,
                body: body.to_vec(),
            };
            at += piece.len();
            frames.push(piece);
        }
        let is_sealed = Footer::decode(bytes.get(at..)?).is_some();
        Some(Self {
            header,
            frames,
            is_sealed,
        })
    }

    /// Where a frame begins and how long it is.
    pub(super) fn span(&self, frame: usize) -> Option<(usize, usize)> {
        let before: usize = self.frames.iter().take(frame).map(Piece::len).sum();
        Some((self.header.encode().len() + before, self.frames.get(frame)?.len()))
    }

    /// Cuts a leaf out, with its parts.
    pub(super) fn drop_record(&mut self, frame: usize) {
        let mut from = frame;
        while from > 0
            && self
                .frames
                .get(from - 1)
                .is_some_and(|piece| piece.kind == FrameKind::Part)
        {
            from -= 1;
        }
        self.frames.drain(from..=frame);
    }

    pub(super) fn renumber(&mut self) {
        let mut seq = self.header.first_seq();
        for piece in &mut self.frames {
            let old = format!("\"seq\":{}", piece.seq);
            piece.seq = seq;
            if let FrameKind::Leaf(_) = piece.kind {
                let leaf = String::from_utf8_lossy(&piece.body).replacen(&old, &format!("\"seq\":{seq}"), 1);
                piece.body = leaf.into_bytes();
                seq += 1;
            }
        }
    }

    /// The file and the hashes beside it; the tree goes on from `frontier`.
    pub(super) fn encode(&self, frontier: &mut Frontier) -> (Vec<u8>, Vec<u8>) {
        let (mut out, mut hashes) = (self.header.encode(), Vec::new());
        for piece in &self.frames {
            write_frame(&mut out, piece.kind, piece.starts_batch, piece.seq, |out| {
                out.extend_from_slice(&piece.body);
            });
            if let FrameKind::Leaf(_) = piece.kind {
                let hash = leaf_hash(&piece.body);
                frontier.push(hash);
                hashes.extend_from_slice(&hash);
            }
        }
        if self.is_sealed {
            let footer = Footer {
                first_seq: self.header.first_seq(),
                next_seq: frontier.size(),
                data_end: u64::try_from(out.len()).unwrap_or(u64::MAX),
                root: frontier.root(),
            };
            out.extend_from_slice(&footer.encode());
        }
        (out, hashes)
    }
}
