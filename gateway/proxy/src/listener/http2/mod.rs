//! What HTTP/2 needs besides hyper: checks of a request, frames seen from outside, streams that nobody reads.

mod check;
mod frames;
pub(crate) mod io;
mod streams;

pub(crate) use check::check;
pub(crate) use streams::{StreamExecutor, StreamProgress};
