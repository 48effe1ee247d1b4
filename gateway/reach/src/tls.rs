//! rustls client settings for one credential: one that offers HTTP/2 and HTTP/1.1, and one for each alone.
//!
//! Follow-logs and upgrades need HTTP/1.1 (I-01, I-05), and ALPN is the only honest way to ask for it. The name
//! of the server is verified by rustls' own verifier; no other verifier is ever installed.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::ReachError;
use crate::credential::RawAuthorities;

/// The settings of one credential.
#[derive(Clone)]
pub(crate) struct TlsPair {
    pub(crate) either: Arc<ClientConfig>,
    pub(crate) http1: Arc<ClientConfig>,
    pub(crate) http2: Arc<ClientConfig>,
}

impl TlsPair {
    pub(crate) fn new(
        roots: Arc<RootCertStore>,
        client: Option<&ClientCertificate>,
        place: &str,
    ) -> Result<Self, ReachError> {
        let failed = |cause| ReachError::Tls {
            place: place.to_owned(),
            cause: Arc::new(cause),
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_root_certificates(roots);
        let mut either = match client {
            Some(client) => builder
                .with_client_auth_cert(client.chain.clone(), client.key.clone_key())
                .map_err(failed)?,
            None => builder.with_no_client_auth(),
        };
        either.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let alone = |protocol: &[u8]| {
            let mut config = either.clone();
            // A session remembered under one ALPN offer must not be resumed under another.
            config.resumption = rustls::client::Resumption::in_memory_sessions(256);
            config.alpn_protocols = vec![protocol.to_vec()];
            Arc::new(config)
        };
        Ok(Self {
            http1: alone(b"http/1.1"),
            http2: alone(b"h2"),
            either: Arc::new(either),
        })
    }
}

/// A chain and its key.
pub(crate) struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientCertificate {
    pub(crate) fn parse(certificate: &[u8], key: &[u8], place: &str) -> Result<Self, ReachError> {
        let refused = |what, reason| ReachError::Material {
            what,
            place: place.to_owned(),
            reason,
        };
        let chain = certificates(certificate).ok_or_else(|| refused("the client certificate", "it is no PEM"))?;
        if chain.is_empty() {
            return Err(refused("the client certificate", "there is none"));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| refused("the key", "it is no PEM private key"))?;
        Ok(Self { chain, key })
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("chain", &self.chain.len())
            .finish_non_exhaustive()
    }
}

/// The trusted authorities.
pub(crate) fn roots(authorities: &RawAuthorities, place: &str) -> Result<Arc<RootCertStore>, ReachError> {
    let refused = |reason| ReachError::Material {
        what: "the certificate authority",
        place: place.to_owned(),
        reason,
    };
    let found = match authorities {
        RawAuthorities::Pem(pem) => certificates(pem).ok_or_else(|| refused("it is no PEM"))?,
        RawAuthorities::System => rustls_native_certs::load_native_certs().certs,
        RawAuthorities::None => return Ok(Arc::new(RootCertStore::empty())),
    };
    let mut store = RootCertStore::empty();
    let (added, ignored) = store.add_parsable_certificates(found);
    if added == 0 {
        return Err(refused("it holds no certificate"));
    }
    // The system's store may hold an odd certificate; a file of the operator's must be right as a whole.
    if ignored > 0 && matches!(authorities, RawAuthorities::Pem(_)) {
        return Err(refused("it holds a certificate that cannot be parsed"));
    }
    Ok(Arc::new(store))
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().ok()
}
