//! What the operator has chosen for the time in which the ledger cannot write (`ledger.dangerFailModes`), and how loudly that is
//! said: at the start, by `--check`, in the record of the configuration, in `/readyz` and as metrics.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use ledger::{AppendError, Disk, Publisher, RealDisk};
use model::event::ByClass;
use proxy::audit::{self, FailModes, SignedSize, Standing, Station, Unkept};
use tokio_util::sync::CancellationToken;

use super::admin::Health;
use super::data::DataDir;
use crate::config::{self, Bound, FailMode, Span};

/// How often it is looked whether a gap can be recorded, and how the ledger is.
const LOOKS_EVERY: Duration = Duration::from_secs(1);

/// What the configuration chooses.
pub(super) fn chosen(config: &config::Ledger) -> FailModes {
    let Some(modes) = &config.danger_fail_modes else {
        return FailModes::default();
    };
    let mode = |mode: FailMode| match mode {
        FailMode::Closed => audit::FailMode::Closed,
        FailMode::Bounded => audit::FailMode::Bounded,
        FailMode::Open => audit::FailMode::Open,
    };
    let bound = modes.bounded.unwrap_or_default();
    FailModes {
        modes: ByClass {
            reads: mode(modes.reads),
            effects: mode(modes.effects),
        },
        most: bound.calls.into(),
        within: bound.r#for.duration(),
    }
}

