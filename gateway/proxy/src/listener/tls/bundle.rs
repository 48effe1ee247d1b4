//! The bundle of a trust domain: the authorities whose X.509-SVIDs count, as a file or the Workload API gives them.
//!
//! A type of its own beside [`ClientAuthorities`], so that no bundle can be taken for the authorities of people, or theirs for a
//! bundle. Invariant: a bundle is replaced as a whole or not at all, and what was unloaded vouches for nobody.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::{RootCertStore, server::VerifierBuilderError};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde::Deserialize;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::clients::ClientAuthorities;

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file begins as JSON and is no SPIFFE bundle.
    #[error("the bundle is no SPIFFE bundle in JSON (a JWK set with `keys`)")]
    Json(#[source] serde_json::Error),
    /// The file is not PEM either.
    #[error("the bundle cannot be read as PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// `x5c` of RFC 7517 §4.7 is base64 with padding.
    #[error("a key of the bundle has an `x5c` that is not base64")]
    Base64(#[source] base64::DecodeError),
    /// Something in it is no X.509 certificate, or more than one.
    #[error("an entry of the bundle is not exactly one X.509 certificate")]
    Certificate,
    /// Only authorities vouch (X509-SVID §3.2).
    #[error("a certificate of the bundle is no authority (basic constraints without `cA`)")]
    NoAuthority,
    /// A certificate in it cannot be a trust anchor.
    #[error("a certificate of the bundle cannot be a trust anchor")]
    Anchor(#[source] rustls::Error),
    /// There is none in it. A trust domain without X.509 authorities has no X.509-SVIDs.
    #[error("the bundle holds no authority for X.509-SVIDs")]
    Empty,
    /// rustls takes it not.
    #[error("the bundle cannot be used")]
    Unusable(#[source] VerifierBuilderError),
}

/// The authorities of one trust domain; empty until something was loaded.
#[derive(Debug, Default)]
pub struct TrustBundle(ClientAuthorities);

impl TrustBundle {
    /// Takes what a file holds: PEM, or a SPIFFE bundle in JSON (SPIFFE Trust Domain and Bundle §4). Answers how many authorities
    /// count now. On an error what was loaded stays.
    ///
    /// # Errors
    /// See [`BundleError`].
    pub fn reload_file(&self, bytes: &[u8]) -> Result<usize, BundleError> {
        self.replace(of_file(bytes)?)
    }

    /// Takes certificates in DER, one behind the other, as the Workload API sends them. On an error what was loaded stays.
    ///
    /// # Errors
    /// See [`BundleError`].
    pub fn reload_der(&self, bytes: &[u8]) -> Result<usize, BundleError> {
        self.replace(of_der(bytes)?)
    }

    /// Vouches for nobody from now on.
    pub fn unload(&self) {
        self.0.clear();
    }

    /// Whether anything is loaded.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.0.is_loaded()
    }

    pub(crate) const fn authorities(&self) -> &ClientAuthorities {
        &self.0
    }

    fn replace(&self, certificates: Vec<CertificateDer<'static>>) -> Result<usize, BundleError> {
        let count = certificates.len();
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate).map_err(BundleError::Anchor)?;
        }
        self.0.replace(roots).map_err(BundleError::Unusable)?;
        Ok(count)
    }
}

/// The parts of a SPIFFE bundle that are looked at. `spiffe_refresh_hint` says how often to fetch it anew, which a file needs not.
#[derive(Deserialize)]
struct Document {
    keys: Vec<Key>,
    #[serde(default, rename = "spiffe_sequence")]
    _sequence: Option<u64>,
    #[serde(default, rename = "spiffe_refresh_hint")]
    _refresh_hint: Option<u64>,
}

#[derive(Deserialize)]
struct Key {
    #[serde(default, rename = "use")]
    use_: Option<String>,
    #[serde(default)]
    x5c: Vec<String>,
}

fn of_file(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, BundleError> {
    if bytes.trim_ascii_start().first() == Some(&b'{') {
        return of_json(bytes);
    }
    let mut all = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        all.push(authority(&certificate.map_err(BundleError::Pem)?)?);
    }
    some(all)
}

/// Keys of another use or without `x5c` are passed over, and of an `x5c` the first alone counts (X509-SVID §6.2).
fn of_json(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, BundleError> {
    let document: Document = serde_json::from_slice(bytes).map_err(BundleError::Json)?;
    let keys = document
        .keys
        .iter()
        .filter(|key| key.use_.as_deref() == Some("x509-svid"));
    let mut all = Vec::new();
    for text in keys.filter_map(|key| key.x5c.first()) {
        all.push(authority(&STANDARD.decode(text).map_err(BundleError::Base64)?)?);
    }
    some(all)
}

fn of_der(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, BundleError> {
    let (mut all, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (behind, _) = X509Certificate::from_der(rest).map_err(|_| BundleError::Certificate)?;
        let length = rest.len().saturating_sub(behind.len());
        all.push(authority(rest.get(..length).ok_or(BundleError::Certificate)?)?);
        rest = behind;
    }
    some(all)
}

fn authority(der: &[u8]) -> Result<CertificateDer<'static>, BundleError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) if certificate.is_ca() => Ok(CertificateDer::from(der.to_vec())),
        Ok(([], _)) => Err(BundleError::NoAuthority),
        _ => Err(BundleError::Certificate),
    }
}

