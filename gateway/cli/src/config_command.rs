//! `gatescribe config`: check a file, show what is in effect, print the schema.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};

use crate::Exit;
use crate::config::{self, ConfigError};
use crate::terminal::{color, data_and, fail, say, width};

/// What to look at.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say everything that is wrong with a configuration, all at once.
    #[command(
        after_help = "Examples:\n  gatescribe config check gw.yaml\n  gatescribe config check gw.yaml -o json\n\nExit codes: 0 no problem, 1 problems, 9 the file cannot be read\nSee also: gatescribe serve --check, gatescribe config show"
    )]
    Check {
        /// The configuration file.
        file: PathBuf,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Show a configuration with every default filled in. Secrets are references and stay so.
    #[command(
        after_help = "Examples:\n  gatescribe config show gw.yaml\n  gatescribe config show --effective gw.yaml\n\nExit codes: 0 shown, 1 problems, 9 the file cannot be read\nSee also: gatescribe config check"
    )]
    Show {
        /// The configuration file.
        file: PathBuf,
        /// Fill in the defaults.
        #[arg(long)]
        effective: bool,
    },
    /// Print the JSON Schema, for editors.
    #[command(
        after_help = "Examples:\n  gatescribe config schema > gatescribe.schema.json\n  gatescribe config schema | less\n\nExit codes: 0 printed\nSee also: gatescribe config check"
    )]
    Schema,
}

/// For whom problems are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A person: lines, carets, help.
    Text,
    /// A machine: one JSON object a line.
    Json,
}

pub(crate) fn run(command: ConfigCommand) -> Exit {
    match command {
        ConfigCommand::Check { file, output } => check(&file, output),
        ConfigCommand::Show { file, effective } => show(&file, effective),
        ConfigCommand::Schema => data_and(&format!("{:#}\n", config::json_schema()), Exit::Done),
    }
}

/// Says what is wrong, for a person; what every command does with a configuration that it cannot use.
pub(crate) fn explain(error: ConfigError) -> Exit {
    match error {
        ConfigError::Wrong(problems) => {
            say(problems.for_a_person(color(), width()).trim_end());
            Exit::No
        }
        error => {
            fail(&anyhow::Error::new(error));
            Exit::Fault
        }
    }
}

fn check(file: &Path, output: Output) -> Exit {
    match config::load(file) {
        Ok(_) => {
            say(&format!("✔ {}: no problem", file.display()));
            Exit::Done
        }
        Err(ConfigError::Wrong(problems)) if output == Output::Json => data_and(&problems.for_a_machine(), Exit::No),
        Err(error) => explain(error),
    }
}

fn show(file: &Path, effective: bool) -> Exit {
    let config = match config::load(file) {
        Ok(config) => config,
        Err(error) => return explain(error),
    };
    let text = if effective {
        serde_saphyr::to_string(&config).map_err(anyhow::Error::new)
    } else {
        std::fs::read_to_string(file).map_err(anyhow::Error::new)
    };
    match text {
        Ok(text) => data_and(&text, Exit::Done),
        Err(error) => {
            fail(&error);
            Exit::Fault
        }
    }
}
