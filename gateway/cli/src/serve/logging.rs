//! Structured logs: for operators, never for auditors. What happened to requests stands in the ledger.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::config::{Format, Level, Log};

/// Begins to write logs to stderr. `RUST_LOG` refines the configured level.
pub(super) fn begin(log: &Log) -> anyhow::Result<()> {
    let level = match log.level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
    };
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("{level},kube_runtime=error")));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let begun = match log.format {
        Format::Json => builder.json().flatten_event(true).try_init(),
        Format::Text => builder.with_ansi(crate::terminal::color()).try_init(),
    };
    begun
        .map_err(|error| anyhow::anyhow!("{error}"))
        .context("logs cannot be written")
}
