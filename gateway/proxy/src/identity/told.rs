//! Who called an ingress that asks about it: what was presented there, read by the same readers as if it had come here.
//!
//! Invariant: what the ingress shows of itself on its connection (its certificate) proves nobody here. Else each of its questions would be
//! one of its own calls.

use std::net::IpAddr;

use http::HeaderMap;
use model::time::Timestamp;

use super::credential::{self, Presented};
use super::locked::Turned;
use super::{AtService, Audience, Authenticated, Station, Unproved, nobody};
use crate::refusal::Refusal;

impl Station {
    /// As [`Station::authenticate`], of a call that came to an ingress from `from`, with these headers.
    ///
    /// # Errors
    /// As [`Station::authenticate`].
    pub(crate) async fn authenticate_told(
        &self,
        at: AtService<'_>,
        headers: &mut HeaderMap,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Authenticated, Unproved> {
        let presented = credential::read(headers)
            .map_err(|error| Unproved::by("unreadable", Refusal::Headers(error.to_string())))?;
        match presented {
            Presented::Bearer(token) => {
                let proved = self.token(Audience::Service(at), &token, from, now).await;
                match proved.and_then(|identity| self.admit(identity, now).map_err(Turned::Locked)) {
                    Ok(proved) => Ok(proved),
                    Err(Turned::Locked(out)) => Err(out.into()),
                    Err(Turned::Refused(refusal)) => Err(self.named_by(&token, refusal)),
                }
            }
            _ if at.cookie(headers).is_some() => self.by_cookie(at, headers, now).await,
            other => Err(nobody(other)),
        }
    }
}
