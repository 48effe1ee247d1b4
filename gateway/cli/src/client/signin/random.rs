//! Values that nobody can guess.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Exit;
use crate::client::store::Secret;
use crate::client::trouble::Trouble;

/// 256 bits as 43 characters of base64url: a state, a PKCE verifier (RFC 7636 §4.1), the key of an exchange.
pub(crate) fn random() -> Result<Secret, Trouble> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| {
        Trouble::new(Exit::Fault, "the operating system gives no random numbers")
            .remedy("run the command again; if it stays so, restart the machine")
    })?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}
