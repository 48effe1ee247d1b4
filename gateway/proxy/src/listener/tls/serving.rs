//! Serving certificates: checked when they are loaded, chosen by server name, replaced without a lost connection.
//!
//! Invariant: every pair in a store is a chain whose first certificate belongs to its key; a set that fails any check
//! changes nothing.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::{extensions::GeneralName, prelude::FromDer};

/// Why a pair of certificate chain and key cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The certificate file is not PEM.
    #[error("the certificate file cannot be read as PEM")]
    CertificatePem(#[source] rustls_pki_types::pem::Error),
    /// The key file is not PEM or holds no private key.
    #[error("the key file holds no private key in PEM (PKCS#8, PKCS#1 or SEC1)")]
    KeyPem(#[source] rustls_pki_types::pem::Error),
    /// There is no certificate in the file.
    #[error("the certificate file holds no certificate")]
    Empty,
    /// The key is of an unknown kind, or does not belong to the certificate.
    #[error("the key does not belong to the first certificate, or is of a kind that cannot sign")]
    Mismatch(#[source] rustls::Error),
    /// The first certificate cannot be parsed.
    #[error("the first certificate is not a valid X.509 certificate")]
    Malformed,
}

/// A checked chain with its key.
#[derive(Clone, Debug)]
pub struct CertificatePair {
    key: Arc<CertifiedKey>,
    names: Vec<Box<str>>,
    not_after: i64,
}

impl CertificatePair {
    /// Parses and checks a chain (end entity first) and its key.
    ///
    /// # Errors
    /// See [`CertificateError`]; among them a key that does not belong to the certificate.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(CertificateError::CertificatePem)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(CertificateError::KeyPem)?;
        let first = chain.first().ok_or(CertificateError::Empty)?;
        let (names, not_after) = describe(first)?;
        let key =
            CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(CertificateError::Mismatch)?;
        Ok(Self {
            key: Arc::new(key),
            names,
            not_after,
        })
    }

    /// The end of the first certificate's validity, seconds since the epoch.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// The DNS names of the first certificate, in lower case.
    #[must_use]
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }
}

fn describe(certificate: &CertificateDer<'_>) -> Result<(Vec<Box<str>>, i64), CertificateError> {
    let (_, parsed) =
        x509_parser::certificate::X509Certificate::from_der(certificate).map_err(|_| CertificateError::Malformed)?;
    let alternatives = parsed
        .subject_alternative_name()
        .map_err(|_| CertificateError::Malformed)?;
    let names = alternatives.iter().flat_map(|extension| &extension.value.general_names);
    let dns = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into_boxed_str()),
        _ => None,
    });
    Ok((dns.collect(), parsed.validity().not_after.timestamp()))
}

/// The serving certificates of a listener; cheap to read, replaced as a whole.
#[derive(Debug)]
pub struct CertificateStore {
    current: ArcSwap<Set>,
}

#[derive(Debug)]
struct Set {
    default: CertificatePair,
    by_name: HashMap<Box<str>, Arc<CertifiedKey>>,
}

impl CertificateStore {
    /// Loads one pair, which serves every name.
    ///
    /// # Errors
    /// As [`CertificatePair::from_pem`].
    pub fn load(certificates: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        Ok(Self::new(CertificatePair::from_pem(certificates, key)?, &[]))
    }

    /// A store in which `default` serves clients without server name and all names that no pair in `others` has.
    #[must_use]
    pub fn new(default: CertificatePair, others: &[CertificatePair]) -> Self {
        Self {
            current: ArcSwap::from_pointee(Set::new(default, others)),
        }
    }

    /// Replaces all pairs; handshakes from now on show the new ones, open connections go on.
    pub fn replace(&self, default: CertificatePair, others: &[CertificatePair]) {
        self.current.store(Arc::new(Set::new(default, others)));
    }

    /// Loads one pair in the place of all; on an error the old ones go on serving.
    ///
    /// # Errors
    /// As [`CertificatePair::from_pem`].
    pub fn reload(&self, certificates: &[u8], key: &[u8]) -> Result<(), CertificateError> {
        self.replace(CertificatePair::from_pem(certificates, key)?, &[]);
        Ok(())
    }

    /// The end of validity of the default certificate, seconds since the epoch.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.current.load().default.not_after
    }

    fn choose(&self, sni: Option<&str>) -> Arc<CertifiedKey> {
        let set = self.current.load();
        sni.and_then(|name| set.named(name)).unwrap_or(&set.default.key).clone()
    }
}

impl Set {
    fn new(default: CertificatePair, others: &[CertificatePair]) -> Self {
        let pairs = others.iter().chain([&default]);
        let names = pairs.flat_map(|pair| pair.names.iter().map(|name| (name.clone(), pair.key.clone())));
        let mut by_name = HashMap::new();
        for (name, key) in names {
            by_name.entry(name).or_insert(key);
        }
        Self { default, by_name }
    }

    /// The pair for a name: exact, else by a wildcard for its first label (RFC 6125 §6.4.3).
    fn named(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        self.by_name.get(name.as_str()).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(format!("*.{parent}").as_str())
        })
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let certified = rcgen::generate_simple_self_signed(names).unwrap();
        (certified.cert.pem(), certified.signing_key.serialize_pem())
    }

    fn pair(names: &[&str]) -> CertificatePair {
        let (certificate, key) = pem(names);
        CertificatePair::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_and_the_old_pair_serves_on() {
        let (certificate, key) = pem(&["a.example"]);
        let (_, foreign) = pem(&["a.example"]);
        let store = CertificateStore::load(certificate.as_bytes(), key.as_bytes()).unwrap();
        let before = store.choose(None);
        assert!(matches!(
            store.reload(certificate.as_bytes(), foreign.as_bytes()),
            Err(CertificateError::Mismatch(_))
        ));
        assert!(matches!(
            store.reload(b"", key.as_bytes()),
            Err(CertificateError::Empty)
        ));
        let half = &certificate.as_bytes()[..certificate.len() / 2];
        assert!(store.reload(half, key.as_bytes()).is_err());
        assert!(matches!(
            store.reload(certificate.as_bytes(), b"no key"),
            Err(CertificateError::KeyPem(_))
        ));
        assert!(Arc::ptr_eq(&before, &store.choose(None)));
    }

    #[test]
    fn names_choose_exactly_then_by_wildcard_then_the_default() {
        let (default, exact, wildcard) = (
            pair(&["gate.example"]),
            pair(&["a.clusters.example"]),
            pair(&["*.clusters.example"]),
        );
        let store = CertificateStore::new(default.clone(), &[wildcard.clone(), exact.clone()]);
        for (name, expected) in [
            (Some("A.clusters.example"), &exact),
            (Some("b.clusters.example"), &wildcard),
            (Some("x.b.clusters.example"), &default),
            (Some("unknown"), &default),
            (None, &default),
        ] {
            assert!(Arc::ptr_eq(&store.choose(name), &expected.key), "{name:?}");
        }
    }
}
