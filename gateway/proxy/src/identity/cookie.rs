//! The cookie of a browser on the host of a service: whose sign-in is behind it.
//!
//! A browser sends it by itself, also when what it was given out for has ended. So one that counts no longer proves nobody, as if none
//! were there, and says why; it never turns away who may do a thing without a sign-in.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};
use model::ask::{CookieAnswer, CookieQuestion, SignedIn};
use model::cookie::Cookie;
use model::time::Timestamp;

use super::cache::Known;
use super::{AtService, Authenticated, Credential, Identity, Station, Unproved, Vouched, groups_hash};
use crate::refusal::Refusal;

impl<'a> AtService<'a> {
    /// The value of ours among the cookies of a request.
    pub(super) fn cookie<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let lines = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
        Cookie::Service.find(lines, self.secure)
    }

    /// As an audience of its own: no token is for it.
    fn host_text(&self) -> String {
        format!("host:{}", self.host)
    }
}

impl Station {
    /// Whose sign-in is behind the cookie of this request.
    pub(super) async fn by_cookie(
        &self,
        at: AtService<'_>,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Authenticated, Unproved> {
        let refused = |refusal| Unproved::by("cookie", refusal);
        let Some(value) = at.cookie(headers) else {
            return Err(Unproved::by("none", Refusal::NoCredential));
        };
        let fingerprint = self.cache.fingerprint(&at.host_text(), value);
        let generation = self.trust.borrow().generation;
        match self.cache.get(&fingerprint, now, generation) {
            Some(Known::Good { identity, .. }) => return self.admit(identity, now).map_err(Unproved::from),
            Some(Known::Bad { why, .. }) => return Err(refused(Refusal::SignInEnded(why.to_string()))),
            None => {}
        }
        let began = self.cache.epoch();
        let question = CookieQuestion {
            host: at.host.clone(),
            value: value.into(),
            after: began.ends(),
        };
        match self.questions.cookies.ask(question).await {
            CookieAnswer::Live(signed_in) => {
                let identity = Arc::new(browser(*signed_in));
                let until = now.plus(self.acceptance.sign_in_check).min(identity.expires_at);
                let known = Known::Good {
                    identity: Arc::clone(&identity),
                    until,
                    generation,
                };
                self.cache.put(fingerprint, known, began);
                self.admit(identity, now).map_err(Unproved::from)
            }
            CookieAnswer::Unknown { why } => Err(refused(Refusal::CannotVerify(format!(
                "your sign-in cannot be looked up: {why}"
            )))),
            CookieAnswer::Ended { why } => self.no_longer(format!("your sign-in has ended: {why}")),
            CookieAnswer::Foreign => self.no_longer("the cookie was not given out for this host".to_owned()),
        }
    }

    fn no_longer(&self, why: String) -> Result<Authenticated, Unproved> {
        Err(Unproved::by("cookie", Refusal::SignInEnded(why)))
    }
}

fn browser(signed_in: SignedIn) -> Identity {
    let SignedIn {
        session,
        subject,
        ends_at,
        auth_time,
        acr,
        stated_reason,
    } = signed_in;
    Identity::of(Identity {
        groups_hash: groups_hash(subject.groups()),
        subject,
        sign_in: session,
        credential: Credential::Cookie,
        credential_id: None,
        auth_time,
        acr,
        stated_reason: stated_reason.map(|(reason, until)| (reason.into(), until)),
        sign_in_ends: Some(ends_at),
        expires_at: ends_at,
        signed_by: None,
        vouched: Vouched::default(),
    })
}
