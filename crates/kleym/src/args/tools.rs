//! `kleym crd`, `completion`, `man` and `version`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Format;

/// Print the CustomResourceDefinition of InferenceIdentityBinding
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kleym crd | kubectl apply --server-side -f -")]
pub(crate) struct Crd {
    /// How it is printed
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t = Format::Yaml)]
    pub(crate) output: Format,
}

/// Print the script that completes commands, flags and names in a shell
///
/// Names of bindings, pods, namespaces and contexts are looked up in the cluster while you type.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  source <(kleym completion bash)
  kleym completion zsh > ~/.zfunc/_kleym
  kleym completion fish > ~/.config/fish/completions/kleym.fish
  kleym completion kubectl > ~/.local/bin/kubectl_complete-kleym && chmod +x ~/.local/bin/kubectl_complete-kleym")]
pub(crate) struct Completion {
    /// The shell; `kubectl` prints the helper that kubectl runs to complete `kubectl kleym`
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// What can be completed for.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shell {
    /// Bash
    Bash,
    /// Elvish
    Elvish,
    /// Fish
    Fish,
    /// PowerShell
    Powershell,
    /// Zsh
    Zsh,
    /// kubectl, for its plugins
    Kubectl,
}

/// What kubectl has of a command line that is being typed.
#[derive(Args, Debug)]
pub(crate) struct Complete {
    /// The words behind `kubectl kleym`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<OsString>,
}

/// Print a manual page, or write all of them into a folder
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kleym man | man -l -
  kleym man status | man -l -
  kleym man --folder /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Of which command; by default of kleym itself
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Option<String>,

    /// Write the pages of every command into this folder
    #[arg(long, value_name = "PATH", conflicts_with = "command")]
    pub(crate) folder: Option<PathBuf>,
}

/// Print the version
#[derive(Args, Debug)]
pub(crate) struct Version {
    /// Print it as data
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
}
