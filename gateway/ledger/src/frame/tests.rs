//! Frames: round trips and refusals.
