//! Assertions made.

use model::subject::SubjectKind;
use model::time::Timestamp;
use secrecy::SecretString;

use super::{
    ASSERTION_TYPE, AssertionClaims, AssertionKey, ChainFault, MAX_ASSERTION_BYTES, MAX_ASSERTION_LIFETIME, Payload,
};

/// Makes assertions.
#[derive(Debug)]
pub struct AssertionMint {
    issuer: String,
    key: AssertionKey,
}

/// An assertion and its life.
#[derive(Clone, Debug)]
pub struct SignedAssertion {
    /// What goes with the call.
    pub token: SecretString,
    /// `exp`.
    pub expires_at: Timestamp,
    /// Until when it may go with further calls of the same sign-in, chain and service: half of its life, so that whoever gets
    /// it has the other half to act by it.
    pub reuse_until: Timestamp,
}

/// Why no assertion was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionMintError {
    /// A public path: nobody signed in.
    #[error("nobody signed in, so there is nobody to assert; a public path gets no assertion")]
    Nobody,
    /// A text that every assertion has is empty.
    #[error("the {0} is empty, and an assertion must name it")]
    Empty(&'static str),
    /// There is no second left.
    #[error("the sign-in, or the assertion that it is made from, has ended; sign in again")]
    Ended,
    /// Too deep, or a loop.
    #[error(transparent)]
    Chain(#[from] ChainFault),
    /// Nothing is cut: a service would take what is left for the whole.
    #[error(
        "the assertion would be {bytes} bytes long, and 4096 are the most; what is longest in it is the {longest} ({of} bytes): shorten it where it is set"
    )]
    TooLarge {
        /// How long it would be.
        bytes: usize,
        /// What takes most of it.
        longest: &'static str,
        /// How many bytes.
        of: usize,
    },
    /// The library failed.
    #[error("the cryptographic library failed")]
    Library,
}

impl AssertionMint {
    /// For the gateway of this URL.
    #[must_use]
    pub fn new(issuer: &str, key: AssertionKey) -> Self {
        Self {
            issuer: issuer.to_owned(),
            key,
        }
    }

    /// The key in use.
    #[must_use]
    pub fn key(&self) -> &AssertionKey {
        &self.key
    }

    /// Signs an assertion that begins now.
    ///
    /// # Errors
    /// The claims make none that [`super::AssertionVerifier`] would take, it would be too long, or the library failed.
    pub fn sign(&self, claims: &AssertionClaims, now: Timestamp) -> Result<SignedAssertion, AssertionMintError> {
        check(&self.issuer, claims)?;
        let issued = now.unix_seconds();
        let latest = Timestamp::from_unix_seconds(issued).plus(MAX_ASSERTION_LIFETIME);
        let expires = latest.min(claims.ends).unix_seconds();
        if expires <= issued {
            return Err(AssertionMintError::Ended);
        }
        let payload = Payload::new(&self.issuer, claims, issued, expires);
        let token = self
            .key
            .signing()
            .sign(ASSERTION_TYPE, &payload)
            .map_err(|_| AssertionMintError::Library)?;
        if token.len() > MAX_ASSERTION_BYTES {
            return Err(self.too_large(claims, &payload, token.len()));
        }
        Ok(SignedAssertion {
            token: token.into(),
            expires_at: Timestamp::from_unix_seconds(expires),
            reuse_until: Timestamp::from_unix_seconds(issued + (expires - issued) / 2),
        })
    }

    fn too_large(&self, claims: &AssertionClaims, payload: &Payload<'_>, bytes: usize) -> AssertionMintError {
        let identity = &claims.identity;
        let chain = payload.act.as_ref().and_then(|act| serde_json::to_vec(act).ok());
        let parts = [
            ("gateway's URL", self.issuer.len()),
            ("issuer of the provider", identity.issuer.len()),
            ("provider's name for the subject", identity.subject.len()),
            ("user name", identity.username.len()),
            ("e-mail address", identity.email.as_ref().map_or(0, String::len)),
            ("list of groups", identity.groups.json_bytes()),
            (
                "authentication context (`acr`)",
                claims.acr.as_ref().map_or(0, String::len),
            ),
            ("id of the sign-in", claims.session.len()),
            ("id of the assertion", claims.token_id.len()),
            ("chain of workloads", chain.map_or(0, |act| act.len())),
        ];
        let (longest, of) = parts.into_iter().max_by_key(|(_, of)| *of).unwrap_or_default();
        AssertionMintError::TooLarge { bytes, longest, of }
    }
}

/// What a verifier would refuse is not signed.
fn check(issuer: &str, claims: &AssertionClaims) -> Result<(), AssertionMintError> {
    let identity = &claims.identity;
    if identity.kind == SubjectKind::Public {
        return Err(AssertionMintError::Nobody);
    }
    let named = [
        ("gateway's URL", issuer),
        ("issuer of the provider", &identity.issuer),
        ("provider's name for the subject", &identity.subject),
        ("user name", &identity.username),
        ("id of the sign-in", &claims.session),
        ("id of the assertion", &claims.token_id),
    ];
    if let Some((what, _)) = named.into_iter().find(|(_, text)| text.is_empty()) {
        return Err(AssertionMintError::Empty(what));
    }
    if claims.chain.actors().iter().any(|actor| actor.username.is_empty()) {
        return Err(AssertionMintError::Empty("user name of a workload"));
    }
    Ok(claims.check_chain()?)
}
