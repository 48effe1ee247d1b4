//! Commands in a terminal, which `script` (util-linux) makes: with a window of a known size that may change meanwhile.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

/// Lines and columns.
pub type Size = (u16, u16);

/// A line of a shell in a terminal that does not say how large it is; where `like` runs and with its environment, and the
/// system's programs behind those on its path.
#[must_use]
pub fn terminal(like: &Command, line: &str) -> Command {
    // Whoever runs these tests may ignore signals (`nohup`, a job in the background), and what ignores one at its start goes on so.
    let mut terminal = Command::new("/usr/bin/env");
    terminal
        .args(["--default-signal", "/usr/bin/script", "-qefc", line, "/dev/null"])
        .env_clear();
    for (name, value) in like.get_envs() {
        match value {
            Some(value) if name == "PATH" => terminal.env(name, format!("{}:/usr/bin:/bin", value.display())),
            Some(value) => terminal.env(name, value),
            None => &mut terminal,
        };
    }
    if let Some(folder) = like.get_current_dir() {
        terminal.current_dir(folder);
    }
    terminal.env("SHELL", "/bin/sh").env("TERM", "xterm");
    terminal
}

/// A command in a terminal with a window of this size, which becomes another one as soon as the file of `then` is there.
/// `folder` is where the script is written that does it, one at a time.
///
/// # Errors
/// The disk refuses, or an argument is no UTF-8.
pub fn in_window(command: &Command, folder: &Path, size: Size, then: Option<(&Path, Size)>) -> anyhow::Result<Command> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted: Vec<String> = words
        .map(|word| Ok(format!("'{}'", word.to_str().context("UTF-8")?.replace('\'', r"'\''"))))
        .collect::<anyhow::Result<_>>()?;
    let (lines, columns) = size;
    let mut script = format!("stty rows {lines} cols {columns}; T=$(tty)\n");
    if let Some((file, (lines, columns))) = then {
        let file = file.display();
        script.push_str(&format!(
            "(while [ ! -e {file} ]; do sleep 0.1; done; stty rows {lines} cols {columns} < $T) &\n"
        ));
    }
    script.push_str(&format!("exec {}\n", quoted.join(" ")));
    let file = folder.join("window.sh");
    std::fs::write(&file, script)?;
    Ok(terminal(command, &format!("sh {}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubectl::run;
    use crate::wait::PATIENCE;

    #[test]
    fn a_command_runs_in_its_window_with_its_own_words_and_surroundings() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new("sh");
        command.args(["-c", r#"stty size; echo "$1" $WHO; pwd"#, "sh", "it's"]);
        command
            .env_clear()
            .env("PATH", "/nowhere")
            .env("WHO", "me")
            .current_dir(folder.path());
        let said = run(in_window(&command, folder.path(), (31, 117), None)?, "", PATIENCE)?;
        let lines: Vec<&str> = said.stdout.lines().collect();
        let here = folder.path().display().to_string();
        assert_eq!(lines, ["31 117", "it's me", here.as_str()], "{said}");
        Ok(())
    }
}
