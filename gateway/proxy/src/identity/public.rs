//! Who has not signed in and does what a rule lets the public do: nobody in particular, with budgets of their own.
//!
//! Addresses cost whoever has many of them nothing, so they share a few callers: else each new one had a budget of the ledger, a place among
//! those who are told apart, which people need, and keys of its own in the state file, for good.

use std::net::IpAddr;

use aws_lc_rs::digest;
use model::subject::{Subject, SubjectKind, SubjectParts};
use model::time::Timestamp;

use super::{Credential, Identity, Vouched, groups_hash, subject_id};
use crate::refusal::Refusal;

/// What stands for whoever calls from an address without a sign-in. It proves nothing: it makes no [`Authenticated`](super::Authenticated),
/// and its name and group reach no rule.
///
/// # Errors
/// None is known: the parts are ours.
pub(crate) fn public(address: &str) -> Result<Identity, Refusal> {
    let subject = Subject::new(SubjectParts {
        id: subject_id(PUBLIC, &caller(address)),
        kind: SubjectKind::Public,
        issuer: PUBLIC.to_owned(),
        subject: PUBLIC.to_owned(),
        username: PUBLIC.to_owned(),
        uid: None,
        groups: Vec::new(),
        extra: std::collections::BTreeMap::new(),
        email: None,
    });
    let subject = subject.map_err(|_| Refusal::Internal)?;
    Ok(Identity::of(Identity {
        groups_hash: groups_hash(subject.groups()),
        sign_in: subject.id().as_str().into(),
        subject,
        credential: Credential::Public,
        credential_id: None,
        auth_time: None,
        acr: None,
        stated_reason: None,
        sign_in_ends: None,
        expires_at: Timestamp::MAX,
        signed_by: None,
        vouched: Vouched::default(),
    }))
}

/// As so many callers the public counts: a hostile network harms that share of it.
pub const CALLERS: u8 = 16;

/// Which of them an address is. Its network counts, as whoever has one address has its neighbours, too: of IPv4 the /24, which is the smallest
/// that is routed by itself, of IPv6 the /56, which is what one customer gets (RFC 6177 §2).
fn caller(address: &str) -> String {
    let network: Vec<u8> = match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.octets().into_iter().take(3).collect(),
        Ok(IpAddr::V6(address)) => address.octets().into_iter().take(7).collect(),
        Err(_) => Vec::new(),
    };
    let hashed = digest::digest(&digest::SHA256, &network);
    let number = hashed.as_ref().first().copied().unwrap_or_default() % CALLERS;
    number.to_string()
}

/// No issuer has this URL, and no user name may begin so where people are named.
const PUBLIC: &str = "public";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn id(address: &str) -> String {
        public(address).unwrap().subject().id().to_string()
    }

    #[test]
    fn promise_8_however_many_addresses_call_they_are_a_few_of_the_public() {
        let v4 = (0..2_000_u32).map(|number| format!("10.{}.{}.7", number / 250, number % 250));
        let v6 = (0..2_000_u32).map(|number| format!("2001:db8:{number:x}::1"));
        let all: BTreeSet<String> = v4.chain(v6).map(|address| id(&address)).collect();
        assert_eq!(all.len(), usize::from(CALLERS), "and all of them are used");
        assert_eq!(id("10.1.2.3"), id("::ffff:10.1.2.3"));
        let network: BTreeSet<String> = (0..256).map(|number| id(&format!("203.0.113.{number}"))).collect();
        assert_eq!(network.len(), 1, "whoever has one has its neighbours");
        let customer: BTreeSet<String> = (0..256)
            .flat_map(|site| [format!("2001:db8:0:{site:x}::1"), format!("2001:db8:0:{site:x}:1::")])
            .map(|address| id(&address))
            .collect();
        assert_eq!(customer.len(), 1, "one customer has many networks");
        assert_eq!(id("not an address"), id(""));
    }
}
