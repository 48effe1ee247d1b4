//! What the program says about itself.

use super::Output;
use super::document::document;
use crate::Exit;
use crate::terminal::data_and;

/// The completions of a shell, from the same definitions as the help.
pub(super) fn completion(shell: clap_complete::Shell, mut whole: clap::Command) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut whole, "gatescribe", &mut text);
    data_and(&String::from_utf8_lossy(&text), Exit::Done)
}

/// Version and platform.
pub(super) fn version(output: Output) -> Exit {
    let version = env!("CARGO_PKG_VERSION");
    let (system, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    let text = match output {
        Output::Table => format!("gatescribe {version} ({system} {machine})\n"),
        Output::Json => {
            let members = [("version", version), ("os", system), ("arch", machine)];
            let members = members.map(|(name, value)| (name.to_owned(), value.into()));
            document("Version", &members.into_iter().collect())
        }
    };
    data_and(&text, Exit::Done)
}
