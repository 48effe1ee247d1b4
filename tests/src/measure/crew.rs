//! Who sends a load: one task for each connection, which begin together and are measured together.

use anyhow::Context as _;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::load::Outcome;

/// What proves who asks.
#[derive(Clone, Copy, Debug)]
pub enum Proof<'a> {
    /// `Authorization: Bearer …`.
    Bearer(&'a str),
    /// The gateway's cookie on the host of a service.
    Cookie(&'a str),
}

impl<'a> Proof<'a> {
    /// The field's name, what its value begins with, and the rest of the value.
    #[must_use]
    pub const fn field(self) -> (&'static str, &'static str, &'a str) {
        match self {
            Self::Bearer(token) => ("authorization", "Bearer ", token),
            Self::Cookie(value) => ("cookie", "__Host-gatescribe-service=", value),
        }
    }
}

/// What one connection asks for, one request after the other.
pub trait Asks: Send + 'static {
    /// Goes on to the next request; false where there is none.
    fn advance(&mut self) -> bool;
    /// Its `Host`.
    fn host(&self) -> &str;
    /// Its target.
    fn target(&self) -> &str;
    /// Who asks.
    fn proof(&self) -> Proof<'_>;
    /// Its method.
    fn method(&self) -> &'static str {
        "GET"
    }
    /// Its body; without one, empty.
    fn body(&self) -> &'static [u8] {
        b""
    }
}

/// What the tasks of a load have in common.
#[derive(Debug, Default)]
pub(super) struct Shared {
    requests: AtomicU64,
    is_measured: AtomicBool,
    is_over: AtomicBool,
}

impl Shared {
    /// Whether nobody is to begin anything more.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Counts one answer to what `began` then.
    pub(super) fn count(&self, began: Instant, latencies: &mut Vec<u32>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if self.is_measured.load(Ordering::Relaxed) {
            latencies.push(u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
    }
}

/// Tasks, each with a connection.
pub(super) struct Crew {
    shared: Arc<Shared>,
    tasks: JoinSet<anyhow::Result<Vec<u32>>>,
    connected: Arc<Barrier>,
}

impl Crew {
    /// `connect` opens the connection of a number; when all have theirs, `work` is done on it.
    pub(super) fn gather<S, C, CF, W, WF>(connections: usize, connect: C, work: W) -> Self
    where
        S: Send + 'static,
        C: Fn(usize) -> CF,
        CF: Future<Output = anyhow::Result<S>> + Send + 'static,
        W: Fn(usize, S, Arc<Shared>) -> WF + Clone + Send + 'static,
        WF: Future<Output = anyhow::Result<Vec<u32>>> + Send + 'static,
    {
        let shared = Arc::new(Shared::default());
        let connected = Arc::new(Barrier::new(connections + 1));
        let mut tasks = JoinSet::new();
        for number in 0..connections {
            let (shared, connected) = (Arc::clone(&shared), Arc::clone(&connected));
            let (connecting, work) = (connect(number), work.clone());
            tasks.spawn(async move {
                let stream = connecting.await;
                connected.wait().await;
                let worked = match stream {
                    Ok(stream) => work(number, stream, shared).await,
                    Err(error) => Err(error),
                };
                worked.with_context(|| format!("connection {number}"))
            });
        }
        Self {
            shared,
            tasks,
            connected,
        }
    }

    /// Works until the time is over. `cpu` is read at both ends of the measured time.
    pub(super) async fn for_a_while(
        self,
        warm: Duration,
        measured: Duration,
        cpu: impl Fn() -> anyhow::Result<f64>,
    ) -> anyhow::Result<Outcome> {
        let shared = Arc::clone(&self.shared);
        self.connected.wait().await;
        tokio::time::sleep(warm).await;
        let (began, cpu_before, before) = (Instant::now(), cpu()?, shared.requests.load(Ordering::Relaxed));
        shared.is_measured.store(true, Ordering::Relaxed);
        tokio::time::sleep(measured).await;
        let (cpu_after, after, seconds) = (
            cpu()?,
            shared.requests.load(Ordering::Relaxed),
            began.elapsed().as_secs_f64(),
        );
        shared.is_measured.store(false, Ordering::Relaxed);
        shared.is_over.store(true, Ordering::Relaxed);
        let latencies = self.all().await?;
        Ok(Outcome {
            requests: shared.requests.load(Ordering::Relaxed),
            measured: after - before,
            cpu: cpu_after - cpu_before,
            seconds,
            latencies,
        })
    }

    /// Works until there is nothing more to ask for; all of it is measured.
    pub(super) async fn until_done(self, cpu: impl Fn() -> anyhow::Result<f64>) -> anyhow::Result<Outcome> {
        let shared = Arc::clone(&self.shared);
        shared.is_measured.store(true, Ordering::Relaxed);
        let (began, before) = (Instant::now(), cpu()?);
        self.connected.wait().await;
        let latencies = self.all().await?;
        let requests = shared.requests.load(Ordering::Relaxed);
        Ok(Outcome {
            requests,
            measured: requests,
            cpu: cpu()? - before,
            seconds: began.elapsed().as_secs_f64(),
            latencies,
        })
    }

    async fn all(mut self) -> anyhow::Result<Vec<u32>> {
        let mut latencies = Vec::new();
        while let Some(task) = self.tasks.join_next().await {
            latencies.extend(task??);
        }
        Ok(latencies)
    }
}
