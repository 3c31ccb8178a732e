//! The pages of flags and commands, from the definitions that the programs parse their arguments with.

use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory};

use super::{cell, table};

const OPERATOR: &str = "\
# Operator flags and environment

`kleym-operator` is configured by flags. Each is also an environment variable: `KLEYM_`, then the flag in upper case with
`_` for `-`.

- A flag wins over its variable, even an empty flag.
- An empty variable counts as not set. A blank one (white space only) is an error.
- Flags that may be repeated are comma-separated in the environment.
- A value that cannot be used stops the start with exit code 2 and one line that names the flag or variable.
- In a cluster the service account is used. Elsewhere `--kubeconfig`, then the variable `KUBECONFIG`.

What the settings mean for identities is said in [Configuration](../operate/configuration.md).
";

const KLEYM: &str = "\
# Command line

`kleym` answers questions about identities with the operator's own engine. It is read-only: it never writes to a cluster.
Installed as `kubectl-kleym` on the path, it is also `kubectl kleym`.

Data goes to standard output, everything else to standard error.

| exit code | means |
| --- | --- |
| 0 | fine |
| 1 | only `kleym diff`: there are differences |
| 2 | error findings; with `--strict`, warnings too |
| 3 | what was asked for was not found |
| 4 | wrong usage, a path that cannot be read, no connection or no permission |
| 5 | an internal error |

Engine settings have the operator's names, as flags and as environment variables; see
[Operator flags](operator.md). Findings have a page each: [Findings](../findings/index.md).
";

/// The page of the operator's flags.
pub(super) fn operator() -> String {
    let mut command = kleym_operator::settings::Flags::command();
    command.build();
    let mut text =
        format!("{OPERATOR}\n## Flags\n\n{}", flags_of(command.get_arguments(), Environment::Every));
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        describe(sub, &mut text);
    }
    text
}

/// The page of the command line.
pub(super) fn kleym() -> String {
    let mut command = kleym::command_line();
    command.build();
    let mut text = KLEYM.to_owned();
    text.push_str("\n## Flags of every command\n\n");
    text.push_str(&flags_of(command.get_arguments().filter(|arg| arg.is_global_set()), Environment::Of(&[])));
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        describe(sub, &mut text);
    }
    text
}

fn describe(command: &Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    text.push_str(&format!("\n## {name}\n\n"));
    text.push_str(&paragraphs(command.get_long_about().or(command.get_about())));
    let usage = command.clone().render_usage().to_string();
    text.push_str(&format!("\n```text\n{}\n```\n", usage.trim_start_matches("Usage: ").trim()));
    let flags = flags(command, Environment::Of(&ENGINE));
    if !flags.is_empty() {
        text.push_str(&format!("\n{flags}"));
    }
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        let after = after.to_string();
        let (title, rest) = after.split_once('\n').unwrap_or(("Examples:", &after));
        text.push_str(&format!("\n{title}\n\n```text\n{}\n```\n", rest.trim_end()));
    }
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        describe(sub, text);
    }
}

fn paragraphs(about: Option<&StyledStr>) -> String {
    let about = about.map(ToString::to_string).unwrap_or_default();
    about.lines().map(|line| format!("{}\n", cell(line))).collect()
}

/// The engine's flags, which have a variable in the command line too.
const ENGINE: [&str; 4] = ["trust-domain", "clusterspiffeid-class-name", "path-grant", "instance"];

/// Which flags have an environment variable.
#[derive(Clone, Copy)]
enum Environment<'a> {
    Every,
    Of(&'a [&'a str]),
}

impl Environment<'_> {
    fn variable(self, flag: &str) -> Option<String> {
        let has = match self {
            Environment::Every => true,
            Environment::Of(flags) => flags.contains(&flag),
        };
        has.then(|| format!("`KLEYM_{}`", flag.replace('-', "_").to_ascii_uppercase()))
    }
}

fn flags(command: &Command, environment: Environment<'_>) -> String {
    flags_of(command.get_arguments().filter(|arg| !arg.is_global_set()), environment)
}

fn flags_of<'a>(arguments: impl Iterator<Item = &'a Arg>, environment: Environment<'_>) -> String {
    let shown =
        arguments.filter(|arg| !arg.is_hide_set() && arg.get_id() != "help" && arg.get_id() != "version");
    let rows: Vec<[String; 3]> = shown.map(|arg| row(arg, environment)).collect();
    if rows.is_empty() {
        return String::new();
    }
    match environment {
        Environment::Every => table(["flag", "variable", "what it does"], rows),
        Environment::Of(_) if rows.iter().any(|row| !row[1].is_empty()) => {
            table(["flag or argument", "variable", "what it does"], rows)
        }
        Environment::Of(_) => {
            table(["flag or argument", "what it does"], rows.into_iter().map(|[flag, _, help]| [flag, help]))
        }
    }
}

fn row(arg: &Arg, environment: Environment<'_>) -> [String; 3] {
    let values: Vec<String> =
        arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let takes = arg.get_action().takes_values();
    let value = if takes && !values.is_empty() { values.join(" ") } else { String::new() };
    let name = match (arg.get_short(), arg.get_long()) {
        (_, None) => format!("`{value}`"),
        (short, Some(long)) => {
            let short = short.map(|short| format!("-{short}, ")).unwrap_or_default();
            let value = match (value.is_empty(), arg.is_require_equals_set()) {
                (true, _) => String::new(),
                (false, true) => format!("[=<{value}>]"),
                (false, false) => format!(" <{value}>"),
            };
            format!("`{short}--{long}{value}`")
        }
    };
    let variable = arg.get_long().and_then(|long| environment.variable(long)).unwrap_or_default();
    let help = arg.get_help().or(arg.get_long_help()).map(ToString::to_string).unwrap_or_default();
    let mut help = cell(&help);
    let possible: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set() && takes)
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !possible.is_empty() {
        help.push_str(&format!("; one of {}", possible.join(", ")));
    }
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    if takes && !defaults.is_empty() {
        help.push_str(&format!(" (default {})", defaults.join(", ")));
    }
    if arg.is_required_set() {
        help.push_str("; required");
    }
    [name.replace('|', "\\|"), variable, help]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_of_the_operator_has_a_row_with_its_variable() {
        let page = operator();
        for arg in kleym_operator::settings::Flags::command().get_arguments() {
            let long = arg.get_long().expect("every flag has a long name");
            let variable = long.replace('-', "_").to_ascii_uppercase();
            assert!(page.contains(&format!("`--{long}")), "{long}");
            assert!(page.contains(&format!("`KLEYM_{variable}`")), "{long}");
        }
    }

    #[test]
    fn every_command_and_each_of_its_flags_is_on_the_page() {
        let (page, command) = (kleym(), kleym::command_line());
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let (_, section) = page.split_once(&format!("\n## kleym {}\n", sub.get_name())).unwrap();
            for long in sub.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(Arg::get_long) {
                assert!(section.contains(&format!("--{long}")), "{} --{long}", sub.get_name());
            }
        }
    }
}
