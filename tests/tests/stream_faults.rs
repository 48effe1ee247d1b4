//! Streams when something breaks: the gateway, the API server, the node, the client, a reader, the bytes themselves. Whatever
//! it is, the session has one recorded outcome, the gateway's memory stays bounded, and a neighbour's session goes on.
//!
//! What only a peer that misbehaves by the byte can do is done by a stand-in (`stage.rs`); what kills is done to the real ones.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the lints spare only `#[test]` functions"
)]

#[path = "stream_faults/full_disk.rs"]
mod full_disk;
#[path = "stream_faults/hostile_bytes.rs"]
mod hostile_bytes;
#[path = "stream_faults/killed.rs"]
mod killed;
#[path = "stream_faults/passes_whole.rs"]
mod passes_whole;
#[path = "stream_faults/silence.rs"]
mod silence;
#[path = "stream_faults/stage.rs"]
mod stage;
#[path = "stream_faults/uploads.rs"]
mod uploads;
#[path = "stream_faults/vanished.rs"]
mod vanished;
