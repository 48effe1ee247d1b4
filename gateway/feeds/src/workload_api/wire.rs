//! What goes over the socket: messages of gRPC in their frames, and the one answer that is read (SPIFFE Workload API §5.1).
//!
//! Two messages and a status are the whole of gRPC that is spoken here, so that no framework for it is needed: HTTP/2 is
//! hyper's, protobuf is prost's, both in the tree already.

use std::collections::BTreeMap;

use bytes::{Buf as _, Bytes, BytesMut};
use model::spiffe::TrustDomain;
use prost::Message as _;

/// The call.
pub(super) const METHOD: &str = "/SpiffeWorkloadAPI/FetchX509Bundles";
/// Larger messages are refused: gRPC's own default, and thousands of authorities.
const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// A flag and a length stand before each message (gRPC over HTTP/2, Length-Prefixed-Message).
const PREFIX_BYTES: usize = 5;

/// The bundles of all trust domains, each as certificates in DER, one behind the other.
pub type Bundles = BTreeMap<TrustDomain, Bytes>;

/// What one message says; it is complete (§4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) bundles: Bundles,
    /// Revocation lists came with it, which are not read.
    pub(super) has_revocations: bool,
}

/// Why a message is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("it sent a compressed message, which it was not asked for")]
    Compressed,
    #[error("it announced a message of {0} bytes; more than {MAX_MESSAGE_BYTES} are not read")]
    TooLarge(usize),
    #[error("it sent a message that is no X509BundlesResponse")]
    Malformed,
    #[error("it sent a message without any bundle")]
    NoBundles,
    #[error("it sent a bundle whose key is not the SPIFFE ID of a trust domain")]
    NoTrustDomain,
}

/// `X509BundlesResponse` of workloadapi.proto.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct X509BundlesResponse {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(super) crl: Vec<Vec<u8>>,
    #[prost(btree_map = "string, bytes", tag = "2")]
    pub(super) bundles: BTreeMap<String, Vec<u8>>,
}

/// Reads one message. One that lacks what it must have is discarded as a whole (§4.5).
pub(super) fn read(message: &[u8]) -> Result<Answer, WireError> {
    let response = X509BundlesResponse::decode(message).map_err(|_| WireError::Malformed)?;
    if response.bundles.is_empty() {
        return Err(WireError::NoBundles);
    }
    let mut bundles = Bundles::new();
    for (id, certificates) in response.bundles {
        let domain = TrustDomain::of_id(&id).map_err(|_| WireError::NoTrustDomain)?;
        bundles.insert(domain, certificates.into());
    }
    Ok(Answer {
        bundles,
        has_revocations: !response.crl.is_empty(),
    })
}

/// An empty message in its frame: the whole request.
pub(super) const fn request() -> Bytes {
    Bytes::from_static(&[0; PREFIX_BYTES])
}

/// Messages out of bytes that arrive in pieces. Holds one message at most.
#[derive(Debug, Default)]
pub(super) struct Frames(BytesMut);

impl Frames {
    pub(super) fn take_in(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
    }

    /// The next whole message.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, WireError> {
        let mut prefix = self.0.chunk();
        if prefix.len() < PREFIX_BYTES {
            return Ok(None);
        }
        if prefix.get_u8() != 0 {
            return Err(WireError::Compressed);
        }
        let length = usize::try_from(prefix.get_u32()).unwrap_or(usize::MAX);
        if length > MAX_MESSAGE_BYTES {
            return Err(WireError::TooLarge(length));
        }
        if prefix.len() < length {
            return Ok(None);
        }
        self.0.advance(PREFIX_BYTES);
        Ok(Some(self.0.split_to(length).freeze()))
    }
}

/// Entry for the fuzzer: any bytes are messages or a refusal, never a panic; how they are cut changes nothing.
pub fn fuzz_x509_bundles(data: &[u8]) {
    let messages = |size: usize| {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        for piece in data.chunks(size) {
            frames.take_in(piece);
            loop {
                match frames.next() {
                    Ok(Some(message)) => found.push(Ok(message)),
                    Ok(None) => break,
                    Err(error) => {
                        found.push(Err(error));
                        return found;
                    }
                }
            }
        }
        found
    };
    let whole = messages(data.len().max(1));
    assert_eq!(whole, messages(1), "how it is cut changes nothing");
    for message in whole.iter().flatten().map(AsRef::as_ref).chain([data]) {
        let Ok(answer) = read(message) else { continue };
        assert!(!answer.bundles.is_empty(), "a message without bundles is discarded");
        for domain in answer.bundles.keys() {
            assert_eq!(TrustDomain::of_id(&domain.id()).as_ref(), Ok(domain));
        }
    }
}
