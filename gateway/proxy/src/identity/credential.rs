//! What was presented: read from the head of a request by the API server's own rules, before anything is verified.
//!
//! Sources: kubernetes/apiserver `pkg/authentication/request/bearertoken` and `…/websocket`. Nothing here says who it is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};

/// A credential as it was presented.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Presented {
    /// Nothing that we would look at.
    Nothing,
    /// A scheme that is never accepted; its name for the record.
    UnknownScheme(String),
    /// A bearer token (RFC 6750 §2.1), from the header or from the WebSocket subprotocol.
    Bearer(String),
}

impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::UnknownScheme(scheme) => write!(f, "UnknownScheme({scheme})"),
            Self::Bearer(_) => f.write_str("Bearer(…)"),
        }
    }
}

/// The head of the request names credentials in a way that could be read twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PresentedError {
    /// Two `Authorization` lines.
    #[error("there are two `Authorization` lines; send one")]
    TwoLines,
    /// Two tokens among the subprotocols, or one beside an `Authorization` header that differs.
    #[error("two different tokens are presented; send one")]
    TwoTokens,
    /// The token entry is no unpadded base64url of UTF-8 text.
    #[error("the token in `Sec-WebSocket-Protocol` is not unpadded base64url of a text")]
    BadProtocolToken,
    /// The token entry stands alone: the server could not answer with another protocol.
    #[error("`Sec-WebSocket-Protocol` names the token and no other protocol")]
    OnlyProtocolToken,
}

const PROTOCOL_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// Reads what is presented, and removes the token entry from `Sec-WebSocket-Protocol`, so that it cannot go upstream.
///
/// # Errors
/// See [`PresentedError`].
pub(super) fn read(headers: &mut HeaderMap) -> Result<Presented, PresentedError> {
    let from_header = from_authorization(headers)?;
    let from_protocol = if is_websocket(headers) {
        from_subprotocol(headers)?
    } else {
        None
    };
    match (from_header, from_protocol) {
        (header, None) => Ok(header),
        (Presented::Bearer(one), Some(other)) if one != other => Err(PresentedError::TwoTokens),
        (_, Some(token)) => Ok(Presented::Bearer(token)),
    }
}

/// `bearertoken.AuthenticateRequest`: the scheme in any case, one space, one token. A doubled space or an empty token
/// is no credential.
fn from_authorization(headers: &HeaderMap) -> Result<Presented, PresentedError> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let Some(line) = lines.next() else {
        return Ok(Presented::Nothing);
    };
    if lines.next().is_some() {
        return Err(PresentedError::TwoLines);
    }
    let Ok(text) = line.to_str() else {
        return Ok(Presented::UnknownScheme("not ASCII".to_owned()));
    };
    let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        let known = ["basic", "digest", "negotiate", "ntlm"]
            .into_iter()
            .find(|known| scheme.eq_ignore_ascii_case(known));
        return Ok(Presented::UnknownScheme(known.unwrap_or("another scheme").to_owned()));
    }
    if rest.is_empty() || memchr::memchr2(b' ', b'\t', rest.as_bytes()).is_some() {
        return Ok(Presented::Nothing);
    }
    Ok(Presented::Bearer(rest.to_owned()))
}

