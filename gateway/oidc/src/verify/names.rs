//! What a name may look like. Names go into headers, log lines, records and the eyes of a person who decides by them.
//!
//! Any script is allowed. Refused are: control characters (a line break could split a header), line and paragraph
//! separators, invisible characters and direction marks (two names that look alike), a space at either end, more than
//! 1 KiB. Names are compared by code points; nothing is normalised, so what the provider says is what rules must say.

use crate::TokenError;
use crate::claims::Claims;
use crate::error::NameKind;

const MAX_NAME_BYTES: usize = 1024;

/// Control, invisible and direction-changing characters.
pub(crate) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Checks one name.
pub(crate) fn check(kind: NameKind, name: &str) -> Result<(), TokenError> {
    let padded = name.starts_with(char::is_whitespace) || name.ends_with(char::is_whitespace);
    if padded || name.len() > MAX_NAME_BYTES || name.chars().any(is_deceptive) {
        return Err(TokenError::NameCharacters(kind));
    }
    Ok(())
}

/// Checks a name that must not be the cluster's own. Letter case does not count: no person needs to look like one.
pub(crate) fn check_outside(kind: NameKind, name: &str) -> Result<(), TokenError> {
    check(kind, name)?;
    let is_system = name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("system:"));
    if is_system {
        Err(TokenError::SystemName(kind))
    } else {
        Ok(())
    }
}

/// `sub`: there, and a proper name.
pub(crate) fn subject(claims: &Claims) -> Result<String, TokenError> {
    let subject = claims.required_text("sub")?;
    check(NameKind::Subject, subject)?;
    Ok(subject.to_owned())
}
