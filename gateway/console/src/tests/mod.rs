//! The gateway host in memory against a provider that misbehaves on demand. Ids are those of the security catalogue.

mod devices;
mod exchange;
mod logout;
mod named;
mod refusals;
mod renewal;
mod services;
mod signin;
mod surfer;
mod world;
