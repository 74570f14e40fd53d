//! `weir man`: the manual pages.

use super::{Exit, complain};
use clap::{Args, CommandFactory};
use std::path::PathBuf;

/// Write the manual pages into a directory
///
/// weir.1 is about the program, and there is one page for each command, such as weir-purge.1. Read one with
/// "man -l DIRECTORY/weir-purge.1". Packages of weir contain them.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The directory, such as ~/.local/share/man/man1; created if it does not exist
    directory: PathBuf,
}

impl Man {
    pub(super) fn run(self) -> Exit {
        // The version of its own line fits into a page's footer.
        let program = crate::Weir::command().long_version(None);
        let written = std::fs::create_dir_all(&self.directory)
            .and_then(|()| clap_mangen::generate_to(program, &self.directory));
        match written {
            Ok(()) => Exit::Done,
            Err(error) => complain(&format!("{}: {error}", self.directory.display()), Exit::Failed),
        }
    }
}
