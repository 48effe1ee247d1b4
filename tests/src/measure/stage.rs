//! What every bench sets up: certificates, a world, the small API server, and a runtime of one thread for it and the load.

use super::api::{self, Api};
use super::cpu;
use super::load::{self, Load, Outcome, Plan};
use super::rivals::{self, Gateway, Keeps, Rival};
use super::world::{Size, World};
use crate::pki::{Ca, Identity};
use crate::process::Folder;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Everything around what is measured.
#[derive(Debug)]
pub struct Stage {
    /// One worker, so that load and upstream wake each other without a switch of threads.
    pub runtime: tokio::runtime::Runtime,
    /// People, roles, tokens.
    pub world: Arc<World>,
    /// The upstream.
    pub api: Api,
    /// Trusted by the load.
    pub ca: Ca,
    /// The certificate of every proxy and of the upstream: ECDSA P-256.
    pub identity: Identity,
}

impl Stage {
    /// Sets it up on the core of load and upstream.
    ///
    /// # Errors
    /// A part does not start.
    pub fn new(size: Size) -> anyhow::Result<Self> {
        cpu::keep_around()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let ca = Ca::new("bench")?;
        let identity = ca.server(&["127.0.0.1", "localhost"])?;
        let (world, api) = runtime.block_on(async {
            let place = api::place().await?;
            let world = Arc::new(World::new(size, &api::issuer_at(&place)?)?);
            let api = Api::start(place, Arc::clone(&world), &identity).await?;
            anyhow::Ok((world, api))
        })?;
        Ok(Self {
            runtime,
            world,
            api,
            ca,
            identity,
        })
    }

    /// Starts the gateway.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn gateway(&self, name: &'static str, tls: bool) -> anyhow::Result<Gateway> {
        self.gateway_at(name, tls, Keeps::Usual)
    }

    /// Starts the gateway, which keeps that.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn gateway_at(&self, name: &'static str, tls: bool, keeps: Keeps<'_>) -> anyhow::Result<Gateway> {
        // Its own folder: the last process in one takes it away.
        let folder = Folder::new(name)?;
        rivals::gateway(name, &folder, (&self.identity, &self.ca), &self.api, tls, keeps)
    }

    /// Starts nginx and the pass-through program.
    ///
    /// # Errors
    /// One does not start.
    pub fn others(&self, tls: bool) -> anyhow::Result<[Rival; 2]> {
        let upstream = if tls { self.api.tls } else { self.api.plain };
        let folder = Folder::new("rivals")?;
        Ok([
            rivals::nginx(&folder, &self.identity, upstream, tls)?,
            rivals::passthrough(&folder, &self.identity, &self.ca, upstream, tls)?,
        ])
    }

    /// A load of 64 connections on `address`.
    ///
    /// # Errors
    /// The certificate is unusable.
    pub fn load(&self, address: SocketAddr, http2: bool, plan: Plan, seconds: f64) -> anyhow::Result<Load> {
        Ok(Load {
            address,
            tls: load::client_config(self.ca.certificate(), http2)?,
            http2,
            connections: 64,
            apart: false,
            plan,
            warm: Duration::from_secs_f64(seconds / 6.0),
            measured: Duration::from_secs_f64(seconds),
        })
    }

    /// Sends a load and reads the CPU of `pids` at both ends.
    ///
    /// # Errors
    /// An answer is not what it must be.
    pub fn send(&self, load: Load, pids: Vec<i32>) -> anyhow::Result<Outcome> {
        let sending = load::run(load, Arc::clone(&self.world), move || cpu::used_by(&pids));
        self.runtime.block_on(async { self.runtime.spawn(sending).await })?
    }
}
