//! Tests of the crate, one file per subject; the ids are rows of the catalogue of bad input and of the protocol pages.

mod kit;
mod tokens;
