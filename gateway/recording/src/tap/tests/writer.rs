//! Writes what taps read. Shares nothing with them but SPDY's dictionary.

use flate2::{Compress, Compression, FlushCompress};

use super::super::spdy::DICTIONARY;

/// One direction of a SPDY connection.
pub(super) struct SpdyWriter(Compress);

impl SpdyWriter {
    pub(super) fn new() -> Self {
        let mut compress = Compress::new(Compression::best(), true);
        compress.set_dictionary(DICTIONARY).unwrap();
        Self(compress)
    }

    /// Compresses behind all that was compressed before.
    pub(super) fn compress(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut block = Vec::with_capacity(plain.len() + 1024);
        let read = self.0.total_in();
        self.0.compress_vec(plain, &mut block, FlushCompress::Sync).unwrap();
        assert_eq!(self.0.total_in() - read, plain.len() as u64);
        block
    }

    pub(super) fn block(&mut self, pairs: &[(&str, &str)]) -> Vec<u8> {
        self.compress(&list(pairs))
    }

    pub(super) fn syn_stream(&mut self, id: u32, pairs: &[(&str, &str)]) -> Vec<u8> {
        self.syn_stream_with(id, 0, pairs)
    }

    pub(super) fn syn_stream_with(&mut self, id: u32, flags: u8, pairs: &[(&str, &str)]) -> Vec<u8> {
        let block = self.block(pairs);
        syn_stream(id, flags, &block)
    }

    pub(super) fn syn_reply(&mut self, id: u32) -> Vec<u8> {
        let block = self.block(&[]);
        control(2, 0, &[&id.to_be_bytes(), block.as_slice()].concat())
    }

    pub(super) fn headers(&mut self, id: u32, flags: u8, pairs: &[(&str, &str)]) -> Vec<u8> {
        let block = self.block(pairs);
        control(8, flags, &[&id.to_be_bytes(), block.as_slice()].concat())
    }
}

pub(super) fn list(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut list = u32::try_from(pairs.len()).unwrap().to_be_bytes().to_vec();
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        list.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        list.extend(text.as_bytes());
    }
    list
}

pub(super) fn syn_stream(id: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    control(1, flags, &[&id.to_be_bytes(), &[0; 6][..], block].concat())
}

pub(super) fn control(kind: u16, flags: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let mut frame = vec![0x80, 3];
    frame.extend(kind.to_be_bytes());
    frame.push(flags);
    frame.extend(&length[1..]);
    frame.extend(body);
    frame
}

pub(super) fn spdy_data(id: u32, bytes: &[u8]) -> Vec<u8> {
    spdy_data_with(id, 0, bytes)
}

pub(super) fn spdy_last(id: u32, bytes: &[u8]) -> Vec<u8> {
    spdy_data_with(id, 1, bytes)
}

fn spdy_data_with(id: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [id.to_be_bytes().as_slice(), &[flags], &length[1..], bytes].concat()
}

pub(super) fn rst(id: u32) -> Vec<u8> {
    control(3, 0, &[id.to_be_bytes(), 5_u32.to_be_bytes()].concat())
}

pub(super) fn goaway(last: u32) -> Vec<u8> {
    control(7, 0, &[last.to_be_bytes(), [0; 4]].concat())
}

pub(super) fn ping(id: u32) -> Vec<u8> {
    control(6, 0, &id.to_be_bytes())
}

pub(super) fn settings(pairs: &[(u32, u32)]) -> Vec<u8> {
    let mut body = u32::try_from(pairs.len()).unwrap().to_be_bytes().to_vec();
    for (id, value) in pairs {
        body.extend(id.to_be_bytes());
        body.extend(value.to_be_bytes());
    }
    control(4, 0, &body)
}

/// A frame of a WebSocket: `first` has the last-frame bit, the reserved bits and the kind.
pub(super) fn ws_frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(masked | u8::try_from(length).unwrap()),
        length @ 126..=0xffff => {
            frame.push(masked | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(masked | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask.unwrap_or_default().iter().filter(|_| mask.is_some()));
    let mask = mask.unwrap_or_default();
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A whole binary message of a client.
pub(super) fn ws_up(payload: &[u8]) -> Vec<u8> {
    ws_frame(0x82, Some(MASK), payload)
}

/// A whole binary message of a server.
pub(super) fn ws_down(payload: &[u8]) -> Vec<u8> {
    ws_frame(0x82, None, payload)
}

pub(super) const MASK: [u8; 4] = [0x11, 0xa2, 0x00, 0x7e];