fn some(all: Vec<CertificateDer<'static>>) -> Result<Vec<CertificateDer<'static>>, BundleError> {
    if all.is_empty() {
        Err(BundleError::Empty)
    } else {
        Ok(all)
    }
}

/// Entry for the fuzzer: any bytes are a bundle or a refusal, never a panic; what is accepted are authorities alone.
pub fn fuzz_trust_bundle(data: &[u8]) {
    for read in [of_file(data), of_der(data)] {
        let Ok(certificates) = read else { continue };
        assert!(!certificates.is_empty(), "an accepted bundle is not empty");
        for certificate in &certificates {
            let parsed = X509Certificate::from_der(certificate);
            assert!(
                parsed.is_ok_and(|(rest, parsed)| rest.is_empty() && parsed.is_ca()),
                "each is one whole certificate of an authority"
            );
        }
    }
    if let Ok(certificates) = of_der(data) {
        let joined: Vec<u8> = certificates.iter().flat_map(|one| one.to_vec()).collect();
        assert_eq!(joined, data, "nothing stands between or behind");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::svid::tests::{Authority, leaf};
    use super::*;

    fn json(entries: &[serde_json::Value]) -> Vec<u8> {
        serde_json::json!({"keys": entries, "spiffe_sequence": 7, "spiffe_refresh_hint": 300})
            .to_string()
            .into_bytes()
    }

    fn key(der: &[u8]) -> serde_json::Value {
        serde_json::json!({"use": "x509-svid", "kty": "EC", "crv": "P-256", "x": "A", "y": "B", "x5c": [STANDARD.encode(der)]})
    }

    #[test]
    fn a_bundle_is_read_as_pem_as_json_and_as_der() {
        let (one, two) = (Authority::new("one"), Authority::new("two"));
        let bundle = TrustBundle::default();
        assert!(!bundle.is_loaded());
        assert_eq!(
            bundle
                .reload_file(format!("{}{}", one.pem(), two.pem()).as_bytes())
                .unwrap(),
            2
        );
        assert!(bundle.is_loaded());
        assert_eq!(bundle.reload_der(&[one.der(), two.der()].concat()).unwrap(), 2);
        let mut entries = vec![key(one.der()), key(two.der())];
        assert_eq!(bundle.reload_file(&json(&entries)).unwrap(), 2);
        // What is no authority of X.509-SVIDs is passed over, whatever it is.
        entries.push(serde_json::json!({"use": "jwt-svid", "kty": "EC", "kid": "k"}));
        entries.push(serde_json::json!({"use": "of-tomorrow", "x5c": ["???"]}));
        entries.push(serde_json::json!({"kty": "EC", "x5c": [STANDARD.encode(two.der())]}));
        entries.push(serde_json::json!({"use": "x509-svid", "kty": "EC"}));
        entries.push(serde_json::json!({"use": "x509-svid", "kty": "EC", "x5c": [STANDARD.encode(one.der()), "???"]}));
        let mut spaced = b"\n  ".to_vec();
        spaced.extend(json(&entries));
        assert_eq!(bundle.reload_file(&spaced).unwrap(), 3);
        bundle.unload();
        assert!(!bundle.is_loaded());
    }

    #[test]
    fn a_bundle_with_a_fault_is_refused_as_a_whole_and_the_one_before_stays() {
        let good = Authority::new("good");
        let bundle = TrustBundle::default();
        bundle.reload_file(good.pem().as_bytes()).unwrap();
        let workload = leaf(&good, &["spiffe://example.org/a"], |_| {});
        let cut = good.der().get(..good.der().len() - 1).unwrap();
        for (bytes, why) in [
            (b"".to_vec(), "holds no authority"),
            (b"nothing".to_vec(), "holds no authority"),
            (b"{}".to_vec(), "is no SPIFFE bundle in JSON"),
            (br#"{"keys": {}}"#.to_vec(), "is no SPIFFE bundle in JSON"),
            (
                br#"{"keys": [], "spiffe_sequence": "7"}"#.to_vec(),
                "is no SPIFFE bundle in JSON",
            ),
            (
                br#"{"keys": [], "spiffe_refresh_hint": -1}"#.to_vec(),
                "is no SPIFFE bundle in JSON",
            ),
            (json(&[]), "holds no authority"),
            (
                json(&[serde_json::json!({"use": "jwt-svid", "kty": "EC"})]),
                "holds no authority",
            ),
            (
                json(&[key(good.der()), serde_json::json!({"use": "x509-svid", "x5c": ["_-"]})]),
                "is not base64",
            ),
            (
                json(&[key(good.der()), key(b"certificate")]),
                "not exactly one X.509 certificate",
            ),
            (
                json(&[key(&[good.der(), good.der()].concat())]),
                "not exactly one X.509 certificate",
            ),
            (json(&[key(good.der()), key(&workload)]), "is no authority"),
        ] {
            let error = bundle.reload_file(&bytes).unwrap_err().to_string();
            assert!(error.contains(why), "{error} for {}", String::from_utf8_lossy(&bytes));
        }
        for bytes in [
            b"".as_slice(),
            cut,
            &[good.der(), b"x"].concat(),
            &[good.der(), &workload].concat(),
        ] {
            assert!(bundle.reload_der(bytes).is_err());
        }
        assert!(bundle.is_loaded(), "the one before stays");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_bundle_or_a_refusal(data in prop::collection::vec(any::<u8>(), 0..300)) {
            fuzz_trust_bundle(&data);
        }

        #[test]
        fn an_altered_bundle_is_one_or_a_refusal(at in any::<prop::sample::Index>(), to in any::<u8>(), cut in 0_usize..40) {
            let authority = Authority::new("altered");
            for whole in [authority.der().to_vec(), json(&[key(authority.der())])] {
                let mut altered = whole;
                let place = at.index(altered.len());
                altered[place] = to;
                altered.truncate(altered.len() - cut);
                fuzz_trust_bundle(&altered);
            }
        }
    }
}
