//! `cargo xtask`: the one door to building, checking, measuring and trying Gatescribe.
//!
//! It is not part of the product and depends on none of its crates, so it is there a few seconds after a clone. What it
//! builds or fetches on a bare machine is kept below `target/`.

mod bench;
mod check;
mod command;
mod counterparts;
mod up;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "The one door: check, counterparts, bench, soak, up, down"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs the checks; the last line says `N passed, N failed, N skipped`.
    Check(check::Arguments),
    /// Builds the real programs that tests run against, where their pins or sources changed.
    Counterparts,
    /// Runs a bench in release mode; it ends with one line `NAME key=value …`.
    Bench(bench::Arguments),
    /// Runs a soak in release mode; it ends with one line `NAME key=value …`.
    Soak(bench::Arguments),
    /// Brings up the bench for a person and prints what to try.
    Up,
    /// Takes down what `up` brought up.
    Down,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Check(arguments) => check::run(&arguments),
        Task::Counterparts => counterparts::build().map(|()| true),
        Task::Bench(arguments) => bench::run(bench::Kind::Bench, &arguments).map(|()| true),
        Task::Soak(arguments) => bench::run(bench::Kind::Soak, &arguments).map(|()| true),
        Task::Up => up::up().map(|()| true),
        Task::Down => up::down().map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            command::tell(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
