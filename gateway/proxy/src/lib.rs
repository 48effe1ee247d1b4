//! THE REQUEST PATH: from a socket to a cluster and back, and the only crate that speaks to an upstream for a user.
//!
//! listener → identity → decision → audit → upstream. Each station hands on a type that only it can make (private fields,
//! one constructor, moved, never cloned): `Authenticated`, `Permit`, `Recorded<Permit>`, `Held<Response>`. Skipping the
//! audit, forging a permit, opening an answer early or sending twice on one record does not compile.

pub mod ask;
pub mod asserted;
pub mod audit;
pub mod body;
pub mod chain;
pub mod clock;
pub mod decision;
mod entered;
pub mod headers;
pub mod identity;
pub mod listener;
pub mod observe;
mod own_rights;
pub mod page_origin;
pub mod refusal;
pub mod request;
mod sending;
pub mod services;
pub mod session;
pub mod sign_in_first;
pub mod site;
mod turnstile;
pub mod upstream;
pub mod whom;

pub use entered::fuzz_entered;
pub use own_rights::fuzz_own_rights;
