//! One JSON Web Key (RFC 7517, 7518 §6, 8037), parsed once for every algorithm it may serve.

use serde_json::{Map, Value};

use crate::crypto::{PublicKey, sha256};
use crate::encoding::{decode, encode};
use crate::{Algorithm, TokenError};

/// Why a key of a set is not used. The set's other keys are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyAlarm {
    /// A symmetric key: published, so no secret any more.
    #[error("a symmetric key (`kty: oct`) stands in the published set; it proves nothing and is ignored")]
    Symmetric,
    /// RSA under 2048 or over 8192 bits.
    #[error("an RSA key of {bits} bits is ignored; the provider must use 2048 to 8192")]
    WeakRsa {
        /// Its length.
        bits: usize,
    },
    /// RSA with exponent 1, an even one, or one longer than 32 bits.
    #[error("an RSA key with an unsafe public exponent is ignored")]
    Exponent,
    /// A point that is not on its curve, or of small order.
    #[error("a key is ignored: its point is not a valid one")]
    Point,
    /// Members missing or of the wrong type.
    #[error("a key is ignored: it is not written as RFC 7518 says")]
    Malformed,
    /// Two different keys of one name and one type.
    #[error("two different keys have the same `kid`; only the first is used")]
    DuplicateName,
}

/// A usable public key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) kid: Option<String>,
    /// RFC 7638.
    pub(crate) thumbprint: [u8; 32],
    kty: &'static str,
    forms: Vec<(Algorithm, PublicKey)>,
}

/// What a member of `keys` turned out to be.
pub(crate) enum Read {
    Usable(Key),
    /// Not for signatures, or of a kind that is not known: nothing wrong with it.
    Other,
    /// Private material in a public document.
    Private,
    Alarm(KeyAlarm),
}

impl Key {
    pub(crate) fn read(members: &Map<String, Value>) -> Read {
        if ["d", "p", "q", "dp", "dq", "qi", "oth"]
            .iter()
            .any(|name| members.contains_key(*name))
        {
            return Read::Private;
        }
        match text(members, "kty") {
            Some("oct") => return Read::Alarm(KeyAlarm::Symmetric),
            Some(_) if !is_for_signatures(members) => return Read::Other,
            Some(_) => {}
            None => return Read::Alarm(KeyAlarm::Malformed),
        }
        match usable(members) {
            Ok(Some(key)) => Read::Usable(key),
            Ok(None) => Read::Other,
            Err(alarm) => Read::Alarm(alarm),
        }
    }

    /// The same key under the same name for the same algorithms.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let algorithms = |key: &Self| key.forms.iter().map(|(algorithm, _)| *algorithm).collect::<Vec<_>>();
        self.thumbprint == other.thumbprint && self.kid == other.kid && algorithms(self) == algorithms(other)
    }

    /// Whether another key of this name would make the name ambiguous.
    pub(crate) fn conflicts(&self, other: &Self) -> bool {
        self.kid.is_some() && self.kid == other.kid && self.kty == other.kty
    }

    pub(crate) fn serves(&self, algorithm: Algorithm) -> bool {
        self.forms.iter().any(|(known, _)| *known == algorithm)
    }

    /// Checks a signature with exactly this algorithm.
    pub(crate) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), TokenError> {
        let form = self.forms.iter().find(|(known, _)| *known == algorithm);
        let (_, key) = form.ok_or(TokenError::KeyMismatch)?;
        if key.verifies(message, signature) {
            Ok(())
        } else {
            Err(TokenError::Signature)
        }
    }
}

fn text<'k>(members: &'k Map<String, Value>, name: &str) -> Option<&'k str> {
    members.get(name).and_then(Value::as_str)
}

/// `use` and `key_ops` must allow verifying, where they stand (RFC 7517 §4.2, §4.3).
fn is_for_signatures(members: &Map<String, Value>) -> bool {
    let use_fits = members.get("use").is_none_or(|value| value == "sig");
    let operations_fit = members.get("key_ops").is_none_or(|value| {
        value
            .as_array()
            .is_some_and(|operations| operations.iter().any(|operation| operation == "verify"))
    });
    use_fits && operations_fit
}

