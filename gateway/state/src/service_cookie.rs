//! The cookie of a browser on the host of a service: the session's public name, sealed.
//!
//! Nothing is kept of it, however many hosts a browser visits: what it holds says which session, and that session is looked up each
//! time, so that one end ends it on all hosts. Host and purpose are bound to it and stand nowhere in it: on another host it does not
//! open (security SES-05, SES-13), and nothing else that is sealed opens as one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::service::HostName;
use model::time::Timestamp;

use crate::seal::SealingKeys;
use crate::{Session, SessionId, StateError, Store};

const PURPOSE: &str = "service cookie";

impl Store {
    /// The value of a cookie that says on this host, and on no other, whose sign-in it is: base64url.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn service_cookie(&self, host: &HostName, session: &SessionId) -> Result<String, StateError> {
        seal(&self.keys, host, session)
    }

    /// The session that this cookie of this host names, ended ones included; its idle end moves on, as by
    /// [`Store::session_of_secret`]. None where it is no cookie of this host, or one of a session of which nothing is known any more.
    ///
    /// # Errors
    /// The database failed or the row is unreadable.
    pub fn session_of_cookie(
        &self,
        host: &HostName,
        value: &str,
        now: Timestamp,
    ) -> Result<Option<Session>, StateError> {
        match open(&self.keys, host, value) {
            Some(id) => self.used(&id, now),
            None => Ok(None),
        }
    }
}

fn seal(keys: &SealingKeys, host: &HostName, session: &SessionId) -> Result<String, StateError> {
    let name = hex::decode(session.as_str()).unwrap_or_default();
    Ok(URL_SAFE_NO_PAD.encode(keys.seal(PURPOSE, host.as_str(), &name)?))
}

/// One refusal for all that is wrong: what does not open says nothing of why.
fn open(keys: &SealingKeys, host: &HostName, value: &str) -> Option<SessionId> {
    let sealed = URL_SAFE_NO_PAD.decode(value).ok()?;
    let name = keys.open(PURPOSE, host.as_str(), &sealed).ok()?;
    SessionId::parse(&hex::encode(name))
}

/// Whatever a browser sends as that cookie: it names no session unless it was sealed for this host, byte for byte. Takes the value.
///
/// # Panics
/// Something else opens.
pub fn fuzz_service_cookie(data: &[u8]) {
    let Some(key) = crate::SealingKey::new(&[7; 32]) else {
        return;
    };
    let keys = SealingKeys::new(key, Vec::new());
    let (Ok(host), Some(session)) = (
        HostName::new("grafana.example.com"),
        SessionId::parse("000102030405060708090a0b0c0d0e0f"),
    ) else {
        return;
    };
    let presented = String::from_utf8_lossy(data);
    assert_eq!(
        open(&keys, &host, &presented),
        None,
        "nobody has sealed it: {presented:?}"
    );
    let Ok(sealed) = seal(&keys, &host, &session) else {
        return;
    };
    assert_eq!(open(&keys, &host, &sealed), Some(session), "what is sealed opens");
    let joined = format!("{presented}{sealed}");
    let around = [joined, format!("{sealed}{presented}")];
    for value in around.iter().filter(|value| **value != sealed) {
        assert_eq!(open(&keys, &host, value), None, "{value:?}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::tests::of_browser;
    use crate::store::tests::{test_keys, test_store};
    use crate::{EndReason, SealingKey, Standing};

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

    fn host(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    #[test]
    fn a_cookie_of_a_service_leads_to_its_session_and_ends_with_it() {
        let store = test_store();
        let id = of_browser(&store);
        let value = store.service_cookie(&host("a.example"), &id).unwrap();
        let found = |at: Timestamp| {
            store
                .session_of_cookie(&host("a.example"), &value, at)
                .unwrap()
                .unwrap()
        };
        assert_eq!((found(NOW).id, found(NOW).standing), (id.clone(), Standing::Live));
        let before = found(NOW).idle_end;
        let later = NOW.plus(Duration::from_secs(61));
        found(later);
        assert!(found(later).idle_end > before, "who calls a service uses the session");
        store.end_session(&id, EndReason::SignedOut, later).unwrap();
        assert_eq!(found(later).standing, Standing::Ended(EndReason::SignedOut));
    }

    #[test]
    fn ses_13_the_cookie_of_one_host_opens_on_no_other_and_as_nothing_else() {
        let keys = test_keys();
        let id = SessionId::parse(&"ab".repeat(16)).unwrap();
        let value = seal(&keys, &host("a.example"), &id).unwrap();
        assert_eq!(open(&keys, &host("a.example"), &value), Some(id.clone()));
        for other in ["b.example", "a.example.com", "x.a.example", "example"] {
            assert_eq!(open(&keys, &host(other), &value), None, "{other}");
        }
        let name = hex::decode(id.as_str()).unwrap();
        for (purpose, row) in [
            ("sessions", "a.example"),
            ("codes", "a.example"),
            (PURPOSE, "b.example"),
        ] {
            let sealed = URL_SAFE_NO_PAD.encode(keys.seal(purpose, row, &name).unwrap());
            assert_eq!(open(&keys, &host("a.example"), &sealed), None, "{purpose}");
        }
        let longer = URL_SAFE_NO_PAD.encode(keys.seal(PURPOSE, "a.example", b"another length").unwrap());
        assert_eq!(open(&keys, &host("a.example"), &longer), None);
    }

    /// Each bit of each letter: also those that base64 leaves over at the end, so that a value is written in one way.
    #[test]
    fn ses_05_a_cookie_with_any_bit_changed_or_cut_anywhere_opens_nothing() {
        let keys = test_keys();
        let id = SessionId::parse(&"ab".repeat(16)).unwrap();
        let value = seal(&keys, &host("a.example"), &id).unwrap();
        for at in 0..value.len() {
            for bit in 0..8 {
                let mut changed = value.clone().into_bytes();
                changed[at] ^= 1 << bit;
                let changed = String::from_utf8_lossy(&changed).into_owned();
                assert_eq!(open(&keys, &host("a.example"), &changed), None, "byte {at}, bit {bit}");
            }
            let cut: String = value.chars().take(at).collect();
            assert_eq!(open(&keys, &host("a.example"), &cut), None, "cut at {at}");
        }
        for more in ["A", "=", "AAAA", " "] {
            assert_eq!(open(&keys, &host("a.example"), &format!("{value}{more}")), None);
        }
    }

    #[test]
    fn n_05_ses_06_a_cookie_outlives_a_change_of_keys_as_long_as_the_one_before_is_kept() {
        let key = |byte| SealingKey::new(&[byte; 32]).unwrap();
        let id = SessionId::parse(&"ab".repeat(16)).unwrap();
        let value = seal(&SealingKeys::new(key(1), vec![]), &host("a.example"), &id).unwrap();
        let with = |previous| open(&SealingKeys::new(key(2), previous), &host("a.example"), &value);
        assert_eq!(with(vec![key(1)]), Some(id));
        assert_eq!(with(vec![]), None);
    }

    /// The name of a session is in records and tokens, and makes no cookie.
    #[test]
    fn a_value_without_a_session_behind_it_is_nobodys() {
        let store = test_store();
        let nobody = SessionId::parse(&"ab".repeat(16)).unwrap();
        let value = store.service_cookie(&host("a.example"), &nobody).unwrap();
        let found = |value: &str| store.session_of_cookie(&host("a.example"), value, NOW).unwrap();
        assert!(found(&value).is_none() && found(nobody.as_str()).is_none() && found("").is_none());
    }
}