/// What is weaker than it was meant to be; `None`: nothing is.
pub(super) fn warning(config: &config::Ledger) -> Option<String> {
    let modes = config.danger_fail_modes.as_ref()?;
    let Bound { calls, r#for } = modes.bounded.unwrap_or_default();
    let of = |mode: FailMode, what: &str| match mode {
        FailMode::Closed => None,
        FailMode::Bounded => Some(format!("up to {calls} {what} within {for}", for = in_words(r#for))),
        FailMode::Open => Some(format!("any number of {what}")),
    };
    let weak: Vec<String> = [
        of(modes.reads, "reads"),
        of(modes.effects, "calls that may change something"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let all = weak.join(" and ");
    (!weak.is_empty()).then(|| {
        format!(
            "DANGER: while the ledger's disk is full or fails, {all} go on without a record, as `ledger.dangerFailModes` says"
        )
    })
}

fn in_words(span: Span) -> String {
    span.to_string()
}

/// Says what was chosen, records the gap that an earlier run has left, and lets calls go on as was chosen. The ledger in `ledger_dir`
/// had `durable` records at least, and is signed by `publisher`.
///
/// # Errors
/// The file that counts cannot be read or made, or the gap cannot be recorded.
pub(super) async fn begin(
    audit: &Arc<Station>,
    config: &config::Ledger,
    data: &DataDir,
    (ledger_dir, durable): (&Path, u64),
    publisher: &Arc<Publisher>,
) -> anyhow::Result<()> {
    if let Some(warning) = warning(config) {
        tracing::warn!("{warning}");
    }
    let beside: Arc<dyn Disk> = Arc::new(RealDisk::new(&data.at("")));
    let ledger: Arc<dyn Disk> = Arc::new(RealDisk::new(ledger_dir));
    let publisher = Arc::clone(publisher);
    let signed = SignedSize::new(move || publisher.newest().map_or(0, |newest| newest.checkpoint.size));
    let unkept = Unkept::open(&beside, (ledger, durable), signed, chosen(config), audit.clock().read())
        .context("the file that counts calls without a record cannot be used")?;
    let Some(unkept) = unkept else { return Ok(()) };
    audit
        .goes_on_by(unkept)
        .await
        .map_err(|refusal| anyhow::anyhow!("{}", refusal.in_words()))
        .context("calls went on without a record before this start, and that cannot be recorded")
}

/// Records gaps as soon as the ledger takes records again.
pub(super) async fn gaps(audit: Arc<Station>, stop: CancellationToken) {
    let mut beat = tokio::time::interval(LOOKS_EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => audit.tend_gap().await,
            () = stop.cancelled() => return,
        }
    }
}

/// How the ledger is. One that takes no records keeps the gateway out of service, but where some calls go on all the same.
pub(super) fn ledger_health(trouble: Option<&AppendError>, standing: Option<&Standing>) -> Health {
    let passed = |standing: &Standing| {
        let (passed, since) = standing.gap?;
        let (reads, effects) = (passed.reads, passed.effects);
        Some(format!(
            "{reads} reads and {effects} calls that may change something went on without a record since {since}"
        ))
    };
    let Some(trouble) = trouble else { return Health::Good };
    let Some(standing) = standing else {
        return Health::NotReady(trouble.to_string());
    };
    let counted = passed(standing)
        .map(|counted| format!("; {counted}"))
        .unwrap_or_default();
    let goes_on = match trouble {
        AppendError::DiskFull | AppendError::DiskFailed => standing.goes_on,
        _ => ByClass::default(),
    };
    match (goes_on.reads, goes_on.effects) {
        (false, false) => Health::NotReady(format!("{trouble}{counted}")),
        (true, true) => Health::But(format!("{trouble}, and calls go on without a record{counted}")),
        (true, false) => Health::But(format!("{trouble}, and reads alone go on, without a record{counted}")),
        (false, true) => Health::But(format!(
            "{trouble}, and calls that may change something alone go on, without a record{counted}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use model::time::Timestamp;

    use super::*;

    fn ledger(modes: serde_json::Value) -> config::Ledger {
        serde_json::from_value(serde_json::json!({ "dangerFailModes": modes })).unwrap()
    }

    #[test]
    fn what_is_weakened_is_said_in_words_and_nothing_where_nothing_is() {
        let said = |modes| warning(&ledger(modes));
        assert_eq!(warning(&config::Ledger::default()), None);
        assert_eq!(said(serde_json::json!({ "reads": "closed" })), None);
        assert!(!chosen(&ledger(serde_json::json!({}))).are_weakened());
        let both = serde_json::json!({ "reads": "open", "effects": "bounded", "bounded": { "calls": 7, "for": "2m" } });
        assert_eq!(
            said(both.clone()).unwrap(),
            "DANGER: while the ledger's disk is full or fails, any number of reads and up to 7 calls that may change something within \
             2m go on without a record, as `ledger.dangerFailModes` says"
        );
        let chosen = chosen(&ledger(both));
        assert_eq!((chosen.most, chosen.within), (7, Duration::from_secs(120)));
        assert_eq!(
            chosen.modes,
            ByClass {
                reads: audit::FailMode::Open,
                effects: audit::FailMode::Bounded
            }
        );
        let reads = said(serde_json::json!({ "reads": "bounded" })).unwrap();
        assert!(reads.contains("up to 100 reads within 10m go on"), "{reads}");
    }

    #[test]
    fn a_gateway_is_in_service_while_something_goes_on_and_says_that_it_is_not_recorded() {
        let standing = |reads, effects| Standing {
            chosen: FailModes::default(),
            passed: ByClass::default(),
            gap: Some((ByClass { reads: 3, effects: 1 }, Timestamp::EPOCH)),
            goes_on: ByClass { reads, effects },
        };
        let full = AppendError::DiskFull;
        assert_eq!(ledger_health(None, Some(&standing(true, true))), Health::Good);
        assert_eq!(
            ledger_health(Some(&full), None),
            Health::NotReady("the audit disk is full".to_owned())
        );
        let Health::But(said) = ledger_health(Some(&full), Some(&standing(true, false))) else {
            panic!()
        };
        assert!(
            said.starts_with("the audit disk is full, and reads alone go on, without a record; 3 reads and 1 calls"),
            "{said}"
        );
        for (trouble, standing) in [
            (&full, standing(false, false)),
            (&AppendError::Corrupt, standing(true, true)),
        ] {
            assert!(matches!(
                ledger_health(Some(trouble), Some(&standing)),
                Health::NotReady(_)
            ));
        }
    }
}
