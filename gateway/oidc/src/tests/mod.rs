//! Tests of the crate, one file per subject; the ids are rows of the catalogue of bad input and of the protocol pages.

mod assertions;
mod configuration;
mod gateway_tokens;
mod keys;
mod kit;
mod libraries;
mod login;
mod mapping;
mod reading;
mod signatures;
mod signin_tokens;
mod times;
