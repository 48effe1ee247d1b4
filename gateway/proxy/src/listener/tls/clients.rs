//! Certificates of clients: asked for, never demanded, and trusted only by our own later check.
//!
//! A handshake proves possession of the key and no more. Whether the chain leads to a trusted authority is asked of the
//! current bundle at each use, so that a resumed session or a long connection does not carry a trust that has ended
//! (CVE-2025-68121 and relatives). Invariant: no chain is verified against a bundle that has been replaced.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;
use rustls::{
    CertificateError as RustlsCertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs},
    server::{
        VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};

use super::svid::TrustedDomains;

/// Where client certificates are asked for, and who vouches for them.
#[derive(Clone, Debug)]
pub struct ClientCertificateRules {
    /// The trusted authorities of people, reloadable; none: no certificate is a person's.
    pub authorities: Option<Arc<ClientAuthorities>>,
    /// The trust domains whose X.509-SVIDs count; none: no certificate is a workload's, whatever URI it names.
    pub workloads: Option<Arc<TrustedDomains>>,
    /// Server names (lower case) for which no certificate is asked, such as the gateway host, where a browser would
    /// trouble its user with a choice.
    pub silent_names: Arc<[Box<str>]>,
}

impl ClientCertificateRules {
    pub(crate) fn asks(&self, sni: Option<&str>) -> bool {
        !sni.is_some_and(|sni| self.silent_names.iter().any(|silent| silent.eq_ignore_ascii_case(sni)))
    }
}

/// Why a bundle of authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The file is not PEM.
    #[error("the file of client authorities cannot be read as PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// A certificate in it cannot be a trust anchor.
    #[error("a certificate in the file of client authorities cannot be a trust anchor")]
    Anchor(#[source] rustls::Error),
    /// There is none in it.
    #[error("the file of client authorities holds no usable certificate")]
    Unusable(#[source] VerifierBuilderError),
}

/// Why a client's chain is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ClientCertificateProblem {
    /// No authority of the bundle signed it.
    #[error("the client certificate is signed by no trusted authority")]
    UnknownIssuer,
    /// Its validity has ended.
    #[error("the client certificate has expired")]
    Expired,
    /// Its validity has not begun.
    #[error("the client certificate is not valid yet")]
    NotYetValid,
    /// It is not meant for client authentication.
    #[error("the client certificate is not meant for client authentication (extended key usage)")]
    WrongPurpose,
    /// It cannot be parsed or has a bad signature.
    #[error("the client certificate or its chain is malformed")]
    Malformed,
    /// No authorities are configured at this time.
    #[error("no authority for client certificates is loaded")]
    NoAuthorities,
    /// Only workloads may come with a certificate here, and it is none's.
    #[error("the client certificate names no SPIFFE ID, and certificates of people are not accepted here")]
    NoWorkload,
}

/// The trusted authorities for client certificates; replaced as a whole.
#[derive(Debug, Default)]
pub struct ClientAuthorities {
    current: ArcSwapOption<Bundle>,
    generation: AtomicU64,
}

#[derive(Debug)]
struct Bundle {
    verifier: Arc<dyn ClientCertVerifier>,
    generation: u64,
}

impl ClientAuthorities {
    /// Loads a bundle in PEM.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn load(bundle: &[u8]) -> Result<Self, AuthorityError> {
        let authorities = Self::default();
        authorities.reload(bundle)?;
        Ok(authorities)
    }

    /// Replaces the bundle; chains of open connections are judged by it from now on. On an error the old one stays.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn reload(&self, bundle: &[u8]) -> Result<(), AuthorityError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(bundle) {
            roots
                .add(certificate.map_err(AuthorityError::Pem)?)
                .map_err(AuthorityError::Anchor)?;
        }
        self.replace(roots).map_err(AuthorityError::Unusable)
    }

    pub(super) fn replace(&self, roots: RootCertStore) -> Result<(), VerifierBuilderError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.current.store(Some(Arc::new(Bundle { verifier, generation })));
        Ok(())
    }

    pub(super) fn clear(&self) {
        self.current.store(None);
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.current.load().is_some()
    }
}

impl Bundle {
    fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), ClientCertificateProblem> {
        let (end_entity, intermediates) = chain.split_first().ok_or(ClientCertificateProblem::Malformed)?;
        self.verifier
            .verify_client_cert(end_entity, intermediates, now)
            .map(|_| ())
            .map_err(|error| problem(&error))
    }
}

fn problem(error: &rustls::Error) -> ClientCertificateProblem {
    let rustls::Error::InvalidCertificate(error) = error else {
        return ClientCertificateProblem::Malformed;
    };
    match error {
        RustlsCertificateError::Expired | RustlsCertificateError::ExpiredContext { .. } => {
            ClientCertificateProblem::Expired
        }
        RustlsCertificateError::NotValidYet | RustlsCertificateError::NotValidYetContext { .. } => {
            ClientCertificateProblem::NotYetValid
        }
        RustlsCertificateError::UnknownIssuer => ClientCertificateProblem::UnknownIssuer,
        RustlsCertificateError::InvalidPurpose | RustlsCertificateError::InvalidPurposeContext { .. } => {
            ClientCertificateProblem::WrongPurpose
        }
        _ => ClientCertificateProblem::Malformed,
    }
}

/// The last judgement of one chain, kept as long as it can hold.
#[derive(Debug, Default)]
pub(crate) struct Verdict(Mutex<Option<Judged>>);

#[derive(Debug, Clone, Copy)]
struct Judged {
    generation: u64,
    at: u64,
    outcome: Result<(), ClientCertificateProblem>,
}

impl Verdict {
    pub(crate) fn at(
        &self,
        now: UnixTime,
        authorities: &ClientAuthorities,
        chain: &[CertificateDer<'_>],
    ) -> Result<(), ClientCertificateProblem> {
        let bundle = authorities.current.load();
        let bundle = bundle.as_ref().ok_or(ClientCertificateProblem::NoAuthorities)?;
        let mut judged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |judged: &Judged| {
            judged.generation == bundle.generation && now.as_secs().abs_diff(judged.at) < RECHECK_SECONDS
        };
        if let Some(judged) = judged.filter(holds) {
            return judged.outcome;
        }
        let outcome = bundle.verify(chain, now);
        *judged = Some(Judged {
            generation: bundle.generation,
            at: now.as_secs(),
            outcome,
        });
        outcome
    }
}

/// Accepts every certificate whose owner proves to have the key; trust is decided later.
#[derive(Debug)]
pub(super) struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyCertificate {
    pub(super) fn new(provider: &CryptoProvider) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The longest time for which an expired certificate can still count.
const RECHECK_SECONDS: u64 = 60;
