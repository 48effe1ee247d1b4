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

/// Our own crates at the level asked for; those of others never below `info`: what they write for each frame helps their
/// authors, costs more than the call, and is nothing that anybody here has looked through for secrets. `RUST_LOG` has the last
/// word.
fn filter(level: Level) -> EnvFilter {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
    };
    let mut filter = match level {
        "debug" => "info".to_owned(),
        level => level.to_owned(),
    };
    filter.push_str(",kube_runtime=error");
    for name in OURS {
        filter.push_str(&format!(",{name}={level}"));
    }
    EnvFilter::new(filter)
}

const OURS: [&str; 17] = [
    "model",
    "access",
    "audit_policy",
    "condition",
    "insight",
    "payload",
    "oidc",
    "ledger",
    "recording",
    "state",
    "reach",
    "search",
    "proxy",
    "feeds",
    "console",
    "demo",
    "cli",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_of_ours_has_a_level_of_its_own() {
        let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml")).unwrap();
        let ours = manifest
            .lines()
            .filter_map(|line| line.split_once(" = { path = \"").map(|(name, _)| name));
        assert_eq!(ours.collect::<Vec<_>>(), OURS);
    }

    #[test]
    fn others_say_nothing_below_info() {
        let filter = filter(Level::Debug).to_string();
        assert!(
            filter.contains("proxy=debug") && filter.split(',').any(|part| part == "info"),
            "{filter}"
        );
    }
}
