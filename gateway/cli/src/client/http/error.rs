//! Why no answer came.

use super::trust::{Presented, TrustError};
use crate::Exit;
use crate::client::trouble::{Trouble, chain};

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// Not https (or http on loopback), or no host.
    #[error("`{0}` is no address this program speaks to; https is needed, http counts on loopback only")]
    Address(String),
    /// Certificates or TLS cannot be set up.
    #[error("server certificates cannot be checked")]
    Trust(#[from] TrustError),
    /// The server's certificate is not accepted.
    #[error("the certificate of {host} is not trusted")]
    Untrusted {
        /// Whom we spoke to.
        host: String,
        /// What it showed.
        presented: Box<Presented>,
    },
    /// No connection.
    #[error("{host} cannot be reached")]
    Connect {
        /// Whom we wanted.
        host: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The encryption failed for another reason than the certificate.
    #[error("no encrypted connection to {host}")]
    Tls {
        /// Whom we wanted.
        host: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A proxy of the environment is unusable or refuses.
    #[error("the proxy {proxy} (from {variable}) does not help: {why}")]
    Proxy {
        /// Which, without its password.
        proxy: String,
        /// Which variable names it.
        variable: &'static str,
        /// Why.
        why: String,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("the connection to {host} broke")]
    Broken {
        /// Whom we spoke to.
        host: String,
        /// Why.
        #[source]
        cause: hyper::Error,
    },
    /// Longer than is read.
    #[error("the answer of {host} is longer than 4 MiB")]
    TooLong {
        /// Whom we spoke to.
        host: String,
    },
    /// Too late.
    #[error("{host} did not answer within {seconds} s")]
    TooSlow {
        /// Whom we spoke to.
        host: String,
        /// How long was waited.
        seconds: u64,
    },
    /// An answer that goes on, without the signs of life that belong to it.
    #[error("nothing came from {host} for {seconds} s, not even a sign of life")]
    Silent {
        /// Whom we spoke to.
        host: String,
        /// How long was waited.
        seconds: u64,
    },
}

impl HttpError {
    pub(super) fn reading(host: &str, error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        let host = host.to_owned();
        match error.downcast::<hyper::Error>() {
            Ok(cause) => Self::Broken { host, cause: *cause },
            Err(_) => Self::TooLong { host },
        }
    }
}

impl From<HttpError> for Trouble {
    fn from(error: HttpError) -> Self {
        let what = "the gateway cannot be reached";
        match &error {
            HttpError::Address(_) => Self::new(Exit::Usage, error.to_string()),
            HttpError::Trust(TrustError::NoRoots) => Self::new(Exit::Unreachable, error.to_string())
                .because("this system has no CA certificates")
                .remedy("install them (ca-certificates), or name the gateway's: gatescribe login URL --ca FILE"),
            HttpError::Trust(_) => {
                Self::new(Exit::Unreachable, chain(&error)).remedy("name the CA again: gatescribe login URL --ca FILE")
            }
            HttpError::Untrusted { presented, .. } => untrusted(&error, presented),
            HttpError::Connect { .. } | HttpError::TooSlow { .. } => Self::new(Exit::Unreachable, what)
                .because(chain(&error))
                .remedy("check the network, VPN and the address; HTTPS_PROXY and NO_PROXY are honoured"),
            HttpError::Silent { .. } => Self::new(Exit::Unreachable, "the gateway says nothing any more")
                .because(error.to_string())
                .remedy("check the network and VPN, and begin again"),
            HttpError::Tls { .. } | HttpError::Broken { .. } | HttpError::TooLong { .. } => {
                Self::new(Exit::Unreachable, what)
                    .because(chain(&error))
                    .remedy("check that this address is the gateway's own, and that no proxy is in between")
            }
            HttpError::Proxy { variable, .. } => Self::new(Exit::Unreachable, what)
                .because(error.to_string())
                .remedy(format!("correct {variable}, or except the host with NO_PROXY")),
        }
    }
}

/// Issuer and fingerprint, so that the person can compare them with what the administrator says, and the two ways to
/// trust. A corporate proxy that opens TLS shows itself by its issuer.
fn untrusted(error: &HttpError, presented: &Presented) -> Trouble {
    let mut trouble = Trouble::new(Exit::Unreachable, error.to_string()).because(format!(
        "{}; it names {}, issued by {}, SHA-256 {}",
        presented.why, presented.subject, presented.issuer, presented.sha256
    ));
    if let Some((name, fingerprint)) = presented.chain.last() {
        trouble = trouble.remedy(format!(
            "(it came with the certificate of {name}, SHA-256 {fingerprint})"
        ));
    }
    trouble
        .remedy("with the CA's file: gatescribe login URL --ca FILE")
        .remedy("or compare the fingerprint with your administrator, then: gatescribe login URL --ca-sha256 HEX")
        .remedy("if the issuer is your company's proxy, its CA belongs into the system's certificates")
}
