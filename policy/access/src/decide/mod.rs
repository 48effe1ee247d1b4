//! The whole decision.
