//! The room in which a chunk becomes its bytes on the disk, used again for the next.
//!
//! It begins at a multiple of [`BLOCK`] in memory, as a disk wants it that is written to directly. A small one is given back: most
//! sessions are terminals, and there are many of them.

/// What every disk that is written to directly is content with: places in memory, in the file, and lengths are multiples of it.
pub(super) const BLOCK: usize = 4 << 10;
/// Below that a room is cheaper to make than to keep.
const KEPT: usize = 64 << 10;
/// A room is too large to be kept when so many times what is needed would fit.
const TOO_LARGE: usize = 4;

/// Bytes that are made once.
#[derive(Default)]
pub(super) struct Room {
    bytes: Vec<u8>,
}

impl Room {
    /// `length` bytes; what stands in them is of earlier chunks. None only if memory has no multiple of [`BLOCK`].
    pub(super) fn of(&mut self, length: usize) -> Option<&mut [u8]> {
        let needed = length.saturating_add(BLOCK);
        if self.bytes.len() < needed || self.bytes.len() / TOO_LARGE > needed {
            self.bytes = Vec::new();
            self.bytes.resize(needed, 0);
        }
        let start = self.start();
        self.bytes.get_mut(start..start.checked_add(length)?)
    }

    /// The first `length` of the bytes that [`Room::of`] lent last.
    pub(super) fn lent(&self, length: usize) -> &[u8] {
        let bytes = self.bytes.get(self.start()..).unwrap_or_default();
        bytes.get(..length).unwrap_or(bytes)
    }

    /// What was lent is not needed any more.
    pub(super) fn give_back(&mut self) {
        if self.bytes.len() < KEPT {
            self.bytes = Vec::new();
        }
    }

    fn start(&self) -> usize {
        self.bytes.as_ptr().align_offset(BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_room_stays_where_it_is_until_it_is_far_too_large() {
        let mut room = Room::default();
        let place = room.of(1 << 20).unwrap().as_ptr();
        assert_eq!(place.align_offset(BLOCK), 0);
        room.of(1 << 20).unwrap()[..3].copy_from_slice(b"one");
        assert_eq!(room.lent(3), b"one");
        room.give_back();
        assert_eq!(room.of(400 << 10).unwrap().as_ptr(), place);
        assert_eq!(room.of(400 << 10).unwrap().len(), 400 << 10);
        room.of(100).unwrap();
        assert!(room.bytes.len() <= 100 + BLOCK, "given back");
        room.give_back();
        assert!(room.bytes.is_empty(), "a small one is not kept");
    }
}
