//! How a gateway's certificate is checked: by the system's CA certificates, by given ones alone, or by a fingerprint
//! that the person compared. There is no fourth way: nothing here accepts what it cannot check.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate};

use super::HttpError;

/// Who vouches for the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Trust {
    /// The system's CA certificates.
    System,
    /// These alone.
    Ca {
        /// PEM.
        pem: String,
    },
    /// A certificate with this fingerprint: the server's own, or one that it sends along and that signed it.
    Pin {
        /// SHA-256 of the certificate.
        sha256: Fingerprint,
    },
}

/// Why a given trust is unusable.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum TrustError {
    /// The PEM text holds no certificate.
    #[error("it holds no readable certificate in PEM form")]
    NoCertificate,
    /// The system has none.
    #[error("this system has no CA certificates")]
    NoRoots,
    /// Not a SHA-256 digest.
    #[error("a SHA-256 fingerprint has 64 hexadecimal digits, with or without colons")]
    NoFingerprint,
    /// TLS itself refuses.
    #[error("TLS cannot be set up: {0}")]
    Tls(Error),
}

/// SHA-256 of a certificate in DER form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Reads `AB:CD:…` or `abcd…`, with or without `sha256:` in front.
    pub(crate) fn parse(text: &str) -> Result<Self, TrustError> {
        let bare = text.trim().to_ascii_lowercase();
        let bare = bare
            .strip_prefix("sha256:")
            .or_else(|| bare.strip_prefix("sha256/"))
            .unwrap_or(&bare);
        let digits: Vec<u8> = bare
            .chars()
            .filter(|character| !matches!(character, ':' | ' '))
            .map(|character| character.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or(TrustError::NoFingerprint)?;
        let bytes: Vec<u8> = digits
            .chunks_exact(2)
            .filter_map(|pair| Some(pair.first()? << 4 | pair.get(1)?))
            .collect();
        match (digits.len(), bytes.try_into()) {
            (64, Ok(bytes)) => Ok(Self(bytes)),
            _ => Err(TrustError::NoFingerprint),
        }
    }

    fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if place == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// What a server showed that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Presented {
    /// Whom the certificate names.
    pub(crate) subject: String,
    /// Who signed it.
    pub(crate) issuer: String,
    /// Its fingerprint.
    pub(crate) sha256: Fingerprint,
    /// The other certificates that came with it.
    pub(crate) chain: Vec<(String, Fingerprint)>,
    /// Why it was not accepted.
    pub(crate) why: String,
}

impl Presented {
    fn of(end: &CertificateDer<'_>, others: &[CertificateDer<'_>], why: String) -> Self {
        let (subject, issuer) = names(end);
        let chain = others
            .iter()
            .map(|other| (names(other).0, Fingerprint::of(other)))
            .collect();
        Self {
            subject,
            issuer,
            sha256: Fingerprint::of(end),
            chain,
            why,
        }
    }
}

fn names(certificate: &CertificateDer<'_>) -> (String, String) {
    let named = |text: String| {
        if text.is_empty() {
            "without a name".to_owned()
        } else {
            text
        }
    };
    match X509Certificate::from_der(certificate) {
        Ok((_, parsed)) => (named(parsed.subject().to_string()), named(parsed.issuer().to_string())),
        Err(_) => ("unreadable".to_owned(), "unreadable".to_owned()),
    }
}

/// Where the verifier leaves what it did not accept, as an alert on the wire cannot carry it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<Option<Presented>>>);

impl Seen {
    pub(super) fn take(&self) -> Option<Presented> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn forget(&self) {
        drop(self.take());
    }

    fn put(&self, presented: Presented) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(presented);
    }
}

impl Trust {
    /// Given certificates, checked.
    pub(crate) fn by_pem(pem: String) -> Result<Self, TrustError> {
        given_roots(&pem)?;
        Ok(Self::Ca { pem })
    }

    pub(super) fn config(&self) -> Result<(ClientConfig, Seen), HttpError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let judgement = match self {
            Self::System => Judgement::Roots(verifier(system_roots()?, &provider)?),
            Self::Ca { pem } => Judgement::Roots(verifier(given_roots(pem)?, &provider)?),
            Self::Pin { sha256 } => Judgement::Pin(*sha256),
        };
        let seen = Seen::default();
        let judge = Judge {
            judgement,
            provider: Arc::clone(&provider),
            seen: seen.clone(),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Tls)?
            .dangerous() // The name of the method; the verifier below is no weaker than the library's own.
            .with_custom_certificate_verifier(Arc::new(judge))
            .with_no_client_auth();
        Ok((config, seen))
    }
}

fn verifier(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TrustError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|_| TrustError::NoRoots)
}

fn given_roots(pem: &str) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| TrustError::NoCertificate)?;
        roots.add(certificate).map_err(|_| TrustError::NoCertificate)?;
    }
    if roots.is_empty() {
        Err(TrustError::NoCertificate)
    } else {
        Ok(roots)
    }
}

fn system_roots() -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    // Single unreadable certificates in the system's store are not our error; none at all is.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        Err(TrustError::NoRoots)
    } else {
        Ok(roots)
    }
}

#[derive(Debug)]
enum Judgement {
    Roots(Arc<WebPkiServerVerifier>),
    Pin(Fingerprint),
}

/// Verifies as the library does, and remembers what it did not accept.
#[derive(Debug)]
struct Judge {
    judgement: Judgement,
    provider: Arc<CryptoProvider>,
    seen: Seen,
}

impl Judge {
    /// The pinned certificate must be the server's own (then name and dates count), or one that came along and that the
    /// server's certificate leads to by the ordinary rules.
    fn by_pin(
        &self,
        pin: Fingerprint,
        end: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if Fingerprint::of(end) == pin {
            return own_certificate(end, name, now);
        }
        let pinned = others.iter().find(|other| Fingerprint::of(other) == pin);
        let pinned = pinned.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        let by_roots = verifier(roots, &self.provider).map_err(|error| Error::General(error.to_string()))?;
        by_roots.verify_server_cert(end, others, name, &[], now)
    }
}

fn own_certificate(
    end: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let unreadable = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
    let (_, parsed) = X509Certificate::from_der(end).map_err(unreadable)?;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let now = ASN1Time::from_timestamp(seconds).map_err(|_| Error::FailedToGetCurrentTime)?;
    if now < parsed.validity().not_before {
        return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
    }
    if now > parsed.validity().not_after {
        return Err(Error::InvalidCertificate(CertificateError::Expired));
    }
    rustls::client::verify_server_name(&ParsedCertificate::try_from(end)?, name)?;
    Ok(ServerCertVerified::assertion())
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = match &self.judgement {
            Judgement::Roots(roots) => roots.verify_server_cert(end, others, name, ocsp, now),
            Judgement::Pin(pin) => self.by_pin(*pin, end, others, name, now),
        };
        if let Err(error) = &verdict {
            self.seen.put(Presented::of(end, others, in_words(error)));
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn in_words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => "nobody who is trusted here signed it".to_owned(),
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "it has expired, or this machine's clock is wrong".to_owned()
        }
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "it is not valid yet, or this machine's clock is wrong".to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "it is for another host name".to_owned(),
        other => other.to_string(),
    }
}
