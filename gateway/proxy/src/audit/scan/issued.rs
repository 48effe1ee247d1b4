//! The id of a credential that an answer hands out, as the API server names it in
//! `authentication.kubernetes.io/credential-id` (KEP-4193): `JTI=…` of a token, `X509SHA256=…` of a certificate.
//!
//! Nothing else of the credential leaves this file.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::Want;

/// What is kept of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Issued {
    /// `JTI=…` or `X509SHA256=…`.
    pub(crate) id: Box<str>,
    /// Serial number of a certificate, hexadecimal.
    pub(crate) serial: Option<Box<str>>,
    /// Unix seconds of its end.
    pub(crate) expires: Option<i64>,
}

/// The longest `jti` that is kept; an API server's own has 36 characters.
const MOST_JTI: usize = 64;

impl Issued {
    pub(super) fn read(want: Want, credential: &[u8]) -> Option<Self> {
        match want {
            Want::Names => None,
            Want::Token => Self::of_token(credential),
            Want::Certificate => Self::of_certificate(credential),
        }
    }

    /// RFC 7519: the second of three pieces holds the claims. The signature is not our matter: whoever verifies the token
    /// later looks up the id that he verified.
    fn of_token(token: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Claims {
            jti: String,
            exp: Option<i64>,
        }
        let payload = token.split(|byte| *byte == b'.').nth(1)?;
        let payload = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload).ok()?);
        let claims: Claims = serde_json::from_slice(&payload).ok()?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        let fits = (1..=MOST_JTI).contains(&claims.jti.len()) && claims.jti.chars().all(is_plain);
        fits.then(|| Self {
            id: format!("JTI={}", claims.jti).into(),
            serial: None,
            expires: claims.exp,
        })
    }

    fn of_certificate(pem: &[u8]) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem).ok()?;
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        Some(Self {
            id: format!("X509SHA256={}", hex::encode(digest::digest(&digest::SHA256, &der))).into(),
            serial: Some(hex::encode(certificate.raw_serial().get(..20.min(certificate.raw_serial().len()))?).into()),
            expires: Some(certificate.validity().not_after.timestamp()),
        })
    }
}
