//! Structured logs: for operators, never for auditors. What happened to requests stands in the ledger.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::config::{Format, Level, Log};

/// Sets another level while running.
pub(crate) struct Levels {
    set: Box<dyn Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error> + Send + Sync>,
    /// `RUST_LOG` is set: it counts, whatever the configuration says.
    pub(super) from_environment: bool,
    /// The configured level at the start.
    pub(super) at_start: Level,
}

impl std::fmt::Debug for Levels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Levels")
            .field("at_start", &self.at_start)
            .finish_non_exhaustive()
    }
}

impl Levels {
    pub(super) fn set(&self, level: Level) {
        if self.from_environment {
            return;
        }
        if let Err(error) = (self.set)(filter(level)) {
            tracing::error!(error = %error, "the level of logs cannot be changed");
        }
    }
}

/// Begins to write logs to stderr. `RUST_LOG` refines the configured level.
pub(super) fn begin(log: &Log) -> anyhow::Result<Levels> {
    let from_environment = EnvFilter::try_from_default_env();
    let is_set = from_environment.is_ok();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(from_environment.unwrap_or_else(|_| filter(log.level)))
        .with_writer(std::io::stderr);
    let (begun, set): (_, Box<dyn Fn(EnvFilter) -> _ + Send + Sync>) = match log.format {
        Format::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            (builder.try_init(), Box::new(move |filter| handle.reload(filter)))
        }
        Format::Text => {
            let builder = builder.with_ansi(crate::terminal::color()).with_filter_reloading();
            let handle = builder.reload_handle();
            (builder.try_init(), Box::new(move |filter| handle.reload(filter)))
        }
    };
    begun
        .map_err(|error| anyhow::anyhow!("{error}"))
        .context("logs cannot be written")?;
    Ok(Levels {
        set,
        from_environment: is_set,
        at_start: log.level,
    })
}

fn filter(level: Level) -> EnvFilter {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
    };
    EnvFilter::new(format!("{level},kube_runtime=error"))
}
