//! What the composition root says about a cluster. Plain values: reading environment and flags is not done here.

use std::fmt;
use std::path::PathBuf;

/// Where a cluster's address and credentials come from.
#[derive(Clone, Debug)]
pub enum ClusterSource {
    /// A kubeconfig file. With one user in it both credentials are that user's, which is right for a laptop and for
    /// nothing else; `observer_context` names another context of the same cluster.
    Kubeconfig {
        path: PathBuf,
        /// `None`: the file's `current-context`.
        context: Option<String>,
        observer_context: Option<String>,
    },
    /// The service account of the pod we run in.
    InCluster(InCluster),
    /// Everything named.
    Explicit(Explicit),
}

/// What a pod knows of its own cluster. The environment variables are passed in as values.
#[derive(Clone, Debug)]
pub struct InCluster {
    /// `KUBERNETES_SERVICE_HOST`; an IPv6 address without brackets.
    pub host: String,
    /// `KUBERNETES_SERVICE_PORT`.
    pub port: u16,
    /// Mostly `/var/run/secrets/kubernetes.io/serviceaccount/ca.crt`.
    pub ca_file: PathBuf,
    /// The impersonator's projected token.
    pub token_file: PathBuf,
    /// The observer's projected token.
    pub observer_token_file: PathBuf,
}

/// A cluster with every part named.
#[derive(Clone, Debug)]
pub struct Explicit {
    /// `https://host[:port][/prefix]`, one or several API servers of the same cluster.
    pub servers: Vec<String>,
    pub authorities: Authorities,
    /// The name in the servers' certificates, where it is not the host of the URL.
    pub tls_server_name: Option<String>,
    pub impersonator: CredentialSource,
    pub observer: CredentialSource,
}

/// Which certificate authorities vouch for the API server.
#[derive(Clone)]
pub enum Authorities {
    /// PEM in a file, re-read when it changes.
    File(PathBuf),
    /// PEM as a value.
    Pem(Vec<u8>),
    /// Those of the operating system.
    System,
    /// None: TLS is not spoken, and would trust nobody. A system without a trust store can still reach what is in clear text.
    None,
}

/// One credential.
#[derive(Clone)]
pub enum CredentialSource {
    /// A bearer token in a file, re-read at least once a minute.
    TokenFile(PathBuf),
    /// A bearer token as a value.
    Token(String),
    /// Client certificate and key, PEM, re-read when they change.
    CertificateFiles { certificate: PathBuf, key: PathBuf },
    /// Client certificate and key as PEM values.
    CertificatePem { certificate: Vec<u8>, key: Vec<u8> },
    /// None: a service that asks for no certificate. A cluster always wants one of the others.
    None,
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Pem(_) => f.write_str("Pem"),
            Self::System => f.write_str("System"),
            Self::None => f.write_str("None"),
        }
    }
}

/// Values are never printed: a `Debug` line ends in a log sooner or later.
impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenFile(path) => f.debug_tuple("TokenFile").field(path).finish(),
            Self::Token(_) => f.write_str("Token"),
            Self::None => f.write_str("None"),
            Self::CertificateFiles { certificate, key } => f
                .debug_struct("CertificateFiles")
                .field("certificate", certificate)
                .field("key", key)
                .finish(),
            Self::CertificatePem { .. } => f.write_str("CertificatePem"),
        }
    }
}
