//! The words of Kubernetes' `Status`, as closed lists: whoever makes an answer chooses its words, and a word of a list carries nothing else.
//!
//! An admission webhook hands the API server a whole `Status`, which that hands on (k8s.io/apiserver
//! `pkg/admission/plugin/webhook/errors`, `ToStatusErr`), and an extension API server is somebody's own. What looks like a reason there
//! may be a secret (promise 6), so that a list and no form decides.
//!
//! The lists are compared with Kubernetes' own source by `promise_6_the_words_of_a_status_are_those_of_kubernetes`.

/// `StatusReason` (k8s.io/apimachinery `pkg/apis/meta/v1/types.go`), but for the empty one.
pub const REASONS: [&str; 19] = [
    "AlreadyExists",
    "BadRequest",
    "Conflict",
    "Expired",
    "Forbidden",
    "Gone",
    "InternalError",
    "Invalid",
    "MethodNotAllowed",
    "NotAcceptable",
    "NotFound",
    "RequestEntityTooLarge",
    "ServerTimeout",
    "ServiceUnavailable",
    "StorageReadError",
    "Timeout",
    "TooManyRequests",
    "Unauthorized",
    "UnsupportedMediaType",
];

/// What stands in a record in place of a reason that is none of [`REASONS`].
pub const OTHER: &str = "other";

/// `CauseType` (the same file) and `field.ErrorType` (k8s.io/apimachinery `pkg/util/validation/field/errors.go`), which the API server writes
/// in the same place.
pub const CAUSES: [&str; 15] = [
    "FieldManagerConflict",
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueNotFound",
    "FieldValueNotSupported",
    "FieldValueRequired",
    "FieldValueTooFew",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTooShort",
    "FieldValueTypeInvalid",
    "InternalError",
    "ResourceVersionTooLarge",
    "UnexpectedServerResponse",
];

/// `StatusSuccess` and `StatusFailure` (the same file).
pub const ENDS: [&str; 2] = ["Failure", "Success"];

/// The reason of a `Status` as it may stand in a record: one of [`REASONS`], or [`OTHER`] for a word that somebody else has put there. `None`:
/// there is none.
#[must_use]
pub fn reason(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return None;
    }
    let known = REASONS.into_iter().find(|known| *known == text);
    Some(known.unwrap_or(OTHER))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// promise_6: a webhook's own word is told by none of its letters.
    #[test]
    fn promise_6_a_reason_is_a_word_of_the_list_or_other() {
        assert_eq!(reason("Forbidden"), Some("Forbidden"));
        for word in [
            "hunter2",
            "forbidden",
            "Forbidden ",
            "ForbiddenByHunter2",
            "CorrectHorseBatteryStaple",
            "other",
        ] {
            assert_eq!(reason(word), Some(OTHER), "{word}");
        }
        assert_eq!(reason(""), None);
        assert!(REASONS.is_sorted() && CAUSES.is_sorted() && ENDS.is_sorted());
    }
}
