//! TLS towards clients: versions, protocols, serving certificates and the certificates of clients.
//!
//! Settings that weaken it do not exist: TLS 1.3 and 1.2 by rustls' own suites, no early data, no renegotiation.
//! Invariant: a handshake never fails for what a client did not offer (SNI, ALPN, a certificate), and no certificate of
//! a client counts because a handshake succeeded.

mod bundle;
mod clients;
mod serving;
mod svid;

use std::{io, sync::Arc};

use prometheus_client::encoding::EncodeLabelValue;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::NoClientAuth,
};

use crate::observe::listed;

pub use bundle::{BundleError, TrustBundle, fuzz_trust_bundle};
pub(crate) use clients::Verdict;
pub use clients::{AuthorityError, ClientAuthorities, ClientCertificateProblem, ClientCertificateRules};
pub use serving::{CertificateError, CertificatePair, CertificateStore};
pub(crate) use svid::Claim;
#[cfg(test)]
pub(crate) use svid::tests as svid_tests;
pub use svid::{Svid, SvidProblem, TrustedDomain, TrustedDomains, fuzz_svid};

/// The two configurations of a TLS listener: with and without asking for a client certificate.
#[derive(Clone, Debug)]
pub(crate) struct Configurations {
    asking: Arc<ServerConfig>,
    silent: Arc<ServerConfig>,
    rules: Option<ClientCertificateRules>,
}

impl Configurations {
    pub(crate) fn new(
        certificates: &Arc<CertificateStore>,
        rules: Option<&ClientCertificateRules>,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let any = Arc::new(clients::AnyCertificate::new(&provider));
        Ok(Self {
            asking: Arc::new(configuration(&provider, certificates, any)?),
            silent: Arc::new(configuration(&provider, certificates, Arc::new(NoClientAuth))?),
            rules: rules.cloned(),
        })
    }

    /// The configuration for a server name as the ClientHello gives it.
    pub(crate) fn choose(&self, sni: Option<&str>) -> Arc<ServerConfig> {
        if self.asks(sni) {
            self.asking.clone()
        } else {
            self.silent.clone()
        }
    }

    /// By which rules a certificate is judged that was presented; none where none is asked for.
    pub(crate) const fn rules(&self) -> Option<&ClientCertificateRules> {
        self.rules.as_ref()
    }

    /// Whether a request for `host` on a connection that was opened for `sni` would be served under the TLS settings of
    /// another host (RFC 9110 §15.5.20). Without SNI a connection has the settings of the default.
    pub(crate) fn is_misdirected(&self, sni: Option<&str>, host: &str) -> bool {
        sni.is_some_and(|sni| self.asks(Some(sni)) != self.asks(Some(host)))
    }

    fn asks(&self, sni: Option<&str>) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.asks(sni))
    }
}

fn configuration(
    provider: &Arc<CryptoProvider>,
    certificates: &Arc<CertificateStore>,
    clients: Arc<dyn rustls::server::danger::ClientCertVerifier>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(certificates.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A request in early data can be replayed (RFC 8446 §8).
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 1;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(config)
}

listed! {
    /// Why a handshake failed, as far as it matters to an operator.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
    pub enum TlsFailure {
        /// No whole ClientHello in time.
        ClientHelloDeadline,
        /// No end of the handshake in time.
        HandshakeDeadline,
        /// The peer left.
        Disconnected,
        /// The bytes were no TLS, perhaps plain HTTP.
        NotTls,
        /// No version, cipher suite or protocol in common.
        NothingInCommon,
        /// The peer refused our certificate or ended the handshake with an alert.
        AlertReceived,
        /// The peer's certificate or its proof of possession was malformed.
        ClientCertificate,
        /// Anything else that breaks the protocol.
        ProtocolError,
    }
}

impl TlsFailure {
    pub(crate) fn from_error(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            None => Self::Disconnected,
            Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => Self::NotTls,
            Some(rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol) => Self::NothingInCommon,
            Some(rustls::Error::AlertReceived(_)) => Self::AlertReceived,
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
                Self::ClientCertificate
            }
            Some(_) => Self::ProtocolError,
        }
    }
}
