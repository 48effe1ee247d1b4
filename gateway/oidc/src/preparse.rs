//! A token's shape, before anything in it is believed. Cheap and strict: what passes here has one reading only.

use std::fmt;

use serde_json::{Map, Value};

use crate::claims::Claims;
use crate::encoding::{decode, object};
use crate::error::Part;
use crate::{Algorithm, TokenError};

/// Longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 64 * 1024;
/// `typ` of what the gateway asserts to services, without `application/` (RFC 8725 §3.11).
pub const ASSERTION_TYPE: &str = "gatescribe-assertion+jwt";
/// Longest `kid`.
const MAX_KEY_ID_BYTES: usize = 512;

/// A well-formed signed token of which nothing is verified yet.
pub struct Unverified<'t> {
    pub(crate) signed: &'t str,
    pub(crate) signature: Vec<u8>,
    pub(crate) header: Header,
    pub(crate) claims: Claims,
}

/// The header's members that matter. `jwk`, `jku`, `x5u` and `x5c` are never looked at (RFC 8725 §3.10).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// `None`: a name outside [`Algorithm`].
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) kid: Option<String>,
    pub(crate) kind: Kind,
    /// Entra ID's mark on tokens that only Microsoft Graph can check.
    pub(crate) has_nonce: bool,
}

/// The closed list of token types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `typ` is absent or `JWT`.
    Plain,
    /// `at+jwt` (RFC 9068).
    Access,
    /// `logout+jwt` (OIDC Back-Channel Logout §2.4).
    Logout,
    /// What the gateway says to a service; never a sign-in token.
    Assertion,
    /// Anything else.
    Other,
}

/// Nothing of the token.
impl fmt::Debug for Unverified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified").finish_non_exhaustive()
    }
}

impl<'t> Unverified<'t> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// Size, number of parts, encryption, encoding, JSON, and header members that must stop any reader.
    pub fn parse(token: &'t str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLarge { limit: MAX_TOKEN_BYTES });
        }
        let (signed, header, payload, signature) = split(token)?;
        let header = header_of(&json(header, Part::Header)?)?;
        let claims = Claims::new(json(payload, Part::Payload)?);
        let signature = decode(signature).ok_or(TokenError::Encoding(Part::Signature))?;
        if signature.is_empty() {
            return Err(TokenError::Signature);
        }
        Ok(Self {
            signed,
            signature,
            header,
            claims,
        })
    }

    /// The token's own word for its issuer; good only for choosing who verifies it.
    ///
    /// # Errors
    /// Absent or no text.
    pub fn issuer(&self) -> Result<&str, TokenError> {
        self.claims.required_text("iss")
    }

    /// Whether the token says that it is meant for `audience`; nothing is verified by that.
    #[must_use]
    pub fn names_audience(&self, audience: &str) -> bool {
        self.claims.audiences().is_ok_and(|named| named.contains(&audience))
    }
}

fn split(token: &str) -> Result<(&str, &str, &str, &str), TokenError> {
    match token.bytes().filter(|byte| *byte == b'.').count() {
        2 => {}
        4 => return Err(TokenError::Encrypted),
        _ => return Err(TokenError::NotThreeParts),
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::NotThreeParts)?;
    let (header, payload) = signed.split_once('.').ok_or(TokenError::NotThreeParts)?;
    Ok((signed, header, payload, signature))
}

fn json(part: &str, name: Part) -> Result<Map<String, Value>, TokenError> {
    let bytes = decode(part).ok_or(TokenError::Encoding(name))?;
    object(&bytes).map_err(|fault| TokenError::Json {
        part: name,
        fault: fault.into(),
    })
}

fn header_of(members: &Map<String, Value>) -> Result<Header, TokenError> {
    if members.contains_key("enc") || members.contains_key("zip") {
        return Err(TokenError::Encrypted);
    }
    if members.contains_key("crit") {
        return Err(TokenError::CriticalExtension);
    }
    if members.contains_key("b64") {
        return Err(TokenError::UnencodedPayload);
    }
    let algorithm = text(members, "alg")?.ok_or(TokenError::Header("alg"))?;
    let kid = text(members, "kid")?;
    if kid.is_some_and(|kid| kid.is_empty() || kid.len() > MAX_KEY_ID_BYTES || kid.chars().any(char::is_control)) {
        return Err(TokenError::Header("kid"));
    }
    Ok(Header {
        algorithm: Algorithm::named(algorithm),
        kid: kid.map(str::to_owned),
        kind: text(members, "typ")?.map_or(Kind::Plain, kind),
        has_nonce: members.contains_key("nonce"),
    })
}

fn text<'h>(members: &'h Map<String, Value>, name: &'static str) -> Result<Option<&'h str>, TokenError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::Header(name)),
    }
}

/// `typ` is a media type: letter case does not count, and `application/` may stand before it (RFC 7515 §4.1.9).
fn kind(typ: &str) -> Kind {
    let lower = typ.to_ascii_lowercase();
    match lower.strip_prefix("application/").unwrap_or(&lower) {
        "jwt" => Kind::Plain,
        "at+jwt" => Kind::Access,
        "logout+jwt" => Kind::Logout,
        ASSERTION_TYPE => Kind::Assertion,
        _ => Kind::Other,
    }
}
