//! The page of commands: what the command line says of itself, the keys of a search, the variables that are read.

use std::fmt::Write as _;

use super::{compare, head};
use tests::counterparts::repository;

#[test]
fn the_page_of_commands_lists_every_command_flag_and_search_key() {
    let mut page = head("Commands", "gateway/cli/src, gateway/search/src/query/key.rs");
    page.push_str(
        "What `--help` of each command says, without its examples. [Exit codes](exit-codes.md) mean the same everywhere; `-h`, `--help` and `-V`, `--version` work everywhere.\n",
    );
    let mut whole = cli::command_line();
    whole.build();
    for command in whole.get_subcommands() {
        section(&mut page, "gatescribe", command);
    }
    page.push_str(KEYS);
    for (key, says) in search::Key::ALL.into_iter().zip(words_of_the_keys()) {
        let _ = writeln!(page, "| `{}:` | {} |", key.name(), says.replace('|', "\\|"));
    }
    page.push_str(VARIABLES);
    compare("docs/reference/commands.md", &page);
}

fn section(page: &mut String, before: &str, command: &clap::Command) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = format!("{before} {}", command.get_name());
    let mut inner = command.get_subcommands().peekable();
    if inner.peek().is_some() {
        inner.for_each(|command| section(page, &name, command));
        return;
    }
    let _ = write!(page, "\n## `{name}`\n\n{}\n", in_words(command.get_about()));
    let own =
        |argument: &&clap::Arg| !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version");
    let arguments: Vec<&clap::Arg> = command.get_arguments().filter(own).collect();
    if !arguments.is_empty() {
        page.push_str("\n| Argument | Default | Says |\n|---|---|---|\n");
        for argument in arguments {
            let _ = writeln!(
                page,
                "| {} | {} | {} |",
                spelling(argument),
                default(argument),
                in_words(argument.get_help()).replace('|', "\\|")
            );
        }
    }
}

fn in_words(text: Option<&clap::builder::StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    if text.is_empty() || text.ends_with('.') {
        text
    } else {
        text + "."
    }
}

/// `-o`, `--output TABLE|JSON`, or a word in its place.
fn spelling(argument: &clap::Arg) -> String {
    let takes = argument.get_action().takes_values();
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect();
    let names = || {
        argument
            .get_value_names()
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let value = match (takes, values.is_empty()) {
        (false, _) => String::new(),
        (true, false) => values.join("\\|"),
        (true, true) => names().join(" "),
    };
    let short = argument.get_short().map(|short| format!("`-{short}`, "));
    match argument.get_long() {
        Some(long) => {
            let aliases = argument.get_visible_aliases().unwrap_or_default();
            let spelt = std::iter::once(long).chain(aliases);
            let spelt = spelt.map(|long| format!("`--{long}{}{value}`", if takes { " " } else { "" }));
            format!("{}{}", short.unwrap_or_default(), spelt.collect::<Vec<_>>().join(", "))
        }
        None => format!("`{value}`"),
    }
}

fn default(argument: &clap::Arg) -> String {
    let of_the_environment = argument.get_env().map(|name| format!("`${}`", name.display()));
    let fixed = argument
        .get_default_values()
        .iter()
        .filter(|value| argument.get_action().takes_values() && !value.is_empty())
        .map(|value| format!("`{}`", value.display()));
    of_the_environment
        .into_iter()
        .chain(fixed)
        .collect::<Vec<_>>()
        .join(", else ")
}

/// The words above each key, in the order of the source, which is that of `ALL`.
fn words_of_the_keys() -> Vec<String> {
    let source = std::fs::read_to_string(repository().join("gateway/search/src/query/key.rs")).unwrap();
    let (_, rest) = source.split_once("pub enum Key {").unwrap();
    let (body, _) = rest.split_once("\n}").unwrap();
    let words: Vec<String> = body
        .lines()
        .filter_map(|line| Some(line.trim().strip_prefix("/// ")?.replace(" , … ", " and so on")))
        .collect();
    assert_eq!(words.len(), search::Key::ALL.len(), "one line of words for each key");
    words
}

const KEYS: &str = "
## Keys of a search

For `gatescribe audit search` and `tail`. All terms must hold. `key:a,b` holds when one of the values does; `-` in front turns a
term round; quotes keep spaces and commas; `*` in a value stands for any characters; upper and lower case are the same. Words
without a key are looked for anywhere in the act, the path, the agent and the sentences of a record. `since:` and `until:` take
`5m`, `2h`, `7d` (ago), `today` or `yesterday` (its beginning, UTC), a day (`2026-11-01`, UTC) or a time in RFC 3339 form.

| Key | Finds by |
|---|---|
";

const VARIABLES: &str = "
## Variables

| Variable | Read by | Says |
|---|---|---|
| `GATESCRIBE_CONFIG` | `serve`, `ledger keys` | the configuration file |
| `GATESCRIBE_GATEWAY` | client commands | the gateway's address |
| `GATESCRIBE_HOME` | client commands | where sessions are kept; else `gatescribe` in the platform's folder for configurations |
| `GATESCRIBE_NO_BROWSER` | `login`, the kubectl plugin | when not empty: print the address, open nothing |
| `BROWSER` | `login`, the kubectl plugin | the program that opens the sign-in page |
| `KUBECONFIG` | `login` | which kubeconfig is written |
| `NO_COLOR` | all | when not empty: no colours |
| `COLUMNS` | all | how wide words for a person may be; from 40 |
| `RUST_LOG` | `serve` | refines the log's level, whatever the configuration says |
";

#[test]
fn every_variable_of_ours_stands_on_the_page_of_commands() {
    let mut missing = Vec::new();
    for (path, text) in super::names::code() {
        if !path.starts_with("gateway/cli/src/") {
            continue;
        }
        for word in text.split(|one: char| !one.is_ascii_uppercase() && one != '_') {
            if word.starts_with("GATESCRIBE_") && !VARIABLES.contains(&format!("`{word}`")) {
                missing.push(format!("{path}: {word}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
