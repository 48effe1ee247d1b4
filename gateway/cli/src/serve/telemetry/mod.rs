//! Sends traces to a collector, where one is configured: batches in OTLP's protobuf over HTTP, in a task of its own.
//!
//! **When the collector is slow or away:** its queue fills and further traces are dropped and counted; a batch that it does
//! not take is dropped, too, and counted. Requests never wait for it. It is told once in the log, and once when it is well
//! again. No `OTEL_…` variable is read: what is not in the configuration does not count (promise 9).

mod otlp;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use console::{Fetch as _, FetchError, HyperFetch};
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use proxy::observe::{Name, Sheet, Span, Spans, number};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config;

/// Finished requests that may wait to be sent.
const ROOM: usize = 4_096;
/// Requests in one message; each is up to six spans.
const BATCH: usize = 256;
/// A batch that is not full waits so long for more.
const GATHER: Duration = Duration::from_secs(1);
/// After a failure nothing is tried for so long.
const REST: Duration = Duration::from_secs(5);
/// What the end of the process waits for the last batch.
const LAST: Duration = Duration::from_secs(2);

/// The sending end's counts; there also when nothing is sent, so that the list of metrics is always the same.
#[derive(Default)]
pub(super) struct Counts {
    sent: AtomicU64,
    failed: AtomicU64,
    spans: Option<Arc<Spans>>,
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counts").finish_non_exhaustive()
    }
}

impl Collector for Counts {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let dropped = self.spans.as_ref().map_or(0, |spans| spans.dropped());
        let rows = [
            ("sent", self.sent.load(Ordering::Relaxed)),
            ("queueFull", dropped),
            ("failed", self.failed.load(Ordering::Relaxed)),
        ];
        let rows = rows.map(|(result, count)| ([("result", result)], number(count)));
        Sheet::new(encoder).counters(TRACES, rows)
    }
}

const TRACES: Name = Name {
    name: "gateway_traces",
    says: "Traces for the configured collector: sent, dropped because too many waited, or not taken by it.",
};

/// Traces of a gateway, perhaps off.
pub(super) struct Telemetry {
    pub(super) counts: Arc<Counts>,
    pub(super) spans: Option<Arc<Spans>>,
    /// Ends when everything that was asked for until the stop is sent or given up.
    pub(super) sender: Option<JoinHandle<()>>,
}

/// Begins to send traces if a collector is configured.
///
/// # Errors
/// A secret or the CA file cannot be read.
pub(super) fn begin(telemetry: &config::Telemetry, stop: CancellationToken) -> anyhow::Result<Telemetry> {
    let Some(otlp) = &telemetry.otlp else {
        return Ok(Telemetry {
            counts: Arc::default(),
            spans: None,
            sender: None,
        });
    };
    let collector = CollectorOfTraces::new(otlp).context("`telemetry.otlp` cannot be used")?;
    let (spans, queue) = Spans::channel(otlp.sample_one_in, ROOM);
    let counts = Arc::new(Counts {
        spans: Some(Arc::clone(&spans)),
        ..Counts::default()
    });
    let sender = Sender {
        queue,
        collector,
        counts: Arc::clone(&counts),
        is_away: false,
        stop,
    };
    Ok(Telemetry {
        counts,
        spans: Some(spans),
        sender: Some(tokio::spawn(sender.run())),
    })
}

/// Waits a moment for the last traces.
pub(super) async fn end(sender: Option<JoinHandle<()>>) {
    if let Some(sender) = sender {
        // What is not sent by then is not worth a later end of the process.
        let _ = tokio::time::timeout(LAST, sender).await;
    }
}

struct CollectorOfTraces {
    endpoint: http::Uri,
    headers: HeaderMap,
    fetch: HyperFetch,
}

impl CollectorOfTraces {
    fn new(otlp: &config::Otlp) -> anyhow::Result<Self> {
        let authorities = otlp
            .ca_file
            .as_ref()
            .map(|file| std::fs::read(file).with_context(|| format!("cannot read `{file}`")));
        let fetch = HyperFetch::new(authorities.transpose()?.as_deref())?;
        let mut headers = HeaderMap::new();
        for configured in &otlp.headers {
            let name: HeaderName = configured.name.parse().context("the name of a header")?;
            let mut value = HeaderValue::from_str(&config::secret(&configured.value)?)
                .map_err(|_| anyhow::anyhow!("the value of the header `{name}` is no text for a header"))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        Ok(Self {
            endpoint: otlp.endpoint.parse().context("`endpoint` is no URL")?,
            headers,
            fetch,
        })
    }

    /// Sends one message.
    async fn take(&self, message: Vec<u8>) -> Result<(), Untaken> {
        let mut request = Request::new(Bytes::from(message));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = self.headers.clone();
        let answer = self.fetch.fetch(request).await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(Untaken::Refused(status.as_u16())),
        }
    }
}

/// Why a collector did not take a message. Nothing of the message is in it.
#[derive(Debug, thiserror::Error)]
enum Untaken {
    #[error("it answers {0}")]
    Refused(u16),
    #[error("it cannot be asked: {0}")]
    Away(#[from] FetchError),
}

struct Sender {
    queue: mpsc::Receiver<Span>,
    collector: CollectorOfTraces,
    counts: Arc<Counts>,
    is_away: bool,
    stop: CancellationToken,
}

impl Sender {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let stopped = self.gather(&mut batch).await;
            let is_full = batch.len() == BATCH;
            if !batch.is_empty() {
                self.send(&batch).await;
                batch.clear();
            }
            if stopped && (!is_full || self.is_away) {
                return;
            }
            if self.is_away {
                tokio::select! {
                    () = tokio::time::sleep(REST) => {}
                    () = self.stop.cancelled() => {}
                }
            }
        }
    }

    /// Fills the batch, or takes what comes within a second of the first. Says whether it was the last one.
    async fn gather(&mut self, batch: &mut Vec<Span>) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {
                while batch.len() < BATCH && let Ok(span) = self.queue.try_recv() {
                    batch.push(span);
                }
                return true;
            }
            some = self.queue.recv_many(batch, BATCH) => if some == 0 { return true },
        }
        let until = tokio::time::Instant::now() + GATHER;
        while batch.len() < BATCH {
            tokio::select! {
                () = self.stop.cancelled() => break,
                more = tokio::time::timeout_at(until, self.queue.recv()) => match more {
                    Ok(Some(span)) => batch.push(span),
                    Ok(None) | Err(_) => break,
                },
            }
        }
        false
    }

    async fn send(&mut self, batch: &[Span]) {
        let many = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        match self.collector.take(otlp::message(batch)).await {
            Ok(()) => {
                self.counts.sent.fetch_add(many, Ordering::Relaxed);
                if std::mem::replace(&mut self.is_away, false) {
                    tracing::info!("the collector of traces takes them again");
                }
            }
            Err(error) => {
                self.counts.failed.fetch_add(many, Ordering::Relaxed);
                if !std::mem::replace(&mut self.is_away, true) {
                    tracing::warn!(error = %error, "the collector does not take traces; they are dropped and counted until it does");
                }
            }
        }
    }
}
