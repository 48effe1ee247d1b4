//! `check`: the stages in order, each counted, nothing skipped unless asked for.
//!
//! A stage that is not a test run (format, lint, rustdoc) counts as one check. The last line is
//! `N passed, N failed, N skipped`; in CI (`CI=true`) a skip is a failure. Before it stands what tests left out, because this
//! machine has not what they need; where more of that is left out than whoever asks for the check allows, it fails.

mod count;
mod docs;
mod left_out;
mod stages;

use crate::command::tell;
use clap::ValueEnum;
use count::Count;
use left_out::LeftOut;
use std::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these stages; without any, all but `supply`.
    #[arg(value_enum)]
    stages: Vec<Stage>,
    /// Leaves a stage out and counts it as skipped.
    #[arg(long, value_enum, value_name = "NAME")]
    without: Vec<Stage>,
    /// Fails where tests leave out more cases than these, because this machine has not what they need; 0 on a machine that has
    /// all of it. Without it they are told, and nothing fails.
    #[arg(long, value_name = "N")]
    left_out_at_most: Option<usize>,
}

/// A stage of the check.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Stage {
    /// `cargo fmt --check`.
    Format,
    /// `clippy` over everything, warnings are errors.
    Lint,
    /// Tests inside the crates.
    Unit,
    /// Tests of whole parts that need nothing but this repository.
    InProcess,
    /// Tests against real counterparts: builds those first (Go, Node).
    Counterparts,
    /// Links of the Markdown pages, rustdoc, examples in documentation.
    Docs,
    /// Advisories, licences and sources of dependencies (cargo-deny, built once: minutes). Only when named.
    Supply,
}

/// What runs when no stage is named. `supply` asks the network for advisories, so it is not part of it.
const DEFAULT: &[Stage] = &[
    Stage::Format,
    Stage::Lint,
    Stage::Unit,
    Stage::InProcess,
    Stage::Counterparts,
    Stage::Docs,
];

impl Stage {
    fn run(self, left_out: &LeftOut) -> anyhow::Result<Count> {
        match self {
            Self::Format => stages::format(),
            Self::Lint => stages::lint(),
            Self::Unit => stages::unit(left_out),
            Self::InProcess => stages::in_process(left_out),
            Self::Counterparts => stages::counterparts(left_out),
            Self::Docs => docs::check(left_out),
            Self::Supply => stages::supply(),
        }
    }

    fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}

/// Runs the stages; whether all is well.
///
/// # Errors
/// What tests leave out cannot be written down. A stage that cannot run is a failed check.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let left_out = LeftOut::begin()?;
    let wanted = if arguments.stages.is_empty() {
        DEFAULT
    } else {
        arguments.stages.as_slice()
    };
    let begun = Instant::now();
    let mut total = Count::default();
    let mut summary = Vec::new();
    for (number, stage) in wanted.iter().enumerate() {
        let name = stage.name();
        if arguments.without.contains(stage) {
            tell(&format!("── {name}: skipped, as asked"));
            total += Count {
                skipped: 1,
                ..Count::default()
            };
            summary.push(format!("{name:13} skipped"));
            continue;
        }
        tell(&format!(
            "── {name} ({} of {}, {} s so far)",
            number + 1,
            wanted.len(),
            begun.elapsed().as_secs()
        ));
        let stage_begun = Instant::now();
        let count = stage.run(&left_out).unwrap_or_else(|error| {
            tell(&format!("{name}: {error:#}"));
            Count::one(false)
        });
        summary.push(format!("{name:13} {count}, {} s", stage_begun.elapsed().as_secs()));
        total += count;
    }
    tell(&format!("── all in {} s", begun.elapsed().as_secs()));
    summary.iter().for_each(|line| tell(line));
    if !left_out.end()?.tell(arguments.left_out_at_most, tell) {
        total += Count::one(false);
    }
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    if in_ci && total.skipped > 0 {
        tell("nothing may be skipped in CI");
    }
    tell(&total.to_string());
    Ok(all_is_well(&total, in_ci))
}

/// A skip that somebody asked for is all right where somebody reads it; in CI nobody does.
const fn all_is_well(total: &Count, in_ci: bool) -> bool {
    total.failed == 0 && !(in_ci && total.skipped > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_ci_a_skip_fails_the_check_and_elsewhere_only_a_failure_does() {
        let count = |failed, skipped| Count {
            passed: 3,
            failed,
            skipped,
        };
        for (failed, skipped, here, in_ci) in [
            (0, 0, true, true),
            (0, 1, true, false),
            (1, 0, false, false),
            (1, 1, false, false),
        ] {
            assert_eq!(
                all_is_well(&count(failed, skipped), false),
                here,
                "{failed} failed, {skipped} skipped"
            );
            assert_eq!(
                all_is_well(&count(failed, skipped), true),
                in_ci,
                "{failed} failed, {skipped} skipped, CI"
            );
        }
    }
}
