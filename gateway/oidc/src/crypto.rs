//! The one place that calls cryptography: public keys, signatures checked, digests. Signatures are checked by the
//! jsonwebtoken crate over its aws-lc-rs backend; see docs/decisions/0004-token-signatures.md for what it does not do.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;

use crate::Algorithm;

/// A public key for one algorithm, found good when its set was read.
#[derive(Clone)]
pub(crate) struct PublicKey(Checker);

#[derive(Clone)]
enum Checker {
    Library(jsonwebtoken::Algorithm, DecodingKey),
    /// ES512, which the library does not know.
    Own(ParsedPublicKey),
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey")
    }
}

impl PublicKey {
    /// An RSA key; `None` when aws-lc refuses it or the algorithm is not RSA. The library takes any numbers for a key and
    /// would find out with each token.
    pub(crate) fn rsa(algorithm: Algorithm, modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let parameters = rsa_parameters(algorithm)?;
        let numbers = PublicKeyComponents {
            n: modulus,
            e: exponent,
        };
        numbers.to_parsed_public_key(parameters).ok()?;
        let key = DecodingKey::from_rsa_raw_components(modulus, exponent);
        Some(Self(Checker::Library(known(algorithm)?, key)))
    }

    /// A point on the curve of an ECDSA algorithm, uncompressed form.
    pub(crate) fn elliptic(algorithm: Algorithm, point: &[u8]) -> Option<Self> {
        let verification: &'static signature::EcdsaVerificationAlgorithm = match algorithm {
            Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
            Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
            Algorithm::ES512 => &signature::ECDSA_P521_SHA512_FIXED,
            _ => return None,
        };
        let parsed = ParsedPublicKey::new(verification, point).ok()?;
        Some(Self(match known(algorithm) {
            // Its raw form is what the library calls DER.
            Some(algorithm) => Checker::Library(algorithm, DecodingKey::from_ec_der(point)),
            None => Checker::Own(parsed),
        }))
    }

    /// An Ed25519 key that is not of small order: such a key accepts one signature for many messages.
    pub(crate) fn edwards(bytes: &[u8]) -> Option<Self> {
        let usable = bytes.len() == 32 && !is_small_order(bytes);
        usable.then(|| ParsedPublicKey::new(&signature::ED25519, bytes).ok())??;
        let key = DecodingKey::from_ed_der(bytes);
        Some(Self(Checker::Library(jsonwebtoken::Algorithm::EdDSA, key)))
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            // The backend is named, never the process's default one: that panics when a feature elsewhere adds a second.
            Checker::Library(algorithm, key) => (DEFAULT_PROVIDER.verifier_factory)(algorithm, key)
                .is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok()),
            Checker::Own(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

/// The library's name for an algorithm.
pub(crate) fn known(algorithm: Algorithm) -> Option<jsonwebtoken::Algorithm> {
    use jsonwebtoken::Algorithm as Known;
    Some(match algorithm {
        Algorithm::RS256 => Known::RS256,
        Algorithm::RS384 => Known::RS384,
        Algorithm::RS512 => Known::RS512,
        Algorithm::PS256 => Known::PS256,
        Algorithm::PS384 => Known::PS384,
        Algorithm::PS512 => Known::PS512,
        Algorithm::ES256 => Known::ES256,
        Algorithm::ES384 => Known::ES384,
        Algorithm::ES512 => return None,
        Algorithm::EdDSA => Known::EdDSA,
    })
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::ES512 | Algorithm::EdDSA => return None,
    })
}

/// The y coordinates of the eight points of order 1, 2, 4 and 8, non-canonical encodings included, sign bit cleared.
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    first(1),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    near_prime(0xec),
    near_prime(0xed),
    near_prime(0xee),
];

const fn first(byte: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = byte;
    bytes
}

/// 2^255 - 19 ends in 0xed; its neighbours encode -1, 0 and 1.
const fn near_prime(low: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[0] = low;
    bytes[31] = 0x7f;
    bytes
}

fn is_small_order(key: &[u8]) -> bool {
    let mut unsigned = key.to_vec();
    if let Some(last) = unsigned.last_mut() {
        *last &= 0x7f;
    }
    SMALL_ORDER.iter().any(|point| point == unsigned.as_slice())
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// The left half of the hash that belongs to an algorithm, as `at_hash` wants it (OIDC Core §3.1.3.6).
pub(crate) fn half_hash(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
    let hash = match algorithm {
        Algorithm::RS256 | Algorithm::PS256 | Algorithm::ES256 => &digest::SHA256,
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => &digest::SHA384,
        Algorithm::RS512 | Algorithm::PS512 | Algorithm::ES512 | Algorithm::EdDSA => &digest::SHA512,
    };
    let digest = digest::digest(hash, bytes);
    let half = digest.as_ref().len() / 2;
    digest.as_ref().get(..half).unwrap_or_default().to_vec()
}