fn is_websocket(headers: &HeaderMap) -> bool {
    let upgrades = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let nominated = upgrades
        .flat_map(|line| line.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    let websocket = headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    nominated && websocket
}

fn from_subprotocol(headers: &mut HeaderMap) -> Result<Option<String>, PresentedError> {
    let lines = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let entries: Vec<String> = lines
        .flat_map(|line| line.split(','))
        .map(|entry| entry.trim().to_owned())
        .collect();
    let (tokens, others): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .partition(|entry| entry.starts_with(PROTOCOL_PREFIX));
    let mut tokens = tokens.into_iter();
    let Some(token) = tokens.next() else { return Ok(None) };
    if tokens.next().is_some() {
        return Err(PresentedError::TwoTokens);
    }
    if others.iter().all(String::is_empty) {
        return Err(PresentedError::OnlyProtocolToken);
    }
    let encoded = token.strip_prefix(PROTOCOL_PREFIX).unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| PresentedError::BadProtocolToken)?;
    let text = String::from_utf8(bytes).map_err(|_| PresentedError::BadProtocolToken)?;
    let rest = HeaderValue::from_str(&others.join(", ")).map_err(|_| PresentedError::BadProtocolToken)?;
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, rest);
    if text.is_empty() {
        Err(PresentedError::BadProtocolToken)
    } else {
        Ok(Some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    fn websocket(protocols: &str) -> HeaderMap {
        headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-protocol", protocols),
        ])
    }

    #[test]
    fn e_01_the_scheme_is_read_in_any_case_and_a_doubled_space_is_no_credential() {
        for good in ["Bearer abc", "bearer abc", "BEARER abc"] {
            assert_eq!(
                read(&mut headers(&[("authorization", good)])),
                Ok(Presented::Bearer("abc".into())),
                "{good}"
            );
        }
        for nothing in ["Bearer", "Bearer ", "Bearer  abc", "Bearer a b", "Bearer \tabc"] {
            assert_eq!(
                read(&mut headers(&[("authorization", nothing)])),
                Ok(Presented::Nothing),
                "{nothing}"
            );
        }
    }

    #[test]
    fn e_03_two_authorization_lines_are_refused() {
        let mut two = headers(&[("authorization", "Bearer a"), ("authorization", "Bearer a")]);
        assert_eq!(read(&mut two), Err(PresentedError::TwoLines));
    }

    #[test]
    fn e_04_a_token_among_websocket_protocols_authenticates_and_is_taken_away() {
        let token = URL_SAFE_NO_PAD.encode("to?ken~>");
        let mut request = websocket(&format!("v5.channel.k8s.io, {PROTOCOL_PREFIX}{token}"));
        assert_eq!(
            read(&mut request),
            Ok(Presented::Bearer("to?ken~>".into())),
            "E-05: `-` and `_` are base64url"
        );
        assert_eq!(request.get("sec-websocket-protocol").unwrap(), "v5.channel.k8s.io");
    }

    #[test]
    fn k8s_14_protocol_tokens_that_could_be_read_twice_are_refused() {
        let token = |text: &str| format!("{PROTOCOL_PREFIX}{}", URL_SAFE_NO_PAD.encode(text));
        let refused = [
            (
                format!("{}, {}, v4.channel.k8s.io", token("a"), token("b")),
                PresentedError::TwoTokens,
            ),
            (token("a"), PresentedError::OnlyProtocolToken),
            (
                format!("{PROTOCOL_PREFIX}YQ==, v4.channel.k8s.io"),
                PresentedError::BadProtocolToken,
            ),
            (
                format!("{PROTOCOL_PREFIX}, v4.channel.k8s.io"),
                PresentedError::BadProtocolToken,
            ),
        ];
        for (protocols, expected) in refused {
            assert_eq!(read(&mut websocket(&protocols)), Err(expected), "{protocols}");
        }
        let mut conflict = websocket(&format!("{}, v4.channel.k8s.io", token("a")));
        conflict.insert("authorization", HeaderValue::from_static("Bearer b"));
        assert_eq!(read(&mut conflict), Err(PresentedError::TwoTokens));
    }

    #[test]
    fn a_protocol_token_without_an_upgrade_is_not_looked_at() {
        let token = URL_SAFE_NO_PAD.encode("a");
        let mut plain = headers(&[(
            "sec-websocket-protocol",
            &format!("{PROTOCOL_PREFIX}{token}, v4.channel.k8s.io"),
        )]);
        assert_eq!(read(&mut plain), Ok(Presented::Nothing));
    }

    #[test]
    fn e_13_basic_is_named_and_never_accepted_and_debug_shows_no_token() {
        let presented = read(&mut headers(&[("authorization", "Basic c2VjcmV0")])).unwrap();
        assert_eq!(presented, Presented::UnknownScheme("basic".into()));
        assert_eq!(format!("{:?}", Presented::Bearer("secret".into())), "Bearer(…)");
    }
}
