//! `weir completions`: a script by which a shell completes commands and options.

use super::{Exit, print};
use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::generate;

/// Print a script by which a shell completes commands and options
///
/// The script belongs where the shell looks for it, under this name: for bash
/// ~/.local/share/bash-completion/completions/weir, for zsh a directory of fpath and _weir, for fish
/// ~/.config/fish/completions/weir.fish. Packages of weir contain all three.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// A shell that completes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(super) fn run(self) -> Exit {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        // It is collected first: the generator panics if a write fails.
        let mut script = Vec::new();
        generate(shell, &mut crate::Weir::command(), "weir", &mut script);
        print(&String::from_utf8_lossy(&script));
        Exit::Done
    }
}
