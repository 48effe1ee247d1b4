//! One credential at one moment: what was read from its files, parsed, and complete enough to be used.
//!
//! Not here: when it is read again (`identity.rs`). Invariant: a [`Snapshot`] exists only if every part of it parsed.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use http::HeaderValue;

use crate::source::{Authorities, CredentialSource};
use crate::tls::TlsPair;
use crate::{ReachError, tls};

/// What goes out with a request and under which TLS settings, all of one moment.
pub struct Snapshot {
    generation: u64,
    authorization: Option<HeaderValue>,
    tls: TlsPair,
}

impl Snapshot {
    /// Counts up with each change of token, certificate or authorities. Connections of another generation are not
    /// used for new requests.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// `Bearer …`, marked sensitive so that HPACK never indexes it (I-13) and `Debug` never prints it; `None`
    /// where a client certificate speaks.
    #[must_use]
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    pub(crate) fn tls(&self) -> &TlsPair {
        &self.tls
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// The bytes of all parts, as read in one go.
pub(crate) struct Raw {
    authorities: RawAuthorities,
    credential: RawCredential,
}

#[derive(Hash)]
pub(crate) enum RawAuthorities {
    Pem(Vec<u8>),
    System,
    None,
}

enum RawCredential {
    Token(Vec<u8>),
    Certificate { certificate: Vec<u8>, key: Vec<u8> },
    None,
}

impl Raw {
    /// Reads every file. Blocking: call it where blocking is allowed.
    pub(crate) fn read(authorities: &Authorities, credential: &CredentialSource) -> Result<Self, ReachError> {
        let authorities = match authorities {
            Authorities::File(path) => RawAuthorities::Pem(read(path)?),
            Authorities::Pem(pem) => RawAuthorities::Pem(pem.clone()),
            Authorities::System => RawAuthorities::System,
            Authorities::None => RawAuthorities::None,
        };
        let credential = match credential {
            CredentialSource::TokenFile(path) => RawCredential::Token(read(path)?),
            CredentialSource::Token(token) => RawCredential::Token(token.clone().into_bytes()),
            CredentialSource::CertificateFiles { certificate, key } => RawCredential::Certificate {
                certificate: read(certificate)?,
                key: read(key)?,
            },
            CredentialSource::CertificatePem { certificate, key } => RawCredential::Certificate {
                certificate: certificate.clone(),
                key: key.clone(),
            },
            CredentialSource::None => RawCredential::None,
        };
        Ok(Self {
            authorities,
            credential,
        })
    }

    /// Tells one content from another. Process-local and never stored, so a keyless hash is enough.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.authorities.hash(&mut hasher);
        match &self.credential {
            RawCredential::Token(token) => token.hash(&mut hasher),
            RawCredential::Certificate { certificate, key } => (certificate, key).hash(&mut hasher),
            RawCredential::None => {}
        }
        hasher.finish()
    }

    /// Parses everything, or nothing.
    pub(crate) fn parse(&self, place: &Place, generation: u64) -> Result<Arc<Snapshot>, ReachError> {
        let roots = tls::roots(&self.authorities, &place.authorities)?;
        let (authorization, client) = match &self.credential {
            RawCredential::Token(token) => (Some(bearer(token, &place.credential)?), None),
            RawCredential::Certificate { certificate, key } => (
                None,
                Some(tls::ClientCertificate::parse(certificate, key, &place.credential)?),
            ),
            RawCredential::None => (None, None),
        };
        let tls = TlsPair::new(roots, client.as_ref(), &place.credential)?;
        Ok(Arc::new(Snapshot {
            generation,
            authorization,
            tls,
        }))
    }
}

/// Where the parts came from, in words for messages.
#[derive(Debug)]
pub(crate) struct Place {
    authorities: String,
    credential: String,
}

impl Place {
    pub(crate) fn of(authorities: &Authorities, credential: &CredentialSource) -> Self {
        let authorities = match authorities {
            Authorities::File(path) => named(path),
            Authorities::Pem(_) => "the given authorities".to_owned(),
            Authorities::System => "the system's trust store".to_owned(),
            Authorities::None => "no authorities".to_owned(),
        };
        let credential = match credential {
            CredentialSource::TokenFile(path) => named(path),
            CredentialSource::CertificateFiles { certificate, key } => {
                format!("{} and {}", named(certificate), named(key))
            }
            CredentialSource::Token(_) => "the given token".to_owned(),
            CredentialSource::CertificatePem { .. } => "the given certificate".to_owned(),
            CredentialSource::None => "no credential".to_owned(),
        };
        Self {
            authorities,
            credential,
        }
    }
}

fn named(path: &Path) -> String {
    format!("`{}`", path.display())
}

fn read(path: &Path) -> Result<Vec<u8>, ReachError> {
    std::fs::read(path).map_err(|cause| ReachError::Unreadable {
        path: path.to_owned(),
        cause: Arc::new(cause),
    })
}

/// An empty or multi-line token is a file caught half-written, or not a token file: sending it would only earn a 401.
fn bearer(token: &[u8], place: &str) -> Result<HeaderValue, ReachError> {
    let refused = |reason| ReachError::Material {
        what: "the token",
        place: place.to_owned(),
        reason,
    };
    let token = token.trim_ascii();
    if token.is_empty() {
        return Err(refused("it is empty"));
    }
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err(refused("it holds white space or bytes outside ASCII"));
    }
    let mut value = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).map_err(|_| refused("it is no header"))?;
    value.set_sensitive(true);
    Ok(value)
}