fn usable(members: &Map<String, Value>) -> Result<Option<Key>, KeyAlarm> {
    let kid = match members.get("kid") {
        None => None,
        Some(Value::String(kid)) if !kid.is_empty() => Some(kid.clone()),
        Some(_) => return Err(KeyAlarm::Malformed),
    };
    let named = match members.get("alg") {
        None => None,
        Some(Value::String(name)) => match Algorithm::named(name) {
            Some(algorithm) => Some(algorithm),
            None => return Ok(None),
        },
        Some(_) => return Err(KeyAlarm::Malformed),
    };
    let (kty, forms, canonical) = match text(members, "kty") {
        Some("RSA") => rsa(members, named)?,
        Some("EC") => match elliptic(members)? {
            Some(parts) => parts,
            None => return Ok(None),
        },
        Some("OKP") if text(members, "crv") == Some("Ed25519") => edwards(members)?,
        _ => return Ok(None),
    };
    let forms: Vec<_> = forms
        .into_iter()
        .filter(|(algorithm, _)| named.is_none_or(|named| named == *algorithm))
        .collect();
    if forms.is_empty() {
        return Err(KeyAlarm::Malformed);
    }
    Ok(Some(Key {
        kid,
        thumbprint: sha256(canonical.as_bytes()),
        kty,
        forms,
    }))
}

type Parts = (&'static str, Vec<(Algorithm, PublicKey)>, String);

/// A Base64urlUInt without leading zeros (RFC 7518 §2).
fn number(members: &Map<String, Value>, name: &str) -> Result<Vec<u8>, KeyAlarm> {
    let bytes = text(members, name).and_then(decode).ok_or(KeyAlarm::Malformed)?;
    let start = bytes.iter().position(|byte| *byte != 0).ok_or(KeyAlarm::Malformed)?;
    Ok(bytes.get(start..).unwrap_or_default().to_vec())
}

fn rsa(members: &Map<String, Value>, named: Option<Algorithm>) -> Result<Parts, KeyAlarm> {
    let (modulus, exponent) = (number(members, "n")?, number(members, "e")?);
    let leading = modulus.first().map_or(8, |byte| byte.leading_zeros());
    let bits = (modulus.len() * 8).saturating_sub(usize::try_from(leading).unwrap_or(0));
    if !(2048..=8192).contains(&bits) {
        return Err(KeyAlarm::WeakRsa { bits });
    }
    let is_odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
    if !is_odd || exponent == [1] || exponent.len() > 4 {
        return Err(KeyAlarm::Exponent);
    }
    let forms = Algorithm::ALL
        .into_iter()
        .filter(|algorithm| named.is_none_or(|named| named == *algorithm))
        .filter_map(|algorithm| PublicKey::rsa(algorithm, &modulus, &exponent).map(|key| (algorithm, key)))
        .collect();
    let canonical = format!(
        r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#,
        encode(&exponent),
        encode(&modulus)
    );
    Ok(("RSA", forms, canonical))
}

fn elliptic(members: &Map<String, Value>) -> Result<Option<Parts>, KeyAlarm> {
    let curve = text(members, "crv").ok_or(KeyAlarm::Malformed)?;
    let (algorithm, width) = match curve {
        "P-256" => (Algorithm::ES256, 32),
        "P-384" => (Algorithm::ES384, 48),
        "P-521" => (Algorithm::ES512, 66),
        _ => return Ok(None),
    };
    let coordinate = |name| {
        text(members, name)
            .and_then(decode)
            .filter(|bytes| bytes.len() == width)
    };
    let (x, y) = coordinate("x").zip(coordinate("y")).ok_or(KeyAlarm::Malformed)?;
    let point = [&[4_u8][..], &x, &y].concat();
    let key = PublicKey::elliptic(algorithm, &point).ok_or(KeyAlarm::Point)?;
    let canonical = format!(
        r#"{{"crv":"{curve}","kty":"EC","x":"{}","y":"{}"}}"#,
        encode(&x),
        encode(&y)
    );
    Ok(Some(("EC", vec![(algorithm, key)], canonical)))
}

fn edwards(members: &Map<String, Value>) -> Result<Parts, KeyAlarm> {
    let x = text(members, "x").and_then(decode).ok_or(KeyAlarm::Malformed)?;
    let key = PublicKey::edwards(&x).ok_or(KeyAlarm::Point)?;
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(&x));
    Ok(("OKP", vec![(Algorithm::EdDSA, key)], canonical))
}
