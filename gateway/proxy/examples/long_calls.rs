//! Bench: 20,000 watches under way, one of 10,000 bindings is taken away; how long until each was decided anew and those
//! that are now refused have ended. `cargo xtask bench long_calls [--quick]`.

use std::io::Write as _;
use std::process::ExitCode;

use proxy::session::bench::round;

fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (calls, rounds) = if quick { (2_000, 2) } else { (20_000, 5) };
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let mut worst = std::time::Duration::ZERO;
    for _ in 0..rounds {
        let found = runtime.block_on(round(calls));
        if found.ended != calls / 100 || found.open != calls - calls / 100 {
            let _ = writeln!(std::io::stderr(), "wrong calls ended: {found:?}");
            return ExitCode::FAILURE;
        }
        worst = worst.max(found.took);
    }
    let line = format!(
        "long_calls calls={calls} bindings=10000 ended={} worst_ms={:.1} us_each={:.2}",
        calls / 100,
        worst.as_secs_f64() * 1e3,
        worst.as_secs_f64() * 1e6 / f64::from(u32::try_from(calls).unwrap_or(1)),
    );
    let _ = writeln!(std::io::stdout(), "{line}");
    ExitCode::SUCCESS
}
