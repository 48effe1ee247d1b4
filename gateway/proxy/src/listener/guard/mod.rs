//! The guard between TLS and the HTTP/1 parser: reads every inbound byte first and strictly.
//!
//! hyper forgives what a gateway must not: two readers of one byte stream that disagree are a
//! way past the decision. The guard is no second HTTP server: it answers nothing and changes nothing, it only lets sound
//! bytes pass and puts a stand-in in the place of an unsound head, so that the answer keeps its place in the stream.

pub(crate) mod chunk;
pub(crate) mod io;
pub(crate) mod lines;
pub(crate) mod machine;
pub(crate) mod target;
