//! What each command says of itself, and what is a mistake before anything is done.

use serde_json::Value;

use crate::machine::{Machine, text};

/// Each command that does something by itself, with what stands before it.
fn commands(command: &clap::Command) -> Vec<(String, clap::Command)> {
    let name = command.get_name().to_owned();
    let own = (!command.is_subcommand_required_set()).then(|| (name.clone(), command.clone()));
    let below = command.get_subcommands().flat_map(commands);
    let below = below.map(|(rest, inner)| (format!("{name} {rest}"), inner));
    own.into_iter().chain(below).collect()
}

/// The words of a line as a shell would split it, up to where its output goes.
fn words(line: &str) -> Vec<String> {
    let line = line.split(['>', '|']).next().unwrap_or_default();
    let quoted = line.split('\'').enumerate();
    quoted
        .flat_map(|(place, part)| match place % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

#[test]
fn each_command_explains_itself_with_exit_codes_and_examples_that_it_understands() {
    let whole = cli::command_line();
    let commands = commands(&whole);
    for (name, command) in &commands {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = help.lines().skip_while(|line| !line.starts_with("Examples:")).skip(1);
        let examples: Vec<&str> = examples.take_while(|line| line.starts_with("  ")).collect();
        assert!(
            examples.len() >= 2 && help.contains("Exit codes:") && help.contains("See also:"),
            "{name}\n{help}"
        );
        for example in examples.iter().filter(|line| line.starts_with("  gatescribe ")) {
            let words = cli::arranged(words(example).into_iter().map(Into::into));
            let understood = whole.clone().try_get_matches_from(words);
            let matches = understood.unwrap_or_else(|error| panic!("{example}\n{error}"));
            let (_, mut inner) = matches.subcommand().unwrap();
            while let Some((_, next)) = inner.subcommand() {
                inner = next;
            }
            if let Ok(Some(query)) = inner.try_get_many::<String>("query") {
                let query: Vec<&str> = query.map(String::as_str).collect();
                search::Query::parse(&query.join(" ")).unwrap_or_else(|error| panic!("{example}\n{error}"));
            }
        }
    }
    assert!(commands.len() > 15, "{}", commands.len());
    let machine = Machine::new();
    let help = text(&machine.run(&["audit", "search", "--help"]).stdout);
    for key in search::Key::ALL {
        assert!(help.contains(key.name()), "{}\n{help}", key.name());
    }
    let completion = machine.run(&["completion", "bash"]);
    assert!(text(&completion.stdout).contains("audit"));
    let version = machine.run(&["version", "-o", "json"]);
    let version: Value = serde_json::from_slice(&version.stdout).unwrap();
    assert_eq!(version["apiVersion"], "gatescribe/v1");
}

#[test]
fn a_time_without_a_reason_and_a_reason_that_is_none_are_mistakes_of_the_command_line() {
    let machine = Machine::new();
    for (line, words) in [
        (&["reason", "--for", "5m"][..], "TEXT"),
        (&["reason", "--clear", "--for", "5m"], "--for"),
        (&["exec", "--reason", "  x ", "web-0"], "3 to 500 characters"),
    ] {
        let done = machine.run(line);
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{line:?}: {said}");
        assert!(said.contains(words), "{line:?}: {said}");
    }
}
